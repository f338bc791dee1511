//! Limits on requests, as an operator asked for them.

use std::time::Duration;

use crate::ai::service::Service;
use crate::policy::limit;

/// The limits that belong to no other part of the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// For all requests together.
    pub total: Vec<Limit>,
    /// For each client.
    pub client_ip: Vec<Limit>,
    /// For all calls of a service, by [`Service::index`].
    pub services: [Vec<Limit>; Service::ALL.len()],
    /// Replies to requests that were admitted tell how much is left.
    pub headers: bool,
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    pub kind: LimitKind,
    pub per: Per,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LimitKind {
    /// Requests in a time.
    Rate(limit::Settings),
    /// Requests at a time.
    Concurrency(u32),
}

/// What has a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// What the limit stands on, as a whole.
    Whole,
    /// Each service.
    Service,
    /// Each client address.
    Client(Clients),
}

/// How clients are told apart and remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clients {
    /// How many are remembered.
    pub max: usize,
    /// How long a client counts as known after its last request, once all its credit is back.
    pub idle: Duration,
    /// Bits of an IPv6 address that make a client.
    pub ipv6_prefix: u8,
}
