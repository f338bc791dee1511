//! A name stands for endpoints that come and go with its addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::dns::{Dns, Host, Says, dns};
use crate::support::eventually;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, Reload, gateway, listener};
use crate::support::origin::{Origin, origin};

const NAME: &str = "models.test";

/// Lookups follow one another quickly, and none takes long.
const OFTEN: &str = "min_ttl = \"100ms\"\ntimeout = \"100ms\"\nattempts = 1";

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 7, last])
}

/// Origins on addresses of their own and one port, each of which answers with its place.
fn origins(count: u8) -> Vec<Origin> {
    let first = origin().reply("1").start_at(SocketAddr::new(ip(1), 0));
    let port = first.address.port();
    let other = |n: u8| origin().reply(&n.to_string()).start_at(SocketAddr::new(ip(n), port));
    let others: Vec<Origin> = (2..=count).map(other).collect();
    [first].into_iter().chain(others).collect()
}

fn config(dns: &Dns, resolver: &str, address: &str, cluster: &str) -> String {
    format!(
        "{}{}[[route]]\ncluster = \"c\"\n[cluster.c]\n{cluster}\n[[cluster.c.endpoint]]\n\
         address = \"{address}\"\n",
        dns.resolver(resolver),
        listener("")
    )
}

/// A gateway whose only endpoint is the name, with the port of this origin.
fn resolving(dns: &Dns, origin: &Origin, endpoint: &str) -> Gateway {
    let address = format!("{NAME}:{}", origin.address.port());
    gateway().config(config(dns, OFTEN, &address, "") + endpoint).start()
}

/// Who answers a few requests.
fn who(gateway: &Gateway) -> BTreeSet<String> {
    let mut client = gateway.client();
    (0..8).map(|_| client.get("/").text().to_owned()).collect()
}

fn wait_for(gateway: &Gateway, wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|who| (*who).to_owned()).collect();
    eventually(&format!("answers of {wanted:?}"), || (who(gateway) == wanted).then_some(()));
}

#[test]
fn each_address_of_a_name_is_an_endpoint_with_the_limits_of_its_own() {
    let gate = Gate::default();
    let port = crate::support::free_port();
    let waiting = |last| {
        let gate = gate.clone();
        let origin = origin().on(move |_, connection| {
            gate.pass();
            connection.reply("hello");
        });
        origin.start_at(SocketAddr::new(ip(last), port))
    };
    let origins = [waiting(1), waiting(2)];
    let dns = dns();
    dns.addresses(NAME, &[ip(2), ip(1)]);
    let gateway = resolving(&dns, &origins[0], "max_in_flight = 1\n");

    let mut clients = [gateway.client(), gateway.client(), gateway.client()];
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }

    origins.iter().for_each(|origin| origin.wait_for_requests(1));
    gateway.wait_for_count("ringgate_queue_length", 1);
    for last in [1, 2] {
        let endpoint = format!("{NAME}/{}:{port}", ip(last));
        let in_flight = format!("ringgate_endpoint_in_flight{{endpoint={endpoint:?}}}");
        assert_eq!(gateway.count(&in_flight), 1, "{endpoint}");
    }
    (0..3).for_each(|_| gate.open());
    clients.iter_mut().for_each(|client| assert_eq!(client.read().text(), "hello"));
}

#[test]
fn endpoints_come_and_go_with_the_addresses_of_a_name_without_a_reload() {
    let origins = origins(3);
    let dns = dns();
    dns.addresses(NAME, &[ip(1), ip(2)]);
    let gateway = resolving(&dns, &origins[0], "");
    wait_for(&gateway, &["1", "2"]);

    dns.addresses(NAME, &[ip(2), ip(3)]);
    wait_for(&gateway, &["2", "3"]);
    // As few pages know of it as endpoints there are: what is gone is not shown any more.
    assert_eq!(gateway.metrics().series("ringgate_endpoint_up").count(), 2);
    dns.addresses(NAME, &[ip(1)]);
    wait_for(&gateway, &["1"]);

    assert_eq!(gateway.count("ringgate_config_generation"), 1);
}

#[test]
fn a_request_on_an_address_that_goes_ends_there() {
    let gate = Gate::default();
    let wait = gate.clone();
    let slow = origin().on(move |_, connection| {
        wait.pass();
        connection.reply("late, but whole");
    });
    let slow = slow.start_at(SocketAddr::new(ip(1), 0));
    let other = origin().reply("other").start_at(SocketAddr::new(ip(2), slow.address.port()));
    let dns = dns();
    dns.addresses(NAME, &[ip(1)]);
    let gateway = resolving(&dns, &slow, "");
    let mut waiting = gateway.client();
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.wait_for_requests(1);

    dns.addresses(NAME, &[ip(2)]);
    // Requests would hang while the old address gets any.
    let gone = format!("ringgate_endpoint_up{{endpoint=\"{NAME}/{}\"}}", slow.address);
    let is_gone = || gateway.metrics().series("ringgate_endpoint_up").count() == 1;
    eventually("the new address alone", || (is_gone() && gateway.count(&gone) == 0).then_some(()));
    assert_eq!(gateway.get("/").text(), "other");
    gate.open();

    assert_eq!(waiting.read().text(), "late, but whole");
    assert_eq!((slow.requests_seen(), other.requests_seen()), (1, 1));
}

