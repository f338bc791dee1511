//! Requests are shared between the endpoints of a cluster as its `balance` says.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::support::free_port;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, Reload, cluster_of, gateway, listener};
use crate::support::origin::{Origin, origin};

const ROUTE: &str = "[[route]]\ncluster = \"c\"\n";

/// With a bound so high that an exchange which is just ending moves no key.
const HASH: &str = "balance = \"consistent_hash\"\nload_bound = 100\n";

/// Origins that answer with their place in the list.
fn origins(count: usize) -> Vec<Origin> {
    (0..count).map(|index| origin().reply(&index.to_string()).start()).collect()
}

fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

fn seen(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(Origin::requests_seen).collect()
}

fn balanced(origins: &[Origin], cluster: &str) -> Gateway {
    gateway().route_with("/", &addresses(origins), "", cluster).start()
}

#[test]
fn turns_are_exact_over_all_workers() {
    let origins = origins(4);
    let gateway = balanced(&origins, "");
    // On two workers, as the balance of connections promises.
    let mut clients = [gateway.client(), gateway.client(), gateway.client(), gateway.client()];

    for round in 1..=10 {
        for client in &mut clients {
            client.get("/");
        }
        assert_eq!(seen(&origins), [round; 4]);
    }
}

#[test]
fn an_endpoint_that_hangs_gets_no_more_than_the_others_have_under_least_requests() {
    let gate = Gate::default();
    let hanging = {
        let gate = gate.clone();
        origin().on(move |_, connection| {
            gate.pass();
            connection.reply("late");
        })
    };
    let hanging = hanging.start();
    let quick = origin().reply("quick").start();
    let gateway = gateway()
        .route_with("/", &[hanging.address, quick.address], "", "balance = \"least_requests\"")
        .start();
    let mut waiting = gateway.client();
    let mut client = gateway.client();

    // One of these two hangs: idle endpoints take turns.
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    hanging.wait_for_requests(1);
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "quick");
    }

    assert_eq!(hanging.requests_seen(), 1);
    gate.open();
    assert_eq!(waiting.read().text(), "late");
}

#[test]
fn every_algorithm_reaches_every_endpoint_by_weight_or_key() {
    for balance in ["random", "two_choices", "peak_ewma"] {
        let origins = origins(3);
        let gateway = balanced(&origins, &format!("balance = {balance:?}"));
        let mut client = gateway.client();
        // The chance that a draw leaves one out is below 10^-10.
        for _ in 0..60 {
            assert_eq!(client.get("/").status, 200);
        }
        assert!(seen(&origins).iter().all(|seen| *seen > 0), "{balance}: {:?}", seen(&origins));
    }
}

#[test]
fn a_client_address_stays_with_its_endpoint() {
    let origins = origins(4);
    let gateway = balanced(&origins, "balance = \"ip_hash\"");

    for _ in 0..10 {
        gateway.get("/");
    }

    let mut seen = seen(&origins);
    seen.sort_unstable();
    assert_eq!(seen, [0, 0, 0, 10]);
}

fn get_with(gateway: &Gateway, field: &str) -> String {
    let reply = gateway.talk(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"));
    reply.text().to_owned()
}

#[test]
fn a_header_or_a_cookie_decides_where_a_request_goes() {
    for (hash_on, field) in
        [("header:x-session", "X-Session: "), ("cookie:sid", "Cookie: b=1; sid=")]
    {
        let origins = origins(4);
        let cluster = format!("{HASH}hash_on = {hash_on:?}");
        let gateway = balanced(&origins, &cluster);
        let home = |key: usize| get_with(&gateway, &format!("{field}{key}"));

        let homes: Vec<String> = (0..24).map(home).collect();

        let used: BTreeSet<&String> = homes.iter().collect();
        assert!(used.len() >= 3, "keys are spread: {homes:?}");
        for (key, before) in homes.iter().enumerate() {
            assert_eq!(home(key), *before);
        }
    }
}

#[test]
fn when_an_endpoint_leaves_only_its_own_keys_move() {
    let origins = origins(4);
    let config = |endpoints: &[SocketAddr]| {
        let hash = format!("{HASH}hash_on = \"header:x-key\"");
        format!("{}{ROUTE}{}", listener(""), cluster_of("c", endpoints, &hash))
    };
    let gateway = gateway().config(config(&addresses(&origins))).start();
    let home = |key: usize| get_with(&gateway, &format!("X-Key: {key}"));

    let before: Vec<String> = (0..40).map(home).collect();
    assert_eq!(gateway.reload(&config(&addresses(&origins[..3]))), Reload::InForce);
    let after: Vec<String> = (0..40).map(home).collect();

    assert!(before.contains(&"3".to_owned()));
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || before == "3", "{before} became {after}");
    }
}

#[test]
fn a_backup_gets_requests_only_while_no_other_endpoint_can_be_reached() {
    let backup = origin().reply("backup").start();
    let first = origin().reply("first").start();
    let address = first.address;
    let endpoint = |address: SocketAddr, more: &str| {
        format!("[[cluster.c.endpoint]]\naddress = \"{address}\"\n{more}\n")
    };
    let config = format!(
        "{}{ROUTE}{}{}",
        listener(""),
        endpoint(address, ""),
        endpoint(backup.address, "backup = true")
    );
    let gateway = gateway().config(config).start();
    let mut client = gateway.client();

    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "first");
    }
    drop(first);
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "backup");
    }
    let _again = origin().reply("again").start_at(address);
    assert_eq!(client.get("/").text(), "again");
}

#[test]
fn an_endpoint_that_joins_starts_slowly() {
    let origins = origins(2);
    let config = |endpoints: &[SocketAddr]| {
        format!("{}{ROUTE}{}", listener(""), cluster_of("c", endpoints, "slow_start = \"1h\""))
    };
    let gateway = gateway().config(config(&[origins[0].address])).start();
    let mut client = gateway.client();
    client.get("/");
    assert_eq!(gateway.reload(&config(&addresses(&origins))), Reload::InForce);

    for _ in 0..200 {
        client.get("/");
    }

    // A twentieth of a share beside a whole one: 10 of 200 are expected, 100 without it.
    let joined = origins[1].requests_seen();
    assert!((1..=30).contains(&joined), "{joined} of 200");
}

#[test]
fn endpoints_that_are_there_from_the_start_have_their_whole_share() {
    let origins = origins(2);
    let gateway = balanced(&origins, "slow_start = \"1h\"");
    let mut client = gateway.client();

    for _ in 0..20 {
        client.get("/");
    }

    assert_eq!(seen(&origins), [10, 10]);
}

#[test]
fn without_any_endpoint_that_answers_the_client_is_told() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    for balance in ["least_requests", "ip_hash", "consistent_hash", "peak_ewma"] {
        let cluster = format!("balance = {balance:?}");
        let gateway = gateway().route_with("/", &[nobody], "", &cluster).start();
        assert_eq!(gateway.get("/").status, 502, "{balance}");
    }
}
