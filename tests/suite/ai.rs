//! AI routes: the model is found in the body, the body goes on as it is, and credentials stay
//! where they belong.

use serde_json::json;

use crate::support::client::Reply;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, GatewayBuilder, gateway, listener};
use crate::support::origin::{Origin, Request, origin};
use crate::wire;

/// An endpoint of a model, with more lines for it.
pub(crate) fn model(name: &str, origin: &Origin, provider: &str, lines: &str) -> String {
    let base = if provider == "anthropic" { "" } else { "/v1" };
    let address = origin.address;
    format!(
        "[model.{name:?}]\n[[model.{name:?}.endpoint]]\nprovider = {provider:?}\n\
         url = \"http://{address}{base}\"\n{lines}\n"
    )
}

pub(crate) fn ai_gateway(lines: &str, models: &[String]) -> GatewayBuilder {
    let route = "[[route]]\npath = \"/v1\"\nai = true\n[[route]]\npath = \"/api/v1\"\nai = true\n";
    gateway().workers(1).config(listener(lines) + route + &models.concat())
}

/// One OpenAI model called `m` with a key of its own.
fn pair() -> (Origin, Gateway) {
    let origin = origin().reply("{\"ok\":true}").start();
    let models = [model("m", &origin, "vllm", "api_key = \"upstream-key\"")];
    let gateway = ai_gateway("", &models).start();
    (origin, gateway)
}

fn chat(gateway: &Gateway, body: &str) -> Reply {
    gateway.client().post("/v1/chat/completions", "Content-Type: application/json\r\n", body)
}

/// What the origin gets for this body, with the head's fields.
fn forwarded(pair: &(Origin, Gateway), body: &str) -> Request {
    let reply = chat(&pair.1, body);
    assert_eq!(reply.status, 200, "{body}: {}", reply.text());
    pair.0.requests().pop().expect("a request")
}

#[test]
fn the_model_is_found_wherever_it_stands_and_the_body_is_not_touched() {
    let pair = pair();
    let long =
        format!("{{\"messages\":[{{\"content\":{:?}}}],\"model\":\"m\"}}", "x".repeat(300_000));
    for body in [
        "{\"model\":\"m\"}",
        " {\r\n\t\"messages\" : [ ] ,\n  \"model\" :\t\"m\" , \"stream\" : false }\n ",
        "{\"a\":{\"model\":\"other\"},\"b\":[{\"model\":\"other\"}],\"model\":\"m\"}",
        "{\"a\":\"\\\"model\\\":\\\"other\\\"\",\"model\":\"m\"}",
        "{\"\\u006dodel\":\"\\u006d\",\"n\":1e3,\"u\":\"\\ud83d\\ude00 é\"}",
        &long,
    ] {
        let seen = forwarded(&pair, body);
        assert!(
            seen.body == body.as_bytes(),
            "changed: {:.100}",
            String::from_utf8_lossy(&seen.body)
        );
        assert_eq!(seen.get("content-length"), Some(&*body.len().to_string()));
        assert_eq!(seen.target(), "/v1/chat/completions");
    }
}

#[test]
fn a_mapped_name_is_replaced_and_nothing_else() {
    let origin = origin().reply("{}").start();
    let models = [model("m", &origin, "openai", "model = \"real/name-1\"")];
    let gateway = ai_gateway("", &models).start();

    let body = "{ \"x\":\"m\",\"model\" : \"m\" ,\n\"messages\":[{\"model\":\"m\"}] }";
    chat(&gateway, body);

    let expected = body.replacen("\"model\" : \"m\"", "\"model\" : \"real/name-1\"", 1);
    let request = origin.request();
    assert_eq!(String::from_utf8_lossy(&request.body), expected);
    assert_eq!(request.get("content-length"), Some(&*expected.len().to_string()));
}

