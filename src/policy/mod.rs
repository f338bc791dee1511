//! Decisions without sockets, threads or clocks: what is asked answers, and `now` is an argument.

pub mod allowance;
pub mod balance;
pub mod body_pace;
pub mod circuit;
pub mod departures;
pub mod failure_rate;
pub mod health;
pub mod limit;
pub mod line;
pub mod retry;
pub mod retry_budget;
pub mod slow_start;
