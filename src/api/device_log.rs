//! `GET /api/v1/targets/{id}/log?after=NUMBER&limit=N`: what a device said last.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::on;

use super::problem::Problem;
use super::route::Route;
use crate::listen::Line;

type Backend = Arc<dyn DeviceLog>;

/// Most lines of one answer.
pub const MOST: usize = 1000;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[Route::get("/api/v1/targets/{id}/log", |methods| on(methods, log))];

/// What the route stands on; implemented by the daemon.
pub trait DeviceLog: Send + Sync {
    /// The newest lines of a target after a number, oldest first; `None` when it is not listened to.
    fn lines(&self, target: &str, after: u64, most: usize) -> Option<Vec<Line>>;
}

#[derive(serde::Deserialize)]
struct Wanted {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn log(State(logs): State<Backend>, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Response {
    let most = wanted.limit.unwrap_or(MOST).clamp(1, MOST);
    match logs.lines(&id, wanted.after, most) {
        Some(lines) => Json(lines).into_response(),
        None => {
            let text = format!("{id:?} is not listened to: see device_logs in the configuration");
            Problem::new(StatusCode::NOT_FOUND, text).into_response()
        }
    }
}
