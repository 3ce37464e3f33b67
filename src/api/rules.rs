//! Why rules say what they say: their last evaluations, with the reason of each. Prometheus has no such API; the frame of
//! the answer is that of its own.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use futures_util::future::BoxFuture;

use super::route::Route;
use crate::rules::Explanation;

type Backend = Arc<dyn Explaining>;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[Route::get("/api/v1/rules/trace", |methods| on(methods, trace))];

/// What the API stands on; implemented by the daemon.
pub trait Explaining: Send + Sync {
    /// Explains the rules that are meant; `None` when the rules are busy for too long.
    fn explain(&self, meant: Meant) -> BoxFuture<'_, Option<Vec<Explanation>>>;
}

/// Which rules are meant; what is not given fits all.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct Meant {
    /// Name of the rule.
    pub rule: Option<String>,
    /// Name of the group.
    pub group: Option<String>,
    /// The rule file, as the configuration resolves it.
    pub file: Option<String>,
}

async fn trace(State(backend): State<Backend>, Query(meant): Query<Meant>) -> Response {
    match backend.explain(meant).await {
        Some(rules) => Json(serde_json::json!({"status": "success", "data": {"rules": rules}})).into_response(),
        None => {
            let error = "the rules are being evaluated and did not answer in time; try again";
            let body = serde_json::json!({"status": "error", "errorType": "timeout", "error": error});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}
