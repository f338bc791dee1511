//! `ringgate status` and `ringgate endpoint`.

use std::process::{Command, Output};

use serde_json::Value;

use super::cluster;
use crate::support::free_port;
use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::{Origin, origin};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringgate"));
    command.args(arguments).env_remove("RINGGATE_ADMIN_TOKEN");
    command.output().expect("the program starts")
}

/// With the gateway's address behind the arguments.
fn ask(gateway: &Gateway, arguments: &[&str]) -> Output {
    let admin = format!("http://{}", gateway.address_of("admin"));
    run(&[arguments, &["--admin", &admin]].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it prints UTF-8")
}

fn one() -> (Origin, Gateway) {
    let origin = origin().reply("hello").start();
    let gateway = gateway().route("/", &origin).start();
    assert_eq!(gateway.get("/").text(), "hello");
    (origin, gateway)
}

#[test]
fn status_prints_tables_without_colour_where_nobody_looks() {
    let (origin, gateway) = one();

    let output = ask(&gateway, &["status"]);

    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.starts_with("Ringgate "), "{said}");
    assert!(said.contains("public") && said.contains("c0  up"), "{said}");
    let line = said.lines().find(|line| line.contains(&origin.address.to_string()));
    assert!(line.is_some_and(|line| line.contains("up")), "{said}");
    assert!(!said.contains('\x1b'), "{said:?}");
}

#[test]
fn status_as_json_is_what_the_api_says() {
    let (_origin, gateway) = one();

    let output = ask(&gateway, &["status", "c0", "--json"]);

    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["clusters"][0]["cluster"], "c0");
    assert_eq!(status["instance"]["pid"], gateway.pid());
}

#[test]
fn endpoint_drains_and_brings_back() {
    let (origin, gateway) = one();
    let address = origin.address.to_string();

    let output = ask(&gateway, &["endpoint", "c0", &address, "--drain"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains(&format!("{address}: drain")), "{said}");
    assert!(said.contains("No endpoint of c0 takes requests now"), "{said}");
    assert!(said.contains("kept over reloads: yes"), "{said}");
    assert_eq!(gateway.get("/").status, 503);

    let output = ask(&gateway, &["endpoint", "c0", &address, "--ready", "--weight", "4"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(cluster(&gateway)["endpoints"][0]["weight"], 4);
    ask(&gateway, &["endpoint", "c0", &address, "--weight", "configured"]);
    assert_eq!(cluster(&gateway)["endpoints"][0]["weight"], 1);
}

#[test]
fn a_gateway_that_is_not_there_is_named_with_a_way_out() {
    let nobody = format!("http://127.0.0.1:{}", free_port());

    let output = run(&["status", "--admin", &nobody]);

    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&nobody) && said.contains("--admin"), "{said}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn exit_codes_tell_usage_configuration_and_failure_apart() {
    let (origin, gateway) = one();
    let address = origin.address.to_string();

    assert_eq!(run(&["status", "--admin", "https://a:1"]).status.code(), Some(64));
    assert_eq!(run(&["endpoint", "c0", &address]).status.code(), Some(64));
    assert_eq!(run(&["endpoint", "c0", &address, "--drain", "--ready"]).status.code(), Some(64));
    let file = gateway.path("other.toml");
    std::fs::write(&file, "[admin]\nbind = \"nowhere\"\n").expect("the file is writable");
    let file = file.to_str().expect("a path in UTF-8");
    let output = run(&["status", "-c", file]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("admin.bind"), "{}", text(&output.stderr));
    let output = ask(&gateway, &["endpoint", "c1", &address, "--drain"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the nearest is \"c0\""), "{}", text(&output.stderr));
}

#[test]
fn address_and_token_come_from_the_file() {
    const TOKEN: &str = "3f9a1c07b25e4d68a0f1c2d3";
    let origin = origin().start();
    let gateway = gateway().admin(&format!("token = {TOKEN:?}")).route("/", &origin).start();
    let file = gateway.path("client.toml");
    let bind = gateway.address_of("admin");
    // The rest of the file is not looked at.
    let lines = format!("[admin]\nbind = \"{bind}\"\ntoken = {TOKEN:?}\n[cluster.c]\ntls = 5\n");
    std::fs::write(&file, lines).expect("the file is writable");

    let output = run(&["status", "-c", file.to_str().expect("a path in UTF-8")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let without = ask(&gateway, &["status"]);
    assert_eq!(without.status.code(), Some(1));
    assert!(text(&without.stderr).contains("RINGGATE_ADMIN_TOKEN"), "{}", text(&without.stderr));
}

#[test]
fn watching_goes_on_until_nobody_reads() {
    use std::io::{BufRead, BufReader};
    let (_origin, gateway) = one();
    let admin = gateway.address_of("admin").to_string();
    let mut watching = Command::new(env!("CARGO_BIN_EXE_ringgate"))
        .args(["status", "--watch", "--json", "--admin", &admin])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();

    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("text");
        let status: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(status["instance"]["pid"], gateway.pid());
    }
    drop(lines);

    assert!(watching.wait().expect("it ends").success());
}
