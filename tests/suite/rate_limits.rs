//! Limits on requests admit what they say and never more, tell clients when to come back, and
//! outlive reloads.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{Client, Reply};
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, gateway, listener};
use crate::support::http2::client::Http2Client;
use crate::support::origin::{Origin, origin};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A route with a limit, in front of an origin.
fn limited(origin: &Origin, limit: &str) -> Gateway {
    gateway().route_with("/", &[origin.address], &format!("limit = {limit}"), "").start()
}

/// A client with an address of its own, 127.0.3.`last`.
fn from(last: u8, gateway: &Gateway) -> Client {
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 3, last), 0));
    Client::connect_from(source, gateway.address())
}

fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.get("/").status).collect()
}

fn send_all(clients: &mut [Client]) {
    for client in clients {
        client.send(GET);
    }
}

fn number(reply: &Reply, field: &str) -> u64 {
    let value = reply.get(field).unwrap_or_else(|| panic!("{field} is there"));
    value.parse().unwrap_or_else(|_| panic!("{field}: {value} is a number"))
}

#[test]
fn beyond_its_burst_a_route_answers_429_and_says_when_to_come_back() {
    let origin = origin().reply("hello").start();
    let gateway = limited(&origin, "{ rate = \"3/m\", burst = 2 }");
    let mut client = gateway.client();
    assert_eq!(statuses(&mut client, 2), [200, 200]);

    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: over\r\n\r\n");
    let reply = client.read();

    assert_eq!(reply.status, 429);
    assert!(reply.keeps_alive());
    assert!((1..=20).contains(&number(&reply, "retry-after")), "{reply:?}");
    assert_eq!(number(&reply, "ratelimit-limit"), 2);
    assert_eq!(number(&reply, "ratelimit-remaining"), 0);
    assert!((21..=40).contains(&number(&reply, "ratelimit-reset")), "{reply:?}");
    assert!(reply.get("x-ratelimit-limit-requests").is_none());
    assert_eq!(origin.requests_seen(), 2);
    let line = gateway.log_line("over");
    assert_eq!((&line["outcome"], &line["reason"]), (&"refused".into(), &"limit_route".into()));
    let labels = "{scope=\"route\",name=\"/\",algorithm=\"token_bucket\"}";
    assert_eq!(gateway.count(&format!("ringgate_limit_rejected_total{labels}")), 1);
    assert_eq!(gateway.count("jairouter_ratelimit_requests_total"), 3);
    assert_eq!(gateway.count("jairouter_ratelimit_rejected_total"), 1);
    assert_eq!(gateway.count("jairouter_rate_limit_events_total{result=\"allowed\"}"), 2);
}

#[test]
fn every_scope_has_its_limit_and_the_answer_says_which() {
    let origin = origin().reply("hello").start();
    let address = origin.address;
    let once = "{ rate = \"1/h\" }";
    let many = "{ rate = \"100/h\" }";
    for scope in ["total", "listener", "route", "client_ip", "cluster", "endpoint"] {
        let limit = |of: &str| if of == scope { once } else { many };
        let config = format!(
            "{}[[route]]\ncluster = \"c\"\nlimit = {}\n[limits]\ntotal = {}\nclient_ip = {}\n\
             [cluster.c]\nlimit = {}\n[[cluster.c.endpoint]]\naddress = \"{address}\"\nlimit = {}\n",
            listener(&format!("limit = {}", limit("listener"))),
            limit("route"),
            limit("total"),
            limit("client_ip"),
            limit("cluster"),
            limit("endpoint"),
        );
        let gateway = gateway().config(config).start();
        assert_eq!(gateway.get("/").status, 200, "{scope}");

        let reply = gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: over\r\n\r\n");

        assert_eq!(reply.status, 429, "{scope}");
        assert_eq!(gateway.log_line("over")["reason"], format!("limit_{scope}"));
        let rejected = format!("ringgate_limit_rejected_total{{scope=\"{scope}\"}}");
        assert_eq!(gateway.count(&rejected), 1, "{scope}");
    }
}

