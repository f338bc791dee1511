//! What HAProxy writes under `option httplog`, without what syslog puts in front.
//!
//! The format is that of its configuration manual, section 8.2.3 "HTTP log format"; the letters of
//! the termination state are from section 8.5.

use super::{Line, write_address, write_hex_escaped, write_number};
use crate::telemetry::record::Outcome;
use crate::telemetry::stamp::StampCache;

impl Line<'_> {
    /// `CLIENT [TIME] LISTENER CLUSTER/ENDPOINT TR/Tw/Tc/Tr/Ta STATUS BYTES - - STATE CONNECTIONS
    /// QUEUES "REQUEST"`, times in milliseconds.
    pub(super) fn write_httplog(&self, stamps: &mut StampCache, out: &mut Vec<u8>) {
        write_address(out, self.client);
        out.extend_from_slice(b" [");
        out.extend_from_slice(stamps.clock(self.at_unix_ns));
        out.push(b'.');
        let millis = self.at_unix_ns / 1_000_000 % 1_000;
        out.extend([100, 10, 1].map(|unit| b'0' + (millis / unit % 10) as u8));
        out.extend_from_slice(b"] ");
        word(out, self.listener.as_bytes());
        out.push(b' ');
        self.write_server(out);
        self.write_timers(out);
        self.write_status(out);
        self.write_load(out);
        out.extend_from_slice(b" \"");
        self.write_request_line(b"<BADREQ>", escape, out);
        out.push(b'"');
    }

    /// Without a cluster HAProxy names the frontend again.
    fn write_server(&self, out: &mut Vec<u8>) {
        word(out, self.cluster.unwrap_or(self.listener).as_bytes());
        out.push(b'/');
        match self.endpoint {
            Some(endpoint) => word(out, endpoint.as_bytes()),
            None => out.extend_from_slice(b"<NOSRV>"),
        }
        out.push(b' ');
    }

    /// Times that never began are -1, as with HAProxy; a connection from the pool took none.
    fn write_timers(&self, out: &mut Vec<u8>) {
        let begun = self.is_connected().then_some(0);
        let queued = self.queued_us.or(begun);
        let connect = self.connect_us.or(begun);
        for time in [self.head_us, queued, connect, self.first_byte_us] {
            match time {
                Some(us) => write_number(out, us / 1_000),
                None => out.extend_from_slice(b"-1"),
            }
            out.push(b'/');
        }
        write_number(out, self.total_us / 1_000);
        out.push(b' ');
    }

    /// Without captured cookies.
    fn write_status(&self, out: &mut Vec<u8>) {
        match self.status {
            Some(status) => write_number(out, u64::from(status)),
            None => out.extend_from_slice(b"-1"),
        }
        out.push(b' ');
        write_number(out, self.bytes_out);
        out.extend_from_slice(b" - - ");
        out.extend(self.termination());
        out.extend_from_slice(b"-- ");
    }

    /// Connections and retries; no queues.
    fn write_load(&self, out: &mut Vec<u8>) {
        let load = self.load;
        let counts = [
            load.connections as u64,
            load.listener_connections as u64,
            u64::from(load.cluster_in_flight),
            u64::from(load.endpoint_in_flight),
        ];
        for count in counts {
            write_number(out, count);
            out.push(b'/');
        }
        write_number(out, u64::from(self.attempts.saturating_sub(1)));
        out.extend_from_slice(b" 0/0");
    }

    /// Who ended the exchange, and in which phase.
    fn termination(&self) -> [u8; 2] {
        let who = match self.outcome {
            Outcome::Completed => return *b"--",
            Outcome::Answered => return *b"LR",
            Outcome::Refused => b'P',
            Outcome::DownstreamGone => b'C',
            Outcome::DownstreamTimeout => b'c',
            // A response that breaks a rule is stopped by the proxy, one that ends too soon by
            // the server.
            Outcome::UpstreamCut if self.reason == Some("upstream_cut") => b'S',
            Outcome::UpstreamCut => b'P',
            Outcome::UpstreamFailed => b'S',
            Outcome::ConnectTimeout
            | Outcome::FirstByteTimeout
            | Outcome::IdleTimeout
            | Outcome::TotalTimeout => b's',
            Outcome::Shutdown => b'K',
            Outcome::Internal => b'I',
        };
        [who, self.phase()]
    }

    /// R: reading the request, C: connecting, H: waiting for the response's head, D: its body.
    /// An error that Ringgate answers has a status, but no phase of its own.
    fn phase(&self) -> u8 {
        let has_begun = self.status.is_some_and(|status| status < 400) && self.cluster.is_some();
        match self.outcome {
            Outcome::Refused => b'R',
            Outcome::ConnectTimeout => b'C',
            Outcome::FirstByteTimeout => b'H',
            Outcome::IdleTimeout => b'D',
            _ if self.cluster.is_none() => b'R',
            _ if !self.is_connected() => b'C',
            _ if has_begun => b'D',
            _ => b'H',
        }
    }

    fn is_connected(&self) -> bool {
        self.connect_us.is_some() || self.reused
    }
}

