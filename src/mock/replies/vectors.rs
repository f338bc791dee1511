//! Embeddings, and the order of documents.

use std::io::Write;

use crate::http::base64::push_base64;
use crate::mock::plan::Request;
use crate::mock::writer::Writer;

/// Appends one vector for each hash: equal inputs have equal vectors, of length 1.
pub(super) fn write_embeddings(
    request: &Request,
    inputs: &[u64],
    dimensions: usize,
    base64: bool,
    out: &mut Vec<u8>,
) {
    Writer(out).raw(r#"{"object":"list","data":["#);
    for (index, input) in inputs.iter().enumerate() {
        Writer(out)
            .raw(if index == 0 { "" } else { "," })
            .raw(r#"{"object":"embedding","index":"#)
            .number(index)
            .raw(r#","embedding":"#);
        let vector = unit_vector(*input, dimensions);
        if base64 {
            push_vector_in_base64(&vector, out);
        } else {
            push_vector(&vector, out);
        }
        out.push(b'}');
    }
    Writer(out)
        .raw(r#"],"model":"#)
        .quoted(&request.model)
        .raw(r#","usage":{"prompt_tokens":"#)
        .number(request.prompt_tokens)
        .raw(r#","total_tokens":"#)
        .number(request.prompt_tokens)
        .raw("}}");
}

fn push_vector(vector: &[f32], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, number) in vector.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}{number}").expect("a Vec takes whatever is written");
    }
    out.push(b']');
}

/// As OpenAI's Python client asks for by default: 32-bit floats, little-endian.
fn push_vector_in_base64(vector: &[f32], out: &mut Vec<u8>) {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    out.push(b'"');
    push_base64(out, &bytes);
    out.push(b'"');
}

fn unit_vector(seed: u64, dimensions: usize) -> Vec<f32> {
    // xorshift64 stays at zero if it begins there.
    let mut state = seed | 1;
    let mut vector: Vec<f32> = (0..dimensions)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // The upper 24 bits fill the mantissa; the half keeps every number from zero.
            ((state >> 40) as f32 + 0.5) / (1 << 23) as f32 - 1.0
        })
        .collect();
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|number| *number /= length);
    vector
}

/// Appends the ranking of documents: each is a little less relevant than the one before it.
pub(super) fn write_ranking(request: &Request, results: usize, out: &mut Vec<u8>) {
    let writer = Writer(out)
        .raw(r#"{"id":"rerank-mock","model":"#)
        .quoted(&request.model)
        .raw(r#","usage":{"total_tokens":"#)
        .number(request.prompt_tokens)
        .raw(r#"},"results":["#);
    let out = writer.0;
    for index in 0..results {
        let comma = if index == 0 { "" } else { "," };
        let relevance = 1.0 / (index + 1) as f64;
        write!(out, r#"{comma}{{"index":{index},"relevance_score":{relevance:?}}}"#)
            .expect("a Vec takes whatever is written");
    }
    out.extend_from_slice(b"]}");
}
