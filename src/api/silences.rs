//! Alertmanager's API v2, as far as `amtool` and Grafana's Alertmanager data source use it: silences are read and
//! changed, alerts are read. Shapes and status codes are those of its public OpenAPI description; an error is a JSON
//! string, which amtool prints.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use futures_util::future::BoxFuture;

use super::route::Route;
use crate::model::matcher::anchored;
use crate::model::{Labels, Matcher};
use crate::silence::{Draft, Silence, SilenceError, SilenceShape, Silences, State as SilenceState, rfc3339};

type Backend = Arc<dyn Muting>;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[
    Route::get("/api/v2/status", |methods| on(methods, status)),
    Route::get("/api/v2/receivers", |methods| on(methods, receivers)),
    Route::get("/api/v2/alerts", |methods| on(methods, alerts)),
    Route::get("/api/v2/alerts/groups", |methods| on(methods, groups)),
    Route::get("/api/v2/silences", |methods| on(methods, list)),
    Route::post("/api/v2/silences", |methods| on(methods, set)),
    Route::get("/api/v2/silence/{id}", |methods| on(methods, one)),
    Route::post("/api/v2/silence/{id}", |methods| on(methods, expire)).methods(&[Method::DELETE]),
];

/// What the API stands on; implemented by the daemon.
pub trait Muting: Send + Sync {
    /// Now, milliseconds since the epoch.
    fn clock(&self) -> i64;
    /// All silences.
    fn silences(&self) -> Arc<Silences>;
    /// Makes or changes a silence; the answer is its id, and it is durable by then.
    fn set_silence(&self, draft: Draft) -> BoxFuture<'_, Result<String, SilenceFault>>;
    /// Ends a silence; it is durable by then.
    fn expire_silence(&self, id: String) -> BoxFuture<'_, Result<(), SilenceFault>>;
    /// The alerts that fire.
    fn firing(&self) -> Vec<FiringAlert>;
    /// When the daemon started, milliseconds since the epoch.
    fn started(&self) -> i64;
    /// Names of all receivers.
    fn receivers(&self) -> Vec<String>;
}

