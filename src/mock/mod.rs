//! The mock model server: it speaks the dialects of real ones and says the same every time.
//!
//! What it says is decided without I/O: [`plan`] reads what a request asks for, [`replies`] writes
//! the answer. [`server`] runs it on the workers' runtime, thread per core, so that it is not what
//! limits a benchmark.

mod connection;
mod exchange;
mod link;
pub mod plan;
pub mod replies;
mod request;
mod response;
mod route;
pub mod server;
mod words;
mod writer;

pub use server::{Options, Running, start};

#[cfg(test)]
mod tests;
