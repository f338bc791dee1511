//! The scanner against another reader: serde_json takes the members apart one by one, and the rules
//! are applied to what it says. Bodies are made of pieces that come near every rule.

use proptest::test_runner::Config;

use super::*;

/// A member of the top level as serde_json reads it, and where its value stands.
type Read = (String, Value, Range<usize>);

/// What serde_json says of a body.
enum Reading {
    Members(Vec<Read>),
    Refused,
    /// It cannot hold a number of this size, which is no matter of grammar.
    Unknown,
}

/// Reads one value, and returns where it begins and ends.
fn value(body: &[u8], from: usize) -> Result<(Value, Range<usize>), Reading> {
    let start = from + space(body, from);
    let mut stream = serde_json::Deserializer::from_slice(&body[start..]).into_iter();
    match stream.next() {
        Some(Ok(value)) => Ok((value, start..start + stream.byte_offset())),
        Some(Err(error)) if error.to_string().starts_with("number out of range") => {
            Err(Reading::Unknown)
        }
        _ => Err(Reading::Refused),
    }
}

/// How much white space stands there.
fn space(body: &[u8], from: usize) -> usize {
    let rest = body.get(from..).unwrap_or_default();
    rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count()
}

/// Passes over white space and `byte`.
fn pass(body: &[u8], from: usize, byte: u8) -> Option<usize> {
    let at = from + space(body, from);
    (body.get(at) == Some(&byte)).then_some(at + 1)
}

fn members(body: &[u8]) -> Result<Vec<Read>, Reading> {
    let mut members = Vec::new();
    let mut at = pass(body, 0, b'{').ok_or(Reading::Refused)?;
    let mut end = pass(body, at, b'}');
    while end.is_none() {
        let (Value::String(name), span) = value(body, at)? else { return Err(Reading::Refused) };
        let colon = pass(body, span.end, b':').ok_or(Reading::Refused)?;
        let (value, span) = value(body, colon)?;
        at = span.end;
        members.push((name, value, span));
        match pass(body, at, b',') {
            Some(next) => at = next,
            None => end = Some(pass(body, at, b'}').ok_or(Reading::Refused)?),
        }
    }
    let end = end.unwrap_or(at);
    if end + space(body, end) == body.len() { Ok(members) } else { Err(Reading::Refused) }
}

fn read(body: &[u8]) -> Reading {
    members(body).map_or_else(|reading| reading, Reading::Members)
}

const WATCHED: [&str; 6] = [
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
];

/// Model, its span, stream, the span of its options, most tokens: as `scan_pieces` tells them.
type Judged = (String, Range<usize>, bool, Option<Range<usize>>, Option<u64>);

/// The rules of the module's comment, applied to members that were read by somebody else.
fn judge(members: &[Read]) -> Option<Judged> {
    for (index, (name, ..)) in members.iter().enumerate() {
        let folded = name.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase();
        let is_second = members[..index].iter().any(|(earlier, ..)| earlier == name);
        if WATCHED.contains(&&*folded) && (folded != *name || is_second) {
            return None;
        }
    }
    let find = |wanted: &str| members.iter().find(|(name, ..)| name == wanted);
    let (_, model, model_span) = find("model")?;
    let model = model.as_str().filter(|model| (1..=MODEL_NAME_MAX).contains(&model.len()))?;
    let stream = match find("stream").map(|(_, stream, _)| stream) {
        None | Some(Value::Null) => false,
        Some(stream) => stream.as_bool()?,
    };
    let options = find("stream_options");
    if options.is_some_and(|(_, options, _)| !options.is_object() && !options.is_null()) {
        return None;
    }
    let max_tokens = WATCHED[3..].iter().filter_map(|name| find(name)?.1.as_u64()).max();
    let options = options.map(|(.., span)| span.clone());
    Some((model.to_owned(), model_span.clone(), stream, options, max_tokens))
}

fn assert_agrees(body: &[u8], pieces: &[&[u8]]) {
    let ours = scan_pieces(pieces.iter().copied());
    let shown = body.escape_ascii();
    match read(body) {
        Reading::Unknown => {}
        Reading::Refused => assert!(ours.is_err(), "serde_json refuses {shown}"),
        Reading::Members(members) => match judge(&members) {
            None => assert!(ours.is_err(), "a rule refuses {shown}"),
            Some(expected) => assert_eq!(ours.as_ref(), Ok(&expected), "{shown}"),
        },
    }
}

fn text(choices: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(choices).prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    text(&[
        r#""model""#,
        r#""mod\u0065l""#,
        r#""\u006dodel""#,
        r#""Model""#,
        r#""MODEL""#,
        r#""models""#,
        r#""mode""#,
        r#""model ""#,
        r#""model\u0000""#,
        r#""stream""#,
        r#""\u017ftream""#,
        "\"\u{17f}tream\"",
        r#""stream_options""#,
        r#""max_tokens""#,
        r#""max_to\u212aens""#,
        r#""max_completion_tokens""#,
        r#""max_output_tokens""#,
        r#""""#,
        r#""a""#,
        r#""\"model\":""#,
        r#""é\ud83d\ude00""#,
    ])
}

