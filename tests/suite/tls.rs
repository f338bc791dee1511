//! Clients that come over TLS: which certificate they see, whom we let in, what they may send.

use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rcgen::DnType;
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};

use crate::support::MIB;
use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, GatewayBuilder, Reload, cluster_of, gateway, listener};
use crate::support::origin::{Origin, origin};
use crate::support::tls::{Authority, Issued, TlsClient, is_alert, tls_of};
use crate::support::wire::Broken;

const NAME: &str = "a.example";

/// A gateway that shows one certificate.
fn private(authority: &Authority) -> GatewayBuilder {
    gateway().listener(&tls_of(&[&authority.issue("a", &[NAME])]))
}

#[track_caller]
fn failures(gateway: &Gateway, reason: &str, count: u64) {
    let series = format!("ringgate_tls_handshake_failures_total{{reason=\"{reason}\"}}");
    gateway.wait_for_count(&series, count);
}

#[test]
fn an_exchange_over_tls_is_an_exchange_like_any_other() {
    let authority = Authority::new();
    let origin = origin().reply("hello").start();
    let gateway = private(&authority).route("/", &origin).start();
    let mut client = authority.client().connect(gateway.address(), NAME);

    assert_eq!(client.get("/one").text(), "hello");
    assert_eq!(client.get("/two").text(), "hello");

    let seen = &origin.requests()[1];
    assert_eq!((seen.target(), seen.get("x-forwarded-proto")), ("/two", Some("https")));
    let done = "ringgate_tls_handshakes_total{listener=\"public\",version=\"1.3\"}";
    assert_eq!(gateway.count(done), 1);
}

#[test]
fn curl_gets_its_answer() {
    let authority = Authority::new();
    let origin = origin().reply("hello").start();
    let gateway = private(&authority).route("/", &origin).start();
    let port = gateway.address().port();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--cacert"]).arg(authority.file());
    curl.arg("--resolve").arg(format!("{NAME}:{port}:127.0.0.1"));
    let output = curl.arg(format!("https://{NAME}:{port}/")).output().expect("curl is installed");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello");
}

#[test]
fn the_certificate_is_the_one_for_the_name_that_is_asked_for() {
    let authority = Authority::new();
    let first = authority.issue("first", &["first.example"]);
    let exact = authority.issue("exact", &["b.wild.example"]);
    let wild = authority.issue("wild", &["*.wild.example"]);
    let gateway = gateway().listener(&tls_of(&[&first, &wild, &exact])).start();
    let shown = |name: &str| {
        let client = authority.client().try_connect(gateway.address(), name);
        client.map(|mut client| client.certificate())
    };

    assert_eq!(shown("first.example").unwrap(), first.der);
    assert_eq!(shown("a.wild.example").unwrap(), wild.der);
    assert_eq!(shown("B.wild.example").unwrap(), exact.der);
    // Whoever asks for another name gets the first, and sees that it is not the right one.
    for name in ["wild.example", "a.b.wild.example", "other.example"] {
        assert!(shown(name).is_err(), "{name}");
    }
    failures(&gateway, "certificate_refused", 3);
}

#[test]
fn a_session_is_resumed_by_any_worker_and_after_a_reload() {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new();
        let config = listener(&tls_of(&[&authority.issue("a", &[NAME])]))
            + "[[route]]\nrespond = { status = 200, body = \"hello\" }\n";
        let gateway = gateway().config(&config).workers(2).start();
        let client = authority.client_of_version(version);
        let mut first = client.connect(gateway.address(), NAME);
        assert_eq!(first.get("/").text(), "hello");
        assert!(!first.is_resumed());

        // Kept open, so that both workers get some.
        let mut others = Vec::new();
        for number in 0..8 {
            if number == 4 {
                assert_eq!(gateway.reload(&config), Reload::InForce);
            }
            let mut other = client.connect(gateway.address(), NAME);
            assert_eq!(other.get("/").text(), "hello");
            assert!(other.is_resumed(), "connection {number} of {version:?}");
            others.push(other);
        }

        assert_eq!(gateway.count("ringgate_tls_handshakes_total{resumed=\"true\"}"), 8);
        for worker in ["0", "1"] {
            let requests = format!("ringgate_worker_requests_total{{worker=\"{worker}\"}}");
            assert!(gateway.count(&requests) > 0, "worker {worker} has served some");
        }
    }
}

