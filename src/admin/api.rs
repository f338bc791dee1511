//! The management API: what runs, and how to change it while it runs.
//!
//! Reading comes from the [`Instance`]. A change is an [`Order`] to the control thread, which
//! carries orders out one after the other and says what came of each.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post, put};
use serde_json::Value;

use super::orders::{EndpointChange, Order, Orders, Rejection};
use super::{AdminState, access, error};

/// A change is a few words.
const BODY_BYTES_MAX: usize = 16 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// When to ask again after [`Rejection::Busy`].
const BUSY_SECONDS: u16 = 1;

/// What the API is made from.
#[derive(Clone)]
pub struct Api {
    pub(super) instance: AdminState,
    pub(super) orders: Orders,
    /// Nobody on another machine can connect.
    pub(super) is_local: bool,
}

impl Api {
    /// `address`: where the server that has this API listens.
    pub fn new(instance: AdminState, orders: Orders, address: SocketAddr) -> Self {
        Self { instance, orders, is_local: address.ip().to_canonical().is_loopback() }
    }
}

/// Its pages, for a router with whatever state.
pub(super) fn pages<S>(api: Api) -> Router<S> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route(
            "/api/v1/clusters/{cluster}/endpoints/{endpoint}",
            put(change_endpoint).patch(change_endpoint),
        )
        .route("/api/v1/reload", post(reload))
        .route_layer(from_fn_with_state(api.clone(), access::check))
        .with_state(api)
}

/// `?cluster=NAME` shows that one only.
async fn status(
    State(api): State<Api>,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
) -> Response {
    let mut only = None;
    for (key, value) in &query {
        match key.as_str() {
            "cluster" => only = Some(value.as_str()),
            _ => {
                let why = "the only parameter here is \"cluster\"";
                return error(StatusCode::BAD_REQUEST, why, request.uri().path());
            }
        }
    }
    match api.instance.status(only) {
        Ok(status) => Json(status).into_response(),
        Err(why) => error(StatusCode::NOT_FOUND, &why, request.uri().path()),
    }
}

async fn change_endpoint(
    State(api): State<Api>,
    Path((cluster, endpoint)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (path, by) = (request.uri().path().to_owned(), peer(&request));
    let change = match body(request.into_body()).await {
        Ok(body) => EndpointChange::parse(cluster, endpoint, &body),
        Err(why) => Err(why),
    };
    match change {
        Ok(change) => answer(api.orders.give(Order::Change(change), by).await, &path),
        Err(why) => error(StatusCode::BAD_REQUEST, &why, &path),
    }
}

async fn reload(State(api): State<Api>, request: Request) -> Response {
    let (path, by) = (request.uri().path().to_owned(), peer(&request));
    answer(api.orders.give(Order::Reload, by).await, &path)
}

/// Who asks, for the log.
pub(super) fn peer(request: &Request) -> String {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or_else(|| "unknown".to_owned(), |ConnectInfo(peer)| peer.to_string())
}

async fn body(body: Body) -> Result<Value, String> {
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(format!("the body is cut, or above {BODY_BYTES_MAX} bytes")),
        Err(_) => return Err(format!("no whole body within {} s", BODY_TIMEOUT.as_secs())),
    };
    serde_json::from_slice(&bytes).map_err(|error| format!("the body is not JSON: {error}"))
}

fn answer(outcome: Result<Value, Rejection>, path: &str) -> Response {
    let rejection = match outcome {
        Ok(done) => return Json(done).into_response(),
        Err(rejection) => rejection,
    };
    let status = match rejection {
        Rejection::Unknown(_) => StatusCode::NOT_FOUND,
        Rejection::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Rejection::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let is_busy = matches!(rejection, Rejection::Busy(_));
    let (Rejection::Unknown(why) | Rejection::Refused(why) | Rejection::Busy(why)) = rejection;
    let mut response = error(status, &why, path);
    if is_busy {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(BUSY_SECONDS));
    }
    response
}
