//! The formats of the access log, and what is written at all.

use crate::support::gateway::{gateway, listener};
use crate::support::origin::origin;
use crate::wire;

#[test]
fn the_combined_format_is_that_of_web_servers() {
    let origin = origin().start();
    let gateway =
        gateway().workers(1).access_log("format = 'combined'").route("/", &origin).start();

    let reply = gateway.talk(wire![
        "GET /a/b?secret=1 HTTP/1.1" "Host: a" "User-Agent: curl/8"
        "Referer: https://example.com/start?token=1" ""
    ]);

    assert_eq!(reply.status, 200);
    let line = gateway.wait_for_log_text(1).remove(0);
    let (start, rest) = line.split_once('[').expect("a time");
    let (time, rest) = rest.split_once(']').expect("a time");
    assert_eq!(start, "127.0.0.1 - - ");
    assert_eq!((time.len(), &time[20..]), (26, " +0000"), "{time}");
    let (request, rest) = rest[2..].split_once("\" ").expect("a request");
    assert_eq!(request, "GET /a/b HTTP/1.1");
    let (status_and_bytes, fields) = rest.split_once(" \"").expect("fields");
    assert!(status_and_bytes.starts_with("200 "), "{line}");
    assert_eq!(fields, "https://example.com/start\" \"curl/8\"");
}

#[test]
fn the_httplog_format_says_whose_time_it_was_and_who_ended_it() {
    let origin = origin().start();
    let gone = crate::support::free_port();
    let gateway = gateway()
        .workers(1)
        .access_log("format = 'httplog'")
        .route("/ok", &origin)
        .route_with("/gone", &[([127, 0, 0, 1], gone).into()], "", "")
        .start();
    let mut client = gateway.client();

    client.get("/ok?secret=1");
    client.get("/gone");
    client.get("/nowhere");
    assert_eq!(gateway.talk(wire!["GET /broken HTTP/1.1" "Host : a" ""]).status, 400);

    let lines = gateway.wait_for_log_text(4);
    let columns: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    let [ok, down, none, broken] = &columns[..] else { panic!("{lines:?}") };
    assert!(ok[0].starts_with("127.0.0.1:"), "{lines:?}");
    assert_eq!(ok[1].len(), "[14/Nov/2023:22:13:20.123]".len());
    assert_eq!((ok[2], ok[3]), ("public", &*format!("c0/{}", origin.address)));
    assert_eq!(ok[4].split('/').count(), 5);
    assert_eq!((ok[5], &ok[7..10], ok[11]), ("200", &["-", "-", "----"][..], "0/0"));
    assert_eq!(ok[12..].join(" "), "\"GET /ok HTTP/1.1\"");
    assert!(ok[10].starts_with("1/1/0/0/"), "one connection, nothing else in flight: {lines:?}");
    assert_eq!((down[5], down[9]), ("502", "SC--"));
    assert_eq!((none[3], none[5], none[9]), ("public/<NOSRV>", "404", "PR--"));
    assert_eq!((broken[5], broken[9], broken[12]), ("400", "PR--", "\"<BADREQ>\""));
}

#[test]
fn no_format_lets_a_client_write_a_line_of_its_own() {
    for format in ["json", "combined", "httplog"] {
        let gateway = gateway()
            .workers(1)
            .access_log(&format!("format = '{format}'"))
            .config(listener("") + "[[route]]\nrespond = {}\n")
            .start();
        let mut client = gateway.client();

        client.send(b"GET /\"x HTTP/1.1\r\nHost: a\r\nUser-Agent: a\" 200 \xff\\\r\n\r\n");
        client.read();
        gateway.get("/next");

        let lines = gateway.wait_for_log_text(2);
        assert_eq!(lines.len(), 2, "{lines:?}");
        let printable = |byte: u8| (b' '..=b'~').contains(&byte) || !byte.is_ascii();
        assert!(lines.iter().all(|line| line.bytes().all(printable)), "{lines:?}");
        assert!(!lines[0].contains("a\" 200"), "{lines:?}");
        assert!(!lines[0].contains("/\"x"), "{lines:?}");
    }
}

#[test]
fn a_route_may_stay_out_of_the_log() {
    let text = "[[route]]\npath = '/probe'\naccess_log = false\nrespond = {}\n\
                [[route]]\nrespond = {}\n";
    let gateway = gateway().workers(1).config(listener("") + text).start();
    let mut client = gateway.client();

    client.get("/probe");
    client.get("/page");

    let lines = gateway.wait_for_log(1);
    assert_eq!((lines.len(), &lines[0]["path"]), (1, &"/page".into()));
}

#[test]
fn a_sample_holds_its_share_of_successes_and_all_failures() {
    let text = "[[route]]\npath = '/ok'\nrespond = {}\n[[route]]\npath = '/bad'\n\
                respond = { status = 500 }\n";
    let gateway =
        gateway().workers(1).access_log("sample = 0.25").config(listener("") + text).start();
    let mut client = gateway.client();

    for _ in 0..40 {
        client.get("/ok");
    }
    client.get("/bad");
    client.get("/none");

    let lines = gateway.wait_for_log(12);
    let at = |path: &str| lines.iter().filter(|line| line["path"] == path).count();
    assert_eq!((at("/ok"), at("/bad"), at("/none")), (10, 1, 1));
}

#[test]
fn a_reload_changes_the_format() {
    let config = listener("") + "[[route]]\nrespond = {}\n";
    let gateway = gateway().workers(1).config(config.clone()).start();
    gateway.get("/json");
    gateway.wait_for_log(1);

    gateway.reload(&format!("format = 'combined'\n{config}"));
    gateway.get("/combined");

    let lines = gateway.wait_for_log_text(2);
    assert!(lines[0].starts_with('{'), "{lines:?}");
    assert!(lines[1].contains("\"GET /combined HTTP/1.1\""), "{lines:?}");
}
