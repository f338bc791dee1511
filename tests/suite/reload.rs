//! A new configuration takes over between two requests, and a bad one does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::gateway::{Reload, cluster_of, gateway, listener};
use crate::support::origin::{Origin, origin};

fn to(origin: &Origin) -> String {
    listener("") + "[[route]]\ncluster = \"c\"\n" + &cluster_of("c", &[origin.address], "")
}

#[test]
fn a_reload_changes_the_routes_of_open_connections() {
    let (one, two) = (origin().reply("one").start(), origin().reply("two").start());
    let gateway = gateway().config(to(&one)).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").text(), "one");

    assert_eq!(gateway.reload(&to(&two)), Reload::InForce);

    assert_eq!(client.get("/").text(), "two");
    assert_eq!(gateway.count("ringgate_config_generation"), 2);
}

#[test]
fn an_exchange_keeps_the_rules_it_began_with() {
    let gate = crate::support::gate::Gate::default();
    let wait = gate.clone();
    let one = origin()
        .on(move |_, connection| {
            wait.pass();
            connection.reply("one");
        })
        .start();
    let gateway = gateway().config(to(&one)).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    one.wait_for_requests(1);

    let fixed = listener("") + "[[route]]\nrespond = { status = 200, body = \"fixed\" }\n";
    assert_eq!(gateway.reload(&fixed), Reload::InForce);
    gate.open();

    assert_eq!(client.read().text(), "one");
    assert_eq!(client.get("/").text(), "fixed");
}

#[test]
fn a_reload_with_errors_keeps_the_old_routes() {
    let origin = origin().reply("still here").start();
    let gateway = gateway().config(to(&origin)).start();
    let mut client = gateway.client();

    let bad = to(&origin).replace("cluster = \"c\"", "cluster = \"d\"") + "[nonsense]\n";
    assert_eq!(gateway.reload(&bad), Reload::Refused);

    assert_eq!(client.get("/").text(), "still here");
    assert_eq!(gateway.count("ringgate_config_generation"), 1);
    assert_eq!(gateway.count("ringgate_config_reload_failures_total"), 1);
    let said = gateway.stderr();
    assert!(said.contains("nonsense") && said.contains("\"d\""), "all problems are named:\n{said}");
}

#[test]
fn listeners_come_and_go_with_a_reload() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().config(to(&origin)).start();
    let mut kept = gateway.client();
    assert_eq!(kept.get("/").text(), "hello");

    // A port that was free a moment ago: a listener whose port the kernel chooses cannot be found.
    let free = crate::support::free_port();
    let second = format!("[[listener]]\nname = \"second\"\nbind = \"127.0.0.1:{free}\"\n");
    assert_eq!(gateway.reload(&(to(&origin) + &second)), Reload::InForce);
    let address = ([127, 0, 0, 1], free).into();
    let mut added = Client::connect(address);
    assert_eq!(added.get("/").text(), "hello");

    assert_eq!(gateway.reload(&to(&origin)), Reload::InForce);
    crate::support::eventually("nobody on the old port", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    assert_eq!(kept.get("/").text(), "hello");
    assert_eq!(gateway.get("/").text(), "hello");
}

#[test]
fn what_a_reload_cannot_change_is_named() {
    let origin = origin().start();
    let gateway = gateway().workers(1).config(to(&origin)).start();

    assert_eq!(gateway.reload_with_workers(2, &to(&origin)), Reload::InForce);

    assert!(gateway.stderr().contains("workers"), "{}", gateway.stderr());
    assert_eq!(gateway.metrics().series("ringgate_worker_info").count(), 1);
}

/// How long the load goes on. The longer run of a release is asked for by the variable.
fn duration() -> Duration {
    let seconds = std::env::var("RINGGATE_TEST_RELOAD_SECONDS").ok();
    Duration::from_secs(seconds.map_or(3, |seconds| seconds.parse().expect("a number of seconds")))
}

#[test]
fn reloads_under_load_fail_no_request() {
    let origins: Vec<_> = (0..3).map(|_| origin().reply("hello").start()).collect();
    // Each generation has other clusters, under other names.
    let config = |generation: usize| {
        let name = format!("c{}", generation % 5);
        let endpoints: Vec<_> =
            (0..=generation % 3).map(|index| origins[(generation + index) % 3].address).collect();
        listener("")
            + &format!("[[route]]\ncluster = {name:?}\n")
            + &cluster_of(&name, &endpoints, "")
    };
    let gateway = gateway().config(config(0)).start();
    let stop = Arc::new(AtomicBool::new(false));
    let address = gateway.address();
    let clients: Vec<_> = (0..4)
        .map(|index| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || load(address, &stop, index % 2 == 0))
        })
        .collect();

    let began = Instant::now();
    let mut generation = 0;
    while began.elapsed() < duration() {
        generation += 1;
        assert_eq!(gateway.reload(&config(generation)), Reload::InForce);
        thread::park_timeout(Duration::from_millis(200));
    }
    stop.store(true, Ordering::Relaxed);
    let served: usize = clients.into_iter().map(|client| client.join().expect("no failure")).sum();

    println!("{served} requests over {generation} reloads");
    assert!(served > 100 && generation >= 10, "{served} requests, {generation} reloads");
    assert_eq!(gateway.count("ringgate_upstream_failures_total"), 0);
}

/// Sends requests one after the other and says how many; every one has to be answered.
fn load(address: std::net::SocketAddr, stop: &AtomicBool, keep_alive: bool) -> usize {
    let mut client = Client::connect(address);
    let mut served = 0;
    while !stop.load(Ordering::Relaxed) {
        let reply = client.post("/", "", "body");
        assert_eq!((reply.status, reply.text()), (200, "hello"));
        served += 1;
        if !keep_alive || !reply.keeps_alive() {
            client = Client::connect(address);
        }
    }
    served
}
