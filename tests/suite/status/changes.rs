//! Endpoints that are drained, put into maintenance, weighed anew and brought back under way.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use super::{cluster, wait_for};
use crate::support::client::{Client, Reply};
use crate::support::eventually;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, Reload, api, cluster_of, gateway, listener};
use crate::support::origin::{Origin, origin};

fn path_of(cluster: &str, endpoint: SocketAddr) -> String {
    format!("/api/v1/clusters/{cluster}/endpoints/{endpoint}")
}

/// Changes an endpoint of the cluster `c0` and gives back what was answered.
fn change(gateway: &Gateway, origin: &Origin, body: Value) -> Value {
    let reply = gateway.api("PUT", &path_of("c0", origin.address), &body.to_string());
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn two() -> (Origin, Origin, Gateway) {
    let (one, two) = (origin().reply("one").start(), origin().reply("two").start());
    let gateway = gateway().route_with("/", &[one.address, two.address], "", "").start();
    (one, two, gateway)
}

/// Who answers the next `count` requests.
fn answers(gateway: &Gateway, count: usize) -> Vec<String> {
    let mut client = gateway.client();
    (0..count).map(|_| client.get("/").text().to_owned()).collect()
}

/// Clients that send requests until they are stopped. Every one has to succeed.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<usize>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let client = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut served = 0;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.post("/", "", "body").status, 200);
                    served += 1;
                }
                served
            })
        };
        Self { clients: (0..4).map(client).collect(), stop }
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().expect("no request failed")).sum()
    }
}

#[test]
fn an_endpoint_that_is_drained_under_load_loses_nothing_and_gets_nothing_new() {
    let (one, _two, gateway) = two();
    let load = Load::start(gateway.address());
    for round in 1..=3 {
        one.wait_for_requests(one.requests_seen() + 10);

        let answer = change(&gateway, &one, json!({ "state": "drain" }));
        assert_eq!(answer["endpoints"][0]["state"], "drain", "{answer:#}");
        assert_eq!(
            (&answer["cluster_takes_requests"], &answer["kept_over_reloads"]),
            (&json!(true), &json!(true))
        );
        let drained = wait_for(&gateway, "nothing in flight", |cluster| {
            cluster["endpoints"][0]["in_flight"] == 0
        });
        assert_eq!(drained["state"], "degraded", "round {round}");
        let seen = one.requests_seen();
        let requests = drained["requests"].as_u64();
        wait_for(&gateway, "more requests", |now| {
            now["requests"].as_u64() > requests.map(|n| n + 20)
        });
        assert_eq!(one.requests_seen(), seen, "a drained endpoint got a request");

        change(&gateway, &one, json!({ "state": "ready" }));
    }

    assert!(load.stop() > 100);
    assert_eq!(gateway.count("ringgate_upstream_failures_total"), 0);
}

#[test]
fn what_a_drained_endpoint_has_begun_it_ends_and_without_another_the_rest_gets_503() {
    let gate = Gate::default();
    let wait = gate.clone();
    let slow = origin()
        .on(move |_, connection| {
            wait.pass();
            connection.reply("done");
        })
        .start();
    let gateway = gateway().route("/", &slow).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.wait_for_requests(1);

    for state in ["drain", "maintenance"] {
        let answer = change(&gateway, &slow, json!({ "state": state }));
        assert_eq!(answer["cluster_takes_requests"], false);
        assert_eq!(answer["endpoints"][0]["in_flight"], 1);
        let refused = gateway.get("/");
        assert_eq!((refused.status, refused.get("retry-after")), (503, Some("1")), "{state}");
    }
    let cluster = cluster(&gateway);
    assert_eq!(
        (&cluster["state"], &cluster["endpoints"][0]["state"]),
        (&json!("down"), &json!("maintenance"))
    );
    assert_eq!(gateway.count("ringgate_endpoint_up"), 0);
    gate.open();
    assert_eq!(client.read().text(), "done");

    change(&gateway, &slow, json!({ "state": "ready" }));
    gate.open();
    assert_eq!(gateway.get("/").text(), "done");
}

#[test]
fn who_waits_for_an_endpoint_that_is_drained_is_told_at_once() {
    let gate = Gate::default();
    let wait = gate.clone();
    let slow = origin()
        .on(move |_, connection| {
            wait.pass();
            connection.reply("done");
        })
        .start();
    let lines = "max_in_flight = 1\ntimeouts = { queue = \"60s\" }";
    let gateway = gateway().route_with("/", &[slow.address], "", lines).start();
    let mut first = gateway.client();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.wait_for_requests(1);
    let mut waiting: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    gateway.wait_for_count("ringgate_queue_length", 3);

    // The cluster is at its limit until the first has its answer.
    change(&gateway, &slow, json!({ "state": "drain" }));
    gate.open();

    assert_eq!(first.read().text(), "done");
    for client in &mut waiting {
        assert_eq!(client.read().status, 503);
    }
    assert_eq!(slow.requests_seen(), 1);
}

