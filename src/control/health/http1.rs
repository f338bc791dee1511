//! A check that asks in HTTP/1.1.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::check::{Body, Failure, Stream, expect_status};
use crate::http::h1::{BodyDecoder, HeadLimits, ResponseHead};
use crate::http::message::Method;
use crate::policy::health::{HttpProbe, Outcome};

const LIMITS: HeadLimits = HeadLimits { bytes: 16 << 10, fields: 100 };

/// One receive: a whole answer of most health pages.
const READ_BYTES: usize = 4 << 10;

/// Sends the request, and looks at the answer as far as it has to.
///
/// # Errors
///
/// What is wrong with the answer.
pub(super) async fn ask(
    mut stream: Box<dyn Stream>,
    request: &[u8],
    wanted: &HttpProbe,
) -> Result<(), Failure> {
    let method = Method::of(wanted.method.as_bytes());
    stream.write_all(request).await.map_err(Failure::closed)?;
    stream.flush().await.map_err(Failure::closed)?;
    let mut received = Vec::with_capacity(READ_BYTES);
    let mut head = ResponseHead::default();
    loop {
        while !head.parse(&received, &LIMITS, method).map_err(malformed)? {
            if !receive(&mut stream, &mut received).await? {
                return Err(Failure::closed("the connection ended before the answer did"));
            }
        }
        if !head.is_interim() {
            break;
        }
        received.drain(..head.len);
    }
    expect_status(wanted, head.status)?;
    match &wanted.body {
        None => Ok(()),
        Some(text) => {
            received.drain(..head.len);
            expect_text(&mut stream, BodyDecoder::new(head.body), received, text).await
        }
    }
}

/// Reads the body until the text is there. `received`: what has come of it.
async fn expect_text(
    stream: &mut Box<dyn Stream>,
    mut decoder: BodyDecoder,
    mut received: Vec<u8>,
    text: &str,
) -> Result<(), Failure> {
    let mut body = Body::new(text);
    let mut spans = Vec::new();
    loop {
        spans.clear();
        let decoded = decoder.decode(&received, 0, &mut spans);
        let decoded = decoded.map_err(|fault| malformed_body(fault.label()))?;
        for span in &spans {
            if body.add(span.of(&received))? {
                return Ok(());
            }
        }
        received.drain(..decoded.consumed);
        if decoded.ended {
            return Err(body.lacks());
        }
        // What is left over has to be decoded first.
        if decoded.consumed > 0 && !received.is_empty() {
            continue;
        }
        if !receive(stream, &mut received).await? {
            return Err(match decoder.at_eof() {
                Ok(()) => body.lacks(),
                Err(_) => Failure::closed("the connection ended before the body did"),
            });
        }
    }
}

/// Whether there was something more.
async fn receive(stream: &mut Box<dyn Stream>, to: &mut Vec<u8>) -> Result<bool, Failure> {
    to.reserve(READ_BYTES);
    let read = stream.take(READ_BYTES as u64).read_buf(to).await;
    Ok(read.map_err(Failure::closed)? > 0)
}

fn malformed(fault: crate::http::refusal::ResponseFault) -> Failure {
    Failure::new(Outcome::Malformed, fault.label())
}

fn malformed_body(why: &str) -> Failure {
    Failure::new(Outcome::Malformed, why)
}
