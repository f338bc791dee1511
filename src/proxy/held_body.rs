//! The body of an AI call: received whole, compressed or not, before any of it goes on.
//!
//! What a body says further on may contradict what it said first; and a retry sends it again.

use super::downstream::Downstream;
use super::error::{CallError, ExchangeError};
use super::exchange::Exchange;
use super::relay::downstream_error;
use super::shared::Hold;
use super::upload::PIECES_PER_TURN;
use crate::http::field_name::FieldName;
use crate::http::gzip::{self, GzipReader};
use crate::http::refusal::Refusal;
use crate::policy::body_pace::{BodyPace, PaceLimits};
use crate::runtime::io::yield_now;

/// Held bodies grow in steps of this much, each taken from the instance's allowance.
const HOLD_STEP: u64 = 64 * 1024;

/// A body that comes compressed, on its way out of that.
struct Unzip {
    reader: GzipReader,
    /// The piece at hand, framing undone.
    piece: Vec<u8>,
    /// Bytes of all pieces: compressed bytes that bring nothing forth are bounded, too.
    received: u64,
    pieces_out: u32,
    /// What the reader takes, however little comes out of it.
    _memory: Hold,
}

impl Exchange<'_> {
    /// Receives the whole body into `scratch.body`, within what the listener and the instance
    /// allow, and shows it to the scanner.
    pub(super) async fn hold_body(&mut self) -> Result<(), ExchangeError> {
        let mut unzip = match self.is_compressed()? {
            true => Some(self.unzip()?),
            false => None,
        };
        self.scratch.body.clear();
        let mut pace = self.body_pace();
        self.continue_if_awaited().await?;
        while !self.body.is_ended() {
            if self.downstream.input.is_empty() {
                self.receive_body(&mut pace).await?;
            }
            match &mut unzip {
                None => self.take_piece()?,
                Some(unzip) => self.unzip_piece(unzip).await?,
            }
        }
        match unzip {
            None => Ok(()),
            Some(unzip) => Ok(unzip.reader.finish().map_err(CallError::from)?),
        }
    }

    /// How slowly a request body may come here.
    pub(super) fn body_pace(&self) -> BodyPace {
        let listener = self.listener();
        let (pause, rate) = (listener.timeouts.request_body, listener.limits.body_rate);
        BodyPace::new(PaceLimits { pause, rate })
    }

    /// Whether the body comes as gzip. It is read here, so it has to be readable here.
    fn is_compressed(&self) -> Result<bool, CallError> {
        let request = &self.scratch.request;
        let mut codings = request.fields.all(FieldName::ContentEncoding);
        let coding = codings.next().map_or(&b"identity"[..], |f| f.value.of(&self.scratch.head));
        let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
        match codings.next() {
            None if is("identity") => Ok(false),
            // The older name means the same (RFC 9110, 8.4.1.3).
            None if is("gzip") || is("x-gzip") => Ok(true),
            _ => Err(CallError::UnsupportedCoding),
        }
    }

    fn unzip(&self) -> Result<Unzip, ExchangeError> {
        Ok(Unzip {
            reader: GzipReader::default(),
            piece: Vec::new(),
            received: 0,
            pieces_out: 0,
            _memory: self.hold(gzip::MEMORY as u64)?,
        })
    }

    async fn continue_if_awaited(&mut self) -> Result<(), ExchangeError> {
        let awaited = self.scratch.request.expects_continue && !self.body.is_ended();
        if awaited && self.downstream.input.is_empty() {
            let sending = self.downstream.link.send_interim(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.record.bytes_out += sending.await.map_err(|error| downstream_error(&error))?;
        }
        self.continued = true;
        Ok(())
    }

    async fn receive_body(&mut self, pace: &mut BodyPace) -> Result<(), ExchangeError> {
        let Downstream { link, input, worker, .. } = &mut *self.downstream;
        match link.receive_body(&worker.core, &link.deadline, pace).await? {
            Some(chunk) => input.push(chunk),
            None => link.carrier.end(&mut self.body)?,
        }
        Ok(())
    }

    /// Takes what is at hand of a body that comes as it is.
    fn take_piece(&mut self) -> Result<(), ExchangeError> {
        let before = self.scratch.body.len();
        let mut body = std::mem::take(&mut self.scratch.body);
        let taken = self.take_content(&mut body);
        self.scratch.body = body;
        taken?;
        self.accept(before)
    }

    /// Takes what is at hand of a body that comes compressed.
    async fn unzip_piece(&mut self, unzip: &mut Unzip) -> Result<(), ExchangeError> {
        let Unzip { reader, piece, received, pieces_out, .. } = unzip;
        piece.clear();
        self.take_content(piece)?;
        *received += piece.len() as u64;
        if *received > self.body_limit() {
            return Err(Refusal::BodyTooLarge.into());
        }
        let mut rest = piece.as_slice();
        loop {
            let before = self.scratch.body.len();
            let is_read =
                reader.read(&mut rest, &mut self.scratch.body).map_err(CallError::from)?;
            self.accept(before)?;
            if is_read {
                return Ok(());
            }
            *pieces_out += 1;
            if pieces_out.is_multiple_of(PIECES_PER_TURN) {
                yield_now().await;
            }
        }
    }

    /// Adds the content that is at hand to `out`, framing undone, and moves the input past it.
    fn take_content(&mut self, out: &mut Vec<u8>) -> Result<(), ExchangeError> {
        let Self { downstream, scratch, body, record, .. } = self;
        let input = downstream.input.bytes();
        scratch.content.clear();
        let decoded = body.decode(input, 0, &mut scratch.content)?;
        for span in &scratch.content {
            out.extend_from_slice(span.of(input));
        }
        record.bytes_in += decoded.consumed as u64;
        // Before anything can be found wrong with the content: what the decoder has counted
        // must be gone from the input, or it would be read as the next request.
        downstream.input.consume(decoded.consumed);
        Ok(())
    }

    /// Checks what has been added to the held body behind `before`.
    fn accept(&mut self, before: usize) -> Result<(), ExchangeError> {
        if let Some(scanner) = &mut self.scratch.scanner {
            scanner.feed(&self.scratch.body[before..])?;
        }
        let length = self.scratch.body.len() as u64;
        if length > self.body_limit() {
            return Err(Refusal::BodyTooLarge.into());
        }
        // In steps as it comes: what a head only announces must not crowd others out.
        while length > self.holds.len() as u64 * HOLD_STEP {
            let hold = self.hold(HOLD_STEP)?;
            self.holds.push(hold);
        }
        Ok(())
    }

    fn hold(&self, bytes: u64) -> Result<Hold, ExchangeError> {
        let limit = self.view.snapshot.settings.server.buffered;
        let shared = &self.downstream.worker.shared;
        shared.hold(bytes, limit).ok_or(ExchangeError::BodiesFull)
    }
}
