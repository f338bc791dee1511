//! Images and sounds: a grey dot, and silence.

use crate::mock::plan::SpeechFormat;
use crate::mock::writer::Writer;

/// A PNG of one grey pixel, in base64.
const DOT: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

/// An MPEG-1 layer III frame header: 128 kbit/s, 44.1 kHz, mono, no checksum. With nothing but zeros
/// behind it, the frame is silent.
const MP3_FRAME_HEADER: [u8; 4] = [0xff, 0xfb, 0x90, 0xc0];
/// Bytes of such a frame: 144 * 128,000 / 44,100, rounded down.
const MP3_FRAME_BYTES: usize = 417;
const MP3_FRAMES: usize = 4;

/// Samples of 16 bits, one channel, for a tenth of a second.
const SAMPLE_RATE: u32 = 24_000;
const SAMPLE_BYTES: u32 = 2;
const PCM_BYTES: u32 = SAMPLE_RATE * SAMPLE_BYTES / 10;

pub(super) fn write_images(count: usize, out: &mut Vec<u8>) {
    Writer(out).raw(r#"{"created":1700000000,"data":["#);
    for index in 0..count {
        let comma = if index == 0 { "" } else { "," };
        Writer(out).raw(comma).raw(r#"{"b64_json":""#).raw(DOT).raw(r#""}"#);
    }
    out.extend_from_slice(b"]}");
}

pub(super) fn content_type(format: SpeechFormat) -> &'static str {
    match format {
        SpeechFormat::Mp3 => "audio/mpeg",
        SpeechFormat::Wav => "audio/wav",
        SpeechFormat::Pcm => "audio/pcm",
    }
}

/// A tenth of a second of silence.
pub(super) fn silence(format: SpeechFormat) -> Vec<u8> {
    match format {
        SpeechFormat::Mp3 => {
            let mut frame = MP3_FRAME_HEADER.to_vec();
            frame.resize(MP3_FRAME_BYTES, 0);
            frame.repeat(MP3_FRAMES)
        }
        SpeechFormat::Pcm => vec![0; PCM_BYTES as usize],
        SpeechFormat::Wav => {
            let mut wav = wav_header();
            wav.resize(wav.len() + PCM_BYTES as usize, 0);
            wav
        }
    }
}

fn wav_header() -> Vec<u8> {
    let mut header = Vec::with_capacity(44);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&(36 + PCM_BYTES).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt ");
    header.extend_from_slice(&16_u32.to_le_bytes());
    // Uncompressed, one channel.
    header.extend_from_slice(&[1, 0, 1, 0]);
    header.extend_from_slice(&SAMPLE_RATE.to_le_bytes());
    header.extend_from_slice(&(SAMPLE_RATE * SAMPLE_BYTES).to_le_bytes());
    // Bytes of a sample, bits of a sample.
    header.extend_from_slice(&[2, 0, 16, 0]);
    header.extend_from_slice(b"data");
    header.extend_from_slice(&PCM_BYTES.to_le_bytes());
    header
}
