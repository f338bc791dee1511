//! Ringgate: a gateway for AI model fleets and ordinary HTTP.
//!
//! The modules stand in the order of their layers; `tests/layers.rs` holds them to it.
//!
//! ```text
//!  main, cli                                   everything
//!  admin      control                          the operator; tokio and its libraries
//!  config                                      a file becomes a snapshot
//!  proxy                                       the life of a request
//!  runtime    net                              threads, rings, sockets
//!  http   policy   ai   telemetry              pure: no sockets, no threads, no clock
//! ```
//!
//! ARCHITECTURE.md tells the life of a request through them.

pub mod http;
pub mod policy;
pub mod ai;
pub mod telemetry;
pub mod nearest;

pub mod runtime;
pub mod net;

pub mod proxy;
pub mod config;
pub mod control;
pub mod admin;

pub mod mock;

pub mod demo;
pub mod cli;