/// Why a silence was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SilenceFault {
    /// The client's mistake.
    #[error(transparent)]
    Refused(#[from] SilenceError),
    /// Ours.
    #[error("{0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An alert that fires, as Alertmanager would show it.
#[derive(Clone, Debug, Default)]
pub struct FiringAlert {
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// Since when it fires, milliseconds since the epoch.
    pub starts_at: i64,
    /// When its rule last looked.
    pub updated_at: i64,
    /// Where to look at its expression.
    pub generator_url: String,
    /// Ids of silences that mute it.
    pub silenced_by: Vec<String>,
    /// Names of open windows that mute it.
    pub muted_by: Vec<String>,
    /// Who is told of it.
    pub receivers: Vec<String>,
}

impl IntoResponse for SilenceFault {
    fn into_response(self) -> Response {
        let status = match &self {
            SilenceFault::Refused(SilenceError::NotFound { .. }) => StatusCode::NOT_FOUND,
            SilenceFault::Refused(SilenceError::AlreadyExpired { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
            SilenceFault::Refused(_) => StatusCode::BAD_REQUEST,
            SilenceFault::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self.to_string())).into_response()
    }
}

fn bad(text: impl std::fmt::Display) -> Response {
    (StatusCode::BAD_REQUEST, Json(text.to_string())).into_response()
}

/// `filter=…&filter=…&active=false`.
struct Query {
    filters: Vec<Matcher>,
    pairs: Vec<(String, String)>,
}

impl Query {
    fn read(raw: Option<String>) -> Result<Self, String> {
        let raw = raw.unwrap_or_default();
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
        let filters = pairs.iter().filter(|(name, _)| name == "filter").map(|(_, text)| Matcher::parse(text));
        let filters = filters.collect::<Result<_, _>>().map_err(|error| format!("bad matcher format: {error}"))?;
        Ok(Query { filters, pairs })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A switch that is on unless it is said to be off.
    fn wants(&self, name: &str) -> bool {
        self.get(name) != Some("false")
    }
}

async fn list(State(backend): State<Backend>, RawQuery(raw): RawQuery) -> Response {
    let query = match Query::read(raw) {
        Ok(query) => query,
        Err(error) => return bad(error),
    };
    let (now, silences) = (backend.clock(), backend.silences());
    // As Alertmanager has it: a filter looks at what the silence's own matchers say.
    let asked = |silence: &&Silence| {
        query.filters.iter().all(|filter| {
            let own = silence.matchers.iter().find(|matcher| matcher.name == filter.name);
            filter.matches_value(own.map_or("", |own| own.value.as_str()))
        })
    };
    let mut found: Vec<&Silence> = silences.iter().filter(asked).collect();
    found.sort_by_key(|silence| match silence.state(now) {
        SilenceState::Active => (0, silence.ends_at),
        SilenceState::Pending => (1, silence.starts_at),
        SilenceState::Expired => (2, -silence.ends_at),
    });
    let shapes: Vec<SilenceShape> = found.into_iter().map(|silence| silence.shape(Some(now))).collect();
    Json(shapes).into_response()
}

async fn one(State(backend): State<Backend>, Path(id): Path<String>) -> Response {
    let now = backend.clock();
    match backend.silences().get(&id) {
        Some(silence) => Json(silence.shape(Some(now))).into_response(),
        None => SilenceFault::from(SilenceError::NotFound { id }).into_response(),
    }
}

async fn set(State(backend): State<Backend>, body: axum::body::Bytes) -> Response {
    let draft: Draft = match serde_json::from_slice(&body) {
        Ok(draft) => draft,
        Err(error) => return bad(format!("the body is no silence: {error}")),
    };
    match backend.set_silence(draft).await {
        Ok(id) => Json(serde_json::json!({"silenceID": id})).into_response(),
        Err(fault) => fault.into_response(),
    }
}

async fn expire(State(backend): State<Backend>, Path(id): Path<String>) -> Response {
    match backend.expire_silence(id).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(fault) => fault.into_response(),
    }
}

fn shape(alert: &FiringAlert) -> serde_json::Value {
    let state = if alert.silenced_by.is_empty() && alert.muted_by.is_empty() { "active" } else { "suppressed" };
    let receivers: Vec<_> = alert.receivers.iter().map(|name| serde_json::json!({"name": name})).collect();
    serde_json::json!({
        "annotations": alert.annotations,
        "endsAt": rfc3339(alert.updated_at + ENDS_AFTER_MS),
        "fingerprint": format!("{:016x}", alert.labels.fingerprint()),
        "receivers": receivers,
        "startsAt": rfc3339(alert.starts_at),
        "status": {"inhibitedBy": [], "mutedBy": alert.muted_by, "silencedBy": alert.silenced_by, "state": state},
        "updatedAt": rfc3339(alert.updated_at),
        "generatorURL": alert.generator_url,
        "labels": alert.labels,
    })
}

/// An alert that nobody confirms is over for Alertmanager after its `resolve_timeout`; ours never is, but a client wants
/// to read a time.
const ENDS_AFTER_MS: i64 = 5 * 60 * 1000;

/// The alerts that a query asks for.
fn selected(backend: &Backend, query: &Query) -> Result<Vec<FiringAlert>, String> {
    let receiver = query.get("receiver").map(anchored).transpose();
    let receiver = receiver.map_err(|error| format!("failed to parse receiver param: {error}"))?;
    let mut alerts = backend.firing();
    alerts.retain(|alert| {
        let muted = !alert.silenced_by.is_empty() || !alert.muted_by.is_empty();
        let switch = if muted { "silenced" } else { "active" };
        query.wants(switch)
            && query.filters.iter().all(|filter| filter.matches(&alert.labels))
            && receiver.as_ref().is_none_or(|pattern| alert.receivers.iter().any(|name| pattern.is_match(name)))
    });
    alerts.sort_by_key(|alert| alert.labels.fingerprint());
    Ok(alerts)
}

async fn alerts(State(backend): State<Backend>, RawQuery(raw): RawQuery) -> Response {
    match Query::read(raw).and_then(|query| selected(&backend, &query)) {
        Ok(alerts) => Json(alerts.iter().map(shape).collect::<Vec<_>>()).into_response(),
        Err(error) => bad(error),
    }
}

/// By receiver; finer groups are the notifier's own business.
async fn groups(State(backend): State<Backend>, RawQuery(raw): RawQuery) -> Response {
    let alerts = match Query::read(raw).and_then(|query| selected(&backend, &query)) {
        Ok(alerts) => alerts,
        Err(error) => return bad(error),
    };
    let mut groups: std::collections::BTreeMap<&str, Vec<serde_json::Value>> = Default::default();
    for alert in &alerts {
        for receiver in &alert.receivers {
            groups.entry(receiver).or_default().push(shape(alert));
        }
    }
    let groups: Vec<_> = groups
        .into_iter()
        .map(|(name, alerts)| serde_json::json!({"labels": {}, "receiver": {"name": name}, "alerts": alerts}))
        .collect();
    Json(groups).into_response()
}

async fn receivers(State(backend): State<Backend>) -> Response {
    let names: Vec<_> = backend.receivers().into_iter().map(|name| serde_json::json!({"name": name})).collect();
    Json(names).into_response()
}

/// What `amtool` and Grafana ask first. The configuration is not shown.
async fn status(State(backend): State<Backend>) -> Response {
    let started = backend.started();
    let version = env!("CARGO_PKG_VERSION");
    Json(serde_json::json!({
        "cluster": {"name": "", "peers": [], "status": "disabled"},
        "config": {"original": ""},
        "uptime": rfc3339(started),
        "versionInfo": {"branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "", "version": version},
    }))
    .into_response()
}
