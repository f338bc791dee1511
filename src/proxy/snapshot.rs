//! The rules in force: immutable, shared by all workers, one generation.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::limits::state::LimitState;
use super::limits::{Finder, Scope, Sets};
use super::overlay::{Overlay, Resolved};
use super::route::RouteTable;
use super::settings::{self, Settings};
use super::shared::{ClusterState, EndpointState, Registry};
use super::sticky::Sticky;
use crate::net::tls::{ClientTls, ServerTls};
use crate::policy::balance::Balancer;
use crate::policy::retry;

/// The configuration and what stands over it, compiled for the request path.
pub struct Snapshot {
    /// Counts configurations.
    pub generation: u64,
    /// Counts snapshots: a configuration has a new one whenever a name stands for other addresses.
    pub(super) version: u64,
    pub settings: Arc<Settings>,
    pub(super) routes: Arc<RouteTable>,
    /// What handshakes are made with, for each listener that has any.
    pub(super) listeners_tls: Arc<[Option<ServerTls>]>,
    pub(super) clusters: Vec<Arc<Cluster>>,
    /// Those that stand on no cluster; `None` if there are none.
    pub(super) limits: Option<Arc<Sets<Arc<LimitState>>>>,
    /// Some cluster's endpoints are told of clients by the PROXY protocol.
    pub(super) announces_clients: bool,
    /// Model names and aliases to the index in `settings.models`.
    pub(super) models: Arc<HashMap<String, usize>>,
    /// The cluster that `ops` routes go to: the admin server of this process.
    pub(super) ops: Arc<Cluster>,
    /// The path pattern of each route, for labels.
    pub(super) route_labels: Arc<[Arc<str>]>,
    /// The names as configured, in file order.
    pub(super) model_names: Arc<[String]>,
    /// When this process began to serve them, in seconds since 1970.
    pub(super) created: u64,
}

/// A cluster with the states of its endpoints, in the order of the settings.
pub(super) struct Cluster {
    pub(super) name: Arc<str>,
    /// With an endpoint for each address of a name.
    pub(super) settings: settings::Cluster,
    pub(super) state: Arc<ClusterState>,
    pub(super) endpoints: Vec<Arc<EndpointState>>,
    /// What handshakes are made with, for each endpoint that wants one.
    pub(super) endpoints_tls: Vec<Option<Arc<ClientTls>>>,
    pub(super) balancers: Arc<Balancers>,
    pub(super) sticky: Option<Arc<Sticky>>,
    pub(super) limits: Box<[Arc<LimitState>]>,
    /// Those of each endpoint.
    pub(super) endpoints_limits: Vec<Box<[Arc<LimitState>]>>,
}

/// An endpoint for those who speak to it on their own.
#[derive(Clone, Copy)]
pub struct EndpointInFull<'a> {
    pub cluster: &'a settings::Cluster,
    pub cluster_state: &'a Arc<ClusterState>,
    pub endpoint: &'a settings::Endpoint,
    pub state: &'a Arc<EndpointState>,
    /// What handshakes with it are made with, if it wants one.
    pub tls: Option<&'a Arc<ClientTls>>,
}

/// Pick among all endpoints of a cluster; only weights differ.
pub(super) struct Balancers {
    pub(super) primary: Balancer,
    /// For the time in which no primary endpoint is available; `None` without backup endpoints.
    pub(super) backup: Option<Balancer>,
}

impl Balancers {
    fn compile(settings: &settings::Cluster, endpoints: &[Arc<EndpointState>]) -> Self {
        let names: Vec<&str> = endpoints.iter().map(|endpoint| &*endpoint.label).collect();
        let among = |backup: bool| {
            let weight = |e: &settings::Endpoint| if e.backup == backup { e.weight } else { 0 };
            let weights: Vec<u32> = settings.endpoints.iter().map(weight).collect();
            let settings::Balance { algorithm, load_bound, .. } = settings.balance;
            Balancer::new(algorithm, &weights, &names, load_bound)
        };
        let has_backup = settings.endpoints.iter().any(|endpoint| endpoint.backup);
        Self { primary: among(false), backup: has_backup.then(|| among(true)) }
    }
}

