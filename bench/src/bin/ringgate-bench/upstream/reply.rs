//! What the upstream answers.

use super::request::Request;

/// The longest reply to `GET /bytes/N`.
pub(crate) const BYTES_MAX: usize = 1024 * 1024;

const CHAT: &[u8] = include_bytes!("../../../../inputs/chat_reply.json");

/// In every reply. `x-internal` is there for the gateway to remove in the governed scenario.
const COMMON: &str = "server: upstream\r\nx-internal: rack-17\r\n";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Bytes(usize),
    Chat,
    /// The head of the request.
    Echo(Vec<u8>),
    /// A head; events follow until the client goes.
    Events,
    NotFound,
}

impl Reply {
    pub(crate) fn to(request: &Request<'_>, head: &[u8]) -> Self {
        if request.method == "POST" {
            return Self::Chat;
        }
        match request.target {
            "/echo" => Self::Echo(head.to_vec()),
            "/events" => Self::Events,
            target => bytes_asked(target).map_or(Self::NotFound, Self::Bytes),
        }
    }

    /// Appends the reply as it goes on the wire.
    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        match self {
            Self::Bytes(count) => {
                write_head(output, "200 OK", "application/octet-stream", *count);
                output.resize(output.len() + count, b'x');
            }
            Self::Chat => {
                write_head(output, "200 OK", "application/json", CHAT.len());
                output.extend_from_slice(CHAT);
            }
            Self::Echo(head) => {
                write_head(output, "200 OK", "text/plain", head.len());
                output.extend_from_slice(head);
            }
            Self::Events => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\n{COMMON}content-type: text/event-stream\r\n\
                     cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
                );
                output.extend_from_slice(head.as_bytes());
            }
            Self::NotFound => write_head(output, "404 Not Found", "text/plain", 0),
        }
    }
}

fn bytes_asked(target: &str) -> Option<usize> {
    let count = target.strip_prefix("/bytes/")?.parse().ok()?;
    (count <= BYTES_MAX).then_some(count)
}

fn write_head(output: &mut Vec<u8>, status: &str, content_type: &str, length: usize) {
    let head = format!(
        "HTTP/1.1 {status}\r\n{COMMON}content-type: {content_type}\r\n\
         content-length: {length}\r\n\r\n"
    );
    output.extend_from_slice(head.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(method: &str, target: &str) -> Reply {
        Reply::to(&Request { method, target, content_length: 0 }, b"head")
    }

    #[test]
    fn the_path_says_what_is_answered() {
        assert_eq!(reply("GET", "/bytes/128"), Reply::Bytes(128));
        assert_eq!(reply("POST", "/v1/chat/completions"), Reply::Chat);
        assert_eq!(reply("GET", "/echo"), Reply::Echo(b"head".to_vec()));
        assert_eq!(reply("GET", "/events"), Reply::Events);
        assert_eq!(reply("GET", "/"), Reply::NotFound);
        assert_eq!(reply("GET", "/bytes/-1"), Reply::NotFound);
        assert_eq!(reply("GET", "/bytes/1048577"), Reply::NotFound);
    }

    #[test]
    fn a_reply_has_the_length_its_head_says() {
        let mut output = Vec::new();
        Reply::Bytes(300).write(&mut output);
        let text = String::from_utf8(output).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with("\r\ncontent-length: 300"), "{head}");
        assert_eq!(body.len(), 300);
    }

    #[test]
    fn the_chat_completion_is_the_size_the_scenario_promises() {
        assert_eq!(CHAT.len(), 1024);
    }
}
