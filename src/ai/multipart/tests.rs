use proptest::prelude::*;

use super::*;

type Outcome = Result<(String, Range<usize>, bool), MultipartFault>;

fn scan_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let boundary = Boundary::of_content_type(b"multipart/form-data; boundary=XX-b").unwrap();
    let mut scanner = Scanner::new(&boundary);
    for piece in pieces {
        scanner.feed(piece)?;
    }
    let found = scanner.finish()?;
    Ok((found.model.to_owned(), found.model_span, found.stream))
}

fn scan(body: impl AsRef<[u8]>) -> Outcome {
    scan_pieces([body.as_ref()])
}

fn problem(body: impl AsRef<[u8]>) -> MultipartProblem {
    scan(body).unwrap_err().problem
}

fn assert_cuts_change_nothing(body: &[u8]) {
    let whole = scan(body);
    assert_eq!(scan_pieces(body.chunks(1)), whole, "{}", body.escape_ascii());
    for cut in 0..=body.len() {
        let (before, after) = body.split_at(cut);
        assert_eq!(scan_pieces([before, after]), whole, "{} cut at {cut}", body.escape_ascii());
    }
}

fn part(disposition: &str, content: &str) -> String {
    format!("--XX-b\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n")
}

fn model_part() -> String {
    part("form-data; name=\"model\"", "whisper-1")
}

fn call(parts: &[String]) -> String {
    format!("{}--XX-b--\r\n", parts.concat())
}

fn audio() -> String {
    format!(
        "--XX-b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\a.mp3\"\r\n\
         Content-Type: audio/mpeg\r\n\r\n{}\r\n",
        "\r\n--XX-\r\n-\n\r\n--\r\n--XX-\u{0}\r\r"
    )
}

#[test]
fn the_fields_are_found_wherever_they_stand() {
    let stream = part("form-data; name=stream", "true");
    let body = call(&[audio(), stream, model_part(), audio()]);
    let (model, span, stream) = scan(&body).unwrap();
    assert_eq!((model.as_str(), &body[span], stream), ("whisper-1", "whisper-1", true));
    let (_, _, stream) = scan(call(&[model_part(), audio()])).unwrap();
    assert!(!stream);
}

#[test]
fn the_end_may_lack_its_line_end() {
    let body = call(&[model_part()]);
    assert!(scan(body.trim_end()).is_ok());
    assert_eq!(problem(format!("{body}x")), MultipartProblem::TextAfterLast);
    assert_eq!(problem(format!("{body}\r\n")), MultipartProblem::TextAfterLast);
    assert_eq!(problem(body.trim_end_matches("--\r\n")), MultipartProblem::Ended);
}

#[test]
fn a_second_model_is_refused() {
    let twice = MultipartProblem::Twice(Field::Model);
    assert_eq!(problem(call(&[model_part(), audio(), model_part()])), twice);
    let other_case = part("form-data; name=\"Model\"", "x");
    assert_eq!(problem(call(&[other_case])), MultipartProblem::OtherCase(Field::Model));
    for name in ["model[]", " model", "model ", "MODEL [a]", "model[b][c]"] {
        let alike = part(&format!("form-data; name=\"{name}\""), "x");
        let expected = MultipartProblem::OtherCase(Field::Model);
        assert_eq!(problem(call(&[model_part(), alike])), expected, "{name}");
    }
    let others = ["models[]", "timestamp_granularities[]", "a[model]", "[model]", "mod el"];
    let others = others.map(|name| part(&format!("form-data; name=\"{name}\""), "x"));
    assert!(scan(call(&[model_part(), others.concat()])).is_ok());
}

#[test]
fn a_name_that_readers_may_take_differently_is_refused() {
    let with = |disposition| problem(call(&[part(disposition, "x")]));
    for disposition in [
        "form-data",
        "form-data; filename=\"a\"",
        "form-data; name=\"a\"; name=\"model\"",
        "form-data; name=\"a\"; name*=utf-8''model",
        "form-data; name*0=\"mod\"; name*1=\"el\"",
        "form-data; name=\"mod\\el\"",
        "form-data; name=\"=?utf-8?q?model?=\"",
    ] {
        assert_eq!(with(disposition), MultipartProblem::NotOneName, "{disposition}");
    }
    for disposition in [
        "attachment; name=\"a\"",
        "form-data; name=\"a\\\"; x=\"b\"",
        "form-data; name=\"a",
        "form-data; name = \"a\"",
        "form-data; name=",
        "form-data, name=\"a\"",
        "form-data; name=\"a\" x",
        "form-data; name=\"a\"\r\n folded",
        "form-data; name=\"a\"\nX: y",
        "form-data; name=\"a\"\rX",
        "form-data; name=\"a\"\r\nno colon",
        "form-data; name=\"a\"\r\nBad Name: x",
    ] {
        assert_eq!(with(disposition), MultipartProblem::BrokenHead, "{disposition:?}");
    }
    let two = "form-data; name=\"a\"\r\ncontent-disposition: form-data; name=\"model\"";
    assert_eq!(with(two), MultipartProblem::NotOneName);
    assert_eq!(problem("--XX-b\r\n\r\nx\r\n--XX-b--"), MultipartProblem::NotOneName);
}

