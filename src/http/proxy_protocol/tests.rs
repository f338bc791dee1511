use super::*;
use proptest::prelude::*;

fn ends(source: &str, destination: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn v4() -> Ends {
    ends("192.0.2.7:50123", "198.51.100.1:443")
}

/// A header of version 2 with these bytes behind its fixed part.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &len, rest].concat()
}

const V4_ADDRESSES: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xC3, 0xCB, 0x01, 0xBB];

fn announced(bytes: &[u8]) -> Option<Ends> {
    let header = read(bytes).unwrap().expect("a whole header");
    assert_eq!(header.len, bytes.len());
    header.announced
}

#[test]
fn a_line_names_both_ends() {
    assert_eq!(announced(b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\r\n"), Some(v4()));
    let v6 = ends("[2001:db8::7]:0", "[::1]:65535");
    assert_eq!(announced(b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n"), Some(v6));
}

#[test]
fn a_line_may_leave_the_client_unknown() {
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 what ever\r\n"] {
        assert_eq!(announced(line.as_bytes()), None);
    }
}

#[test]
fn a_line_that_breaks_the_grammar_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\n",
        "PROXY  TCP4 192.0.2.7 198.51.100.1 50123 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 443 \r\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 50123 443\r\n",
        "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 50123 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 01 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1  443\r\n",
        "PROXY tcp4 192.0.2.7 198.51.100.1 1 443\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN \u{e9}\n",
    ] {
        assert_eq!(read(line.as_bytes()), Err(Refusal::ProxyHeaderInvalid), "{line}");
    }
}

#[test]
fn a_line_without_an_end_is_not_waited_for() {
    let line = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(read(&line.as_bytes()[..106]), Ok(None));
    assert_eq!(read(&line.as_bytes()[..107]), Err(Refusal::ProxyHeaderTooLong));
}

#[test]
fn a_binary_header_names_both_ends() {
    assert_eq!(announced(&binary(PROXY, 0x11, &V4_ADDRESSES)), Some(v4()));
    assert_eq!(announced(&binary(PROXY, 0x12, &V4_ADDRESSES)), Some(v4()));
}

#[test]
fn a_binary_header_may_leave_the_client_unknown() {
    assert_eq!(announced(&binary(LOCAL, 0x11, &V4_ADDRESSES)), None);
    assert_eq!(announced(&binary(LOCAL, 0xFF, b"anything")), None);
    assert_eq!(announced(&binary(PROXY, 0x00, b"anything")), None);
    assert_eq!(announced(&binary(PROXY, 0x31, &[b'/'; 216])), None);
}

#[test]
fn a_binary_header_that_breaks_the_grammar_is_refused() {
    let short = &V4_ADDRESSES[..11];
    let cut_extension = [&V4_ADDRESSES[..], &[0x04, 0, 2, 0]].concat();
    let cut_length = [&V4_ADDRESSES[..], &[0x04, 0]].concat();
    let small_checksum = [&V4_ADDRESSES[..], &[CHECKSUM, 0, 2, 0, 0]].concat();
    for header in [
        binary(0x22, 0x11, &V4_ADDRESSES),
        binary(0x11, 0x11, &V4_ADDRESSES),
        binary(PROXY, 0x41, &V4_ADDRESSES),
        binary(PROXY, 0x13, &V4_ADDRESSES),
        binary(PROXY, 0x21, &V4_ADDRESSES),
        binary(PROXY, 0x11, short),
        binary(PROXY, 0x11, &cut_extension),
        binary(PROXY, 0x11, &cut_length),
        binary(PROXY, 0x11, &small_checksum),
    ] {
        assert_eq!(read(&header), Err(Refusal::ProxyHeaderInvalid), "{header:?}");
    }
}

#[test]
fn extensions_are_skipped_and_a_checksum_is_compared() {
    let extensions = [0x02, 0, 1, b'a', CHECKSUM, 0, 4, 0, 0, 0, 0, 0x04, 0, 0];
    let mut header = binary(PROXY, 0x11, &[&V4_ADDRESSES[..], &extensions].concat());
    assert_eq!(read(&header), Err(Refusal::ProxyHeaderChecksum));
    let sum = crc32c(&[&header]).to_be_bytes();
    let place = FIXED_BYTES + V4_ADDRESSES.len() + 7;
    header[place..place + 4].copy_from_slice(&sum);
    assert_eq!(announced(&header), Some(v4()));
    header[FIXED_BYTES] ^= 1;
    assert_eq!(read(&header), Err(Refusal::ProxyHeaderChecksum));
}

#[test]
fn a_header_beyond_the_limit_is_refused_by_its_first_bytes() {
    let fits = HEADER_BYTES_MAX - FIXED_BYTES;
    let header = binary(LOCAL, 0, &vec![0; fits + 1]);
    assert_eq!(read(&header[..FIXED_BYTES]), Err(Refusal::ProxyHeaderTooLong));
    assert_eq!(announced(&binary(LOCAL, 0, &vec![0; fits])), None);
}

#[test]
fn something_else_is_no_header() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PROXZ", b"\r\n\r\n\0\r\nQUIT\r", b"\x16\x03"] {
        assert_eq!(read(bytes), Err(Refusal::ProxyHeaderMissing), "{bytes:?}");
    }
    // Too little to tell.
    assert_eq!(read(b""), Ok(None));
    assert_eq!(read(b"\r\n\r\n"), Ok(None));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_in_any_pieces(
        source: SocketAddr, destination: SocketAddr, behind: Vec<u8>,
    ) {
        let strip = |address: SocketAddr| {
            SocketAddr::new(address.ip().to_canonical(), address.port())
        };
        let ends = Ends { source: strip(source), destination: strip(destination) };
        for version in [Version::V1, Version::V2] {
            let mut bytes = Vec::new();
            version.write(&ends, &mut bytes);
            let len = bytes.len();
            bytes.extend_from_slice(&behind);
            for cut in 0..len {
                prop_assert_eq!(read(&bytes[..cut]), Ok(None));
            }
            let header = read(&bytes).unwrap().unwrap();
            prop_assert_eq!(header.len, len);
            let announced = header.announced.unwrap();
            let read = Ends {
                source: strip(announced.source),
                destination: strip(announced.destination),
            };
            prop_assert_eq!(read, ends);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(rest: Vec<u8>, command: u8, family: u8) {
        let _ = read(&rest);
        let _ = read(&binary(PROXY, family, &rest));
        let _ = read(&binary(command, 0x11, &rest));
    }
}
