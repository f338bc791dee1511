//! `[[route]]`.

use super::limit::{self, Holder};
use super::listener::body_limit;
use super::reader::Value;
use super::section::Section;
use super::{action, address, error_page, fields, name, pattern};
use crate::proxy::settings::{Action, Cidr, HeaderEdits, PrefixChange, Redirect, Route};

/// What a route may refer to.
pub(super) struct Names {
    pub(super) listeners: Vec<String>,
    pub(super) clusters: Vec<String>,
}

pub(super) fn route(section: &mut Section<'_>, names: &Names) -> Route {
    let action = action::action(section, names);
    let route = Route {
        listener: section
            .take("listener", |value| name::reference(value, &names.listeners, "listener")),
        host: section
            .take("host", |value| value.parse("a host such as \"example.com\"", pattern::host)),
        methods: section.take("methods", fields::methods).unwrap_or_default(),
        headers: section.take("headers", fields::conditions).unwrap_or_default(),
        allow: section.take("allow", clients).unwrap_or_default(),
        deny: section.take("deny", clients).unwrap_or_default(),
        body: section.section("limits", |limits| limits.take("body", body_limit)),
        limit: limit::list(section, Holder::Route),
        request_headers: section.section("request_headers", fields::request_edits),
        response_headers: section.section("response_headers", fields::response_edits),
        security_headers: section.take("security_headers", Value::boolean).unwrap_or(false),
        errors: section.take("errors", error_page::pages).unwrap_or_default(),
        path: section.take("path", pattern::path),
        prefix: prefix_change(section),
        access_log: section.take("access_log", Value::boolean).unwrap_or(true),
        // Any action will do where there is none: that was reported.
        action: action.clone().unwrap_or(Action::Ai),
    };
    if let Some(action) = action {
        report_ineffective(section.at(), &action, &route.request_headers);
    }
    report_denied(section.at(), &route);
    route
}

/// Blocks of clients; an empty list is a mistake, since it reads as its opposite.
fn clients(list: &Value<'_>) -> Option<Vec<Cidr>> {
    if list.is_empty_list() {
        list.problem("The list is empty. Leave the key out to let every client in.");
    }
    address::blocks(list)
}

/// Refuses an `allow` that `deny` takes back whole: it is nginx's order of rules, not ours.
fn report_denied(at: &Value<'_>, route: &Route) {
    let covers =
        |wide: &Cidr, narrow: &Cidr| wide.prefix <= narrow.prefix && wide.contains(narrow.address);
    let is_denied = |allowed: &&Cidr| route.deny.iter().any(|denied| covers(denied, allowed));
    if let Some(allowed) = route.allow.iter().find(is_denied) {
        at.child("deny").problem(format_args!(
            "All of {}/{} in allow is denied as well, and deny wins. With allow, all other clients \
             are refused anyway: deny is for exceptions from it.",
            allowed.address, allowed.prefix,
        ));
    }
}

fn prefix_change(section: &mut Section<'_>) -> PrefixChange {
    let path_is_prefix = section.at().child("path").is_string();
    let strip = section.take("strip_prefix", |value| {
        let prefix = value.parse("a path such as \"/api\"", pattern::prefix)?;
        if prefix.is_empty() {
            value.problem("There is nothing to strip. Leave the key out.");
        }
        Some(prefix)
    });
    let replace = section.take("replace_prefix", |value| {
        if !path_is_prefix {
            value.problem(
                "It swaps the prefix that path matched, so path must be a prefix such as \"/api\".",
            );
        }
        value.parse("a path such as \"/v2\"", pattern::prefix)
    });
    match (strip, replace) {
        (None, None) => PrefixChange::Keep,
        (Some(prefix), None) => PrefixChange::Strip(prefix),
        (None, Some(prefix)) => PrefixChange::Replace(prefix),
        (Some(prefix), Some(_)) => {
            section.at().child("strip_prefix").problem(
                "replace_prefix is there as well. Keep one: replace_prefix = \"/\" strips all of \
                 path.",
            );
            PrefixChange::Strip(prefix)
        }
    }
}

/// Refuses what the action would silently ignore.
fn report_ineffective(at: &Value<'_>, action: &Action, request_headers: &HeaderEdits) {
    let ignored: &[(&str, &str)] = match action {
        Action::Cluster(_) => &[],
        Action::Ai => {
            report_host_of_ai(at, request_headers);
            &[
                ("strip_prefix", "An AI operation is known by its whole path, from /v1 on."),
                ("replace_prefix", "An AI operation is known by its whole path, from /v1 on."),
                ("errors", "AI clients are told of errors in their own dialect."),
            ]
        }
        Action::Ops(_) => &[
            ("strip_prefix", "The admin server's paths cannot be changed by a route."),
            ("replace_prefix", "The admin server's paths cannot be changed by a route."),
        ],
        Action::Redirect(redirect) => {
            report_path_of_redirect(at, redirect);
            report_loop(at);
            &[
                ("request_headers", "Nothing is forwarded by a route that answers by itself."),
                ("limits", "Nothing is forwarded by a route that answers by itself."),
            ]
        }
        Action::Respond(_) => &[
            ("limits", "Nothing is forwarded by a route that answers by itself."),
            ("strip_prefix", "Nothing is forwarded by a route that answers by itself."),
            ("replace_prefix", "Nothing is forwarded by a route that answers by itself."),
            ("request_headers", "Nothing is forwarded by a route that answers by itself."),
            ("response_headers", "Put the fields into headers of respond."),
        ],
    };
    for (key, why) in ignored {
        let value = at.child(key);
        if value.is_present() {
            value.problem(format_args!("This would have no effect. {why}"));
        }
    }
}

fn report_path_of_redirect(at: &Value<'_>, redirect: &Redirect) {
    for key in ["strip_prefix", "replace_prefix"] {
        if redirect.path.is_some() && at.child(key).is_present() {
            at.child(key).problem("The path of redirect takes the place of the whole path.");
        }
    }
}

/// A redirect to where the client already is.
fn report_loop(at: &Value<'_>) {
    let redirect = at.child("redirect");
    let changes = |at: &Value<'_>, keys: &[&str]| keys.iter().any(|key| at.child(key).is_present());
    if !changes(&redirect, &["scheme", "host", "port", "path"])
        && !changes(at, &["strip_prefix", "replace_prefix"])
    {
        redirect.problem(
            "The client would be sent to where it is. Give scheme = \"https\", a path, or \
             replace_prefix beside redirect.",
        );
    }
}

fn report_host_of_ai(at: &Value<'_>, edits: &HeaderEdits) {
    if edits.set.iter().any(|(name, _)| name == "host") {
        let set = at.child("request_headers").child("set");
        set.problem("Host cannot be set on an AI route: it comes from the url of the endpoint.");
    }
}
