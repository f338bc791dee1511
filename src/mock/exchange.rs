//! One request and its answer.

use std::io;
use std::time::Duration;

use super::link::Link;
use super::plan::{self, Task};
use super::replies::{Body, Events, Pace, Reply};
use super::request::Request;
use super::response::Head;
use super::route::Route;
use super::server::Options;
use crate::ai::call::{Call, NotACallReason};
use crate::http::h1::BodyEncoder;
use crate::http::message::{BodyLength, Version};

/// Whole bodies up to this size are copied behind their head; larger ones are sent as they lie.
const COPIED_BYTES: usize = 4096;
/// Content of one chunk of an echo.
const ECHO_BYTES: usize = 16 * 1024;

/// What `/bytes/N` consists of.
static BLOCK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

const TEXT: &str = "text/plain";
const BINARY: &str = "application/octet-stream";
const EVENT_STREAM: &str = "text/event-stream";

/// What happens to the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Keep,
    Close,
}

pub(super) struct Exchange<'a> {
    link: &'a mut Link,
    request: &'a Request,
    options: &'a Options,
    after: After,
    /// The method that a call takes, where the request has another one.
    allow: Option<&'static str>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(link: &'a mut Link, request: &'a Request, options: &'a Options) -> Self {
        let after = if request.head.keep_alive { After::Keep } else { After::Close };
        Self { link, request, options, after, allow: None }
    }

    /// Answers the request; the end of the answer may be left in `out`.
    ///
    /// # Errors
    ///
    /// The client has gone.
    pub(super) async fn run(mut self) -> io::Result<After> {
        match Route::of(self.request.path(), self.request.query()) {
            Route::Health => self.answer(200, TEXT, b"ok\n").await?,
            Route::Bytes(count) => self.send_bytes(count).await?,
            Route::Slow(delay) => {
                self.wait(delay).await?;
                self.answer(200, TEXT, b"ok\n").await?;
            }
            Route::Echo => self.echo().await?,
            Route::Events { count, every } => self.stream(numbered(count, every)).await?,
            Route::Call => self.call().await?,
            Route::Invalid(explanation) => {
                self.answer(400, TEXT, explanation.as_bytes()).await?;
            }
        }
        Ok(self.after)
    }

    async fn call(&mut self) -> io::Result<()> {
        let (reply, time) = self.plan();
        match reply.body {
            Body::Whole(body) => {
                self.wait(time).await?;
                self.answer(reply.status, reply.content_type, &body).await
            }
            Body::Events(events) => self.stream(paced(events, self.options)).await,
        }
    }

    /// What to answer to a call, and how long a model would take for it as a whole.
    fn plan(&mut self) -> (Reply, Duration) {
        let (request, options) = (self.request, self.options);
        let anthropic_version = request.has("anthropic-version");
        let call = match Call::read(request.method(), request.path(), anthropic_version) {
            Ok(call) => call,
            Err(refused) => {
                self.allow = allowed_method(refused.reason);
                return (Reply::refusal(&refused.into(), refused.dialect), Duration::ZERO);
            }
        };
        match plan::Request::read(&call, request.content_type(), &request.body, options.tokens) {
            Ok(asked) => (Reply::to(&asked), generation_time(&asked.task, options)),
            Err(error) => (Reply::refusal(&error, call.dialect), Duration::ZERO),
        }
    }

    async fn send_bytes(&mut self, count: u64) -> io::Result<()> {
        self.write_head(200, BINARY, BodyLength::Fixed(count));
        let mut left = count;
        while left > 0 {
            let piece = left.min(BLOCK.len() as u64);
            self.send_content(&BLOCK[..piece as usize]).await?;
            if self.request.is_head() {
                return Ok(());
            }
            left -= piece;
            self.link.take_turns().await;
        }
        Ok(())
    }

    async fn echo(&mut self) -> io::Result<()> {
        let encoder = self.begin_stream(BINARY);
        if self.request.is_head() {
            return Ok(());
        }
        for content in self.request.body.chunks(ECHO_BYTES) {
            self.link.out.extend_from_slice(encoder.before(content.len()).as_bytes());
            self.send_content(content).await?;
            self.link.out.extend_from_slice(encoder.after(content.len()));
            self.link.take_turns().await;
        }
        encoder.finish(&[], &mut self.link.out);
        Ok(())
    }

    /// Sends events, each in a write of its own. `next` appends an event and says how long after
    /// the one before it is due, or after the request for the first.
    ///
    /// The head waits for the first event, as it does where a model has to begin before its server
    /// knows that it can.
    async fn stream(
        &mut self,
        mut next: impl FnMut(&mut Vec<u8>) -> Option<Duration>,
    ) -> io::Result<()> {
        self.link.flush().await?;
        let mut due = self.link.now();
        let mut event = Vec::with_capacity(512);
        let mut begun = None;
        while let Some(pause) = next(&mut event) {
            due = due + pause;
            self.link.wait_until(due).await?;
            let encoder = *begun.get_or_insert_with(|| self.begin_stream(EVENT_STREAM));
            if self.request.is_head() {
                return Ok(());
            }
            let out = &mut self.link.out;
            out.extend_from_slice(encoder.before(event.len()).as_bytes());
            out.extend_from_slice(&event);
            out.extend_from_slice(encoder.after(event.len()));
            event.clear();
            self.link.flush().await?;
            self.link.take_turns().await;
        }
        let encoder = begun.unwrap_or_else(|| self.begin_stream(EVENT_STREAM));
        if !self.request.is_head() {
            encoder.finish(&[], &mut self.link.out);
        }
        Ok(())
    }

    /// Waits, unless there is nothing to wait for. Earlier answers do not wait with it.
    async fn wait(&mut self, time: Duration) -> io::Result<()> {
        if time.is_zero() {
            return Ok(());
        }
        let due = self.link.now() + time;
        self.link.flush().await?;
        self.link.wait_until(due).await
    }

    async fn answer(&mut self, status: u16, content_type: &str, body: &[u8]) -> io::Result<()> {
        self.write_head(status, content_type, BodyLength::Fixed(body.len() as u64));
        self.send_content(body).await
    }

    /// Nothing, where the request was HEAD.
    async fn send_content(&mut self, content: &[u8]) -> io::Result<()> {
        if self.request.is_head() {
            return Ok(());
        }
        if content.len() <= COPIED_BYTES {
            self.link.out.extend_from_slice(content);
            return Ok(());
        }
        self.link.send(content).await
    }

    /// HTTP/1.0 has no chunks: there the end of the connection is that of the body.
    fn begin_stream(&mut self, content_type: &str) -> BodyEncoder {
        let length = match self.request.head.version {
            Version::Http11 => BodyLength::Chunked,
            Version::Http10 => {
                self.after = After::Close;
                BodyLength::UntilClose
            }
        };
        self.write_head(200, content_type, length);
        BodyEncoder::new(length)
    }

    fn write_head(&mut self, status: u16, content_type: &str, body: BodyLength) {
        let connection = match (self.after, self.request.head.version) {
            (After::Keep, Version::Http11) => None,
            (After::Keep, Version::Http10) => Some("keep-alive"),
            (After::Close, _) => Some("close"),
        };
        Head { status, content_type, body, allow: self.allow, connection }
            .write(&mut self.link.out);
    }
}

