//! From the YAML tree to a checked configuration, every mistake reported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::file::{File, Rules};
use super::{Config, ConfigError, curtailments, devices, history, remediations, remote, target_files, targets};
use crate::discover;
use crate::model::Labels;
use crate::model::matcher::is_label_name;
use crate::notify;
use crate::rules::{self, RuleGroup};
use crate::schedule::calendar;
use crate::silence::Windows;
use crate::telemetry;
use crate::yaml::read::{is_below, read, without_nulls};
use crate::yaml::{Document, Problem, Severity, reason};

/// The document and the mistakes found so far.
pub(super) struct Check {
    document: Document,
    problems: Vec<Problem>,
    /// Nodes that were not as they should be: the file has makeshifts there.
    broken: Vec<String>,
    /// Whether the document is one of `targets_files`.
    included: bool,
    pub(super) warnings: Vec<Problem>,
}

impl Check {
    /// Reports a mistake at a path of the document, unless what stands there is known to be a makeshift.
    pub(super) fn report(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let path = path.into();
        if !self.is_broken(&path) {
            self.problems.push(self.document.problem(path, message));
        }
    }

    /// Remarks on what is odd, but no mistake.
    pub(super) fn warn(&mut self, path: &str, message: &str) {
        let problem = self.document.problem(path, message);
        self.warnings.push(Problem { severity: Severity::Warning, ..problem });
    }

    /// Whether a mistake has been reported at `path` or above it.
    pub(super) fn is_broken(&self, path: &str) -> bool {
        self.broken.iter().any(|broken| is_below(path, broken))
    }

    /// The check of another document.
    pub(super) fn of(document: Document) -> Self {
        Check { document, problems: Vec::new(), broken: Vec::new(), included: false, warnings: Vec::new() }
    }

    /// The same, of a file that the main one takes in.
    pub(super) fn included(self) -> Self {
        Check { included: true, ..self }
    }

    /// Whether it is the main file that is checked.
    pub(super) fn is_main(&self) -> bool {
        !self.included
    }

    /// A path for messages in other files.
    pub(super) fn place(&self, path: &str) -> String {
        if self.included { format!("{path} of {}", self.document.file.display()) } else { path.to_string() }
    }

    /// Takes over what was found in another document.
    pub(super) fn absorb(&mut self, other: Check) {
        self.problems.extend(other.problems);
        self.warnings.extend(other.warnings);
    }

