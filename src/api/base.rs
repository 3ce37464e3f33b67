//! What every daemon answers: the status page, `/metrics`, health, reload.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use futures_util::future::BoxFuture;

use super::problem::Problem;
use super::route::Route;
use super::status::{self, Status};
use crate::store::Format;

/// What these routes stand on; implemented by the daemon.
pub trait Backend: Send + Sync {
    /// The page of current values, self-metrics included.
    fn page(&self, format: Format, kind: Option<&str>) -> Vec<u8>;
    /// What the status page shows.
    fn status(&self) -> Status;
    /// Why the daemon is not ready; empty when it is.
    fn not_ready(&self) -> Vec<String>;
    /// Loads the configuration anew; the text says what changed or every mistake.
    fn reload(&self) -> BoxFuture<'_, Result<String, String>>;
}

/// What a handler here is given.
pub(super) type Base = Arc<dyn Backend>;

/// The rows.
pub const ROUTES: &[Route<Base>] = &[
    Route::get("/", |methods| on(methods, status_page)),
    // Where the links in alerts lead (`generatorURL`), as Prometheus writes them.
    Route::get("/graph", |methods| on(methods, status_page)),
    Route::get("/style.css", |methods| on(methods, style)),
    Route::get("/metrics", |methods| on(methods, super::metrics::metrics)),
    Route::get("/-/healthy", |methods| on(methods, healthy)),
    Route::get("/-/ready", |methods| on(methods, ready)),
    Route::post("/-/reload", |methods| on(methods, reload)).methods(&[Method::POST, Method::PUT]),
];

async fn status_page(State(base): State<Base>) -> Response {
    let page = status::html(&base.status());
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

async fn healthy() -> &'static str {
    "davylamp is healthy.\n"
}

async fn ready(State(base): State<Base>) -> Response {
    let reasons = base.not_ready();
    if reasons.is_empty() {
        return "davylamp is ready.\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("davylamp is not ready:\n{}\n", reasons.join("\n"))).into_response()
}

async fn reload(State(base): State<Base>) -> Response {
    match base.reload().await {
        Ok(summary) => format!("{summary}\n").into_response(),
        Err(mistakes) => Problem::new(StatusCode::BAD_REQUEST, mistakes).into_response(),
    }
}
