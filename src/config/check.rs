//! From the YAML tree to a checked configuration. Each section is read by itself, so that a mistake in one does not
//! hide those of the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::file::{File, Rules};
use super::{Config, ConfigError, schema, targets};
use crate::act;
use crate::model::Labels;
use crate::model::matcher::is_label_name;
use crate::rules::{self, RuleGroup};
use crate::schedule::calendar;
use crate::yaml::{Document, Problem};

/// The document and the mistakes found so far.
pub(super) struct Check {
    document: Document,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Check {
    /// Reports a mistake at a path of the document.
    pub(super) fn report(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(self.document.problem(path, message));
    }

    /// Reads the value at `path` into its type, or reports why not and gives the default.
    pub(super) fn read<T: DeserializeOwned + Default>(&mut self, path: &str, value: Value) -> T {
        self.try_read(path, value).unwrap_or_default()
    }

    /// Reads the value at `path` into its type, or reports why not.
    pub(super) fn try_read<T: DeserializeOwned>(&mut self, path: &str, value: Value) -> Option<T> {
        match serde_path_to_error::deserialize(value) {
            Ok(read) => Some(read),
            Err(error) => {
                let inner = error.path().to_string();
                let full = match inner.as_str() {
                    "." => path.to_string(),
                    inner if inner.starts_with('[') => format!("{path}{inner}"),
                    inner => format!("{path}.{inner}"),
                };
                self.report(full, error.inner().to_string());
                None
            }
        }
    }

    /// The entries of a list; an absent one is empty.
    pub(super) fn list(&mut self, path: &str, value: Value) -> Vec<Value> {
        match value {
            Value::Array(entries) => entries,
            Value::Null => Vec::new(),
            Value::Object(object) if object.is_empty() => Vec::new(),
            _ => {
                self.report(path, "must be a list (- …)");
                Vec::new()
            }
        }
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
}

/// Reads and checks the file at `path`.
pub(super) fn load(path: &Path) -> Result<Arc<Config>, ConfigError> {
    let document = Document::read(path).map_err(|problem| ConfigError { problems: vec![problem] })?;
    let mut check = Check { document, problems: Vec::new(), warnings: Vec::new() };
    let mut root = tree(&mut check);
    for (path, message) in schema::strip_unknown_keys(&schema::json_schema(), &mut root) {
        check.report(path, message);
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut take = |name: &str| root.get_mut(name).map_or(Value::Object(Default::default()), Value::take);
    let mut file = File {
        server: check.read("server", take("server")),
        log: check.read("log", take("log")),
        storage: check.read("storage", take("storage")),
        defaults: check.read("defaults", take("defaults")),
        targets: Vec::new(),
        rules: check.read("rules", take("rules")),
        ansible: check.read("ansible", take("ansible")),
        remediations: Vec::new(),
        dashboards: check.read("dashboards", take("dashboards")),
        limits: check.read("limits", take("limits")),
    };
    for (index, entry) in check.list("remediations", take("remediations")).into_iter().enumerate() {
        file.remediations.extend(check.try_read(&format!("remediations[{index}]"), entry));
    }
    sections(&mut check, folder, &mut file);
    let jobs = targets::check(&mut check, &file.defaults, take("targets"));
    let external_labels = check.labels("rules.external_labels", &file.rules.external_labels, &["alertname"]);
    let groups = rules(&mut check, folder, &file.rules);
    let act = act::check::check(&file.remediations, &file.ansible, &absolute(folder), &absolute(&file.storage.path));
    match act {
        Ok(act) if check.problems.is_empty() => {
            let (folder, warnings) = (folder.into(), check.warnings);
            Ok(Arc::new(Config { folder, file, external_labels, jobs, groups, act, warnings }))
        }
        act => {
            for problem in act.err().unwrap_or_default() {
                check.report(problem.path, problem.message);
            }
            check.problems.sort();
            Err(ConfigError { problems: check.problems })
        }
    }
}

/// What one section says that another must fit, or that its room checks by itself.
fn sections(check: &mut Check, folder: &Path, file: &mut File) {
    for (inner, message) in file.server.check() {
        check.report(format!("server.{inner}"), message);
    }
    for mistake in file.dashboards.mistakes() {
        check.report(format!("dashboards.{}", mistake.path), mistake.message);
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
    let report = rules::check_files(rule_files(check, folder, rules));
    for problem in report.problems() {
        let (line, path, message) = (problem.line, problem.path.clone(), problem.message.clone());
        let converted = Problem { file: PathBuf::from(&problem.file), line, path, message };
        match problem.severity {
            rules::Severity::Error => check.problems.push(converted),
            rules::Severity::Warning => check.warnings.push(converted),
        }
    }
    report.groups
}

/// The document as a JSON tree: keys that are no text cannot be meant for us.
fn tree(check: &mut Check) -> Value {
    if check.document.value.is_null() {
        return Value::Object(Default::default());
    }
    match serde_json::to_value(&check.document.value) {
        Ok(root @ Value::Object(_)) => root,
        Ok(other) => {
            check.report("", format!("the file must hold keys (server, targets, rules, …), not {other}"));
            Value::Object(Default::default())
        }
        Err(error) => {
            check.report("", error.to_string());
            Value::Object(Default::default())
        }
    }
}

/// The files behind `rules.files`, sorted, each once.
fn rule_files(check: &mut Check, folder: &Path, rules: &Rules) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (index, pattern) in rules.files.iter().enumerate() {
        let at = format!("rules.files[{index}]");
        match expand(&folder.join(pattern)) {
            Ok(found) => files.extend(found),
            Err(error) => check.report(at, format!("{pattern:?}: {error}")),
        }
    }
    files.sort();
    files.dedup();
    files
}

/// Resolves `*` in the last part of a path. A pattern may match nothing, a plain path must exist: as Prometheus has it.
fn expand(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.contains('*') {
        return std::fs::metadata(path).map(|_| vec![path.to_path_buf()]);
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|file| matches(name, file)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether `name` fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|cut| rest.is_char_boundary(cut) && matches(tail, &rest[cut..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(matches("*.yml", "miners.yml") && matches("a*b*.yml", "axxbyy.yml") && matches("*", ""));
        assert!(!matches("*.yml", "miners.yaml") && !matches("a*", "ba"));
    }
}
