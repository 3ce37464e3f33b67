//! Looks at a folder as Grafana would, and says what would go wrong there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use super::File;
use super::content::dashboard;
use super::write::MANIFEST;
use super::write::MAX_BYTES;
use super::write::read_capped;
use super::write::read_manifest;

/// Folders below the root and files in all: beyond this nobody means a folder of dashboards.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 10_000;

/// Something that is wrong in a folder of dashboards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Relative path of the file (or folder).
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// A file or folder that cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Grafana runs as another user and cannot read this.
    #[error("mode {0:o} keeps other users out, and Grafana is one: set 644 on files and 755 on folders")]
    Closed(u32),
    /// No JSON, or no dashboard.
    #[error("{0}")]
    Malformed(String),
    /// Two dashboards with one uid: Grafana stops updating everything.
    #[error("uid {uid:?} is also that of {}: Grafana then updates neither", other.display())]
    DuplicateUid {
        /// The uid.
        uid: String,
        /// The other file.
        other: PathBuf,
    },
    /// Two dashboards in one folder with one title: the same.
    #[error("title {title:?} is also that of {}: Grafana then updates neither", other.display())]
    DuplicateTitle {
        /// The title.
        title: String,
        /// The other file.
        other: PathBuf,
    },
    /// A unit that Grafana does not know is shown as a bare suffix.
    #[error("panel {panel:?}: unknown unit {unit:?}")]
    UnknownUnit {
        /// Title of the panel.
        panel: String,
        /// The unit.
        unit: String,
    },
    /// A query that is no PromQL.
    #[error("panel {panel:?}: {expr:?}: {reason}")]
    BadExpression {
        /// Title of the panel, or `annotation …` or `variable …`.
        panel: String,
        /// As written.
        expr: String,
        /// What the parser says.
        reason: String,
    },
    /// A file that should be there is not.
    #[error("is missing: run `davylamp dashboards write`")]
    Missing,
    /// A file of ours that differs from what would be written.
    #[error("differs from what would be written (an edit, or another version): run `davylamp dashboards write`")]
    Differs,
    /// A file of ours that is no longer wanted.
    #[error("is no longer wanted: `davylamp dashboards write` deletes it")]
    Stale,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

/// Walks `dir` as Grafana does (hidden files too) and compares it with `files`, what would be written. `parse` says
/// whether a text is PromQL; Grafana's variables are already replaced in it. Reads only.
pub fn check<E: fmt::Display>(dir: &Path, files: &[File], parse: impl Fn(&str) -> Result<(), E>) -> Vec<Finding> {
    let mut walk = Walk::default();
    walk.entry(dir, Path::new("."), 0);
    let mut findings = walk.findings;
    let mut names = Vec::new();
    // One file in memory at a time: the folder is the operator's, and may hold anything.
    for path in walk.dashboards {
        let mut say = |problem| findings.push(Finding { path: path.clone(), problem });
        match read_capped(&dir.join(&path)).map(|content| serde_json::from_slice::<Value>(&content)) {
            Err(error) => say(Problem::Unreadable(error.to_string())),
            Ok(Err(error)) => say(Problem::Malformed(format!("is not JSON: {error}"))),
            Ok(Ok(value)) => {
                dashboard(&value, &parse, &mut say);
                let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
                names.push(Named { uid: text("uid"), title: text("title"), path });
            }
        }
    }
    duplicates(&names, &mut findings);
    differences(dir, files, &mut findings);
    findings.sort();
    findings.dedup();
    findings
}

/// What must be unique about a dashboard; empty where it has none.
struct Named {
    path: PathBuf,
    uid: String,
    title: String,
}

#[derive(Default)]
struct Walk {
    dashboards: Vec<PathBuf>,
    findings: Vec<Finding>,
    seen: usize,
}

impl Walk {
    fn folder(&mut self, root: &Path, relative: &Path, depth: usize) {
        let entries = match fs::read_dir(root.join(relative)) {
            Ok(entries) => entries,
            Err(error) => return self.say(relative, Problem::Unreadable(error.to_string())),
        };
        let mut names: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect();
        names.sort();
        for name in names {
            self.seen += 1;
            if self.seen > MAX_FILES {
                return self.say(relative, Problem::Unreadable(format!("more than {MAX_FILES} files")));
            }
            let folder = relative.strip_prefix(".").unwrap_or(relative);
            self.entry(root, &folder.join(name), depth);
        }
    }

    fn entry(&mut self, root: &Path, relative: &Path, depth: usize) {
        let found = match fs::metadata(root.join(relative)) {
            Ok(found) => found,
            Err(error) => return self.say(relative, Problem::Unreadable(error.to_string())),
        };
        let mode = found.permissions().mode() & 0o777;
        if found.is_dir() {
            if mode & 0o005 != 0o005 {
                self.say(relative, Problem::Closed(mode));
            }
            if depth < MAX_DEPTH {
                self.folder(root, relative, depth + 1);
            }
        } else if relative.extension().is_some_and(|ending| ending == "json") {
            if mode & 0o004 == 0 {
                self.say(relative, Problem::Closed(mode));
            }
            if found.len() > MAX_BYTES {
                return self.say(relative, Problem::Unreadable(format!("larger than {MAX_BYTES} bytes")));
            }
            self.dashboards.push(relative.to_path_buf());
        }
    }

    fn say(&mut self, path: &Path, problem: Problem) {
        self.findings.push(Finding { path: path.to_path_buf(), problem });
    }
}

/// A uid must be unique everywhere, a title within its folder.
fn duplicates(names: &[Named], findings: &mut Vec<Finding>) {
    let mut uids: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut titles: BTreeMap<(Option<&Path>, String), &Path> = BTreeMap::new();
    for Named { path, uid, title } in names {
        let mut say = |problem| findings.push(Finding { path: path.clone(), problem });
        let first = *uids.entry(uid).or_insert(path);
        if first != path && !uid.is_empty() {
            say(Problem::DuplicateUid { uid: uid.clone(), other: first.to_path_buf() });
        }
        // Grafana compares titles without regard to case.
        let first = *titles.entry((path.parent(), title.to_lowercase())).or_insert(path);
        if first != path && !title.is_empty() {
            say(Problem::DuplicateTitle { title: title.clone(), other: first.to_path_buf() });
        }
    }
}

fn differences(dir: &Path, files: &[File], findings: &mut Vec<Finding>) {
    let mut say = |path: &str, problem| findings.push(Finding { path: PathBuf::from(path), problem });
    for file in files {
        match read_capped(&dir.join(&file.path)) {
            Ok(content) if content == file.content.as_bytes() => {}
            Ok(_) => say(&file.path, Problem::Differs),
            Err(_) => say(&file.path, Problem::Missing),
        }
    }
    match read_manifest(dir) {
        Ok(owned) => {
            let wanted: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
            let stale = owned.iter().filter(|name| !wanted.contains(name.as_str()) && dir.join(name).exists());
            stale.for_each(|name| say(name, Problem::Stale));
        }
        Err(error) => say(MANIFEST, Problem::Unreadable(error.to_string())),
    }
}
