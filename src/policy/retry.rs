//! Whether a failed attempt may be followed by another.

/// What a cluster says about retries.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Attempts of one exchange, the first one included.
    pub attempts: u32,
    pub on: Causes,
    /// Retries for each request over time, from 0 to 1.
    pub budget: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { attempts: 3, on: Causes::default(), budget: 0.2 }
    }
}

/// The failures that are tried again, where that is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Causes {
    pub connect: bool,
    pub reset: bool,
    pub timeout: bool,
    /// Statuses from 400 to 599.
    pub statuses: Vec<u16>,
}

impl Default for Causes {
    fn default() -> Self {
        Self { connect: true, reset: true, timeout: false, statuses: Vec::new() }
    }
}

/// How an attempt ended without an answer for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection.
    Connect,
    /// The endpoint says that it has not begun with it (RFC 9113, 8.7).
    Refused,
    /// The connection ended before a response, or what came was none.
    Reset,
    /// No response came in time.
    Timeout,
    /// A whole response head with this status, of which the client has seen nothing.
    Status(u16),
}

/// What can be said of the request when the attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Doing it twice is like doing it once (RFC 9110, 9.2.2).
    pub idempotent: bool,
    /// It can be sent again as it was: no part of its body is gone.
    pub replayable: bool,
}

impl Settings {
    /// Whether this failure is one to try again after `attempts` attempts.
    pub fn allows(&self, failure: Failure, sent: Sent, attempts: u32) -> bool {
        attempts < self.attempts && self.on.include(failure) && is_safe(failure, sent)
    }
}

impl Causes {
    pub fn include(&self, failure: Failure) -> bool {
        match failure {
            Failure::Connect | Failure::Refused => self.connect,
            Failure::Reset => self.reset,
            Failure::Timeout => self.timeout,
            Failure::Status(status) => self.statuses.contains(&status),
        }
    }
}

/// The whole table: whether another attempt can do no harm that the operator has not accepted.
pub fn is_safe(failure: Failure, sent: Sent) -> bool {
    match failure {
        // Nothing was sent.
        Failure::Connect => true,
        // Nothing was done, but a part of the body may be gone.
        Failure::Refused => sent.replayable,
        // It may have been carried out, and the answer lost.
        Failure::Reset | Failure::Timeout => sent.idempotent && sent.replayable,
        // The endpoint says that it did not; that its word is good, the operator said by
        // listing the status.
        Failure::Status(_) => sent.replayable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURES: [Failure; 5] = [
        Failure::Connect,
        Failure::Refused,
        Failure::Reset,
        Failure::Timeout,
        Failure::Status(503),
    ];

    fn all() -> Settings {
        let on = Causes { connect: true, reset: true, timeout: true, statuses: vec![503] };
        Settings { on, ..Settings::default() }
    }

    #[test]
    fn what_is_safe_depends_on_what_was_sent() {
        let safe = |idempotent, replayable| {
            FAILURES.map(|failure| is_safe(failure, Sent { idempotent, replayable }))
        };
        assert_eq!(safe(true, true), [true, true, true, true, true]);
        assert_eq!(safe(false, true), [true, true, false, false, true]);
        assert_eq!(safe(true, false), [true, false, false, false, false]);
        assert_eq!(safe(false, false), [true, false, false, false, false]);
    }

    #[test]
    fn only_listed_causes_are_tried_again() {
        let sent = Sent { idempotent: true, replayable: true };
        let by_default = FAILURES.map(|failure| Settings::default().allows(failure, sent, 1));
        assert_eq!(by_default, [true, true, true, false, false]);
        assert_eq!(FAILURES.map(|failure| all().allows(failure, sent, 1)), [true; 5]);
        assert!(!all().allows(Failure::Status(502), sent, 1));
    }

    #[test]
    fn the_first_attempt_counts() {
        let sent = Sent { idempotent: true, replayable: true };
        let after = |attempts| all().allows(Failure::Connect, sent, attempts);
        assert_eq!([after(1), after(2), after(3)], [true, true, false]);
        let never = Settings { attempts: 1, ..all() };
        assert!(!never.allows(Failure::Connect, sent, 1));
    }
}
