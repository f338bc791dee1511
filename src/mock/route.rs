//! What a path asks the mock for, besides the calls of the AI API.

use std::time::Duration;

/// Most bytes of one answer.
const BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// `/health`: says that the mock is there.
    Health,
    /// `/bytes/N`: so many bytes.
    Bytes(u64),
    /// `/slow/MS`: an answer after so many milliseconds.
    Slow(Duration),
    /// `/echo`: the body of the request, in chunks.
    Echo,
    /// `/events/N?every=MS`: so many server-sent events, so far apart.
    Events { count: u32, every: Duration },
    /// A call of the AI API, or nothing that the mock knows.
    Call,
    /// One of the above with a number that is none, or too large.
    Invalid(&'static str),
}

impl Route {
    /// `query` is what follows the question mark.
    pub(super) fn of(path: &str, query: &str) -> Self {
        match path {
            "/health" => Self::Health,
            "/echo" => Self::Echo,
            _ => Self::with_number(path, query).unwrap_or(Self::Call),
        }
    }

    fn with_number(path: &str, query: &str) -> Option<Self> {
        let (name, number) = path.strip_prefix('/')?.split_once('/')?;
        match name {
            "bytes" => Some(bytes(number)),
            "slow" => Some(slow(number)),
            "events" => Some(events(number, query)),
            _ => None,
        }
    }
}

fn bytes(number: &str) -> Route {
    match number.parse() {
        Ok(count) if count <= BYTES_MAX => Route::Bytes(count),
        _ => Route::Invalid("/bytes/N takes a number up to 1073741824.\n"),
    }
}

fn slow(number: &str) -> Route {
    let delay = millis(number).map(Route::Slow);
    delay.unwrap_or(Route::Invalid("/slow/MS takes a number of milliseconds.\n"))
}

fn events(number: &str, query: &str) -> Route {
    let every = query.split('&').find_map(|pair| pair.strip_prefix("every="));
    match (number.parse(), every.map_or(Some(Duration::ZERO), millis)) {
        (Ok(count), Some(every)) => Route::Events { count, every },
        _ => Route::Invalid("/events/N?every=MS takes a count and a number of milliseconds.\n"),
    }
}

fn millis(number: &str) -> Option<Duration> {
    number.parse::<u32>().ok().map(|millis| Duration::from_millis(millis.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_with_its_number() {
        let every = Duration::from_millis(5);
        assert_eq!(Route::of("/health", ""), Route::Health);
        assert_eq!(Route::of("/bytes/128", ""), Route::Bytes(128));
        assert_eq!(Route::of("/slow/5", ""), Route::Slow(every));
        assert_eq!(Route::of("/events/3", ""), Route::Events { count: 3, every: Duration::ZERO });
        assert_eq!(Route::of("/events/3", "a=b&every=5"), Route::Events { count: 3, every });
    }

    #[test]
    fn other_paths_may_be_calls() {
        for path in ["/v1/chat/completions", "/", "", "/bytes", "/healthy", "*"] {
            assert_eq!(Route::of(path, ""), Route::Call, "{path}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let paths = ["/bytes/", "/bytes/x", "/bytes/1073741825", "/slow/-1", "/events/1/2"];
        for path in paths {
            assert!(matches!(Route::of(path, ""), Route::Invalid(_)), "{path}");
        }
        assert!(matches!(Route::of("/events/1", "every=soon"), Route::Invalid(_)));
    }
}
