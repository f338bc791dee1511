use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::*;

/// A gateway as the pages see it.
struct Stage {
    workers: Vec<Arc<WorkerMetrics>>,
    alive: AtomicUsize,
    accepting: AtomicUsize,
    draining: AtomicBool,
    log_entries: LogEntries,
    hand_overs: HandOvers,
    lookups: Lookups,
    token: Option<&'static str>,
}

impl Instance for Stage {
    fn workers(&self) -> Vec<Arc<WorkerMetrics>> {
        self.workers.clone()
    }
    fn workers_alive(&self) -> usize {
        self.alive.load(Relaxed)
    }
    fn workers_accepting(&self) -> usize {
        self.accepting.load(Relaxed)
    }
    fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
    fn generation(&self) -> u64 {
        4
    }
    fn reload_failures(&self) -> u64 {
        0
    }
    fn hand_overs(&self) -> &HandOvers {
        &self.hand_overs
    }
    fn lookups(&self) -> &Lookups {
        &self.lookups
    }
    fn certificates(&self) -> Vec<CertificateReport> {
        Vec::new()
    }
    fn endpoints(&self) -> Vec<EndpointReport> {
        let (cluster, endpoint) = ("docs".into(), "10.0.0.1:80".into());
        vec![EndpointReport {
            cluster,
            endpoint,
            up: false,
            in_flight: 0,
            weight: 1,
            checks: Vec::new(),
            passive: None,
        }]
    }
    fn limits(&self) -> Vec<LimitReport> {
        Vec::new()
    }

    fn clusters(&self) -> Vec<ClusterReport> {
        vec![ClusterReport { cluster: "docs".into(), queued: 0 }]
    }
    fn service(&self) -> String {
        "gate".into()
    }
    fn tags(&self) -> Vec<(String, String)> {
        vec![("environment".into(), "test".into())]
    }
    fn log_entries(&self) -> &LogEntries {
        &self.log_entries
    }
    fn access_log_unwritten(&self) -> u64 {
        0
    }
    fn status(&self, cluster: Option<&str>) -> Result<Value, String> {
        match cluster {
            None | Some("docs") => Ok(json!({ "clusters": [] })),
            Some(_) => Err("no cluster has this name".into()),
        }
    }
    fn is_admin_token(&self, given: &[u8]) -> Option<bool> {
        self.token.map(|token| token.as_bytes() == given)
    }
}

/// Two workers at work, and an endpoint that is down.
fn stage() -> Arc<Stage> {
    let worker = |index| Arc::new(WorkerMetrics::new(index, &["no_route"], &["reset"]));
    Arc::new(Stage {
        workers: vec![worker(0), worker(1)],
        alive: AtomicUsize::new(2),
        accepting: AtomicUsize::new(2),
        draining: AtomicBool::new(false),
        log_entries: LogEntries::default(),
        hand_overs: HandOvers::default(),
        lookups: Lookups::default(),
        token: None,
    })
}

struct Reply {
    head: String,
    body: String,
}

impl Reply {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn talk(address: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Reply { head: head.to_owned(), body: body.to_owned() }
}

/// All pages of a server at `address` that carries out no orders.
fn router_at(stage: &Arc<Stage>, address: &str) -> Router {
    let (orders, _) = orders::channel();
    router(Api::new(Arc::clone(stage) as AdminState, orders, address.parse().unwrap()))
}

fn local(stage: &Arc<Stage>) -> Router {
    router_at(stage, "127.0.0.1:9901")
}

/// Serves `router` for one request.
fn ask(router: Router, method: &str, path: &str, fields: &str) -> Reply {
    let host = if fields.to_ascii_lowercase().contains("host:") { "" } else { "host: [::1]:1\r\n" };
    let request = format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{fields}\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async { axum::serve(listener, router).await });
        let reply = tokio::task::spawn_blocking(move || talk(address, &request)).await.unwrap();
        server.abort();
        reply
    })
}

fn get(stage: &Arc<Stage>, path: &str) -> Reply {
    ask(local(stage), "GET", path, "")
}

