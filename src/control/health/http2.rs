//! A check that asks in HTTP/2, by prior knowledge or as TLS has agreed.

use h2::client::SendRequest;
use http::{HeaderValue, Request};

use super::check::{Body, Failure, Stream, expect_status};
use super::plan::USER_AGENT;
use crate::policy::health::{HttpProbe, Outcome};

/// An answer may bring as much as one looks through, and no more.
const WINDOW: u32 = 64 << 10;

/// Sends the request, and looks at the answer as far as it has to.
///
/// # Errors
///
/// What is wrong with the answer.
pub(super) async fn ask(
    stream: Box<dyn Stream>,
    authority: &str,
    is_private: bool,
    wanted: &HttpProbe,
) -> Result<(), Failure> {
    let request = request(authority, is_private, wanted)?;
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).initial_window_size(WINDOW).max_header_list_size(WINDOW);
    let (sender, connection) = builder.handshake(stream).await.map_err(|e| broken(&e))?;
    tokio::select! {
        biased;
        answered = exchange(sender, request, wanted) => answered,
        ended = connection => match ended {
            Err(error) => Err(broken(&error)),
            Ok(()) => Err(Failure::closed("the connection ended before the answer did")),
        },
    }
}

fn request(authority: &str, is_private: bool, wanted: &HttpProbe) -> Result<Request<()>, Failure> {
    let scheme = if is_private { "https" } else { "http" };
    let mut request = Request::builder()
        .method(wanted.method.as_str())
        .uri(format!("{scheme}://{authority}{}", wanted.path))
        .header("user-agent", HeaderValue::from_static(USER_AGENT))
        .body(())
        .map_err(|error| Failure::new(Outcome::Skipped, error))?;
    for (name, value) in &wanted.headers {
        // The configuration has checked both.
        if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
            request.headers_mut().insert(name, value);
        }
    }
    Ok(request)
}

async fn exchange(
    sender: SendRequest<bytes::Bytes>,
    request: Request<()>,
    wanted: &HttpProbe,
) -> Result<(), Failure> {
    let mut sender = sender.ready().await.map_err(|e| broken(&e))?;
    let (answer, _) = sender.send_request(request, true).map_err(|e| broken(&e))?;
    let mut answer = answer.await.map_err(|e| broken(&e))?;
    expect_status(wanted, answer.status().as_u16())?;
    let Some(text) = &wanted.body else { return Ok(()) };
    let mut body = Body::new(text);
    while let Some(piece) = answer.body_mut().data().await {
        let piece = piece.map_err(|e| broken(&e))?;
        if body.add(&piece)? {
            return Ok(());
        }
        // A window that is not given back only ends the answer sooner.
        drop(answer.body_mut().flow_control().release_capacity(piece.len()));
    }
    Err(body.lacks())
}

fn broken(error: &h2::Error) -> Failure {
    let outcome = if error.is_io() || error.is_go_away() || error.is_reset() {
        Outcome::Closed
    } else {
        Outcome::Malformed
    };
    Failure::new(outcome, error)
}
