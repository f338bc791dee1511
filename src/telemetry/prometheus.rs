//! The families of `/metrics`, merged over the workers.
//!
//! Names without the prefix `ringgate_` are those that existing rules and dashboards ask for.

mod health;
mod limits;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exposition::Exposition;
use super::histogram::{
    Buckets, FIRST_BYTE, Histogram, HistogramTotal, OVERHEAD, REQUEST_DURATION,
};
use super::report::Report;
use super::totals::EndpointTotal;
use super::worker::{ClusterSeries, HandshakeSeries, RequestKey, TLS_VERSIONS, WorkerMetrics};

/// What a page of [`render`] is sent as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole page.
pub fn render(report: &Report<'_>) -> String {
    let mut page = Exposition::new(report.tags);
    let requests = Requests::of(report.workers);
    requests.write_under_known_names(&mut page, report.service);
    requests.write(&mut page);
    write_connections(&mut page, report.workers);
    write_handshakes(&mut page, report.workers);
    write_certificates(&mut page, report);
    write_upgrades(&mut page, report.workers);
    write_traffic(&mut page, report.workers);
    write_upstreams(&mut page, report.workers);
    write_http2(&mut page, report.workers);
    write_endpoint_series(&mut page, report.workers);
    write_endpoints(&mut page, report);
    health::write(&mut page, report);
    write_queues(&mut page, report);
    limits::write(&mut page, report);
    write_models(&mut page, report.workers);
    write_worker_loops(&mut page, report.workers);
    write_worker_connections(&mut page, report.workers);
    write_process(&mut page, report);
    write_memory_under_known_names(&mut page, report);
    write_logs(&mut page, report);
    write_configuration(&mut page, report);
    page.finish()
}

type Workers<'a> = &'a [Arc<WorkerMetrics>];

/// Adds up one number of each worker.
fn sum(workers: Workers<'_>, number: impl Fn(&WorkerMetrics) -> u64) -> u64 {
    workers.iter().map(|worker| number(worker)).sum()
}

/// Histograms by label set, in the order in which they are written.
struct Totals<K> {
    buckets: &'static Buckets,
    by: BTreeMap<K, HistogramTotal>,
}

impl<K: Ord> Totals<K> {
    fn new(buckets: &'static Buckets) -> Self {
        Self { buckets, by: BTreeMap::new() }
    }

    fn of(&mut self, key: K) -> &mut HistogramTotal {
        self.by.entry(key).or_insert_with(|| HistogramTotal::new(self.buckets))
    }

    fn add(&mut self, key: K, histogram: &Histogram) {
        self.of(key).add(histogram);
    }
}

/// Finished requests of all workers.
struct Requests(Totals<RequestKey>);

impl Requests {
    fn of(workers: Workers<'_>) -> Self {
        let mut totals = Totals::new(&REQUEST_DURATION);
        for series in workers.iter().flat_map(|worker| worker.all_request_series()) {
            totals.add(series.key.clone(), &series.duration);
        }
        Self(totals)
    }

    /// The same requests, told apart by fewer labels.
    fn by<'a, K: Ord>(&'a self, key: impl Fn(&'a RequestKey) -> K) -> Totals<K> {
        let mut totals = Totals::new(&REQUEST_DURATION);
        for (full, total) in &self.0.by {
            totals.of(key(full)).merge(total);
        }
        totals
    }

    fn write_under_known_names(&self, page: &mut Exposition<'_>, service: &str) {
        let by_route = self.by(|key| (&*key.route, key.method, key.status));

        let mut family = page.counter("http_server_requests_total", "Finished requests.");
        for (&(uri, method, status), total) in &by_route.by {
            let labels = [("status", &*status_label(status)), ("method", method), ("uri", uri)];
            family.series(&labels, total.count());
        }
        let mut family =
            page.histogram("http_server_requests_seconds", "How long finished requests took.");
        for (&(uri, method, status), total) in &by_route.by {
            let labels = [("status", &*status_label(status)), ("method", method), ("uri", uri)];
            family.buckets(&labels, total);
        }
        let mut family = page.counter("http_requests_total", "Finished requests of the service.");
        for (&(route, method, status), total) in &by_route.by {
            let status = status_label(status);
            let own = [("service", service), ("status", &*status), ("method", method)];
            family.series(&[own[0], own[1], own[2], ("endpoint", route)], total.count());
        }
        let mut all = HistogramTotal::new(&REQUEST_DURATION);
        by_route.by.values().for_each(|total| all.merge(total));
        page.histogram("http_request_duration_seconds", "How long the service's requests took.")
            .buckets(&[("service", service)], &all);
    }