#[test]
fn a_gateway_at_work_is_up() {
    let stage = stage();
    for path in ["/actuator/health", "/health"] {
        let reply = get(&stage, path);
        assert_eq!(reply.status(), "200");
        let up = json!({ "status": "UP" });
        let components = json!({ "livenessState": up, "readinessState": up });
        assert_eq!(reply.json(), json!({ "status": "UP", "components": components }));
    }
    let short = ["/actuator/health/liveness", "/actuator/health/readiness", "/health/live"];
    for path in short.into_iter().chain(["/health/ready", "/ready"]) {
        let reply = get(&stage, path);
        assert_eq!((reply.status(), reply.json()), ("200", json!({ "status": "UP" })), "{path}");
    }
}

#[test]
fn a_draining_gateway_is_alive_but_not_ready() {
    let stage = stage();
    stage.draining.store(true, Relaxed);
    assert_eq!(get(&stage, "/health/live").status(), "200");
    for path in ["/health/ready", "/ready", "/actuator/health/readiness"] {
        let reply = get(&stage, path);
        assert_eq!((reply.status(), reply.json()), ("503", json!({ "status": "DOWN" })));
    }
    let all = get(&stage, "/actuator/health");
    assert_eq!(all.status(), "503");
    assert_eq!(all.json()["components"]["livenessState"]["status"], "UP");
    assert_eq!(all.json()["components"]["readinessState"]["status"], "DOWN");
}

#[test]
fn without_an_accepting_worker_it_is_not_ready() {
    let stage = stage();
    stage.accepting.store(0, Relaxed);
    assert_eq!(get(&stage, "/ready").status(), "503");
    assert_eq!(get(&stage, "/health/live").status(), "200");
}

#[test]
fn liveness_fails_only_when_no_worker_is_left() {
    let stage = stage();
    stage.alive.store(1, Relaxed);
    assert_eq!(get(&stage, "/health/live").status(), "200");
    stage.alive.store(0, Relaxed);
    assert_eq!(get(&stage, "/health/live").status(), "503");
    assert_eq!(get(&stage, "/actuator/health").status(), "503");
}

