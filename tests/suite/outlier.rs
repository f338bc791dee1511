//! An endpoint whose answers are failures is left alone for a time, and never all of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Reload, cluster_of, gateway, listener};
use crate::support::origin::{Connection, Origin, origin};

/// Ejects after three failures in a row. Retries would hide them from the client.
const OUTLIER: &str = "retry = { attempts = 1 }\n\
     outlier = { consecutive_failures = 3, ejection = \"1h\", max_ejection = \"2h\" }";

fn brief(outlier: &str) -> String {
    outlier.replace("\"1h\"", "\"60ms\"").replace("\"2h\"", "\"1m\"")
}

const BAD: &str = "HTTP/1.1 500 Broken\r\nContent-Length: 3\r\n\r\nbad";

/// An origin that does this, until it is told to answer well.
struct Moody {
    origin: Origin,
    is_well: Arc<AtomicBool>,
}

impl Moody {
    fn new(each: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let is_well = Arc::<AtomicBool>::default();
        let well = Arc::clone(&is_well);
        let origin = origin().on(move |_, connection| match well.load(Ordering::SeqCst) {
            true => connection.reply("good"),
            false => each(connection),
        });
        Self { origin: origin.start(), is_well }
    }

    fn bad() -> Self {
        Self::new(|connection| connection.send(BAD))
    }

    fn recover(&self) {
        self.is_well.store(true, Ordering::SeqCst);
    }

    fn requests_seen(&self) -> usize {
        self.origin.requests_seen()
    }
}

fn good() -> Origin {
    origin().reply("good").start()
}

fn to(endpoints: &[SocketAddr], cluster: &str) -> String {
    listener("") + "[[route]]\ncluster = \"c\"\n" + &cluster_of("c", endpoints, cluster)
}

/// With one worker, an attempt has been judged before the next request is read.
fn over(endpoints: &[SocketAddr], cluster: &str) -> Gateway {
    gateway().workers(1).config(to(endpoints, cluster)).start()
}

fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.get("/").status).collect()
}

fn ejections(gateway: &Gateway, reason: &str) -> u64 {
    gateway.count(&format!("ringgate_ejections_total{{reason=\"{reason}\"}}"))
}

#[test]
fn failures_in_a_row_eject_an_endpoint() {
    let (bad, good) = (Moody::bad(), good());
    let gateway = over(&[bad.origin.address, good.address], OUTLIER);
    let mut client = gateway.client();

    let failed = statuses(&mut client, 6).iter().filter(|status| **status == 500).count();
    assert_eq!((failed, bad.requests_seen()), (3, 3));
    assert_eq!(statuses(&mut client, 10), [200; 10]);

    assert_eq!(bad.requests_seen(), 3, "it is left alone");
    let endpoint = format!("endpoint=\"{}\"", bad.origin.address);
    assert_eq!(gateway.count(&format!("ringgate_endpoint_ejected{{{endpoint}}}")), 1);
    assert_eq!(gateway.count(&format!("ringgate_endpoint_up{{{endpoint}}}")), 0);
    assert_eq!(ejections(&gateway, "consecutive_failures"), 1);
    let said = gateway.stderr();
    assert_eq!(said.matches("an endpoint is left alone").count(), 1, "{said}");
}

#[test]
fn what_is_no_fault_of_the_endpoint_ejects_nobody() {
    let picky = origin().reply_raw("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").start();
    let busy = origin().reply_raw("HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n").start();
    let gateway = over(&[picky.address, busy.address], OUTLIER);

    statuses(&mut gateway.client(), 20);

    assert_eq!((picky.requests_seen(), busy.requests_seen()), (10, 10));
    assert_eq!(gateway.count("ringgate_ejections_total"), 0);
}

#[test]
fn an_endpoint_that_answers_badly_now_and_then_stays() {
    let flaky = origin()
        .on(|request, connection| match request.number % 3 {
            2 => connection.reply("good"),
            _ => connection.send(BAD),
        })
        .start();
    let good = good();
    let gateway = over(&[flaky.address, good.address], OUTLIER);

    statuses(&mut gateway.client(), 40);

    assert_eq!(gateway.count("ringgate_ejections_total"), 0);
}

#[test]
fn too_large_a_share_of_failures_ejects_whatever_their_order_is() {
    let flaky = origin()
        .on(|request, connection| match request.number % 2 {
            0 => connection.reply("good"),
            _ => connection.send(BAD),
        })
        .start();
    let good = good();
    let outlier = "retry = { attempts = 1 }\n\
         outlier = { failure_rate = \"50%\", requests = 10, window = \"1m\", ejection = \"1h\" }";
    let gateway = over(&[flaky.address, good.address], outlier);

    statuses(&mut gateway.client(), 40);

    assert_eq!(flaky.requests_seen(), 10, "the tenth attempt is the first that counts");
    assert_eq!(ejections(&gateway, "failure_rate"), 1);
}

#[test]
fn every_kind_of_failure_counts() {
    let closing = Moody::new(Connection::close);
    let resetting = Moody::new(Connection::reset);
    let garbling = Moody::new(|connection| {
        connection.send("garbage\r\n\r\n");
        connection.close();
    });
    let cutting = Moody::new(|connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut");
        connection.close();
    });
    let silent = Moody::new(|connection| connection.wait_for_anything_and_close());
    let outlier = OUTLIER.to_owned() + "\ntimeouts = { first_byte = \"30ms\" }";
    for failing in [closing, resetting, garbling, cutting, silent] {
        let good = good();
        let gateway = over(&[failing.origin.address, good.address], &outlier);
        for _ in 0..12 {
            // Some of these failures end the client's connection.
            drop(gateway.client().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").try_read());
        }
        assert_eq!(failing.requests_seen(), 3);
        assert_eq!(ejections(&gateway, "consecutive_failures"), 1);
    }
}

