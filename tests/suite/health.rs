//! Endpoints are asked whether they are well; those that are not get no requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, Reload, cluster_of, gateway, listener};
use crate::support::http2::origin::http2_origin;
use crate::support::origin::{Connection, Origin, Request, origin};
use crate::support::tls::Authority;
use crate::support::{eventually, free_port};

const CHECK: &str =
    "health_check = { path = \"/health\", interval = \"20ms\", fall = 2, rise = 2 }";

/// An origin whose health page says what the test has set.
struct Patient {
    origin: Origin,
    is_well: Arc<AtomicBool>,
}

impl Patient {
    /// Answers other requests with its name.
    fn new(name: &'static str) -> Self {
        Self::with(move |_, connection| connection.reply(name))
    }

    fn with(each: impl Fn(&Request, &mut Connection) + Send + Sync + 'static) -> Self {
        let is_well = Arc::new(AtomicBool::new(true));
        let well = Arc::clone(&is_well);
        let origin = origin().on(move |request, connection| {
            match (request.target(), well.load(Ordering::SeqCst)) {
                ("/health", true) => connection.reply("fine"),
                ("/health", false) => {
                    connection.send("HTTP/1.1 503 Unwell\r\nContent-Length: 0\r\n\r\n");
                }
                _ => each(request, connection),
            }
        });
        Self { origin: origin.start(), is_well }
    }

    fn unwell(self) -> Self {
        self.is_well.store(false, Ordering::SeqCst);
        self
    }

    fn becomes(&self, well: bool, gateway: &Gateway) {
        self.is_well.store(well, Ordering::SeqCst);
        wait_for_up(gateway, self.origin.address, well);
    }

    fn checks_seen(&self) -> usize {
        self.origin.requests().iter().filter(|request| request.target() == "/health").count()
    }
}

fn up(address: SocketAddr) -> String {
    format!("ringgate_endpoint_up{{endpoint=\"{address}\"}}")
}

fn wait_for_up(gateway: &Gateway, address: SocketAddr, up_: bool) {
    gateway.wait_for_count(&up(address), u64::from(up_));
}

fn checks(gateway: &Gateway, outcome: &str) -> u64 {
    gateway.count(&format!("ringgate_health_checks_total{{outcome=\"{outcome}\"}}"))
}

fn to(endpoints: &[SocketAddr], cluster: &str) -> String {
    listener("") + "[[route]]\ncluster = \"c\"\n" + &cluster_of("c", endpoints, cluster)
}

fn over(endpoints: &[SocketAddr], cluster: &str) -> Gateway {
    gateway().config(to(endpoints, cluster)).start()
}

/// Who answers a row of requests.
fn answers(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| client.get("/").text().to_owned()).collect()
}

#[test]
fn an_endpoint_gets_no_requests_from_when_its_checks_fail_until_they_pass_again() {
    let (a, b) = (Patient::new("a"), Patient::new("b"));
    let gateway = over(&[a.origin.address, b.origin.address], CHECK);
    let mut client = gateway.client();
    assert!(answers(&mut client, 4).iter().any(|name| name == "a"));

    a.becomes(false, &gateway);
    assert_eq!(answers(&mut client, 6), ["b"; 6]);
    a.becomes(true, &gateway);
    assert!(answers(&mut client, 4).iter().any(|name| name == "a"));

    assert!(checks(&gateway, "passed") >= 2);
    assert!(checks(&gateway, "wrong_status") >= 2);
    let said = gateway.stderr();
    assert_eq!(said.matches("an endpoint is down").count(), 1, "{said}");
    assert_eq!(said.matches("an endpoint is up").count(), 1, "{said}");
    assert!(said.contains("reason=\"wrong_status\" detail=\"status 503\""), "{said}");
}

#[test]
fn when_no_endpoint_is_well_clients_are_told_to_come_back() {
    let patient = Patient::new("a");
    let gateway = over(&[patient.origin.address], CHECK);
    patient.becomes(false, &gateway);

    let reply = gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: nobody\r\n\r\n");

    assert_eq!(reply.status, 503);
    assert!(reply.get("retry-after").is_some());
    assert_eq!(gateway.log_line("nobody")["reason"], "no_endpoint");
    assert_eq!(gateway.admin("/actuator/health").status, 200, "the gateway itself is alive");
}

#[test]
fn a_backup_stands_in_while_no_other_endpoint_is_well() {
    let (first, backup) = (Patient::new("first"), Patient::new("backup"));
    let config = to(&[first.origin.address, backup.origin.address], CHECK) + "backup = true\n";
    let gateway = gateway().config(config).start();
    let mut client = gateway.client();

    assert_eq!(answers(&mut client, 2), ["first"; 2]);
    first.becomes(false, &gateway);
    assert_eq!(answers(&mut client, 2), ["backup"; 2]);
    first.becomes(true, &gateway);
    assert_eq!(answers(&mut client, 2), ["first"; 2]);
}

