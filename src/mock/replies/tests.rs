use serde_json::{Value, json};

use super::*;
use crate::ai::call::Call;
use crate::ai::stream::FirstEvent;

const TOKENS: usize = 5;
const TEXT: &str = "Every ring has a gate";

fn reply(method: &str, path: &str, body: &str) -> Reply {
    let call = Call::read(method, path, false).unwrap();
    match Request::read(&call, b"application/json", body.as_bytes(), TOKENS) {
        Ok(request) => Reply::to(&request),
        Err(error) => Reply::refusal(&error, call.dialect),
    }
}

fn bytes(path: &str, body: &str) -> Vec<u8> {
    match reply("POST", path, body).body {
        Body::Whole(bytes) => bytes,
        Body::Events(_) => panic!("a whole body is expected"),
    }
}

fn whole(path: &str, body: &str) -> Value {
    serde_json::from_slice(&bytes(path, body)).unwrap()
}

/// Each event with its pace; one piece of text for each.
fn events(path: &str, body: &str) -> Vec<(Pace, String)> {
    let Body::Events(mut events) = reply("POST", path, body).body else {
        panic!("events are expected")
    };
    let mut all = Vec::new();
    let mut out = Vec::new();
    while let Some(pace) = events.write_next(&mut out) {
        let event = String::from_utf8(std::mem::take(&mut out)).unwrap();
        assert!(event.ends_with("\n\n") && event.matches("\n\n").count() == 1, "{event:?}");
        all.push((pace, event));
    }
    assert!(events.write_next(&mut out).is_none(), "the end is the end");
    all
}

/// The data of each event; `[DONE]` is left out. The name, if there is one, is that in the data.
fn data(path: &str, body: &str) -> Vec<Value> {
    let parse = |(_, event): (Pace, String)| {
        let (name, data) = match event.strip_prefix("event: ") {
            Some(rest) => rest.split_once('\n').map(|(name, data)| (Some(name), data)).unwrap(),
            None => (None, event.as_str()),
        };
        let value = serde_json::from_str::<Value>(data.strip_prefix("data: ").unwrap()).ok()?;
        assert!(name.is_none_or(|name| value["type"] == name));
        Some(value)
    };
    events(path, body).into_iter().filter_map(parse).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn joined(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}

#[test]
fn a_whole_chat_names_its_model_and_counts_its_tokens() {
    let body = r#"{"model":"a\"b","messages":[]}"#;
    let chat = whole("/v1/chat/completions", body);
    assert_eq!(chat["model"], "a\"b");
    let choice = &chat["choices"][0];
    assert_eq!(choice["message"], json!({"role": "assistant", "content": TEXT, "refusal": null}));
    assert_eq!(choice["finish_reason"], "stop");
    let prompt = body.len() / 4;
    let usage = json!({
        "prompt_tokens": prompt, "completion_tokens": TOKENS, "total_tokens": prompt + TOKENS,
    });
    assert_eq!(chat["usage"], usage);
}

#[test]
fn a_limit_shortens_the_text_and_is_told_as_the_reason() {
    let body = r#"{"model":"m","max_tokens":2,"max_output_tokens":2,"input":"x"}"#;
    let chat = whole("/v1/chat/completions", body);
    assert_eq!(chat["choices"][0]["message"]["content"], "Every ring");
    assert_eq!(chat["choices"][0]["finish_reason"], "length");
    assert_eq!(chat["usage"]["completion_tokens"], 2);
    assert_eq!(whole("/v1/messages", body)["stop_reason"], "max_tokens");
    assert_eq!(whole("/v1/completions", body)["choices"][0]["text"], "Every ring");
    let response = whole("/v1/responses", body);
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
}

#[test]
fn a_streamed_chat_begins_with_the_role_and_ends_with_usage_and_done() {
    let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
    let chunks = data("/v1/chat/completions", body);
    assert_eq!(chunks.len(), 1 + TOKENS + 2);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(joined(&chunks, "/choices/0/delta/content"), TEXT);
    assert_eq!(chunks[TOKENS + 1]["choices"][0]["finish_reason"], "stop");
    let usage = &chunks[TOKENS + 2];
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], TOKENS);
    assert!(chunks[..=TOKENS + 1].iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
    assert_eq!(events("/v1/chat/completions", body).last().unwrap().1, "data: [DONE]\n\n");
}