fn only_known(authority: &Authority) -> GatewayBuilder {
    private(authority).listener(&format!("client_ca = {:?}", authority.file()))
}

#[test]
fn a_client_with_a_certificate_is_made_known_to_the_endpoint() {
    let authority = Authority::new();
    let subject = [(DnType::OrganizationName, "Example, Inc."), (DnType::CommonName, "service-a")];
    let service = authority.issue_to("service", &subject);
    let origin = origin().start();
    let gateway = only_known(&authority).route("/", &origin).start();
    let client = authority.client_known_by(&service);

    for resumed in [false, true] {
        let mut client = client.connect(gateway.address(), NAME);
        let lie = "x-client-cert-subject: CN=root\r\nX_Client_Cert_Fingerprint: 00\r\n";
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lie}\r\n"));
        assert_eq!(client.read().status, 200);
        assert_eq!(client.is_resumed(), resumed);
    }

    for seen in origin.requests() {
        let said = seen.head.get("x-client-cert-subject");
        assert_eq!(said, Some(r"CN=service-a,O=Example\, Inc."));
        let fingerprint = seen.get("x-client-cert-fingerprint").expect("a fingerprint");
        assert_eq!(fingerprint.len(), 64);
        assert!(!seen.head.has("x_client_cert_fingerprint"));
    }
}

#[test]
fn nobody_says_who_they_are_where_nobody_looks() {
    let authority = Authority::new();
    let origin = origin().start();
    let plain = listener("trusted_proxies = [\"127.0.0.0/8\"]");
    let private = listener(&tls_of(&[&authority.issue("a", &[NAME])])).replace("public", "private");
    let rest = "[[route]]\ncluster = \"c\"\n".to_owned() + &cluster_of("c", &[origin.address], "");
    let gateway = gateway().config(plain + &private + &rest).start();
    let clients =
        [gateway.client(), authority.client().connect(gateway.address_of("private"), NAME)];

    for mut client in clients {
        let lie = "X-Client-Cert-Subject: CN=root\r\nx-client_cert-subject: CN=root\r\n";
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lie}\r\n"));
        assert_eq!(client.read().status, 200);
    }

    for seen in origin.requests() {
        assert!(!String::from_utf8_lossy(&seen.head.raw).contains("CN=root"), "{:?}", seen.head);
    }
}

/// In TLS 1.3 a client learns only after its handshake that its certificate is refused.
#[track_caller]
fn refused(client: &TlsClient, gateway: &Gateway) {
    if let Ok(mut client) = client.try_connect(gateway.address(), NAME) {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.try_read().is_err(), "nobody answers");
    }
}

#[test]
fn a_client_without_a_good_certificate_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let origin = origin().start();
    let gateway = only_known(&authority).route("/", &origin).start();

    refused(&authority.client(), &gateway);
    refused(&authority.client_of_version(&TLS12), &gateway);
    failures(&gateway, "no_client_certificate", 2);

    let strange = stranger.issue_to("strange", &[(DnType::CommonName, "a")]);
    refused(&authority.client_known_by(&strange), &gateway);
    let expired = authority.issue_expired("expired", &[]);
    refused(&authority.client_known_by(&expired), &gateway);
    failures(&gateway, "certificate", 2);
    assert_eq!(origin.requests_seen(), 0);
}

