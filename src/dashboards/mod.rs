//! Grafana dashboards from what is configured: families and rules in, files out.
//!
//! Everything but [`write()`] and [`check()`] is pure, and the same input gives the same bytes: Grafana compares files
//! by their MD5 and would otherwise store a new version of each dashboard at every write. We speak to Grafana through
//! its file provisioning only: no HTTP API, no admin credentials.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::collect::Kind;
use crate::model::matcher::is_label_name;

mod check;
mod content;
mod device;
mod docker;
mod draft;
mod fleet;
mod itself;
mod json;
mod mining;
mod page;
mod provision;
mod query;
mod table;
pub mod thresholds;
pub mod units;
mod variables;
mod write;

pub use check::Finding;
pub use check::Problem;
pub use check::check;
pub use content::substitute;
pub use thresholds::Threshold;
pub use write::DashboardError;
pub use write::Written;
pub use write::write;

/// `dashboards:` in the configuration.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Write the dashboards at start and at every reload.
    pub enabled: bool,
    /// Folder to write to. It is laid out as Grafana's provisioning folder.
    pub path: PathBuf,
    /// Where Grafana finds that folder: inside a container, the place where it is mounted.
    pub grafana_path: String,
    /// How often Prometheus scrapes davylamp.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub scrape_interval: Duration,
    /// The Prometheus that Grafana asks, as Grafana reaches it.
    pub prometheus_url: String,
    /// Name of the provisioned data source.
    pub datasource_name: String,
    /// Its uid: at most 40 letters, digits, `-` or `_`.
    pub datasource_uid: String,
    /// Static labels of targets that become variables of the dashboards, coarsest first. Targets without them are
    /// shown too.
    pub filters: Vec<String>,
    /// Titles of Grafana's folders. Two must not be equal.
    pub folders: Folders,
}

/// Titles of the folders in Grafana.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Folders {
    /// Fleet overview and miners.
    pub miners: String,
    /// Docker engines and containers.
    pub docker: String,
    /// Davylamp itself.
    pub itself: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            enabled: false,
            path: PathBuf::from("grafana-dashboards"),
            grafana_path: "/etc/grafana/provisioning".to_string(),
            scrape_interval: Duration::from_secs(15),
            prometheus_url: "http://localhost:9090".to_string(),
            datasource_name: "Prometheus (davylamp)".to_string(),
            datasource_uid: "davylamp-prometheus".to_string(),
            filters: vec!["site".to_string(), "group".to_string()],
            folders: Folders::default(),
        }
    }
}

impl Default for Folders {
    fn default() -> Self {
        Folders {
            miners: "Davylamp Miners".to_string(),
            docker: "Davylamp Docker".to_string(),
            itself: "Davylamp Itself".to_string(),
        }
    }
}

/// A mistake in [`Settings`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SettingsError {
    /// Key below `dashboards:`.
    pub path: String,
    /// The offending words and what to do.
    pub message: String,
}

/// Label and variable names that the dashboards use themselves; a filter of that name would shadow them.
const TAKEN: [&str; 9] =
    ["datasource", "miner", "engine", "container", "instance", "target", "kind", "state", "alertstate"];

impl Settings {
    /// All mistakes at once: Grafana refuses a whole provider, or a server its start, for any of these.
    pub fn mistakes(&self) -> Vec<SettingsError> {
        let mut list = Vec::new();
        let mut say = |path: String, message: String| list.push(SettingsError { path, message });
        let uid = &self.datasource_uid;
        let uid_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if uid.is_empty() || uid.len() > 40 || !uid.chars().all(uid_char) {
            let message = format!("{uid:?} is no uid for Grafana: use 1 to 40 letters, digits, '-' or '_'");
            say("datasource_uid".to_string(), message);
        }
        if self.scrape_interval < Duration::from_secs(1) {
            say(
                "scrape_interval".to_string(),
                "less than 1s: write Prometheus' scrape_interval, for example 15s".to_string(),
            );
        }
        let titles = [&self.folders.miners, &self.folders.docker, &self.folders.itself];
        let texts = [
            ("folders.miners", titles[0]),
            ("folders.docker", titles[1]),
            ("folders.itself", titles[2]),
            ("datasource_name", &self.datasource_name),
            ("prometheus_url", &self.prometheus_url),
            ("grafana_path", &self.grafana_path),
        ];
        for (path, _) in texts.iter().filter(|(_, text)| text.trim().is_empty()) {
            say((*path).to_string(), "must not be empty".to_string());
        }
        if titles.iter().collect::<BTreeSet<_>>().len() < titles.len() {
            say("folders".to_string(), "two folders have one title: Grafana would mix their providers".to_string());
        }
        for (index, name) in self.filters.iter().enumerate() {
            let path = format!("filters[{index}]");
            if !is_label_name(name) {
                say(path, format!("{name:?} is no label name: letters, digits and '_', for example site"));
            } else if TAKEN.contains(&name.as_str()) || self.filters[..index].contains(name) {
                say(path, format!("{name:?} is already a variable of the dashboards: leave it out"));
            }
        }
        list
    }
}

/// What the dashboards have to know about this installation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The configured kinds by name. A kind without a target is left out, and so are the dashboards about it.
    pub kinds: BTreeMap<String, KindFacts>,
    /// The numbers of the loaded alert rules.
    pub thresholds: Vec<Threshold>,
}

/// One configured kind.
#[derive(Clone, Debug, PartialEq)]
pub struct KindFacts {
    /// The label that names its targets: `miner`, `engine`, `target`.
    pub subject: String,
    /// The longest interval among its targets.
    pub poll_interval: Duration,
    /// Names of the families that it can report; empty when they are declared only at run time. Panels about others
    /// are left out.
    pub families: BTreeSet<String>,
}

impl Facts {
    /// Adds a configured kind with the longest interval among its targets.
    pub fn add_kind(&mut self, kind: &Kind, poll_interval: Duration) {
        let families = kind.families.iter().map(|family| family.name.to_string()).collect();
        let facts = KindFacts { subject: kind.subject.to_string(), poll_interval, families };
        self.kinds.insert(kind.name.to_string(), facts);
    }
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative, with `/`: `miners/davylamp-fleet.json`.
    pub path: String,
    /// All of it.
    pub content: String,
}

/// All files for this installation, sorted by path: dashboards and Grafana's provisioning files.
pub fn all(settings: &Settings, facts: &Facts) -> Vec<File> {
    let mut files = vec![itself::build(settings, facts)];
    if facts.kinds.values().any(|kind| kind.subject == "miner") {
        files.push(fleet::build(settings, facts));
    }
    if facts.kinds.values().any(|kind| kind.subject == "engine") {
        files.push(docker::build(settings, facts));
    }
    let miners = facts.kinds.iter().filter(|(_, kind)| kind.subject == "miner");
    files.extend(miners.map(|(name, _)| device::build(settings, facts, name)));
    let provisioning = provision::files(settings, &files);
    files.extend(provisioning);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
