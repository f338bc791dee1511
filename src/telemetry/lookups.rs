//! How lookups of names went.

use super::counter::SharedCounter;

/// How a lookup of a name ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupOutcome {
    Answered,
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The name is there, and has no address.
    NoAddress,
    /// A server that did not know, did not want to, or could not be reached.
    ServerFailed,
    TimedOut,
}

impl LookupOutcome {
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::NoSuchName, Self::NoAddress, Self::ServerFailed, Self::TimedOut];

    /// The value of the label `outcome`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NoSuchName => "no_such_name",
            Self::NoAddress => "no_address",
            Self::ServerFailed => "server_failed",
            Self::TimedOut => "timed_out",
        }
    }

    /// Whether a server has said so, or nobody has said anything.
    pub fn is_an_answer(self) -> bool {
        matches!(self, Self::Answered | Self::NoSuchName | Self::NoAddress)
    }
}

/// Lookups by outcome.
#[derive(Debug, Default)]
pub struct Lookups([SharedCounter; LookupOutcome::ALL.len()]);

impl Lookups {
    pub fn count(&self, outcome: LookupOutcome) {
        self.0[outcome as usize].add(1);
    }

    pub fn by_outcome(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LookupOutcome::ALL.into_iter().zip(&self.0).map(|(outcome, n)| (outcome.label(), n.get()))
    }
}
