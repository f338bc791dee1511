//! The upstream as a gateway sees it, over a socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;

/// An upstream on a port of the kernel's choice, on a thread of its own until the test ends.
fn start() -> TcpStream {
    let mut upstream = Upstream::bind(0).unwrap();
    let address = upstream.listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut ready = Vec::new();
        while upstream.turn(&mut ready).is_ok() {}
    });
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client
}

/// Reads until the end of what arrived is `ending`.
fn read_to(client: &mut TcpStream, ending: &str) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.ends_with(ending) {
        let count = client.read(&mut piece).unwrap();
        assert!(count > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    text
}

#[test]
fn requests_in_one_piece_are_answered_in_order() {
    let mut client = start();
    client
        .write_all(b"GET /bytes/3 HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody")
        .unwrap();
    let text = read_to(&mut client, "\"fp_44709d6fcb\"}");
    assert!(text.starts_with("HTTP/1.1 200 OK"));
    assert!(text.contains("\r\n\r\nxxxHTTP/1.1 200 OK"));
}

#[test]
fn a_reply_larger_than_the_socket_buffers_arrives_whole() {
    let mut client = start();
    let requests = "GET /bytes/1048576 HTTP/1.1\r\n\r\n".repeat(8);
    client.write_all(requests.as_bytes()).unwrap();
    let mut body_bytes = 0;
    let mut piece = [0; 65536];
    while body_bytes < 8 * 1024 * 1024 {
        let count = client.read(&mut piece).unwrap();
        assert!(count > 0);
        body_bytes += piece[..count].iter().filter(|&&byte| byte == b'x').count();
    }
}

#[test]
fn a_request_that_cannot_be_framed_closes_the_connection() {
    let mut client = start();
    client.write_all(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    assert_eq!(client.read(&mut [0; 64]).unwrap(), 0);
}

#[test]
fn an_event_stream_brings_fresh_stamps() {
    let before = monotonic_ns();
    let mut client = start();
    client.write_all(b"GET /events HTTP/1.1\r\n\r\n").unwrap();
    let mut reader = crate::event::Reader::default();
    let mut stamps = Vec::new();
    let mut piece = [0; 4096];
    while stamps.len() < 2 {
        let count = client.read(&mut piece).unwrap();
        assert!(count > 0);
        reader.read(&piece[..count], |stamp| stamps.push(stamp));
    }
    assert!(before < stamps[0] && stamps[0] < stamps[1] && stamps[1] <= monotonic_ns());
}
