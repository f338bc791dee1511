//! The table of counted operations. Inputs are files under `bench/inputs`.
//!
//! An operation prepares its inputs, then repeats one call with `black_box` round what goes in
//! and what comes out, so that the compiler can neither hoist the call nor drop it.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use ringgate::proxy::settings::Cidr;

pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Does the operation so many times.
    pub(crate) run: fn(u64),
}

pub(crate) const OPERATIONS: &[Operation] =
    &[Operation { name: "trusted_proxy", run: trusted_proxy }];

/// Whether a peer is a trusted proxy: asked for every request that carries X-Forwarded-For.
fn trusted_proxy(times: u64) {
    let blocks = [[10, 0, 0, 0], [172, 16, 0, 0], [192, 168, 0, 0]]
        .map(|address| Cidr { address: IpAddr::V4(Ipv4Addr::from(address)), prefix: 12 });
    let peer = IpAddr::V4(Ipv4Addr::new(192, 168, 3, 17));
    for _ in 0..times {
        let peer = black_box(peer);
        black_box(blocks.iter().any(|block| block.contains(peer)));
    }
}
