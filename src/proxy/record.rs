//! What is known of an exchange: filled along the way, settled once, however it ends.

use std::rc::Rc;

use super::error::ExchangeError;
use super::request_id::RequestId;
use super::view::ClusterView;
use crate::runtime::clock::Instant;
use crate::telemetry::record::Outcome;

pub(super) struct Record {
    /// When the first byte of the request was there.
    pub(super) began: Instant,
    pub(super) route: Option<usize>,
    pub(super) cluster: Option<Rc<ClusterView>>,
    /// Of the last attempt, as an index into the cluster's endpoints.
    pub(super) endpoint: Option<usize>,
    /// Index into the configured models.
    pub(super) model: Option<usize>,
    /// Set when a response head has gone out.
    pub(super) status: Option<u16>,
    /// Without one the exchange's task was dropped in its middle.
    pub(super) outcome: Option<Outcome>,
    pub(super) reason: Option<&'static str>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) attempts: u32,
    pub(super) reused: bool,
    pub(super) streamed: bool,
    /// The client knows the end of the body by the end of the connection only.
    pub(super) ends_by_close: bool,
    pub(super) id: RequestId,
    /// Waiting for room on the cluster.
    pub(super) queued_ns: u64,
    /// How long the head took to come.
    pub(super) head_ns: Option<u64>,
    pub(super) connect_ns: Option<u64>,
    pub(super) first_byte_ns: Option<u64>,
    pub(super) first_event_ns: Option<u64>,
    /// Time in which the exchange waited for nobody.
    pub(super) overhead_ns: u64,
    /// When the head of the response, and what was at hand of its body, had been sent.
    pub(super) answered: Option<Instant>,
}

impl Record {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            route: None,
            cluster: None,
            endpoint: None,
            model: None,
            status: None,
            outcome: None,
            reason: None,
            bytes_in: 0,
            bytes_out: 0,
            attempts: 0,
            reused: false,
            streamed: false,
            ends_by_close: false,
            id: RequestId::default(),
            queued_ns: 0,
            head_ns: None,
            connect_ns: None,
            first_byte_ns: None,
            first_event_ns: None,
            overhead_ns: 0,
            answered: None,
        }
    }

    pub(super) fn fail(&mut self, error: &ExchangeError) {
        self.outcome = Some(error.outcome());
        self.reason = Some(error.reason());
    }
}
