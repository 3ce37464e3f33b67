//! Where others send their alerts: `POST /api/v1/webhooks/alertmanager` and `…/grafana`. 202 means that the alerts are on
//! disk; 503 that they are not, and that the sender is to try again (Alertmanager repeats 5xx, and nothing else).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use futures_util::future::BoxFuture;

use super::problem::Problem;
use super::route::{Route, Scope};
use crate::webhook::{MAX_BODY, Presented, ReadError, Sender};

type Backend = Arc<dyn Webhooks>;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[
    Route::post("/api/v1/webhooks/alertmanager", |methods| on(methods, alertmanager)).scope(Scope::Own).body(MAX_BODY),
    Route::post("/api/v1/webhooks/grafana", |methods| on(methods, grafana)).scope(Scope::Own).body(MAX_BODY),
];

/// What the webhooks stand on; implemented by the daemon.
pub trait Webhooks: Send + Sync {
    /// Checks who sends, reads what is sent, and returns when it is on disk. The text says what was taken.
    fn post<'a>(&'a self, sender: Sender, request: Posting) -> BoxFuture<'a, Result<String, WebhookError>>;
}

/// One request.
pub struct Posting {
    headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Posting {
    /// What the sender presents, at this time (seconds since the epoch).
    pub fn with_presented<T>(&self, now: i64, look: impl FnOnce(&Presented<'_>) -> T) -> T {
        let header = |name: &str| Some(self.headers.get(name)?.to_str().ok()?.to_string());
        look(&Presented { header: &header, body: &self.body, now })
    }
}

/// Why alerts were not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Nothing is configured for this sender.
    #[error("nothing is taken from {0}: say under webhooks.{0} how it proves itself (bearer, basic or hmac)")]
    NotConfigured(&'static str),
    /// The sender did not prove itself.
    #[error("{0}")]
    Denied(&'static str),
    /// Our own secret cannot be read.
    #[error("the daemon cannot read its own secret for this webhook; see its log")]
    OwnSecret,
    /// It is not understood.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be made durable; nothing was taken.
    #[error("the alerts could not be written: {0}")]
    Unavailable(String),
    /// There are too many.
    #[error("as many alerts are kept as may (webhooks.max_alerts)")]
    Full,
}

async fn alertmanager(State(webhooks): State<Backend>, headers: HeaderMap, body: Bytes) -> Response {
    answer(webhooks, Sender::Alertmanager, Posting { headers, body }).await
}

async fn grafana(State(webhooks): State<Backend>, headers: HeaderMap, body: Bytes) -> Response {
    answer(webhooks, Sender::Grafana, Posting { headers, body }).await
}

async fn answer(webhooks: Backend, sender: Sender, request: Posting) -> Response {
    let error = match webhooks.post(sender, request).await {
        Ok(text) => return (StatusCode::ACCEPTED, format!("{text}\n")).into_response(),
        Err(error) => error,
    };
    let status = match &error {
        WebhookError::NotConfigured(_) => StatusCode::FORBIDDEN,
        WebhookError::Denied(_) => StatusCode::UNAUTHORIZED,
        WebhookError::Read(ReadError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        WebhookError::Read(_) => StatusCode::BAD_REQUEST,
        WebhookError::OwnSecret | WebhookError::Unavailable(_) | WebhookError::Full => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string()).into_response()
}