fn allowed_method(reason: NotACallReason) -> Option<&'static str> {
    match reason {
        NotACallReason::UnknownPath => None,
        NotACallReason::WrongMethod { allow } => Some(allow),
    }
}

/// Events with nothing but their number in them, the first one at once.
fn numbered(count: u32, every: Duration) -> impl FnMut(&mut Vec<u8>) -> Option<Duration> {
    let mut numbers = 0..count;
    move |out| {
        let number = numbers.next()?;
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        out.extend_from_slice(b"\n\n");
        Some(if number == 0 { Duration::ZERO } else { every })
    }
}

/// A model's events, at its pace.
fn paced(mut events: Events, options: &Options) -> impl FnMut(&mut Vec<u8>) -> Option<Duration> {
    move |out| {
        events.write_next(out).map(|pace| match pace {
            Pace::First => options.first_token,
            Pace::Token => options.between_tokens,
            Pace::AtOnce => Duration::ZERO,
        })
    }
}

/// How long a model takes for an answer that it gives as a whole.
fn generation_time(task: &Task, options: &Options) -> Duration {
    let tokens = match task {
        Task::Text(text) => text.tokens,
        Task::Transcription { tokens, .. } => *tokens,
        _ => return Duration::ZERO,
    };
    let others = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
    options.first_token.saturating_add(options.between_tokens.saturating_mul(others))
}