#[test]
fn who_is_rejected_uses_nothing_of_the_other_limits() {
    let origin = origin().reply("hello").start();
    let limits = "[{ rate = \"10/h\" }, { rate = \"2/h\", per = \"client_ip\" }]";
    let cluster = "limit = { rate = \"5/h\" }";
    let route = format!("limit = {limits}");
    let gateway = gateway().route_with("/", &[origin.address], &route, cluster).start();

    // Two from each of two clients, however often they ask.
    for last in [1, 2] {
        let mut client = from(last, &gateway);
        assert_eq!(statuses(&mut client, 4), [200, 200, 429, 429]);
    }
    // The cluster's limit rejects, and gives back what route and client had paid.
    let mut third = from(3, &gateway);
    assert_eq!(statuses(&mut third, 5), [200, 429, 429, 429, 429]);
    assert_eq!(gateway.count("ringgate_limit_rejected_total{scope=\"cluster\"}"), 4);
    let of_route = "ringgate_limit_rejected_total{scope=\"route\"}";
    assert_eq!(gateway.count(of_route), 4, "only the clients' own");
}

#[test]
fn clients_have_limits_of_their_own() {
    let origin = origin().reply("hello").start();
    let config = format!(
        "{}[[route]]\ncluster = \"c\"\n[limits]\nclient_ip = {{ rate = \"2/h\", max_clients = 64 }}\n\
         [cluster.c]\n[[cluster.c.endpoint]]\naddress = \"{}\"\n",
        listener("trusted_proxies = [\"127.0.0.1\"]"),
        origin.address
    );
    let gateway = gateway().config(config).start();
    for last in [1, 2, 3] {
        assert_eq!(statuses(&mut from(last, &gateway), 3), [200, 200, 429]);
    }
    assert_eq!(gateway.count("ringgate_limit_clients{scope=\"client_ip\"}"), 3);
    assert_eq!(gateway.count("ringgate_limit_clients_max{scope=\"client_ip\"}"), 64);

    // A whole network of IPv6 is one client, as a trusted proxy names it.
    let mut proxy = gateway.client();
    let mut asks = |address: &str| {
        proxy.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n"));
        proxy.read().status
    };
    let same = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"].map(&mut asks);
    assert_eq!(same, [200, 200, 429]);
    assert_eq!(asks("2001:db8:0:1::1"), 200);
}

#[test]
fn addresses_beyond_the_table_share_one_limit_and_are_counted() {
    let origin = origin().reply("hello").start();
    let config = format!(
        "{}[[route]]\ncluster = \"c\"\n[limits]\nclient_ip = {{ rate = \"5/h\", max_clients = 64 }}\n\
         [cluster.c]\n[[cluster.c.endpoint]]\naddress = \"{}\"\n",
        listener("trusted_proxies = [\"127.0.0.1\"]"),
        origin.address
    );
    let gateway = gateway().config(config).start();
    let mut proxy = gateway.client();
    let mut ask = |n: u32| {
        let address = Ipv4Addr::from_bits(0x0A00_0000 + n);
        proxy.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n"));
        proxy.read().status
    };

    let admitted = (0..200).filter(|n| ask(*n) == 200).count();

    assert_eq!(admitted, 64 + 5);
    assert_eq!(ask(0), 200, "who is known keeps what it has");
    assert_eq!(gateway.count("ringgate_limit_overflow_total"), 200 - 64);
    assert_eq!(gateway.count("ringgate_limit_clients"), 64);
}

