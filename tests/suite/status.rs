//! What the operator sees of clusters and endpoints, and what they can change of them at run time.

mod changes;
mod command;

use serde_json::Value;

use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::origin;
use crate::support::{eventually, free_port};

/// The only cluster of the status.
fn cluster(gateway: &Gateway) -> Value {
    let status = gateway.status();
    assert_eq!(status["clusters"].as_array().map(Vec::len), Some(1), "{status:#}");
    status["clusters"][0].clone()
}

/// Waits until the cluster's status is as wanted.
fn wait_for(gateway: &Gateway, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || Some(cluster(gateway)).filter(&is_so))
}

#[test]
fn the_status_tells_of_instance_listeners_clusters_and_endpoints() {
    let origin = origin().reply("hello").start();
    let lines = "max_in_flight = 50\nqueue = 7";
    let gateway = gateway().route_with("/", &[origin.address], "", lines).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
    }
    wait_for(&gateway, "three settled requests", |cluster| cluster["requests"] == 3);
    // The workers tell of idle connections when they keep house.
    let cluster = wait_for(&gateway, "an idle connection", |cluster| {
        cluster["endpoints"][0]["idle_connections"] == 1
    });

    let status = gateway.status();
    let instance = &status["instance"];
    assert_eq!(instance["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(instance["pid"], gateway.pid());
    assert_eq!((&instance["generation"], &instance["draining"]), (&1.into(), &false.into()));
    let workers = instance["workers"].as_array().expect("a list");
    assert_eq!(workers.len(), 2);
    assert!(workers.iter().all(|w| w["alive"] == true && w["accepting"] == true), "{status:#}");
    let listener = &status["listeners"][0];
    assert_eq!(listener["listener"], "public");
    assert_eq!(listener["address"], gateway.address().to_string());
    assert_eq!((&listener["connections"], &listener["tls"]), (&1.into(), &false.into()));

    assert_eq!((&cluster["cluster"], &cluster["state"]), (&"c0".into(), &"up".into()));
    assert_eq!((&cluster["in_flight"], &cluster["in_flight_max"]), (&0.into(), &50.into()));
    assert_eq!(
        (&cluster["queue"]["length"], &cluster["queue"]["length_max"]),
        (&0.into(), &7.into())
    );
    let endpoint = &cluster["endpoints"][0];
    assert_eq!(endpoint["endpoint"], origin.address.to_string());
    assert_eq!((&endpoint["state"], &endpoint["requests"]), (&"up".into(), &3.into()));
    for latency in ["connect_seconds", "first_byte_seconds"] {
        let p99 = endpoint[latency]["p99"].as_f64().expect("a number");
        assert!(p99 > 0.0 && p99 < 60.0, "{endpoint:#}");
    }
    assert_eq!(endpoint["last_errors"], Value::Array(Vec::new()));
}

#[test]
fn rates_are_of_the_last_seconds() {
    let origin = origin().start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    let cluster = eventually("a rate", || {
        assert_eq!(client.get("/").status, 200);
        let cluster = cluster(&gateway);
        (cluster["requests_per_second"]["last_second"].as_f64() > Some(0.0)).then_some(cluster)
    });

    let rates = &cluster["requests_per_second"];
    assert!(rates["last_minute"].as_f64() > Some(0.0), "{rates}");
}

#[test]
fn failures_are_told_by_kind_with_the_last_of_each() {
    let good = origin().reply("hello").start();
    let nobody = ([127, 0, 0, 1], free_port()).into();
    let gateway = gateway().route_with("/", &[nobody, good.address], "", "").start();

    for _ in 0..4 {
        assert_eq!(gateway.get("/").text(), "hello");
    }

    let cluster = wait_for(&gateway, "four requests", |cluster| cluster["requests"] == 4);
    let (bad, good) = (&cluster["endpoints"][0], &cluster["endpoints"][1]);
    let failed = bad["failures"]["connect_failed"].as_u64().expect("a count");
    assert!(failed >= 2, "{cluster:#}");
    assert_eq!(cluster["retries"]["made"], failed);
    let last = &bad["last_errors"][0];
    assert_eq!((&last["reason"], &last["count"]), (&"connect_failed".into(), &failed.into()));
    assert!(last["last"].as_str().expect("a stamp").ends_with('Z'));
    assert_eq!(good["failures"], serde_json::json!({}));
}

#[test]
fn a_name_that_does_not_resolve_is_unresolved() {
    let config = crate::support::gateway::listener("")
        + "[[route]]\ncluster = \"c\"\n[cluster.c]\n[[cluster.c.endpoint]]\n\
           address = \"nowhere.invalid:80\"\n";
    let gateway = gateway().config(config).start();

    let cluster = cluster(&gateway);

    assert_eq!(cluster["state"], "down");
    let endpoint = &cluster["endpoints"][0];
    assert_eq!((&endpoint["state"], &endpoint["address"]), (&"unresolved".into(), &Value::Null));
}

#[test]
fn one_cluster_can_be_asked_for() {
    let origin = origin().start();
    let gateway = gateway().route("/a", &origin).route("/b", &origin).start();

    let all = gateway.status();
    let second = all["clusters"][1]["cluster"].as_str().expect("a name");
    let status = gateway.api("GET", &format!("/api/v1/status?cluster={second}"), "").json();
    assert_eq!(status["clusters"].as_array().map(Vec::len), Some(1));
    assert_eq!(status["clusters"][0]["cluster"], second);

    let unknown = gateway.api("GET", "/api/v1/status?cluster=c7", "");
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("the nearest is"), "{}", unknown.text());
}
