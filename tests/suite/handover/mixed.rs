//! Hand-overs under clients of every kind: none is refused, reset or cut, and whoever is told to go
//! is served by the next process.

use std::io::ErrorKind;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use crate::support::http2::client::{Call, Http2Client, Http2Reply, is_farewell};
use crate::support::origin::{Connection, Request};
use crate::support::tls::TlsClient;
use crate::support::websocket::{self, CLOSE, GOING_AWAY, Message};

use super::*;

const NAME: &str = "a.example";

/// How often an event stream says something.
const EVENT_EVERY: Duration = Duration::from_millis(100);

/// Requests that a client of HTTP/2 has under way at a time.
const AT_ONCE: usize = 8;

/// Hand-overs in the time that a stream takes: each stream sees several.
const HAND_OVERS_PER_STREAM: usize = 12;

/// Events of a stream. A release is tested with streams as long as the promise names.
fn events_per_stream() -> usize {
    let seconds = std::env::var("RINGGATE_TEST_STREAM_SECONDS").ok();
    let seconds = seconds.map_or(1, |text| text.parse().expect("a number of seconds"));
    let events = Duration::from_secs(seconds).as_millis() / EVENT_EVERY.as_millis();
    usize::try_from(events).expect("a small number")
}

/// What all clients share.
struct Stage {
    public: SocketAddr,
    private: SocketAddr,
    authority: Authority,
    events: usize,
    stop: AtomicBool,
}

