//! What a route does: exactly one of `ai`, `cluster`, `respond`, `redirect`, `ops`.

use super::reader::Value;
use super::route::Names;
use super::section::Section;
use super::{fields, name, redirect};
use crate::proxy::settings::{Action, OpsPage, StaticResponse};

const ACTIONS: [&str; 5] = ["ai", "cluster", "respond", "redirect", "ops"];

const STATUS: u16 = 200;

/// `None` if there is none that can be read.
pub(super) fn action(route: &mut Section<'_>, names: &Names) -> Option<Action> {
    let given: Vec<_> =
        ACTIONS.into_iter().filter(|key| route.at().child(key).is_present()).collect();
    match given[..] {
        [_] => {}
        [] => route.at().problem(
            "This route has no action. Give it one of ai = true, cluster = \"NAME\", \
             respond = { status = 200 }, redirect = { scheme = \"https\" }, ops = [\"health\"].",
        ),
        _ => route.at().problem(format_args!(
            "This route has {} actions: {}. Keep one, and make a route for each of the others.",
            given.len(),
            given.join(", "),
        )),
    }
    let actions = [
        route.take("ai", ai),
        route
            .take("cluster", |value| name::reference(value, &names.clusters, "cluster"))
            .map(Action::Cluster),
        route.take("respond", |value| value.section(respond)).map(Action::Respond),
        route
            .take("redirect", |value| value.section(redirect::redirect))
            .flatten()
            .map(Action::Redirect),
        route.take("ops", ops).map(Action::Ops),
    ];
    actions.into_iter().flatten().next()
}

fn ai(value: &Value<'_>) -> Option<Action> {
    if !value.boolean()? {
        value.problem("The only choice is true. Leave the key out if this is no AI route.");
    }
    Some(Action::Ai)
}

fn respond(section: &mut Section<'_>) -> StaticResponse {
    let status = section.take("status", status).unwrap_or(STATUS);
    let body = section
        .take("body", |value| {
            let body = value.text("a string")?;
            if !body.is_empty() && matches!(status, 204 | 304) {
                value.problem(format_args!("An answer with status {status} has no body."));
            }
            Some(body)
        })
        .unwrap_or_default();
    let mut headers = section.take("headers", |value| fields::pairs(value, fields::refuse_framing));
    let headers = headers.get_or_insert_default();
    if !body.is_empty() && !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".to_owned(), "text/plain; charset=utf-8".to_owned()));
    }
    StaticResponse { status, body, headers: std::mem::take(headers) }
}

fn status(value: &Value<'_>) -> Option<u16> {
    u16::try_from(value.integer(200..=599)?).ok()
}

fn ops(list: &Value<'_>) -> Option<Vec<OpsPage>> {
    let known =
        [("health", OpsPage::Health), ("info", OpsPage::Info), ("prometheus", OpsPage::Prometheus)];
    let elements = list.elements("a list of pages such as [\"health\", \"prometheus\"]")?;
    if elements.is_empty() {
        list.problem("The list is empty, so the route would let nothing through.");
    }
    Some(elements.iter().filter_map(|page| page.choice(&known, &[])).collect())
}
