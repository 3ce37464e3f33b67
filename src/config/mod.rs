//! The configuration: [`file`] mirrors the YAML, [`check`] turns it into a [`Config`], reporting every mistake at once.

mod check;
mod curtailments;
mod devices;
pub mod file;
mod history;
mod remediations;
mod remote;
mod schema;
mod shown;
mod target_files;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use file::File;
pub use history::HistoryEntry;
pub use schema::json_schema;

use crate::act;
use crate::collect::kind;
use crate::curtail::Curtailment;
use crate::discover;
use crate::listen;
use crate::model::{Labels, Matcher, Target, TargetId};
use crate::notify;
use crate::preset::Presets;
use crate::rules::RuleGroup;
use crate::schedule::Job;
use crate::silence::Windows;
use crate::yaml::Problem;

/// Everything checked, every target's collector open: what the daemon runs on.
#[derive(Clone)]
pub struct Config {
    /// Folder of the configuration file; relative paths start here.
    pub folder: PathBuf,
    /// Sections that their rooms read themselves.
    pub file: File,
    /// Labels that every alert gets.
    pub external_labels: Labels,
    /// All targets; in the daemon, those that were found and adopted too.
    pub jobs: Vec<Job>,
    /// The files of `targets_files`.
    pub target_files: Vec<PathBuf>,
    /// Targets that stand in one of them, and in which.
    pub origins: BTreeMap<TargetId, PathBuf>,
    /// Where and how to search for miners.
    pub discovery: discover::Checked,
    /// The groups of all rule files.
    pub groups: Vec<RuleGroup>,
    /// Remediations and how playbooks are run.
    pub act: act::check::Checked,
    /// How devices should be set.
    pub presets: Presets,
    /// Which devices are listened to.
    pub device_logs: listen::Plan,
    /// Maintenance windows.
    pub windows: Windows,
    /// What is curtailed when.
    pub curtailments: Vec<Curtailment>,
    /// What is kept in the history.
    pub history_match: Vec<Matcher>,
    /// The file as it was read, as YAML, for people: secrets are references, and whatever looks like one is masked.
    pub shown: String,
    /// Whom to tell of alerts.
    pub notify: Arc<notify::Checked>,
    /// What is odd, but no mistake.
    pub warnings: Vec<Problem>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("folder", &self.folder)
            .field("targets", &self.jobs.len())
            .finish_non_exhaustive()
    }
}

/// The labels by which a target is selected: its own, its id under the name that its samples give it, and its kind.
pub fn labels_of(target: &Target) -> Labels {
    let subject = kind(&target.kind).map_or("target", |kind| kind.subject);
    let mut labels = target.labels.clone().edit();
    labels.set(subject.to_string(), &*target.id);
    labels.set("kind".to_string(), &*target.kind);
    labels.build()
}

/// Every mistake of a configuration, sorted by place.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(path: &Path) -> Result<Arc<Config>, ConfigError> {
        check::load(path)
    }

    /// Hosts and groups of a static inventory; none where only Ansible can tell them. Reads its files.
    pub fn inventory_names(&self) -> BTreeSet<String> {
        let listed = self.act.ansible.inventory.as_deref().and_then(act::inventory::Inventory::listed);
        listed.map(|listed| listed.hosts.into_iter().chain(listed.groups).collect()).unwrap_or_default()
    }

    /// The file of `targets_files` in which a target stands.
    pub fn target_of_file(&self, id: &str) -> Option<&Path> {
        self.origins.get(id).map(PathBuf::as_path)
    }

    /// A path of the configuration, relative to the folder of its file.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}
