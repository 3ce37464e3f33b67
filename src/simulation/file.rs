//! A file of remediation tests, as it is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::act::reason::Reason;
use crate::act::run::RunState;
use crate::act::settings::AlertSource;
use crate::model::duration::serde_text;
use crate::yaml::read::{read, without_nulls};
use crate::yaml::{Document, Problem};

/// A file of tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// The configuration whose remediations, targets, windows and rules are used; relative to this file's folder.
    pub config: PathBuf,
    /// The tests.
    pub tests: Vec<Test>,
}

/// One test: what is the case over time, and what is expected of davylamp. Times count from the start, at which the
/// daemon starts too.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What it is about.
    pub name: String,
    /// The start as a time of the calendar, for windows; else the beginning of 1970.
    #[serde(default)]
    pub start_time: Option<String>,
    /// Time between two values of a series or an alert, and between two polls of a target.
    #[serde(default = "a_minute", with = "serde_text")]
    pub interval: Duration,
    /// When it ends; else half an hour after the last time that the test names.
    #[serde(default, deserialize_with = "serde_text::option")]
    pub until: Option<Duration>,
    /// How far what happens may be from the time that is expected: everything is looked at every five seconds.
    #[serde(default = "two_looks", with = "serde_text")]
    pub tolerance: Duration,
    /// Hosts besides those of the inventory, as ranges: `m[1:1000]`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Alerts as they come and go.
    #[serde(default)]
    pub alerts: Vec<AlertEntry>,
    /// Series on which the configuration's rules are evaluated, in promtool's notation.
    #[serde(default)]
    pub input_series: Vec<SeriesEntry>,
    /// What else is the case.
    #[serde(default)]
    pub facts: Vec<FactEntry>,
    /// What becomes of runs: the first entry that fits decides. Without one a run ends well after ten seconds, and helps
    /// nothing.
    #[serde(default)]
    pub runs: Vec<RunEntry>,
    /// What people order.
    #[serde(default)]
    pub orders: Vec<OrderEntry>,
    /// What should happen. Runs, check runs and suppressions that do not stand here are differences; of the other events
    /// those are whose sort is named at least once. Without it the test only tells what would happen.
    #[serde(default)]
    pub expect: Option<Vec<ExpectEntry>>,
}

/// An alert as it comes and goes: by times, or by values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertEntry {
    /// Labels, `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// One alert for each value of these labels: `{miner: 'm[1:1000]'}`.
    #[serde(default)]
    pub each: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Who sends it.
    #[serde(default = "rules")]
    pub source: AlertSource,
    /// It fires from here on.
    #[serde(default, with = "serde_text")]
    pub from: Duration,
    /// It resolves here; else never.
    #[serde(default, deserialize_with = "serde_text::option")]
    pub until: Option<Duration>,
    /// One value per interval instead: `0` it is false, with data, `_` there are no data, anything else it fires.
    #[serde(default)]
    pub values: Option<String>,
    /// It is sent again this often while it fires, as Alertmanager does.
    #[serde(default, deserialize_with = "serde_text::option")]
    pub repeat: Option<Duration>,
}

/// A series, as in promtool's files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesEntry {
    /// Name and labels.
    pub series: String,
    /// One value per interval.
    pub values: String,
}

/// Something that is the case for a time: exactly one of its kinds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactEntry {
    /// From here on.
    #[serde(default, with = "serde_text")]
    pub from: Duration,
    /// Until here; else to the end.
    #[serde(default, deserialize_with = "serde_text::option")]
    pub until: Option<Duration>,
    /// Polls of these targets fail; ranges are allowed.
    #[serde(default)]
    pub down: Option<Vec<String>>,
    /// A silence with these matchers.
    #[serde(default)]
    pub silence: Option<Vec<String>>,
    /// Rules, by name, whose range is not covered by samples yet.
    #[serde(default)]
    pub warming_up: Option<Vec<String>>,
    /// What `min_healthy` says: true, false, or unknown. Else it is evaluated on what the
    /// scheduler says of the targets (`davylamp_target_up`) and on the series.
    #[serde(default)]
    pub healthy: Option<Healthy>,
    /// The wall clock is set forward (`+1h`) or back (`-10m`), once.
    #[serde(default)]
    pub clock: Option<String>,
    /// Something breaks.
    #[serde(default)]
    pub trouble: Option<Trouble>,
}

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The executor does not answer: nothing can be run, and the inventory cannot be read.
    ExecutorAway,
    /// The executor answers that it cannot read the inventory.
    InventoryBroken,
    /// The state database takes no writes.
    StateBroken,
    /// The daemon is killed, as with kill -9, and starts again, once.
    DaemonKilled,
}

/// What `min_healthy` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healthy {
    /// It holds or it does not.
    Known(bool),
    /// There are no data.
    Unknown,
}

impl<'de> Deserialize<'de> for Healthy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Healthy;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false or unknown")
            }
            fn visit_bool<E: Error>(self, holds: bool) -> Result<Healthy, E> {
                Ok(Healthy::Known(holds))
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<Healthy, E> {
                let other = || E::invalid_value(serde::de::Unexpected::Str(word), &self);
                (word == "unknown").then_some(Healthy::Unknown).ok_or_else(other)
            }
        }
        deserializer.deserialize_any(Word)
    }
}