    fn write(&self, page: &mut Exposition<'_>) {
        let mut family =
            page.counter("ringgate_requests_total", "Finished requests; status none: unanswered.");
        for (key, total) in &self.0.by {
            let status = status_label(key.status);
            let place = [("route", &*key.route), ("cluster", &*key.cluster)];
            let labels = [place[0], place[1], ("method", key.method), ("status", &*status)];
            family.series(&labels, total.count());
        }
        let mut family = page.histogram(
            "ringgate_request_duration_seconds",
            "From the first byte of a request to the last of its response.",
        );
        for (&(route, cluster), total) in &self.by(|key| (&*key.route, &*key.cluster)).by {
            family.buckets(&[("route", route), ("cluster", cluster)], total);
        }
    }
}

fn status_label(status: u16) -> String {
    if status == 0 { "none".to_owned() } else { status.to_string() }
}

fn write_connections(page: &mut Exposition<'_>, workers: Workers<'_>) {
    let active = sum(workers, WorkerMetrics::connections_active);
    let help = "Client connections being served.";
    page.gauge("http_connections_active", help).series(&[], active);
    page.gauge("active_connections", help).series(&[], active);
}

fn write_handshakes(page: &mut Exposition<'_>, workers: Workers<'_>) {
    let series: Vec<_> = workers.iter().flat_map(|worker| worker.all_handshake_series()).collect();
    let mut done = BTreeMap::new();
    let mut failed = BTreeMap::new();
    for HandshakeSeries { listener, done: by_version, failures } in series.iter().map(|s| &**s) {
        for (version, by_resumed) in TLS_VERSIONS.into_iter().zip(by_version) {
            for (resumed, count) in ["false", "true"].into_iter().zip(by_resumed) {
                *done.entry((&**listener, version, resumed)).or_insert(0) += count.get();
            }
        }
        for (reason, count) in failures.iter() {
            *failed.entry((&**listener, reason)).or_insert(0) += count;
        }
    }
    let mut family = page.counter("ringgate_tls_handshakes_total", "TLS handshakes done.");
    for ((listener, version, resumed), count) in done {
        let labels = [("listener", listener), ("version", version), ("resumed", resumed)];
        family.series(&labels, count);
    }
    let help = "TLS handshakes that came to nothing.";
    let mut family = page.counter("ringgate_tls_handshake_failures_total", help);
    for ((listener, reason), count) in failed {
        family.series(&[("listener", listener), ("reason", reason)], count);
    }
}

fn write_certificates(page: &mut Exposition<'_>, report: &Report<'_>) {
    let help = "When a certificate expires, since 1970.";
    let mut family = page.gauge("ringgate_certificate_expiry_seconds", help);
    for certificate in report.certificates {
        family.series(&[("file", &certificate.file)], certificate.not_after);
    }
}

fn write_upgrades(page: &mut Exposition<'_>, workers: Workers<'_>) {
    let help = "Connections switched to another protocol.";
    let mut family = page.counter("ringgate_upgrades_total", help);
    for (protocol, count) in by_label(workers, |worker| worker.upgrades.iter().collect()) {
        family.series(&[("protocol", protocol)], count);
    }
    let help = "Connections that speak another protocol now.";
    page.gauge("ringgate_upgrades_active", help)
        .series(&[], sum(workers, WorkerMetrics::upgrades_active));
}

