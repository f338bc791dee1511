//! Decisions without sockets, threads or clocks: what is asked answers, and `now` is an argument.

pub mod allowance;
pub mod balance;
pub mod body_pace;