#[test]
fn both_names_of_the_metrics_page_show_it() {
    let stage = stage();
    stage.workers[1].connections_accepted.inc();
    for path in ["/metrics", "/actuator/prometheus"] {
        let reply = get(&stage, path);
        assert_eq!(reply.status(), "200");
        assert_eq!(reply.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let lines: Vec<&str> = reply.body.lines().collect();
        assert!(lines.contains(&r#"active_connections{environment="test"} 1"#), "{}", reply.body);
        assert!(lines.contains(&r#"ringgate_config_generation{environment="test"} 4"#));
        assert!(!reply.body.contains("process_resident_memory_bytes{environment=\"test\"} 0\n"));
    }
}

#[test]
fn the_list_of_metrics_names_each_family_once() {
    let names = get(&stage(), "/actuator/metrics").json();
    let names: Vec<&str> =
        names["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| **name == "http_requests_total").count(), 1);
    assert!(names.contains(&"ringgate_overhead_seconds"));
}

#[test]
fn information_tells_version_and_generation() {
    let info = get(&stage(), "/actuator/info").json();
    assert_eq!(info["build"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["configuration"]["generation"], 4);
    assert_eq!(info["service"], "gate");
}

#[test]
fn the_index_links_to_pages_that_exist() {
    let stage = stage();
    let index = get(&stage, "/actuator").json();
    for link in index["_links"].as_object().unwrap().values() {
        assert_eq!(get(&stage, link["href"].as_str().unwrap()).status(), "200");
    }
}

#[test]
fn a_public_listener_gets_no_more_than_the_ops_pages() {
    let ask = |path| ask(ops_router(stage()), "GET", path, "");
    assert_eq!(ask("/actuator/health").status(), "200");
    assert_eq!(ask("/metrics").status(), "200");
    for path in ["/actuator", "/actuator/metrics", "/api/v1/status"] {
        assert_eq!(ask(path).status(), "404");
    }
}

#[test]
fn unknown_paths_and_methods_are_answered_in_json() {
    let missing = get(&stage(), "/actuator/env");
    assert_eq!(missing.status(), "404");
    assert_eq!(missing.json()["status"], 404);
    assert_eq!(missing.json()["path"], "/actuator/env");

    let posted = ask(local(&stage()), "POST", "/health", "content-length: 0\r\n");
    assert_eq!(posted.status(), "405");
    assert_eq!(posted.json()["error"], "Method Not Allowed");
    assert_eq!(posted.field("allow"), Some("GET,HEAD"));
}

#[test]
fn every_answer_has_a_request_id_and_is_not_cached() {
    for path in ["/health", "/metrics", "/nothing"] {
        let reply = get(&stage(), path);
        assert_eq!(reply.field("x-request-id").unwrap().len(), 16);
        assert_eq!(reply.field("cache-control"), Some("no-store"));
    }
    let named = ask(local(&stage()), "GET", "/health", "x-request-id: abc-1\r\n");
    assert_eq!(named.field("x-request-id"), Some("abc-1"));
    let forged = ask(local(&stage()), "GET", "/health", "x-request-id: {\"a\"}\r\n");
    assert_eq!(forged.field("x-request-id").unwrap().len(), 16);
}

#[test]
fn a_head_request_gets_the_status_without_the_body() {
    let reply = ask(local(&stage()), "HEAD", "/health", "");
    assert_eq!((reply.status(), reply.body.as_str()), ("200", ""));
}

const DRAIN: &str = "/api/v1/clusters/docs/endpoints/10.0.0.1:80";
const JSON: &str = "content-type: application/json\r\ncontent-length: 17\r\n";
const DRAIN_BODY: &str = r#"{"state":"drain"}"#;

/// A PUT with fields; there is nobody to carry it out, so 503 is as far as it comes.
fn put(router: Router, fields: &str) -> Reply {
    ask(router, "PUT", DRAIN, &format!("{fields}\r\n{DRAIN_BODY}"))
}

#[test]
fn changes_are_taken_on_this_machine_and_elsewhere_with_a_token() {
    let open = stage();
    assert_eq!(put(local(&open), JSON).status(), "503");
    assert_eq!(put(router_at(&open, "[::1]:1"), JSON).status(), "503");
    let refused = put(router_at(&open, "10.0.0.5:9901"), JSON);
    assert_eq!(refused.status(), "403");
    assert!(refused.body.contains("set token in [admin]"), "{}", refused.body);

    let guarded = Arc::new(Stage { token: Some("secret"), ..Arc::into_inner(stage()).unwrap() });
    for address in ["127.0.0.1:1", "10.0.0.5:9901"] {
        let without = put(router_at(&guarded, address), JSON);
        assert_eq!((without.status(), without.field("www-authenticate")), ("401", Some("Bearer")));
        let wrong =
            put(router_at(&guarded, address), &format!("{JSON}authorization: Bearer a\r\n"));
        assert_eq!(wrong.status(), "401");
        let with = format!("{JSON}Authorization: bearer secret\r\nhost: admin.example\r\n");
        assert_eq!(put(router_at(&guarded, address), &with).status(), "503");
    }
    assert_eq!(get(&guarded, "/api/v1/status").status(), "401");
    assert_eq!(get(&guarded, "/metrics").status(), "200");
}

#[test]
fn a_page_in_a_browser_changes_nothing() {
    let stage = stage();
    let with = |fields: &str| put(local(&stage), &format!("{JSON}{fields}"));
    assert_eq!(with("origin: http://evil.example\r\n").status(), "403");
    assert_eq!(with("sec-fetch-site: same-origin\r\n").status(), "403");
    // What a page may send without asking first.
    let simple = "content-type: text/plain\r\ncontent-length: 17\r\n";
    assert_eq!(put(local(&stage), simple).status(), "415");
    // A name that the page's owner has made to mean this machine.
    assert_eq!(with("host: evil.example:9901\r\n").status(), "403");
    let read = ask(local(&stage), "GET", "/api/v1/status", "host: evil.example\r\n");
    assert_eq!(read.status(), "403");
    for host in ["localhost:9901", "127.0.0.1", "[::1]:9901", "LOCALHOST"] {
        let read = ask(local(&stage), "GET", "/api/v1/status", &format!("host: {host}\r\n"));
        assert_eq!(read.status(), "200", "{host}");
    }
}

#[test]
fn the_status_may_be_that_of_one_cluster() {
    let stage = stage();
    assert_eq!(get(&stage, "/api/v1/status?cluster=docs").status(), "200");
    let unknown = get(&stage, "/api/v1/status?cluster=dcos");
    assert_eq!((unknown.status(), &unknown.json()["status"]), ("404", &json!(404)));
    assert_eq!(get(&stage, "/api/v1/status?clutser=docs").status(), "400");
}