#[test]
fn who_waits_for_room_gets_that_of_an_endpoint_that_comes_back() {
    let gate = Gate::default();
    let wait = gate.clone();
    let busy = origin()
        .on(move |_, connection| {
            wait.pass();
            connection.reply("busy");
        })
        .start();
    let free = origin().reply("free").start();
    let endpoints = format!(
        "[[cluster.c0.endpoint]]\naddress = \"{}\"\nmax_in_flight = 1\n\
         [[cluster.c0.endpoint]]\naddress = \"{}\"\n",
        busy.address, free.address
    );
    let config = listener("") + "[[route]]\ncluster = \"c0\"\n[cluster.c0]\n" + &endpoints;
    let gateway = gateway().config(config).start();
    change(&gateway, &free, json!({ "state": "maintenance" }));
    let mut first = gateway.client();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    busy.wait_for_requests(1);
    let mut second = gateway.client();
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.wait_for_count("ringgate_queue_length", 1);

    change(&gateway, &free, json!({ "state": "ready" }));

    assert_eq!(second.read().text(), "free");
    gate.open();
    assert_eq!(first.read().text(), "busy");
}

#[test]
fn a_weight_holds_for_the_next_request_of_every_worker() {
    let (one, two, gateway) = two();

    let answer = change(&gateway, &one, json!({ "weight": 3 }));
    assert_eq!(
        (&answer["endpoints"][0]["weight"], &answer["endpoints"][0]["state"]),
        (&json!(3), &json!("up"))
    );
    let of_one = answers(&gateway, 8).iter().filter(|answer| *answer == "one").count();
    assert_eq!(of_one, 6);
    let endpoint = &cluster(&gateway)["endpoints"][0];
    assert_eq!((&endpoint["weight"], &endpoint["weight_configured"]), (&json!(3), &json!(1)));

    change(&gateway, &one, json!({ "weight": 0 }));
    assert_eq!(answers(&gateway, 4), ["two"; 4]);
    assert_eq!(cluster(&gateway)["endpoints"][0]["state"], "drain");

    // What is not named stays as it is.
    change(&gateway, &two, json!({ "state": "drain" }));
    change(&gateway, &one, json!({ "weight": null }));
    assert_eq!(answers(&gateway, 4), ["one"; 4]);
    assert_eq!(gateway.count("ringgate_config_generation"), 1);
}

#[test]
fn a_name_stands_for_all_its_addresses() {
    let origin = origin().reply("hello").start();
    let port = origin.address.port();
    let config = format!(
        "{}[[route]]\ncluster = \"c0\"\n[cluster.c0]\n[[cluster.c0.endpoint]]\n\
         address = \"localhost:{port}\"\n",
        listener("")
    );
    let gateway = gateway().config(config).start();
    let put = |endpoint: &str, body: Value| {
        let path = format!("/api/v1/clusters/c0/endpoints/{endpoint}");
        gateway.api("PUT", &path, &body.to_string())
    };

    assert_eq!(put(&format!("localhost:{port}"), json!({ "state": "drain" })).status, 200);
    assert_eq!(gateway.get("/").status, 503);
    assert_eq!(put(&format!("localhost:{port}"), json!({ "state": "ready" })).status, 200);
    assert_eq!(gateway.get("/").text(), "hello");

    let one = format!("localhost%2F127.0.0.1:{port}");
    let answer = put(&one, json!({ "state": "maintenance" })).json();
    assert_eq!(answer["endpoints"].as_array().map(Vec::len), Some(1), "{answer:#}");
    assert_eq!(answer["endpoints"][0]["endpoint"], format!("localhost/127.0.0.1:{port}"));
}

#[test]
fn what_does_not_exist_is_answered_with_what_does() {
    let (one, _two, gateway) = two();
    let put = |path: &str| gateway.api("PUT", path, r#"{"state":"drain"}"#);

    let unknown = put(&path_of("c1", one.address));
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("the nearest is \\\"c0\\\""), "{}", unknown.text());
    let unknown = put("/api/v1/clusters/c0/endpoints/10.9.9.9:1");
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("127.0.0.1"), "{}", unknown.text());
    let wrong = gateway.api("PUT", &path_of("c0", one.address), r#"{"state":"off"}"#);
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("maintenance"), "{}", wrong.text());
    assert_eq!(gateway.api("DELETE", &path_of("c0", one.address), "{}").status, 405);
    assert_eq!(cluster(&gateway)["state"], "up");
}

