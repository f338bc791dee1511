//! Who asks for how much, and what a limit that rejects says.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::ai::service::Service;
use crate::policy::limit::{Level, Rejected};

/// What limits look at of a request.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct Asking {
    /// In nanoseconds of the process's clocks.
    pub(in crate::proxy) now: u64,
    pub(in crate::proxy) client: IpAddr,
    pub(in crate::proxy) service: Option<Service>,
    /// Credits that it costs.
    pub(in crate::proxy) cost: u64,
}

impl Asking {
    /// For a limit that is one for all.
    pub(in crate::proxy) fn of_anybody(now: u64) -> Self {
        let client = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self { now, client, service: None, cost: 1 }
    }
}

/// What a limit stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Total,
    Listener,
    Route,
    ClientIp,
    Service,
    Model,
    Cluster,
    Endpoint,
}

impl Scope {
    /// As the metrics call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Listener => "listener",
            Self::Route => "route",
            Self::ClientIp => "client_ip",
            Self::Service => "service",
            Self::Model => "model",
            Self::Cluster => "cluster",
            Self::Endpoint => "endpoint",
        }
    }

    /// In the log.
    pub(in crate::proxy) fn reason(self) -> &'static str {
        match self {
            Self::Total => "limit_total",
            Self::Listener => "limit_listener",
            Self::Route => "limit_route",
            Self::ClientIp => "limit_client_ip",
            Self::Service => "limit_service",
            Self::Model => "limit_model",
            Self::Cluster => "limit_cluster",
            Self::Endpoint => "limit_endpoint",
        }
    }

    /// One sentence for the client.
    pub(in crate::proxy) fn explanation(self) -> &'static str {
        match self {
            Self::Total => "The gateway's limit on requests is reached; try again later.",
            Self::Listener => "The limit on requests to this address is reached; try again later.",
            Self::Route => "The limit on requests to this path is reached; try again later.",
            Self::ClientIp => "Your limit on requests is reached; try again later.",
            Self::Service => "The limit on requests to this service is reached; try again later.",
            Self::Model => "The limit on requests to this model is reached; try again later.",
            Self::Cluster | Self::Endpoint => {
                "The limit on requests to this upstream is reached; try again later."
            }
        }
    }
}

/// A request that a limit does not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) struct OverLimit {
    pub(in crate::proxy) scope: Scope,
    /// It is not the client that has had its share, but this side that is full.
    pub(in crate::proxy) is_capacity: bool,
    pub(in crate::proxy) level: Level,
    /// When it might go better; [`Rejected::NEVER`] has no time.
    pub(in crate::proxy) wait_ns: u64,
}

impl OverLimit {
    pub(in crate::proxy) fn status(&self) -> u16 {
        if self.is_capacity { 503 } else { 429 }
    }

    pub(in crate::proxy) fn is_before(&self, other: &Self) -> bool {
        self.wait_ns < other.wait_ns
    }

    /// In whole seconds, or it would be too early.
    pub(in crate::proxy) fn retry_after(&self) -> Option<Duration> {
        let is_ever = self.wait_ns != Rejected::NEVER.wait_ns;
        is_ever.then(|| Duration::from_secs(seconds(self.wait_ns)))
    }
}

/// Rounded up.
pub(super) fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}
