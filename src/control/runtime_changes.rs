//! Changes that operators make while the gateway runs: carried out one after the other, between two
//! requests, for all workers at once.

use std::sync::Arc;

use serde_json::{Value, json};

use super::running::Running;
use super::status::{no_cluster, no_such, state_of};
use crate::admin::orders::{EndpointChange, Given, Order, Rejection, WantedState, WantedWeight};
use crate::proxy::availability::AdminState;
use crate::proxy::changes::{Change, Changes};
use crate::proxy::settings::{RuntimeChanges, Settings};
use crate::proxy::shared::{ClusterState, EndpointState};
use crate::proxy::snapshot::Snapshot;

/// Changes at one time. A name may stand for other addresses every minute, each changed once.
const CHANGES_MAX: usize = 10_000;

impl Running {
    /// Carries an order out, and says what came of it.
    pub(super) async fn carry_out(&mut self, given: Given) {
        let Given { order, by, answer } = given;
        let outcome = match order {
            Order::Change(change) => self.change_endpoint(&change, &by),
            Order::Reload => {
                tracing::info!(by, "an operator asks for a reload");
                let reloaded = self.reload().await;
                reloaded.map(|()| json!({ "generation": self.shared.generation() }))
            }
        };
        // Who gave it may have left.
        let _ = answer.send(outcome);
    }

    fn change_endpoint(&mut self, change: &EndpointChange, by: &str) -> Result<Value, Rejection> {
        if self.hand_over.is_some() {
            let why = "a new process is taking over, which would not know of this; try again";
            return Err(Rejection::Busy(why.into()));
        }
        let EndpointChange { cluster, endpoint, .. } = change;
        Target::find(&self.shared.snapshot(), cluster, endpoint).map_err(Rejection::Unknown)?;
        if self.overlay.changes.len() >= CHANGES_MAX {
            let why = "so many endpoints are changed that it is time to change the file";
            return Err(Rejection::Refused(why.into()));
        }
        let is = over(self.overlay.changes.of(cluster, endpoint), change);
        self.overlay.changes.set(cluster, endpoint, is);
        self.republish();
        let snapshot = self.shared.snapshot();
        let target = Target::find(&snapshot, cluster, endpoint).map_err(Rejection::Unknown)?;
        target.cluster.call_waiting();
        let (state, weight) = (is.state.label(), is.weight);
        tracing::info!(by, cluster, endpoint, state, weight, "an operator changed an endpoint");
        let answer = target.answer(snapshot.settings.admin.runtime_changes);
        if answer["cluster_takes_requests"] == false {
            tracing::warn!(cluster, "no endpoint of this cluster takes requests any more");
        }
        Ok(answer)
    }
}

/// What holds after a change.
fn over(before: Change, wanted: &EndpointChange) -> Change {
    Change {
        state: match wanted.state {
            Some(WantedState::Ready) => AdminState::Ready,
            Some(WantedState::Drain) => AdminState::Drain,
            Some(WantedState::Maintenance) => AdminState::Maintenance,
            None => before.state,
        },
        weight: match wanted.weight {
            Some(WantedWeight::Configured) => None,
            Some(WantedWeight::Is(weight)) => Some(weight),
            None => before.weight,
        },
    }
}

/// A cluster and those of its endpoints that a name stands for.
struct Target<'a> {
    cluster: &'a Arc<ClusterState>,
    /// All, with the weights in force.
    endpoints: Vec<(&'a Arc<EndpointState>, u32)>,
    name: &'a str,
}

impl<'a> Target<'a> {
    /// # Errors
    ///
    /// There is no such thing; the nearest names.
    fn find(snapshot: &'a Snapshot, cluster: &str, name: &'a str) -> Result<Self, String> {
        let mut clusters = snapshot.clusters_in_force();
        let Some((state, in_force, endpoints)) = clusters.find(|(c, ..)| *c.name == *cluster)
        else {
            return Err(no_cluster(cluster, snapshot));
        };
        let weights = in_force.endpoints.iter().map(|endpoint| endpoint.weight);
        let target =
            Self { cluster: state, endpoints: endpoints.iter().zip(weights).collect(), name };
        if target.meant().next().is_none() {
            let known: Vec<&str> = endpoints.iter().map(|endpoint| &*endpoint.label).collect();
            return Err(no_such(&format!("endpoint of \"{cluster}\""), name, &known));
        }
        Ok(target)
    }

    fn meant(&self) -> impl Iterator<Item = &(&'a Arc<EndpointState>, u32)> {
        self.endpoints.iter().filter(|(state, _)| is_called(state, self.name))
    }

    fn answer(&self, policy: RuntimeChanges) -> Value {
        let endpoint = |(state, weight): &(&Arc<EndpointState>, u32)| {
            json!({
                "endpoint": &*state.label,
                "state": state_of(state, *weight),
                "weight": weight,
                "in_flight": state.in_flight.load(std::sync::atomic::Ordering::Relaxed),
            })
        };
        let is_up = |(state, weight): &(&Arc<EndpointState>, u32)| state_of(state, *weight) == "up";
        json!({
            "cluster": &*self.cluster.name,
            "endpoints": self.meant().map(endpoint).collect::<Vec<_>>(),
            "cluster_takes_requests": self.endpoints.iter().any(is_up),
            "kept_over_reloads": policy == RuntimeChanges::Keep,
            "kept_over_restarts": false,
        })
    }
}

/// By its own name, or by an address of the file that it is one of.
fn is_called(state: &EndpointState, name: &str) -> bool {
    *state.label == *name || state.address.to_string() == *name
}

/// Takes away from `changes` what a configuration that comes into force ends.
pub(super) fn end_with(settings: &Settings, changes: &mut Changes) {
    if changes.is_empty() {
        return;
    }
    let keeps = settings.admin.runtime_changes == RuntimeChanges::Keep;
    let gone =
        changes.forget(|cluster, endpoint| keeps && is_configured(settings, cluster, endpoint));
    for (cluster, endpoint) in gone {
        tracing::info!(cluster, endpoint, "a change by an operator has ended with this reload");
    }
}

/// Whether the file has such an endpoint. One address of a name is there for as long as the name.
fn is_configured(settings: &Settings, cluster: &str, endpoint: &str) -> bool {
    let named = settings.clusters.iter().filter(|settings| settings.name == cluster);
    named.flat_map(|cluster| &cluster.endpoints).any(|known| {
        let address = known.address.to_string();
        let host = endpoint.split_once('/').map(|(host, _)| host);
        address == endpoint || known.address.name().is_some_and(|n| host == Some(&*n.to_string()))
    })
}