impl Cluster {
    fn compile(
        settings: &settings::Cluster,
        resolved: Vec<Resolved>,
        registry: &Registry<'_>,
    ) -> Self {
        let (state, joins) = registry.cluster(&settings.name);
        let endpoint = |r: &Resolved| {
            let state = registry.endpoint(&settings.name, &r.endpoint.address, r.at, joins);
            state.availability.set_admin_state(r.admin);
            state
        };
        let tls = |r: &Resolved| r.endpoint.tls.as_ref().map(|tls| registry.client_tls(&tls.rules));
        let endpoints: Vec<_> = resolved.iter().map(endpoint).collect();
        let endpoints_tls = resolved.iter().map(tls).collect();
        let mut limits = Finder::new(registry);
        let (scope, name) = match settings.name.strip_prefix("model:") {
            Some(model) => (Scope::Model, model),
            None => (Scope::Cluster, &*settings.name),
        };
        let of_endpoint = |(state, r): (&Arc<EndpointState>, &Resolved)| {
            let place = format!("{} {}", settings.name, state.label);
            limits.find(Scope::Endpoint, &place, &state.label, &r.endpoint.limit)
        };
        let endpoints_limits = endpoints.iter().zip(&resolved).map(of_endpoint).collect();
        let settings = settings::Cluster {
            endpoints: resolved.into_iter().map(|resolved| resolved.endpoint).collect(),
            ..settings.clone()
        };
        Self {
            endpoints_limits,
            limits: limits.find(scope, name, name, &settings.limit),
            name: Arc::clone(&state.name),
            balancers: Arc::new(Balancers::compile(&settings, &endpoints)),
            sticky: settings.sticky.as_ref().map(|sticky| {
                let labels = endpoints.iter().map(|endpoint| &*endpoint.label);
                Arc::new(Sticky::compile(sticky, &settings.name, labels))
            }),
            endpoints_tls,
            endpoints,
            state,
            settings,
        }
    }

    /// Whether it has just these endpoints, as they are wanted.
    fn is_of(&self, resolved: &[Resolved]) -> bool {
        let ours = self.settings.endpoints.iter().zip(&self.endpoints);
        let theirs = resolved.iter().map(|r| (&r.endpoint, r.at, r.admin));
        ours.map(|(settings, state)| (settings, state.at, state.availability.admin_state()))
            .eq(theirs)
    }
}

impl Snapshot {
    /// Compiles settings and what stands over them. `ops` is the abstract socket name of this
    /// process's admin server.
    pub fn compile(
        generation: u64,
        settings: Settings,
        overlay: &Overlay,
        ops: &str,
        created: u64,
        registry: &Registry<'_>,
    ) -> Self {
        let mut models = HashMap::new();
        for (index, model) in settings.models.iter().enumerate() {
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                models.insert(name.clone(), index);
            }
        }
        let cluster = |cluster: &settings::Cluster| {
            Arc::new(Cluster::compile(cluster, overlay.endpoints(cluster), registry))
        };
        let routes = RouteTable::compile(&settings);
        Self {
            generation,
            version: 1,
            limits: Finder::new(registry).sets(&settings, &routes).map(Arc::new),
            routes: Arc::new(routes),
            listeners_tls: settings.listeners.iter().map(|l| server_tls(l, registry)).collect(),
            clusters: settings.clusters.iter().map(cluster).collect(),
            announces_clients: settings.clusters.iter().any(|c| c.proxy_protocol.is_some()),
            models: Arc::new(models),
            ops: cluster(&ops_cluster(ops)),
            route_labels: settings.routes.iter().map(|r| Arc::from(r.label().as_str())).collect(),
            model_names: settings.models.iter().map(|m| m.name.clone()).collect(),
            settings: Arc::new(settings),
            created,
        }
    }

    /// The same configuration, with something else over it. Clusters that this does not concern
    /// are the same.
    pub fn with(&self, overlay: &Overlay, registry: &Registry<'_>) -> Self {
        let cluster = |(known, settings): (&Arc<Cluster>, &settings::Cluster)| {
            let resolved = overlay.endpoints(settings);
            match known.is_of(&resolved) {
                true => Arc::clone(known),
                false => Arc::new(Cluster::compile(settings, resolved, registry)),
            }
        };
        Self {
            clusters: self.clusters.iter().zip(&self.settings.clusters).map(cluster).collect(),
            ops: Arc::clone(&self.ops),
            limits: self.limits.clone(),
            settings: Arc::clone(&self.settings),
            routes: Arc::clone(&self.routes),
            listeners_tls: Arc::clone(&self.listeners_tls),
            models: Arc::clone(&self.models),
            route_labels: Arc::clone(&self.route_labels),
            model_names: Arc::clone(&self.model_names),
            ..*self
        }
    }

    /// Every endpoint with its weight, for the control thread and reports.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Arc<EndpointState>, u32)> {
        self.clusters.iter().flat_map(|cluster| {
            let weights = cluster.settings.endpoints.iter().map(|endpoint| endpoint.weight);
            cluster.endpoints.iter().zip(weights)
        })
    }

    /// Every cluster as it is in force, in the order of the settings: with its endpoints' settings
    /// and, in the same order, their states.
    pub fn clusters_in_force(
        &self,
    ) -> impl Iterator<Item = (&Arc<ClusterState>, &settings::Cluster, &[Arc<EndpointState>])> {
        self.clusters.iter().map(|cluster| (&cluster.state, &cluster.settings, &*cluster.endpoints))
    }

    /// Every endpoint with all that is said of it.
    pub fn endpoints_in_full(&self) -> impl Iterator<Item = EndpointInFull<'_>> {
        self.clusters.iter().flat_map(|cluster| {
            let settings = cluster.settings.endpoints.iter();
            let parts = cluster.endpoints.iter().zip(settings).zip(&cluster.endpoints_tls);
            parts.map(|((state, endpoint), tls)| EndpointInFull {
                cluster: &cluster.settings,
                cluster_state: &cluster.state,
                endpoint,
                state,
                tls: tls.as_ref(),
            })
        })
    }

    /// The state of every cluster, for reports.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<ClusterState>> {
        self.clusters.iter().map(|cluster| &cluster.state)
    }

    /// One listener and nothing else, for tests.
    #[cfg(test)]
    pub(super) fn empty() -> Self {
        let states = super::shared::States::default();
        let file = "[[listener]]\nname = 'a'\nbind = '127.0.0.1:0'\n";
        let settings = crate::config::from_str("test.toml", file, &|_| None);
        let settings = settings.expect("one listener is enough").settings;
        Self::compile(1, settings, &Overlay::default(), "none", 0, &Registry::for_tests(&states))
    }
}

