//! The program from outside: a gateway as its own process between raw clients and raw origins.
//! `tests/README.md` tells how to run it and how to add to it.

#[allow(unreachable_pub, reason = "written as the library of the scenarios")]
#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod admin;
mod ai;
mod balance;
mod balancing;
mod breaker;
mod chaos;
mod client_address;
mod compressed;
mod descriptors;
mod drain;
mod examples;
mod forwarding;
mod framing;
mod grpc;
mod handover;
mod health;
mod http2;
mod keep_alive;
mod limits;
mod memory;
mod names;
mod outlier;
mod queue;
mod rate_limits;
mod refusals;
mod reload;
mod retries;
mod routing;
mod rules;
mod slow;
mod sticky;
mod status;
mod streaming;
mod tls;
mod tls_upstream;
mod systemd;
mod upstream_faults;
mod workers;
mod websocket;
mod websocket_library;
