//! The table of counted operations. Inputs are files under `bench/inputs`.
//!
//! An operation prepares its inputs, then repeats one call with `black_box` round what goes in
//! and what comes out, so that the compiler can neither hoist the call nor drop it. Before that
//! it looks once whether the call does what is to be counted: a refusal would be cheap.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringgate::ai::json::Scanner;
use ringgate::config;
use ringgate::http::h1::{HeadLimits, RequestHead, ResponseHead};
use ringgate::http::message::Method;
use ringgate::policy::limit::{Bucket, KeyedBuckets, Rate, Rejected, Terms};
use ringgate::proxy::route::{Question, RouteTable};
use ringgate::proxy::settings::{Cidr, HostPattern, PathPattern, Settings};
use ringgate::telemetry::{Line, LineFormat, Load, Outcome, StampCache};

pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Does the operation so many times.
    pub(crate) run: fn(u64),
}

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation { name: "parse_request", run: parse_request },
    Operation { name: "parse_response", run: parse_response },
    Operation { name: "route_lookup", run: route_lookup },
    Operation { name: "route_lookup_in_10000", run: route_lookup_in_10000 },
    Operation { name: "trusted_proxy", run: trusted_proxy },
    Operation { name: "json_scan", run: json_scan },
    Operation { name: "admit_by_limits", run: admit_by_limits },
    Operation { name: "access_log_line", run: access_log_line },
];

const REQUEST: &[u8] = include_bytes!("../../../inputs/request.http");
const RESPONSE: &[u8] = include_bytes!("../../../inputs/response.http");
const CHAT_REQUEST: &[u8] = include_bytes!("../../../inputs/chat_request.json");
const ROUTES: &str = include_str!("../../../inputs/routes.toml");

/// The defaults of a listener.
const LIMITS: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 100 };

/// A browser's request: 15 fields in 615 bytes, that arrived in one piece.
fn parse_request(times: u64) {
    let mut head = RequestHead::default();
    assert_eq!(head.parse(REQUEST, &LIMITS), Ok(true));
    for _ in 0..times {
        black_box(head.parse(black_box(REQUEST), &LIMITS).is_ok());
        black_box(&head);
    }
}

/// The head of an application's response: 10 fields in 356 bytes.
fn parse_response(times: u64) {
    let mut head = ResponseHead::default();
    assert_eq!(head.parse(RESPONSE, &LIMITS, Method::Get), Ok(true));
    for _ in 0..times {
        black_box(head.parse(black_box(RESPONSE), &LIMITS, Method::Get).is_ok());
        black_box(&head);
    }
}

/// The browser's request meets the last route but one of nine; one asks for a field.
fn route_lookup(times: u64) {
    const FOUND: usize = 7;
    let mut head = RequestHead::default();
    assert_eq!(head.parse(REQUEST, &LIMITS), Ok(true));
    let loaded = config::from_str("routes.toml", ROUTES, &|_| None);
    let settings = loaded.unwrap_or_else(|report| panic!("{report}")).settings;
    let table = RouteTable::compile(&settings);
    let question = Question {
        listener: 0,
        host: head.authority.of(REQUEST),
        path: head.path.of(REQUEST),
        method: head.method_text.of(REQUEST),
    };
    let find = |question| table.find(question, |name| head.get(REQUEST, name));
    assert_eq!(find(&question), Some(FOUND));
    for _ in 0..times {
        black_box(find(black_box(&question)));
    }
}

/// A route in the middle of ten thousand, half of which have hosts of their own and half paths.
fn route_lookup_in_10000(times: u64) {
    const ROUTES: usize = 10_000;
    const FOUND: usize = 7_500;
    let table = RouteTable::compile(&many_routes(ROUTES));
    let question = Question {
        listener: 0,
        host: b"tenant-3750.apps.example.com",
        path: b"/v1/teams/3750/documents",
        method: b"GET",
    };
    let find = |question| table.find(question, |_| None);
    assert_eq!(find(&question), Some(FOUND));
    for _ in 0..times {
        black_box(find(black_box(&question)));
    }
}

