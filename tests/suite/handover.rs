//! A new process takes over, and nobody who connects notices. One that cannot costs nothing.

mod mixed;

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, cluster_of, gateway, listener};
use crate::support::origin::{Origin, origin};
use crate::support::tls::{Authority, tls_of};
use crate::support::{eventually, free_port};

/// How often the gateway is handed over under load. A release is tested with as many as the
/// promise names.
fn hand_overs() -> usize {
    let count = std::env::var("RINGGATE_TEST_HANDOVERS").ok();
    count.map_or(3, |count| count.parse().expect("a number of hand-overs"))
}

/// `/stream` begins at once and ends when the gate opens; everything else is `hello`.
fn mixed(gate: &Gate) -> Origin {
    let wait = gate.clone();
    origin()
        .on(move |request, connection| {
            if request.target() != "/stream" {
                return connection.reply("hello");
            }
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n");
            wait.pass();
            connection.send("3\r\nend\r\n0\r\n\r\n");
        })
        .start()
}

fn to(origin: &Origin) -> String {
    listener("") + "[[route]]\ncluster = \"c\"\n" + &cluster_of("c", &[origin.address], "")
}

/// A stream that has begun.
fn stream(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head().expect("a head");
    assert_eq!(client.wire().read_chunk().as_deref(), Ok(&b"begin"[..]));
    client
}

fn expect_end(client: &mut Client) {
    assert_eq!(client.wire().read_chunk().as_deref(), Ok(&b"end"[..]));
    assert_eq!(client.wire().read_chunk().as_deref(), Ok(&b""[..]));
    assert_eq!(client.wire().read_trailers(), Ok(Vec::new()));
}

/// Clients that send requests until they are stopped. Every one has to be answered.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<usize>>,
}

impl Load {
    /// Half of the clients keep their connection for as long as the gateway lets them.
    fn start(address: SocketAddr, clients: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let client = |index: usize| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || ask(address, &stop, index.is_multiple_of(2)))
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, clients }
    }

    /// How many requests there were.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().expect("no request failed")).sum()
    }
}

fn ask(address: SocketAddr, stop: &AtomicBool, keep_alive: bool) -> usize {
    let mut client = Client::connect(address);
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let reply = client.post("/", "", "body");
        assert_eq!((reply.status, reply.text()), (200, "hello"));
        answered += 1;
        if !keep_alive || !reply.keeps_alive() {
            client = Client::connect(address);
        }
    }
    answered
}

#[test]
fn hand_overs_under_load_fail_no_request_and_cut_no_stream() {
    let gate = Gate::default();
    let origin = mixed(&gate);
    let mut gateway = gateway().config(to(&origin)).start();
    let address = gateway.address();
    let load = Load::start(address, 4);

    let count = hand_overs();
    for _ in 0..count {
        let streams = [stream(&gateway), stream(&gateway)];
        let old = gateway.hand_over();
        assert_eq!(gateway.address(), address);
        assert_eq!(gateway.get("/").text(), "hello");
        streams.iter().for_each(|_| gate.open());
        for mut stream in streams {
            expect_end(&mut stream);
            stream.expect_closed();
        }
        assert!(gateway.wait_for_exit_of(old).success());
    }
    let answered = load.stop();

    println!("{answered} requests over {count} hand-overs");
    let expected = u64::try_from(count).expect("a small number");
    assert_eq!(gateway.count("ringgate_handover_total{outcome=\"completed\"}"), expected);
    assert_eq!(gateway.count("ringgate_handover_total"), expected);
    assert!(gateway.terminate().success());
    let lines = gateway.log_lines();
    assert_eq!(lines.len(), answered + 3 * count, "all processes write one access log");
    assert!(lines.iter().all(|line| line["outcome"] == "completed"), "nothing was cut");
}

#[test]
fn a_stream_that_outlasts_the_drain_is_cut_at_the_limit_and_no_sooner() {
    let gate = Gate::default();
    let origin = mixed(&gate);
    let mut gateway = gateway().server("drain_timeout = \"700ms\"").config(to(&origin)).start();
    let mut stuck = stream(&gateway);

    let began = std::time::Instant::now();
    let old = gateway.hand_over();
    assert!(gateway.wait_for_exit_of(old).success());

    assert!(began.elapsed().as_millis() >= 700);
    stuck.expect_ended();
    assert_eq!(gateway.get("/").text(), "hello");
    gate.open();
}