fn write_traffic(page: &mut Exposition<'_>, workers: Workers<'_>) {
    page.counter("ringgate_downstream_received_bytes_total", "Bytes from clients.")
        .series(&[], sum(workers, |worker| worker.downstream_bytes_in.get()));
    page.counter("ringgate_downstream_sent_bytes_total", "Bytes to clients.")
        .series(&[], sum(workers, |worker| worker.downstream_bytes_out.get()));

    let mut family = page.counter("ringgate_refused_total", "Requests refused, by reason.");
    for (reason, count) in by_label(workers, |worker| worker.refused.iter().collect()) {
        family.series(&[("reason", reason)], count);
    }
    let mut overhead = HistogramTotal::new(&OVERHEAD);
    workers.iter().for_each(|worker| overhead.add(&worker.overhead));
    page.histogram("ringgate_overhead_seconds", "Time that requests spent in Ringgate itself.")
        .buckets(&[], &overhead);
}

fn write_http2(page: &mut Exposition<'_>, workers: Workers<'_>) {
    page.counter("ringgate_http2_connections_total", "Client connections that speak HTTP/2.")
        .series(&[], sum(workers, |worker| worker.http2_connections.get()));
    page.counter("ringgate_http2_requests_total", "Requests begun on them.")
        .series(&[], sum(workers, |worker| worker.http2_requests.get()));
    page.counter("ringgate_http2_unfinished_total", "Those whose response did not reach its end.")
        .series(&[], sum(workers, |worker| worker.http2_unfinished.get()));
    page.counter("ringgate_http2_upstream_connections_total", "Opened to endpoints of HTTP/2.")
        .series(&[], sum(workers, |worker| worker.http2_upstream_connections.get()));
}

fn by_label(
    workers: Workers<'_>,
    counts: impl Fn(&WorkerMetrics) -> Vec<(&'static str, u64)>,
) -> BTreeMap<&'static str, u64> {
    let mut total = BTreeMap::new();
    for (label, count) in workers.iter().flat_map(|worker| counts(worker)) {
        *total.entry(label).or_default() += count;
    }
    total
}

fn write_upstreams(page: &mut Exposition<'_>, workers: Workers<'_>) {
    page.counter("ringgate_upstream_connects_total", "Connections opened to endpoints.")
        .series(&[], sum(workers, |worker| worker.upstream_connects.get()));
    page.counter("ringgate_upstream_connect_failures_total", "Connections that did not open.")
        .series(&[], sum(workers, |worker| worker.upstream_connect_failures.get()));
    page.counter("ringgate_upstream_reused_total", "Attempts on a pooled connection.")
        .series(&[], sum(workers, |worker| worker.upstream_reused.get()));
    let all = workers.iter().flat_map(|worker| worker.all_cluster_series());
    let mut retries: BTreeMap<Arc<str>, (u64, u64)> = BTreeMap::new();
    for series in all {
        let (made, not_made) = retries.entry(Arc::clone(&series.cluster)).or_default();
        *made += series.retries.get();
        *not_made += series.retries_over_budget.get();
    }
    let help = "Attempts after an exchange's first.";
    let mut family = page.counter("ringgate_upstream_retries_total", help);
    retries.iter().for_each(|(cluster, (made, _))| family.series(&[("cluster", cluster)], made));

    let help = "Attempts not made because the retry budget was spent.";
    let mut family = page.counter("ringgate_upstream_retries_over_budget_total", help);
    for (cluster, (_, not_made)) in &retries {
        family.series(&[("cluster", cluster)], not_made);
    }

    let mut family = page.counter("ringgate_upstream_faults_total", "What upstreams did wrong.");
    for (reason, count) in by_label(workers, |worker| worker.upstream_faults.iter().collect()) {
        family.series(&[("reason", reason)], count);
    }
}

