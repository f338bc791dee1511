//! Whether an endpoint takes requests, as far as that changes while the configuration stays.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the operator wants of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminState {
    #[default]
    Ready,
    /// It gets no new requests.
    Drain,
    /// As if it were not there.
    Maintenance,
}

/// Read at every pick, with one relaxed load.
#[derive(Debug, Default)]
pub struct Availability(AtomicU64);

impl Availability {
    /// Whether nothing stands against it: the answer for almost every request.
    pub fn is_clear(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// What the operator wants; what it was before.
    pub fn set_admin_state(&self, state: AdminState) -> AdminState {
        admin_state_of(self.0.swap(state as u64, Ordering::SeqCst))
    }

    pub fn admin_state(&self) -> AdminState {
        admin_state_of(self.0.load(Ordering::SeqCst))
    }
}

fn admin_state_of(word: u64) -> AdminState {
    match word {
        0 => AdminState::Ready,
        1 => AdminState::Drain,
        _ => AdminState::Maintenance,
    }
}