#[test]
fn workers_and_listeners_may_differ_from_one_process_to_the_next() {
    let gate = Gate::default();
    let origin = mixed(&gate);
    let other = |name: &str, port: u16| {
        format!("[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:{port}\"\n")
    };
    let (going, coming) = (free_port(), free_port());
    let mut gateway = gateway().workers(2).config(to(&origin) + &other("going", going)).start();
    let mut last = Client::connect(gateway.address_of("going"));
    assert_eq!(last.get("/").text(), "hello");
    let address = gateway.address();

    // Fewer workers than sockets: each socket is served all the same.
    gateway.prepare(1, &(to(&origin) + &other("coming", coming)));
    let old = gateway.hand_over();
    assert!(gateway.wait_for_exit_of(old).success());
    assert_eq!(gateway.metrics().series("ringgate_worker_info").count(), 1);
    assert_eq!(gateway.address(), address);
    for _ in 0..32 {
        assert_eq!(gateway.get("/").text(), "hello");
    }
    assert_eq!(Client::connect(gateway.address_of("coming")).get("/").text(), "hello");
    assert!(TcpStream::connect(("127.0.0.1", going)).is_err(), "nobody listens there any more");

    // More workers than sockets: the others get connections too.
    gateway.prepare(4, &to(&origin));
    gateway.hand_over();
    let mut clients: Vec<Client> = (0..16).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "hello");
    }
    assert_eq!(gateway.metrics().series("ringgate_worker_info").count(), 4);
    // Nobody has three more than another.
    assert!(gateway.count("ringgate_worker_connections_handed_over_total") >= 6);
    assert!(TcpStream::connect(("127.0.0.1", coming)).is_err(), "nobody listens there any more");
}

#[test]
fn the_admin_server_moves_with_the_hand_over() {
    let mut gateway = gateway().start();
    let mut asked_before = Client::connect(gateway.address_of("admin"));
    assert_eq!(asked_before.get("/ready").status, 200);
    let admin = gateway.address_of("admin");

    gateway.hand_over();

    assert_eq!(gateway.address_of("admin"), admin);
    asked_before.expect_closed();
    assert_eq!(gateway.admin("/ready").status, 200);
}

/// The old process goes on, says why, and can hand over once the cause is gone.
fn expect_going_on(gateway: &Gateway, outcome: &str, why: &str) {
    gateway.signal(libc::SIGUSR2);
    gateway.wait_for_count(&format!("ringgate_handover_total{{outcome=\"{outcome}\"}}"), 1);
    let said = gateway.stderr();
    assert!(said.contains("the new process does not take over"), "{said}");
    assert!(said.contains(why), "{why:?} is not in:\n{said}");
    assert_eq!(gateway.get("/").text(), "hello");
}

fn expect_taking_over(gateway: &mut Gateway, outcome: &str) {
    let old = gateway.hand_over();
    assert!(gateway.wait_for_exit_of(old).success());
    assert_eq!(gateway.get("/").text(), "hello");
    let failed = format!("ringgate_handover_total{{outcome=\"{outcome}\"}}");
    assert_eq!(gateway.count(&failed), 1, "the count crosses over");
    assert_eq!(gateway.count("ringgate_handover_total{outcome=\"completed\"}"), 1);
}

#[test]
fn a_new_process_that_refuses_its_configuration_changes_nothing() {
    let origin = origin().start();
    let mut gateway = gateway().config(to(&origin)).start();
    let load = Load::start(gateway.address(), 2);

    gateway.prepare(2, &(to(&origin) + "[nonsense]\n"));
    expect_going_on(&gateway, "refused", "it says: ");
    assert!(gateway.stderr().contains("nonsense"));

    gateway.prepare(2, &to(&origin));
    expect_taking_over(&mut gateway, "refused");
    load.stop();
}

#[test]
fn a_new_process_that_cannot_listen_changes_nothing() {
    let origin = origin().start();
    let mut gateway = gateway().config(to(&origin)).start();
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = other.local_addr().expect("a bound socket has an address");

    let second = format!("[[listener]]\nname = \"second\"\nbind = \"{taken}\"\n");
    gateway.prepare(2, &(to(&origin) + &second));
    expect_going_on(&gateway, "refused", "listener \"second\" cannot listen");

    drop(other);
    expect_taking_over(&mut gateway, "refused");
}

#[test]
fn a_new_process_that_crashes_changes_nothing() {
    let origin = origin().start();
    let mut gateway = gateway().config(to(&origin)).start();
    let load = Load::start(gateway.address(), 2);

    gateway.replace_program_by_script("kill -SEGV $$");
    expect_going_on(&gateway, "ended", "it ended before it was ready: signal: 11");

    gateway.restore_program();
    expect_taking_over(&mut gateway, "ended");
    load.stop();
}

#[test]
fn a_new_process_that_hangs_is_killed_and_changes_nothing() {
    let origin = origin().start();
    let mut gateway = gateway().server("handover_timeout = \"1s\"").config(to(&origin)).start();
    let load = Load::start(gateway.address(), 2);

    gateway.replace_program_by_script("echo $$ > $DIR/hanging; exec sleep 1000");
    expect_going_on(&gateway, "timed_out", "it was not ready after 1s");
    assert!(!is_alive(&gateway, "hanging"));

    gateway.restore_program();
    expect_taking_over(&mut gateway, "timed_out");
    load.stop();
}