#[test]
fn an_ejected_endpoint_comes_back_by_itself_and_stays_away_longer_each_time() {
    let (bad, good) = (Moody::bad(), good());
    let gateway = over(&[bad.origin.address, good.address], &brief(OUTLIER));
    let mut client = gateway.client();
    let mut eject = |times: u64| {
        eventually("an ejection", || {
            client.get("/");
            (gateway.count("ringgate_ejections_total") == times).then_some(())
        });
    };

    eject(1);
    // Nobody asks for it meanwhile.
    gateway.wait_for_count("ringgate_endpoint_ejected", 0);
    eject(2);
    gateway.wait_for_count("ringgate_endpoint_ejected", 0);
    bad.recover();

    assert_eq!(statuses(&mut client, 8), [200; 8]);
    let said = gateway.stderr();
    let rests: Vec<f64> = said.split("rest=").skip(1).filter_map(millis).collect();
    assert_eq!(rests.len(), 2, "{said}");
    assert!((60.0..=66.0).contains(&rests[0]) && (120.0..=132.0).contains(&rests[1]), "{rests:?}");
    assert_eq!(said.matches("takes requests again").count(), 2, "{said}");
}

/// The number of `60.5ms` and what follows.
fn millis(text: &str) -> Option<f64> {
    text.split_once("ms")?.0.parse().ok()
}

#[test]
fn never_more_than_their_share_are_ejected_and_never_the_last() {
    for (share, most) in [("50%", 2), ("100%", 3), ("25%", 1), ("24%", 0)] {
        let bad = [(); 4].map(|()| Moody::bad());
        let addresses: Vec<SocketAddr> = bad.iter().map(|bad| bad.origin.address).collect();
        let outlier = OUTLIER.replace("{ cons", &format!("{{ max_ejected = \"{share}\", cons"));
        let gateway = gateway().workers(2).config(to(&addresses, &outlier)).start();

        let address = gateway.address();
        let clients =
            [(); 4].map(|()| thread::spawn(move || statuses(&mut Client::connect(address), 40)));
        for client in clients {
            assert_eq!(client.join().expect("it was answered"), [500; 40], "never a 503 of ours");
        }

        assert_eq!(gateway.count("ringgate_endpoint_ejected"), most, "{share}");
        assert_eq!(gateway.count("ringgate_ejections_total"), most, "{share}");
    }
}

#[test]
fn the_ejected_are_taken_back_when_checks_find_the_others_down() {
    let (bad, other) = (Moody::bad(), Moody::bad());
    other.recover();
    let well = Arc::clone(&other.is_well);
    let check = "\nhealth_check = { interval = \"20ms\", fall = 1, expect = [200, \"500-599\"] }";
    let gateway = over(&[bad.origin.address, other.origin.address], &format!("{OUTLIER}{check}"));
    let mut client = gateway.client();
    statuses(&mut client, 6);
    gateway.wait_for_count("ringgate_endpoint_ejected", 1);

    // Checks do not mind a status 500; they mind nobody listening.
    drop(well);
    let address = other.origin.address;
    drop(other);
    gateway.wait_for_count("ringgate_endpoint_ejected", 0);

    assert_eq!(statuses(&mut client, 3), [500; 3], "better than nobody");
    assert_eq!(gateway.count(&format!("ringgate_endpoint_up{{endpoint=\"{address}\"}}")), 0);
}

#[test]
fn an_ejection_outlives_a_reload_and_a_hand_over_and_ends_with_the_outlier() {
    let (bad, good) = (Moody::bad(), good());
    let addresses = [bad.origin.address, good.address];
    let mut gateway = over(&addresses, OUTLIER);
    statuses(&mut gateway.client(), 6);
    assert_eq!(bad.requests_seen(), 3);

    assert_eq!(gateway.reload(&to(&addresses, OUTLIER)), Reload::InForce);
    assert_eq!(statuses(&mut gateway.client(), 6), [200; 6]);

    gateway.prepare(2, &to(&addresses, OUTLIER));
    gateway.hand_over();
    // Connections may still come to the old process, which closes them after one answer.
    (0..6).for_each(|_| assert_eq!(gateway.get("/").status, 200));
    assert_eq!(gateway.count("ringgate_endpoint_ejected"), 1);
    assert_eq!(bad.requests_seen(), 3);

    assert_eq!(gateway.reload(&to(&addresses, "")), Reload::InForce);
    assert!(statuses(&mut gateway.client(), 6).contains(&500));
}

#[test]
fn a_connection_that_an_endpoint_has_closed_while_idle_is_no_failure() {
    let (origin, other) = (good(), good());
    let gateway = over(&[origin.address, other.address], OUTLIER);
    let mut client = gateway.client();

    for round in 1..=5 {
        assert_eq!(statuses(&mut client, 2), [200; 2]);
        origin.close_connections();
        origin.wait_for_ends(round);
    }

    assert_eq!(gateway.count("ringgate_ejections_total"), 0);
}