#[test]
fn who_waits_is_served_by_an_endpoint_that_comes_back() {
    let gate = Gate::default();
    let held = gate.clone();
    let busy = Patient::with(move |_, connection| {
        if held.try_pass() {
            connection.reply("busy");
        }
    });
    let other = Patient::new("other").unwell();
    let config = to(&[busy.origin.address, other.origin.address], CHECK)
        .replace("[[cluster.c.endpoint]]", "[[cluster.c.endpoint]]\nmax_in_flight = 1");
    let gateway = gateway().config(config).start();
    wait_for_up(&gateway, other.origin.address, false);

    let mut first = gateway.client();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.wait_for_count("ringgate_endpoint_in_flight", 1);
    let mut second = gateway.client();
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.wait_for_count("ringgate_queue_length", 1);
    other.becomes(true, &gateway);

    assert_eq!(second.read().text(), "other");
    gate.open();
    assert_eq!(first.read().text(), "busy");
}

#[test]
fn a_check_asks_what_it_is_told_to() {
    let patient = Patient::new("a");
    let check = "health_check = { path = \"/health?deep=1\", method = \"POST\", \
                 host = \"models.internal\", headers = { x-probe = \"yes\" }, interval = \"20ms\", \
                 expect = [200, \"400-404\"] }";
    let gateway = over(&[patient.origin.address], check);
    eventually("a check", || (checks(&gateway, "passed") > 0).then_some(()));

    let request = patient.origin.requests().remove(0);
    assert_eq!((request.method(), request.target()), ("POST", "/health?deep=1"));
    assert_eq!(request.get("host"), Some("models.internal"));
    assert_eq!(request.get("x-probe"), Some("yes"));
    assert_eq!(request.get("connection"), Some("close"));
    assert_eq!(request.get("content-length"), Some("0"));
    assert!(request.get("user-agent").is_some_and(|agent| agent.starts_with("ringgate/")));
}

/// An origin that answers checks and all else with these bytes, and closes.
fn always(bytes: &'static str) -> Origin {
    origin()
        .on(move |_, connection| {
            connection.send(bytes);
            connection.close();
        })
        .start()
}

#[test]
fn a_text_is_looked_for_in_the_body_however_it_is_framed() {
    let well = [
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well.",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nall i\r\n7\r\ns well.\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nall is well.",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nis well",
    ];
    let unwell = [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is bad.",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nis well",
        "HTTP/1.1 200 OK\r\n\r\nis wel",
    ];
    let origins: Vec<Origin> = well.into_iter().chain(unwell).map(always).collect();
    let addresses: Vec<SocketAddr> = origins.iter().map(|origin| origin.address).collect();
    let check = "health_check = { body = \"is well\", interval = \"20ms\", fall = 1, rise = 1, \
                 initial = \"checked\" }";
    let gateway = over(&addresses, check);

    let metrics = gateway.metrics();
    for (index, address) in addresses.iter().enumerate() {
        let expected = u64::from(index < well.len());
        assert_eq!(metrics.count(&up(*address)), expected, "the answer at {index}");
    }
    assert!(checks(&gateway, "wrong_body") >= 2, "two have a whole body");
}

#[test]
fn what_went_wrong_is_told_in_one_word() {
    let silent = origin().on(|_, connection| connection.wait_for_anything_and_close()).start();
    let closing = origin().on(|_, connection| connection.close()).start();
    let garbling = always("garbage\r\n\r\n");
    let nobody: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let cases = [
        (silent.address, "timeout"),
        (closing.address, "closed"),
        (garbling.address, "malformed"),
        (nobody, "connect_failed"),
    ];
    let addresses = cases.map(|(address, _)| address);
    let check = "health_check = { interval = \"20ms\", timeout = \"40ms\", fall = 2 }";
    let gateway = over(&addresses, check);

    for (address, outcome) in cases {
        wait_for_up(&gateway, address, false);
        let labels = format!("endpoint=\"{address}\",outcome=\"{outcome}\"");
        assert!(gateway.count(&format!("ringgate_health_checks_total{{{labels}}}")) >= 2);
    }
}

#[test]
fn a_check_by_tcp_asks_for_no_more_than_a_connection() {
    let origin = origin().on(|_, _| panic!("a check by TCP sends nothing")).start();
    let nobody: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let check = "health_check = { type = \"tcp\", interval = \"20ms\", fall = 1 }";
    let gateway = over(&[origin.address, nobody], check);

    wait_for_up(&gateway, nobody, false);
    eventually("checks that pass", || (checks(&gateway, "passed") >= 2).then_some(()));
    assert_eq!(gateway.count(&up(origin.address)), 1);
}

