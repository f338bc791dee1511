//! Why an exchange failed.

use std::time::Duration;

use super::failure::EndpointFailure;
use super::limits::OverLimit;
use super::queue::Shed;
use crate::ai::error::{ClientError, ErrorKind};
use crate::http::refusal::{Refusal, ResponseFault};
use crate::policy::retry::Failure;
use crate::telemetry::record::Outcome;

/// Whose fault it was decides the status, what the record says, and whether to try again.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// The request breaks a rule.
    Refused(Refusal),
    NoRoute,
    /// All endpoints are drained, or their names are not resolved yet.
    NoEndpoint,
    /// No connection to any endpoint that was tried.
    ConnectFailed,
    ConnectTimeout,
    /// The connection ended or broke before a response head came.
    UpstreamClosed,
    /// An HTTP/2 server says that it did nothing with the request.
    UpstreamRefused,
    FirstByteTimeout,
    TotalTimeout,
    /// The response breaks a rule, before or after its head went out.
    UpstreamFault(ResponseFault),
    /// The response broke off after its head went out.
    UpstreamCut,
    IdleTimeout,
    /// Nothing has moved on a switched connection.
    UpgradeIdle,
    DownstreamGone,
    /// The client takes no more of the response.
    DownstreamStalled,
    /// The cluster is at its limit, and the request cannot wait or has waited in vain.
    Shed(Shed),
    /// A limit on requests does not let it through.
    OverLimit(OverLimit),
    /// A status that is tried again elsewhere. The client is told only if there is no elsewhere.
    RetriedStatus(u16),
    /// The instance holds as many request bodies as it may.
    BodiesFull,
    /// This process has no descriptor or memory left for a connection.
    Exhausted,
    /// What the AI layer found wrong with the call.
    Call(CallError),
}

/// Why an AI call cannot be carried out.
#[derive(Debug)]
pub(super) enum CallError {
    UnknownModel {
        model: String,
        near: Vec<String>,
    },
    /// No endpoint of the model speaks the client's dialect.
    NotServed,
    /// What the AI layer found, in its words; and the methods that the operation has, if it is
    /// about the method.
    Found {
        error: ClientError,
        allow: &'static str,
    },
    UnsupportedCoding,
}

/// How long a client should leave us alone when bodies are full: a request seldom takes longer.
const BODIES_FULL_PAUSE: Duration = Duration::from_secs(1);