fn server_tls(listener: &settings::Listener, registry: &Registry<'_>) -> Option<ServerTls> {
    let tls = listener.tls.as_ref()?;
    Some(ServerTls::new(tls, registry.ticket_keys(), listener.http2))
}

/// The admin server answers from memory; when it does not, the control thread is stuck.
const OPS_TIMEOUT: Duration = Duration::from_secs(10);

fn ops_cluster(name: &str) -> settings::Cluster {
    settings::Cluster {
        name: "ops".into(),
        endpoints: vec![settings::Endpoint {
            address: settings::Address::Abstract(name.into()),
            weight: 1,
            tls: None,
            http2: false,
            max_in_flight: None,
            limit: Vec::new(),
            backup: false,
            provider: None,
        }],
        timeouts: settings::ClusterTimeouts {
            connect: Some(OPS_TIMEOUT),
            first_byte: Some(OPS_TIMEOUT),
            idle: Some(OPS_TIMEOUT),
            total: None,
            upgrade_idle: None,
            queue: None,
        },
        proxy_protocol: None,
        balance: settings::Balance::default(),
        sticky: None,
        retry: retry::Settings::default(),
        health_check: None,
        passive: None,
        max_in_flight: None,
        queue: 0,
        limit: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::proxy::overlay::Target;
    use crate::proxy::settings::Name;
    use crate::proxy::shared::Shared;

    const FILE: &str = "[[listener]]\n\
        name = 'public'\n\
        bind = '127.0.0.1:0'\n\
        [[cluster.named.endpoint]]\n\
        address = 'a.test:80'\n\
        [[cluster.plain.endpoint]]\n\
        address = '10.0.0.9:80'\n";

    fn addresses(last: &[u8]) -> Arc<[Target]> {
        last.iter().map(|last| Target::host(IpAddr::from([10, 0, 0, *last]))).collect()
    }

    #[test]
    fn a_name_that_stands_for_something_else_concerns_its_own_cluster_alone() {
        let settings = crate::config::from_str("test.toml", FILE, &|_| None).unwrap().settings;
        let mut overlay = Overlay::default();
        let first = |registry: &Registry<'_>| {
            Snapshot::compile(1, settings, &Overlay::default(), "ops", 0, registry)
        };
        let shared = Shared::new(1, 0, first);
        let mut resolve = |last: &[u8]| {
            overlay.set_name(&Name::Host("a.test".into()), addresses(last));
            let before = shared.snapshot();
            shared.publish(shared.prepare(|registry| before.with(&overlay, registry)));
            (before, shared.snapshot())
        };

        let (unresolved, two) = resolve(&[1, 2]);
        let (_, next) = resolve(&[2, 3]);

        assert!(unresolved.clusters[0].endpoints[0].peer().is_none());
        let labels: Vec<&str> = next.clusters[0].endpoints.iter().map(|e| &*e.label).collect();
        assert_eq!(labels, ["a.test/10.0.0.2:80", "a.test/10.0.0.3:80"]);
        // Who stays is the same, with what is counted of it.
        assert!(Arc::ptr_eq(&two.clusters[0].endpoints[1], &next.clusters[0].endpoints[0]));
        assert!(Arc::ptr_eq(&unresolved.clusters[1], &next.clusters[1]));
        assert_eq!((next.generation, next.version), (1, 3));
    }
}