#[test]
fn the_client_s_credentials_stay_here_and_the_endpoint_s_go_out() {
    let pair = pair();

    pair.1.client().post(
        "/v1/chat/completions",
        "Authorization: Bearer client-secret\r\nX-Api-Key: client-secret\r\nApi-Key: client-secret\r\n\
         X-Goog-Api-Key: client-secret\r\nCookie: s=client-secret\r\nX-Forwarded-For: 9.9.9.9\r\n\
         X-Real-IP: 9.9.9.9\r\nVia: 1.1 x\r\nX-Custom: stays\r\n",
        "{\"model\":\"m\"}",
    );

    let request = pair.0.request();
    let head = String::from_utf8_lossy(&request.head.raw).into_owned();
    assert!(!head.contains("client-secret") && !head.contains("9.9.9.9"), "{head}");
    assert_eq!(request.head.all("authorization"), ["Bearer upstream-key"]);
    assert_eq!(request.get("host"), Some(&*pair.0.address.to_string()));
    assert_eq!(request.get("accept-encoding"), Some("identity"));
    assert_eq!(request.get("x-custom"), Some("stays"));
    for name in ["cookie", "via", "x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip"] {
        assert!(!request.head.has(name), "{name} in {head}");
    }
}

#[test]
fn an_endpoint_without_a_key_gets_no_credential() {
    let origin = origin().reply("{}").start();
    let gateway = ai_gateway("", &[model("m", &origin, "vllm", "")]).start();

    gateway.client().post(
        "/v1/embeddings",
        "Authorization: Bearer secret\r\n",
        "{\"model\":\"m\"}",
    );

    assert!(!origin.request().head.has("authorization"));
}

#[test]
fn the_endpoint_s_own_headers_come_last() {
    let origin = origin().reply("{}").start();
    let lines = "headers = { x-team = \"a\", user-agent = \"gateway\" }";
    let gateway = ai_gateway("", &[model("m", &origin, "openai", lines)]).start();

    let fields = "X-Team: forged\r\nUser-Agent: sdk\r\n";
    gateway.client().post("/v1/completions", fields, "{\"model\":\"m\"}");

    let request = origin.request();
    assert_eq!(request.head.all("x-team"), ["a"]);
    assert_eq!(request.head.all("user-agent"), ["gateway"]);
}

#[test]
fn every_operation_goes_to_its_path_under_both_prefixes() {
    let pair = pair();
    for operation in ["chat/completions", "completions", "embeddings", "responses", "rerank"] {
        for prefix in ["/v1", "/api/v1"] {
            let target = format!("{prefix}/{operation}?a=b");
            let reply = pair.1.client().post(&target, "", "{\"model\":\"m\"}");
            assert_eq!(reply.status, 200, "{target}: {}", reply.text());
            let seen = pair.0.requests().pop().expect("a request");
            assert_eq!(seen.target(), format!("/v1/{operation}?a=b"));
        }
    }
}

#[track_caller]
fn expect_refused(pair: &(Origin, Gateway), body: &str, param: serde_json::Value) {
    let before = pair.0.requests_seen();
    let reply = chat(&pair.1, body);
    assert_eq!(reply.status, 400, "{body}");
    let error = &reply.json()["error"];
    assert_eq!(error["type"], "invalid_request_error", "{body}");
    assert_eq!(error["param"], param, "{body}: {error}");
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(pair.0.requests_seen(), before, "{body} went out");
}

#[test]
fn a_body_that_readers_could_read_differently_is_refused() {
    let pair = pair();

    expect_refused(&pair, "{\"model\":\"m\",\"model\":\"m\"}", json!("model"));
    expect_refused(&pair, "{\"model\":\"m\",\"\\u006dodel\":\"other\"}", json!("model"));
    expect_refused(&pair, "{\"model\":\"m\",\"stream\":true,\"stream\":false}", json!("stream"));
    expect_refused(&pair, "{\"model\":\"m\"} {\"model\":\"other\"}", json!(null));
    expect_refused(&pair, "{\"messages\":[]}", json!("model"));
    expect_refused(&pair, "{\"model\":7}", json!("model"));
    expect_refused(&pair, "{\"model\":\"m\"", json!(null));
    expect_refused(&pair, "", json!(null));
    expect_refused(&pair, "[]", json!(null));
    expect_refused(&pair, &format!("{{\"model\":\"m\",\"a\":{}", "[".repeat(100_000)), json!(null));
}