impl Stage {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// What a client has done when it has been stopped.
#[derive(Default)]
struct Tally {
    connections: usize,
    /// Requests that were answered, or WebSockets.
    exchanges: usize,
    /// Requests that the gateway has not begun with, as it said, and that were sent again.
    repeated: usize,
}

type Role = fn(&Stage) -> Tally;

/// Clients by what they do. Each fails where it is refused, reset or cut.
const CLIENTS: [(&str, Role); 9] = [
    ("a connection for each request", |stage| one_by_one(stage, |_| Client::connect(stage.public))),
    ("connections that are kept", |stage| kept(stage, || Client::connect(stage.public))),
    ("full handshakes of TLS", |stage| {
        one_by_one(stage, |_| private(stage, &stage.authority.client()))
    }),
    ("resumed sessions of TLS", resumed),
    ("connections of TLS that are kept", |stage| {
        let tls = stage.authority.client();
        kept(stage, || private(stage, &tls))
    }),
    ("HTTP/2", |stage| http2(stage, "/", b"hello")),
    ("event streams", |stage| streams(stage, || Client::connect(stage.public))),
    ("event streams over HTTP/2", |stage| http2(stage, "/stream", &stream_of(stage.events))),
    ("WebSockets", websockets),
];

fn private(stage: &Stage, tls: &TlsClient) -> Client {
    tls.connect(stage.private, NAME)
}

#[track_caller]
fn ask_of(client: &mut Client) -> bool {
    let reply = client.post("/", "", "body");
    assert_eq!((reply.status, reply.text()), (200, "hello"));
    reply.keeps_alive()
}

fn one_by_one(stage: &Stage, mut connect: impl FnMut(usize) -> Client) -> Tally {
    let mut tally = Tally::default();
    while stage.goes_on() {
        ask_of(&mut connect(tally.connections));
        tally.connections += 1;
        tally.exchanges += 1;
    }
    tally
}

fn kept(stage: &Stage, connect: impl Fn() -> Client) -> Tally {
    let mut tally = Tally::default();
    while stage.goes_on() {
        let mut client = connect();
        tally.connections += 1;
        let mut is_kept = true;
        while is_kept && stage.goes_on() {
            is_kept = ask_of(&mut client);
            tally.exchanges += 1;
        }
    }
    tally
}

fn resumed(stage: &Stage) -> Tally {
    let tls = stage.authority.client();
    one_by_one(stage, |before| {
        let mut client = private(stage, &tls);
        assert_eq!(client.is_resumed(), before > 0, "a session outlives its process");
        client
    })
}

/// Many requests at a time. Who hears GOAWAY goes on with another connection.
fn http2(stage: &Stage, target: &str, expected: &[u8]) -> Tally {
    let mut tally = Tally::default();
    while stage.goes_on() {
        let mut client = Http2Client::connect(stage.public);
        tally.connections += 1;
        while stage.goes_on() && http2_round(&mut client, target, expected, &mut tally) {}
    }
    tally
}

/// Whether the connection takes more requests.
fn http2_round(client: &mut Http2Client, target: &str, expected: &[u8], tally: &mut Tally) -> bool {
    let begun = |_| client.request("GET", target, &[]).try_end();
    let calls: Vec<_> = (0..AT_ONCE).map(begun).collect();
    let mut is_kept = true;
    thread::scope(|scope| {
        // Each is read as it comes: unread events of many streams are too much for this client.
        let read = |call: Result<Call, h2::Error>| {
            (call.is_ok(), scope.spawn(|| call.and_then(Call::try_read)))
        };
        let calls: Vec<_> = calls.into_iter().map(read).collect();
        for (was_sent, call) in calls {
            match call.join().expect("no response was waited for in vain") {
                Ok(Http2Reply { status, body, .. }) => {
                    assert_eq!((status, &*body), (200, expected));
                    tally.exchanges += 1;
                }
                Err(error) => {
                    assert!(is_farewell(&error), "{error}");
                    tally.repeated += usize::from(was_sent);
                    is_kept = false;
                }
            }
        }
    });
    is_kept
}

fn streams(stage: &Stage, connect: impl Fn() -> Client) -> Tally {
    let mut tally = Tally::default();
    while stage.goes_on() {
        let mut client = connect();
        client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = client.read();
        assert_eq!((reply.status, reply.body), (200, stream_of(stage.events)));
        tally.connections += 1;
        tally.exchanges += 1;
    }
    tally
}

/// Says something and waits for its echo, over and over. Who is told that the other side goes
/// away opens another WebSocket.
fn websockets(stage: &Stage) -> Tally {
    let mut tally = Tally::default();
    while stage.goes_on() {
        let mut client = Client::connect(stage.public);
        client.send(websocket::handshake("/echo"));
        assert_eq!(client.read_head().expect("a head").word(1), "101");
        tally.connections += 1;
        tally.exchanges += 1;
        while stage.goes_on() && echoes(&mut client, "hello") {}
        client.send(Message { opcode: CLOSE, payload: GOING_AWAY.to_vec() }.masked());
        client.finish_sending();
    }
    tally
}

/// Whether the echo came, and not a farewell.
fn echoes(client: &mut Client, text: &str) -> bool {
    let message = Message::text(text);
    client.send(message.masked());
    let heard = Message::read(client.wire()).expect("a message");
    if heard.opcode == CLOSE {
        assert_eq!(heard.payload, GOING_AWAY);
        return false;
    }
    assert_eq!(heard, message);
    true
}

/// `/stream` is a stream of events, `/echo` a WebSocket, everything else `hello`.
fn everything(events: usize, told: &Arc<AtomicUsize>) -> Origin {
    let told = Arc::clone(told);
    origin()
        .serve(move |connection| {
            while let Some(request) = next_request(connection) {
                match request.target() {
                    "/stream" => send_stream(connection, events, &told),
                    "/echo" => return echo(connection, &request),
                    _ => connection.reply("hello"),
                }
            }
        })
        .start()
}

/// Waits for as long as the gateway keeps the connection, which may be longer than a read.
fn next_request(connection: &mut Connection) -> Option<Request> {
    while connection.wire().peek().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {}
    connection.read_request()
}

fn send_stream(connection: &mut Connection, events: usize, told: &AtomicUsize) {
    connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n");
    connection.send("Transfer-Encoding: chunked\r\n\r\n");
    for number in 0..events {
        let event = event(number);
        connection.send(format!("{:x}\r\n{event}\r\n", event.len()));
        told.fetch_add(1, Ordering::Relaxed);
        thread::park_timeout(EVENT_EVERY);
    }
    connection.send("0\r\n\r\n");
}

fn event(number: usize) -> String {
    format!("data: {number}\n\n")
}

fn stream_of(events: usize) -> Vec<u8> {
    (0..events).map(event).collect::<String>().into_bytes()
}

fn echo(connection: &mut Connection, request: &Request) {
    connection.send(websocket::agreement(&request.head));
    while let Ok(message) = Message::read(connection.wire()) {
        connection.send(message.bytes());
        if message.opcode == CLOSE {
            return;
        }
    }
}

fn config(origin: &Origin, authority: &Authority) -> String {
    let tls = tls_of(&[&authority.issue("a", &[NAME])]);
    let private = format!("[[listener]]\nname = \"private\"\nbind = \"127.0.0.1:0\"\n{tls}\n");
    let routes = "[[route]]\ncluster = \"c\"\n".to_owned();
    listener("http2 = true") + &private + &routes + &cluster_of("c", &[origin.address], "")
}

#[test]
fn hand_overs_under_mixed_load_refuse_reset_and_cut_nothing() {
    let (events, told) = (events_per_stream(), Arc::<AtomicUsize>::default());
    let origin = everything(events, &told);
    let authority = Authority::new();
    let mut gateway = gateway()
        // Longer than any stream.
        .server("drain_timeout = \"2m\"")
        .config(config(&origin, &authority))
        .start();
    let stage = Stage {
        public: gateway.address(),
        private: gateway.address_of("private"),
        authority,
        events,
        stop: AtomicBool::new(false),
    };

    let count = hand_overs();
    let tallies = thread::scope(|scope| {
        let begin = |(name, client): &(&'static str, Role)| {
            let (name, client, stage) = (*name, *client, &stage);
            (name, scope.spawn(move || client(stage)))
        };
        let clients: Vec<_> = CLIENTS.iter().map(begin).collect();
        let old: Vec<_> = (0..count)
            .map(|_| {
                wait_for_events(&told, (1 + AT_ONCE) * events / HAND_OVERS_PER_STREAM);
                gateway.hand_over()
            })
            .collect();
        stage.stop.store(true, Ordering::Relaxed);
        let tallies: Vec<_> = clients
            .into_iter()
            .map(|(name, client)| (name, client.join().unwrap_or_else(|_| panic!("{name} failed"))))
            .collect();
        for pid in old {
            assert!(gateway.wait_for_exit_of(pid).success());
        }
        tallies
    });

    for (name, Tally { connections, exchanges, repeated }) in &tallies {
        println!("{name}: {connections} connections, {exchanges} exchanges, {repeated} repeated");
        assert!(*exchanges > 0, "{name}");
    }
    assert!(!gateway.stderr().contains("the drain time is over"));
    let expected = u64::try_from(count).expect("a small number");
    assert_eq!(gateway.count("ringgate_handover_total{outcome=\"completed\"}"), expected);
    assert!(gateway.terminate().success());
    let lines = gateway.log_lines();
    let answered: usize = tallies.iter().map(|(_, tally)| tally.exchanges).sum();
    assert_eq!(lines.len(), answered, "each exchange is recorded once");
    let cut = lines.iter().find(|line| line["outcome"] != "completed");
    assert!(cut.is_none(), "{cut:?}");
}

/// Waits until that many more events have been sent.
fn wait_for_events(told: &AtomicUsize, count: usize) {
    let before = told.load(Ordering::Relaxed);
    eventually("events", || (told.load(Ordering::Relaxed) >= before + count).then_some(()));
}
