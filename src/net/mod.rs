//! Connections: listening, accepting, connecting, receiving, sending.

pub mod listener;
pub mod socket;
