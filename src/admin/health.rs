//! Is the process alive, and should it get traffic?
//!
//! The answers are short: details would tell strangers about the inside.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use super::{AdminState, Instance};

/// Both answers; up if both are.
pub(super) async fn all(State(instance): State<AdminState>) -> Response {
    let (alive, ready) = (is_alive(&*instance), is_ready(&*instance));
    let components = json!({ "livenessState": state(alive), "readinessState": state(ready) });
    answer(alive && ready, json!({ "status": word(alive && ready), "components": components }))
}

pub(super) async fn liveness(State(instance): State<AdminState>) -> Response {
    let alive = is_alive(&*instance);
    answer(alive, state(alive))
}

pub(super) async fn readiness(State(instance): State<AdminState>) -> Response {
    let ready = is_ready(&*instance);
    answer(ready, state(ready))
}

/// Restarting the process helps when no worker is left, and only then: a single dead one is
/// replaced, and an upstream that fails would fail the next process too.
fn is_alive(instance: &dyn Instance) -> bool {
    instance.workers_alive() > 0
}

fn is_ready(instance: &dyn Instance) -> bool {
    !instance.is_draining() && instance.workers_accepting() > 0
}

fn state(up: bool) -> Value {
    json!({ "status": word(up) })
}

fn word(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

fn answer(up: bool, body: Value) -> Response {
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}