#[test]
fn a_private_endpoint_is_checked_as_privately_as_it_is_used() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let private = |authority: &Authority| {
        let issued = authority.issue("docs", &["docs.internal"]);
        origin().private(authority.server(&issued)).start()
    };
    let (known, unknown) = (private(&authority), private(&stranger));
    for kind in ["http", "tcp"] {
        let lines = format!(
            "tls = {{ ca = {:?}, server_name = \"docs.internal\" }}\n\
             health_check = {{ type = {kind:?}, interval = \"20ms\", fall = 1, rise = 1, \
             initial = \"checked\" }}",
            authority.file()
        );
        let gateway = over(&[known.address, unknown.address], &lines);

        assert_eq!(gateway.count(&up(known.address)), 1, "{kind}");
        assert_eq!(gateway.count(&up(unknown.address)), 0, "{kind}");
        assert!(checks(&gateway, "tls_failed") >= 1, "{kind}");
    }
}

#[test]
fn an_endpoint_that_speaks_http2_is_asked_in_http2() {
    let origin = http2_origin(|served| served.reply("all is well"));
    let lines = "health_check = { body = \"well\", interval = \"20ms\", rise = 1, \
                 initial = \"checked\" }";
    let config = to(&[origin.address], lines) + "http2 = true\n";
    let gateway = gateway().config(config).start();

    assert_eq!(gateway.count(&up(origin.address)), 1);
    assert!(checks(&gateway, "passed") >= 1);

    let refusing = lines.replace("body", "expect = [204], body");
    let config = to(&[origin.address], &refusing) + "http2 = true\n";
    assert_eq!(gateway.reload(&config), Reload::InForce);
    eventually("a wrong status", || (checks(&gateway, "wrong_status") > 0).then_some(()));
}