    /// Takes over a mistake of another file.
    pub(super) fn take(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reads the whole document into its type and reports whatever does not fit.
    pub(super) fn file<T: serde::de::DeserializeOwned>(&mut self, tree: Value) -> Option<T> {
        let (file, mistakes) = read(without_nulls(tree, "options"));
        for mistake in mistakes {
            self.problems.push(self.document.problem(mistake.path, mistake.message));
            self.broken.push(mistake.broken);
        }
        file
    }

    /// Checks label names and values and builds the set.
    pub(super) fn labels(&mut self, path: &str, entries: &BTreeMap<String, String>, reserved: &[&str]) -> Labels {
        for name in entries.keys() {
            let at = format!("{path}.{name}");
            if !is_label_name(name) || name.starts_with("__") {
                self.report(
                    at,
                    format!("{name:?} is not a label name: letters, digits and _, not beginning with a digit or __"),
                );
            } else if reserved.contains(&name.as_str()) {
                self.report(at, format!("the label {name:?} is set by davylamp itself"));
            }
        }
        Labels::new(entries.iter().map(|(name, value)| (name.clone(), value.as_str())))
    }

    fn failed(mut self) -> ConfigError {
        self.problems.sort();
        self.problems.dedup();
        ConfigError { problems: self.problems }
    }
}

/// Reads and checks the file at `path`.
pub(super) fn load(path: &Path) -> Result<Arc<Config>, ConfigError> {
    let document = Document::read(path).map_err(|problem| ConfigError { problems: vec![problem] })?;
    let mut check = Check::of(document);
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut shown = String::new();
    let tree = tree(&mut check).map(|mut tree| {
        shown = super::shown::yaml(&tree);
        root_files(&mut tree, folder);
        tree
    });
    let Some(mut file) = tree.and_then(|tree| check.file::<File>(tree)) else { return Err(check.failed()) };
    sections(&mut check, folder, &mut file);
    remote::check(&mut check, &file);
    let discovery = discovery(&mut check, &file);
    let mut seen = targets::Seen::new();
    let mut jobs = targets::check(&mut check, &file.defaults, &file.targets, &mut seen);
    let included = target_files::check(&mut check, folder, &mut file, &mut seen);
    jobs.extend(included.jobs);
    let presets = devices::check(&mut check, &file, &jobs);
    let device_logs = devices::device_logs(&mut check, &file);
    let external_labels = check.labels("rules.external_labels", &file.rules.external_labels, &["alertname"]);
    let found = check.problems.len();
    let groups = rules(&mut check, folder, &file.rules);
    let rules_are_good = check.problems.len() == found;
    let windows = windows(&mut check, &file);
    let curtailments = curtailments::check(&mut check, &file, &jobs, &windows);
    let history_match = history::check(&mut check, &file.history);
    let notify = receivers(&mut check, folder, &file, &windows);
    let context = remediations::Context {
        folder: &absolute(folder),
        state: &absolute(&file.storage.path),
        groups: rules_are_good.then_some(groups.as_slice()),
        external_labels: &external_labels,
        windows: &windows,
    };
    let act = remediations::check(&mut check, &file, &context);
    match act {
        Some(act) if check.problems.is_empty() => {
            let (folder, warnings) = (folder.into(), check.warnings);
            Ok(Arc::new(Config {
                folder,
                file,
                external_labels,
                jobs,
                target_files: included.files,
                origins: included.origins,
                discovery,
                presets,
                device_logs,
                groups,
                act,
                shown,
                windows,
                curtailments,
                notify,
                history_match,
                warnings,
            }))
        }
        _ => Err(check.failed()),
    }
}

fn discovery(check: &mut Check, file: &File) -> discover::Checked {
    check.labels("discovery.labels", &file.discovery.labels, &targets::RESERVED_LABELS);
    file.discovery.check().unwrap_or_else(|mistakes| {
        for (path, message) in mistakes {
            check.report(format!("discovery.{path}"), message);
        }
        discover::Checked::default()
    })
}

fn windows(check: &mut Check, file: &File) -> Windows {
    Windows::check(&file.windows).unwrap_or_else(|mistakes| {
        for mistake in mistakes {
            check.report(format!("windows{}", mistake.path), mistake.message);
        }
        Windows::default()
    })
}

fn receivers(check: &mut Check, folder: &Path, file: &File, windows: &Windows) -> Arc<notify::Checked> {
    let entries = notify::check::Entries {
        alertmanagers: &file.alertmanagers,
        receivers: &file.receivers,
        route: file.route.as_ref(),
        windows,
        folder,
        external_url: file.server.external_url.as_deref().unwrap_or_default(),
    };
    Arc::new(notify::check::check(&entries).unwrap_or_else(|mistakes| {
        for mistake in mistakes {
            check.report(mistake.path, mistake.message);
        }
        notify::Checked::default()
    }))
}

/// What one section says that another must fit, or that its room checks by itself.
fn sections(check: &mut Check, folder: &Path, file: &mut File) {
    for (inner, message) in file.server.check() {
        check.report(format!("server.{inner}"), message);
    }
    for (inner, message) in file.webhooks.check() {
        check.report(format!("webhooks.{inner}"), message);
    }
    for mistake in file.dashboards.mistakes() {
        check.report(format!("dashboards.{}", mistake.path), mistake.message);
    }
    let at_least = [
        ("limits.series_per_target", file.limits.series_per_target as u64, 1),
        ("limits.series", file.limits.series as u64, 1),
        ("limits.samples_per_query", file.limits.samples_per_query as u64, 1),
        ("storage.cache_bytes", file.storage.cache_bytes, 1 << 20),
    ];
    for (path, value, least) in at_least.into_iter().filter(|(_, value, least)| value < least) {
        check.report(path, format!("{value} is too small; the least is {least}"));
    }
    for (path, time) in
        [("defaults.timeout", file.defaults.timeout), ("rules.evaluation_interval", file.rules.evaluation_interval)]
    {
        if time.is_zero() {
            check.report(path, "0s is impossible; write for example 10s");
        }
    }
    if let Err(message) = telemetry::log_filter(&file.log.level) {
        check.report("log.level", message);
    }
    if let Err(error) = calendar::check(&file.storage.export) {
        check.report("storage.export", error.to_string());
    }
    // systemd names the one folder that the unit may write to.
    let given = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    file.storage.path = given.unwrap_or_else(|| folder.join(&file.storage.path));
    check.labels("defaults.labels", &file.defaults.labels, &targets::RESERVED_LABELS);
}

/// Playbooks are run from another working directory, so their paths must not depend on ours.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The groups of all rule files; their problems stand in files of their own.
fn rules(check: &mut Check, folder: &Path, rules: &Rules) -> Vec<RuleGroup> {
    for (path, message) in rules::no_data::read(&rules.no_data).1 {
        check.report(format!("rules.no_data{path}"), message);
    }
    let report = rules::check_files(rule_files(check, folder, rules));
    for problem in report.problems() {
        let list = if problem.severity == Severity::Error { &mut check.problems } else { &mut check.warnings };
        list.push(problem.clone());
    }
    report.groups
}

/// The document as a JSON tree; an empty file is a configuration that leaves everything at its default.
pub(super) fn tree(check: &mut Check) -> Option<Value> {
    if check.document.value.is_null() {
        return Some(Value::Object(Default::default()));
    }
    if !check.document.value.is_mapping() {
        check.report("", "the file must hold keys (server:, targets:, rules:, …)");
        return None;
    }
    match serde_json::to_value(&check.document.value) {
        Ok(root) => Some(root),
        Err(_) => {
            check.report("", "a key is no plain word: a list, a mapping or empty");
            None
        }
    }
}

/// Lets the files that secrets and certificates stand in start at the configuration's folder, wherever in the document
/// they are named: kinds read their options themselves, and know no folder.
pub(super) fn root_files(node: &mut Value, folder: &Path) {
    match node {
        Value::Array(items) => items.iter_mut().for_each(|item| root_files(item, folder)),
        Value::Object(object) => {
            // `{file: …}` and nothing else is a reference to a secret.
            let alone = object.len() == 1;
            for (key, value) in object.iter_mut() {
                match value {
                    Value::String(path) if (alone && key == "file") || key.ends_with("_file") => {
                        *path = absolute(&folder.join(&*path)).to_string_lossy().into_owned();
                    }
                    // Labels may be called anything.
                    _ if key == "labels" => {}
                    _ => root_files(value, folder),
                }
            }
        }
        _ => {}
    }
}

/// The files behind `rules.files`, sorted, each once.
fn rule_files(check: &mut Check, folder: &Path, rules: &Rules) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (index, pattern) in rules.files.iter().enumerate() {
        let at = format!("rules.files[{index}]");
        match rules::expand(&folder.join(pattern)) {
            Ok(found) => files.extend(found),
            Err(error) => check.report(at, format!("{pattern:?} cannot be read: {}", reason(&error))),
        }
    }
    files.sort();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_secrets_start_at_the_folder_of_the_configuration() {
        let mut tree = serde_json::json!({
            "server": {"token": {"file": "token"}},
            "targets": [{"labels": {"file": "x"}, "options": {"tls": {"ca_file": "ca.pem"}, "bearer": {"file": "/abs"}}}],
        });
        root_files(&mut tree, Path::new("/etc/davylamp"));
        assert_eq!(tree["server"]["token"]["file"], "/etc/davylamp/token");
        assert_eq!(tree["targets"][0]["options"]["tls"]["ca_file"], "/etc/davylamp/ca.pem");
        assert_eq!(tree["targets"][0]["options"]["bearer"]["file"], "/abs");
        assert_eq!(tree["targets"][0]["labels"]["file"], "x");
    }
}
