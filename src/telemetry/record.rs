//! How an exchange ended, in one word.

/// Every exchange ends in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The whole response went out, whatever its status.
    Completed,
    /// Answered here, because something was wrong with the request or not allowed.
    Refused,
    /// Answered here, as the route says: a fixed response, a redirect, a list of models.
    Answered,
    /// The client closed or reset its connection before the response had ended.
    DownstreamGone,
    /// The client was too slow to send the rest of its request.
    DownstreamTimeout,
    /// No endpoint gave a usable response head, after all attempts.
    UpstreamFailed,
    /// The response began and then broke off or became malformed.
    UpstreamCut,
    /// No connection within the cluster's `connect`.
    ConnectTimeout,
    /// No response head within the cluster's `first_byte`.
    FirstByteTimeout,
    /// No progress of the response within the cluster's `idle`.
    IdleTimeout,
    /// Not finished within the cluster's `total`.
    TotalTimeout,
    /// Cut because the drain time was over.
    Shutdown,
    /// A fault of ours: the exchange's task panicked.
    Internal,
}

impl Outcome {
    /// As it stands in the access log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::Answered => "answered",
            Self::DownstreamGone => "downstream_gone",
            Self::DownstreamTimeout => "downstream_timeout",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamCut => "upstream_cut",
            Self::ConnectTimeout => "connect_timeout",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
        }
    }

    /// Whether the client got all that it was going to get; such exchanges may be sampled out of
    /// the access log.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Completed | Self::Answered)
    }
}
