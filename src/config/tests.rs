//! What a whole file becomes. The messages are tested by the files under `tests/config`.

use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;

use super::{Report, from_str};
use crate::proxy::settings::*;

fn load(text: &str) -> Result<Settings, Report> {
    from_str("test.toml", text, &|_| None).map(|loaded| loaded.settings)
}

fn settings(text: &str) -> Settings {
    load(text).unwrap_or_else(|report| panic!("{report}"))
}

const EXAMPLE: &str = include_str!("../../config/ringgate.toml");

const LISTENER: &str = "[[listener]]\nname = 'a'\nbind = '127.0.0.1:0'\n";

fn route(body: &str) -> Route {
    let cluster = "[[cluster.docs.endpoint]]\naddress = 'docs:80'\n";
    let text = format!("{LISTENER}{cluster}[[route]]\n{body}");
    settings(&text).routes.remove(0)
}

#[test]
fn what_a_file_leaves_out_has_its_default() {
    let settings = settings(LISTENER);

    assert_eq!(settings.server.workers, None);
    assert_eq!(settings.server.io, Io::Auto);
    assert_eq!(settings.server.drain_timeout, Duration::from_secs(30));
    assert_eq!(settings.server.buffered, 256 << 20);
    assert_eq!(settings.admin.bind, "127.0.0.1:9901".parse().unwrap());

    let listener = &settings.listeners[0];
    let limits = ListenerLimits {
        head: 16 << 10,
        headers: 100,
        body: 50 << 20,
        body_rate: NonZeroU64::new(512),
        connections: 100_000,
    };
    assert_eq!(listener.limits, limits);
    assert_eq!(listener.timeouts.request_head, Some(Duration::from_secs(10)));
    assert_eq!(listener.timeouts.request_body, Some(Duration::from_secs(30)));
    assert_eq!(listener.timeouts.keep_alive, Some(Duration::from_secs(75)));

    assert_eq!(settings.log, Log { level: "info".into(), format: LogFormat::Pattern });
    assert_eq!(settings.access_log, None);
    assert_eq!(settings.telemetry.service, "ringgate");
}

#[test]
fn an_access_log_section_switches_the_log_on() {
    let settings = settings(&format!("{LISTENER}[access_log]\n"));
    assert_eq!(
        settings.access_log,
        Some(AccessLog { format: LineFormat::Json, file: None, sample: 1.0 })
    );
}

#[test]
fn zero_seconds_switch_a_timeout_off() {
    let timeouts = "timeouts = { request_head = '0s', keep_alive = '1500ms' }\n";
    let settings = settings(&format!("{LISTENER}{timeouts}"));
    assert_eq!(settings.listeners[0].timeouts.request_head, None);
    assert_eq!(settings.listeners[0].timeouts.keep_alive, Some(Duration::from_millis(1500)));
}

#[test]
fn models_have_their_clusters_behind_the_named_ones() {
    let settings = settings(EXAMPLE);

    let names: Vec<&str> = settings.clusters.iter().map(|cluster| &*cluster.name).collect();
    assert_eq!(names, ["web", "model:qwen3-8b"]);
    assert_eq!(settings.models[0].name, "qwen3-8b");
    assert_eq!(settings.models[0].aliases, ["default"]);
    assert_eq!(settings.models[0].cluster, 1);
    assert_eq!(settings.routes[2].action, Action::Cluster(0));
}

#[test]
fn clusters_keep_the_order_of_the_file() {
    let cluster = |name: &str| format!("[[cluster.{name}.endpoint]]\naddress = '{name}:80'\n");
    let text = format!("{}{}{LISTENER}", cluster("zebra"), cluster("ape"));
    let settings = settings(&text);
    let names: Vec<&str> = settings.clusters.iter().map(|cluster| &*cluster.name).collect();
    assert_eq!(names, ["zebra", "ape"]);
}

