//! `GET /api/v1/audit?after=SEQ&limit=N`: the audit log as it is kept, so that whoever asks can check its chain.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use futures_util::future::BoxFuture;

use super::problem::Problem;
use super::route::Route;
use crate::audit::Link;

type Backend = Arc<dyn AuditLog>;

/// Most records of one answer.
pub const MOST: usize = 500;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[Route::get("/api/v1/audit", |methods| on(methods, page))];

/// What the route stands on; implemented by the daemon.
pub trait AuditLog: Send + Sync {
    /// At most `most` records after a number.
    fn page(&self, after: u64, most: usize) -> BoxFuture<'_, Result<AuditPage, String>>;
}

/// A part of the log.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct AuditPage {
    /// Numbers and texts of records, in order.
    pub records: Vec<(u64, String)>,
    /// The last record of the whole log.
    pub head: Link,
    /// The last record that was removed, if any was.
    pub cut: Option<Link>,
    /// Whether there is more after this.
    pub more: bool,
}

#[derive(serde::Deserialize)]
struct Wanted {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn page(State(log): State<Backend>, Query(wanted): Query<Wanted>) -> Response {
    let most = wanted.limit.unwrap_or(MOST).clamp(1, MOST);
    match log.page(wanted.after, most).await {
        Ok(page) => {
            let body = serde_json::to_string(&page).unwrap_or_default();
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(error) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error).into_response(),
    }
}
