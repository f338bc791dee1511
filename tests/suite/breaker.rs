//! A breaker leaves an endpoint alone that fails, and lets a few requests try whether it is well
//! again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, cluster_of, gateway, listener};
use crate::support::origin::{Origin, origin};

/// Opens after three failures, for longer than a test takes.
const BREAKER: &str = "retry = { attempts = 1 }\nbreaker = { failures = 3, open = \"1h\" }";

/// The same, for a moment.
const BRIEF: &str = "retry = { attempts = 1 }\n\
     breaker = { failures = 3, open = \"40ms\", max_open = \"80ms\", successes = 2 }";

const BAD: &str = "HTTP/1.1 503 Broken\r\nContent-Length: 3\r\n\r\nbad";

/// An origin that answers badly until it is told otherwise.
fn moody() -> (Origin, Arc<AtomicBool>) {
    let is_well = Arc::<AtomicBool>::default();
    let well = Arc::clone(&is_well);
    let origin = origin().on(move |_, connection| match well.load(Ordering::SeqCst) {
        true => connection.reply("good"),
        false => connection.send(BAD),
    });
    (origin.start(), is_well)
}

fn over(endpoints: &[SocketAddr], cluster: &str) -> Gateway {
    let cluster = cluster_of("c", endpoints, cluster);
    gateway().config(listener("") + "[[route]]\ncluster = \"c\"\n" + &cluster).start()
}

fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.get("/").status).collect()
}

#[test]
fn it_may_open_on_every_endpoint_and_then_clients_are_told_to_come_back() {
    let (first, second) = (moody().0, moody().0);
    let gateway = over(&[first.address, second.address], BREAKER);
    let mut client = gateway.client();

    assert_eq!(statuses(&mut client, 6), [503; 6]);
    let refused = client.get("/");

    assert_eq!(refused.status, 503);
    assert!(refused.get("retry-after").is_some(), "it is ours");
    assert_eq!((first.requests_seen(), second.requests_seen()), (3, 3));
    let said = gateway.stderr();
    assert_eq!(said.matches("an endpoint is left alone").count(), 2, "{said}");
}

#[test]
fn its_state_is_shown_under_all_names_that_rules_ask_for() {
    let (origin, _) = moody();
    let gateway = over(&[origin.address], BREAKER);
    let of = |name: &str| {
        let address = origin.address;
        gateway.count(&format!("{name}{{service=\"c\",instance=\"{address}\"}}"))
    };
    let names = ["jairouter_circuitbreaker_state", "jairouter_circuit_breaker_state"];
    assert_eq!(names.map(of), [0, 0]);

    statuses(&mut gateway.client(), 3);

    gateway.wait_for_count("ringgate_breaker_state", 1);
    assert_eq!(names.map(of), [1, 1]);
    assert_eq!(gateway.count("ringgate_breaker_openings_total"), 1);
    assert_eq!(gateway.count("ringgate_endpoint_up"), 0);
}

#[test]
fn an_endpoint_that_is_well_again_is_back_after_a_few_requests() {
    let (origin, is_well) = moody();
    let gateway = over(&[origin.address], BRIEF);
    let mut client = gateway.client();
    statuses(&mut client, 3);
    // Some time of trying out and failing.
    eventually("a probe that fails", || {
        client.get("/");
        let count = gateway.count("ringgate_breaker_openings_total{reason=\"probe\"}");
        (count > 0).then_some(())
    });

    is_well.store(true, Ordering::SeqCst);
    eventually("a request that succeeds", || (client.get("/").status == 200).then_some(()));
    assert_eq!(client.get("/").status, 200, "the second of two");

    gateway.wait_for_count("ringgate_breaker_state", 0);
    assert_eq!(statuses(&mut client, 5), [200; 5]);
    assert!(gateway.stderr().contains("an endpoint takes requests again"));
}