#[test]
fn an_unknown_model_is_404_with_near_names() {
    let origin = origin().start();
    let models: Vec<_> = ["gpt-4o", "gpt-4o-mini", "claude-3"]
        .iter()
        .map(|name| model(name, &origin, "openai", ""))
        .collect();
    let gateway = ai_gateway("", &models).start();
    let mut client = gateway.client();

    let reply = client.post("/v1/chat/completions", "", "{\"model\":\"gpt-4p\"}");

    assert_eq!(reply.status, 404);
    assert_eq!(reply.get("content-type"), Some("application/json"));
    let error = reply.json()["error"].clone();
    assert_eq!((&error["code"], &error["param"]), (&json!("model_not_found"), &json!("model")));
    assert_eq!(error["type"], "invalid_request_error");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("`gpt-4p`") && message.contains("`gpt-4o`"), "{message}");
    assert!(!message.contains("claude"), "{message}");
    // The connection goes on.
    assert_eq!(client.post("/v1/embeddings", "", "{\"model\":\"gpt-4o\"}").status, 200);
}

#[test]
fn an_alias_leads_to_its_model() {
    let origin = origin().reply("{}").start();
    let text = model("m", &origin, "openai", "").replacen("]\n", "]\naliases = [\"latest\"]\n", 1);
    let gateway = ai_gateway("", &[text]).start();

    let reply = gateway.client().post(
        "/v1/completions",
        "X-Request-Id: by-alias\r\n",
        "{\"model\":\"latest\"}",
    );

    assert_eq!(reply.status, 200);
    assert_eq!(gateway.log_line("by-alias")["model"], "m");
}

#[test]
fn anthropic_calls_go_to_anthropic_endpoints_in_their_shape() {
    let origin = origin().reply("{\"type\":\"message\"}").start();
    let models = [model("claude", &origin, "anthropic", "api_key = \"upstream-key\"")];
    let gateway = ai_gateway("", &models).start();
    let mut client = gateway.client();
    let fields = "X-Api-Key: client-secret\r\nAnthropic-Version: 2023-06-01\r\n";

    let reply = client.post("/v1/messages", fields, "{\"model\":\"claude\"}");
    assert_eq!(reply.status, 200);
    let request = origin.request();
    assert_eq!(request.target(), "/v1/messages");
    assert_eq!(request.head.all("x-api-key"), ["upstream-key"]);
    assert_eq!(request.get("anthropic-version"), Some("2023-06-01"));

    let reply = client.post("/v1/messages", fields, "{\"model\":\"claud\"}");
    assert_eq!(reply.status, 404);
    let body = reply.json();
    assert_eq!(
        (&body["type"], &body["error"]["type"]),
        (&json!("error"), &json!("not_found_error"))
    );
    assert_eq!(body["request_id"].as_str(), reply.get("x-request-id"));

    // An OpenAI call for a model that only speaks Anthropic's dialect.
    let reply = client.post("/v1/chat/completions", "", "{\"model\":\"claude\"}");
    assert_eq!(reply.status, 404);
    assert!(reply.json()["error"]["message"].is_string());
}

#[test]
fn unknown_operations_and_methods_are_refused_in_the_client_s_dialect() {
    let pair = pair();
    let mut client = pair.1.client();

    let reply = client.post("/v1/nothing", "", "{\"model\":\"m\"}");
    assert_eq!(
        (reply.status, &reply.json()["error"]["type"]),
        (404, &json!("invalid_request_error"))
    );
    let reply = client.get("/v1/chat/completions");
    assert_eq!((reply.status, reply.get("allow")), (405, Some("POST")));
    assert!(reply.json()["error"].is_object());
    let reply = client.post("/v1/models", "", "{}");
    assert_eq!((reply.status, reply.get("allow")), (405, Some("GET")));
    assert_eq!(pair.0.requests_seen(), 0);
}

