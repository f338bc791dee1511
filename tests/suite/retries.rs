//! A failed attempt is followed by another where that is safe and within the budget, and by none
//! where it is not.

use std::net::{Ipv4Addr, SocketAddr};

use crate::support::free_port;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::{Connection, Origin, origin};

fn nobody() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

fn failing(each: impl Fn(&mut Connection) + Send + Sync + 'static) -> Origin {
    origin().on(move |_, connection| each(connection)).start()
}

fn refusing() -> Origin {
    origin().reply_raw("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nX-From: it\r\n\r\nbusy").start()
}

fn over(first: &Origin, second: &Origin, cluster: &str) -> Gateway {
    let endpoints = [first.address, second.address];
    gateway().workers(1).route_with("/", &endpoints, "", cluster).start()
}

const ON_503: &str = "retry = { on = [\"connect\", \"reset\", \"503\"] }";

#[test]
fn a_get_whose_connection_ends_without_an_answer_goes_to_another_endpoint() {
    let bad = failing(Connection::close);
    let good = origin().reply("good").start();
    let gateway = over(&bad, &good, "");
    let mut client = gateway.client();

    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "good");
    }

    assert_eq!(bad.requests_seen(), 3, "it had its turns");
    assert_eq!(gateway.count("ringgate_upstream_retries_total"), 3);
}

#[test]
fn what_is_no_answer_to_a_get_is_replaced_by_another_endpoint_s() {
    let bad = failing(|connection| {
        connection.send("garbage\r\n\r\n");
        connection.close();
    });
    let good = origin().reply("good").start();
    let gateway = over(&bad, &good, "");
    let mut client = gateway.client();

    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "good");
    }
    assert!(bad.requests_seen() > 0);
}

#[test]
fn a_post_that_an_endpoint_may_have_carried_out_is_not_sent_again() {
    let bad = failing(Connection::close);
    let other = failing(Connection::close);
    let gateway = over(&bad, &other, "");

    let reply = gateway.client().post("/", "", "pay");

    assert_eq!(reply.status, 502);
    assert_eq!(bad.requests_seen() + other.requests_seen(), 1);
    assert_eq!(gateway.count("ringgate_upstream_retries_total"), 0);
}

#[test]
fn a_get_with_a_body_is_not_sent_again_once_a_part_of_it_is_gone() {
    let bad = failing(Connection::close);
    let other = failing(Connection::close);
    let gateway = over(&bad, &other, "");

    let reply = gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");

    assert_eq!(reply.status, 502);
    assert_eq!(bad.requests_seen() + other.requests_seen(), 1);
}

#[test]
fn a_listed_status_is_tried_elsewhere_and_the_client_sees_one_answer() {
    let busy = refusing();
    let good = origin().reply("good").start();
    let gateway = over(&busy, &good, ON_503);
    let mut client = gateway.client();

    for _ in 0..6 {
        let reply = client.get("/");
        assert_eq!((reply.status, reply.text()), (200, "good"));
    }

    assert_eq!(busy.requests_seen(), 3);
    let lines = gateway.wait_for_log(6);
    let attempts: u64 = lines.iter().filter_map(|line| line["attempts"].as_u64()).sum();
    assert_eq!(attempts, 9, "every attempt is in the record");
    assert!(lines.iter().all(|line| line["outcome"] == "completed"));
}

#[test]
fn a_status_that_is_not_listed_is_the_answer() {
    let busy = refusing();
    let gateway = over(&busy, &refusing(), "retry = { on = [\"502\"] }");

    let reply = gateway.get("/");

    assert_eq!((reply.status, reply.text()), (503, "busy"));
    assert_eq!(gateway.count("ringgate_upstream_retries_total"), 0);
}

#[test]
fn when_all_endpoints_refuse_the_last_answer_goes_to_the_client() {
    let (first, second) = (refusing(), refusing());
    let gateway = over(&first, &second, ON_503);

    let reply = gateway.get("/");

    assert_eq!((reply.status, reply.text()), (503, "busy"));
    assert_eq!(reply.get("x-from"), Some("it"), "it is the endpoint's own");
    assert_eq!((first.requests_seen(), second.requests_seen()), (1, 1));
}

#[test]
fn attempts_count_the_first() {
    let bad = [(); 4].map(|()| failing(Connection::close));
    let addresses: Vec<SocketAddr> = bad.iter().map(|origin| origin.address).collect();
    for attempts in [1, 2, 4] {
        let cluster = format!("retry = {{ attempts = {attempts} }}");
        let gateway = gateway().route_with("/", &addresses, "", &cluster).start();
        assert_eq!(gateway.get("/").status, 502);
        assert_eq!(gateway.count("ringgate_upstream_requests_total"), attempts);
    }
}

#[test]
fn an_endpoint_that_is_silent_is_left_for_another_if_timeouts_are_listed() {
    let gate = Gate::default();
    let silent = {
        let gate = gate.clone();
        failing(move |_| {
            gate.try_pass();
        })
    };
    let good = origin().reply("good").start();
    let cluster = "retry = { on = [\"timeout\"] }\ntimeouts = { first_byte = \"50ms\" }";
    let gateway = over(&silent, &good, cluster);
    let mut client = gateway.client();

    let texts = [client.get("/").text().to_owned(), client.get("/").text().to_owned()];

    assert_eq!(texts, ["good", "good"]);
    assert_eq!(silent.requests_seen(), 1);
    gate.open();
}

#[test]
fn retries_stop_when_their_budget_is_spent() {
    let gateway = {
        let cluster = "retry = { budget = \"20%\" }";
        gateway().workers(1).route_with("/", &[nobody(), nobody()], "", cluster).start()
    };
    let mut client = gateway.client();
    const REQUESTS: u64 = 200;

    for _ in 0..REQUESTS {
        assert_eq!(client.get("/").status, 502);
    }

    let attempts = gateway.count("ringgate_upstream_requests_total");
    // A fifth of the requests, and the ten that a cluster begins with.
    let most = REQUESTS + REQUESTS / 5 + 10;
    assert!((REQUESTS + 10..=most).contains(&attempts), "{attempts} attempts");
    let spent = gateway.count("ringgate_upstream_retries_over_budget_total");
    assert_eq!(spent, 2 * REQUESTS - attempts);
}

#[test]
fn a_budget_of_nothing_switches_retries_off() {
    let bad = failing(Connection::close);
    let gateway = over(&bad, &failing(Connection::close), "retry = { budget = \"0%\" }");

    assert_eq!(gateway.get("/").status, 502);
    assert_eq!(gateway.count("ringgate_upstream_retries_total"), 0);
}

#[test]
fn a_call_is_held_and_therefore_sent_again_whole() {
    let bad = failing(Connection::close);
    let good = origin().reply("{}").start();
    let endpoint = |origin: &Origin| {
        let address = origin.address;
        format!("[[model.m.endpoint]]\nprovider = \"vllm\"\nurl = \"http://{address}/v1\"\n")
    };
    let config = crate::support::gateway::listener("")
        + "[[route]]\nai = true\n"
        + &endpoint(&bad)
        + &endpoint(&good);
    let gateway = gateway().workers(1).config(config).start();
    let mut client = gateway.client();
    let body = "{\"model\":\"m\",\"messages\":[]}";

    for _ in 0..2 {
        assert_eq!(client.post("/v1/chat/completions", "", body).status, 200);
    }

    assert_eq!(bad.requests_seen(), 1);
    assert!(good.requests().iter().all(|request| request.body == body.as_bytes()));
}
