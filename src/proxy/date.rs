//! The Date field of our own answers, formatted once a second.

use crate::http::date::imf_fixdate;

#[derive(Default)]
pub(super) struct DateCache {
    second: u64,
    text: Option<[u8; 29]>,
}

impl DateCache {
    /// RFC 9110, 5.6.7, for a time in nanoseconds since 1970.
    pub(super) fn at(&mut self, unix_nanos: u64) -> &[u8] {
        let second = unix_nanos / 1_000_000_000;
        if second != self.second {
            self.text = None;
            self.second = second;
        }
        self.text.get_or_insert_with(|| imf_fixdate(second))
    }
}
