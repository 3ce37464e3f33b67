//! `/api/v1/write`: Prometheus remote write, received. It needs the token, as everything that is taken in.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use futures_util::future::BoxFuture;

use super::route::Route;
use crate::ingest::{Answer, Intake, Request};
use crate::wire::WRITTEN_HEADERS;

/// What this route stands on; implemented by the daemon.
pub trait Pushes: Send + Sync {
    /// Takes a request in; `None` when there are too many at once.
    fn push(&self, request: Request) -> BoxFuture<'_, Option<Answer>>;
}

type Backend = Arc<dyn Pushes>;

/// The rows.
pub const ROUTES: &[Route<Backend>] =
    &[Route::post("/api/v1/write", |methods| on(methods, write)).body(Intake::MOST_BYTES)];

async fn write(State(backend): State<Backend>, headers: HeaderMap, body: Bytes) -> Response {
    // A header that is no text is none that we know, not the absence of one.
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?").to_string());
    let (content_type, content_encoding) = (text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING));
    let Some(answer) = backend.push(Request { content_type, content_encoding, body }).await else {
        let busy = "too many requests are being taken in; send this one again";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], busy).into_response();
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match status {
        StatusCode::NO_CONTENT => status.into_response(),
        // Senders log the first line as it is.
        _ => (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], answer.message + "\n").into_response(),
    };
    for (name, count) in WRITTEN_HEADERS.into_iter().zip(answer.written.into_iter().flatten()) {
        response.headers_mut().insert(name, HeaderValue::from(count));
    }
    response
}