#[test]
fn no_request_fails_while_addresses_change_under_load() {
    let origins = origins(4);
    let dns = dns();
    dns.addresses(NAME, &[ip(1)]);
    let gateway = resolving(&dns, &origins[0], "");
    let address = gateway.address();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut client = crate::support::client::Client::connect(address);
                let mut requests = 0;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.get("/").status, 200);
                    requests += 1;
                }
                requests
            })
        })
        .collect();

    for round in 0..8u8 {
        let (one, other) = (1 + round % 4, 1 + (round + 1) % 4);
        dns.addresses(NAME, &[ip(one), ip(other)]);
        let wanted = [one.to_string(), other.to_string()];
        wait_for(&gateway, &[&wanted[0], &wanted[1]]);
    }
    stop.store(true, Ordering::Relaxed);

    let requests: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(requests > 100, "{requests} requests");
    assert_eq!(gateway.count("ringgate_upstream_failures_total"), 0);
}

#[test]
fn a_name_that_cannot_be_resolved_any_more_keeps_its_addresses() {
    let origins = origins(1);
    let dns = dns();
    dns.addresses(NAME, &[ip(1)]);
    let gateway = resolving(&dns, &origins[0], "");
    for (says, outcome) in [
        (Says::NoSuchName, "no_such_name"),
        (Says::Failure, "server_failed"),
        (Says::Silence, "timed_out"),
        (Says::Addresses(0, Vec::new()), "no_address"),
    ] {
        dns.says(NAME, says);

        let lookups = format!("ringgate_dns_lookups_total{{outcome={outcome:?}}}");
        eventually(&lookups, || (gateway.count(&lookups) > 0).then_some(()));

        assert_eq!(gateway.get("/").text(), "1", "{outcome}");
        dns.addresses(NAME, &[ip(1)]);
        let before = gateway.count("ringgate_dns_lookups_total{outcome=\"answered\"}");
        eventually("an answer", || {
            let now = gateway.count("ringgate_dns_lookups_total{outcome=\"answered\"}");
            (now > before).then_some(())
        });
    }
    let said = gateway.stderr();
    assert_eq!(said.matches("cannot resolve a name").count(), 4, "once for each problem:\n{said}");
}

#[test]
fn a_new_process_begins_with_the_addresses_of_the_old_one() {
    let origins = origins(1);
    let dns = dns();
    dns.addresses(NAME, &[ip(1)]);
    let mut gateway = resolving(&dns, &origins[0], "");
    assert_eq!(gateway.get("/").text(), "1");

    dns.says(NAME, Says::Silence);
    gateway.hand_over();

    assert_eq!(gateway.get("/").text(), "1");
}

#[test]
fn addresses_that_hold_for_a_time_are_given_up_after_it() {
    let origins = origins(1);
    let dns = dns();
    dns.addresses(NAME, &[ip(1)]);
    let address = format!("{NAME}:{}", origins[0].address.port());
    let resolver = format!("{OFTEN}\nhold = \"200ms\"");
    let gateway = gateway().config(config(&dns, &resolver, &address, "")).start();
    assert_eq!(gateway.get("/").text(), "1");

    dns.says(NAME, Says::Failure);

    eventually("no endpoint", || (gateway.get("/").status == 503).then_some(()));
    dns.addresses(NAME, &[ip(1)]);
    wait_for(&gateway, &["1"]);
}

#[test]
fn a_name_without_an_address_is_waited_for_while_others_are_served() {
    let origins = origins(1);
    let port = origins[0].address.port();
    let dns = dns();
    dns.says("silent.test", Says::Silence);
    dns.addresses(NAME, &[ip(1)]);
    let both = config(&dns, OFTEN, &format!("{NAME}:{port}"), "")
        + "[[cluster.c.endpoint]]\naddress = \"missing.test:80\"\n"
        + &format!("[cluster.d]\n[[cluster.d.endpoint]]\naddress = \"silent.test:{port}\"\n");
    let to_silent = "[[route]]\npath = \"/silent\"\ncluster = \"d\"\n";
    let both = both.replacen("[[route]]", &format!("{to_silent}[[route]]"), 1);
    let gateway = gateway().config(&both).start();

    wait_for(&gateway, &["1"]);
    assert_eq!(gateway.get("/silent").status, 503);
    assert!(gateway.metrics().0.contains("endpoint=\"missing.test:80\""));

    // Names that were asked for before are not waited for again.
    let began = Instant::now();
    (0..3).for_each(|_| assert_eq!(gateway.reload(&both), Reload::InForce));
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());

    dns.addresses("silent.test", &[ip(1)]);
    eventually("an answer", || (gateway.get("/silent").text() == "1").then_some(()));
}