#[test]
fn changes_survive_a_reload_or_not_as_configured() {
    for (policy, state) in [("keep", "drain"), ("until_reload", "up")] {
        let (one, two) = (origin().reply("one").start(), origin().reply("two").start());
        let config = |name: &str| {
            let endpoints = cluster_of("c0", &[one.address, two.address], "");
            listener("") + &format!("[[route]]\nhost = {name:?}\ncluster = \"c0\"\n") + &endpoints
        };
        let gateway = gateway()
            .admin(&format!("runtime_changes = {policy:?}"))
            .config(config("a.example"))
            .start();
        let answer = change(&gateway, &one, json!({ "state": "drain", "weight": 7 }));
        assert_eq!(answer["kept_over_reloads"], policy == "keep");
        assert_eq!(answer["kept_over_restarts"], false);

        assert_eq!(gateway.reload(&config("b.example")), Reload::InForce);

        let endpoint = &cluster(&gateway)["endpoints"][0];
        assert_eq!(endpoint["state"], state, "{policy}");
        assert_eq!(endpoint["weight"], if policy == "keep" { 7 } else { 1 }, "{policy}");
    }
}

#[test]
fn a_change_ends_with_its_endpoint() {
    let (one, two) = (origin().reply("one").start(), origin().reply("two").start());
    let config = |addresses: &[SocketAddr]| {
        listener("") + "[[route]]\ncluster = \"c0\"\n" + &cluster_of("c0", addresses, "")
    };
    let gateway = gateway().config(config(&[one.address, two.address])).start();
    change(&gateway, &one, json!({ "state": "drain" }));

    assert_eq!(gateway.reload(&config(&[two.address])), Reload::InForce);
    assert_eq!(gateway.reload(&config(&[one.address])), Reload::InForce);

    assert_eq!(gateway.get("/").text(), "one");
}

#[test]
fn a_new_process_takes_the_changes_over() {
    let (one, _two, mut gateway) = two();
    change(&gateway, &one, json!({ "state": "drain", "weight": 5 }));

    let old = gateway.hand_over();
    assert!(gateway.wait_for_exit_of(old).success());

    assert_eq!(answers(&gateway, 4), ["two"; 4]);
    let endpoint = cluster(&gateway)["endpoints"][0].clone();
    assert_eq!((&endpoint["state"], &endpoint["weight"]), (&json!("drain"), &json!(5)));
    change(&gateway, &one, json!({ "state": "ready", "weight": null }));
    assert_eq!(cluster(&gateway)["state"], "up");
}

#[test]
fn nothing_is_changed_that_a_new_process_would_not_know_of() {
    let (one, _two, mut gateway) = two();
    gateway.replace_program_by_script(
        "echo $$ > $DIR/waiting; until [ -e $DIR/go ]; do sleep 0.01; done; exec $RINGGATE \"$@\"",
    );
    gateway.signal(libc::SIGUSR2);
    eventually("the new process", || fs::metadata(gateway.path("waiting")).ok());
    let drain =
        |gateway: &Gateway| gateway.api("PUT", &path_of("c0", one.address), r#"{"state":"drain"}"#);

    let refused = drain(&gateway);
    assert_eq!(
        (refused.status, refused.get("retry-after")),
        (503, Some("1")),
        "{}",
        refused.text()
    );
    assert_eq!(gateway.api("POST", "/api/v1/reload", "{}").status, 503);
    fs::write(gateway.path("go"), "").expect("the file is writable");
    let old = gateway.await_successor();
    assert!(gateway.wait_for_exit_of(old).success());

    assert_eq!(drain(&gateway).status, 200);
    assert_eq!(answers(&gateway, 2), ["two"; 2]);
}

#[test]
fn a_reload_that_is_asked_for_says_what_came_of_it() {
    let (one, two) = (origin().reply("one").start(), origin().reply("two").start());
    let config = |origin: &Origin| {
        listener("") + "[[route]]\ncluster = \"c0\"\n" + &cluster_of("c0", &[origin.address], "")
    };
    let gateway = gateway().config(config(&one)).start();

    gateway.prepare(2, &config(&two));
    let done = gateway.api("POST", "/api/v1/reload", "{}");
    assert_eq!((done.status, done.json()), (200, json!({ "generation": 2 })));
    assert_eq!(gateway.get("/").text(), "two");

    gateway.prepare(2, &(config(&two) + "[nonsense]\n"));
    let refused = gateway.api("POST", "/api/v1/reload", "{}");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("nonsense"), "{}", refused.text());
    assert_eq!(gateway.get("/").text(), "two");
}

