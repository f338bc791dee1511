//! Whether an endpoint takes requests, as far as that changes while the configuration stays.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the operator wants of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminState {
    #[default]
    Ready,
    /// It gets no new requests, but for those of clients that are bound to it.
    Drain,
    /// As if it were not there.
    Maintenance,
}

/// Who asks for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Anybody,
    /// A client that is bound to this endpoint.
    Bound,
}

/// Read at every pick, with one relaxed load.
#[derive(Debug, Default)]
pub struct Availability(AtomicU64);

impl Availability {
    /// Whether nothing stands against it: the answer for almost every request.
    pub fn is_clear(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Whether it would take a request.
    pub fn admits(&self, asker: Asker) -> bool {
        match self.admin_state() {
            AdminState::Ready => true,
            AdminState::Drain => asker == Asker::Bound,
            AdminState::Maintenance => false,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drained_endpoint_takes_those_who_are_bound_to_it_and_one_in_maintenance_nobody() {
        let word = Availability::default();
        let admits = |asker| word.admits(asker);
        assert!(word.is_clear() && admits(Asker::Anybody) && admits(Asker::Bound));
        assert_eq!(word.set_admin_state(AdminState::Drain), AdminState::Ready);
        assert!(!word.is_clear() && !admits(Asker::Anybody) && admits(Asker::Bound));
        assert_eq!(word.set_admin_state(AdminState::Maintenance), AdminState::Drain);
        assert!(!admits(Asker::Anybody) && !admits(Asker::Bound));
    }
}
