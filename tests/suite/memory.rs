//! Nothing is left behind: by requests that were refused, by clients that broke off, by idle
//! connections.

use std::thread;

use crate::support::MIB;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::origin;

/// How many refused and cut requests; a release is tested with as many as the promise names.
fn requests() -> usize {
    let count = std::env::var("RINGGATE_TEST_REFUSED").ok();
    count.map_or(10_000, |count| count.parse().expect("a number of requests"))
}

/// Clients that break off or are refused, each in another way.
fn misbehave(gateway: &Gateway, count: usize) {
    const WAYS: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\ncut",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    let address = gateway.address();
    thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                for number in (part..count).step_by(4) {
                    let mut client = Client::connect(address);
                    client.send(WAYS[number % WAYS.len()]);
                    if number % 3 == 0 {
                        client.reset();
                    } else {
                        client.finish_sending();
                        drop(client.wire().read_to_end());
                    }
                }
            });
        }
    });
}

#[test]
fn refused_and_cut_requests_leave_memory_where_it_was() {
    let origin = origin().start();
    let gateway = gateway().route("/", &origin).start();
    // What is kept for reuse is there after the first ones.
    misbehave(&gateway, 2_000);
    gateway.wait_for_count("http_connections_active", 0);
    let before = gateway.rss();

    misbehave(&gateway, requests());

    gateway.wait_for_count("http_connections_active", 0);
    gateway.wait_for_count("ringgate_endpoint_in_flight", 0);
    let after = gateway.rss();
    println!("{} KiB before, {} KiB after", before / 1024, after / 1024);
    assert!(after < before + 2 * MIB, "from {before} to {after} bytes");
}

#[test]
fn idle_connections_cost_little() {
    const CONNECTIONS: usize = 1_000;
    const BYTES_EACH: u64 = 3_584;
    crate::support::raise_open_files();
    let origin = origin().reply("hello").start();
    let gateway = gateway().route("/", &origin).start();
    let connect = || {
        let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| gateway.client()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/").text(), "hello");
        }
        clients
    };
    // What all connections share grows with the first ones.
    drop(connect());
    gateway.wait_for_count("http_connections_active", 0);
    let _some = connect();
    let before = gateway.rss();
    let _more = connect();

    let each = gateway.rss().saturating_sub(before) / CONNECTIONS as u64;
    println!("{each} bytes for each idle connection");
    assert!(each <= BYTES_EACH, "{each} bytes for each idle connection");
}
