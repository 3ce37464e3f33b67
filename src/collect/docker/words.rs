//! The engine's replies, leniently: only the parts that are read, every one optional, states as text. The typed models
//! of bollard refuse a whole list for one unknown state, so they serve only where no such word occurs (stats).

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

/// The states of `docker_container_state`.
pub(super) const STATES: [&str; 6] = ["running", "paused", "restarting", "exited", "dead", "created"];

/// The word for any other state.
pub(super) const UNKNOWN: &str = "unknown";

/// Longest label value, in characters: names and compose labels are text of whoever made the container.
const MAX_LABEL: usize = 200;

/// `GET /version`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Version {
    pub version: Option<String>,
    pub api_version: Option<String>,
    pub os: Option<String>,
    pub arch: Option<String>,
}

/// `GET /info`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Info {
    pub server_version: Option<String>,
    pub operating_system: Option<String>,
    pub architecture: Option<String>,
    pub cgroup_version: Option<String>,
    pub images: Option<f64>,
    pub name: Option<String>,
    #[serde(rename = "ID")]
    pub id: Option<String>,
    /// The engine's own clock, RFC 3339.
    pub system_time: Option<String>,
}

/// One container of `GET /containers/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Listed {
    pub id: String,
    pub names: Option<Vec<String>>,
    pub image: Option<String>,
    #[serde(rename = "ImageID")]
    pub image_id: Option<String>,
    pub created: Option<f64>,
    pub labels: Option<HashMap<String, String>>,
    pub state: Option<String>,
    pub status: Option<String>,
}

impl Listed {
    /// The container's name; the start of its id where it has none.
    pub(super) fn name(&self) -> String {
        let names = self.names.as_deref().unwrap_or_default();
        // A linked container carries names like `/web/db` besides its own.
        let own = names.iter().map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/'));
        match own {
            Some(name) if !name.is_empty() => clip(name),
            _ => self.id.chars().take(12).collect(),
        }
    }

    /// The state in the closed words of [`STATES`], Podman's words among them; `None` for a word nobody knows.
    pub(super) fn canonical_state(&self) -> Option<&'static str> {
        let state = match self.state.as_deref()? {
            // The process has ended, what is left is being deleted.
            "removing" | "stopped" => "exited",
            "configured" | "initialized" => "created",
            // Podman, between the signal and the end.
            "stopping" => "running",
            other => other,
        };
        STATES.into_iter().find(|known| *known == state)
    }

    /// Whether it has numbers: a cgroup exists only for these.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.canonical_state(), Some("running" | "paused"))
    }

    /// A label as a bounded text, empty when absent.
    pub(super) fn label(&self, name: &str) -> String {
        self.labels.as_ref().and_then(|labels| labels.get(name)).map(|text| clip(text)).unwrap_or_default()
    }
}

/// Cuts untrusted text to the length of a label; control characters become blanks.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(MAX_LABEL).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A list of containers, read.
#[derive(Debug)]
pub(super) struct List {
    /// At most as many as were allowed, living ones first.
    pub containers: Vec<Listed>,
    /// How many were left out.
    pub skipped: usize,
    /// How many could not be read.
    pub broken: usize,
    /// How many there are in each state, the ones left out included.
    pub by_state: BTreeMap<&'static str, u32>,
}

impl List {
    /// Reads a body of `GET /containers/json`, one container at a time: a broken one costs only itself.
    pub(super) fn read(body: &[u8], max: usize) -> Result<Self, serde_json::Error> {
        let values: Vec<serde_json::Value> = serde_json::from_slice(body)?;
        let total = values.len();
        let readable = values.into_iter().filter_map(|value| serde_json::from_value::<Listed>(value).ok());
        // The id becomes part of a path: anything but hexadecimal digits is no id.
        let readable = readable.filter(|c| !c.id.is_empty() && c.id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let mut containers: Vec<Listed> = readable.collect();
        let broken = total - containers.len();
        let mut by_state: BTreeMap<_, u32> = STATES.into_iter().map(|state| (state, 0)).collect();
        for container in &containers {
            *by_state.entry(container.canonical_state().unwrap_or(UNKNOWN)).or_default() += 1;
        }
        containers.sort_by_key(|container| !container.is_alive());
        let skipped = containers.len().saturating_sub(max);
        containers.truncate(max);
        Ok(List { containers, skipped, broken, by_state })
    }
}

/// `GET /containers/<id>/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Inspected {
    pub restart_count: Option<u64>,
    pub state: Option<InspectedState>,
    pub host_config: HostConfig,
}

/// `State` of an inspected container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct InspectedState {
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub exit_code: Option<i64>,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub health: Option<Health>,
}

/// `State.Health`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Health {
    pub status: Option<String>,
}

/// `HostConfig`: the limits.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HostConfig {
    pub memory: Option<f64>,
    pub nano_cpus: Option<f64>,
    pub cpu_quota: Option<f64>,
    pub cpu_period: Option<f64>,
}

impl HostConfig {
    /// The CPU limit in cores, if there is one.
    pub(super) fn cores(&self) -> Option<f64> {
        if let Some(nano) = self.nano_cpus.filter(|nano| *nano > 0.0) {
            return Some(nano / 1e9);
        }
        let quota = self.cpu_quota.filter(|quota| *quota > 0.0)?;
        // 0 means the kernel's default, 100 ms.
        let period = self.cpu_period.filter(|period| *period > 0.0).unwrap_or(100_000.0);
        Some(quota / period)
    }
}

/// `GET /system/df`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DiskUsage {
    pub layers_size: Option<f64>,
    pub containers: Option<Vec<Sized>>,
    pub volumes: Option<Vec<Volume>>,
    pub build_cache: Option<Vec<Sized>>,
}

/// A container or a record of the build cache in `GET /system/df`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Sized {
    pub size_rw: Option<f64>,
    pub size: Option<f64>,
    pub shared: bool,
}

/// A volume in `GET /system/df`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Volume {
    pub name: String,
    pub usage_data: Option<VolumeUsage>,
}

/// The size of a volume; -1 for one that the engine does not measure.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct VolumeUsage {
    pub size: Option<f64>,
}

/// Nanoseconds since the epoch of an RFC 3339 time; `None` for Go's zero time and for anything unreadable.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    time.timestamp_nanos_opt().filter(|nanos| *nanos > 0)
}

/// Seconds since the epoch, as [`nanoseconds`].
pub(super) fn seconds(text: Option<&str>) -> Option<f64> {
    // Whole milliseconds first: a float does not hold the nanoseconds of today.
    nanoseconds(text?).map(|nanos| (nanos / 1_000_000) as f64 / 1e3)
}
