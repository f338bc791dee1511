//! Connections: listening, accepting, connecting, receiving, sending.

pub mod descriptors;
pub mod listener;
pub mod socket;
pub mod stream;
pub mod tls;
