//! What limits know, as text for the process that takes over.
//!
//! ```text
//! limit NAME          as snapshots find it
//! warmth W
//! used LEFT SHARE     any number of these
//! client KEY SHARE    and of these, the key in hexadecimal digits
//! ```
//!
//! Shares instead of times, since the other process has clocks, and perhaps settings, of its own.

use std::fmt::Write as _;
use std::sync::Arc;

use super::state::LimitState;
use crate::policy::limit::{Carried, Part};

/// Of that many clients at most: 5 MiB of text. Those that used most of their credit come first.
const CLIENTS_MAX: usize = 100_000;

/// A section may be twice as long.
const TEXT_MAX: usize = 8 << 20;

/// What one limit hands on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    One(Carried),
    ByClient(Vec<(u128, f64)>),
}

/// The text for these limits, with their names.
pub(in crate::proxy) fn write<'l>(
    limits: impl Iterator<Item = (&'l String, &'l Arc<LimitState>)>,
    now: u64,
) -> String {
    let mut text = String::new();
    let mut clients_left = CLIENTS_MAX;
    for (name, limit) in limits {
        if text.len() > TEXT_MAX {
            break;
        }
        let Some(state) = limit.carry(now) else { continue };
        // Writing to a string does not fail.
        let _ = writeln!(text, "limit {name}");
        match state {
            State::One(Carried { used, warmth }) => {
                let _ = writeln!(text, "warmth {warmth}");
                for Part { left, share } in used {
                    let _ = writeln!(text, "used {left} {share}");
                }
            }
            State::ByClient(mut clients) => {
                clients.sort_unstable_by(|one, other| other.1.total_cmp(&one.1));
                clients.truncate(clients_left);
                clients_left -= clients.len();
                for (key, share) in clients {
                    let _ = writeln!(text, "client {key:x} {share}");
                }
            }
        }
    }
    text
}

/// Reads what [`write`] wrote, and gives each limit that is `known` what there is for it. Lines
/// without sense are passed over: they are another version's.
pub(in crate::proxy) fn read(
    text: &str,
    now: u64,
    known: impl Fn(&str) -> Option<Arc<LimitState>>,
) {
    let mut reader = Reader::default();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("limit ") {
            std::mem::replace(&mut reader, Reader { limit: known(name), ..Reader::default() })
                .finish(now);
        } else {
            reader.line(line);
        }
    }
    reader.finish(now);
}

/// What was read of one limit so far.
#[derive(Default)]
struct Reader {
    limit: Option<Arc<LimitState>>,
    one: Carried,
    clients: Vec<(u128, f64)>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let mut words = line.split(' ');
        let kind = words.next();
        let mut number = || words.next()?.parse::<f64>().ok().filter(|number| number.is_finite());
        match kind {
            Some("warmth") => self.one.warmth = number().unwrap_or(0.0),
            Some("used") => {
                if let (Some(left), Some(share)) = (number(), number()) {
                    self.one.used.push(Part { left, share });
                }
            }
            Some("client") => {
                let key = words.next().and_then(|key| u128::from_str_radix(key, 16).ok());
                let share = words.next().and_then(|share| share.parse().ok());
                self.clients.extend(key.zip(share));
            }
            _ => {}
        }
    }

    fn finish(self, now: u64) {
        if let Some(limit) = self.limit {
            limit.resume(&State::One(self.one), now);
            limit.resume(&State::ByClient(self.clients), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::limit::{Algorithm, Rate, Settings};
    use crate::proxy::limits::{Asking, Scope};
    use crate::proxy::settings::{Clients, Limit, LimitKind, Per};

    const SECOND: u64 = 1_000_000_000;

    fn limit(per: Per) -> Arc<LimitState> {
        let rate = Rate { credits: 10, period: Duration::from_secs(10) };
        let settings = Settings { algorithm: Algorithm::TokenBucket, rate, burst: 10 };
        let settings = Limit { kind: LimitKind::Rate(settings), per };
        Arc::new(LimitState::new(Scope::Route, "/", &settings, None))
    }

    fn asking(last: u8, now: u64) -> Asking {
        let client = [10, 0, 0, last].into();
        Asking { now, client, service: None, cost: 1 }
    }

    #[test]
    fn credits_cross_to_a_process_with_another_clock() {
        let clients = Clients { max: 64, idle: Duration::from_secs(1), ipv6_prefix: 64 };
        let pair = |per| [("one".to_owned(), limit(per)), ("two".to_owned(), limit(Per::Whole))];
        for per in [Per::Whole, Per::Client(clients)] {
            let (old, new) = (pair(per), pair(per));
            assert!((0..7).all(|_| old[0].1.take(&asking(1, 5 * SECOND)).is_ok()));
            let text = write(old.iter().map(|(name, limit)| (name, limit)), 5 * SECOND);
            read(&text, 1000 * SECOND, |name| {
                let found = new.iter().find(|(known, _)| known == name);
                found.map(|(_, limit)| Arc::clone(limit))
            });
            let left = |limit: &LimitState, last| {
                limit.level(&asking(last, 1000 * SECOND)).expect("it is a rate").remaining
            };
            assert_eq!((left(&new[0].1, 1), left(&new[1].1, 1)), (3, 10));
            let other = if per == Per::Whole { 3 } else { 10 };
            assert_eq!(left(&new[0].1, 2), other);
        }
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let one = limit(Per::Whole);
        let text = "used 1 1\nlimit one\nused x 1\nused 1\nclient zz 1\nwarmth\nused NaN 1\n\
                    used inf 1\nused -5 -5\nstolen\nlimit two\nused 1 1\n\u{fffd}";
        read(text, SECOND, |name| (name == "one").then(|| Arc::clone(&one)));
        assert_eq!(one.level(&asking(1, SECOND)).expect("it is a rate").remaining, 10);
    }
}
