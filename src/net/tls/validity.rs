//! From when until when a certificate is valid.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer, X509Certificate};

/// Both ends in seconds since 1970, which may be before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

const DAY: i64 = Duration::from_secs(24 * 60 * 60).as_secs() as i64;

impl Validity {
    /// # Errors
    ///
    /// A sentence for the operator: these bytes are no certificate.
    pub(super) fn of(certificate: &[u8]) -> Result<Self, String> {
        let parsed = X509Certificate::from_der(certificate)
            .map_err(|error| format!("This is not an X.509 certificate: {error}."))?;
        let validity = parsed.1.validity();
        Ok(Self {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// Whole days that are left at `now`; negative once it is over.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        (self.not_after - i64::try_from(now).unwrap_or(i64::MAX)).div_euclid(DAY)
    }

    pub fn has_begun(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        i64::try_from(now).is_ok_and(|now| self.not_before <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_down_and_on_below_nothing() {
        let validity = Validity { not_before: 0, not_after: 10 * DAY };
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds as u64);
        assert_eq!(validity.days_left(at(0)), 10);
        assert_eq!(validity.days_left(at(9 * DAY + 1)), 0);
        assert_eq!(validity.days_left(at(10 * DAY + 1)), -1);
        assert!(validity.has_begun(at(0)));
    }
}
