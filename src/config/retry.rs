//! `retry`: which failures of an attempt are tried again, and how often.

use super::reader::Value;
use super::section::Section;
use super::units;
use crate::policy::retry::{Causes, Failure, Settings};

/// More attempts than this only add to the load that made the others fail.
const ATTEMPTS_MAX: u64 = 10;

pub(super) fn retry(section: &mut Section<'_>) -> Settings {
    let default = Settings::default();
    let attempts = section.take("attempts", |value| value.integer(1..=ATTEMPTS_MAX));
    let attempts = attempts.and_then(|attempts| u32::try_from(attempts).ok());
    Settings {
        attempts: attempts.unwrap_or(default.attempts),
        on: section.take("on", causes).unwrap_or(default.on),
        budget: section.take("budget", units::percent).unwrap_or(default.budget),
    }
}

pub(super) fn causes(list: &Value<'_>) -> Option<Causes> {
    let mut causes = Causes { connect: false, reset: false, timeout: false, statuses: Vec::new() };
    let expected = "a list of causes such as [\"connect\", \"reset\", \"503\"]";
    for at in list.elements(expected)? {
        match at.parse("a cause in quotes such as \"connect\" or \"503\"", cause) {
            Some(Failure::Connect | Failure::Refused) => causes.connect = true,
            Some(Failure::Reset) => causes.reset = true,
            Some(Failure::Timeout) => causes.timeout = true,
            Some(Failure::Status(status)) => causes.statuses.push(status),
            // Reported where it stands; the others are read on.
            None => {}
        }
    }
    Some(causes)
}

fn cause(text: &str) -> Result<Failure, String> {
    match text {
        "connect" => Ok(Failure::Connect),
        "reset" => Ok(Failure::Reset),
        "timeout" => Ok(Failure::Timeout),
        _ => status(text).map(Failure::Status).ok_or_else(|| {
            "The causes are \"connect\", \"reset\", \"timeout\" and statuses from \"400\" to \
             \"599\"."
                .to_owned()
        }),
    }
}

/// A status that says that something went wrong.
fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| (400..=599).contains(status) && text.len() == 3)
}
