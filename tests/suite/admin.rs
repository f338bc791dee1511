//! What the operator sees.

use serde_json::json;

use crate::support::gateway::{gateway, listener};
use crate::support::origin::origin;

#[test]
fn health_says_up_on_every_path() {
    let gateway = gateway().start();

    for path in [
        "/actuator/health",
        "/actuator/health/liveness",
        "/actuator/health/readiness",
        "/health",
        "/ready",
    ] {
        let reply = gateway.admin(path);
        assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("UP")), "{path}");
        assert!(reply.head.has("x-request-id"));
    }
}

#[test]
fn liveness_does_not_depend_on_upstreams() {
    let gone = origin().start().address;
    let gateway = gateway().route_with("/", &[gone], "", "").start();

    assert_eq!(gateway.get("/").status, 502);

    assert_eq!(gateway.admin("/actuator/health").json()["status"], "UP");
}

#[test]
fn info_names_version_and_generation() {
    let gateway = gateway().start();

    let info = gateway.admin("/actuator/info").json();

    assert_eq!(info["build"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["configuration"]["generation"], 1);
}

#[test]
fn both_pages_of_metrics_are_prometheus_text() {
    let gateway = gateway().start();

    for path in ["/metrics", "/actuator/prometheus"] {
        let reply = gateway.admin(path);
        let content_type = reply.get("content-type").expect("a type");
        assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
        assert!(reply.text().contains("# TYPE ringgate_build_info gauge"), "{path}");
    }
}

#[test]
fn each_request_is_counted_once_in_every_family() {
    let origin = origin().start();
    let gateway = gateway().route("/api", &origin).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        client.get("/api");
    }
    client.get("/other");
    // An exchange is settled once its answer is sent: the client may be ahead of the books.
    gateway.wait_for_count("ringgate_requests_total", 4);

    let metrics = gateway.metrics();

    for family in ["ringgate_requests_total", "http_server_requests_total", "http_requests_total"] {
        assert_eq!(
            metrics.count(&format!("{family}{{status=\"200\",method=\"GET\"}}")),
            3,
            "{family}"
        );
        assert_eq!(metrics.count(&format!("{family}{{status=\"404\"}}")), 1, "{family}");
    }
    assert_eq!(metrics.count("ringgate_upstream_requests_total{cluster=\"c0\"}"), 3);
    let series: Vec<_> = metrics.series("ringgate_request_duration_seconds_count").collect();
    assert_eq!(series.iter().map(|(_, count)| count).sum::<f64>(), 4.0, "{series:?}");
    assert_eq!(metrics.count("http_connections_active"), 1);
    assert_eq!(metrics.count("ringgate_overhead_seconds_count"), 3);
    assert!(metrics.sum("process_resident_memory_bytes") > 1e6);
}

#[test]
fn the_driver_and_its_work_are_shown() {
    let origin = origin().start();
    let gateway = gateway().workers(2).route("/", &origin).start();
    gateway.get("/");

    let metrics = gateway.metrics();

    let driver = std::env::var("RINGGATE_TEST_IO").unwrap_or_default();
    let infos: Vec<_> = metrics.series("ringgate_worker_info").collect();
    assert_eq!(infos.len(), 2);
    for (labels, _) in infos {
        let named = labels.iter().find(|(name, _)| *name == "driver").expect("a driver").1;
        match &*driver {
            "io_uring" | "epoll" => assert_eq!(named, driver),
            _ => assert!(matches!(named, "io_uring" | "epoll"), "{named}"),
        }
    }
    assert!(metrics.count("ringgate_worker_loop_turns_total") > 0);
    assert!(metrics.count("ringgate_worker_ring_enters_total") > 0);
    assert!(metrics.count("ringgate_worker_cqes_total") > 0);
}

#[test]
fn an_ops_route_shows_the_pages_it_names_and_no_others() {
    let routes = "[[route]]\npath = \"/actuator\"\nops = [\"health\", \"info\"]\n\
                  [[route]]\npath = \"/metrics\"\nops = [\"prometheus\"]\n";
    let gateway = gateway().config(listener("") + routes).start();
    let mut client = gateway.client();

    assert_eq!(client.get("/actuator/health").json()["status"], "UP");
    assert_eq!(client.get("/actuator/health/liveness").status, 200);
    assert!(client.get("/actuator/info").json()["build"].is_object());
    assert!(client.get("/metrics").text().contains("ringgate_build_info"));
    for path in ["/actuator", "/actuator/prometheus", "/actuator/metrics", "/actuator/none"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}

#[test]
fn only_reading_is_allowed() {
    let gateway = gateway().start();
    let mut client = crate::support::client::Client::connect(gateway.address_of("admin"));

    assert_eq!(client.post("/actuator/health", "", "").status, 405);
    assert_eq!(client.get("/none").status, 404);
}

#[test]
fn the_access_log_has_one_line_for_each_exchange() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().route("/", &origin).start();
    let request =
        "GET /a?secret=b HTTP/1.1\r\nHost: h\r\nUser-Agent: \"x\"\r\nX-Request-Id: one\r\n\r\n";

    gateway.talk(request);

    let line = gateway.log_line("one");
    for (key, value) in [
        ("method", json!("GET")),
        ("path", json!("/a")),
        ("host", json!("h")),
        ("version", json!("HTTP/1.1")),
        ("status", json!(200)),
        ("listener", json!("public")),
        ("cluster", json!("c0")),
        ("endpoint", json!(origin.address.to_string())),
        ("attempts", json!(1)),
        ("reused", json!(false)),
        ("outcome", json!("completed")),
        ("user_agent", json!("\"x\"")),
        ("bytes_in", json!(request.len())),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert!(line["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")));
    assert!(!line.to_string().contains("secret"), "queries carry secrets");
    assert!(line["total_us"].as_u64() >= line["overhead_us"].as_u64());
}

#[test]
fn logs_go_on_in_a_new_file_after_usr1() {
    let origin = origin().start();
    let gateway = gateway().route("/", &origin).start();
    gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: before\r\n\r\n");
    gateway.log_line("before");

    gateway.rotate_access_log();
    gateway.signal(libc::SIGUSR1);

    crate::support::eventually("a line in the new file", || {
        gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: after\r\n\r\n");
        gateway.log_lines().iter().any(|line| line["request_id"] == "after").then_some(())
    });
    assert!(gateway.log_lines().iter().all(|line| line["request_id"] != "before"));
}