#[test]
fn a_session_begun_without_a_certificate_is_not_resumed_where_one_is_demanded() {
    let authority = Authority::new();
    let tls = tls_of(&[&authority.issue("a", &[NAME])]);
    let open = listener(&tls);
    let closed = listener(&format!("{tls}\nclient_ca = {:?}", authority.file()));
    let closed = closed.replace("public", "closed");
    let answer = "[[route]]\nrespond = { status = 200, body = \"hello\" }\n";
    let gateway = gateway().config(open + &closed + answer).start();
    for version in [&TLS12, &TLS13] {
        let client = authority.client_of_version(version);
        assert_eq!(client.connect(gateway.address(), NAME).get("/").text(), "hello");

        if let Ok(mut client) = client.try_connect(gateway.address_of("closed"), NAME) {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(client.try_read().is_err(), "{version:?}");
        }
    }
    failures(&gateway, "no_client_certificate", 2);
}

#[test]
fn an_older_version_than_the_least_is_refused() {
    let authority = Authority::new();
    let gateway = private(&authority).listener("tls_min_version = \"1.3\"").start();

    let refused = authority.client_of_version(&TLS12).try_connect(gateway.address(), NAME);
    let error = refused.err().expect("no connection");
    assert!(is_alert(&error, AlertDescription::ProtocolVersion), "{error}");

    failures(&gateway, "version", 1);
    authority.client_of_version(&TLS13).connect(gateway.address(), NAME);
}

/// The gateway says at most what is wrong (an alert, RFC 8446, 6), and closes.
#[track_caller]
fn expect_alert_and_end(client: &mut Client) {
    let (said, end) = client.wire().read_to_end();
    assert!(said.is_empty() || (said[0], said.len()) == (21, 7), "{said:?}");
    assert_ne!(end, Broken::TimedOut);
}