impl ExchangeError {
    /// What the client is told, if it can still be told anything.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::NoRoute => 404,
            Self::NoEndpoint
            | Self::BodiesFull
            | Self::Exhausted
            | Self::Shed(_)
            | Self::RetriedStatus(_) => 503,
            Self::ConnectFailed
            | Self::UpstreamClosed
            | Self::UpstreamRefused
            | Self::UpstreamFault(_)
            | Self::UpstreamCut => 502,
            Self::ConnectTimeout
            | Self::FirstByteTimeout
            | Self::TotalTimeout
            | Self::IdleTimeout
            | Self::UpgradeIdle => 504,
            // Nobody reads it; the log has it, by the name nginx gave it.
            Self::DownstreamGone | Self::DownstreamStalled => 499,
            Self::Call(call) => call.status(),
            Self::OverLimit(over) => over.status(),
        }
    }

    /// One sentence for the client. It never says anything about the upstream's inside.
    pub(super) fn explanation(&self) -> &str {
        match self {
            Self::Refused(refusal) => refusal.explanation(),
            Self::NoRoute => "No route matches this request.",
            Self::NoEndpoint => "No endpoint is available for this request.",
            Self::ConnectFailed | Self::UpstreamClosed | Self::UpstreamRefused => {
                "The upstream did not answer."
            }
            Self::UpstreamFault(_) | Self::UpstreamCut => "The upstream's answer was not usable.",
            Self::ConnectTimeout
            | Self::FirstByteTimeout
            | Self::IdleTimeout
            | Self::UpgradeIdle => "The upstream did not answer in time.",
            Self::TotalTimeout => "The request took longer than it may.",
            Self::DownstreamGone | Self::DownstreamStalled => "The client went away.",
            Self::Shed(_) => "Too many requests are under way; try again shortly.",
            Self::OverLimit(over) => over.scope.explanation(),
            Self::RetriedStatus(_) => "The upstream could not carry out the request.",
            Self::BodiesFull => "Too many request bodies are being held; try again shortly.",
            Self::Exhausted => "The gateway is out of resources; try again shortly.",
            Self::Call(call) => call.explanation(),
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Shed(shed) => Some(shed.retry_after),
            Self::OverLimit(over) => over.retry_after(),
            Self::BodiesFull | Self::NoEndpoint | Self::Exhausted => Some(BODIES_FULL_PAUSE),
            _ => None,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(Refusal::BodyTimeout | Refusal::BodyTooSlow | Refusal::HeadTimeout)
            | Self::DownstreamStalled => Outcome::DownstreamTimeout,
            Self::Refused(Refusal::BodyIncomplete | Refusal::HeadIncomplete)
            | Self::DownstreamGone => Outcome::DownstreamGone,
            Self::Refused(_)
            | Self::NoRoute
            | Self::BodiesFull
            | Self::Exhausted
            | Self::Shed(_)
            | Self::OverLimit(_)
            | Self::Call(_) => Outcome::Refused,
            Self::NoEndpoint
            | Self::ConnectFailed
            | Self::UpstreamClosed
            | Self::UpstreamRefused
            | Self::RetriedStatus(_) => Outcome::UpstreamFailed,
            Self::UpstreamFault(_) | Self::UpstreamCut => Outcome::UpstreamCut,
            Self::ConnectTimeout => Outcome::ConnectTimeout,
            Self::FirstByteTimeout => Outcome::FirstByteTimeout,
            Self::IdleTimeout | Self::UpgradeIdle => Outcome::IdleTimeout,
            Self::TotalTimeout => Outcome::TotalTimeout,
        }
    }

    /// The finding in one word, for the log.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.label(),
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_endpoint",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamRefused => "upstream_refused",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::UpstreamFault(fault) => fault.label(),
            Self::UpstreamCut => "upstream_cut",
            Self::IdleTimeout => "idle_timeout",
            Self::UpgradeIdle => "upgrade_idle",
            Self::DownstreamGone => "downstream_gone",
            Self::DownstreamStalled => "downstream_stalled",
            Self::Shed(shed) => shed.reason.label(),
            Self::OverLimit(over) => over.scope.reason(),
            Self::RetriedStatus(_) => "retried_status",
            Self::BodiesFull => "bodies_full",
            Self::Exhausted => "out_of_resources",
            Self::Call(call) => call.reason(),
        }
    }

    /// Methods that a 405 names.
    pub(super) fn allowed_methods(&self) -> &'static str {
        match self {
            Self::Call(CallError::Found { allow, .. }) => allow,
            _ => "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS",
        }
    }

    /// What the endpoint did, if it is to blame.
    pub(super) fn endpoint_failure(&self) -> Option<EndpointFailure> {
        Some(match self {
            Self::ConnectFailed => EndpointFailure::ConnectFailed,
            Self::ConnectTimeout => EndpointFailure::ConnectTimeout,
            Self::UpstreamClosed => EndpointFailure::Closed,
            Self::UpstreamRefused => EndpointFailure::Refused,
            Self::FirstByteTimeout => EndpointFailure::FirstByteTimeout,
            Self::UpstreamFault(_) => EndpointFailure::Fault,
            Self::UpstreamCut => EndpointFailure::Cut,
            Self::IdleTimeout => EndpointFailure::IdleTimeout,
            Self::RetriedStatus(_) => EndpointFailure::Status,
            _ => return None,
        })
    }

    /// What it means for the attempt, while the client has seen nothing of a response.
    pub(super) fn failure(&self) -> Option<Failure> {
        match self {
            Self::ConnectFailed | Self::ConnectTimeout => Some(Failure::Connect),
            Self::UpstreamRefused => Some(Failure::Refused),
            Self::UpstreamClosed | Self::UpstreamFault(_) => Some(Failure::Reset),
            Self::FirstByteTimeout => Some(Failure::Timeout),
            Self::RetriedStatus(status) => Some(Failure::Status(*status)),
            _ => None,
        }
    }
}

impl CallError {
    fn explanation(&self) -> &str {
        match self {
            Self::UnknownModel { .. } => "There is no such model.",
            Self::NotServed => "The model is not served in this dialect.",
            Self::Found { error, .. } => &error.message,
            Self::UnsupportedCoding => "The content coding of the body is not supported.",
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::UnknownModel { .. } | Self::NotServed => 404,
            Self::Found { error, .. } => error.kind.status(),
            Self::UnsupportedCoding => 415,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::UnknownModel { .. } => "unknown_model",
            Self::NotServed => "not_served",
            Self::Found { error, .. } => match error.kind {
                ErrorKind::NotFound => "unknown_operation",
                ErrorKind::MethodNotAllowed => "wrong_method",
                _ => "malformed_call",
            },
            Self::UnsupportedCoding => "unsupported_coding",
        }
    }
}

impl From<OverLimit> for ExchangeError {
    fn from(over: OverLimit) -> Self {
        Self::OverLimit(over)
    }
}

impl From<CallError> for ExchangeError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<Refusal> for ExchangeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ResponseFault> for ExchangeError {
    fn from(fault: ResponseFault) -> Self {
        Self::UpstreamFault(fault)
    }
}