fn write_endpoint_series(page: &mut Exposition<'_>, workers: Workers<'_>) {
    let series: Vec<_> = workers.iter().flat_map(|worker| worker.all_upstream_series()).collect();
    let mut totals = BTreeMap::new();
    for one in &series {
        let key = [("cluster", &*one.cluster), ("endpoint", &*one.endpoint)];
        totals.entry(key).or_insert_with(EndpointTotal::default).add(one);
    }
    let mut family = page.counter("ringgate_upstream_requests_total", "Attempts on an endpoint.");
    totals.iter().for_each(|(labels, total)| family.series(labels, total.requests));

    let help = "Attempts that brought no whole response.";
    let mut family = page.counter("ringgate_upstream_failures_total", help);
    totals
        .iter()
        .for_each(|(labels, total)| family.series(labels, total.failures.values().sum::<u64>()));

    let help = "How long connections took to open.";
    let mut family = page.histogram("ringgate_upstream_connect_seconds", help);
    totals.iter().for_each(|(labels, total)| family.buckets(labels, &total.connect));

    let help = "From the last byte of a request to the first of its response.";
    let mut family = page.histogram("ringgate_upstream_first_byte_seconds", help);
    totals.iter().for_each(|(labels, total)| family.buckets(labels, &total.first_byte));
}

fn write_endpoints(page: &mut Exposition<'_>, report: &Report<'_>) {
    let labelled = || {
        report.endpoints.iter().map(|endpoint| {
            ([("cluster", &*endpoint.cluster), ("endpoint", &*endpoint.endpoint)], endpoint)
        })
    };
    let mut family = page.gauge("ringgate_endpoint_up", "1 if the endpoint takes requests.");
    labelled().for_each(|(labels, endpoint)| family.series(&labels, u8::from(endpoint.up)));

    let help = "Exchanges that the endpoint is working on.";
    let mut family = page.gauge("ringgate_endpoint_in_flight", help);
    labelled().for_each(|(labels, endpoint)| family.series(&labels, endpoint.in_flight));

    let mut family = page.gauge("ringgate_endpoint_weight", "Its share; 0 is drained.");
    labelled().for_each(|(labels, endpoint)| family.series(&labels, endpoint.weight));
}

fn write_queues(page: &mut Exposition<'_>, report: &Report<'_>) {
    let help = "Exchanges that wait for room on a cluster.";
    let mut family = page.gauge("ringgate_queue_length", help);
    for cluster in report.clusters {
        family.series(&[("cluster", &cluster.cluster)], cluster.queued);
    }
    let all = report.workers.iter().flat_map(|worker| worker.all_cluster_series());
    let all: Vec<Arc<ClusterSeries>> = all.collect();
    let mut waited = Totals::new(&FIRST_BYTE);
    let mut rejected: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for series in &all {
        waited.add(&*series.cluster, &series.waited);
        for (reason, count) in series.rejected.iter() {
            *rejected.entry((&series.cluster, reason)).or_default() += count;
        }
    }
    let help = "How long exchanges waited for room, also in vain.";
    let mut family = page.histogram("ringgate_queue_wait_seconds", help);
    waited.by.iter().for_each(|(cluster, total)| family.buckets(&[("cluster", cluster)], total));

    let help = "Exchanges turned away for want of room.";
    let mut family = page.counter("ringgate_queue_rejected_total", help);
    for ((cluster, reason), count) in rejected {
        family.series(&[("cluster", cluster), ("reason", reason)], count);
    }
}

fn write_models(page: &mut Exposition<'_>, workers: Workers<'_>) {
    let mut requests: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    let mut first_event = Totals::new(&FIRST_BYTE);
    for series in workers.iter().flat_map(|worker| worker.all_ai_series()) {
        *requests.entry(Arc::clone(&series.model)).or_default() += series.requests.get();
        first_event.add(Arc::clone(&series.model), &series.time_to_first_event);
    }
    let mut family = page.counter("ringgate_ai_requests_total", "Requests for a model.");
    requests.iter().for_each(|(model, count)| family.series(&[("model", model)], count));

    let help = "From the first byte of a request to the first event of its stream.";
    let mut family = page.histogram("ringgate_time_to_first_event_seconds", help);
    first_event.by.iter().for_each(|(model, total)| family.buckets(&[("model", model)], total));
}

/// A number of a worker, and under which name and with which help it is shown.
type WorkerFamily = (&'static str, &'static str, fn(&WorkerMetrics) -> u64);

fn write_worker_counters(page: &mut Exposition<'_>, workers: Workers<'_>, all: &[WorkerFamily]) {
    for (name, help, number) in all {
        let mut family = page.counter(name, help);
        for worker in workers {
            family.series(&[("worker", &worker.index.to_string())], number(worker));
        }
    }
}