#[test]
fn the_list_of_models_is_the_configuration_s() {
    let origin = origin().start();
    let models: Vec<_> =
        ["b", "a/b c"].iter().map(|name| model(name, &origin, "openai", "")).collect();
    let gateway = ai_gateway("", &models).start();
    let mut client = gateway.client();

    for target in ["/v1/models", "/api/v1/models"] {
        let list = client.get(target).json();
        assert_eq!(list["object"], "list");
        let ids: Vec<_> =
            list["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
        assert_eq!(ids, ["b", "a/b c"]);
        assert_eq!(list["data"][0]["object"], "model");
        assert!(list["data"][0]["created"].is_u64());
    }
    assert_eq!(client.get("/v1/models/b").json()["id"], "b");
    let reply = client.get("/v1/models/a/b%20c");
    assert_eq!(reply.json()["id"], "a/b c", "{}", reply.text());
    assert_eq!(client.get("/v1/models/c").status, 404);
    assert_eq!(origin.requests_seen(), 0);
}

#[test]
fn a_chunked_body_goes_out_with_a_length() {
    let pair = pair();

    let reply = pair.1.talk(wire![
        "POST /v1/chat/completions HTTP/1.1" "Host: a" "Transfer-Encoding: chunked" ""
        "5" "{\"mod" "6" "el\":\"m" "2" "\"}" "0" "X-Trailer: x" ""
    ]);

    assert_eq!(reply.status, 200);
    let request = pair.0.request();
    assert_eq!(request.body, b"{\"model\":\"m\"}");
    assert_eq!(request.get("content-length"), Some("13"));
    assert!(!request.head.has("transfer-encoding"));
}

#[test]
fn a_form_names_its_model_too() {
    let origin = origin().reply("{}").start();
    let gateway = ai_gateway("", &[model("m", &origin, "openai", "model = \"whisper-1\"")]).start();
    let form = |model: &str| {
        let mut form = wire![
            "--XX" "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\""
            "Content-Type: audio/wav" ""
        ];
        form.extend_from_slice(b"\x00\xff--X\r\n--XY\r\nname=\"model\"\r\n");
        form.extend(
            wire!["--XX" "Content-Disposition: form-data; name=\"model\"" "" model "--XX--"],
        );
        form
    };

    let reply = gateway.client().post(
        "/v1/audio/transcriptions",
        "Content-Type: multipart/form-data; boundary=XX\r\n",
        form("m"),
    );

    assert_eq!(reply.status, 200, "{}", reply.text());
    let request = origin.request();
    assert_eq!(request.body, form("whisper-1"));
    assert_eq!(request.target(), "/v1/audio/transcriptions");
}

#[test]
fn the_endpoint_is_told_how_the_body_was_read_and_not_what_the_client_calls_it() {
    let pair = pair();
    let form = "--X-\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--X---\r\n";
    for (target, said, body, told) in [
        ("/v1/completions", "", "{\"model\":\"m\"}", "application/json"),
        // As a form of a browser, this would say `model=other`.
        (
            "/v1/completions",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "{\"a\":\"&model=other&\",\"model\":\"m\"}",
            "application/json",
        ),
        (
            "/v1/completions",
            "Content-Type: application/json; charset=utf-7\r\nContent-Type: text/plain\r\n",
            "{\"model\":\"m\"}",
            "application/json",
        ),
        (
            "/v1/images/edits",
            "Content-Type: multipart/form-data; boundary=X-; boundary*=us-ascii''Y; a=b\r\n",
            form,
            "multipart/form-data; boundary=X-",
        ),
    ] {
        let reply = pair.1.client().post(target, said, body);
        assert_eq!(reply.status, 200, "{said}: {}", reply.text());
        let request = pair.0.requests().pop().expect("a request");
        assert_eq!(request.head.all("content-type"), [told], "{said}");
    }

    let said = "Content-Type: multipart/form-data; boundary=X-; charset=utf-7\r\n";
    assert_eq!(pair.1.client().post("/v1/images/edits", said, form).status, 415);
}

#[test]
fn a_body_above_the_limit_is_413_in_the_dialect() {
    let origin = origin().start();
    let models = [model("m", &origin, "openai", ""), model("c", &origin, "anthropic", "")];
    let gateway = ai_gateway("limits = { body = \"1KiB\" }", &models).start();
    let large = format!("{{\"model\":\"m\",\"a\":\"{}\"}}", "x".repeat(2_000));

    let reply = chat(&gateway, &large);
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()["error"]["type"], "invalid_request_error");

    let reply = gateway.client().post("/v1/messages", "", &large);
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()["error"]["type"], "request_too_large");

    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let reply = gateway.talk(format!(
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
    ));
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
    assert_eq!(gateway.count("ringgate_refused_total{reason=\"body_too_large\"}"), 3);
    assert_eq!(origin.requests_seen(), 0);
}

