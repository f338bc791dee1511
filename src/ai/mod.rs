//! What an AI call means: which operation it is, which model it names, how an answer looks in the
//! client's dialect.
//!
//! Bytes go in and meaning comes out; nothing here opens a connection or reads a clock. Bodies are
//! read as they pass ([`json`], [`multipart`]) and go on byte for byte, but for the model's name
//! when it has another one upstream ([`rewrite`]).

pub mod call;
pub mod error;
pub mod json;
pub mod models;
pub mod multipart;
pub mod quote;
pub mod rewrite;
pub mod service;
pub mod stream;