fn write_worker_loops(page: &mut Exposition<'_>, workers: Workers<'_>) {
    let mut family = page.gauge("ringgate_worker_info", "What moves a worker's bytes.");
    for worker in workers {
        let (index, driver) = (worker.index.to_string(), worker.driver());
        let how = [("driver", driver.name), ("flags", &*driver.flags)];
        family.series(&[("worker", &index), how[0], how[1]], 1);
    }
    let families: [WorkerFamily; 7] = [
        ("ringgate_worker_loop_turns_total", "Turns of the event loop.", |w| {
            w.event_loop.turns.get()
        }),
        ("ringgate_worker_ring_enters_total", "Calls that submit and wait.", |w| {
            w.event_loop.enters.get()
        }),
        ("ringgate_worker_cqes_total", "Completions reaped (epoll: events).", |w| {
            w.event_loop.completions.get()
        }),
        ("ringgate_worker_syscalls_total", "Other system calls on the request path.", |w| {
            w.event_loop.syscalls.get()
        }),
        ("ringgate_worker_panics_total", "Panics caught at a task's border.", |w| {
            w.event_loop.panics.get()
        }),
        ("ringgate_worker_buffers_exhausted_total", "Times the buffer pool was empty.", |w| {
            w.event_loop.buffers_exhausted.get()
        }),
        ("ringgate_worker_requests_total", "Requests begun.", |w| w.requests.get()),
    ];
    write_worker_counters(page, workers, &families);
}

fn write_worker_connections(page: &mut Exposition<'_>, workers: Workers<'_>) {
    let help = "Client connections that a worker is serving.";
    let mut family = page.gauge("ringgate_worker_connections_active", help);
    for worker in workers {
        family.series(&[("worker", &worker.index.to_string())], worker.connections_active());
    }
    let families: [WorkerFamily; 5] = [
        ("ringgate_worker_connections_accepted_total", "Taken from a listening socket.", |w| {
            w.connections_accepted.get()
        }),
        ("ringgate_worker_connections_handed_over_total", "Given to another worker.", |w| {
            w.connections_handed_over.get()
        }),
        ("ringgate_worker_connections_received_total", "Got from another worker.", |w| {
            w.connections_received.get()
        }),
        ("ringgate_worker_connections_closed_total", "Served to their end.", |w| {
            w.connections_closed.get()
        }),
        ("ringgate_worker_connections_refused_total", "Closed at once, beyond a limit.", |w| {
            w.connections_refused.get()
        }),
    ];
    write_worker_counters(page, workers, &families);
}

fn write_process(page: &mut Exposition<'_>, report: &Report<'_>) {
    let process = report.process;
    page.counter("process_cpu_seconds_total", "User and system time of all threads.")
        .series(&[], process.cpu_seconds);
    page.gauge("process_resident_memory_bytes", "Memory in RAM.")
        .series(&[], process.resident_bytes);
    page.gauge("process_virtual_memory_bytes", "Address space.").series(&[], process.virtual_bytes);
    page.gauge("process_open_fds", "Open file descriptors.").series(&[], process.open_fds);
    page.gauge("process_max_fds", "File descriptors allowed.").series(&[], process.max_fds);
    page.gauge("process_threads", "Threads.").series(&[], process.threads);
    page.gauge("process_start_time_seconds", "When it started, since 1970.")
        .series(&[], process.start_time_seconds);
}

/// There is no Java heap here; rules that watch one mean the memory of the process and its limit.
fn write_memory_under_known_names(page: &mut Exposition<'_>, report: &Report<'_>) {
    let process = report.process;
    page.gauge("memory_usage_bytes", "Memory in RAM.").series(&[], process.resident_bytes);
    page.gauge("jvm_memory_used_bytes", "Memory in RAM, for rules written for a Java heap.")
        .series(&[("area", "heap")], process.resident_bytes);
    page.gauge("jvm_memory_max_bytes", "Memory allowed, for rules written for a Java heap.")
        .series(&[("area", "heap")], process.memory_limit_bytes);
}

