//! What may stand in `davylamp.yml`, word for word. No field is checked here beyond its type.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::history::HistoryEntry;
use crate::act::settings::{AnsibleSettings, Remediation};
use crate::api;
use crate::curtail;
use crate::dashboards;
use crate::discover;
use crate::ingest;
use crate::listen::DeviceLogs;
use crate::model::duration::{self, serde_text};
use crate::notify::settings::{AlertmanagerEntry, ReceiverEntry, RouteEntry};
use crate::preset::PresetEntry;
use crate::silence::WindowEntry;
use crate::sink::RemoteWrite;
use crate::store::Limits;
use crate::telemetry::LogFormat;
use crate::webhook;

/// The configuration file of davylamp.
#[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Where to listen and who may ask.
    pub server: api::Settings,
    /// What is written to the log.
    pub log: Log,
    /// Where state is kept.
    pub storage: Storage,
    /// What is kept on disk beyond the recent window.
    pub history: HistoryEntry,
    /// What targets have in common.
    pub defaults: Defaults,
    /// What is polled.
    pub targets: Vec<TargetEntry>,
    /// More files with `targets:`, relative to this one; the last part may hold `*`. `davylamp discover --write` keeps one.
    pub targets_files: Vec<String>,
    /// Searching for miners, and what becomes of what is found.
    pub discovery: discover::Settings,
    /// How devices should be set: the first preset that matches a device is its preset.
    pub presets: Vec<PresetEntry>,
    /// Pools that are in order besides those of a device's preset: regular expressions on `host:port`.
    pub expected_pools: Vec<String>,
    /// Workers that are in order besides those of a device's preset: regular expressions.
    pub expected_workers: Vec<String>,
    /// Which devices' logs are listened to.
    pub device_logs: DeviceLogs,
    /// Prometheus rule files, and how they are evaluated.
    pub rules: Rules,
    /// How playbooks are run.
    pub ansible: AnsibleSettings,
    /// What an alert does.
    pub remediations: Vec<Remediation>,
    /// Alertmanagers that get every alert, as in Prometheus' `alerting.alertmanagers`.
    pub alertmanagers: Vec<AlertmanagerEntry>,
    /// Who can be told without an Alertmanager.
    pub receivers: Vec<ReceiverEntry>,
    /// Who is told of what, as in Alertmanager's `route`.
    pub route: Option<RouteEntry>,
    /// Maintenance windows: when remediations may (or alerts need not) disturb anybody.
    pub windows: Vec<WindowEntry>,
    /// Devices that are paused or limited while power is dear or scarce.
    pub curtailments: Vec<curtail::Entry>,
    /// Silences.
    pub silences: SilencesEntry,
    /// Alerts that Alertmanager and Grafana send.
    pub webhooks: webhook::Settings,
    /// Grafana dashboards.
    pub dashboards: dashboards::Settings,
    /// How much may be held in memory.
    pub limits: LimitsEntry,
    /// What others may push to us.
    pub ingest: ingest::Settings,
    /// Where samples are sent on to, by remote write.
    pub remote_write: Vec<RemoteWrite>,
}

/// What is written to the log.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter as `RUST_LOG` takes it.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Log { level: "info".to_string(), format: LogFormat::Text }
    }
}

/// Where state is kept.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Folder of the state database, exports and runs. systemd's `StateDirectory` wins over it.
    pub path: PathBuf,
    /// Memory for sled's cache, in bytes. sled takes 2 to 4.6 times as much.
    pub cache_bytes: u64,
    /// A file of this size is given up when the disk is full, so that the database can be opened again. 0 for none.
    pub ballast_bytes: u64,
    /// When the state is exported as JSON lines: a cron expression with seconds, in UTC.
    pub export: String,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            path: PathBuf::from("/var/lib/davylamp"),
            cache_bytes: 32 << 20,
            ballast_bytes: 32 << 20,
            export: "0 17 * * * *".to_string(),
        }
    }
}

/// What targets have in common.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// Time between two polls.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub interval: Duration,
    /// Longest time for one poll; where a target's interval is shorter, that.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub timeout: Duration,
    /// Labels of every target; a target's own win.
    pub labels: BTreeMap<String, String>,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults { interval: Duration::from_secs(15), timeout: Duration::from_secs(10), labels: BTreeMap::new() }
    }
}

/// One thing that is polled.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetEntry {
    /// Unique; becomes a label value. Renaming it begins new series.
    pub id: String,
    /// What it is: see `davylamp kinds`.
    pub kind: String,
    /// Host, `host:port`, URL or socket path, as the kind understands it.
    pub address: String,
    /// MAC address (or `sn:` and the serial number) of the device: who answers as another is not taken for it.
    #[serde(default)]
    pub identity: Option<String>,
    /// Time between two polls (`15s`); else `defaults.interval`.
    #[serde(default, deserialize_with = "serde_text::option")]
    #[schemars(schema_with = "duration::schema")]
    pub interval: Option<Duration>,
    /// Longest time for one poll; else `defaults.timeout`, or the interval where that is shorter.
    #[serde(default, deserialize_with = "serde_text::option")]
    #[schemars(schema_with = "duration::schema")]
    pub timeout: Option<Duration>,
    /// Poll by the calendar instead: second minute hour day-of-month month day-of-week.
    #[serde(default)]
    pub cron: Option<String>,
    /// Time zone of `cron`, for example `Europe/Berlin`; else UTC.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Labels of every sample of this target.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What the kind wants to know: see `davylamp kinds NAME`.
    #[serde(default)]
    pub options: serde_json::Value,
}

/// Prometheus rule files, and how they are evaluated.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Paths, relative to this file; the last part may hold `*`.
    pub files: Vec<String>,
    /// Time between two evaluations of a group that does not say its own.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub evaluation_interval: Duration,
    /// Labels that every alert gets.
    pub external_labels: BTreeMap<String, String>,
    /// What becomes of alerts whose series are gone. The first line that fits a rule decides; without one they resolve.
    pub no_data: Vec<crate::rules::no_data::NoDataEntry>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            files: Vec::new(),
            evaluation_interval: Duration::from_secs(15),
            external_labels: BTreeMap::new(),
            no_data: Vec::new(),
        }
    }
}

/// What is kept of silences.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SilencesEntry {
    /// How long a silence can be looked up after its end.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub retention: Duration,
}

impl Default for SilencesEntry {
    fn default() -> Self {
        SilencesEntry { retention: Duration::from_secs(5 * 86_400) }
    }
}

/// How much may be held in memory.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsEntry {
    /// Series of one target; a poll that brings more loses the surplus, and it is counted.
    pub series_per_target: usize,
    /// Series in all.
    pub series: usize,
    /// Samples that one query may load.
    pub samples_per_query: usize,
}

impl Default for LimitsEntry {
    fn default() -> Self {
        let limits = Limits::default();
        LimitsEntry {
            series_per_target: limits.series_per_target,
            series: limits.series,
            samples_per_query: limits.points_per_query,
        }
    }
}