/// A column: no space may stand in it.
fn word(out: &mut Vec<u8>, value: &[u8]) {
    write_hex_escaped(out, value, b"#", |byte| byte != b' ' && is_plain(byte));
}

fn escape(out: &mut Vec<u8>, value: &[u8]) {
    write_hex_escaped(out, value, b"#", is_plain);
}

/// What HAProxy writes as it is (section 8.6 of its manual).
fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && !b"\"#{|}".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::*;

    fn written(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        line.write_httplog(&mut StampCache::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn state(line: &Line<'_>) -> String {
        written(line).split(" ").nth(9).unwrap().to_owned()
    }

    #[test]
    fn a_line_has_the_columns_of_haproxy() {
        let expected = "192.0.2.7:50123 [14/Nov/2023:22:13:20.123] public \
                        model:gpt-4/10.0.1.10:8080 1/0/0/200/1234 200 4096 - - ---- 9/8/7/3/1 \
                        0/0 \"POST /v1/chat/completions HTTP/1.1\"";
        assert_eq!(written(&line()), expected);
    }

    #[test]
    fn what_did_not_happen_is_minus_one() {
        let unread = Line {
            method: b"",
            path: b"",
            head_us: None,
            queued_us: None,
            connect_us: None,
            first_byte_us: None,
            cluster: None,
            endpoint: None,
            attempts: 0,
            status: None,
            bytes_out: 0,
            outcome: Outcome::DownstreamGone,
            ..line()
        };
        let expected = "192.0.2.7:50123 [14/Nov/2023:22:13:20.123] public public/<NOSRV> \
                        -1/-1/-1/-1/1234 -1 0 - - CR-- 9/8/7/3/0 0/0 \"<BADREQ>\"";
        assert_eq!(written(&unread), expected);
    }

    #[test]
    fn the_state_says_who_ended_it_and_when() {
        let ended = |outcome| Line { outcome, reason: None, ..line() };
        assert_eq!(state(&ended(Outcome::Completed)), "----");
        assert_eq!(state(&ended(Outcome::Answered)), "LR--");
        assert_eq!(state(&ended(Outcome::Refused)), "PR--");
        assert_eq!(state(&ended(Outcome::DownstreamGone)), "CD--");
        assert_eq!(state(&Line { status: None, ..ended(Outcome::DownstreamGone) }), "CH--");
        let unreached = Line { queued_us: None, connect_us: None, status: Some(502), ..line() };
        assert_eq!(state(&Line { outcome: Outcome::UpstreamFailed, ..unreached }), "SC--");
        assert_eq!(state(&ended(Outcome::FirstByteTimeout)), "sH--");
        assert_eq!(state(&ended(Outcome::IdleTimeout)), "sD--");
        let cut = ended(Outcome::UpstreamCut);
        assert_eq!(state(&Line { reason: Some("upstream_cut"), ..cut.clone() }), "SD--");
        assert_eq!(state(&Line { reason: Some("invalid_length"), status: None, ..cut }), "PH--");
        assert_eq!(state(&ended(Outcome::Shutdown)), "KD--");
    }

    #[test]
    fn a_name_with_a_space_stays_one_column() {
        let spaced = Line { cluster: Some("model:my model"), path: b"/\"#|\x7f", ..line() };
        let written = written(&spaced);
        assert!(written.contains(" model:my#20model/10.0.1.10:8080 "), "{written}");
        assert!(written.ends_with("\"POST /#22#23#7C#7F HTTP/1.1\""), "{written}");
    }
}