#[test]
fn an_endpoint_of_a_model_has_everything_a_request_needs() {
    let text = format!(
        "{LISTENER}[[model.a.endpoint]]\nprovider = 'anthropic'\nurl = 'http://[::1]:8000/x/'\n\
         model = 'b'\napi_key = '${{KEY:k}}'\nheaders = {{ X-Team = 't' }}\nweight = 3\n"
    );
    let endpoint = settings(&text).clusters.remove(0).endpoints.remove(0);
    let expected = Endpoint {
        address: Address::Tcp { host: "::1".into(), port: 8000 },
        tls: None,
        weight: 3,
        http2: false,
        max_in_flight: None,
        limit: Vec::new(),
        backup: false,
        provider: Some(Provider {
            dialect: Dialect::Anthropic,
            authority: "[::1]:8000".into(),
            base_path: "/x".into(),
            model: Some("b".into()),
            api_key: Some(Secret("k".into())),
            headers: vec![("x-team".into(), "t".into())],
        }),
    };
    assert_eq!(endpoint, expected);
}

#[test]
fn names_of_hosts_and_fields_are_lowered() {
    let route = route(
        "host = '*.Example.COM'\npath = '/V1/'\nheaders = { X-Canary = 'Yes' }\ncluster = 'docs'\n\
         request_headers = { set = { X-A = 'B' }, remove = ['X-C'] }\n",
    );
    assert_eq!(route.host, Some(HostPattern::Suffix(".example.com".into())));
    assert_eq!(route.path, Some(PathPattern::Prefix("/V1".into())));
    assert_eq!(route.headers, [("x-canary".into(), "Yes".into())]);
    assert_eq!(route.request_headers.set, [("x-a".into(), "B".into())]);
    assert_eq!(route.request_headers.remove, ["x-c"]);
}

#[test]
fn prefixes_are_stripped_or_replaced() {
    let strip = route("cluster = 'docs'\nstrip_prefix = '/a/'\n");
    assert_eq!(strip.prefix, PrefixChange::Strip("/a".into()));
    let replace = route("cluster = 'docs'\npath = '/a'\nreplace_prefix = '/'\n");
    assert_eq!(replace.prefix, PrefixChange::Replace(String::new()));
}

#[test]
fn a_static_answer_has_a_content_type_if_it_has_a_body() {
    let answer = |respond: &str| match route(&format!("respond = {respond}\n")).action {
        Action::Respond(answer) => answer,
        other => panic!("{other:?}"),
    };
    let content_type = |value: &str| vec![("content-type".to_owned(), value.to_owned())];

    assert_eq!(answer("{}").headers, []);
    assert_eq!(answer("{ body = 'x' }").headers, content_type("text/plain; charset=utf-8"));
    let html = answer("{ status = 503, body = 'x', headers = { Content-Type = 'text/html' } }");
    assert_eq!(html.headers, content_type("text/html"));
    assert_eq!(html.status, 503);
}

#[test]
fn a_report_for_programs_has_every_finding() {
    let report = load("colour = 1\n").unwrap_err();
    let json = report.to_json();
    assert_eq!(json["file"], "test.toml");
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(report.problems.len()));
    assert_eq!(json["problems"][1]["path"], "colour");
    assert_eq!(json["warnings"], serde_json::json!([]));
}

/// The example with one piece cut out and another put in its place.
fn damaged() -> impl Strategy<Value = String> {
    let piece =
        prop_oneof!["[\\PC\n]{0,8}", Just("[[".into()), Just("\"".into()), Just("0".into())];
    (any::<prop::sample::Index>(), 0..40_usize, piece).prop_map(
        |(at, length, piece): (_, _, String)| {
            let characters: Vec<char> = EXAMPLE.chars().collect();
            let start = at.index(characters.len());
            let end = (start + length).min(characters.len());
            let pieces =
                [&characters[..start], &piece.chars().collect::<Vec<_>>(), &characters[end..]];
            pieces.concat().into_iter().collect()
        },
    )
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in "[\\PC\n\t\r\0]{0,200}") {
        let _ = load(&text);
    }

    #[test]
    fn a_damaged_file_loads_or_has_problems_in_the_order_of_the_file(text in damaged()) {
        if let Err(report) = load(&text) {
            prop_assert!(!report.problems.is_empty());
            prop_assert!(report.problems.is_sorted_by_key(|problem| problem.place));
            let lines = text.lines().count() + 1;
            for place in report.problems.iter().filter_map(|problem| problem.place) {
                prop_assert!((1..=lines).contains(&place.line));
            }
        }
    }
}