#[test]
fn bodies_above_what_the_instance_may_hold_wait_outside() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |_, connection| {
            wait.pass();
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        })
        .start();
    let models = [model("m", &origin, "openai", "")];
    let gateway = ai_gateway("", &models).server("buffered = \"1MiB\"").start();
    let body = format!("{{\"model\":\"m\"{}}}", " ".repeat(990_000));
    let mut first = gateway.client();
    first.send(format!(
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    // Held until its answer has passed: the origin has it, and has not answered.
    crate::support::eventually("the first call", || (origin.requests_seen() == 1).then_some(()));

    let refused = chat(&gateway, "{\"model\":\"m\"}");

    assert_eq!(refused.status, 503);
    assert!(refused.head.has("retry-after"));
    assert!(refused.json()["error"].is_object());
    gate.open();
    assert_eq!(first.read().status, 200);
    gate.open();
    crate::support::eventually("room for the next", || {
        (chat(&gateway, "{\"model\":\"m\"}").status == 200).then_some(())
    });
}

#[test]
fn an_awaited_continue_is_given_before_the_body_is_read() {
    let pair = pair();
    let mut client = pair.1.client();

    client.send(wire![
        "POST /v1/completions HTTP/1.1" "Host: a" "Content-Length: 13" "Expect: 100-continue" ""
    ]);
    assert_eq!(client.read().status, 100);
    client.send("{\"model\":\"m\"}");

    assert_eq!(client.read().status, 200);
    assert!(!pair.0.request().head.has("expect"));
}

#[test]
fn a_call_on_a_connection_that_had_died_is_not_lost() {
    // The origin closes each connection behind its answer without saying so.
    let origin = origin()
        .on(|_, connection| {
            connection.reply("{}");
            connection.close();
        })
        .start();
    let gateway = ai_gateway("", &[model("m", &origin, "openai", "")]).start();
    let mut client = gateway.client();

    for number in 0..20 {
        assert_eq!(client.post("/v1/completions", "", "{\"model\":\"m\"}").status, 200, "{number}");
        origin.wait_for_ends(number + 1);
    }
}

#[test]
fn an_answer_streams_through_as_it_is() {
    let events = "data: {\"a\":1}\n\ndata: [DONE]\n\n";
    let origin = origin()
        .reply_raw(wire![
            "HTTP/1.1 200 OK" "Content-Type: text/event-stream" "Transfer-Encoding: chunked" ""
            format!("{:x}", events.len()) events "0" ""
        ])
        .start();
    let gateway = ai_gateway("", &[model("m", &origin, "openai", "")]).start();

    let reply = gateway.client().post(
        "/v1/chat/completions",
        "X-Request-Id: s\r\n",
        "{\"model\":\"m\",\"stream\":true}",
    );

    assert_eq!(reply.text(), events);
    let line = gateway.log_line("s");
    assert_eq!((&line["streamed"], &line["model"]), (&json!(true), &json!("m")));
    gateway.wait_for_count("ringgate_time_to_first_event_seconds_count{model=\"m\"}", 1);
}

#[test]
fn an_upstream_that_fails_is_told_in_the_dialect_and_without_detail() {
    let origin = origin().on(|_, connection| connection.close()).start();
    let models = [model("m", &origin, "openai", ""), model("c", &origin, "anthropic", "")];
    let gateway = ai_gateway("", &models).start();

    let reply = chat(&gateway, "{\"model\":\"m\"}");
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (502, &json!("server_error")));
    assert!(!reply.text().contains("127.0.0.1"));

    let reply = gateway.client().post("/v1/messages", "", "{\"model\":\"c\"}");
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (502, &json!("api_error")));
}

#[test]
fn an_upstream_s_own_errors_pass_as_they_are() {
    let body = "{\"error\":{\"message\":\"slow down\"}}";
    let length = body.len();
    let origin = origin()
        .reply_raw(format!(
            "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .start();
    let gateway = ai_gateway("", &[model("m", &origin, "openai", "")]).start();

    let reply = chat(&gateway, "{\"model\":\"m\"}");

    assert_eq!((reply.status, reply.text()), (429, body));
    assert_eq!(reply.get("retry-after"), Some("7"));
}

#[test]
fn the_body_of_a_refused_call_is_never_read_as_a_request() {
    let (origin, gateway) = pair();
    let inner = "GET /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = inner.len();
    for fields in ["application/json", "multipart/form-data; boundary=b"] {
        let mut client = gateway.client();
        client.send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: {fields}\r\n\
             Content-Length: {length}\r\n\r\n{inner}"
        ));
        assert_eq!(client.read().status, 400);
        client.send("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = client.read();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["object"], "list", "the next answer is the next request's");
    }
    assert_eq!(origin.requests_seen(), 0);
}