/// What becomes of the runs that fit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunEntry {
    /// Only of this binding.
    #[serde(default)]
    pub binding: Option<String>,
    /// Only on this target.
    #[serde(default)]
    pub target: Option<String>,
    /// Only this step, counted from 1.
    #[serde(default)]
    pub step: Option<u32>,
    /// Only check runs, or only real ones.
    #[serde(default)]
    pub check: Option<bool>,
    /// How it ends.
    #[serde(default)]
    pub outcome: Ending,
    /// After which time.
    #[serde(default = "ten_seconds", with = "serde_text")]
    pub takes: Duration,
    /// What it says.
    #[serde(default)]
    pub message: String,
    /// So long after its end its alerts are false, with data. Only a real run that ended well helps.
    #[serde(default, deserialize_with = "serde_text::option")]
    pub heals_after: Option<Duration>,
    /// For how long; else for good.
    #[serde(default, deserialize_with = "serde_text::option")]
    pub heals_for: Option<Duration>,
    /// So long after its end the target is silent.
    #[serde(default, deserialize_with = "serde_text::option")]
    pub silent_after: Option<Duration>,
    /// Series that go on like this after its end, in place of what the test said of them.
    #[serde(default)]
    pub input_series: Vec<SeriesEntry>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It does what it should.
    #[default]
    Ok,
    /// A task fails.
    Failed,
    /// It does not end in time.
    TimedOut,
    /// The target is not reached.
    Unreachable,
    /// Whoever ran it is gone without a word.
    Lost,
}

/// Something that a person orders: exactly one of the verbs, each with a target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderEntry {
    /// When.
    #[serde(with = "serde_text")]
    pub at: Duration,
    /// Who.
    #[serde(default = "somebody")]
    pub by: String,
    /// Only of this binding.
    #[serde(default)]
    pub binding: Option<String>,
    /// Lets the run on this target go that waits for it.
    #[serde(default)]
    pub approve: Option<String>,
    /// Does not let it go.
    #[serde(default)]
    pub reject: Option<String>,
    /// Ends the run on this target that is under way, or gives up the one that waits.
    #[serde(default)]
    pub cancel: Option<String>,
    /// Wants the last run on this target again.
    #[serde(default)]
    pub retry: Option<String>,
    /// Closes the episode of this target.
    #[serde(default)]
    pub close: Option<String>,
}

/// Something that should happen: exactly one of its sorts. What is not said of it may be anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectEntry {
    /// When.
    #[serde(with = "serde_text")]
    pub at: Duration,
    /// How often, on different targets or in a row.
    #[serde(default = "once")]
    pub count: usize,
    /// As often as it happens within the tolerance, at least `count` times.
    #[serde(default)]
    pub any: bool,
    /// A run begins, for real.
    #[serde(default)]
    pub run: Option<AboutRun>,
    /// A check run begins.
    #[serde(default)]
    pub check: Option<AboutRun>,
    /// A run waits for an approval.
    #[serde(default)]
    pub waits: Option<AboutRun>,
    /// A run or a check run ends.
    #[serde(default)]
    pub ended: Option<AboutRun>,
    /// Nothing is run, for a reason.
    #[serde(default)]
    pub suppressed: Option<AboutAlert>,
    /// Somebody is told something.
    #[serde(default)]
    pub told: Option<AboutMessage>,
    /// An order is refused.
    #[serde(default)]
    pub refused: Option<AboutMessage>,
}

/// Which run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboutRun {
    /// Of which binding.
    #[serde(default)]
    pub binding: Option<String>,
    /// On which target.
    #[serde(default)]
    pub target: Option<String>,
    /// Which step, counted from 1.
    #[serde(default)]
    pub step: Option<u32>,
    /// What it does: the playbook, or `device: restart`.
    #[serde(default)]
    pub action: Option<String>,
    /// How it ended.
    #[serde(default)]
    pub state: Option<RunState>,
}

/// Which alert, and why nothing is run for it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboutAlert {
    /// For which binding.
    #[serde(default)]
    pub binding: Option<String>,
    /// On which target.
    #[serde(default)]
    pub target: Option<String>,
    /// The alert's name.
    #[serde(default)]
    pub alertname: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// Which message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboutMessage {
    /// To whom.
    #[serde(default)]
    pub receiver: Option<String>,
    /// What it says, in part.
    #[serde(default)]
    pub text: Option<String>,
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

fn two_looks() -> Duration {
    Duration::from_secs(10)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn rules() -> AlertSource {
    AlertSource::Rules
}

fn somebody() -> String {
    "somebody".into()
}

fn once() -> usize {
    1
}

impl TestFile {
    /// Reads a file; with it comes the document, which knows the lines.
    ///
    /// # Errors
    /// Everything that is wrong with its shape.
    pub fn read(path: &Path) -> Result<(TestFile, Document), Vec<Problem>> {
        let document = Document::read(path).map_err(|problem| vec![problem])?;
        let tree = serde_json::to_value(&document.value)
            .map_err(|error| vec![document.problem("", format!("this cannot be read: {error}"))])?;
        let (file, mistakes) = read::<TestFile>(without_nulls(tree, ""));
        if mistakes.is_empty() {
            return file.map(|file| (file, document)).ok_or_else(Vec::new);
        }
        Err(mistakes.into_iter().map(|mistake| document.problem(mistake.path, mistake.message)).collect())
    }
}
