//! Which endpoint a request would rather go to: for what it has in common with others, or for its
//! cookie.

use std::net::IpAddr;
use std::num::NonZeroU32;

use super::exchange::Exchange;
use super::scratch::Scratch;
use super::settings::HashOn;
use super::view::ClusterView;
use crate::http::cookie;
use crate::policy::balance::hash;

/// Where a request would rather go. No larger than a key alone, since it is part of every
/// exchange that waits for an endpoint.
#[derive(Clone, Copy, Default)]
pub(super) struct Affinity {
    hash: u64,
    has_hash: bool,
    /// One more than the endpoint's index.
    pinned: Option<NonZeroU32>,
}

impl Affinity {
    /// `hash`: of the key, where the cluster balances by one. `pinned`: the endpoint that its
    /// cookie names, where the cluster is sticky.
    fn new(hash: Option<u64>, pinned: Option<usize>) -> Self {
        let pinned = pinned.and_then(|index| u32::try_from(index + 1).ok());
        Self {
            hash: hash.unwrap_or_default(),
            has_hash: hash.is_some(),
            pinned: pinned.and_then(NonZeroU32::new),
        }
    }

    pub(super) fn hash(self) -> Option<u64> {
        self.has_hash.then_some(self.hash)
    }

    pub(super) fn pinned(self) -> Option<usize> {
        self.pinned.map(|pinned| pinned.get() as usize - 1)
    }
}

impl Exchange<'_> {
    pub(super) fn affinity(&self, cluster: &ClusterView) -> Affinity {
        let hash = cluster.hash_on.as_ref().and_then(|hash_on| self.key(hash_on));
        let Scratch { head, request, .. } = &*self.scratch;
        let sticky = cluster.sticky.as_ref();
        Affinity::new(hash, sticky.and_then(|sticky| sticky.endpoint(head, &request.fields)))
    }

    /// The hash of what requests with the same endpoint have in common.
    fn key(&self, hash_on: &HashOn) -> Option<u64> {
        let head = &self.scratch.head;
        let request = &self.scratch.request;
        match hash_on {
            HashOn::ClientIp => Some(match self.client.address.ip().to_canonical() {
                IpAddr::V4(ip) => hash(&ip.octets()),
                IpAddr::V6(ip) => hash(&ip.octets()),
            }),
            HashOn::Header(name) => request.get(head, name).map(hash),
            HashOn::Cookie(name) => cookie::find(request.get(head, "cookie")?, name).map(hash),
        }
    }
}
