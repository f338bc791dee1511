//! Long connections are spread over the workers.

use crate::support::client::Client;
use crate::support::gateway::{Gateway, gateway, listener};

/// Connections of each worker, opened and not closed.
fn spread(gateway: &Gateway) -> Vec<u64> {
    let metrics = gateway.metrics();
    let series = metrics.series("ringgate_worker_connections_active");
    let mut spread: Vec<u64> = series.map(|(_, count)| count as u64).collect();
    spread.sort_unstable();
    spread
}

fn with_connections(count: usize) -> (Gateway, Vec<Client>) {
    let route = "[[route]]\nrespond = { status = 200, body = \"x\" }\n";
    let gateway = gateway().workers(2).config(listener("") + route).start();
    let mut clients: Vec<_> = (0..count).map(|_| gateway.client()).collect();
    // An answer shows that the connection has found its worker.
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    (gateway, clients)
}

#[test]
fn sixteen_connections_are_never_split_worse_than_ten_to_six() {
    for _ in 0..10 {
        let (gateway, _clients) = with_connections(16);
        let spread = spread(&gateway);
        assert!(spread.iter().sum::<u64>() == 16 && spread[0] >= 6, "{spread:?}");
    }
}

#[test]
fn sixty_four_connections_are_never_split_worse_than_thirty_six_to_twenty_eight() {
    for _ in 0..5 {
        let (gateway, _clients) = with_connections(64);
        let spread = spread(&gateway);
        assert!(spread.iter().sum::<u64>() == 64 && spread[0] >= 28, "{spread:?}");
    }
}

#[test]
fn connections_that_come_one_by_one_are_spread_too() {
    let route = "[[route]]\nrespond = { status = 200, body = \"x\" }\n";
    let gateway = gateway().workers(2).config(listener("") + route).start();
    let mut clients = Vec::new();

    for _ in 0..16 {
        let mut client = gateway.client();
        client.get("/");
        clients.push(client);
    }

    assert!(spread(&gateway)[0] >= 6, "{:?}", spread(&gateway));
}