#[test]
fn plain_http_and_other_bytes_are_closed_and_counted() {
    let authority = Authority::new();
    let gateway = private(&authority).start();

    expect_alert_and_end(gateway.client().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    failures(&gateway, "plain_http", 1);
    for bytes in [&[0; 64][..], &[0xff; 64], b"ssh-2.0-x\r\n"] {
        expect_alert_and_end(gateway.client().send(bytes));
    }
    failures(&gateway, "not_tls", 3);
    authority.client().connect(gateway.address(), NAME);
}

#[test]
fn a_slow_handshake_is_cut_at_its_deadline() {
    let authority = Authority::new();
    let timeouts = "timeouts = { tls_handshake = \"100ms\", request_head = \"20s\" }";
    let gateway = private(&authority).listener(timeouts).start();
    let mut silent = gateway.client();
    let mut halfway = gateway.client();
    let mut hello = Vec::new();
    authority.client().begin(NAME).write_tls(&mut hello).expect("memory");
    halfway.send(&hello[..hello.len() / 2]);

    silent.expect_ended();
    halfway.expect_ended();

    failures(&gateway, "timeout", 2);
}

#[test]
fn a_handshake_may_come_in_any_pieces_and_end_anywhere() {
    let authority = Authority::new();
    let gateway = private(&authority).start();
    let mut hello = Vec::new();
    authority.client().begin(NAME).write_tls(&mut hello).expect("memory");

    for end in (1..hello.len()).step_by(7) {
        gateway.client().send(&hello[..end]).finish_sending().expect_ended();
    }
    failures(&gateway, "closed", ((hello.len() - 2) / 7 + 1) as u64);

    let mut client = gateway.client();
    for byte in &hello {
        client.send([*byte]);
    }
    let answer = client.wire().read_exactly(5).expect("a record");
    assert_eq!(answer[..3], [22, 3, 3], "the ServerHello is a handshake record");
}

#[test]
fn garbage_behind_a_handshake_ends_the_connection_and_nothing_else() {
    let authority = Authority::new();
    let origin = origin().start();
    let gateway = private(&authority).route("/", &origin).start();
    let garbage: [&[u8]; 5] = [
        &[0; 100],
        &[0xff; 100],
        // A record of the right shape that nobody encrypted.
        &[
            23, 3, 3, 0, 32, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3,
            4, 5, 6, 7, 8, 9, 0, 1, 2,
        ],
        // A record longer than any may be.
        &[23, 3, 3, 0xff, 0xff, 1, 2, 3],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for bytes in garbage {
        let mut client = authority.client().connect(gateway.address(), NAME);
        assert_eq!(client.get("/").text(), "hello");
        let mut stream = client.wire().stream();
        stream.write_all(bytes).expect("the connection is open");
        assert!(client.try_read().is_err());
    }
    assert_eq!(origin.requests_seen(), 5);
    authority.client().connect(gateway.address(), NAME);
}

/// Bytes that show where something is missing or twice.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8 ^ (index >> 12) as u8).collect()
}

#[test]
fn a_large_body_arrives_whole_however_its_records_are_cut() {
    let authority = Authority::new();
    let origin = origin()
        .on(|request, connection| {
            let length = request.body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            connection.send([head.as_bytes(), &request.body].concat());
        })
        .start();
    let gateway = private(&authority).route("/", &origin).start();
    let body = pattern(1 << 20);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    for version in [&TLS12, &TLS13] {
        for piece in [1 << 21, 40_009, 16_411, 16_384, 4_099, 997] {
            let mut client = authority.client_of_version(version).connect(gateway.address(), NAME);
            let records = client.wire().tls().encrypt(&[head.as_bytes(), &body].concat());
            let mut stream = client.wire().stream().try_clone().expect("a descriptor is free");
            let sending = thread::spawn(move || {
                for piece in records.chunks(piece) {
                    stream.write_all(piece).expect("the gateway reads on");
                }
            });
            let reply = client.read();
            assert!(reply.body == body, "in pieces of {piece}: the body is another");
            sending.join().expect("all is sent");
        }
    }
}

#[test]
fn a_certificate_may_be_longer_than_a_record() {
    let authority = Authority::new();
    let names: Vec<String> = (0..1300).map(|n| format!("service-{n:04}.long.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let long = authority.issue("long", &names);
    assert!(long.der.len() > 2 * 16 * 1024);
    let origin = origin().start();
    let lines = format!("{}\nclient_ca = {:?}", tls_of(&[&long]), authority.file());
    let gateway = gateway().listener(&lines).route("/", &origin).start();
    let client = authority.client_known_by(&long);
    for _ in 0..2 {
        let mut client = client.connect(gateway.address(), names[7]);
        assert_eq!(client.get("/").text(), "hello");
    }
}

#[test]
fn a_client_that_reads_slowly_makes_nothing_pile_up() {
    const LENGTH: usize = 64 << 20;
    let authority = Authority::new();
    let origin = origin()
        .on(|_, connection| {
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
            let piece = pattern(1 << 20);
            (0..LENGTH >> 20).for_each(|_| connection.send(&piece));
        })
        .start();
    let gateway = private(&authority).route("/", &origin).start();
    let mut client = authority.client().connect(gateway.address(), NAME);
    let before = gateway.rss();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head().expect("a head");
    let mut most = 0;
    let piece = pattern(1 << 20);
    for _ in 0..LENGTH >> 20 {
        assert!(client.wire().read_exactly(1 << 20).expect("the body goes on") == piece);
        most = most.max(gateway.rss());
    }
    assert!(most < before + 8 * MIB, "{} KiB more", (most - before) >> 10);
}

#[test]
fn each_event_of_a_stream_leaves_at_once() {
    let authority = Authority::new();
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |_, connection| {
            connection.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
            );
            for number in 0..50 {
                connection.send(format!("9\r\ndata: {number:02}\n\r\n"));
                wait.pass();
            }
            connection.send("0\r\n\r\n");
        })
        .start();
    let gateway = private(&authority).route("/", &origin).start();
    let mut client = authority.client().connect(gateway.address(), NAME);

    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head().expect("a head");
    for number in 0..50 {
        let event = client.wire().read_chunk().expect("an event");
        assert_eq!(event, format!("data: {number:02}\n").into_bytes());
        gate.open();
    }
    assert_eq!(client.wire().read_chunk(), Ok(vec![]));
}

#[test]
fn a_body_that_ends_with_the_connection_ends_with_close_notify_and_only_when_it_is_whole() {
    let authority = Authority::new();
    let cut = origin()
        .on(|_, connection| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            connection.send(format!("{head}5\r\nhello\r\n"));
            connection.close();
        })
        .start();
    let whole = origin()
        .reply_raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .start();
    let gateway = private(&authority).route("/cut", &cut).route("/", &whole).start();
    let read_to_end = |target: &str| {
        let mut client = authority.client().connect(gateway.address(), NAME);
        client.send(format!("GET {target} HTTP/1.0\r\nHost: a\r\n\r\n"));
        client.read_head().expect("a head");
        client.wire().read_to_end()
    };

    // `Cut` means: closed in order, behind bytes. Without close_notify it would be an error.
    assert_eq!(read_to_end("/"), (b"hello".to_vec(), Broken::Cut));
    let (_, end) = read_to_end("/cut");
    assert_eq!(end, Broken::Reset);
}

