//! Devices that searches found: `/api/v1/discovered`, and what a person decides about them. Deciding needs the token.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::problem::Problem;
use super::route::Route;
use crate::discover::Imprint;
use crate::discover::imprint::State as Decision;

type Backend = Arc<dyn Devices>;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[
    Route::get("/api/v1/discovered", |methods| on(methods, list)),
    Route::post("/api/v1/discovered/search", |methods| on(methods, search)),
    Route::post("/api/v1/discovered/{id}/adopt", |methods| on(methods, adopt)),
    Route::post("/api/v1/discovered/{id}/remove", |methods| on(methods, remove)),
];

/// What the API stands on; implemented by the daemon.
pub trait Devices: Send + Sync {
    /// All devices, and how searching goes.
    fn devices(&self) -> (Vec<Device>, Search);
    /// Decides about a device; it is durable by then.
    fn decide(&self, id: String, state: Decision) -> BoxFuture<'_, Result<Imprint, DeviceFault>>;
    /// Begins a search as soon as none is under way.
    fn search_now(&self) -> BoxFuture<'_, Result<(), DeviceFault>>;
}

/// A device that was found.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Device {
    /// What is kept of it.
    #[serde(flatten)]
    pub imprint: Imprint,
    /// Whether it is a target now. A target of the configuration at its address wins over it.
    pub polled: bool,
}

/// How searching goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Search {
    /// Whether a search is under way.
    pub running: bool,
    /// Whether one begins as soon as it can.
    pub wanted: bool,
    /// Addresses that the present one, or the last, has asked.
    pub addresses: u64,
    /// Addresses of it that took a connection and kept it waiting for nothing that it knows.
    pub held: u64,
    /// When the last one ended, milliseconds since the epoch.
    pub last: Option<i64>,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DeviceFault {
    /// No such device.
    #[error("no device that was found has the id {0:?}")]
    Unknown(String),
    /// It cannot be polled.
    #[error("{id:?} cannot be polled as it is ({trouble}): write it into the configuration as a target")]
    Troubled {
        /// Which.
        id: String,
        /// Why.
        trouble: String,
    },
    /// It is behind a login.
    #[error(
        "{id:?} answers only who has logged in: write its credentials below discovery.kinds.{kind}.options, then adopt it"
    )]
    Locked {
        /// Which.
        id: String,
        /// Its kind.
        kind: String,
    },
    /// Nowhere to search.
    #[error("there is nothing to search: write discovery.networks into the configuration")]
    NoNetworks,
    /// Too many at once, or the daemon stops.
    #[error("too many wishes at once; try again")]
    Busy,
    /// It could not be made durable, so it does not count.
    #[error("the decision could not be written: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl IntoResponse for DeviceFault {
    fn into_response(self) -> Response {
        let status = match &self {
            DeviceFault::Unknown(_) => StatusCode::NOT_FOUND,
            DeviceFault::Troubled { .. } | DeviceFault::Locked { .. } | DeviceFault::NoNetworks => StatusCode::CONFLICT,
            DeviceFault::Busy | DeviceFault::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, self.to_string()).into_response()
    }
}

async fn list(State(backend): State<Backend>) -> Response {
    let (devices, search) = backend.devices();
    Json(json!({"devices": devices, "search": search})).into_response()
}

async fn adopt(State(backend): State<Backend>, Path(id): Path<String>) -> Response {
    decide(&backend, id, Decision::Adopted).await
}

async fn remove(State(backend): State<Backend>, Path(id): Path<String>) -> Response {
    decide(&backend, id, Decision::Removed).await
}

async fn decide(backend: &Backend, id: String, state: Decision) -> Response {
    match backend.decide(id, state).await {
        Ok(imprint) => Json(imprint).into_response(),
        Err(fault) => fault.into_response(),
    }
}

async fn search(State(backend): State<Backend>) -> Response {
    match backend.search_now().await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(fault) => fault.into_response(),
    }
}
