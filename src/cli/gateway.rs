//! The running gateway, as commands ask it: where its admin server is, and one request to it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{DEFAULT_FILES, Failure};
use crate::config;

/// Where the token is looked for before the file: `--admin` may be another machine's gateway.
const TOKEN_VARIABLE: &str = "RINGGATE_ADMIN_TOKEN";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A reload waits for names, and for other orders before it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The status of 100,000 endpoints.
const ANSWER_BYTES_MAX: u64 = 128 << 20;

/// Which gateway is meant.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Configuration file that says where the admin server is [default: as for serve].
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the admin server is, such as http://127.0.0.1:9901, in place of the file's word. Its
    /// token is taken from RINGGATE_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", conflicts_with = "config", value_parser = authority)]
    admin: Option<String>,
}

/// Host and port of a URL, whose scheme may be left out.
fn authority(text: &str) -> Result<String, String> {
    let rest = match text.split_once("://") {
        None => text,
        Some(("http", rest)) => rest,
        Some(_) => return Err("the admin server speaks plain HTTP: write http://HOST:PORT".into()),
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match has_port && !host.contains(['/', '@', '?']) && !host.contains(char::is_whitespace) {
        true => Ok(host.to_owned()),
        false => Err("write http://HOST:PORT".into()),
    }
}

/// A gateway that may be running.
pub(super) struct Gateway {
    /// Host and port.
    authority: String,
    /// What says that it is there.
    source: String,
    token: Option<String>,
}

/// What it answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Which {
    /// # Errors
    ///
    /// The configuration does not say where it is.
    pub(super) fn find(&self) -> Result<Gateway, Failure> {
        let token = std::env::var(TOKEN_VARIABLE).ok();
        if let Some(authority) = &self.admin {
            let (authority, source) = (authority.clone(), "--admin".to_owned());
            return Ok(Gateway { authority, source, token });
        }
        let file = self
            .config
            .clone()
            .or_else(|| DEFAULT_FILES.iter().map(PathBuf::from).find(|file| file.exists()));
        let (admin, source) = match &file {
            Some(file) => (load(file)?, format!("admin.bind in {}", file.display())),
            None => (config::Admin::default(), "the default; there is no configuration".to_owned()),
        };
        if admin.bind.port() == 0 {
            return Err(Failure::Other(format!(
                "{source} leaves the port to the kernel; the line `ready` of the gateway names it: \
                 give it with --admin"
            )));
        }
        let token = token.or_else(|| admin.token.map(|token| token.0));
        Ok(Gateway { authority: reachable(admin.bind).to_string(), source, token })
    }
}

fn load(file: &Path) -> Result<config::Admin, Failure> {
    config::load_admin(file, &|name| std::env::var(name).ok()).map_err(Failure::Config)
}

/// Who listens on every address is asked on this machine.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{} ({})", self.authority, self.source)
    }
}

impl Gateway {
    /// One request. `body` is sent as JSON.
    ///
    /// # Errors
    ///
    /// Nothing answers, or not as a gateway does.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let answered = self.exchange(&self.request(method, path, body)).map_err(|error| {
            Failure::Other(format!(
                "no gateway answers at {self}: {error}\n\
                 Is it running? Name its file with --config, or its address with --admin."
            ))
        })?;
        let not_a_gateway = || Failure::Other(format!("what answers at {self} is no gateway"));
        let answer = Answer::parse(&answered).ok_or_else(not_a_gateway)?;
        match answer.status {
            401 => Err(Failure::Other(format!(
                "the gateway at {self} wants a token: set {TOKEN_VARIABLE}, or name its file with \
                 --config"
            ))),
            200 => Ok(answer),
            status => Err(match answer.body["message"].as_str() {
                Some(message) => Failure::Other(message.to_owned()),
                None => Failure::Other(format!("the gateway at {self} answers {status}")),
            }),
        }
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let Self { authority, token, .. } = self;
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
        if let Some(token) = token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            let length = body.len();
            head += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
        }
        format!("{head}\r\n{body}")
    }

    fn exchange(&self, request: &str) -> io::Result<Vec<u8>> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl Answer {
    /// `None` if it is no whole answer of the admin server, which states the length of what it has
    /// in memory.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let body: &[u8] = bytes[end + 4..].get(..length?)?;
        Some(Self { status, body: serde_json::from_slice(body).ok()? })
    }
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_needs_a_host_and_a_port_and_nothing_else() {
        for url in ["http://127.0.0.1:9901", "127.0.0.1:9901", "http://127.0.0.1:9901/"] {
            assert_eq!(authority(url).as_deref(), Ok("127.0.0.1:9901"));
        }
        assert_eq!(authority("http://[::1]:1").as_deref(), Ok("[::1]:1"));
        for url in ["https://a:1", "http://a", "http://a:1/status", "http://u@a:1", "a b:1"] {
            assert!(authority(url).is_err(), "{url}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        let at = |bind: &str| reachable(bind.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9901"), "127.0.0.1:9901");
        assert_eq!(at("[::]:9901"), "[::1]:9901");
        assert_eq!(at("10.0.0.5:9901"), "10.0.0.5:9901");
    }

    #[test]
    fn only_whole_answers_in_json_are_taken() {
        let parse = |text: &str| Answer::parse(text.as_bytes()).map(|a| (a.status, a.body));
        let whole = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(whole), Some((404, serde_json::json!({}))));
        assert_eq!(parse("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}"), None);
        assert_eq!(parse("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<a/>"), None);
        assert_eq!(parse("SSH-2.0-OpenSSH_9\r\n\r\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_segment_holds_any_name() {
        assert_eq!(segment("model:meta/llama 3"), "model%3Ameta%2Fllama%203");
        assert_eq!(segment("unix:/run/a.sock"), "unix%3A%2Frun%2Fa.sock");
    }
}
