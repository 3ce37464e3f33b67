//! `remote_write` of the configuration, in Prometheus' words, and what is wrong with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::collect::http::{self, Credential, Endpoint, Keep, Network, TlsOptions, checked_url};
use crate::model::duration::{self, serde_text};
use crate::model::relabel::{RelabelConfig, Step};
use crate::secret::SecretRef;
use crate::wire::Message;

/// One receiver that samples are sent on to.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteWrite {
    /// Where to, for example `http://prometheus:9090/api/v1/write`.
    pub url: String,
    /// Names its queue and its metrics; unique. Else the host of the URL.
    #[serde(default)]
    pub name: Option<String>,
    /// Extra headers, for example `X-Scope-OrgID`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Longest time for one request.
    #[serde(default = "thirty_seconds", with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub remote_timeout: Duration,
    /// User name and password.
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    /// `Authorization` header.
    #[serde(default)]
    pub authorization: Option<Authorization>,
    /// TLS, for https.
    #[serde(default)]
    pub tls_config: Option<TlsOptions>,
    /// `lan`: private addresses are right; `public`: they are refused. Else guessed from the URL.
    #[serde(default)]
    pub network: Option<Network>,
    /// What is sent, and under which labels.
    #[serde(default)]
    pub write_relabel_configs: Vec<RelabelConfig>,
    /// How samples wait and leave.
    #[serde(default)]
    pub queue_config: QueueConfig,
    /// Which message is sent: `prometheus.WriteRequest` (1.0) or `io.prometheus.write.v2.Request` (2.0).
    #[serde(default)]
    pub protobuf_message: Message,
    /// Whether type and help of metric families are sent beside the samples of 1.0. In 2.0 they are part of them.
    #[serde(default)]
    pub metadata_config: MetadataConfig,
    /// Must be false: exemplars are not kept.
    #[serde(default)]
    pub send_exemplars: bool,
    /// Whether native histograms are sent. With 2.0 they always are.
    #[serde(default)]
    pub send_native_histograms: bool,
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// Not secret.
    pub username: String,
    /// Where the password stands.
    #[serde(default)]
    pub password: Option<SecretRef>,
    /// The same, as Prometheus writes it.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// `Authorization` header.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// Must be `Bearer`.
    #[serde(default = "bearer", rename = "type")]
    pub kind: String,
    /// Where the token stands.
    #[serde(default)]
    pub credentials: Option<SecretRef>,
    /// The same, as Prometheus writes it.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
}

fn bearer() -> String {
    "Bearer".to_string()
}

/// How samples wait and leave.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Samples of one request.
    pub max_samples_per_send: u64,
    /// Longest time that samples wait for a request to fill up.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub batch_send_deadline: Duration,
    /// First wait after a failure; doubles with each.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub min_backoff: Duration,
    /// Longest wait between two attempts.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub max_backoff: Duration,
    /// Bytes that the queue may take on disk. When it is full the oldest samples go, and are counted.
    pub max_bytes: u64,
    /// Not supported: the queue is on disk and bounded by `max_bytes`.
    #[schemars(skip)]
    pub capacity: Option<Value>,
    /// Not supported beyond 1: one request at a time keeps every series in order.
    pub max_shards: Option<Value>,
    /// As `max_shards`.
    pub min_shards: Option<Value>,
}

impl Default for QueueConfig {
    fn default() -> Self {
        QueueConfig {
            max_samples_per_send: 2000,
            batch_send_deadline: Duration::from_secs(5),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            max_bytes: 256 << 20,
            capacity: None,
            max_shards: None,
            min_shards: None,
        }
    }
}

/// Type and help of families beside the samples of 1.0.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataConfig {
    /// Whether they are sent.
    pub send: bool,
    /// How often.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub send_interval: Duration,
}

impl Default for MetadataConfig {
    fn default() -> Self {
        MetadataConfig { send: true, send_interval: Duration::from_secs(60) }
    }
}

/// A mistake: the path below the entry, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Below `remote_write[n]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// A checked receiver.
pub struct Receiver {
    /// Unique.
    pub name: String,
    /// The entry it was made of.
    pub settings: RemoteWrite,
    pub(super) steps: Vec<Step>,
    pub(super) endpoint: Endpoint,
}

/// Longest body of an answer that is read: it only explains.
const MAX_ANSWER: usize = 64 << 10;
/// Smallest queue, in bytes: a few requests.
const LEAST_QUEUE: u64 = 1 << 20;
/// Headers of the protocol, which must not be set.
const RESERVED: [&str; 4] = ["content-encoding", "content-type", "x-prometheus-remote-write-version", "user-agent"];