#[test]
fn an_endpoint_at_a_unix_socket_is_checked_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("health.sock");
    let listening = UnixListener::bind(&path).expect("the name is free");
    let served = thread::spawn(move || {
        let (mut stream, _) = listening.accept().expect("a check");
        use std::io::{Read as _, Write as _};
        let mut request = [0; 1024];
        let read = stream.read(&mut request).expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("somebody reads");
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let cluster = format!(
        "[cluster.c]\nhealth_check = {{ interval = \"1h\", initial = \"checked\" }}\n\
         [[cluster.c.endpoint]]\naddress = \"unix:{}\"\n",
        path.display()
    );
    let config = listener("") + "[[route]]\ncluster = \"c\"\n" + &cluster;
    let gateway = gateway().config(config).start();

    assert!(served.join().expect("it was checked").contains("host: localhost\r\n"));
    gateway.wait_for_count("ringgate_endpoint_up", 1);
}

#[test]
fn an_endpoint_that_wants_to_know_whose_connection_it_gets_is_told_that_it_is_ours() {
    let origin = origin()
        .serve(|connection| {
            let Ok(header) = connection.wire().read_exactly(28) else { return };
            assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11"), "{header:?}");
            assert_eq!(header[16..24], [127, 0, 0, 1, 127, 0, 0, 1], "ours, and the endpoint's");
            if connection.read_request().is_some() {
                connection.reply("fine");
            }
        })
        .start();
    let lines = "proxy_protocol = \"v2\"\n\
                 health_check = { interval = \"20ms\", rise = 1, initial = \"checked\" }";
    let gateway = over(&[origin.address], lines);

    assert_eq!(gateway.count(&up(origin.address)), 1);
}

#[test]
fn an_endpoint_may_have_to_prove_itself_first() {
    let (unwell, well) = (Patient::new("unwell").unwell(), Patient::new("well"));
    let check = CHECK.replace("fall = 2", "fall = 100, initial = \"checked\"");
    let gateway = over(&[unwell.origin.address, well.origin.address], &check);

    assert_eq!(answers(&mut gateway.client(), 6), ["well"; 6], "from the first request on");
    assert_eq!(unwell.origin.requests_seen(), unwell.checks_seen());

    let check = CHECK.replace("rise = 2", "rise = 100, initial = \"down\"");
    let third = Patient::new("third");
    let config = to(&[well.origin.address, third.origin.address], &check);
    assert_eq!(gateway.reload(&config), Reload::InForce);
    assert_eq!(answers(&mut gateway.client(), 6), ["well"; 6], "what was up stays up");
}

#[test]
fn what_is_known_outlives_a_reload_and_checks_go_on_without_a_break() {
    let (a, b) = (Patient::new("a").unwell(), Patient::new("b"));
    let addresses = [a.origin.address, b.origin.address];
    let gateway = over(&addresses, CHECK);
    wait_for_up(&gateway, a.origin.address, false);

    // Who began anew would need a hundred failures to find out.
    let slower = CHECK.replace("fall = 2", "fall = 100");
    for check in [CHECK, &slower] {
        assert_eq!(gateway.reload(&to(&addresses, check)), Reload::InForce);
        assert_eq!(gateway.count(&up(a.origin.address)), 0);
        assert_eq!(answers(&mut gateway.client(), 4), ["b"; 4]);
    }
    let seen = a.checks_seen();
    eventually("more checks", || (a.checks_seen() > seen + 1).then_some(()));

    assert_eq!(gateway.reload(&to(&addresses, "")), Reload::InForce);
    wait_for_up(&gateway, a.origin.address, true);
    let said = gateway.stderr();
    assert_eq!(said.matches("an endpoint is down").count(), 1, "{said}");
}

#[test]
fn an_endpoint_that_is_gone_is_not_checked_any_more() {
    let (a, b) = (Patient::new("a"), Patient::new("b"));
    let gateway = over(&[a.origin.address, b.origin.address], CHECK);
    eventually("checks", || (a.checks_seen() > 1).then_some(()));

    assert_eq!(gateway.reload(&to(&[b.origin.address], CHECK)), Reload::InForce);

    let (before, others) = (a.checks_seen(), b.checks_seen());
    eventually("checks of the other", || (b.checks_seen() > others + 5).then_some(()));
    assert!(a.checks_seen() <= before + 1, "one may have been under way");
}

#[test]
fn a_new_process_knows_what_the_old_one_knew() {
    let (a, b) = (Patient::new("a").unwell(), Patient::new("b"));
    let addresses = [a.origin.address, b.origin.address];
    let mut gateway = over(&addresses, CHECK);
    wait_for_up(&gateway, a.origin.address, false);

    // Who knew nothing would need a hundred failures to find out.
    gateway.prepare(2, &to(&addresses, &CHECK.replace("fall = 2", "fall = 100")));
    gateway.hand_over();

    assert_eq!(gateway.count(&up(a.origin.address)), 0);
    // Connections may still come to the old process, which closes them after one answer.
    (0..6).for_each(|_| assert_eq!(gateway.get("/").text(), "b"));
    a.becomes(true, &gateway);
}

/// How many endpoints the cost of checks is measured with. A release is tested with 10,000.
fn checked_endpoints() -> u32 {
    let count = std::env::var("RINGGATE_TEST_CHECKED_ENDPOINTS").ok();
    count.map_or(300, |count| count.parse().expect("a number of endpoints"))
}

#[test]
fn checks_of_many_endpoints_are_spread_and_cost_little() {
    // As often in all as those of 10,000 endpoints every 15 s.
    const CHECKS_A_SECOND: f64 = 10_000.0 / 15.0;
    let count = checked_endpoints();
    let interval = Duration::from_secs_f64(f64::from(count) / CHECKS_A_SECOND);
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let origin = origin().reply("well").start_at(anywhere);
    // All of 127.0.0.0/8 is this machine.
    let address = |n| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + n);
    let addresses: Vec<SocketAddr> =
        (0..count).map(|n| (address(n), origin.address.port()).into()).collect();
    let check = format!("health_check = {{ interval = \"{}ms\" }}", interval.as_millis());
    let gateway = over(&addresses, &check);
    let passed = || checks(&gateway, "passed");
    eventually("the first check of each", || (passed() >= u64::from(count)).then_some(()));

    let (began, before, cpu) = (Instant::now(), passed(), cpu_seconds(&gateway));
    thread::park_timeout(Duration::from_secs(1).max(interval));
    let (spent, made) = (cpu_seconds(&gateway) - cpu, (passed() - before) as f64);
    let took = began.elapsed().as_secs_f64();

    let (rate, share) = (made / took, spent / took);
    println!("{count} endpoints: {rate:.0} checks a second, {:.1} % of a core", 100.0 * share);
    assert!((0.7..1.3).contains(&(rate / CHECKS_A_SECOND)), "{made} checks in {took} s");
    assert_eq!(gateway.count("ringgate_endpoint_up"), u64::from(count));
    // Far more than it is: a build for tests is slow, and so is a machine with other things to do.
    assert!(share < 0.3, "{spent} s of {took}");
}

fn cpu_seconds(gateway: &Gateway) -> f64 {
    gateway.metrics().sum("process_cpu_seconds_total")
}
