use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

mod oracle;

/// What [`Found`] says, without the borrow.
type Outcome = Result<(String, Range<usize>, bool, Option<Range<usize>>, Option<u64>), JsonFault>;

fn scan_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut scanner = Scanner::new();
    for piece in pieces {
        scanner.feed(piece)?;
    }
    let found = scanner.finish()?;
    Ok((
        found.model.to_owned(),
        found.model_span,
        found.stream,
        found.stream_options,
        found.max_tokens,
    ))
}

fn scan(body: impl AsRef<[u8]>) -> Outcome {
    scan_pieces([body.as_ref()])
}

fn problem(body: impl AsRef<[u8]>) -> (usize, JsonProblem) {
    let fault = scan(body).unwrap_err();
    (fault.at, fault.problem)
}

/// Holds the outcome against every cut in two and against single bytes.
fn assert_cuts_change_nothing(body: &[u8]) {
    let whole = scan(body);
    assert_eq!(scan_pieces(body.chunks(1)), whole, "{}", body.escape_ascii());
    for cut in 0..=body.len() {
        let (before, after) = body.split_at(cut);
        assert_eq!(scan_pieces([before, after]), whole, "{} cut at {cut}", body.escape_ascii());
    }
}

const CHAT: &str = r#" {"messages":[{"role":"user","content":"Grüße, \"世界\" \ud83d\ude00 😀\n"}],
    "temperature":-1.5e-3,"stop":null,"tools":[],"n":[0,{"model":"x","stream":1}],
    "mod\u0065l":"gpt-4\u002fö","stream":true,"max_tokens":64,"max_completion_tokens":128,
    "stream_options":{"include_usage":true}} "#;

