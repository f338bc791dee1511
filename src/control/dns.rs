//! Names of endpoints, resolved here so that no worker ever waits for a resolver.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::net::socket::Peer;
use crate::proxy::shared::{EndpointState, Shared};
use crate::proxy::snapshot::Snapshot;

/// How often names are resolved again. The system's resolver does not tell their time to live.
pub const REFRESH: Duration = Duration::from_secs(30);

/// How long a snapshot waits for the addresses of its new names.
const FIRST_TIME: Duration = Duration::from_secs(2);

/// How long one name may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves every name of the snapshot in force. A name that cannot be resolved keeps the
/// addresses it had.
pub async fn resolve_all(shared: &Shared) {
    resolve_where(&shared.snapshot(), |_| true).await;
}

/// Resolves the names that have no address yet, so that a snapshot can be put in force.
pub async fn resolve_new(snapshot: &Snapshot) {
    let _ =
        tokio::time::timeout(FIRST_TIME, resolve_where(snapshot, |state| !state.has_peers())).await;
}

async fn resolve_where(snapshot: &Snapshot, wanted: impl Fn(&EndpointState) -> bool) {
    let mut lookups = JoinSet::new();
    for (state, _) in snapshot.endpoints() {
        if state.name_to_resolve().is_some() && wanted(state) {
            lookups.spawn(resolve(Arc::clone(state)));
        }
    }
    while lookups.join_next().await.is_some() {}
}

async fn resolve(state: Arc<EndpointState>) {
    let Some((name, port)) = state.name_to_resolve() else { return };
    let looked_up = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((name, port))).await;
    let problem = match looked_up {
        Ok(Ok(addresses)) => {
            let mut peers: Vec<Peer> = addresses.map(Peer::Tcp).collect();
            if !peers.is_empty() {
                peers.dedup();
                return publish(&state, peers);
            }
            "it has no address".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
    };
    let kept = state.peers().map_or(0, |peers| peers.len());
    tracing::warn!(cluster = &*state.cluster, name, problem, kept, "cannot resolve an endpoint");
}

fn publish(state: &EndpointState, peers: Vec<Peer>) {
    if state.peers().is_none_or(|known| *known != peers) {
        tracing::info!(cluster = &*state.cluster, name = &*state.label, ?peers, "resolved");
        state.set_peers(peers);
    }
}
