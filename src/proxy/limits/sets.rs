//! All limits of a snapshot that stand on no cluster, by what they stand on.

use std::collections::HashMap;
use std::sync::Arc;

use super::asking::Scope;
use super::state::LimitState;
use crate::ai::service::Service;
use crate::proxy::route::RouteTable;
use crate::proxy::settings::{Limit, LimitKind, Per, Route, Settings};
use crate::proxy::shared::Registry;

/// `L` is a limit as the snapshot or as a worker has it.
pub(in crate::proxy) struct Sets<L> {
    pub(super) total: Box<[L]>,
    /// By index into the settings, as the next.
    pub(super) listeners: Box<[Box<[L]>]>,
    pub(super) routes: Box<[Box<[L]>]>,
    pub(super) client_ip: Box<[L]>,
    /// By [`Service::index`].
    pub(super) services: Box<[Box<[L]>]>,
}

impl<L> Sets<L> {
    pub(super) fn map<M>(&self, each: impl Fn(&L) -> M) -> Sets<M> {
        let set = |limits: &[L]| limits.iter().map(&each).collect::<Box<[M]>>();
        let sets = |sets: &[Box<[L]>]| sets.iter().map(|limits| set(limits)).collect();
        Sets {
            total: set(&self.total),
            listeners: sets(&self.listeners),
            routes: sets(&self.routes),
            client_ip: set(&self.client_ip),
            services: sets(&self.services),
        }
    }

    fn is_empty(&self) -> bool {
        let nowhere = |sets: &[Box<[L]>]| sets.iter().all(|limits| limits.is_empty());
        self.total.is_empty()
            && self.client_ip.is_empty()
            && nowhere(&self.listeners)
            && nowhere(&self.routes)
            && nowhere(&self.services)
    }
}

/// Finds the states of limits by name: what they stand on, what they limit, and which of several
/// alike they are.
pub(in crate::proxy) struct Finder<'r> {
    registry: &'r Registry<'r>,
    met: HashMap<String, usize>,
}

impl<'r> Finder<'r> {
    pub(in crate::proxy) fn new(registry: &'r Registry<'r>) -> Self {
        Self { registry, met: HashMap::new() }
    }

    /// `place` tells what they stand on from its like; `name` is how metrics show it.
    pub(in crate::proxy) fn find(
        &mut self,
        scope: Scope,
        place: &str,
        name: &str,
        limits: &[Limit],
    ) -> Box<[Arc<LimitState>]> {
        let find = |limit: &Limit| {
            let key = format!("{} {} {place}", scope.label(), kind(limit));
            let alike = self.met.entry(key.clone()).or_default();
            *alike += 1;
            let new = |before: Option<&_>| LimitState::new(scope, name, limit, before);
            self.registry.limit(&format!("{key} {alike}"), limit, new)
        };
        limits.iter().map(find).collect()
    }

    /// `None` if there is none at all.
    pub(in crate::proxy) fn sets(
        &mut self,
        settings: &Settings,
        routes: &RouteTable,
    ) -> Option<Sets<Arc<LimitState>>> {
        let limits = &settings.limits;
        let sets = Sets {
            total: self.find(Scope::Total, "", "", &limits.total),
            listeners: settings
                .listeners
                .iter()
                .map(|listener| {
                    let name = &listener.name;
                    self.find(Scope::Listener, name, name, &listener.limit)
                })
                .collect(),
            routes: (0..settings.routes.len())
                .map(|index| routes.get(index))
                .map(|route| {
                    let place = place_of(route, settings);
                    self.find(Scope::Route, &place, &route.label(), &route.limit)
                })
                .collect(),
            client_ip: self.find(Scope::ClientIp, "", "", &limits.client_ip),
            services: Service::ALL
                .iter()
                .map(|service| {
                    let limits = &limits.services[service.index()];
                    self.find(Scope::Service, service.name(), service.name(), limits)
                })
                .collect(),
        };
        (!sets.is_empty()).then_some(sets)
    }
}

fn kind(limit: &Limit) -> String {
    let what = match limit.kind {
        LimitKind::Rate(_) => "rate",
        LimitKind::Concurrency(_) => "concurrency",
    };
    match limit.per {
        Per::Whole => what.to_owned(),
        Per::Service => format!("{what}/service"),
        Per::Client(_) => format!("{what}/client_ip"),
    }
}

/// Routes have no names: what they match tells them apart, wherever they stand in the file.
fn place_of(route: &Route, settings: &Settings) -> String {
    if route.limit.is_empty() {
        return String::new();
    }
    let listener = route.listener.map_or("", |index| &settings.listeners[index].name);
    let mut place = format!("{listener} {} {}", route.methods.join(","), route.label());
    for (name, value) in &route.headers {
        place.push_str(&format!(" {name}={value}"));
    }
    place
}
