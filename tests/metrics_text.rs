//! The metrics page as Prometheus reads it: by rules of the text format, and by `promtool`.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ringgate::telemetry::worker::Driver;
use ringgate::telemetry::{
    CertificateReport, CircuitState, ClusterReport, EndpointReport, HandOvers, LimitReport,
    LogEntries, Lookups, PassiveReport, ProcessStats, Report, RequestKey, WorkerMetrics,
    prometheus,
};

/// A page on which every family has a series, and label values are as awkward as they may be.
fn page() -> String {
    let workers = [busy_worker(0), busy_worker(1)];
    let endpoint = EndpointReport {
        cluster: "docs".into(),
        endpoint: "unix:/run/a \"b\"\\c.sock".into(),
        up: true,
        in_flight: 3,
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
    let certificate =
        CertificateReport { file: "/etc/\"a\"/b.pem".into(), not_after: 1_800_000_000 };
    let process = ProcessStats {
        cpu_seconds: 12.34,
        resident_bytes: 10 << 20,
        virtual_bytes: 1 << 30,
        memory_limit_bytes: u64::MAX,
        open_fds: 20,
        max_fds: 1024,
        threads: 4,
        start_time_seconds: 1_700_000_000.25,
    };
    prometheus::render(&Report {
        service: "ringgate",
        tags: &[
            ("environment".into(), "line\nfeed".into()),
            ("status".into(), "a tag in the way".into()),
            ("not-a-label".into(), "x".into()),
        ],
        version: "0.1.0",
        workers: &workers,
        endpoints: &[endpoint, broken],
        certificates: &[certificate],
        clusters: &[ClusterReport { cluster: "docs".into(), queued: 0 }],
        limits: &[LimitReport {
            scope: "client_ip",
            name: String::new(),
            clients: 3,
            capacity: 50_048,
            overflowed: 0,
        }],
        process: &process,
        log_entries: &LogEntries::default(),
        access_log_unwritten: 0,
        generation: 1,
        reload_failures: 0,
        hand_overs: &HandOvers::default(),
        lookups: &Lookups::default(),
    })
}

fn busy_worker(index: usize) -> Arc<WorkerMetrics> {
    let worker = WorkerMetrics::new(index, &["no_route", "head_too_large"], &["reset"]);
    worker.set_driver(Driver { name: "io_uring", flags: "single_issuer,defer_taskrun".into() });
    worker.connections_accepted.add(7);
    worker.refused.inc(1);
    for (cluster, status) in [("docs", 200), ("model:gpt-4", 200), ("docs", 502), ("", 0)] {
        let (route, cluster) = ("/v1/\\\"".into(), cluster.into());
        let key = RequestKey { route, cluster, method: "GET", status };
        for ns in [900_000, 40_000_000, 700_000_000_000] {
            worker.request_series(&key).duration.record(ns);
        }
    }
    worker.overhead.record(7_300);
    worker.upstream_series("docs", "10.0.0.1:80", &["connect_failed"]).connect.record(250_000);
    worker.upstream_series("docs", "10.0.0.1:80", &["connect_failed"]).first_byte.record(2_500_000);
    let handshakes = worker.handshake_series("public", &["timeout", "closed"]);
    handshakes.count("1.3", true);
    handshakes.failures.inc(1);
    worker.cluster_series("docs", &["queue_full"]).rejected.inc(0);
    for algorithm in ["token_bucket", "concurrency"] {
        worker.limit_series("route", "/v1/\\\"", algorithm).rejected.inc();
    }
    worker.ai_series("gpt-4").time_to_first_event.record(320_000_000);
    Arc::new(worker)
}

/// One line of values, taken apart.
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn read(line: &str) -> Self {
        let end = line.find(['{', ' ']).expect("a name ends");
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => read_labels(rest),
            None => (Vec::new(), rest),
        };
        let value = rest.strip_prefix(' ').expect("one space before the value");
        Self { name: name.to_owned(), labels, value: value.parse().expect("a number") }
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.0 == name).map(|label| label.1.as_str())
    }

    /// The labels without `le`, in one order.
    fn identity(&self) -> Vec<(String, String)> {
        let mut labels = self.labels.clone();
        labels.retain(|label| label.0 != "le");
        labels.sort();
        labels
    }
}

/// Reads `a="b",c="d"}` and returns what follows.
fn read_labels(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut labels = Vec::new();
    loop {
        let (name, quoted) = rest.split_once("=\"").expect("a name, then a quoted value");
        let (value, after) = read_value(quoted);
        labels.push((name.to_owned(), value));
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, after.strip_prefix('}').expect("labels end in a brace")),
        }
    }
}