/// Even ones are for hosts, odd ones for paths; both of the request's are met by what comes later.
/// Two are read from a file, and the others made of them: reading ten thousand would be nearly all
/// that callgrind sees.
fn many_routes(count: usize) -> Settings {
    const FILE: &str = "
        [[listener]]
        name = 'public'
        bind = '127.0.0.1:80'
        [[route]]
        host = 'tenant.apps.example.com'
        path = '/v1/teams'
        respond = {}
        [[route]]
        host = '*.example.com'
        path = '/v1/teams/1'
        methods = ['GET']
        respond = {}
    ";
    let loaded = config::from_str("many.toml", FILE, &|_| None);
    let mut settings = loaded.unwrap_or_else(|report| panic!("{report}")).settings;
    let patterns = settings.routes.clone();
    let route = |place: usize| {
        let (tenant, mut route) = (place / 2, patterns[place % 2].clone());
        if place.is_multiple_of(2) {
            route.host = Some(HostPattern::Exact(format!("tenant-{tenant}.apps.example.com")));
        } else {
            route.path = Some(PathPattern::Prefix(format!("/v1/teams/{tenant}")));
        }
        route
    };
    settings.routes = (0..count).map(route).collect();
    settings
}

/// Whether a peer is a trusted proxy: asked for every request that carries X-Forwarded-For.
fn trusted_proxy(times: u64) {
    let blocks = [[10, 0, 0, 0], [172, 16, 0, 0], [192, 168, 0, 0]]
        .map(|address| Cidr { address: IpAddr::V4(Ipv4Addr::from(address)), prefix: 12 });
    let peer = IpAddr::V4(Ipv4Addr::new(192, 168, 3, 17));
    for _ in 0..times {
        let peer = black_box(peer);
        black_box(blocks.iter().any(|block| block.contains(peer)));
    }
}

/// The body of a chat call: 1,024 bytes in one piece, most of them in strings.
fn json_scan(times: u64) {
    let mut scanner = Scanner::new();
    let mut scan = |body| {
        scanner.reset();
        scanner.feed(body).is_ok() && scanner.finish().is_ok_and(|found| !found.model.is_empty())
    };
    assert!(scan(CHAT_REQUEST));
    for _ in 0..times {
        black_box(scan(black_box(CHAT_REQUEST)));
    }
}

/// Three limits let a request through: the total, its route's, and that of one of a thousand clients.
fn admit_by_limits(times: u64) {
    let rate = Rate { credits: 1_000_000, period: Duration::from_secs(1) };
    let terms = Terms::new(rate, 1_000_000);
    let [total, route]: [Bucket; 2] = [Bucket::new(terms), Bucket::new(terms)];
    let clients = KeyedBuckets::new(terms, 50_000);
    let admit = |client: u128, now: u64| -> Result<(), Rejected> {
        total.check(1, now)?;
        route.check(1, now)?;
        clients.take(client, 1, now)?;
        route.take(1, now)?;
        total.take(1, now)
    };
    assert!(admit(0, 0).is_ok());
    for turn in 0..times {
        let (client, now) = (u128::from(turn % 1000), turn * 1000);
        black_box(admit(black_box(client), black_box(now)).is_ok());
    }
}

/// The line of the browser's request. The stamp stays within one second, as most do under load.
fn access_log_line(times: u64) {
    let line = Line {
        at_unix_ns: 1_763_640_000_123_456_789,
        client: SocketAddr::from(([192, 0, 2, 7], 50_123)),
        peer: None,
        listener: "public",
        route: Some("www.example.com/assets"),
        method: b"GET",
        host: Some(b"www.example.com"),
        path: b"/assets/app/main.7f3b2c.js",
        version: "HTTP/1.1",
        status: Some(200),
        bytes_in: 615,
        bytes_out: 1380,
        total_us: 1934,
        queued_us: None,
        head_us: Some(0),
        connect_us: None,
        first_byte_us: Some(1872),
        overhead_us: Some(31),
        cluster: Some("readers"),
        endpoint: Some("10.0.0.1:8080"),
        attempts: 1,
        reused: true,
        request_id: b"7d1f0c5293a24d4f8a610d6f5c2f9b1e",
        user_agent: Some(
            b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
              Chrome/142.0.0.0 Safari/537.36",
        ),
        referer: Some(b"https://www.example.com/"),
        model: None,
        streamed: false,
        outcome: Outcome::Completed,
        reason: None,
        worker: 1,
        load: Load::default(),
    };
    let mut stamps = StampCache::default();
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        black_box(&line).write(LineFormat::Json, &mut stamps, &mut out);
        black_box(&out);
    }
}