fn write_logs(page: &mut Exposition<'_>, report: &Report<'_>) {
    let mut family = page.counter("log_entries_total", "Entries of the program's own log.");
    for (level, count) in report.log_entries.by_level() {
        family.series(&[("level", level)], count);
    }
    let dropped = sum(report.workers, |worker| worker.access_log_dropped.get());
    let mut family = page.counter("ringgate_access_log_dropped_total", "Access log lines lost.");
    family.series(&[("reason", "queue_full")], dropped);
    family.series(&[("reason", "write_failed")], report.access_log_unwritten);
}

fn write_configuration(page: &mut Exposition<'_>, report: &Report<'_>) {
    page.gauge("ringgate_config_generation", "Number of the configuration in force.")
        .series(&[], report.generation);
    page.counter("ringgate_config_reload_failures_total", "Configurations refused at a reload.")
        .series(&[], report.reload_failures);
    let mut family = page.counter("ringgate_handover_total", "Hand-overs to a new process.");
    for (outcome, count) in report.hand_overs.by_outcome() {
        family.series(&[("outcome", outcome)], count);
    }
    let mut family = page.counter("ringgate_dns_lookups_total", "Lookups of names of endpoints.");
    for (outcome, count) in report.lookups.by_outcome() {
        family.series(&[("outcome", outcome)], count);
    }
    page.gauge("ringgate_build_info", "The version that runs.")
        .series(&[("version", report.version)], 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{
        ClusterReport, EndpointReport, HandOvers, LogEntries, Lookups, ProcessStats,
    };

    fn workers() -> Vec<Arc<WorkerMetrics>> {
        let new = |index| Arc::new(WorkerMetrics::new(index, &["no_route"], &["reset"]));
        vec![new(0), new(1)]
    }

    fn page(workers: &[Arc<WorkerMetrics>], endpoints: &[EndpointReport]) -> String {
        render(&Report {
            service: "gate",
            tags: &[("service".into(), "tagged".into())],
            version: "1.2.3",
            workers,
            endpoints,
            certificates: &[],
            clusters: &[ClusterReport { cluster: "docs".into(), queued: 3 }],
            limits: &[],
            process: &ProcessStats { resident_bytes: 4096, ..ProcessStats::default() },
            log_entries: &LogEntries::default(),
            access_log_unwritten: 9,
            generation: 3,
            reload_failures: 1,
            hand_overs: &HandOvers::default(),
            lookups: &Lookups::default(),
        })
    }

    fn key(cluster: &str, status: u16) -> RequestKey {
        RequestKey { route: "/v1/".into(), cluster: cluster.into(), method: "POST", status }
    }

    #[track_caller]
    fn assert_has(page: &str, line: &str) {
        assert!(page.lines().any(|other| other == line), "no {line}\n{page}");
    }

    #[test]
    fn a_request_is_counted_once_under_every_name() {
        let workers = workers();
        workers[0].request_series(&key("a", 200)).duration.record(2_000_000);
        workers[1].request_series(&key("a", 200)).duration.record(2_000_000);
        workers[1].request_series(&key("b", 200)).duration.record(3_000_000);
        let page = page(&workers, &[]);
        let by_route = r#"status="200",method="POST",uri="/v1/",service="tagged"} 3"#;
        assert_has(&page, &format!("http_server_requests_total{{{by_route}"));
        assert_has(&page, &format!("http_server_requests_seconds_count{{{by_route}"));
        let own = r#"service="gate",status="200",method="POST",endpoint="/v1/"} 3"#;
        assert_has(&page, &format!("http_requests_total{{{own}"));
        assert_has(&page, r#"http_request_duration_seconds_sum{service="gate"} 0.007"#);
        let ours = r#"route="/v1/",cluster="a",method="POST",status="200",service="tagged"} 2"#;
        assert_has(&page, &format!("ringgate_requests_total{{{ours}"));
        let ours = r#"route="/v1/",cluster="b",service="tagged"} 1"#;
        assert_has(&page, &format!("ringgate_request_duration_seconds_count{{{ours}"));
    }

    #[test]
    fn a_request_that_was_never_answered_has_no_status() {
        let workers = workers();
        workers[0].request_series(&key("a", 0)).duration.record(1);
        assert!(page(&workers, &[]).contains(r#"method="POST",status="none""#));
    }

    #[test]
    fn counters_of_workers_are_merged_or_told_apart_by_worker() {
        let workers = workers();
        workers.iter().for_each(|worker| worker.connections_accepted.add(2));
        workers[1].connections_closed.inc();
        workers.iter().for_each(|worker| worker.refused.inc(0));
        let page = page(&workers, &[]);
        assert_has(&page, r#"active_connections{service="tagged"} 3"#);
        assert_has(&page, r#"http_connections_active{service="tagged"} 3"#);
        assert_has(&page, r#"ringgate_worker_connections_active{worker="1",service="tagged"} 1"#);
        assert_has(&page, r#"ringgate_refused_total{reason="no_route",service="tagged"} 2"#);
        assert_has(&page, r#"ringgate_upstream_faults_total{reason="reset",service="tagged"} 0"#);
    }

    #[test]
    fn endpoints_show_what_the_balancer_sees_and_what_the_workers_measured() {
        let workers = workers();
        for worker in &workers {
            let series = worker.upstream_series("docs", "10.0.0.1:80", &["connect_failed"]);
            series.requests.add(2);
            series.connect.record(400_000);
        }
        let endpoint = EndpointReport {
            cluster: "docs".into(),
            endpoint: "10.0.0.1:80".into(),
            up: true,
            in_flight: 7,
            weight: 2,
            checks: Vec::new(),
            passive: None,
        };
        let page = page(&workers, &[endpoint]);
        let labels = r#"{cluster="docs",endpoint="10.0.0.1:80",service="tagged"}"#;
        assert_has(&page, &format!("ringgate_endpoint_up{labels} 1"));
        assert_has(&page, &format!("ringgate_endpoint_in_flight{labels} 7"));
        assert_has(&page, &format!("ringgate_endpoint_weight{labels} 2"));
        assert_has(&page, &format!("ringgate_upstream_requests_total{labels} 4"));
        assert_has(&page, &format!("ringgate_upstream_connect_seconds_count{labels} 2"));
    }

    #[test]
    fn a_queue_shows_who_waits_how_long_and_who_was_turned_away() {
        let workers = workers();
        for worker in &workers {
            let series = worker.cluster_series("docs", &["queue_full", "queue_timeout"]);
            series.waited.record(200_000_000);
            series.rejected.inc(1);
        }
        let page = page(&workers, &[]);
        let of = |labels: &str| format!("{{cluster=\"docs\",{labels}service=\"tagged\"}}");
        assert_has(&page, &format!("ringgate_queue_length{} 3", of("")));
        assert_has(&page, &format!("ringgate_queue_wait_seconds_sum{} 0.4", of("")));
        let timeouts = of("reason=\"queue_timeout\",");
        assert_has(&page, &format!("ringgate_queue_rejected_total{timeouts} 2"));
    }

    #[test]
    fn models_have_their_time_to_first_event() {
        let workers = workers();
        for worker in &workers {
            worker.ai_series("gpt-4").requests.inc();
            worker.ai_series("gpt-4").time_to_first_event.record(300_000_000);
        }
        let page = page(&workers, &[]);
        let labels = r#"{model="gpt-4",service="tagged"}"#;
        assert_has(&page, &format!("ringgate_ai_requests_total{labels} 2"));
        assert_has(&page, &format!("ringgate_time_to_first_event_seconds_sum{labels} 0.6"));
    }

    #[test]
    fn what_the_log_lost_is_told_by_reason() {
        let workers = workers();
        workers[0].access_log_dropped.add(4);
        let page = page(&workers, &[]);
        let name = "ringgate_access_log_dropped_total";
        assert_has(&page, &format!("{name}{{reason=\"queue_full\",service=\"tagged\"}} 4"));
        assert_has(&page, &format!("{name}{{reason=\"write_failed\",service=\"tagged\"}} 9"));
    }
}