#[test]
fn what_changes_how_other_parts_are_read_is_refused() {
    let charset = part("form-data; name=\"_charset_\"", "utf-7");
    assert_eq!(problem(call(&[charset, model_part()])), MultipartProblem::Charset);
    let mixed = "form-data; name=\"a\"\r\nContent-Type: Multipart/Mixed; boundary=b";
    assert_eq!(problem(call(&[part(mixed, "x"), model_part()])), MultipartProblem::Nested);
}

#[test]
fn the_model_must_be_plain_text() {
    let model = |more: &str, value: &str| {
        scan(call(&[part(&format!("form-data; name=\"model\"{more}"), value)]))
    };
    let problem = |more: &str, value: &str| model(more, value).unwrap_err().problem;
    let not_plain = MultipartProblem::NotPlain(Field::Model);
    assert_eq!(problem("; filename=\"m\"", "a"), not_plain);
    assert_eq!(problem("; filename*=utf-8''m", "a"), not_plain);
    assert_eq!(problem("\r\nContent-Transfer-Encoding: base64", "YQ=="), not_plain);
    assert_eq!(problem("\r\nContent-Type: text/plain; charset=utf-16", "a"), not_plain);
    assert_eq!(problem("\r\nContent-Type: text/plain; charset*=''utf-8", "a"), not_plain);
    assert!(model("\r\nContent-Type: text/plain; charset=UTF-8", "a").is_ok());
    assert!(model("\r\nContent-Transfer-Encoding: 8bit", "a").is_ok());
    assert_eq!(problem("", ""), MultipartProblem::ModelEmpty);
    let longest = "m".repeat(MODEL_NAME_MAX);
    assert_eq!(model("", &longest).unwrap().0, longest);
    for more in [1, 10_000] {
        let long = "m".repeat(MODEL_NAME_MAX + more);
        assert_eq!(problem("", &long), MultipartProblem::ValueTooLong);
    }
    let body = call(&[model_part()]).replace("whisper", "w\u{e9}").into_bytes();
    let body: Vec<u8> = body.into_iter().filter(|byte| *byte != 0xc3).collect();
    assert_eq!(scan(body).unwrap_err().problem, MultipartProblem::NotUtf8);
}

#[test]
fn stream_is_read_as_form_readers_do() {
    let stream = |value| scan(call(&[model_part(), part("form-data; name=\"stream\"", value)]));
    assert!(stream("True").unwrap().2);
    assert!(!stream("false").unwrap().2);
    for value in ["", "yes", "TRUE ", "true\r\n"] {
        assert_eq!(stream(value).unwrap_err().problem, MultipartProblem::NotBoolean, "{value:?}");
    }
}

#[test]
fn a_boundary_must_stand_on_a_line_of_its_own() {
    let inside = |content| problem(call(&[model_part(), part("form-data; name=a", content)]));
    assert_eq!(inside("x\n--XX-b\r\n"), MultipartProblem::BoundaryInPart);
    assert_eq!(inside("\n--XX-b\r\n"), MultipartProblem::BoundaryInPart);
    assert_eq!(inside("--XX-b--"), MultipartProblem::BoundaryInPart);
    assert_eq!(inside("x\r\n--XX-bc"), MultipartProblem::BrokenBoundary);
    assert_eq!(inside("x\r\n--XX-b\n"), MultipartProblem::BrokenBoundary);
    assert_eq!(inside("x\r\n--XX-b \r\n"), MultipartProblem::BrokenBoundary);
    assert_eq!(inside("x\r\n--XX-b-x"), MultipartProblem::BrokenBoundary);
    for start in ["\r\n", "preamble\r\n", "\n", "--"] {
        let body = format!("{start}{}", call(&[model_part()]));
        assert_eq!(problem(body), MultipartProblem::NoBoundaryFirst);
    }
}

#[test]
fn the_head_of_a_part_is_bounded() {
    let head = |length: usize| {
        let rest = "x".repeat(length - "Content-Disposition: form-data; name=\r\n\r\n".len());
        call(&[model_part(), part(&format!("form-data; name={rest}"), "")])
    };
    assert!(scan(head(PART_HEAD_MAX)).is_ok());
    assert_eq!(problem(head(PART_HEAD_MAX + 1)), MultipartProblem::HeadTooLong);
    assert_eq!(problem(head(1_000_000)), MultipartProblem::HeadTooLong);
    assert_cuts_change_nothing(head(PART_HEAD_MAX + 1).as_bytes());
}