#[test]
fn a_program_that_is_gone_changes_nothing() {
    let origin = origin().start();
    let mut gateway = gateway().config(to(&origin)).start();

    gateway.replace_program("/nowhere/ringgate");
    expect_going_on(&gateway, "not_started", "cannot be started");

    gateway.restore_program();
    expect_taking_over(&mut gateway, "not_started");
}

/// Whether the process that wrote its PID into this file is still there.
fn is_alive(gateway: &Gateway, file: &str) -> bool {
    let pid = eventually("the PID of the script", || {
        fs::read_to_string(gateway.path(file)).ok()?.trim().parse::<i32>().ok()
    });
    fs::exists(format!("/proc/{pid}")).expect("/proc can be looked at")
}

#[test]
fn a_second_hand_over_waits_for_nobody_and_is_refused() {
    let origin = origin().start();
    let mut gateway = gateway().config(to(&origin)).start();
    gateway.replace_program_by_script(
        "echo $$ > $DIR/waiting; until [ -e $DIR/go ]; do sleep 0.01; done; exec $RINGGATE \"$@\"",
    );

    gateway.signal(libc::SIGUSR2);
    assert!(is_alive(&gateway, "waiting"));
    gateway.signal(libc::SIGUSR2);
    eventually("a word about the second signal", || {
        gateway.stderr().contains("a hand-over is under way already").then_some(())
    });
    fs::write(gateway.path("go"), "").expect("the file is writable");

    let old = gateway.await_successor();
    assert!(gateway.wait_for_exit_of(old).success());
    assert_eq!(gateway.count("ringgate_handover_total"), 1);
}

#[test]
fn a_reload_during_a_hand_over_that_fails_is_made_up_for() {
    let (one, two) = (origin().reply("one").start(), origin().reply("two").start());
    let gateway = gateway().config(to(&one)).start();
    gateway.replace_program_by_script(
        "echo $$ > $DIR/waiting; until [ -e $DIR/go ]; do sleep 0.01; done; exit 3",
    );
    gateway.signal(libc::SIGUSR2);
    assert!(is_alive(&gateway, "waiting"));

    gateway.prepare(2, &to(&two));
    gateway.signal(libc::SIGHUP);
    eventually("a word about the reload", || {
        gateway.stderr().contains("a new process is reading the file").then_some(())
    });
    assert_eq!(gateway.get("/").text(), "one");
    fs::write(gateway.path("go"), "").expect("the file is writable");

    gateway.wait_for_count("ringgate_config_generation", 2);
    assert_eq!(gateway.get("/").text(), "two");
}

#[test]
fn term_calls_a_hand_over_off() {
    let mut gateway = gateway().start();
    gateway.replace_program_by_script("echo $$ > $DIR/hanging; exec sleep 1000");
    gateway.signal(libc::SIGUSR2);
    assert!(is_alive(&gateway, "hanging"));

    assert!(gateway.terminate().success());

    assert!(!is_alive(&gateway, "hanging"));
    assert!(gateway.stderr().contains("it was called off"));
}

#[test]
fn who_waits_in_a_queue_is_served_by_the_next_process() {
    let origin = origin().start();
    let mut gateway = gateway().config(to(&origin)).start();
    gateway.replace_program_by_script(
        "echo $$ > $DIR/waiting; until [ -e $DIR/go ]; do sleep 0.01; done; exec $RINGGATE \"$@\"",
    );
    gateway.signal(libc::SIGUSR2);
    assert!(is_alive(&gateway, "waiting"));
    // Connected, and with a request that nobody has read: whichever process accepts has to answer.
    let mut waiting: Vec<Client> = (0..32).map(|_| gateway.client()).collect();
    fs::write(gateway.path("go"), "").expect("the file is writable");
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    gateway.await_successor();
    for client in &mut waiting {
        assert_eq!(client.read().text(), "hello");
        let mut rest = Vec::new();
        client.wire().stream().read_to_end(&mut rest).expect("closed, not reset");
        assert!(rest.is_empty());
    }
}

#[test]
fn a_tls_session_is_resumed_with_the_next_process() {
    let authority = Authority::new();
    let origin = origin().start();
    let mut gateway = gateway()
        .listener(&tls_of(&[&authority.issue("a", &["a.example"])]))
        .route("/", &origin)
        .start();
    let client = authority.client();
    let mut first = client.connect(gateway.address(), "a.example");
    assert_eq!(first.get("/").text(), "hello");
    assert!(!first.is_resumed());

    gateway.hand_over();

    let mut second = client.connect(gateway.address(), "a.example");
    assert_eq!(second.get("/").text(), "hello");
    assert!(second.is_resumed());
}
