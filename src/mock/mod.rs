//! The mock model server: it speaks the dialects of real ones and says the same every time.
//!
//! What it says is decided without I/O: [`plan`] reads what a request asks for, [`replies`] writes
//! the answer.

mod base64;
pub mod plan;
pub mod replies;
mod words;
mod writer;
