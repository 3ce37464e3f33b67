//! `/api/v1/curtailments`: what is paused or limited, by what.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use serde_json::json;

use super::route::Route;
use crate::curtail::Mode;

/// A curtailment.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CurtailmentRow {
    /// Name.
    pub name: String,
    /// What devices are told.
    pub action: String,
    /// What it may do.
    pub mode: Mode,
    /// Whether devices are to be curtailed now; `None` where that has not settled.
    pub wanted: Option<bool>,
    /// Devices that it has changed and will bring back.
    pub targets: Vec<String>,
}

impl fmt::Display for CurtailmentRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {} devices", self.name, self.action, self.targets.len())
    }
}

/// What the route stands on; implemented by the daemon.
pub trait Curtailments: Send + Sync {
    /// All of them.
    fn curtailments(&self) -> Arc<Vec<CurtailmentRow>>;
}

type Backend = Arc<dyn Curtailments>;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[Route::get("/api/v1/curtailments", |methods| on(methods, list))];

async fn list(State(backend): State<Backend>) -> Response {
    Json(json!({ "curtailments": *backend.curtailments() })).into_response()
}
