//! Numbers by which the log, the client and the operator name one request.

use super::worker::Worker;

/// Sixteen hexadecimal digits of the process's nonce and the worker, twelve of the request.
pub(super) const LENGTH: usize = 28;

/// Made when it is first wanted: most requests never are.
#[derive(Default, Clone, Copy)]
pub(super) struct RequestId(Option<u64>);

impl RequestId {
    /// The id as text, in `buffer`.
    pub(super) fn get_or_make<'b>(
        &mut self,
        worker: &Worker,
        buffer: &'b mut [u8; LENGTH],
    ) -> &'b [u8] {
        let number = *self.0.get_or_insert_with(|| worker.next_request());
        // The nonce differs between processes; its low byte makes room for the worker.
        let origin = worker.shared.nonce() ^ worker.index as u64;
        write_hex(&mut buffer[..16], origin);
        write_hex(&mut buffer[16..], number);
        buffer
    }
}

fn write_hex(digits: &mut [u8], number: u64) {
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
}
