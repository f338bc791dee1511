//! What can be wrong between parts that are right by themselves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};

use super::cover::covers;
use super::model::NamedModel;
use super::reader::Value;
use super::section::Placed;
use crate::proxy::settings::{
    Action, Admin, Cluster, Listener, PathPattern, Redirect, Route, Sticky,
};

/// Two listeners with one name.
pub(super) fn names(listeners: &[Placed<'_, Listener>]) {
    let mut first = HashMap::new();
    for listener in listeners.iter().filter(|listener| !listener.is.name.is_empty()) {
        let at = listener.at.child("name");
        if let Some(line) = first.insert(&listener.is.name, at.line()) {
            at.problem(format_args!("The listener on line {line} has this name already."));
        }
    }
}

/// Two parts that would accept on one address and port. The kernel would not say so: sockets with
/// SO_REUSEPORT share an address, and the narrower of two addresses wins.
pub(super) fn binds(root: &Value<'_>, admin: &Admin, listeners: &[Placed<'_, Listener>]) {
    let mut taken = vec![(admin.bind, "The admin server".to_owned())];
    for listener in listeners {
        let bind = listener.is.bind;
        let at = listener.at.child("bind");
        if let Some((other, who)) = taken.iter().find(|(other, _)| conflict(*other, bind)) {
            let admin_is_default = !root.child("admin").child("bind").is_present();
            let way_out = if *other == admin.bind && admin_is_default {
                " Choose another port, or move it with bind in [admin]."
            } else {
                " Choose another port."
            };
            at.problem(format_args!("{who} accepts on {other} already.{way_out}"));
        }
        taken.push((bind, format!("The listener on line {}", at.line())));
    }
}

/// Whether a connection could belong to either. Port 0 is a port of the kernel's choice.
fn conflict(a: SocketAddr, b: SocketAddr) -> bool {
    let (ip_a, ip_b) = (a.ip().to_canonical(), b.ip().to_canonical());
    // A socket on [::] takes IPv6 only: IPv4 has a listener of its own.
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified() && narrow.is_ipv6(),
    };
    a.port() != 0
        && a.port() == b.port()
        && (ip_a == ip_b || covers(ip_a, ip_b) || covers(ip_b, ip_a))
}

/// A name or alias that leads to two models.
pub(super) fn model_names(models: &[Placed<'_, NamedModel>]) {
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for model in models {
        owners.insert(&model.is.name, &model.is.name);
    }
    // Without aliases the key is missing, or was reported as not being a list.
    for model in models.iter().filter(|model| !model.is.aliases.is_empty()) {
        let places = model.at.child("aliases").elements("a list").unwrap_or_default();
        for (alias, at) in model.is.aliases.iter().zip(places).filter(|(name, _)| !name.is_empty())
        {
            if let Some(owner) = owners.insert(alias, &model.is.name) {
                at.problem(format_args!("The model {owner:?} has this name or alias already."));
            }
        }
    }
}

/// Two clusters whose cookies browsers take for one.
pub(super) fn sticky_names(clusters: &[Placed<'_, Cluster>]) {
    let mut first: HashMap<_, &str> = HashMap::new();
    for cluster in clusters {
        let Some(Sticky { cookie, path, domain, .. }) = &cluster.is.sticky else { continue };
        match first.entry((cookie, path, domain)) {
            Entry::Vacant(new) => drop(new.insert(&cluster.is.name)),
            Entry::Occupied(other) => {
                cluster.at.child("sticky").child("cookie").warning(format_args!(
                    "The cluster {:?} has a cookie of this name. A browser that uses both under \
                     one host loses its place with each change. Give each a name of its own.",
                    other.get(),
                ))
            }
        }
    }
}

/// Routes that can never match, since an earlier one takes all their requests.
pub(super) fn shadowed_routes(routes: &[Placed<'_, Route>]) {
    for (index, route) in routes.iter().enumerate() {
        let earlier = &routes[..index];
        if let Some(first) = earlier.iter().find(|first| covers(&first.is, &route.is)) {
            let line = first.at.line();
            route.at.warning(format_args!(
                "This route never matches: {} on line {line} takes all its requests.\n\
                 The first match wins, so put the narrower route first.",
                first.at.path(),
            ));
        }
    }
}

/// Redirects on the same server to a path that the route takes again.
pub(super) fn redirect_loops(routes: &[Placed<'_, Route>]) {
    for route in routes {
        let Action::Redirect(Redirect { scheme: None, path: Some(path), .. }) = &route.is.action
        else {
            continue;
        };
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let target = Route { path: Some(PathPattern::Exact(path)), ..route.is.clone() };
        if covers(&route.is, &target) {
            route.at.child("redirect").warning(
                "The route takes the new path as well, so clients go round in circles until they \
                 give up.\nMake its path exact, or give the redirect a path outside of it.",
            );
        }
    }
}

/// Listeners whose every request would be answered 404.
pub(super) fn unrouted_listeners(listeners: &[Placed<'_, Listener>], routes: &[Placed<'_, Route>]) {
    for (index, listener) in listeners.iter().enumerate() {
        let leads_here = |route: &Placed<'_, Route>| route.is.listener.is_none_or(|l| l == index);
        if !routes.iter().any(leads_here) {
            listener.at.warning("No route belongs to this listener: it will answer 404 to all.");
        }
    }
}

/// AI routes that anybody may use, or that lead to nothing.
pub(super) fn ai_routes(
    listeners: &[Placed<'_, Listener>],
    routes: &[Placed<'_, Route>],
    models: &[Placed<'_, NamedModel>],
) {
    for route in routes.iter().filter(|route| route.is.action == Action::Ai) {
        let at = route.at.child("ai");
        let mut reached_by = listeners
            .iter()
            .enumerate()
            .filter(|(index, _)| route.is.listener.is_none_or(|listener| listener == *index))
            .map(|(_, listener)| &listener.is);
        if let Some(open) =
            reached_by.find(|listener| !listener.bind.ip().to_canonical().is_loopback())
        {
            at.warning(format_args!(
                "Other machines can use the models without credentials, through listener {:?} on \
                 {}.\nBind it to 127.0.0.1, or let only trusted machines reach it.",
                open.name, open.bind,
            ));
        }
        if models.is_empty() {
            at.warning("There is no [model.\"NAME\"]: every call will be answered 404.");
        }
    }
}
