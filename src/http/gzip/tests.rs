use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use proptest::prelude::*;

use super::*;

type Outcome = Result<Vec<u8>, GzipFault>;

fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut reader = GzipReader::default();
    let mut out = Vec::new();
    for mut piece in pieces {
        loop {
            let before = out.len();
            let is_read = reader.read(&mut piece, &mut out)?;
            assert!(out.len() - before <= OUTPUT_MAX);
            if is_read {
                break;
            }
        }
        assert!(piece.is_empty());
    }
    reader.finish()?;
    Ok(out)
}

fn read(body: &[u8]) -> Outcome {
    read_pieces([body])
}

fn problem(body: &[u8]) -> (u64, GzipProblem) {
    let fault = read(body).unwrap_err();
    (fault.at, fault.problem)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// With every optional part. The encoder knows no checksum of the header, so it is put in here.
fn gzip_with_all_parts(content: &[u8]) -> Vec<u8> {
    let builder = GzBuilder::new().extra(*b"xy\x00z").filename("a.json").comment("c").mtime(7);
    let mut encoder = builder.write(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    let mut body = encoder.finish().unwrap();
    body[3] |= 1 << 1;
    let header_bytes = 10 + 2 + 4 + "a.json\0".len() + "c\0".len();
    let mut crc = Crc::new();
    crc.update(&body[..header_bytes]);
    let checksum = (crc.sum() as u16).to_le_bytes();
    body.splice(header_bytes..header_bytes, checksum);
    body
}

const CONTENT: &[u8] =
    b"{\"model\":\"m\",\"messages\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]}";

#[test]
fn every_optional_part_of_the_header_is_passed_over_however_the_body_is_cut() {
    for body in [gzip(CONTENT), gzip_with_all_parts(CONTENT), gzip_with_all_parts(b"")] {
        let whole = read(&body);
        assert!(whole.is_ok());
        assert_eq!(read_pieces(body.chunks(1)), whole);
        for cut in 0..=body.len() {
            let (before, after) = body.split_at(cut);
            assert_eq!(read_pieces([before, after]), whole, "cut at {cut}");
        }
    }
    assert_eq!(read(&gzip_with_all_parts(CONTENT)).unwrap(), CONTENT);
}

#[test]
fn a_body_that_breaks_off_anywhere_is_refused() {
    let body = gzip_with_all_parts(CONTENT);
    for length in 0..body.len() {
        let at = length as u64;
        assert_eq!(problem(&body[..length]), (at, GzipProblem::Ended), "after {length}");
    }
}

#[test]
fn what_follows_the_end_is_refused_another_member_as_well() {
    let body = gzip(CONTENT);
    let at = body.len() as u64;
    for more in [&b"\0"[..], b"\n", &body] {
        assert_eq!(problem(&[&body, more].concat()), (at, GzipProblem::Trailing));
    }
}

#[test]
fn each_part_is_checked_and_the_fault_says_where() {
    let body = gzip_with_all_parts(CONTENT);
    let damaged = |at: usize, bits: u8| {
        let mut body = body.clone();
        body[at] ^= bits;
        problem(&body)
    };
    let end = body.len();
    assert_eq!(damaged(0, 1), (0, GzipProblem::NotGzip));
    assert_eq!(damaged(1, 1), (1, GzipProblem::NotGzip));
    assert_eq!(damaged(2, 1), (2, GzipProblem::NotGzip));
    assert_eq!(damaged(3, 1 << 5), (3, GzipProblem::UnknownFlag));
    // The time stamp means nothing here, but the checksum covers it.
    assert_eq!(damaged(4, 1), (26, GzipProblem::HeaderChecksum));
    assert_eq!(damaged(end - 5, 1), (end as u64 - 5, GzipProblem::Checksum));
    assert_eq!(damaged(end - 1, 1), (end as u64 - 1, GzipProblem::Length));
    let reserved_block = [&gzip(b"")[..10], &[0b110, 0]].concat();
    assert_eq!(problem(&reserved_block).1, GzipProblem::Corrupt);
    assert_eq!(problem(b"{\"model\":\"m\"}"), (0, GzipProblem::NotGzip));
}

#[test]
fn a_bomb_comes_out_in_steps_that_can_be_stopped() {
    let bomb = gzip(&vec![b' '; 10 << 20]);
    assert!(bomb.len() < 11_000);
    let mut reader = GzipReader::default();
    let mut out = Vec::new();
    let mut input = bomb.as_slice();
    let mut calls = 0;
    while !reader.read(&mut input, &mut out).unwrap() {
        calls += 1;
        assert!(out.len() <= calls * OUTPUT_MAX);
    }
    assert_eq!(out.len(), 10 << 20);
}

#[test]
fn a_header_without_an_end_brings_nothing_forth() {
    let mut reader = GzipReader::default();
    let mut out = Vec::new();
    let header = [0x1f, 0x8b, 8, 1 << 3, 0, 0, 0, 0, 0, 0];
    assert_eq!(reader.read(&mut &header[..], &mut out), Ok(true));
    for _ in 0..100 {
        assert_eq!(reader.read(&mut &[b'x'; 4096][..], &mut out), Ok(true));
    }
    assert!(out.is_empty());
    assert_eq!(reader.finish().unwrap_err().at, 10 + 100 * 4096);
}

proptest! {
    #[test]
    fn what_was_compressed_comes_out_again(
        seed in prop::collection::vec(any::<u8>(), 1..200),
        repeated in 1_usize..2_000,
        level in 0_u32..10,
        piece_bytes in 1_usize..5_000,
    ) {
        let content = seed.repeat(repeated);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(&content).unwrap();
        let body = encoder.finish().unwrap();
        prop_assert!(read_pieces(body.chunks(piece_bytes)) == Ok(content));
    }

    #[test]
    fn a_damaged_body_never_comes_out_as_something_else(
        at in any::<prop::sample::Index>(),
        bits in 1_u8..,
        piece_bytes in 1_usize..50,
    ) {
        let mut body = gzip(CONTENT);
        let at = at.index(body.len());
        body[at] ^= bits;
        let outcome = read(&body);
        prop_assert_eq!(&outcome, &read_pieces(body.chunks(piece_bytes)));
        // No checksum covers time, extra flags, system and the flag for text, nor the bits that
        // fill the last byte of the compressed data.
        prop_assert!(outcome.is_err() || outcome == Ok(CONTENT.to_vec()));
    }

    #[test]
    fn bytes_of_any_kind_end_in_one_way_however_they_are_cut(
        content in prop::collection::vec(any::<u8>(), 0..300),
        piece_bytes in 1_usize..40,
    ) {
        let body = [&gzip(b"")[..10], &content].concat();
        prop_assert_eq!(read(&body), read_pieces(body.chunks(piece_bytes)));
    }
}
