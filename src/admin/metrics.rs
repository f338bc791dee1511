//! The metrics page, and the names on it.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json};
use serde_json::{Value, json};

use super::process;
use super::{AdminState, Instance};
use crate::telemetry::{Report, prometheus};

pub(super) async fn page(State(instance): State<AdminState>) -> impl IntoResponse {
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], text(&*instance))
}

pub(super) async fn names(State(instance): State<AdminState>) -> Json<Value> {
    let text = text(&*instance);
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<&str> = typed.filter_map(|rest| rest.split(' ').next()).collect();
    Json(json!({ "names": names }))
}

fn text(instance: &dyn Instance) -> String {
    prometheus::render(&Report {
        service: &instance.service(),
        tags: &instance.tags(),
        version: env!("CARGO_PKG_VERSION"),
        workers: &instance.workers(),
        endpoints: &instance.endpoints(),
        certificates: &instance.certificates(),
        clusters: &instance.clusters(),
        limits: &instance.limits(),
        process: &process::read(),
        log_entries: instance.log_entries(),
        access_log_unwritten: instance.access_log_unwritten(),
        generation: instance.generation(),
        reload_failures: instance.reload_failures(),
        hand_overs: instance.hand_overs(),
        lookups: instance.lookups(),
    })
}
