//! The mock from outside: raw bytes over sockets, under both drivers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{Options, Running, start};
use crate::runtime::probe::Wanted;

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test against a mock on the best driver of this machine, and on epoll.
fn on_both_drivers(options: &Options, test: impl Fn(&Running)) {
    for io in [Wanted::Any, Wanted::Epoll] {
        let mock = start(&Options { io, workers: Some(1), ..options.clone() }).unwrap();
        test(&mock);
        mock.stop().unwrap();
    }
}

struct Client(TcpStream);

impl Client {
    fn connect(mock: &Running) -> Self {
        let stream = TcpStream::connect(mock.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Exactly these bytes come next.
    fn expect(&mut self, expected: &str) -> &mut Self {
        let mut found = vec![0; expected.len()];
        self.0.read_exact(&mut found).unwrap();
        assert_eq!(String::from_utf8_lossy(&found), expected);
        self
    }

    /// What comes up to and including `end`.
    fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            text.extend_from_slice(&byte);
        }
        String::from_utf8(text).unwrap()
    }

    /// The next answer, whose head states its length: head and body.
    fn read_answer(&mut self) -> (String, String) {
        let head = self.read_until("\r\n\r\n");
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    fn read_to_end(&mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        text
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: mock\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: mock\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn answer(content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Waits until the mock has so many connections.
fn await_connections(mock: &Running, count: usize) {
    let limit = Instant::now() + PATIENCE;
    while mock.connections() != count {
        assert!(Instant::now() < limit, "{} connections are left", mock.connections());
        std::thread::yield_now();
    }
}

const HEALTHY: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";
const CHAT: &str = r#"{"model":"m","messages":[],"max_tokens":2}"#;
const CHAT_STREAM: &str = r#"{"model":"m","messages":[],"max_tokens":2,"stream":true}"#;
const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn a_connection_serves_one_request_after_the_other() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        for _ in 0..200 {
            client.send(get("/health")).expect(HEALTHY);
        }
        assert_eq!(mock.connections(), 1);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        let sizes = (0..2000).map(|index| index % 7);
        let requests: String = sizes.clone().map(|size| get(&format!("/bytes/{size}"))).collect();
        client.send(requests);
        for size in sizes {
            client.expect(&answer("application/octet-stream", &"x".repeat(size)));
        }
    });
}

#[test]
fn a_pipelined_answer_does_not_wait_with_the_slow_one_behind_it() {
    let slow = Options { first_token: PATIENCE * 2, ..Options::default() };
    on_both_drivers(&slow, |mock| {
        for waiting in [get("/slow/60000"), post("/v1/chat/completions", CHAT_STREAM)] {
            Client::connect(mock).send(get("/health") + &waiting).expect(HEALTHY);
        }
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        for byte in post("/echo", "ab").bytes() {
            client.send([byte]);
        }
        let head = client.read_until("\r\n\r\n");
        assert!(head.contains("transfer-encoding: chunked"));
        client.expect("2\r\nab\r\n0\r\n\r\n").send(get("/health")).expect(HEALTHY);
    });
}

#[test]
fn a_chat_is_answered_as_a_whole() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        let (head, body) = client.send(post("/v1/chat/completions", CHAT)).read_answer();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"));
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["choices"][0]["message"]["content"], "Every ring");
        client.send(get("/health")).expect(HEALTHY);
    });
}

#[test]
fn a_chat_is_streamed_event_by_event() {
    let paced = Options {
        first_token: Duration::from_millis(20),
        between_tokens: Duration::from_millis(10),
        ..Options::default()
    };
    for options in [Options::default(), paced] {
        on_both_drivers(&options, |mock| {
            let began = Instant::now();
            let mut client = Client::connect(mock);
            client.send(post("/v1/chat/completions", CHAT_STREAM)).expect(STREAM_HEAD);
            let stream = client.read_until("\r\n0\r\n\r\n");
            // Each event is a chunk of its own: the role, two LLM tokens, the end, [DONE].
            let chunks: Vec<_> =
                stream.split("\r\n").filter(|line| line.contains("data:")).collect();
            assert_eq!(chunks.len(), 5);
            assert_eq!(chunks[4], "data: [DONE]\n\n");
            assert!(began.elapsed() >= options.first_token + options.between_tokens);
            client.send(get("/health")).expect(HEALTHY);
        });
    }
}

#[test]
fn a_message_is_streamed_in_its_own_dialect() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        client.send(post("/v1/messages", CHAT_STREAM)).expect(STREAM_HEAD);
        let stream = client.read_until("\r\n0\r\n\r\n");
        assert!(stream.contains("event: message_start\n"));
        assert!(stream.contains("event: message_stop\n"));
    });
}

#[test]
fn a_call_that_is_none_is_refused_in_its_dialect() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        let (head, body) = client.send(get("/nothing")).read_answer();
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(body.starts_with(r#"{"error":"#), "{body}");
        let (head, body) = client.send(get("/v1/messages")).read_answer();
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert!(head.contains("\r\nallow: POST\r\n"));
        assert!(body.starts_with(r#"{"type":"error""#), "{body}");
        client.send(get("/health")).expect(HEALTHY);
    });
}

#[test]
fn so_many_bytes_are_sent() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        for size in [0, 1, 4096, 4097, 65_536, 65_537, 5_000_000] {
            client
                .send(get(&format!("/bytes/{size}")))
                .expect(&answer("application/octet-stream", &"x".repeat(size)));
        }
    });
}

