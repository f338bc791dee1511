//! Whether an endpoint may get requests, as far as that changes while the configuration stays.

use std::sync::atomic::{AtomicU8, Ordering};

/// What an operator wants of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminState {
    #[default]
    Ready,
    /// Finishes what it has, and gets nothing new.
    Drain,
    /// As if it were not there.
    Maintenance,
}

impl AdminState {
    pub const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Maintenance];

    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
        }
    }
}

/// Read at every pick, with one relaxed load.
#[derive(Debug, Default)]
pub(super) struct Availability {
    /// An index into [`AdminState::ALL`].
    admin: AtomicU8,
}

impl Availability {
    pub(super) fn takes_requests(&self) -> bool {
        self.admin.load(Ordering::Relaxed) == AdminState::Ready as u8
    }

    pub(super) fn admin(&self) -> AdminState {
        let index = usize::from(self.admin.load(Ordering::Relaxed));
        AdminState::ALL.get(index).copied().unwrap_or_default()
    }

    pub(super) fn set_admin(&self, state: AdminState) {
        self.admin.store(state as u8, Ordering::Relaxed);
    }
}
