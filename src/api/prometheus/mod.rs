//! `/api/v1` as Prometheus has it (<https://prometheus.io/docs/prometheus/latest/querying/api/>): Grafana's Prometheus data
//! source and `promtool query` take the daemon for a Prometheus server.

mod answer;
mod json;
mod metadata;
mod params;
mod query;
mod read;
mod rules;
mod series;
mod status;
mod targets;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::Method;
use axum::routing::on;
use tokio::sync::Semaphore;

use super::route::Route;
use crate::model::{Alert, Labels, MetricType, Source};
use crate::query::Limits;
use crate::wire;

/// What these routes stand on; implemented by the daemon. Every call is quick but for those of the source.
pub trait Prometheus: Send + Sync {
    /// Milliseconds since the epoch.
    fn now(&self) -> i64;
    /// The samples.
    fn source(&self) -> Arc<dyn Source>;
    /// What one query may use.
    fn limits(&self) -> Limits;
    /// What is known of metric families, by target.
    fn metadata(&self) -> Vec<Metadata>;
    /// All rule groups with their alerts.
    fn groups(&self) -> Arc<Vec<Group>>;
    /// What is polled.
    fn targets(&self) -> Vec<Target>;
    /// URLs of the Alertmanagers that alerts are sent to.
    fn alertmanagers(&self) -> Vec<String>;
    /// The daemon about itself.
    fn facts(&self) -> Facts;
}

/// A metric family of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// The target's labels, as in [`Target::labels`].
    pub target: Labels,
    /// Full name.
    pub family: String,
    /// Type.
    pub kind: MetricType,
    /// Help text.
    pub help: String,
    /// Unit, where the source said one.
    pub unit: String,
}

/// A rule group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Unique within its file.
    pub name: String,
    /// The file.
    pub file: String,
    /// Seconds between two evaluations.
    pub interval: f64,
    /// Most alerts or series of one of its rules; 0 for no limit.
    pub limit: usize,
    /// Seconds that the last evaluation took.
    pub took: f64,
    /// When that was, milliseconds since the epoch.
    pub evaluated: Option<i64>,
    /// In the order of evaluation.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Of the alert or the recorded series.
    pub name: String,
    /// The expression.
    pub query: String,
    /// As written, templates included.
    pub labels: Labels,
    /// Why the last evaluation failed; empty when it did not.
    pub error: String,
    /// Seconds that the last evaluation took.
    pub took: f64,
    /// When that was, milliseconds since the epoch.
    pub evaluated: Option<i64>,
    /// What only alerting rules have.
    pub alerting: Option<Alerting>,
}

/// The part of a rule that only alerts have.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerting {
    /// `for`, in seconds.
    pub hold: f64,
    /// `keep_firing_for`, in seconds.
    pub keep_firing_for: f64,
    /// As written, templates included.
    pub annotations: BTreeMap<String, String>,
    /// Pending and firing ones.
    pub alerts: Vec<Alert>,
}

/// Something that is polled, in the shape of a Prometheus target.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its kind.
    pub pool: String,
    /// As configured.
    pub address: String,
    /// The subject's label and the static ones, which all of its series carry.
    pub labels: Labels,
    /// `None` before the first poll.
    pub up: Option<bool>,
    /// Why the last poll failed.
    pub error: String,
    /// When that was, milliseconds since the epoch.
    pub polled: Option<i64>,
    /// Seconds that it took.
    pub took: f64,
    /// As Prometheus writes durations.
    pub interval: String,
    /// As Prometheus writes durations.
    pub timeout: String,
}

/// The daemon about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// When it started, milliseconds since the epoch.
    pub started: i64,
    /// The configuration in force, as YAML, secrets as references.
    pub config: String,
    /// When it was loaded, milliseconds since the epoch.
    pub configured: i64,
    /// Whether the last reload succeeded.
    pub reload_succeeded: bool,
    /// How long samples are kept, in Prometheus' notation.
    pub retention: String,
    /// Oldest time of which there may be a sample in memory, milliseconds since the epoch.
    pub oldest: i64,
    /// What was set on the command line or stands in the configuration under another name.
    pub flags: BTreeMap<String, String>,
}

/// What a handler here is given.
#[derive(Clone)]
pub struct Backend {
    about: Arc<dyn Prometheus>,
    /// One for each query that may run.
    slots: Arc<Semaphore>,
}

impl Backend {
    /// Queries are computation: more at once than there are cores would only make all of them slower.
    pub fn new(about: Arc<dyn Prometheus>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Backend { about, slots: Arc::new(Semaphore::new(cores.clamp(2, 20))) }
    }
}

/// A label set may have many matchers and a query many lines; a megabyte of them is a mistake.
const FORM_BYTES: usize = 256 * 1024;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[
    Route::query("/api/v1/query", |methods| on(methods, query::instant)).body(FORM_BYTES),
    Route::query("/api/v1/query_range", |methods| on(methods, query::range)).body(FORM_BYTES),
    Route::query("/api/v1/query_exemplars", |methods| on(methods, query::exemplars)).body(FORM_BYTES),
    Route::query("/api/v1/format_query", |methods| on(methods, query::format)).body(FORM_BYTES),
    Route::query("/api/v1/parse_query", |methods| on(methods, query::parse)).body(FORM_BYTES),
    Route::query("/api/v1/series", |methods| on(methods, series::series)).body(FORM_BYTES),
    Route::query("/api/v1/labels", |methods| on(methods, series::names)).body(FORM_BYTES),
    Route::get("/api/v1/read", |methods| on(methods, read::read)).methods(&[Method::POST]).body(wire::MOST_READ_BYTES),
    Route::get("/api/v1/label/{name}/values", |methods| on(methods, series::values)),
    Route::get("/api/v1/metadata", |methods| on(methods, metadata::families)),
    Route::get("/api/v1/targets", |methods| on(methods, targets::targets)),
    Route::get("/api/v1/targets/metadata", |methods| on(methods, metadata::of_targets)),
    Route::get("/api/v1/scrape_pools", |methods| on(methods, targets::pools)),
    Route::get("/api/v1/rules", |methods| on(methods, rules::rules)),
    Route::get("/api/v1/alerts", |methods| on(methods, rules::alerts)),
    Route::get("/api/v1/alertmanagers", |methods| on(methods, targets::alertmanagers)),
    Route::get("/api/v1/status/buildinfo", |methods| on(methods, status::build)),
    Route::get("/api/v1/status/config", |methods| on(methods, status::config)),
    Route::get("/api/v1/status/flags", |methods| on(methods, status::flags)),
    Route::get("/api/v1/status/runtimeinfo", |methods| on(methods, status::runtime)),
    Route::get("/api/v1/status/tsdb", |methods| on(methods, status::samples)),
    Route::get("/api/v1/status/walreplay", |methods| on(methods, status::replay)),
];

#[cfg(test)]
mod tests;
