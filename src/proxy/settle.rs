//! The end of an exchange: its record goes to the counters and to the access log.

use std::sync::atomic::Ordering;

use super::exchange::Exchange;
use super::request_id;
use super::view::ClusterView;
use crate::http::field_name::FieldName;
use crate::http::message::Version;
use crate::http::span::Span;
use crate::runtime::clock::Instant;
use crate::telemetry::access_log::{Line, LineFormat, Load};
use crate::telemetry::record::Outcome;

/// Every exchange ends in one record: also one whose task is dropped or panics.
impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if self.attempts.probe.is_some() {
            self.leave_probe();
        }
        let worker = &self.downstream.worker;
        let outcome = self.record.outcome.unwrap_or(match worker.is_draining() {
            true => Outcome::Shutdown,
            false => Outcome::Internal,
        });
        let total_ns = self.ended_at().nanos_since(self.record.began);
        let status = self.record.status.unwrap_or(UNANSWERED);
        let number = worker.next_settled();
        self.count_ended(total_ns, status);
        if let Some(format) = self.view.logs(self.record.route, outcome, status, number) {
            self.log(format, total_ns, outcome);
        }
    }
}

/// No head went out; metrics tell it as `none`.
const UNANSWERED: u16 = 0;

impl Exchange<'_> {
    /// An exchange that was answered in this turn of the loop has ended just now: one reading of
    /// the clock will do.
    fn ended_at(&self) -> Instant {
        let core = &self.downstream.worker.core;
        let answered = self.record.answered.filter(|&answered| answered >= core.now());
        answered.unwrap_or_else(|| core.precise_now())
    }

    fn count_ended(&self, total_ns: u64, status: u16) {
        let Self { downstream, view, scratch, record, .. } = self;
        let metrics = &downstream.worker.metrics;
        metrics.downstream_bytes_in.add(record.bytes_in);
        metrics.downstream_bytes_out.add(record.bytes_out);
        let method = if self.has_head() { scratch.request.method.label() } else { "other" };
        let cluster = record.cluster.as_deref();
        let series = view.request_series(record.route, cluster, method, status, metrics);
        series.duration.record(total_ns);
        if let Some(first_byte) = record.first_byte_ns {
            metrics.overhead.record(record.overhead_ns);
            if let (Some(cluster), Some(endpoint)) = (cluster, record.endpoint) {
                cluster.endpoints[endpoint].series.first_byte.record(first_byte);
            }
        }
        if let Some(model) = record.model {
            let series = view.model_series(model);
            series.requests.inc();
            if let Some(first_event) = record.first_event_ns {
                series.time_to_first_event.record(first_event);
            }
        }
    }

    /// Writes the line into the worker's batch; the log thread does the rest.
    fn log(&self, format: LineFormat, total_ns: u64, outcome: Outcome) {
        let has_head = self.has_head();
        let listener = &self.listener().name;
        let Self { downstream, view, scratch, record, client, .. } = self;
        let worker = &downstream.worker;
        let socket_peer = downstream.client.socket_peer();
        let request = &scratch.request;
        let bytes: &[u8] = if has_head { &scratch.head } else { b"" };
        let text = |span: Span| if has_head { span.of(bytes) } else { b"" };
        let field = |known| {
            let field = if has_head { request.field(known) } else { None };
            field.map(|field| field.value.of(bytes))
        };
        let cluster = record.cluster.as_deref();
        let endpoint = cluster.zip(record.endpoint);
        // A copy will do: nobody asks for it after this.
        let (mut made, mut id) = ([0; request_id::LENGTH], record.id);
        let line = Line {
            at_unix_ns: worker.core.unix_nanos(record.began),
            client: client.address,
            peer: Some(socket_peer).filter(|peer| *peer != client.address),
            listener,
            route: record.route.map(|route| view.route_label(Some(route))),
            method: text(request.method_text),
            host: Some(text(request.authority)).filter(|host| !host.is_empty()),
            path: text(request.path),
            version: match request.version {
                _ if downstream.link.carrier.is_multiplexed() => "HTTP/2.0",
                Version::Http11 => "HTTP/1.1",
                Version::Http10 => "HTTP/1.0",
            },
            status: record.status,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            total_us: total_ns / 1_000,
            queued_us: Some(record.queued_ns / 1_000).filter(|us| *us > 0),
            head_us: record.head_ns.map(|ns| ns / 1_000),
            connect_us: record.connect_ns.map(|ns| ns / 1_000),
            first_byte_us: record.first_byte_ns.map(|ns| ns / 1_000),
            overhead_us: record.first_byte_ns.map(|_| record.overhead_ns / 1_000),
            cluster: cluster.map(|cluster| &*cluster.name),
            endpoint: endpoint.map(|(cluster, index)| &*cluster.endpoints[index].state.label),
            attempts: record.attempts,
            reused: record.reused,
            request_id: match field(FieldName::XRequestId) {
                Some(said) => said,
                None => id.get_or_make(worker, &mut made),
            },
            user_agent: field(FieldName::UserAgent),
            referer: match format {
                LineFormat::Combined => self.referer(),
                LineFormat::Json | LineFormat::Httplog => None,
            },
            model: record.model.map(|model| view.snapshot.model_names[model].as_str()),
            streamed: record.streamed,
            outcome,
            reason: record.reason,
            worker: worker.index,
            load: match format {
                LineFormat::Httplog => self.load(),
                LineFormat::Json | LineFormat::Combined => Load::default(),
            },
        };
        let mut log = worker.log.borrow_mut();
        line.write(format, &mut worker.stamps.borrow_mut(), log.line());
        log.commit();
    }

    /// Without its query. Only a head that was whole has been copied to where its fields point.
    fn referer(&self) -> Option<&[u8]> {
        if !self.has_head() {
            return None;
        }
        let referer = self.scratch.request.get(&self.scratch.head, "referer")?;
        referer.split(|&byte| byte == b'?').next()
    }

    fn load(&self) -> Load {
        let Self { downstream, record, .. } = self;
        let in_flight = |index: usize, cluster: &ClusterView| {
            cluster.endpoints[index].state.in_flight.load(Ordering::Relaxed)
        };
        let cluster = record.cluster.as_deref();
        let endpoint = cluster.zip(record.endpoint);
        Load {
            connections: downstream.worker.shared.connections(),
            listener_connections: downstream.listener().connections(),
            cluster_in_flight: cluster.map_or(0, |cluster| {
                (0..cluster.endpoints.len()).map(|index| in_flight(index, cluster)).sum()
            }),
            endpoint_in_flight: endpoint.map_or(0, |(cluster, index)| in_flight(index, cluster)),
        }
    }
}