fn read_value(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some(escaped @ ('\\' | '"')) => value.push(escaped),
                other => panic!("no such escape: {other:?}"),
            },
            other => value.push(other),
        }
    }
    panic!("a quote is open in {quoted}");
}

/// The families of a page with their kind and samples; checks what holds for each line.
fn read(page: &str) -> HashMap<String, (String, Vec<Sample>)> {
    assert!(page.ends_with('\n'));
    let mut families: HashMap<String, (String, Vec<Sample>)> = HashMap::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").expect("a family begins with its help");
        let (name, text) = help.split_once(' ').expect("help has a text");
        assert!(is_name(name) && !text.is_empty(), "{line}");
        let typed = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
        let (typed, kind) = typed.and_then(|rest| rest.split_once(' ')).expect("then its type");
        assert_eq!(typed, name);
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            samples.push(Sample::read(line));
        }
        let earlier = families.insert(name.to_owned(), (kind.to_owned(), samples));
        assert!(earlier.is_none(), "{name} is there twice");
    }
    families
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[test]
fn each_series_is_there_once_and_well_formed() {
    for (name, (kind, samples)) in read(&page()) {
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{name}: {kind}");
        assert!(!samples.is_empty(), "{name} has no series");
        let mut seen = HashSet::new();
        for sample in &samples {
            let suffix = sample.name.strip_prefix(&name).expect("a sample of its family");
            let histogram = ["_bucket", "_sum", "_count"].contains(&suffix);
            assert_eq!(histogram, kind == "histogram", "{}", sample.name);
            assert!(histogram || suffix.is_empty(), "{}", sample.name);
            assert!(sample.labels.iter().all(|(label, _)| is_name(label)), "{name}");
            let names: HashSet<_> = sample.labels.iter().map(|(label, _)| label).collect();
            assert_eq!(names.len(), sample.labels.len(), "{name} repeats a label");
            let le = sample.label("le").map(str::to_owned);
            assert!(seen.insert((&sample.name, le, sample.identity())), "{name} repeats a series");
        }
    }
}

#[test]
fn histograms_rise_to_their_count() {
    let families = read(&page());
    let histograms = families.iter().filter(|(_, (kind, _))| kind == "histogram");
    let mut checked = 0;
    for (name, (_, samples)) in histograms {
        for count in samples.iter().filter(|sample| sample.name.ends_with("_count")) {
            let buckets: Vec<&Sample> = samples
                .iter()
                .filter(|sample| sample.label("le").is_some())
                .filter(|sample| sample.identity() == count.identity())
                .collect();
            let bounds: Vec<f64> =
                buckets.iter().map(|bucket| bucket.label("le").unwrap().parse().unwrap()).collect();
            assert!(bounds.is_sorted_by(|a, b| a < b), "{name}: {bounds:?}");
            assert!(buckets.is_sorted_by_key(|bucket| bucket.value), "{name}");
            assert_eq!(bounds.last(), Some(&f64::INFINITY), "{name}");
            assert_eq!(buckets.last().unwrap().value, count.value, "{name}");
            checked += 1;
        }
    }
    assert!(checked > 8, "only {checked} histograms");
}

#[test]
fn tags_are_on_every_series_and_yield_to_its_own_labels() {
    for (name, (_, samples)) in read(&page()) {
        for sample in samples {
            assert_eq!(sample.label("environment"), Some("line\nfeed"), "{name}");
            assert!(sample.label("not-a-label").is_none());
            let own = ["http_requests_total", "ringgate_requests_total"].contains(&name.as_str());
            assert!(!own || sample.label("status") != Some("a tag in the way"), "{name}");
        }
    }
}

#[test]
fn every_name_that_rules_and_dashboards_ask_for_is_there() {
    let families = read(&page());
    let missing: Vec<_> = include_str!("metrics_text/names.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            let Some((_, samples)) = families.get(name) else { return true };
            !words.all(|label| samples.iter().any(|sample| sample.label(label).is_some()))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("promtool is not installed (Debian: prometheus): nothing was checked");
            return;
        }
        started => started.expect("promtool starts"),
    };
    let mut stdin = promtool.stdin.take().expect("it is piped");
    stdin.write_all(page().as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let complaints =
        String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && complaints.trim().is_empty(), "{complaints}");
}