#[test]
fn a_time_to_live_counts_within_its_bounds() {
    let origins = origins(1);
    let dns = dns();
    dns.addresses(NAME, &[ip(1)]);
    let gateway = resolving(&dns, &origins[0], "");

    // An answer without a time to live counts for min_ttl.
    let began = Instant::now();
    let first = dns.asked(NAME);
    eventually("five lookups", || (dns.asked(NAME) >= first + 5).then_some(()));
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());

    // One that lives for an hour is not asked for again, but at a reload.
    dns.says(NAME, Says::Addresses(3600, vec![ip(1)]));
    let counted = |outcome: &str| {
        gateway.count(&format!("ringgate_dns_lookups_total{{outcome={outcome:?}}}"))
    };
    let asked = dns.asked(NAME);
    eventually("one more lookup", || (dns.asked(NAME) > asked).then_some(()));
    let asked = dns.asked(NAME);
    let address = format!("{NAME}:{}", origins[0].address.port());
    let after = config(&dns, OFTEN, &address, "");
    let before = counted("answered");
    assert_eq!(gateway.reload(&after), Reload::InForce);
    eventually("a lookup for the reload", || (counted("answered") > before).then_some(()));
    assert_eq!(dns.asked(NAME), asked + 1);
}

#[test]
fn an_answer_that_is_too_long_for_udp_is_asked_for_over_tcp() {
    let origins = origins(2);
    let dns = dns();
    dns.says(NAME, Says::TooLong(1, vec![ip(1), ip(2)]));

    let gateway = resolving(&dns, &origins[0], "");

    wait_for(&gateway, &["1", "2"]);
}

#[test]
fn addresses_of_ipv6_are_used_where_there_are_none_of_ipv4_or_where_they_are_preferred() {
    let old = origin().reply("old").start();
    let new = SocketAddr::new([0, 0, 0, 0, 0, 0, 0, 1].into(), old.address.port());
    let new = origin().reply("new").start_at(new);
    let dns = dns();
    let (v4, v6) = (old.address.ip(), new.address.ip());
    let address = format!("{NAME}:{}", old.address.port());
    let asks = |prefer: &str| config(&dns, &format!("{OFTEN}\n{prefer}"), &address, "");
    dns.addresses(NAME, &[v6]);
    let gateway = gateway().config(asks("")).start();
    wait_for(&gateway, &["new"]);

    dns.addresses(NAME, &[v6, v4]);
    wait_for(&gateway, &["old"]);
    assert_eq!(gateway.reload(&asks("prefer = \"ipv6\"")), Reload::InForce);
    wait_for(&gateway, &["new"]);
    assert_eq!(gateway.reload(&asks("prefer = \"both\"")), Reload::InForce);
    wait_for(&gateway, &["new", "old"]);
}

#[test]
fn a_service_tells_ports_weights_and_who_stands_in() {
    const SERVICE: &str = "_http._tcp.models.test";
    let origins = [1, 2, 3].map(|n| origin().reply(&n.to_string()).start());
    let host = |n: usize, priority, weight| {
        let port = origins[n - 1].address.port();
        Host { priority, weight, port, name: "host.test" }
    };
    let dns = dns();
    dns.says("host.test", Says::Addresses(1, vec![[127, 0, 0, 1].into()]));
    let hosts = vec![host(1, 10, 30), host(2, 10, 10), host(3, 20, 10)];
    dns.says(SERVICE, Says::Hosts(0, hosts));
    let gateway = gateway().config(config(&dns, OFTEN, &format!("srv:{SERVICE}"), "")).start();

    let mut client = gateway.client();
    (0..40).for_each(|_| assert_eq!(client.get("/").status, 200));
    let seen = origins.each_ref().map(Origin::requests_seen);
    assert_eq!(seen, [30, 10, 0]);

    // Whoever has the lowest priority is what is used: now the third.
    dns.says(SERVICE, Says::Hosts(0, vec![host(1, 10, 1), host(3, 5, 0)]));
    wait_for(&gateway, &["3"]);
    let address = origins[2].address;
    assert!(gateway.metrics().0.contains(&format!("endpoint=\"{SERVICE}/{address}\"")));
    // A host without an address is no failure of the others.
    let nobody = Host { priority: 1, weight: 1, port: 80, name: "nobody.test" };
    dns.says(SERVICE, Says::Hosts(0, vec![nobody, host(2, 5, 0)]));
    wait_for(&gateway, &["2"]);
}

#[test]
fn names_of_this_machine_are_known_without_a_server() {
    let origin = origin().reply("here").start();
    let dns = dns();
    let address = format!("localhost:{}", origin.address.port());

    let gateway = gateway().config(config(&dns, OFTEN, &address, "")).start();

    assert_eq!(gateway.get("/").text(), "here");
    assert_eq!(dns.asked("localhost"), 0);
}
