//! What would run, when, and what would be held back and why: the acting room under a clock that jumps to the next event.
//!
//! ```text
//! test file ─► Plan ─► Scene (what is the case) ─► the same Actor as in the daemon ─► events ─► table, or differences
//! ```
//!
//! Nothing here decides anything. The [`Actor`](crate::act::actor::Actor), its guards and its book are those of the daemon;
//! only what surrounds it is played: the world, the ledger (memory), and whoever carries runs out. Hours pass in
//! milliseconds, because tokio's clock is paused and moves to the next timer when nobody has anything to do.

mod differences;
mod event;
mod file;
mod ledger;
mod orders;
mod outcome;
mod plan;
mod play;
mod scene;
mod works;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::act::binding::Binding;
use crate::act::check::Limits;
use crate::act::facts::Host;
use crate::act::inventory::Inventory;
use crate::model::Labels;
use crate::rules::{RuleGroup, Settings};
use crate::silence::Windows;
use crate::yaml::Problem;

pub use event::{Event, What};
pub use file::TestFile;
pub use outcome::{Outcome, TestOutcome, junit};

/// The parts of a configuration that a test plays with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The remediations.
    pub bindings: Vec<Binding>,
    /// Limits over all of them.
    pub limits: Limits,
    /// What one-time links begin with.
    pub approval_url: Option<String>,
    /// The hosts of a static inventory; `None`: it is generated from the targets, or only Ansible can list it.
    pub inventory: Option<Inventory>,
    /// Only Ansible can list the inventory: every host that a test names is believed to be in it.
    pub any_host: bool,
    /// The targets as hosts.
    pub hosts: Vec<Host>,
    /// What the scheduler says of each target, by its id.
    pub about: BTreeMap<String, About>,
    /// The maintenance windows.
    pub windows: Windows,
    /// The rules.
    pub groups: Vec<RuleGroup>,
    /// How rules are evaluated.
    pub rules: Settings,
    /// Keys of those rules that only ask whether targets answer.
    pub only_up: Vec<String>,
}

/// The series that the scheduler writes of a target.
#[derive(Clone, Debug)]
pub struct About {
    /// 1 while it answers.
    pub up: Labels,
    /// Polls that failed in a row.
    pub failed: Labels,
}

/// Runs the tests of a file, or those whose name `only` matches. `setting` reads the configuration that the file names.
pub fn run(path: &Path, only: Option<&Regex>, setting: impl FnOnce(&Path) -> Result<Setting, Vec<Problem>>) -> Outcome {
    let mut outcome = Outcome::of(path);
    let (file, document) = match TestFile::read(path) {
        Ok(read) => read,
        Err(problems) => return outcome.refused(&problems),
    };
    let setting = match setting(&beside(path, &file.config)) {
        Ok(setting) => setting,
        Err(problems) => return outcome.refused(&problems),
    };
    let mut problems = Vec::new();
    let mut plans = Vec::new();
    for (index, test) in file.tests.iter().enumerate() {
        match plan::Plan::new(test, &format!("tests[{index}]"), &setting, &document) {
            Ok(plan) => plans.push(plan),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        problems.sort();
        return outcome.refused(&problems);
    }
    for plan in plans.into_iter().filter(|plan| only.is_none_or(|only| only.is_match(&plan.name))) {
        outcome.tests.push(play::play(plan, &setting));
    }
    outcome
}

/// A path that a file names, relative to its folder.
fn beside(file: &Path, named: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(named)
}
