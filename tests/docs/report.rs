//! What the program writes of itself: the families of its metrics, the keys of its access log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringgate::telemetry::worker::Driver;
use ringgate::telemetry::{
    CertificateReport, CircuitState, ClusterReport, EndpointReport, HandOvers, LimitReport, Line,
    LineFormat, Load, LogEntries, Lookups, Outcome, PassiveReport, ProcessStats, Report,
    RequestKey, StampCache, WorkerMetrics, prometheus,
};

/// Type and labels by name.
pub(crate) type Families = BTreeMap<String, (String, BTreeSet<String>)>;

/// The families of a page on which each has a series.
pub(crate) fn families() -> Families {
    let page = page();
    let mut families = Families::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a type follows the name");
        let series = page.lines().filter(|line| is_series_of(line, name, kind));
        let labels: Vec<BTreeSet<String>> = series.map(labels).collect();
        let first = labels.first().unwrap_or_else(|| panic!("{name} has no series")).clone();
        assert!(labels.iter().all(|labels| *labels == first), "{name}");
        families.insert(name.to_owned(), (kind.to_owned(), first));
    }
    families
}

/// Of a histogram, its counts: they have no label for the bucket.
fn is_series_of(line: &str, name: &str, kind: &str) -> bool {
    let suffix = if kind == "histogram" { "_count" } else { "" };
    let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(suffix));
    rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
}

/// Label values of [`page`] hold neither quotes nor equals signs.
fn labels(line: &str) -> BTreeSet<String> {
    let Some((_, rest)) = line.split_once('{') else { return BTreeSet::new() };
    let names = rest.split("=\"").filter_map(|text| text.rsplit(['{', ',', '"']).next());
    names.filter(|name| !name.starts_with('}')).map(str::to_owned).collect()
}

fn page() -> String {
    let worker = WorkerMetrics::new(0, &["reset"], &["reset"]);
    worker.set_driver(Driver { name: "epoll", flags: String::new() });
    let (route, cluster) = ("/v1".into(), "web".into());
    worker.request_series(&RequestKey { route, cluster, method: "GET", status: 200 });
    worker.upstream_series("web", "10.0.0.1:80", &["connect_failed"]);
    worker.cluster_series("web", &["queue_full"]).rejected.inc(0);
    worker.ai_series("llama-3");
    worker.limit_series("route", "/v1", "token_bucket");
    worker.handshake_series("public", &["timeout"]);
    worker.refused.inc(0);
    worker.upstream_faults.inc(0);
    let endpoint = EndpointReport {
        cluster: "web".into(),
        endpoint: "10.0.0.1:80".into(),
        up: true,
        in_flight: 0,
        weight: 1,
        checks: vec![("passed", 3), ("timeout", 1), ("closed", 0)],
        passive: Some(PassiveReport {
            is_breaker: false,
            circuit: CircuitState::Open,
            openings: vec![("consecutive_failures", 1), ("failure_rate", 0)],
        }),
    };
    let broken = EndpointReport {
        passive: Some(PassiveReport {
            is_breaker: true,
            circuit: CircuitState::HalfOpen,
            openings: vec![("consecutive_failures", 0), ("failure_rate", 1)],
        }),
        endpoint: "10.0.0.2:80".into(),
        ..endpoint.clone()
    };
    prometheus::render(&Report {
        service: "ringgate",
        tags: &[],
        version: "0.0.0",
        workers: &[Arc::new(worker)],
        endpoints: &[endpoint, broken],
        certificates: &[CertificateReport { file: "a.pem".into(), not_after: 0 }],
        clusters: &[ClusterReport { cluster: "web".into(), queued: 0 }],
        limits: &[LimitReport {
            scope: "client_ip",
            name: String::new(),
            clients: 0,
            capacity: 64,
            overflowed: 0,
        }],
        process: &ProcessStats::default(),
        log_entries: &LogEntries::default(),
        access_log_unwritten: 0,
        generation: 1,
        reload_failures: 0,
        hand_overs: &HandOvers::default(),
        lookups: &Lookups::default(),
    })
}

/// The keys of a line in which everything is known.
pub(crate) fn access_log_keys() -> BTreeSet<String> {
    let line = Line {
        at_unix_ns: 0,
        client: ([192, 0, 2, 7], 50_123).into(),
        peer: Some(([10, 0, 0, 1], 4711).into()),
        listener: "public",
        route: Some("/v1"),
        method: b"POST",
        host: Some(b"ai.example.com"),
        path: b"/v1/embeddings",
        version: "HTTP/1.1",
        status: Some(502),
        bytes_in: 1,
        bytes_out: 1,
        total_us: 1,
        queued_us: Some(1),
        head_us: Some(1),
        connect_us: Some(1),
        first_byte_us: Some(1),
        overhead_us: Some(1),
        cluster: Some("model:llama-3"),
        endpoint: Some("10.0.0.1:80"),
        attempts: 1,
        reused: false,
        request_id: b"1",
        user_agent: Some(b"curl"),
        referer: None,
        model: Some("llama-3"),
        streamed: false,
        outcome: Outcome::UpstreamCut,
        reason: Some("invalid_length"),
        worker: 0,
        load: Load::default(),
    };
    let mut text = Vec::new();
    line.write(LineFormat::Json, &mut StampCache::default(), &mut text);
    let line: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&text).expect("a line is an object");
    line.into_iter().map(|(key, _)| key).collect()
}