#[test]
fn a_missing_model_is_told() {
    assert_eq!(problem(call(&[audio()])), MultipartProblem::NoModel);
    assert_eq!(problem("--XX-b--"), MultipartProblem::NoModel);
    assert_eq!(problem(""), MultipartProblem::Ended);
}

#[test]
fn no_cut_changes_what_is_found() {
    let stream = part("form-data; name=\"stream\"", "true");
    for body in [
        call(&[audio(), stream, model_part()]),
        call(&[model_part(), part("form-data; name=a", ""), part("form-data; name=b", "\r\n")]),
        call(&[part("form-data; name=\"model\"", "a\r\n--XX-\r\n--XX-c")]),
        call(&[part("form-data; name=\"model\"", "\n--XX-b")]),
        call(&[part("form-data; name=\"model\"", &"m".repeat(400))]),
        call(&[model_part(), part("form-data; name=a", "--XX-b")]),
        call(&[model_part(), model_part()]),
    ] {
        assert_cuts_change_nothing(body.as_bytes());
    }
}

#[test]
fn the_boundary_is_read_from_the_content_type() {
    let read = |content_type: &str| Boundary::of_content_type(content_type.as_bytes()).ok();
    let boundary = |text: &str| Some(text.as_bytes().to_vec());
    let bytes = |content_type: &str| read(content_type).map(|b| b.as_bytes().to_vec());
    assert_eq!(bytes("multipart/form-data; boundary=abc"), boundary("abc"));
    assert_eq!(bytes("Multipart/Form-Data;charset=utf-8;BOUNDARY=\"a b:c\" "), boundary("a b:c"));
    let longest = "b".repeat(70);
    assert_eq!(bytes(&format!("multipart/form-data; boundary={longest}")), boundary(&longest));
    for bad in [
        "",
        "multipart/form-data",
        "multipart/mixed; boundary=a",
        "application/json",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"a ",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=\"a\\b\"",
        "multipart/form-data; boundary=a; boundary=a",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=a;;",
        "multipart/form-data; boundary=a; charset=utf-7",
        "multipart/form-data; charset=cp037; boundary=a",
        "multipart/form-data; boundary=a; charset*=utf-8''utf-7",
        "multipart/form-data; boundary=a; charset*0=utf-7",
        &format!("multipart/form-data; boundary={longest}b"),
    ] {
        assert_eq!(bytes(bad), None, "{bad}");
    }
}

#[test]
fn the_content_type_that_goes_on_says_the_boundary_and_nothing_else() {
    let of = |content_type: &str| {
        let boundary = Boundary::of_content_type(content_type.as_bytes()).unwrap();
        String::from_utf8(boundary.content_type()).unwrap()
    };
    let said = of("Multipart/Form-Data; boundary*=utf-8''other; BOUNDARY=\"a-b\"; x=y");
    assert_eq!(said, "multipart/form-data; boundary=a-b");
    for boundary in ["a b", "a:b", "(a)", "a=b?", "a,b/c"] {
        let said = of(&format!("multipart/form-data; boundary=\"{boundary}\""));
        assert_eq!(said, format!("multipart/form-data; boundary=\"{boundary}\""));
        assert_eq!(of(&said), said);
    }
}

proptest! {
    #[test]
    fn content_of_any_kind_leaves_the_model_alone(
        content in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"\r\n-X-b".to_vec())], 0..80),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 2),
    ) {
        let is_clean = memchr::memmem::find(&content, b"\n--XX-b").is_none()
            && !content.starts_with(b"--XX-b");
        let body = [part("form-data; name=f; filename=f", "").trim_end().as_bytes(), b"\r\n\r\n",
            &content, b"\r\n", call(&[model_part()]).as_bytes()].concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.sort_unstable();
        let pieces = [&body[..cuts[0]], &body[cuts[0]..cuts[1]], &body[cuts[1]..]];
        let outcome = scan_pieces(pieces);
        prop_assert_eq!(&outcome, &scan(&body));
        if is_clean {
            let (model, span, _) = outcome.unwrap();
            prop_assert_eq!(&model, "whisper-1");
            prop_assert_eq!(&body[span], b"whisper-1");
        }
    }

    #[test]
    fn bytes_of_any_kind_have_one_outcome_however_they_are_cut(
        tail in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"\r\n-Xb: ;=\"".to_vec())], 0..60),
    ) {
        for start in ["", "--XX-b\r\n", "--XX-b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n"] {
            assert_cuts_change_nothing(&[start.as_bytes(), &tail].concat());
        }
    }
}