/// How many requests an origin works on, and the most there ever were.
#[derive(Default)]
struct InFlight {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// An origin that answers each request when its gate is opened once more.
fn gated() -> (Origin, Gate, Arc<InFlight>) {
    let (gate, in_flight) = (Gate::default(), Arc::<InFlight>::default());
    let origin = {
        let (gate, in_flight) = (gate.clone(), Arc::clone(&in_flight));
        origin().on(move |request, connection| {
            let now = in_flight.now.fetch_add(1, Ordering::SeqCst) + 1;
            in_flight.most.fetch_max(now, Ordering::SeqCst);
            let passed = gate.try_pass();
            in_flight.now.fetch_sub(1, Ordering::SeqCst);
            if passed {
                connection.reply(request.target());
            }
        })
    };
    (origin.start(), gate, in_flight)
}

#[test]
fn a_limit_on_concurrency_is_exact_over_all_workers_and_answers_503() {
    let (origin, gate, in_flight) = gated();
    let gateway = limited(&origin, "{ concurrency = 3 }");
    let mut busy: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    send_all(&mut busy);
    origin.wait_for_requests(3);

    for _ in 0..4 {
        let reply = gateway.get("/");
        assert_eq!((reply.status, reply.get("retry-after")), (503, Some("1")));
    }
    (0..3).for_each(|_| gate.open());
    assert!(busy.iter_mut().all(|client| client.read().status == 200));

    // Each permit came back, also that of a client that left.
    let mut leaving = gateway.client();
    leaving.send(GET);
    origin.wait_for_requests(4);
    drop(leaving);
    gate.open();
    gateway.wait_for_count("ringgate_endpoint_in_flight", 0);
    let mut again: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    send_all(&mut again);
    (0..3).for_each(|_| gate.open());
    assert!(again.iter_mut().all(|client| client.read().status == 200));
    assert_eq!(in_flight.most.load(Ordering::SeqCst), 3);
}

#[test]
fn one_clients_concurrency_is_its_own_affair_and_answers_429() {
    let (origin, gate, _) = gated();
    let gateway = limited(&origin, "{ concurrency = 1, per = \"client_ip\" }");
    let (mut one, mut other) = (from(1, &gateway), from(2, &gateway));
    one.send(GET);
    origin.wait_for_requests(1);

    assert_eq!(from(1, &gateway).get("/").status, 429);
    other.send(GET);
    origin.wait_for_requests(2);
    gate.open();
    gate.open();
    assert_eq!((one.read().status, other.read().status), (200, 200));
}

/// A gateway with models a and b, and lines for the first.
fn with_models(origin: &Origin, lines: &str, rest: &str) -> Gateway {
    let url = format!("http://{}/v1", origin.address);
    let endpoint = |model: &str| {
        format!("[[model.{model}.endpoint]]\nprovider = \"openai\"\nurl = \"{url}\"\n")
    };
    gateway()
        .config(format!(
            "{}[[route]]\nai = true\n[model.a]\n{lines}\n{}[model.b]\n{}{rest}\n",
            listener(""),
            endpoint("a"),
            endpoint("b"),
        ))
        .start()
}

fn chat(gateway: &Gateway, model: &str) -> Reply {
    let body = format!("{{\"model\":\"{model}\",\"messages\":[]}}");
    gateway.client().post("/v1/chat/completions", "", body)
}

fn embed(gateway: &Gateway, model: &str) -> Reply {
    gateway.client().post("/v1/embeddings", "", format!("{{\"model\":\"{model}\",\"input\":\"\"}}"))
}

#[test]
fn a_model_has_its_limit_and_ai_clients_hear_of_it_in_their_dialect() {
    let origin = origin().reply("{}").start();
    let gateway = with_models(&origin, "limit = { rate = \"1/m\" }", "");
    assert_eq!(chat(&gateway, "a").status, 200);

    let reply = chat(&gateway, "a");

    assert_eq!(reply.status, 429);
    let error = &reply.json()["error"];
    assert_eq!(
        (&error["type"], &error["code"]),
        (&"rate_limit_error".into(), &"rate_limit_exceeded".into())
    );
    assert_eq!(reply.get("x-ratelimit-limit-requests"), Some("1"));
    assert_eq!(reply.get("x-ratelimit-remaining-requests"), Some("0"));
    assert!(reply.get("x-ratelimit-reset-requests").is_some_and(|reset| reset.ends_with('s')));
    assert_eq!(chat(&gateway, "b").status, 200);
    let messages = "anthropic-version: 2023-06-01\r\n";
    let body = "{\"model\":\"a\",\"messages\":[]}";
    assert_eq!(gateway.client().post("/v1/messages", messages, body).status, 404, "not served");
}

#[test]
fn a_service_has_a_limit_over_all_models() {
    let origin = origin().reply("{}").start();
    let gateway = with_models(&origin, "", "[service.chat]\nlimit = { rate = \"2/h\" }");
    assert_eq!((chat(&gateway, "a").status, chat(&gateway, "b").status), (200, 200));
    assert_eq!(chat(&gateway, "a").status, 429);
    assert_eq!(embed(&gateway, "a").status, 200);
    let rejected = "ringgate_limit_rejected_total{scope=\"service\",name=\"chat\"}";
    assert_eq!(gateway.count(rejected), 1);
}

#[test]
fn a_model_may_have_a_limit_for_each_service() {
    let origin = origin().reply("{}").start();
    let lines = "limit = { rate = \"1/h\", per = \"service\" }";
    let gateway = with_models(&origin, lines, "");
    assert_eq!((chat(&gateway, "a").status, embed(&gateway, "a").status), (200, 200));
    assert_eq!((chat(&gateway, "a").status, embed(&gateway, "a").status), (429, 429));
}

#[test]
fn requests_go_past_an_endpoint_at_its_limit() {
    let (one, two) = (origin().reply("one").start(), origin().reply("two").start());
    let config = format!(
        "{}[[route]]\ncluster = \"c\"\n\
         [[cluster.c.endpoint]]\naddress = \"{}\"\nlimit = {{ rate = \"1/h\" }}\n\
         [[cluster.c.endpoint]]\naddress = \"{}\"\nlimit = {{ rate = \"3/m\" }}\n",
        listener(""),
        one.address,
        two.address
    );
    let gateway = gateway().config(config).start();
    let mut client = gateway.client();
    assert_eq!(statuses(&mut client, 4), [200; 4]);
    let reply = client.get("/");
    assert_eq!(reply.status, 429);
    assert!(number(&reply, "retry-after") <= 20, "the soonest of both");
    assert_eq!((one.requests_seen(), two.requests_seen()), (1, 3));
}

#[test]
fn a_reload_keeps_credits_and_carries_them_over_to_other_settings() {
    let origin = origin().reply("hello").start();
    let config = |limit: &str, extra: &str| {
        format!(
            "{}{extra}[[route]]\ncluster = \"c\"\nlimit = {limit}\n\
             [[cluster.c.endpoint]]\naddress = \"{}\"\n",
            listener(""),
            origin.address
        )
    };
    let ten = "{ rate = \"10/h\" }";
    let gateway = gateway().config(config(ten, "")).start();
    let mut client = gateway.client();
    assert_eq!(statuses(&mut client, 5), [200; 5]);

    gateway.reload(&config(ten, "[[route]]\npath = \"/new\"\nrespond = {}\n"));
    assert_eq!(statuses(&mut client, 6), [200, 200, 200, 200, 200, 429]);

    // Nothing is left of ten, so nothing of twenty; but these come back fast.
    gateway.reload(&config("{ rate = \"20/s\", burst = 20 }", ""));
    let reloaded = Instant::now();
    let admitted = statuses(&mut client, 20).iter().filter(|status| **status == 200).count();
    // What came between the reload and its return is at most one.
    let most = 1.0 + reloaded.elapsed().as_secs_f64() * 20.0;
    assert!(admitted as f64 <= most, "{admitted} of {most}");
}

#[test]
fn who_is_in_flight_still_counts_after_a_reload_with_another_limit() {
    let (origin, gate, in_flight) = gated();
    let config = |limit: u32| {
        format!(
            "{}[[route]]\ncluster = \"c\"\nlimit = {{ concurrency = {limit} }}\n\
             [[cluster.c.endpoint]]\naddress = \"{}\"\n",
            listener(""),
            origin.address
        )
    };
    let gateway = gateway().config(config(3)).start();
    let mut busy: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    send_all(&mut busy);
    origin.wait_for_requests(3);

    gateway.reload(&config(2));
    assert_eq!(gateway.get("/").status, 503);
    (0..3).for_each(|_| gate.open());
    assert!(busy.iter_mut().all(|client| client.read().status == 200));
    (0..2).for_each(|_| gate.open());
    assert_eq!(statuses(&mut gateway.client(), 2), [200; 2]);
    assert_eq!(in_flight.most.load(Ordering::SeqCst), 3);
}

#[test]
fn replies_tell_what_is_left_where_that_is_asked_for() {
    let reply_of_its_own = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRateLimit-Limit: 7\r\n\r\nok";
    let origin = origin()
        .on(move |request, connection| match request.target() {
            "/own" => connection.send(reply_of_its_own),
            _ => connection.reply("ok"),
        })
        .start();
    let config = |headers: bool| {
        format!(
            "{}[[route]]\npath = \"/fixed\"\nrespond = {{ body = \"x\" }}\n\
             [[route]]\ncluster = \"c\"\nlimit = {{ rate = \"9/h\" }}\n\
             [limits]\nheaders = {headers}\ntotal = {{ rate = \"100/h\" }}\n\
             [[cluster.c.endpoint]]\naddress = \"{}\"\n",
            listener(""),
            origin.address
        )
    };
    let gateway = gateway().config(config(false)).start();
    assert!(gateway.get("/").get("ratelimit-limit").is_none());
    gateway.reload(&config(true));

    // The limit of which least is left: the route's, and the total without one.
    let (route, total) = (gateway.get("/"), gateway.get("/fixed"));
    assert_eq!((number(&route, "ratelimit-limit"), number(&route, "ratelimit-remaining")), (9, 7));
    assert!(number(&route, "ratelimit-reset") > 700);
    assert_eq!(
        (number(&total, "ratelimit-limit"), number(&total, "ratelimit-remaining")),
        (100, 97)
    );
    assert_eq!(number(&gateway.get("/own"), "ratelimit-limit"), 7, "the origin's own word stays");
}

#[test]
fn credits_cross_to_the_process_that_takes_over() {
    let origin = origin().reply("hello").start();
    let config = format!(
        "{}[[route]]\ncluster = \"c\"\nlimit = [{{ rate = \"10/h\" }}, \
         {{ rate = \"20/h\", algorithm = \"sliding_window\" }}]\n\
         [limits]\nclient_ip = {{ rate = \"6/h\" }}\n\
         [[cluster.c.endpoint]]\naddress = \"{}\"\n",
        listener(""),
        origin.address
    );
    let mut gateway = gateway().config(config).start();
    assert_eq!(statuses(&mut from(1, &gateway), 7), [200, 200, 200, 200, 200, 200, 429]);

    gateway.hand_over();

    // One client has nothing left; of the route's ten, four are.
    assert_eq!(statuses(&mut from(1, &gateway), 1), [429]);
    assert_eq!(statuses(&mut from(2, &gateway), 5), [200, 200, 200, 200, 429]);
    assert_eq!(origin.requests_seen(), 10);
}

#[test]
fn limits_hold_over_http2_as_well() {
    let origin = origin().reply("hello").start();
    let gateway = gateway()
        .listener("http2 = true")
        .route_with("/", &[origin.address], "limit = { rate = \"2/h\" }", "")
        .start();
    let mut client = Http2Client::connect(gateway.address());
    let statuses: Vec<u16> = (0..3).map(|_| client.get("/").status).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

/// How long the gateway is overloaded; 1 second unless set.
fn overload_time() -> Duration {
    let seconds = std::env::var("RINGGATE_TEST_LIMIT_SECONDS").ok();
    Duration::from_secs(seconds.map_or(1, |text| text.parse().expect("a number of seconds")))
}

#[test]
fn under_overload_a_limit_on_concurrency_is_never_exceeded() {
    const MOST: usize = 5;
    let in_flight = Arc::<InFlight>::default();
    let origin = {
        let in_flight = Arc::clone(&in_flight);
        origin().on(move |_, connection| {
            let now = in_flight.now.fetch_add(1, Ordering::SeqCst) + 1;
            in_flight.most.fetch_max(now, Ordering::SeqCst);
            thread::park_timeout(Duration::from_millis(2));
            // Before the reply: who reads it may ask again at once.
            in_flight.now.fetch_sub(1, Ordering::SeqCst);
            connection.reply("done");
        })
    };
    let origin = origin.start();
    let gateway = limited(&origin, &format!("{{ concurrency = {MOST} }}"));
    let end = Instant::now() + overload_time();
    let ask = |mut client: Client| {
        let mut served = 0;
        while Instant::now() < end {
            match client.get("/").status {
                200 => served += 1,
                503 => thread::park_timeout(Duration::from_millis(1)),
                other => panic!("status {other}"),
            }
        }
        served
    };

    let clients: Vec<_> = (0..64).map(|_| gateway.client()).collect();
    let served: usize = thread::scope(|scope| {
        let threads: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(move || ask(client))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client ends by itself")).sum()
    });

    let most = in_flight.most.load(Ordering::SeqCst);
    let rejected = gateway.count("ringgate_limit_rejected_total");
    println!("{served} served, {most} at once at most, {rejected} rejected");
    assert!(rejected > 0 && served > MOST);
    assert_eq!(most, MOST);
}

/// How many addresses flood the gateway; 20,000 unless set.
fn flood() -> u32 {
    let count = std::env::var("RINGGATE_TEST_CLIENTS").ok();
    count.map_or(20_000, |text| text.parse().expect("a number of clients"))
}

#[test]
fn a_flood_of_addresses_takes_no_memory() {
    const BATCH: u32 = 1000;
    let config = format!(
        "{}[[route]]\nrespond = {{ status = 204 }}\n[limits]\n\
         client_ip = {{ rate = \"1000/s\", burst = 1, max_clients = 10000 }}\n",
        listener("trusted_proxies = [\"127.0.0.1\"]"),
    );
    let gateway = gateway().workers(1).config(config).start();
    let mut client = gateway.client();
    let mut ask = |first: u32| {
        let requests: String = (first..first + BATCH)
            .map(|n| Ipv4Addr::from_bits(0x0A00_0000 + n))
            .map(|ip| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {ip}\r\n\r\n"))
            .collect();
        client.send(requests);
        (0..BATCH).filter(|_| client.read().status == 204).count()
    };
    // Whatever buffers there are have grown, and every entry was used.
    let mut admitted: usize = (0..20).map(|batch| ask(batch * BATCH)).sum();
    let before = gateway.rss();

    admitted += (20..20 + flood() / BATCH).map(|batch| ask(batch * BATCH)).sum::<usize>();

    let grown = gateway.rss().saturating_sub(before);
    let overflow = gateway.count("ringgate_limit_overflow_total");
    println!("{admitted} admitted, {overflow} beyond the table, {grown} bytes more");
    assert!(grown < 1 << 20, "{grown} bytes");
    assert!(gateway.count("ringgate_limit_clients") <= 10_048);
    assert!(admitted >= 10_000);
}

#[test]
fn under_overload_a_limit_admits_all_that_it_may_and_never_more() {
    const BURST: f64 = 100.0;
    const RATE: f64 = 50.0;
    let origin = origin().reply("hello").start();
    let gateway = limited(&origin, "{ rate = \"50/s\", burst = 100 }");
    let began = Instant::now();
    let end = began + overload_time();
    let pause = Duration::from_millis(128);

    // 64 connections that ask 500 times a second together.
    let admitted: usize = thread::scope(|scope| {
        let ask = |mut client: Client| {
            let mut admitted = 0;
            while Instant::now() < end {
                match client.get("/").status {
                    200 => admitted += 1,
                    429 => {}
                    other => panic!("status {other}"),
                }
                thread::park_timeout(pause);
            }
            admitted
        };
        let clients: Vec<_> = (0..64).map(|_| gateway.client()).collect();
        let threads: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(move || ask(client))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client ends by itself")).sum()
    });

    let took = began.elapsed().as_secs_f64();
    let most = BURST + RATE * took;
    let rejected = gateway.count("ringgate_limit_rejected_total");
    println!("{admitted} admitted of at most {most:.1} in {took:.2} s, {rejected} rejected");
    assert!(admitted as f64 <= most, "{admitted} of at most {most}");
    // The last requests came up to a pause before the end.
    let asked_for = BURST + RATE * (overload_time() - pause).as_secs_f64();
    assert!(admitted as f64 >= 0.99 * asked_for, "{admitted} of {asked_for}");
    assert_eq!(origin.requests_seen(), admitted);
}