fn fixed(tls: &Issued) -> String {
    listener(&tls_of(&[tls])) + "[[route]]\nrespond = { status = 200, body = \"hello\" }\n"
}

#[test]
fn certificates_are_replaced_under_handshakes_and_none_fails() {
    let reloads = std::env::var("RINGGATE_TEST_CERTIFICATE_RELOADS");
    let reloads = reloads.map_or(6, |count| count.parse().expect("a number"));
    let authority = Authority::new();
    let mut newest = authority.issue("a", &[NAME]);
    let config = fixed(&newest);
    let gateway = gateway().config(&config).start();
    let address = gateway.address();
    let mut old = authority.client().connect(address, NAME);
    let over = AtomicBool::new(false);

    thread::scope(|scope| {
        let shake_hands = || {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                let mut client = authority.client().connect(address, NAME);
                assert_eq!(client.get("/").text(), "hello");
                count += 1;
            }
            count
        };
        let shaking = [scope.spawn(shake_hands), scope.spawn(shake_hands)];
        for _ in 0..reloads {
            newest = authority.issue("a", &[NAME]);
            assert_eq!(gateway.reload(&config), Reload::InForce);
            let shown = authority.client().connect(gateway.address(), NAME).certificate();
            assert_eq!(shown, newest.der);
        }
        over.store(true, Ordering::Relaxed);
        let counts = shaking.map(|thread| thread.join().expect("no handshake fails"));
        println!("{reloads} reloads under {} handshakes", counts.iter().sum::<u64>());
    });

    assert_eq!(old.get("/").text(), "hello");
    assert_eq!(gateway.count("ringgate_tls_handshake_failures_total"), 0);
}

#[test]
fn a_pair_that_does_not_fit_changes_nothing_and_is_named() {
    let authority = Authority::new();
    let good = authority.issue("a", &[NAME]);
    let config = fixed(&good);
    let gateway = gateway().config(&config).start();
    let other = authority.issue("other", &[NAME]);

    std::fs::copy(&other.key, &good.key).expect("the file is writable");
    assert_eq!(gateway.reload(&config), Reload::Refused);
    std::fs::write(&good.cert, "nothing\n").expect("the file is writable");
    assert_eq!(gateway.reload(&config), Reload::Refused);
    std::fs::remove_file(&good.cert).expect("the file is there");
    assert_eq!(gateway.reload(&config), Reload::Refused);

    let mut client = authority.client().connect(gateway.address(), NAME);
    assert_eq!((client.get("/").text(), client.certificate()), ("hello", good.der));
    let said = gateway.stderr();
    for reason in ["does not belong to the certificate in", "no certificate in", "Cannot read"] {
        assert!(said.contains(reason), "{reason:?} in:\n{said}");
    }
}

/// A file of `config/examples`, with its files in the authority's directory, its endpoint
/// replaced by an origin and its port chosen by the kernel.
fn example(name: &str, authority: &Authority, addresses: [&str; 2], origin: &Origin) -> String {
    let path = format!("{}/config/examples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the example is part of the repository");
    let directory = authority.file().parent().expect("it is in a directory").to_owned();
    let [bind, endpoint] = addresses;
    assert!(text.contains(bind) && text.contains(endpoint), "{text}");
    text.replace("/etc/ringgate/tls", &directory.to_string_lossy())
        .replace(bind, "127.0.0.1:0")
        .replace(endpoint, &origin.address.to_string())
}

