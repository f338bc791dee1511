//! The operator's side, over HTTP: health, information, metrics, and the management API.
//!
//! It runs on the control thread and only looks: everything it shows comes from an [`Instance`].
//! What is to be changed goes to the control thread as an order.

mod access;
mod api;
mod health;
mod metrics;
pub mod orders;
mod process;
mod request_id;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, map_response};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};

pub use self::api::Api;
use crate::telemetry::{
    CertificateReport, ClusterReport, EndpointReport, HandOvers, LimitReport, LogEntries, Lookups,
    WorkerMetrics,
};

/// What the pages need to know of the running gateway.
pub trait Instance: Send + Sync + 'static {
    /// The metrics of all workers, dead ones included.
    fn workers(&self) -> Vec<Arc<WorkerMetrics>>;
    /// Workers whose heartbeat is recent.
    fn workers_alive(&self) -> usize;
    /// Workers that accept connections.
    fn workers_accepting(&self) -> usize;
    fn is_draining(&self) -> bool;
    /// Number of the snapshot in force.
    fn generation(&self) -> u64;
    /// Configurations that were refused at a reload.
    fn reload_failures(&self) -> u64;
    fn hand_overs(&self) -> &HandOvers;
    fn lookups(&self) -> &Lookups;
    fn endpoints(&self) -> Vec<EndpointReport>;
    /// Each file once.
    fn certificates(&self) -> Vec<CertificateReport>;
    fn clusters(&self) -> Vec<ClusterReport>;
    /// Of limits that are per client.
    fn limits(&self) -> Vec<LimitReport>;
    /// `[telemetry].service`.
    fn service(&self) -> String;
    /// `[telemetry].tags`.
    fn tags(&self) -> Vec<(String, String)>;
    fn log_entries(&self) -> &LogEntries;
    /// Access log lines that the log thread could not write.
    fn access_log_unwritten(&self) -> u64;
    /// The state of everything, or of the clusters only of `cluster`; if there is none of this
    /// name, what to say instead.
    fn status(&self, cluster: Option<&str>) -> Result<Value, String>;
    /// Whether this is `[admin].token`; `None` if that is not set. Takes as long for every token of
    /// the same length.
    fn is_admin_token(&self, given: &[u8]) -> Option<bool>;
}

/// What every page is made from.
pub type AdminState = Arc<dyn Instance>;

/// All pages, for the admin listener.
pub fn router(api: Api) -> Router {
    let state = Arc::clone(&api.instance);
    let pages = ops_pages()
        .route("/actuator", get(index))
        .route("/actuator/metrics", get(metrics::names))
        .merge(api::pages(api));
    finish(pages, state)
}

/// The pages that an `ops` route of a public listener may show. Which of them a route does show is
/// for the route to decide, before the request comes here.
pub fn ops_router(state: AdminState) -> Router {
    finish(ops_pages(), state)
}

fn ops_pages() -> Router<AdminState> {
    Router::new()
        .route("/actuator/health", get(health::all))
        .route("/actuator/health/liveness", get(health::liveness))
        .route("/actuator/health/readiness", get(health::readiness))
        .route("/health", get(health::all))
        .route("/health/live", get(health::liveness))
        .route("/health/ready", get(health::readiness))
        .route("/ready", get(health::readiness))
        .route("/actuator/info", get(info))
        .route("/actuator/prometheus", get(metrics::page))
        .route("/metrics", get(metrics::page))
}

/// What holds for every answer, also for those to unknown paths.
fn finish(pages: Router<AdminState>, state: AdminState) -> Router {
    pages
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .layer(map_response(uncached))
        .layer(from_fn(request_id::add))
        .with_state(state)
}

/// Every page shows a moment.
async fn uncached(mut response: Response) -> Response {
    let value = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}

async fn index() -> Json<Value> {
    let link = |page: &str| json!({ "href": format!("/actuator{page}"), "templated": false });
    Json(json!({ "_links": {
        "self": link(""),
        "health": link("/health"),
        "info": link("/info"),
        "metrics": link("/metrics"),
        "prometheus": link("/prometheus"),
    }}))
}

async fn info(State(instance): State<AdminState>) -> Json<Value> {
    Json(json!({
        "build": {
            "artifact": env!("CARGO_PKG_NAME"),
            "name": "Ringgate",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "service": instance.service(),
        "configuration": { "generation": instance.generation() },
    }))
}

async fn no_such_page(request: Request) -> Response {
    error(StatusCode::NOT_FOUND, "there is no such page here", request.uri().path())
}

async fn wrong_method(request: Request) -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "this page is not for this method", request.uri().path())
}

/// An error in the shape that clients of actuator pages know.
fn error(status: StatusCode, message: &str, path: &str) -> Response {
    let body = json!({
        "status": status.as_u16(),
        "error": status.canonical_reason(),
        "message": message,
        "path": path,
    });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests;