/// Checks one entry; every mistake at once.
///
/// # Errors
/// Mistakes, by their path below the entry.
pub fn check(settings: &RemoteWrite) -> Result<Receiver, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut report = |path: &str, message: &str| {
        mistakes.push(Mistake { path: path.to_string(), message: message.to_string() });
    };
    if settings.send_exemplars {
        report("send_exemplars", "davylamp keeps no exemplars, so there are none to send; leave it out");
    }
    for name in settings.headers.keys().filter(|name| RESERVED.contains(&name.to_ascii_lowercase().as_str())) {
        report(&format!("headers.{name}"), "belongs to the protocol and cannot be set");
    }
    check_queue(&settings.queue_config, &mut report);
    if settings.remote_timeout.is_zero() {
        report("remote_timeout", "0s is impossible; write for example 30s");
    }
    let credential = credential(settings, &mut report);
    let mut steps = Vec::new();
    for (index, config) in settings.write_relabel_configs.iter().enumerate() {
        match Step::new(config.clone()) {
            Ok(step) => steps.push(step),
            Err(error) => report(&format!("write_relabel_configs[{index}].{}", error.field), &error.message),
        }
    }
    let endpoint = checked_url(&settings.url, "url").and_then(|url| {
        let name = settings.name.clone().unwrap_or_else(|| url.host_str().unwrap_or("receiver").to_string());
        Ok((name, Endpoint::open(url, endpoint(settings, credential))?))
    });
    match endpoint {
        Ok((name, endpoint)) => {
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-:[]".contains(c)) || name.starts_with('.') {
                report("name", "may hold letters, digits, . _ and -, and not begin with a dot: it names a folder");
            }
            if mistakes.is_empty() {
                return Ok(Receiver { name, settings: settings.clone(), steps, endpoint });
            }
        }
        // The door speaks of the options of a kind; here they have Prometheus' names.
        Err(error) => {
            let path = error.path.trim_start_matches("options.");
            let path = path.strip_prefix("tls").map_or_else(|| path.to_string(), |rest| format!("tls_config{rest}"));
            let path = if path.starts_with("credential") { "url".to_string() } else { path };
            report(&path, &error.message.replace("options.credential", "basic_auth or authorization"));
        }
    }
    Err(mistakes)
}

fn endpoint(settings: &RemoteWrite, credential: Option<Credential>) -> http::Settings {
    http::Settings {
        method: "POST".to_string(),
        headers: settings.headers.clone(),
        body: None,
        credential,
        tls: settings.tls_config.clone(),
        network: settings.network,
        keep: Keep::Alive,
        gzip: false,
        max_body: MAX_ANSWER,
        timeout: settings.remote_timeout,
    }
}

fn check_queue(queue: &QueueConfig, report: &mut impl FnMut(&str, &str)) {
    if queue.capacity.is_some() {
        report("queue_config.capacity", "is not needed: the queue is on disk, and max_bytes bounds it");
    }
    for (name, value) in [("max_shards", &queue.max_shards), ("min_shards", &queue.min_shards)] {
        if value.as_ref().is_some_and(|value| value.as_u64() != Some(1)) {
            let text = "is 1: one request at a time keeps every series in order; raise max_samples_per_send instead";
            report(&format!("queue_config.{name}"), text);
        }
    }
    if !(1..=50_000).contains(&queue.max_samples_per_send) {
        report("queue_config.max_samples_per_send", "must lie between 1 and 50000");
    }
    if queue.max_bytes < LEAST_QUEUE {
        report("queue_config.max_bytes", "is too small; the least is 1048576");
    }
    if queue.min_backoff.is_zero() || queue.max_backoff < queue.min_backoff {
        report("queue_config.max_backoff", "must be at least min_backoff, and that above 0s");
    }
    if queue.batch_send_deadline.is_zero() {
        report("queue_config.batch_send_deadline", "0s is impossible; write for example 5s");
    }
}

fn credential(settings: &RemoteWrite, report: &mut impl FnMut(&str, &str)) -> Option<Credential> {
    let one =
        |place: &str, secret: &Option<SecretRef>, file: &Option<PathBuf>, report: &mut dyn FnMut(&str, &str)| match (
            secret.clone(),
            file.clone().map(SecretRef::File),
        ) {
            (Some(_), Some(_)) => {
                report(place, "stands here twice: write it or its _file, not both");
                None
            }
            (None, None) => {
                report(place, "is missing: write where the secret stands, for example {file: /path}");
                None
            }
            (secret, file) => secret.or(file),
        };
    if settings.basic_auth.is_some() && settings.authorization.is_some() {
        report("authorization", "cannot stand beside basic_auth: both set the same header");
    }
    if let Some(basic) = &settings.basic_auth {
        let password = one("basic_auth.password", &basic.password, &basic.password_file, report)?;
        return Some(Credential::Basic { username: basic.username.clone(), password });
    }
    let authorization = settings.authorization.as_ref()?;
    if authorization.kind != "Bearer" {
        report("authorization.type", "must be Bearer; for a user name and password write basic_auth");
    }
    let place = "authorization.credentials";
    one(place, &authorization.credentials, &authorization.credentials_file, report).map(Credential::Bearer)
}
