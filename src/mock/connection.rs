//! A client's connection: one exchange after the other.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::exchange::{After, Exchange};
use super::link::Link;
use super::request::{Request, Unread};
use super::response::Head;
use super::server::Options;
use crate::http::message::BodyLength;
use crate::http::refusal::Refusal;
use crate::runtime::core::Core;

/// Answers to pipelined requests are gathered up to this many bytes.
const GATHERED_BYTES: usize = 16 * 1024;

pub(super) struct Connection {
    link: Link,
    request: Request,
    options: Rc<Options>,
}

impl Connection {
    pub(super) fn new(core: &Rc<Core>, fd: OwnedFd, options: &Rc<Options>) -> io::Result<Self> {
        Ok(Self {
            link: Link::new(core, fd)?,
            request: Request::default(),
            options: Rc::clone(options),
        })
    }

    pub(super) async fn serve(self) {
        // The only error there is: the client has gone. Nobody is left to be told.
        let _ = self.exchanges().await;
    }

    async fn exchanges(mut self) -> io::Result<()> {
        loop {
            match self.request.read(&mut self.link).await {
                Ok(()) => {}
                Err(Unread::Ended) => return Ok(()),
                Err(Unread::Refused(refusal)) => {
                    self.refuse(refusal);
                    return self.link.linger().await;
                }
            }
            match Exchange::new(&mut self.link, &self.request, &self.options).run().await? {
                After::Keep => {}
                After::Close if self.link.input().is_empty() => return self.link.flush().await,
                After::Close => return self.link.linger().await,
            }
            if self.link.out.len() >= GATHERED_BYTES {
                self.link.flush().await?;
            }
            self.link.take_turns().await;
        }
    }

    /// Nobody knows where the next request would begin: this is the last answer.
    fn refuse(&mut self, refusal: Refusal) {
        let text = refusal.explanation();
        let head = Head {
            status: refusal.status(),
            content_type: "text/plain",
            body: BodyLength::Fixed(text.len() as u64 + 1),
            allow: None,
            connection: Some("close"),
        };
        head.write(&mut self.link.out);
        self.link.out.extend_from_slice(text.as_bytes());
        self.link.out.push(b'\n');
    }
}