#[test]
fn changes_and_reloads_at_the_same_time_all_hold() {
    let origins: Vec<Origin> = (0..4).map(|_| origin().reply("hello").start()).collect();
    let addresses: Vec<SocketAddr> = origins.iter().map(|origin| origin.address).collect();
    let config = listener("") + "[[route]]\ncluster = \"c0\"\n" + &cluster_of("c0", &addresses, "");
    let gateway = gateway().config(config).start();
    let load = Load::start(gateway.address());

    let admin = gateway.address_of("admin");
    thread::scope(|scope| {
        // One stays as it is, so that somebody answers.
        for (index, address) in addresses.iter().enumerate().skip(1) {
            scope.spawn(move || {
                for round in 0..10 {
                    let state = if round % 2 == 0 { "maintenance" } else { "ready" };
                    let body = json!({ "state": state, "weight": index + round }).to_string();
                    expect_done(api(admin, "PUT", &path_of("c0", *address), &body));
                }
            });
        }
        scope.spawn(move || {
            for _ in 0..5 {
                expect_done(api(admin, "POST", "/api/v1/reload", "{}"));
            }
        });
    });

    let cluster = cluster(&gateway);
    assert_eq!(cluster["state"], "up");
    let weights: Vec<&Value> = (0..4).map(|index| &cluster["endpoints"][index]["weight"]).collect();
    assert_eq!(weights, [&json!(1), &json!(10), &json!(11), &json!(12)]);
    assert!(load.stop() > 0);
    assert_eq!(gateway.count("ringgate_config_generation"), 6);
}

fn expect_done(reply: Reply) {
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn with_a_token_only_its_bearers_are_heard() {
    const TOKEN: &str = "3f9a1c07b25e4d68a0f1c2d3";
    let origin = origin().start();
    let gateway = gateway().admin(&format!("token = {TOKEN:?}")).route("/", &origin).start();
    let ask = |fields: &str| {
        let request =
            format!("GET /api/v1/status HTTP/1.1\r\nHost: gateway.example\r\n{fields}\r\n");
        Client::connect(gateway.address_of("admin")).send(request).read()
    };

    let refused = ask("");
    assert_eq!((refused.status, refused.get("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(ask("Authorization: Bearer 3f9a1c07b25e4d68a0f1c2d4\r\n").status, 401);
    assert_eq!(ask(&format!("Authorization: Bearer {TOKEN}\r\n")).status, 200);
    assert_eq!(gateway.admin("/health").status, 200);
    assert!(!gateway.stderr().contains(TOKEN));
}

#[test]
fn each_change_is_logged_with_who_made_it() {
    let (one, _two, gateway) = two();

    change(&gateway, &one, json!({ "state": "drain" }));

    let said = gateway.stderr();
    let line = said.lines().find(|line| line.contains("an operator changed an endpoint"));
    let line = line.unwrap_or_else(|| panic!("no word of it in {said}"));
    for word in ["127.0.0.1:", "c0", &one.address.to_string(), "drain"] {
        assert!(line.contains(word), "{word} in {line}");
    }
}

#[test]
fn a_drained_endpoint_keeps_those_whose_cookie_names_it_and_one_in_maintenance_does_not() {
    let (one, two) = (origin().reply("one").start(), origin().reply("two").start());
    let lines = "sticky = { cookie = \"SRV\" }";
    let gateway = gateway().route_with("/", &[one.address, two.address], "", lines).start();
    let ask = |cookie: &str| {
        gateway.talk(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"))
    };
    let arrived = (0..2).map(|_| gateway.get("/")).find(|reply| reply.text() == "one");
    let arrived = arrived.expect("two endpoints take turns");
    let set = arrived.get("set-cookie").expect("a cookie");
    let cookie = set.split(';').next().expect("a pair");

    change(&gateway, &one, json!({ "state": "drain" }));
    for _ in 0..3 {
        assert_eq!(ask(cookie).text(), "one");
        assert_eq!(gateway.get("/").text(), "two");
    }
    change(&gateway, &one, json!({ "state": "maintenance" }));
    let moved = ask(cookie);
    assert_eq!(moved.text(), "two");
    assert!(moved.get("set-cookie").is_some());
}
