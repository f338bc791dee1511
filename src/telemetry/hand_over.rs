//! How hand-overs to a new process went.

use super::counter::SharedCounter;

/// How a hand-over ended. All but the first leave the old process at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOverOutcome {
    /// The new process has taken over.
    Completed,
    /// It said why it cannot: its configuration, a port, a driver.
    Refused,
    /// It ended, or fell silent for good, without a word.
    Ended,
    /// It was not ready in time, and was killed.
    TimedOut,
    /// The program could not be started at all.
    NotStarted,
    /// A signal to end came first.
    Cancelled,
}

impl HandOverOutcome {
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::Refused,
        Self::Ended,
        Self::TimedOut,
        Self::NotStarted,
        Self::Cancelled,
    ];

    /// The value of the label `outcome`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::Ended => "ended",
            Self::TimedOut => "timed_out",
            Self::NotStarted => "not_started",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Hand-overs by outcome. The counts go on in the new process, which is the only one to be asked.
#[derive(Debug, Default)]
pub struct HandOvers([SharedCounter; HandOverOutcome::ALL.len()]);

impl HandOvers {
    pub fn count(&self, outcome: HandOverOutcome) {
        self.add(outcome, 1);
    }

    pub fn add(&self, outcome: HandOverOutcome, count: u64) {
        self.0[outcome as usize].add(count);
    }

    pub fn by_outcome(&self) -> impl Iterator<Item = (&'static str, u64)> {
        HandOverOutcome::ALL.into_iter().zip(&self.0).map(|(outcome, n)| (outcome.label(), n.get()))
    }
}