#[test]
fn usage_is_not_streamed_unless_asked_for() {
    for path in ["/v1/chat/completions", "/v1/completions"] {
        let chunks = data(path, r#"{"model":"m","stream":true}"#);
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    }
}

#[test]
fn a_streamed_completion_says_what_a_whole_one_does() {
    let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
    let chunks = data("/v1/completions", body);
    let whole = whole("/v1/completions", r#"{"model":"m"}"#);
    assert_eq!(joined(&chunks, "/choices/0/text"), whole["choices"][0]["text"].as_str().unwrap());
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], TOKENS);
}

#[test]
fn a_message_is_told_in_the_order_of_anthropics_events() {
    let body = r#"{"model":"m","stream":true,"max_tokens":3}"#;
    let events = data("/v1/messages", body);
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(types(&events), expected);
    assert_eq!(events[0]["message"]["role"], "assistant");
    assert_eq!(joined(&events, "/delta/text"), "Every ring has");
    assert_eq!(events[7]["usage"]["output_tokens"], 3);
    assert_eq!(events[7]["delta"]["stop_reason"], "max_tokens");
    let whole = whole("/v1/messages", r#"{"model":"m","max_tokens":3}"#);
    assert_eq!(whole["content"][0]["text"], "Every ring has");
}

#[test]
fn the_events_of_a_response_are_numbered_and_end_with_the_whole_response() {
    let events = data("/v1/responses", r#"{"model":"m","input":"x","stream":true}"#);
    let numbers: Vec<_> = events.iter().map(|event| &event["sequence_number"]).collect();
    assert!(numbers.iter().enumerate().all(|(index, number)| **number == index));
    let delta = "response.output_text.delta";
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        delta,
        delta,
        delta,
        delta,
        delta,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(types(&events), expected);
    assert_eq!(joined(&events, "/delta"), TEXT);
    let last = &events.last().unwrap()["response"];
    let body = r#"{"model":"m","input":"x"}"#;
    let mut whole = whole("/v1/responses", body);
    assert_eq!(whole["output"][0]["content"][0]["text"], TEXT);
    whole["usage"] = last["usage"].clone();
    assert_eq!(*last, whole);
}

#[test]
fn the_first_event_the_tokens_and_the_rest_have_their_pace() {
    let pace = |path| -> Vec<Pace> {
        let body = r#"{"model":"m","stream":true,"max_tokens":3}"#;
        events(path, body).into_iter().map(|(pace, _)| pace).collect()
    };
    use Pace::{AtOnce, First, Token};
    let chat = [First, AtOnce, Token, Token, AtOnce, AtOnce];
    assert_eq!(pace("/v1/chat/completions"), chat);
    assert_eq!(pace("/v1/completions"), [First, Token, Token, AtOnce, AtOnce]);
}

#[test]
fn the_first_event_of_every_stream_is_noticed_as_one() {
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"] {
        let (_, first) = events(path, r#"{"model":"m","stream":true}"#).swap_remove(0);
        assert!(FirstEvent::default().ends_in(first.as_bytes()), "{path}");
    }
}

#[test]
fn embeddings_are_the_same_numbers_in_both_encodings() {
    let body = |format| {
        format!(
            r#"{{"model":"m","input":["a","b","a"],"dimensions":5,"encoding_format":"{format}"}}"#
        )
    };
    let floats = whole("/v1/embeddings", &body("float"));
    let vector = |index: usize| -> Vec<f32> {
        serde_json::from_value(floats["data"][index]["embedding"].clone()).unwrap()
    };
    assert_eq!(vector(0).len(), 5);
    assert_eq!(vector(0), vector(2));
    assert_ne!(vector(0), vector(1));
    let length: f32 = vector(1).iter().map(|number| number * number).sum();
    assert!((length - 1.0).abs() < 1e-5);

    let mut expected = Vec::new();
    let little_endian: Vec<u8> = vector(1).iter().flat_map(|n| n.to_le_bytes()).collect();
    crate::http::base64::push_base64(&mut expected, &little_endian);
    let encoded = whole("/v1/embeddings", &body("base64"));
    assert_eq!(encoded["data"][1]["embedding"], String::from_utf8(expected).unwrap());
}

#[test]
fn a_ranking_is_as_long_as_asked_for_and_falls() {
    let body = r#"{"model":"m","query":"q","documents":["a","b","c"],"top_n":2}"#;
    let results = whole("/v1/rerank", body)["results"].clone();
    let expected = json!([
        {"index": 0, "relevance_score": 1.0}, {"index": 1, "relevance_score": 0.5},
    ]);
    assert_eq!(results, expected);
}

#[test]
fn speech_is_silence_in_the_format_asked_for() {
    let speech = |format| {
        bytes("/v1/audio/speech", &format!(r#"{{"model":"m","response_format":"{format}"}}"#))
    };
    let mp3 = speech("mp3");
    assert_eq!(mp3.len(), 4 * 417);
    assert!(mp3.chunks(417).all(|frame| frame.starts_with(&[0xff, 0xfb])));
    let wav = speech("wav");
    assert!(wav.starts_with(b"RIFF"));
    assert_eq!(wav[4..8], (wav.len() as u32 - 8).to_le_bytes());
    assert_eq!(wav.len(), 44 + speech("pcm").len());
}

#[test]
fn images_are_as_many_as_asked_for() {
    let images = whole("/v1/images/generations", r#"{"model":"m","n":3}"#);
    assert_eq!(images["data"].as_array().unwrap().len(), 3);
    let image = images["data"][2]["b64_json"].as_str().unwrap();
    assert!(image.starts_with("iVBORw0KGgo"));
}

#[test]
fn audio_is_heard_whole_or_in_events() {
    let call = Call::read("POST", "/v1/audio/transcriptions", false).unwrap();
    let form = |stream: &str| {
        let part = |name, value| {
            format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n")
        };
        let body = format!("{}{}--b--\r\n", part("model", "m"), part("stream", stream));
        let content_type = b"multipart/form-data; boundary=b";
        let request = Request::read(&call, content_type, body.as_bytes(), TOKENS).unwrap();
        Reply::to(&request).body
    };
    let Body::Whole(whole) = form("false") else { panic!("a whole body is expected") };
    assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap()["text"], TEXT);
    let Body::Events(mut events) = form("true") else { panic!("events are expected") };
    let mut out = Vec::new();
    while events.write_next(&mut out).is_some() {}
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.matches("transcript.text.delta").count(), TOKENS);
    assert!(out.contains(&format!(r#""type":"transcript.text.done","text":"{TEXT}""#)));
}

#[test]
fn models_are_listed_and_any_name_is_one() {
    let get = |path| match reply("GET", path, "").body {
        Body::Whole(bytes) => serde_json::from_slice::<Value>(&bytes).unwrap(),
        Body::Events(_) => panic!("a whole body is expected"),
    };
    assert_eq!(get("/v1/models")["data"][0]["id"], "mock-chat");
    assert_eq!(get("/v1/models/x/y")["id"], "x/y");
}

#[test]
fn a_refusal_is_in_the_dialect_of_the_call() {
    let refused = reply("POST", "/v1/messages", r#"{"model":1}"#);
    assert_eq!(refused.status, 400);
    let Body::Whole(body) = refused.body else { panic!("a whole body is expected") };
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["type"], "invalid_request_error");
    assert_eq!(body["type"], "error");
}

#[test]
fn counting_says_how_many_tokens_the_prompt_has() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
    let count = whole("/v1/messages/count_tokens", body);
    assert_eq!(count, json!({"input_tokens": body.len() / 4}));
}