#[test]
fn the_example_of_tls_works() {
    let authority = Authority::new();
    let com = authority.issue("example.com", &["example.com"]);
    let org = authority.issue("example.org", &["example.org"]);
    std::fs::copy(authority.file(), authority.file().with_file_name("internal-ca.pem")).unwrap();
    let web = authority.server(&authority.issue("web", &["web.internal"]));
    let origin = origin().private(web).start();
    let addresses = ["0.0.0.0:443", "10.0.1.10:8443"];
    let gateway = gateway().config(example("tls", &authority, addresses, &origin)).start();

    for (name, issued) in [("example.com", com), ("example.org", org)] {
        let mut client = authority.client().connect(gateway.address(), name);
        assert_eq!((client.get("/").text(), client.certificate()), ("hello", issued.der));
    }
}

#[test]
fn the_example_of_mutual_tls_works() {
    let authority = Authority::new();
    authority.issue("gateway", &["gateway.example"]);
    for copy in ["internal-ca.pem", "clients-ca.pem"] {
        std::fs::copy(authority.file(), authority.file().with_file_name(copy)).unwrap();
    }
    let orders = authority.issue("orders", &["orders.internal"]);
    let origin = origin().private(authority.server_for_known_clients(&orders)).start();
    let addresses = ["0.0.0.0:8443", "10.0.1.20:8443"];
    let config = example("mtls", &authority, addresses, &origin);
    let gateway = gateway().config(config).start();
    let service = authority.issue_to("service", &[(DnType::CommonName, "service-a")]);

    let client = authority.client_known_by(&service);
    let mut client = client.connect(gateway.address_of("services"), "gateway.example");

    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(origin.request().get("x-client-cert-subject"), Some("CN=service-a"));
}

#[test]
fn the_end_of_each_certificate_is_on_the_metrics_page() {
    let authority = Authority::new();
    let expired = authority.issue_expired("expired", &[NAME]);
    let gateway = gateway().listener(&tls_of(&[&expired])).start();

    let series = format!("ringgate_certificate_expiry_seconds{{file={:?}}}", expired.cert);
    assert_eq!(gateway.count(&series), 978_307_200, "2001-01-01");
    assert!(gateway.stderr().contains("This certificate has expired"));
}

#[test]
fn check_says_when_certificates_expire() {
    let authority = Authority::new();
    let (soon, late) = (authority.issue_for_days("soon", 9), authority.issue_for_days("late", 99));
    let file = authority.file().with_file_name("ringgate.toml");
    let rest = "[[route]]\nrespond = { status = 200 }\n";
    std::fs::write(&file, listener(&tls_of(&[&soon, &late])) + rest).expect("it is writable");
    let check = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringgate"));
        let output = command.args(["check", "-c"]).arg(&file).args(arguments).output();
        let output = output.expect("the program starts");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("it is UTF-8")
    };

    let said = check(&[]);
    assert!(said.contains("This certificate expires in 9 days."), "{said}");
    assert!(said.contains("late.pem: expires in 99 days\n"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&check(&["--json"])).expect("JSON");
    assert_eq!(json["certificates"][0]["days_left"], 99);
    assert_eq!(json["certificates"][1]["days_left"], 9);
}

#[test]
fn a_session_outlives_the_process_that_it_began_with() {
    let authority = Authority::new();
    let config = fixed(&authority.issue("a", &[NAME]));
    let mut gateway = gateway().config(&config).start();
    let client = authority.client();
    assert_eq!(client.connect(gateway.address(), NAME).get("/").text(), "hello");

    let old = gateway.hand_over();
    assert!(gateway.wait_for_exit_of(old).success());

    let mut client = client.connect(gateway.address(), NAME);
    assert_eq!(client.get("/").text(), "hello");
    assert!(client.is_resumed());
}