#[test]
fn the_watched_members_are_found_wherever_they_stand() {
    let (model, span, stream, options, max_tokens) = scan(CHAT).unwrap();
    assert_eq!(model, "gpt-4/ö");
    assert_eq!(&CHAT[span], r#""gpt-4\u002fö""#);
    assert!(stream);
    assert_eq!(&CHAT[options.unwrap()], r#"{"include_usage":true}"#);
    assert_eq!(max_tokens, Some(128));
}

#[test]
fn absent_and_null_members_are_no() {
    let (_, _, stream, options, max_tokens) =
        scan(r#"{"model":"m","stream":null,"max_tokens":null}"#).unwrap();
    assert_eq!((stream, options, max_tokens), (false, None, None));
    let (_, _, stream, ..) = scan(r#"{"model":"m","stream":false}"#).unwrap();
    assert!(!stream);
}

#[test]
fn only_a_plain_integer_counts_as_max_tokens() {
    let max_tokens = |value: &str| scan(format!(r#"{{"model":"m","max_tokens":{value}}}"#));
    assert_eq!(max_tokens("0").unwrap().4, Some(0));
    assert_eq!(max_tokens("18446744073709551615").unwrap().4, Some(u64::MAX));
    let zeros = "0".repeat(500);
    for other in ["18446744073709551616", "-1", "1.0", "1e3", "\"5\"", "[5]", "{\"a\":5}"] {
        assert_eq!(max_tokens(other).unwrap().4, None, "{other}");
    }
    assert_eq!(max_tokens(&format!("1{zeros}")).unwrap().4, None);
}

#[test]
fn a_second_member_of_a_watched_name_is_refused_in_every_spelling() {
    let twice = |at, member| (at, JsonProblem::Twice(member));
    assert_eq!(problem(r#"{"model":"a","model":"a"}"#), twice(13, Member::Model));
    assert_eq!(problem(r#"{"model":"a","mod\u0065l":"b"}"#), twice(13, Member::Model));
    assert_eq!(problem(r#"{"\u006D\u006fdel":"a","model":"b"}"#), twice(23, Member::Model));
    assert_eq!(problem(r#"{"stream":null,"stream":true}"#), twice(15, Member::Stream));
    assert_eq!(problem(r#"{"max_tokens":1,"max_tokens":1}"#), twice(16, Member::MaxTokens));
    let options = r#"{"stream_options":{},"stream_options":null}"#;
    assert_eq!(problem(options), twice(21, Member::StreamOptions));
}

#[test]
fn names_that_differ_in_case_only_are_refused() {
    let other = |member| (1, JsonProblem::OtherCase(member));
    assert_eq!(problem(r#"{"Model":"a"}"#), other(Member::Model));
    assert_eq!(problem(r#"{"\u017ftream":true}"#), other(Member::Stream));
    assert_eq!(problem("{\"max_to\u{212a}ens\":1}"), other(Member::MaxTokens));
    assert!(scan(r#"{"models":1,"mode":2,"model_":3,"":4,"model":"m"}"#).is_ok());
}

#[test]
fn watched_names_deeper_down_mean_nothing() {
    let body = r#"{"a":{"model":1,"model":2,"Model":3},"b":[{"stream":"x"}],"model":"m"}"#;
    assert_eq!(scan(body).unwrap().0, "m");
}

#[test]
fn the_types_of_the_watched_members_are_checked() {
    let wrong = |member, found| JsonProblem::WrongType { member, found };
    let number = wrong(Member::Model, ValueKind::Number);
    assert_eq!(problem(r#"{"model":1}"#), (9, number));
    let null = wrong(Member::Model, ValueKind::Null);
    assert_eq!(problem(r#"{"model":null}"#), (9, null));
    let array = wrong(Member::Model, ValueKind::Array);
    assert_eq!(problem(r#"{"model":["a"]}"#), (9, array));
    let string = wrong(Member::Stream, ValueKind::String);
    assert_eq!(problem(r#"{"stream":"true"}"#), (10, string));
    let truth = wrong(Member::StreamOptions, ValueKind::True);
    assert_eq!(problem(r#"{"stream_options":true}"#), (18, truth));
}

#[test]
fn the_length_of_the_model_name_is_bounded() {
    let body = |name: &str| format!(r#"{{"model":"{name}"}}"#);
    assert_eq!(problem(body("")), (9, JsonProblem::ModelEmpty));
    assert_eq!(problem("{}"), (2, JsonProblem::NoModel));
    let longest = "é".repeat(MODEL_NAME_MAX / 2);
    assert_eq!(scan(body(&longest)).unwrap().0, longest);
    assert_eq!(problem(body(&format!("{longest}x"))), (9, JsonProblem::ModelTooLong));
    let escaped = r"\u00e9".repeat(MODEL_NAME_MAX / 2);
    assert_eq!(scan(body(&escaped)).unwrap().0, longest);
}

#[test]
fn nesting_is_bounded_where_it_says() {
    let body = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"model":"m","a":{open}{close}}}"#)
    };
    assert!(scan(body(usize::from(NESTING_MAX) - 1)).is_ok());
    let first_too_deep = r#"{"model":"m","a":"#.len() + usize::from(NESTING_MAX) - 1;
    assert_eq!(problem(body(NESTING_MAX.into())), (first_too_deep, JsonProblem::TooDeep));
    assert_eq!(problem(body(1_000_000)), (first_too_deep, JsonProblem::TooDeep));
}

#[test]
fn a_fault_says_where_and_what() {
    let said = |body: &[u8]| scan(body).unwrap_err().to_string();
    assert_eq!(said(b""), "at byte 0: the body ends where `{` is expected");
    assert_eq!(said(b"[]"), "at byte 0: expected `{`, found `[`");
    assert_eq!(said(b"\xef\xbb\xbf{}"), "at byte 0: a byte order mark");
    assert_eq!(said(b"{\"a\" 1}"), "at byte 5: expected `:`, found `1`");
    assert_eq!(said(b"{\"a\":1,}"), "at byte 7: expected a member name, found `}`");
    assert_eq!(said(b"{\"a\":[1}"), "at byte 7: expected `,` or `]`, found `}`");
    assert_eq!(said(b"{\"a\":.5}"), "at byte 5: expected a value, found `.`");
    assert_eq!(said(b"{\"a\":nul"), {
        "at byte 8: the body ends where `true`, `false` or `null` is expected"
    });
    assert_eq!(said(b"{\"a\xff\":1}"), "at byte 3: a string that is not UTF-8");
    assert_eq!(said(b"{\"a\\x\":1}"), "at byte 4: no such escape in a string: `x`");
    assert_eq!(said(b"{\"a\x01\":1}"), {
        "at byte 3: a control character in a string must be escaped, found byte 0x01"
    });
    assert_eq!(said(b"{\"model\":\"m\"}{}"), "at byte 13: expected the end of the body, found `{`");
    assert_eq!(said(b"{\"model\":7}"), "at byte 9: `model` must be a string, found a number");
}

#[test]
fn a_fault_is_repeated_by_every_later_call() {
    let mut scanner = Scanner::new();
    let fault = scanner.feed(b"[").unwrap_err();
    assert_eq!(scanner.feed(br#"{"model":"m"}"#), Err(fault.clone()));
    assert_eq!(scanner.finish().unwrap_err(), fault);
    scanner.reset();
    scanner.feed(br#"{"model":"m"}"#).unwrap();
    assert_eq!(scanner.finish().unwrap().model, "m");
}

/// Bodies at the edges of the grammar. serde_json agrees on each of them, as the test says.
const EDGES: &[&[u8]] = &[
    b"{}",
    b"{ }",
    b"\t\r\n {\"a\":1} \n",
    b"\x0b{}",
    b"{\"a\":1}\x00",
    b"{,}",
    b"{\"a\"}",
    b"{\"a\":}",
    b"{\"a\":1 \"b\":2}",
    b"{\"a\":1,,\"b\":2}",
    b"{'a':1}",
    b"{a:1}",
    b"{\"a\":[}",
    b"{\"a\":[]}",
    b"{\"a\":[,]}",
    b"{\"a\":[1,]}",
    b"{\"a\":[1 2]}",
    b"{\"a\":[[],{}]}",
    b"{\"a\":{]}",
    b"{\"a\":0}",
    b"{\"a\":-0}",
    b"{\"a\":00}",
    b"{\"a\":01}",
    b"{\"a\":-}",
    b"{\"a\":+1}",
    b"{\"a\":1.}",
    b"{\"a\":.1}",
    b"{\"a\":1.5}",
    b"{\"a\":1e}",
    b"{\"a\":1e+}",
    b"{\"a\":1E+07}",
    b"{\"a\":1e5.5}",
    b"{\"a\":0x10}",
    b"{\"a\":1_000}",
    b"{\"a\":NaN}",
    b"{\"a\":Infinity}",
    b"{\"a\":true}",
    b"{\"a\":tru}",
    b"{\"a\":truE}",
    b"{\"a\":truee}",
    b"{\"a\":null1}",
    b"{\"a\":\"\\u00e9\\/\\b\\f\"}",
    b"{\"a\":\"\\u00g0\"}",
    b"{\"a\":\"\\u00\"}",
    b"{\"a\":\"\\\"}",
    b"{\"a\":\"\\a\"}",
    b"{\"a\":\"\\ud800\"}",
    b"{\"a\":\"\\ud800\\n\"}",
    b"{\"a\":\"\\ud800x\"}",
    b"{\"a\":\"\\ud800\\ud800\"}",
    b"{\"a\":\"\\ud800\\u0061\"}",
    b"{\"a\":\"\\udc00\"}",
    b"{\"a\":\"\\ud83d\\ude00\"}",
    b"{\"a\":\"\x7f\"}",
    b"{\"a\":\"\x1f\"}",
    b"{\"a\":\"\n\"}",
    b"{\"a\":\"\xc3\xa9\"}",
    b"{\"a\":\"\xc3\"}",
    b"{\"a\":\"\xc3\\n\"}",
    b"{\"a\":\"\xc0\x80\"}",
    b"{\"a\":\"\xed\xa0\x80\"}",
    b"{\"a\":\"\xf4\x90\x80\x80\"}",
    b"{\"a\":\"\xf0\x9f\x98\x80\"}",
    b"{\"a\":\"\x80\"}",
    b"{\"a\":1}{",
    b"{\"a\":1}}",
    b"{\"a\":\"",
    b"{\"a\":\"x",
    b"{\"a\":\"\\",
    b"{",
    b"{\"",
    b"1",
    b"// c\n{}",
    b"{\"a\":1/**/}",
];

/// The same body with a model, so that only its grammar decides.
fn with_model(body: &[u8]) -> Vec<u8> {
    match body.iter().position(|byte| *byte == b'{') {
        Some(at) => {
            let (before, after) = body.split_at(at + 1);
            let is_empty = after.trim_ascii_start().starts_with(b"}");
            let member: &[u8] = if is_empty { br#""model":"m""# } else { br#""model":"m","# };
            [before, member, after].concat()
        }
        None => body.to_vec(),
    }
}

/// But for numbers: how great one may be is not a matter of grammar.
fn assert_agrees_with_serde_json(body: &[u8]) {
    let theirs = serde_json::from_slice::<Map<String, Value>>(body);
    if matches!(&theirs, Err(error) if error.to_string().starts_with("number out of range")) {
        return;
    }
    let ours = scan(body);
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{}: {ours:?}, {theirs:?}", body.escape_ascii());
}

#[test]
fn the_grammar_is_that_of_serde_json() {
    for edge in EDGES {
        assert_agrees_with_serde_json(&with_model(edge));
    }
}

#[test]
fn no_cut_changes_what_is_found() {
    assert_cuts_change_nothing(CHAT.as_bytes());
    for edge in EDGES {
        assert_cuts_change_nothing(edge);
        assert_cuts_change_nothing(&with_model(edge));
    }
    for body in [r#"{"model":"a","mod\u0065l":"b"}"#, r#"{"Model":"a"}"#, r#"{"model":12}"#] {
        assert_cuts_change_nothing(body.as_bytes());
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_call_is_read_as_serde_json_wrote_it(
        model in "\\PC{1,60}",
        stream in any::<Option<bool>>(),
        max_tokens in any::<Option<u64>>(),
        other in any_value(),
        pretty in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let call = json!({
            "model": model, "stream": stream, "max_tokens": max_tokens, "a": other, "z": other,
        });
        let body = if pretty { format!("{call:#}") } else { call.to_string() };
        let (before, after) = body.as_bytes().split_at(cut.index(body.len()));
        let found = scan_pieces([before, after]).unwrap();
        prop_assert_eq!(&found.0, &model);
        prop_assert_eq!(serde_json::from_str::<String>(&body[found.1]).unwrap(), model);
        prop_assert_eq!(found.2, stream == Some(true));
        prop_assert_eq!(found.4, max_tokens);
    }

    /// One byte of a valid body is changed, removed or added. Names that are watched would make a
    /// difference of their own, so the body has none but the model.
    #[test]
    fn a_damaged_body_is_refused_when_serde_json_refuses_it(
        value in any_value(),
        at in any::<prop::sample::Index>(),
        remove in 0_usize..2,
        insert in prop::option::of(prop_oneof![
            any::<u8>(),
            prop::sample::select(b"{}[]\",:\\/0-.eEtu \n".to_vec()),
        ]),
    ) {
        let mut body = json!({ "a": value }).to_string().into_bytes();
        let at = at.index(body.len());
        body.splice(at..(at + remove).min(body.len()), insert);
        assert_agrees_with_serde_json(&with_model(&body));
    }

    #[test]
    fn bytes_of_any_kind_have_one_outcome_however_they_are_cut(
        body in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\u0dtrue \xc3\xa9".to_vec())],
            0..60,
        ),
    ) {
        let in_object = [&b"{\"model\":\"m\",\"a\":"[..], &body, b"}"].concat();
        assert_cuts_change_nothing(&body);
        assert_cuts_change_nothing(&in_object);
    }
}
