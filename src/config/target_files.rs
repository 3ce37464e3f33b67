//! The files of `targets_files`: each holds `targets:` and nothing else, and is checked as the main file's are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::check::{Check, root_files, tree};
use super::file::{File, TargetEntry};
use super::targets::{self, Seen};
use crate::model::TargetId;
use crate::rules;
use crate::schedule::Job;
use crate::yaml::{Document, reason};

/// A file of targets.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TargetsFile {
    targets: Vec<TargetEntry>,
}

/// What stands in them.
#[derive(Default)]
pub(super) struct Included {
    pub(super) files: Vec<PathBuf>,
    pub(super) origins: BTreeMap<TargetId, PathBuf>,
    pub(super) jobs: Vec<Job>,
}

/// Checks all of them; their entries become entries of `file`.
pub(super) fn check(check: &mut Check, folder: &Path, file: &mut File, seen: &mut Seen) -> Included {
    let mut included = Included::default();
    for (index, pattern) in file.targets_files.iter().enumerate() {
        match rules::expand(&folder.join(pattern)) {
            Ok(found) => included.files.extend(found),
            Err(error) => {
                let text = format!("{pattern:?} cannot be read: {}", reason(&error));
                check.report(format!("targets_files[{index}]"), text);
            }
        }
    }
    included.files.sort();
    included.files.dedup();
    for path in &included.files {
        let document = match Document::read(path) {
            Ok(document) => document,
            Err(problem) => {
                check.take(problem);
                continue;
            }
        };
        let mut inner = Check::of(document).included();
        let folder = path.parent().unwrap_or(Path::new("."));
        let read = tree(&mut inner).and_then(|mut tree| {
            root_files(&mut tree, folder);
            inner.file::<TargetsFile>(tree)
        });
        let entries = read.unwrap_or_default().targets;
        let jobs = targets::check(&mut inner, &file.defaults, &entries, seen);
        included.origins.extend(jobs.iter().map(|job| (job.target.id.clone(), path.clone())));
        included.jobs.extend(jobs);
        file.targets.extend(entries);
        check.absorb(inner);
    }
    included
}