#[test]
fn no_more_requests_try_it_out_at_a_time_than_may() {
    let (gate, is_well) = (Gate::default(), Arc::<AtomicBool>::default());
    let (now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let origin = {
        let (gate, is_well) = (gate.clone(), Arc::clone(&is_well));
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        origin().on(move |_, connection| {
            if !is_well.load(Ordering::SeqCst) {
                return connection.send(BAD);
            }
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if gate.try_pass() {
                now.fetch_sub(1, Ordering::SeqCst);
                connection.reply("good");
            }
        })
    };
    let origin = origin.start();
    let breaker = BRIEF.replace("successes = 2", "probes = 2, successes = 2");
    let gateway = over(&[origin.address], &breaker);
    statuses(&mut gateway.client(), 3);
    is_well.store(true, Ordering::SeqCst);
    gateway.wait_for_count("ringgate_breaker_state", 2);

    let address = gateway.address();
    let clients =
        [(); 16].map(|()| thread::spawn(move || Client::connect(address).get("/").status));
    eventually("two of them", || (now.load(Ordering::SeqCst) == 2).then_some(()));
    eventually("answers for the others", || {
        let waiting = clients.iter().filter(|client| !client.is_finished()).count();
        (waiting == 2).then_some(())
    });
    gate.open();
    gate.open();
    let answers = clients.map(|client| client.join().expect("an answer"));

    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 2);
    assert_eq!(most.load(Ordering::SeqCst), 2);
    gateway.wait_for_count("ringgate_breaker_state", 0);
}

#[test]
fn a_stream_that_begins_well_has_tried_the_endpoint_out() {
    let (gate, is_well) = (Gate::default(), Arc::<AtomicBool>::default());
    let origin = {
        let (gate, is_well) = (gate.clone(), Arc::clone(&is_well));
        origin().on(move |_, connection| {
            if !is_well.load(Ordering::SeqCst) {
                return connection.send(BAD);
            }
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n");
            gate.try_pass();
            connection.send("0\r\n\r\n");
        })
    };
    let origin = origin.start();
    let gateway = over(&[origin.address], &BRIEF.replace("successes = 2", "successes = 1"));
    statuses(&mut gateway.client(), 3);
    is_well.store(true, Ordering::SeqCst);
    gateway.wait_for_count("ringgate_breaker_state", 2);

    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head().expect("the stream begins");

    gateway.wait_for_count("ringgate_breaker_state", 0);
    gate.open();
}

#[test]
fn a_client_that_leaves_while_it_tries_an_endpoint_out_makes_room_for_another() {
    let (gate, is_well) = (Gate::default(), Arc::<AtomicBool>::default());
    let origin = {
        let (gate, is_well) = (gate.clone(), Arc::clone(&is_well));
        origin().on(move |request, connection| {
            if !is_well.load(Ordering::SeqCst) {
                return connection.send(BAD);
            }
            if request.target() == "/slow" {
                gate.try_pass();
            }
            connection.reply("good");
        })
    };
    let origin = origin.start();
    let gateway = over(&[origin.address], &BRIEF.replace("successes = 2", "successes = 1"));
    statuses(&mut gateway.client(), 3);
    is_well.store(true, Ordering::SeqCst);
    gateway.wait_for_count("ringgate_breaker_state", 2);

    let mut leaving = gateway.client();
    leaving.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.wait_for_count("ringgate_endpoint_in_flight", 1);
    assert_eq!(gateway.get("/").status, 503, "its place is taken");
    drop(leaving);
    gateway.wait_for_count("ringgate_endpoint_in_flight", 0);

    assert_eq!(gateway.get("/").status, 200);
    gate.open();
}

#[test]
fn a_model_has_a_breaker_like_any_cluster() {
    let (origin, _) = moody();
    let config = listener("")
        + "[[route]]\nai = true\n[model.m]\n"
        + BREAKER
        + &format!(
            "\n[[model.m.endpoint]]\nprovider = \"vllm\"\nurl = \"http://{}/v1\"\n",
            origin.address
        );
    let gateway = gateway().config(config).start();
    let mut client = gateway.client();
    let call = "{\"model\":\"m\",\"messages\":[]}";

    for _ in 0..5 {
        assert_eq!(client.post("/v1/chat/completions", "", call).status, 503);
    }

    assert_eq!(origin.requests_seen(), 3);
    assert_eq!(gateway.count("jairouter_circuitbreaker_state{service=\"model:m\"}"), 1);
}
