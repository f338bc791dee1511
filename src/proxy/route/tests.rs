//! The compiled lookup against the conditions looked at one route after the other.

use proptest::prelude::*;

use super::*;
use crate::proxy::settings::{Action, HostPattern, OpsPage, PathPattern};

fn route(path: PathPattern) -> Route {
    Route { path: Some(path), ..Route::any() }
}

fn prefix(text: &str) -> PathPattern {
    PathPattern::Prefix(text.into())
}

fn regex(source: &str) -> PathPattern {
    PathPattern::Regex(PathRegex::new(source).unwrap())
}

/// A request with the field `x-canary: yes`.
fn question<'a>(host: &'a str, method: &'a str, path: &'a str) -> Question<'a> {
    Question {
        listener: 0,
        host: host.as_bytes(),
        path: path.as_bytes(),
        method: method.as_bytes(),
    }
}

fn canary(name: &str) -> Option<&'static [u8]> {
    (name == "x-canary").then_some(b"yes")
}

fn find(routes: &[Route], host: &str, method: &str, path: &str) -> Option<usize> {
    RouteTable::of(routes.to_vec()).find(&question(host, method, path), canary)
}

#[test]
fn a_prefix_matches_itself_and_on_a_segment_border() {
    let routes = [route(prefix("/v1"))];
    assert_eq!(find(&routes, "a", "GET", "/v1"), Some(0));
    assert_eq!(find(&routes, "a", "GET", "/v1/"), Some(0));
    assert_eq!(find(&routes, "a", "GET", "/v1/chat"), Some(0));
    assert_eq!(find(&routes, "a", "GET", "/v10"), None);
    assert_eq!(find(&routes, "a", "GET", "/"), None);
}

#[test]
fn the_empty_prefix_matches_every_path_but_an_asterisk() {
    let routes = [route(prefix("")), Route::any()];
    assert_eq!(find(&routes, "a", "GET", "/"), Some(0));
    assert_eq!(find(&routes, "a", "GET", "/x/y"), Some(0));
    assert_eq!(find(&routes, "a", "OPTIONS", "*"), Some(1));
}

#[test]
fn an_exact_path_has_nothing_behind_it() {
    let routes = [route(PathPattern::Exact("/x".into())), route(PathPattern::Exact("/y/".into()))];
    assert_eq!(find(&routes, "a", "GET", "/x"), Some(0));
    assert_eq!(find(&routes, "a", "GET", "/x/"), None);
    assert_eq!(find(&routes, "a", "GET", "/y/"), Some(1));
    assert_eq!(find(&routes, "a", "GET", "/y"), None);
}

#[test]
fn an_expression_waits_for_its_turn() {
    let routes =
        [route(prefix("/a/b")), route(regex("^/a/[bc]")), route(prefix("/a")), route(regex("^/"))];
    assert_eq!(find(&routes, "a", "GET", "/a/b"), Some(0));
    assert_eq!(find(&routes, "a", "GET", "/a/c"), Some(1));
    assert_eq!(find(&routes, "a", "GET", "/a/d"), Some(2));
    assert_eq!(find(&routes, "a", "GET", "/d"), Some(3));
    assert_eq!(find(&routes, "a", "OPTIONS", "*"), None);
}

#[test]
fn the_first_match_wins_and_every_condition_must_hold() {
    let any = || Route::any();
    let routes = [
        Route { methods: vec!["POST".into()], ..any() },
        Route { headers: vec![("x-canary".into(), "no".into())], ..any() },
        Route { host: Some(HostPattern::Suffix(".example.com".into())), ..any() },
        any(),
    ];
    assert_eq!(find(&routes, "a.example.com", "POST", "/"), Some(0));
    assert_eq!(find(&routes, "a.example.com", "GET", "/"), Some(2));
    assert_eq!(find(&routes, ".example.com", "GET", "/"), Some(3));
    assert_eq!(find(&routes, "example.com", "GET", "/"), Some(3));
}