/// Nineteen times in twenty what the grammar wants.
fn mostly(
    good: impl Strategy<Value = String>,
    bad: &'static [&'static str],
) -> impl Strategy<Value = String> {
    prop_oneof![19 => good, 1 => text(bad)]
}

fn scalar() -> impl Strategy<Value = String> {
    let good = text(&[
        r#""m""#,
        r#""gpt-4""#,
        r#""\u0067pt\u002d4""#,
        r#""{\"model\":\"x\"}""#,
        r#""\ud83d\ude00""#,
        r#""\\""#,
        r#""\\\"""#,
        r#""世界""#,
        r#""""#,
        "true",
        "false",
        "null",
        "0",
        "-0",
        "64",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "1.5",
        "1e3",
        "1E-3",
        "-12",
    ]);
    mostly(good, &[r#""\ud83d""#, r#""\ude00\ud83d""#, r#""\u00""#, "nul", "-", "01", "1.", ""])
}

fn white_space() -> impl Strategy<Value = String> {
    mostly(text(&["", " ", "\n", "\r\n\t "]), &["\u{b}", "\u{a0}", "\0"])
}

fn member(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let colon = mostly(text(&[":"]), &["=", "", "::"]);
    (name(), white_space(), colon, white_space(), value).prop_map(
        |(name, before, colon, after, value)| [name, before, colon, after, value].concat(),
    )
}

fn list(
    open: &'static str,
    close: &'static str,
    of: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (prop::collection::vec(of, 0..5), white_space())
        .prop_map(move |(items, space)| format!("{open}{}{space}{close}", items.join(",")))
}

fn any_text() -> impl Strategy<Value = String> {
    scalar().prop_recursive(3, 20, 4, |inner| {
        prop_oneof![list("[", "]", inner.clone()), list("{", "}", member(inner))]
    })
}

/// What calls have, so that a large share of the bodies is read to its end.
fn good_member() -> impl Strategy<Value = String> {
    text(&[
        r#""stream":true"#,
        r#""stream" :null"#,
        r#""stream_options":{"include_usage":true}"#,
        r#""max_tokens":64"#,
        r#""max_completion_tokens": 128"#,
        r#""messages":[{"role":"user","content":"hi","model":"x"}]"#,
        r#""a":{"stream":1,"stream":2}"#,
        r#""n":1.5e3"#,
    ])
}

fn good_model() -> impl Strategy<Value = String> {
    text(&[r#""model":"m""#, r#""mod\u0065l" : "gpt\u002d4""#, r#""model":"é\ud83d\ude00""#])
}

/// The members of a body: a model nearly always, and what else may stand round it.
fn any_members() -> impl Strategy<Value = Vec<String>> {
    let others = prop_oneof![good_member(), member(any_text())];
    let models = prop::option::weighted(0.9, (good_model(), any::<prop::sample::Index>()));
    (prop::collection::vec(others, 0..5), models).prop_map(|(mut members, model)| {
        if let Some((model, at)) = model {
            members.insert(at.index(members.len() + 1), model);
        }
        members
    })
}

proptest! {
    #![proptest_config(Config { cases: 8 * Config::default().cases, ..Config::default() })]

    #[test]
    fn another_reader_of_the_members_comes_to_the_same_outcome(
        members in any_members(),
        spaces in (white_space(), white_space()),
        damage in prop::option::weighted(0.3, (
            any::<prop::sample::Index>(),
            0_usize..3,
            prop::collection::vec(prop::sample::select(b"{}[]\",:\\ 0-.eu\x00\x1f\x7f\xc3\xa9\xff".to_vec()), 0..3),
        )),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 2),
    ) {
        let mut body = format!("{}{{{}}}{}", spaces.0, members.join(","), spaces.1).into_bytes();
        if let Some((at, removed, inserted)) = damage {
            let at = at.index(body.len());
            body.splice(at..(at + removed).min(body.len()), inserted);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        assert_agrees(&body, &[&body[..cuts[0]], &body[cuts[0]..cuts[1]], &body[cuts[1]..]]);
    }
}

#[test]
fn the_other_reader_knows_the_edges_too() {
    for edge in EDGES {
        let body = with_model(edge);
        assert_agrees(&body, &[&body]);
    }
    assert!(matches!(read(br#"{"a":1e999}"#), Reading::Unknown));
    let Reading::Members(read) = read(CHAT.as_bytes()) else { panic!("it is valid") };
    assert_eq!(judge(&read).as_ref(), scan(CHAT).as_ref().ok());
}