#[test]
fn a_gigabyte_waits_for_its_reader() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        let head = client.send(get("/bytes/1073741824")).read_until("\r\n\r\n");
        assert!(head.contains("content-length: 1073741824"));
        // Another client is served while this one does not read.
        Client::connect(mock).send(get("/health")).expect(HEALTHY);
        await_connections(mock, 1);
        drop(client);
        await_connections(mock, 0);
    });
}

#[test]
fn a_body_is_echoed_however_it_is_framed() {
    on_both_drivers(&Options::default(), |mock| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        let mut client = Client::connect(mock);
        let body = "0123456789abcdef".repeat(1024) + "!";
        let echoed = format!("4000\r\n{}\r\n1\r\n!\r\n0\r\n\r\n", &body[..body.len() - 1]);
        client.send(post("/echo", &body)).expect(head).expect(&echoed);
        client
            .send("POST /echo HTTP/1.1\r\nhost: mock\r\ntransfer-encoding: chunked\r\n\r\n")
            .send("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: v\r\n\r\n")
            .expect(head)
            .expect("5\r\nabcde\r\n0\r\n\r\n");
        client.send(post("/echo", "")).expect(head).expect("0\r\n\r\n");
        client.send(get("/health")).expect(HEALTHY);
    });
}

#[test]
fn a_client_that_expects_to_be_asked_for_its_body_is_asked() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        client
            .send("POST /echo HTTP/1.1\r\nhost: mock\r\nexpect: 100-continue\r\n")
            .send("content-length: 2\r\n\r\n")
            .expect("HTTP/1.1 100 Continue\r\n\r\n")
            .send("ab");
        client.read_until("2\r\nab\r\n0\r\n\r\n");
    });
}

#[test]
fn too_large_a_body_is_refused_before_it_comes() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        client
            .send("POST /echo HTTP/1.1\r\nhost: mock\r\nexpect: 100-continue\r\n")
            .send("content-length: 67108865\r\n\r\n");
        assert!(client.read_to_end().starts_with("HTTP/1.1 413 Content Too Large\r\n"));
    });
}

#[test]
fn a_head_that_is_too_long_or_wrong_is_refused_with_the_last_answer() {
    on_both_drivers(&Options::default(), |mock| {
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
            (format!("GET / HTTP/1.1\r\nhost: mock\r\nx: {}", "y".repeat(16 * 1024)), "431"),
        ] {
            let mut client = Client::connect(mock);
            client.send(get("/health")).send(request).expect(HEALTHY);
            let answer = client.read_to_end();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"));
        }
    });
}

#[test]
fn an_old_client_gets_its_stream_without_chunks() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        client.send("GET /events/2 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").expect(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
        );
        assert_eq!(client.read_to_end(), "data: 0\n\ndata: 1\n\n");
    });
}

#[test]
fn a_client_that_wants_no_other_answer_gets_none() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        client.send("GET /bytes/1 HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n\r\n");
        client.send(get("/health"));
        assert!(client.read_to_end().ends_with("\r\nconnection: close\r\n\r\nx"));
    });
}

#[test]
fn a_head_request_gets_the_head_alone() {
    on_both_drivers(&Options::default(), |mock| {
        let mut client = Client::connect(mock);
        for path in ["/health", "/bytes/5000", "/bytes/1073741824", "/echo", "/events/3"] {
            client.send(get(path).replace("GET", "HEAD")).read_until("\r\n\r\n");
        }
        client.send(get("/health")).expect(HEALTHY);
    });
}

#[test]
fn an_event_stream_has_its_events_and_its_pace() {
    on_both_drivers(&Options::default(), |mock| {
        let began = Instant::now();
        let mut client = Client::connect(mock);
        client
            .send(get("/events/3?every=10"))
            .expect(STREAM_HEAD)
            .expect("9\r\ndata: 0\n\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n");
        assert!(began.elapsed() >= Duration::from_millis(20));
        client.send(get("/slow/20")).expect(HEALTHY);
        assert!(began.elapsed() >= Duration::from_millis(40));
    });
}

#[test]
fn a_client_that_goes_away_ends_what_it_waited_for() {
    let slow = Options { first_token: PATIENCE * 2, ..Options::default() };
    on_both_drivers(&slow, |mock| {
        let requests = [
            get("/slow/60000"),
            get("/events/10?every=60000"),
            post("/v1/chat/completions", CHAT),
            post("/v1/chat/completions", CHAT_STREAM),
            // With another request behind it.
            get("/slow/60000") + &get("/health"),
        ];
        for request in requests {
            let mut client = Client::connect(mock);
            client.send(&request);
            await_connections(mock, 1);
            client.0.shutdown(Shutdown::Both).unwrap();
            await_connections(mock, 0);
        }
    });
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let mock = start(&Options { workers: Some(1), ..Options::default() }).unwrap();
    let second = start(&Options { bind: mock.addr, workers: Some(1), ..Options::default() });
    assert_eq!(second.err().map(|error| error.kind()), Some(std::io::ErrorKind::AddrInUse));
}

#[test]
fn several_workers_share_an_address_and_stop_together() {
    let mock = start(&Options { workers: Some(3), ..Options::default() }).unwrap();
    let mut clients: Vec<_> = (0..30).map(|_| Client::connect(&mock)).collect();
    for client in &mut clients {
        client.send(get("/health")).expect(HEALTHY);
    }
    mock.stop().unwrap();
    for client in &mut clients {
        assert_eq!(client.read_to_end(), "");
    }
}
