//! Alertmanager's API v2, as far as `amtool` and Grafana's Alertmanager data source use it: silences are read and
//! changed, alerts are read. Shapes and status codes are those of its public OpenAPI description; an error is a JSON
//! string, which amtool prints.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

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
    /// When it was last known to fire.
    pub updated_at: i64,
    /// Where to look at its expression.
    pub generator_url: String,
    /// Ids of silences that mute it.
    pub silenced_by: Vec<String>,
    /// Names of open windows that mute it.
    pub muted_by: Vec<String>,
    /// The groups it stands in, in the order of the routes.
    pub groups: Vec<AlertGroup>,
}

/// A group that alerts are told of in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlertGroup {
    /// What `group_by` makes of their labels.
    pub labels: Labels,
    /// Who is told.
    pub receiver: String,
    /// Which of the routes: two may tell the same receiver.
    pub route: usize,
    /// Names of windows for which this route tells nobody now.
    pub muted_by: Vec<String>,
}

impl FiringAlert {
    fn muted(&self) -> bool {
        !self.silenced_by.is_empty() || !self.muted_by.is_empty()
    }
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
        Ok(id) => Json(json!({"silenceID": id})).into_response(),
        Err(fault) => fault.into_response(),
    }
}

async fn expire(State(backend): State<Backend>, Path(id): Path<String>) -> Response {
    match backend.expire_silence(id).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(fault) => fault.into_response(),
    }
}

/// An alert, with those of its receivers that are to be named, and the windows that hold for its route in a group.
fn shape(alert: &FiringAlert, named: impl Fn(&AlertGroup) -> bool, route_muted_by: &[String]) -> Value {
    let muted_by: Vec<&String> = alert.muted_by.iter().chain(route_muted_by).collect();
    let state = if alert.silenced_by.is_empty() && muted_by.is_empty() { "active" } else { "suppressed" };
    let receivers = alert.groups.iter().filter(|group| named(group)).map(|group| group.receiver.as_str());
    let receivers: BTreeSet<&str> = receivers.collect();
    let receivers: Vec<Value> = receivers.into_iter().map(|name| json!({"name": name})).collect();
    json!({
        "annotations": alert.annotations,
        "endsAt": rfc3339(alert.updated_at + ENDS_AFTER_MS),
        "fingerprint": format!("{:016x}", alert.labels.fingerprint()),
        "receivers": receivers,
        "startsAt": rfc3339(alert.starts_at),
        "status": {"inhibitedBy": [], "mutedBy": muted_by, "silencedBy": alert.silenced_by, "state": state},
        "updatedAt": rfc3339(alert.updated_at),
        "generatorURL": alert.generator_url,
        "labels": alert.labels,
    })
}

/// An alert that nobody confirms is over for Alertmanager after its `resolve_timeout`; ours never is, but a client wants
/// to read a time.
const ENDS_AFTER_MS: i64 = 5 * 60 * 1000;

/// Which receivers are asked for; all without a pattern.
struct Receivers(Option<regex::Regex>);

impl Receivers {
    fn has(&self, group: &AlertGroup) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.is_match(&group.receiver))
    }
}

/// The alerts that a query asks for, and the receivers that it asks for.
fn selected(backend: &Backend, raw: Option<String>) -> Result<(Vec<FiringAlert>, Receivers), String> {
    let query = Query::read(raw)?;
    let pattern = query.get("receiver").map(anchored).transpose();
    let receivers = Receivers(pattern.map_err(|error| format!("failed to parse receiver param: {error}"))?);
    let asked = |alert: &FiringAlert| {
        let switch = if alert.muted() { "silenced" } else { "active" };
        query.wants(switch)
            && query.filters.iter().all(|filter| filter.matches(&alert.labels))
            && (receivers.0.is_none() || alert.groups.iter().any(|group| receivers.has(group)))
    };
    let mut alerts: Vec<FiringAlert> = backend.firing().into_iter().filter(asked).collect();
    alerts.sort_by_key(|alert| alert.labels.fingerprint());
    Ok((alerts, receivers))
}

async fn alerts(State(backend): State<Backend>, RawQuery(raw): RawQuery) -> Response {
    match selected(&backend, raw) {
        Ok((alerts, _)) => {
            Json(alerts.iter().map(|alert| shape(alert, |_| true, &[])).collect::<Vec<_>>()).into_response()
        }
        Err(error) => bad(error),
    }
}

/// As they are told: a group per route, receiver and labels of `group_by`, in Alertmanager's order.
async fn groups(State(backend): State<Backend>, RawQuery(raw): RawQuery) -> Response {
    let (alerts, receivers) = match selected(&backend, raw) {
        Ok(found) => found,
        Err(error) => return bad(error),
    };
    let mut groups: BTreeMap<&AlertGroup, Vec<Value>> = BTreeMap::new();
    for alert in &alerts {
        for group in alert.groups.iter().filter(|group| receivers.has(group)) {
            groups.entry(group).or_default().push(shape(alert, |group| receivers.has(group), &group.muted_by));
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(a, _), (b, _)| before(&a.labels, &b.labels).then_with(|| a.receiver.cmp(&b.receiver)));
    let shown = groups
        .into_iter()
        .map(|(group, alerts)| json!({"labels": group.labels, "receiver": {"name": group.receiver}, "alerts": alerts}));
    Json(shown.collect::<Vec<_>>()).into_response()
}

/// Alertmanager's order of groups: fewer labels first; of the first label that only one has, the other comes first.
fn before(a: &Labels, b: &Labels) -> Ordering {
    let pairs = a.iter().zip(b.iter()).map(|((name, value), (other, its))| other.cmp(name).then(value.cmp(its)));
    let first = pairs.into_iter().find(|order| order.is_ne());
    a.len().cmp(&b.len()).then(first.unwrap_or(Ordering::Equal))
}

async fn receivers(State(backend): State<Backend>) -> Response {
    let names: Vec<_> = backend.receivers().into_iter().map(|name| json!({"name": name})).collect();
    Json(names).into_response()
}

/// What `amtool` and Grafana ask first. The configuration is not shown.
async fn status(State(backend): State<Backend>) -> Response {
    let started = backend.started();
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({
        "cluster": {"name": "", "peers": [], "status": "disabled"},
        "config": {"original": ""},
        "uptime": rfc3339(started),
        "versionInfo": {"branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "", "version": version},
    }))
    .into_response()
}
