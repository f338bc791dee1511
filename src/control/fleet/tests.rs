//! Workers that die, as the main thread sees them.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::config;
use crate::control::inheritance::Inheritance;
use crate::proxy::overlay::Overlay;
use crate::proxy::snapshot::Snapshot;
use crate::runtime::probe::{Wanted, choose};

const FILE: &str = r#"
[[listener]]
name = "public"
bind = "127.0.0.1:0"

[[route]]
respond = { status = 200, body = "hello" }
"#;

const PATIENCE: Duration = Duration::from_secs(20);

/// A fleet of one worker, and what it accepts on.
struct Stage {
    fleet: Fleet,
    sockets: Sockets,
    log: LogWriter,
}

impl Stage {
    fn start() -> Self {
        let settings = config::from_str("test.toml", FILE, &|_| None).unwrap().settings;
        let wanted = settings.listeners.clone();
        let mut sockets = Sockets::claim(1, &mut Inheritance::default(), &wanted).unwrap();
        let opened = sockets.open_missing(&wanted).unwrap();
        sockets.adopt(opened, &wanted);
        let shared = Arc::new(Shared::new(1, 0, |registry| {
            Snapshot::compile(1, settings, &Overlay::default(), "test", 0, registry)
        }));
        let log = LogWriter::start(Some("/dev/null".into())).unwrap();
        let chosen = choose(Wanted::Any).unwrap().chosen;
        let fleet = Fleet::start(chosen, shared, metrics(1), &log).unwrap();
        Self { fleet, sockets, log }
    }

    fn listen(&self) {
        self.sockets.iter().for_each(|listening| self.fleet.listen(listening).unwrap());
        self.wait_for("accepting", |fleet| fleet.shared.accepting() == 1);
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Fleet) -> bool) {
        let since = Instant::now();
        while !is_so(&self.fleet) {
            assert!(since.elapsed() < PATIENCE, "waited in vain for: {what}");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Ends the worker's loop, as an error of its driver would.
    fn end_worker(&self) {
        self.fleet.tell(0, Message::Stop);
        self.wait_for("the end", |fleet| fleet.watched[0].thread.is_finished());
    }

    /// Somebody who connects and asks while nobody accepts.
    fn visitor(&self) -> TcpStream {
        let mut visitor = TcpStream::connect(self.sockets.iter().next().unwrap().address).unwrap();
        visitor.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        visitor.write_all(request.as_bytes()).unwrap();
        visitor
    }
}

fn expect_answer(mut visitor: TcpStream) {
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[test]
fn a_worker_that_ends_is_replaced_and_its_queue_is_served() {
    let mut stage = Stage::start();
    stage.listen();
    stage.end_worker();
    let visitor = stage.visitor();
    stage.fleet.look_after(&stage.sockets, &stage.log);
    expect_answer(visitor);
    assert_eq!(stage.fleet.alive().collect::<Vec<_>>(), [true]);
    stage.fleet.stop(PATIENCE);
}

#[test]
fn a_worker_that_ends_in_a_drain_is_replaced_for_those_in_its_queue() {
    let mut stage = Stage::start();
    stage.listen();
    stage.end_worker();
    let visitor = stage.visitor();
    stage.fleet.shared.start_draining();
    stage.fleet.tell_all(|| Message::Drain);
    stage.fleet.look_after(&stage.sockets, &stage.log);
    stage.wait_for("its queue to be empty", |fleet| fleet.shared.accepting() == 0);
    expect_answer(visitor);
    stage.fleet.stop(PATIENCE);
}

#[test]
fn a_worker_that_has_drained_and_ends_does_not_listen_again() {
    let mut stage = Stage::start();
    stage.listen();
    stage.fleet.shared.start_draining();
    stage.fleet.tell_all(|| Message::Drain);
    stage.wait_for("its queue to be empty", |fleet| fleet.shared.accepting() == 0);
    stage.end_worker();
    stage.fleet.look_after(&stage.sockets, &stage.log);
    assert_eq!(stage.fleet.alive().collect::<Vec<_>>(), [true]);
    assert_eq!(stage.fleet.shared.accepting(), 0);
    stage.fleet.stop(PATIENCE);
}
