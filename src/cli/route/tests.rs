//! What `ringgate route` says.

use super::*;

const FILE: &str = r#"
[[listener]]
name = "public"
bind = "127.0.0.1:8080"
[[listener]]
name = "inside"
bind = "127.0.0.1:8081"
[[route]]
listener = "inside"
respond = {}
[[route]]
host = "api.example.com"
path = "/v1"
methods = ["POST"]
headers = { x-canary = "yes" }
cluster = "api"
strip_prefix = "/v1"
[[route]]
path = { regex = "^/v[12]/" }
allow = ["10.0.0.0/8"]
cluster = "api"
[cluster.api]
[[cluster.api.endpoint]]
address = "127.0.0.1:3000"
"#;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn explained(line: &str) -> Result<String, String> {
    let settings = crate::config::from_str("a.toml", FILE, &|_| None).unwrap().settings;
    let words = ["route"].into_iter().chain(line.split(' '));
    let line: Line = clap::Parser::try_parse_from(words).unwrap();
    explain(&line.options, &settings)
}

#[test]
fn each_route_before_the_one_that_matches_says_why_not() {
    let text = explained("http://API.example.com:8080/v1/%7Ea --method POST --header X-Canary:yes");
    let expected = "POST api.example.com/v1/~a on public\n  \
                    route[0] /: is for listener inside\n  \
                    route[1] api.example.com/v1: MATCHES\n\
                    => cluster api, as /~a";
    assert_eq!(text.unwrap(), expected);
    let text = explained("http://api.example.com:8080/v1/a --client 10.1.2.3").unwrap();
    assert!(text.contains("route[1] api.example.com/v1: the method is not POST\n"), "{text}");
    assert!(text.ends_with("=> cluster api, as /v1/a"), "{text}");
    let text = explained("http://b:8080/v3/a").unwrap();
    assert!(text.contains("the host is not api.example.com\n"), "{text}");
    assert!(text.contains("the path does not match ^/v[12]/\n=> 404"), "{text}");
}

#[test]
fn the_clients_address_is_judged_where_it_matters() {
    let outcome = |line: &str| explained(line).unwrap().lines().last().unwrap().to_owned();
    assert!(outcome("http://b:8080/v2/a --client 192.0.2.1").starts_with("=> 403"));
    assert!(outcome("http://b:8080/v2/a").contains("try --client IP"));
    assert!(outcome("http://b:8081/v2/a").contains("answered here with 200"));
}

#[test]
fn json_has_the_same_findings() {
    let text = explained("b/v2/a --listener public --json --client 10.0.0.1").unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["matches"], 2);
    assert_eq!(json["routes"][1]["why_not"], "the host is not api.example.com");
    assert_eq!(json["routes"][2]["why_not"], serde_json::Value::Null);
}

#[test]
fn what_no_request_could_ask_for_is_said() {
    assert!(explained("http://b/v2").unwrap_err().contains("public, inside"));
    assert!(explained("b/v2 --listener other").unwrap_err().contains("no listener other"));
    assert!(explained("http://b:8080/a%2fb").unwrap_err().contains("400"));
    assert!(explained("http://u@b:8080/").unwrap_err().contains("not a host"));
}
