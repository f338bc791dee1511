//! As a service of systemd: its sockets, what it is told, what it keeps.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{cluster_of, gateway, listener};
use crate::support::origin::{Origin, origin};
use crate::support::systemd::systemd;

fn to(origin: &Origin) -> String {
    listener("") + "[[route]]\ncluster = \"c\"\n" + &cluster_of("c", &[origin.address], "")
}

#[test]
fn sockets_of_systemd_are_found_by_name_and_by_address() {
    let origin = origin().start();
    let systemd = systemd(&["public", "ringgate.socket"]);
    let (by_name, by_address) = (systemd.address(0), systemd.address(1));
    let second = format!("[[listener]]\nname = \"second\"\nbind = \"{by_address}\"\n");

    let gateway = gateway().under(&systemd).config(to(&origin) + &second).start();

    assert_eq!(gateway.address(), by_name);
    assert_eq!(gateway.address_of("second"), by_address);
    assert_eq!(gateway.get("/").text(), "hello");
    assert_eq!(Client::connect(by_address).get("/").text(), "hello");
    systemd.expect("READY=1");
}

#[test]
fn who_connected_before_the_start_and_after_a_crash_is_served() {
    let origin = origin().start();
    let systemd = systemd(&["public"]);
    let mut early = Client::connect(systemd.address(0));
    early.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

    let first = gateway().under(&systemd).config(to(&origin)).start();
    assert_eq!(early.read().text(), "hello");

    // The process is killed outright; the manager's socket has its queue all the same.
    drop(first);
    let mut waiting = Client::connect(systemd.address(0));
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _second = gateway().under(&systemd).config(to(&origin)).start();
    assert_eq!(waiting.read().text(), "hello");
}

#[test]
fn sockets_that_were_opened_here_are_given_to_systemd_to_keep() {
    let origin = origin().start();
    let systemd = systemd(&[]);
    let gateway = gateway().under(&systemd).config(to(&origin)).start();
    let name = |address: std::net::SocketAddr| {
        format!("FDNAME=listen-{}", address.to_string().replace(':', "-"))
    };

    let stored = systemd.expect("FDSTORE=1");
    assert!(stored.contains(&name(gateway.address())), "{stored}");
    let stored = systemd.expect("FDSTORE=1");
    assert!(stored.contains(&name(gateway.address_of("admin"))), "{stored}");

    // A socket that nobody accepts on must not stay open in the store.
    let other = to(&origin).replace("name = \"public\"", "name = \"other\"");
    gateway.prepare(2, &other);
    gateway.signal(libc::SIGHUP);
    let forgotten = systemd.expect("FDSTOREREMOVE=1");
    assert!(forgotten.contains(&name(gateway.address())), "{forgotten}");
}

#[test]
fn systemd_hears_of_reloads_and_of_the_end() {
    let origin = origin().start();
    let systemd = systemd(&["public"]);
    let mut gateway = gateway().under(&systemd).config(to(&origin)).start();
    systemd.expect("READY=1");

    gateway.signal(libc::SIGHUP);
    let reloading = systemd.expect("RELOADING=1");
    let stamp = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(stamp.expect("a stamp").parse::<u64>().expect("a number") > 0);
    systemd.expect("READY=1");

    gateway.terminate();
    let stopping = systemd.expect("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
}

#[test]
fn a_hand_over_makes_the_new_process_the_main_one() {
    let origin = origin().start();
    let systemd = systemd(&["public"]);
    let mut gateway = gateway().under(&systemd).config(to(&origin)).start();
    systemd.expect("READY=1");

    for _ in 0..2 {
        let old = gateway.hand_over();
        systemd.expect(&format!("MAINPID={}", gateway.pid()));
        assert!(gateway.wait_for_exit_of(old).success());
        assert_eq!(gateway.address(), systemd.address(0));
        assert_eq!(gateway.get("/").text(), "hello");
    }
    // What the old process said last would be taken for the service's word.
    assert!(systemd.rest().iter().all(|message| !message.contains("STOPPING")));
}

#[test]
fn the_watchdog_is_fed_as_long_as_a_worker_lives() {
    let systemd = systemd(&["public"]);
    let _gateway = gateway().under(&systemd.with_watchdog("200000")).start();
    for _ in 0..3 {
        systemd.expect("WATCHDOG=1");
    }
}

#[test]
fn a_socket_that_no_listener_has_is_closed_and_named() {
    let origin = origin().start();
    let systemd = systemd(&["public", "unknown"]);
    let gateway = gateway().under(&systemd).config(to(&origin)).start();
    eventually("a word about the socket", || {
        let said = gateway.stderr();
        (said.contains("no listener has") && said.contains(&systemd.address(1).to_string()))
            .then_some(())
    });
}