#[test]
fn an_ops_route_lets_only_its_pages_through() {
    let routes = [Route { action: Action::Ops(vec![OpsPage::Health]), ..Route::any() }];
    assert_eq!(find(&routes, "a", "GET", "/health"), Some(0));
    assert_eq!(find(&routes, "a", "GET", "/metrics"), None);
    assert_eq!(find(&routes, "a", "GET", "/admin/drain"), None);
}

#[test]
fn each_route_says_what_did_not_hold() {
    let any = || Route::any();
    let routes = vec![
        Route { listener: Some(1), path: Some(prefix("/other")), ..any() },
        Route { host: Some(HostPattern::Exact("b".into())), methods: vec!["PUT".into()], ..any() },
        Route { path: Some(prefix("/other")), ..any() },
        Route { methods: vec!["PUT".into()], ..any() },
        Route { headers: vec![("x-canary".into(), "no".into())], ..any() },
        Route { action: Action::Ops(vec![OpsPage::Info]), ..any() },
        any(),
        any(),
    ];
    let table = RouteTable::of(routes);
    let explained = table.explain(&question("a", "GET", "/"), canary);
    let found: Vec<_> = explained.iter().map(|(_, mismatch)| *mismatch).collect();
    let expected = [
        Some(Mismatch::Listener),
        Some(Mismatch::Host),
        Some(Mismatch::Path),
        Some(Mismatch::Method),
        Some(Mismatch::Header("x-canary")),
        Some(Mismatch::Page),
        None,
    ];
    assert_eq!(found, expected);
}

/// Few words, so that patterns and requests meet.
fn path() -> impl Strategy<Value = String> {
    "(/(a|b|ab||health)){0,4}".prop_map(|path| if path.is_empty() { "/".to_owned() } else { path })
}

fn path_pattern() -> impl Strategy<Value = Option<PathPattern>> {
    prop_oneof![
        Just(None),
        path().prop_map(|path| { Some(prefix(path.strip_suffix('/').unwrap_or(&path))) }),
        path().prop_map(|path| Some(PathPattern::Exact(path))),
        "\\^?(/a|/b|b|a/){1,2}\\$?".prop_map(|source| Some(regex(&source))),
    ]
}

fn host() -> impl Strategy<Value = String> {
    "((a|b|c)\\.){0,3}(com|d)|\\.com|"
}

fn host_pattern() -> impl Strategy<Value = Option<HostPattern>> {
    prop_oneof![
        Just(None),
        host().prop_map(|host| Some(HostPattern::Exact(host))),
        "(\\.(a|b|com)){1,3}".prop_map(|suffix| Some(HostPattern::Suffix(suffix))),
    ]
}

prop_compose! {
    fn any_route()(
        host in host_pattern(),
        path in path_pattern(),
        listener in prop_oneof![3 => Just(None), 1 => (0_usize..2).prop_map(Some)],
        methods in prop_oneof![3 => Just(vec![]), 1 => Just(vec!["POST".to_owned()])],
        canary in prop_oneof![3 => Just(None), 1 => "yes|no".prop_map(Some)],
        ops in proptest::bool::weighted(0.1),
    ) -> Route {
        let headers = canary.map(|value| ("x-canary".to_owned(), value));
        let action = if ops { Action::Ops(vec![OpsPage::Health]) } else { Action::Ai };
        Route {
            host, path, listener, methods, headers: headers.into_iter().collect(), action,
            ..Route::any()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_compiled_lookup_finds_what_looking_at_each_route_finds(
        routes in proptest::collection::vec(any_route(), 0..20),
        requests in proptest::collection::vec((host(), path(), "GET|POST"), 1..8),
    ) {
        let table = RouteTable::of(routes.clone());
        for (host, path, method) in &requests {
            for path in [path.as_str(), "*"] {
                let question = question(host, method, path);
                let naive = routes.iter().position(|route| {
                    route.mismatch(&question, canary).is_none()
                });
                prop_assert_eq!(table.find(&question, canary), naive, "{} {}", host, path);
            }
        }
    }
}
