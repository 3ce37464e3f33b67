//! The section `device_logs` of the configuration, and what becomes of it.

use std::path::{Path, PathBuf};

use regex::{Regex, RegexBuilder};

use crate::model::matcher::is_label_name;
use crate::model::{Labels, Matcher, Target};

/// Which devices are listened to, and what is made of what they say.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceLogs {
    /// Matchers on a target's labels, `target` (its id) and `kind`; all must hold. None: nothing is listened to, because
    /// a small web server has few connections to give.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
    /// Lines that are kept of each device in memory.
    pub lines: usize,
    /// Lines that are read of each device in a second; after silence, those of ten seconds at once.
    pub lines_per_second: u32,
    /// Lines that are counted.
    pub counters: Vec<CounterEntry>,
    /// Files beside the memory.
    pub files: Option<FilesEntry>,
}

impl Default for DeviceLogs {
    fn default() -> Self {
        DeviceLogs { matchers: Vec::new(), lines: 500, lines_per_second: 50, counters: Vec::new(), files: None }
    }
}

/// Lines that are counted, as `davylamp_device_log_matches_total{counter="NAME"}`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CounterEntry {
    /// The label `counter`.
    pub name: String,
    /// A regular expression that is looked for anywhere in a line.
    pub pattern: String,
}

/// Files, one per device.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesEntry {
    /// Folder, relative to `storage.path`.
    #[serde(default = "default_folder")]
    pub path: PathBuf,
    /// A file that would grow beyond this is turned over.
    #[serde(default = "default_bytes")]
    pub max_bytes: u64,
    /// How many older files are kept of each device.
    #[serde(default = "default_keep")]
    pub keep: u32,
}

fn default_folder() -> PathBuf {
    "device-logs".into()
}

fn default_bytes() -> u64 {
    1 << 20
}

fn default_keep() -> u32 {
    2
}

/// The section, checked.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    matchers: Vec<Matcher>,
    /// Lines per device.
    pub lines: usize,
    /// Lines per device and second.
    pub lines_per_second: u32,
    /// What is counted.
    pub counters: Vec<Counter>,
    /// Where files are written.
    pub files: Option<Files>,
}

/// Lines that are counted.
#[derive(Clone, Debug)]
pub struct Counter {
    /// The label `counter`.
    pub name: String,
    /// What is looked for.
    pub pattern: Regex,
}

/// Where files are written.
#[derive(Clone, Debug)]
pub struct Files {
    /// The folder.
    pub folder: PathBuf,
    /// Largest file.
    pub max_bytes: u64,
    /// Older files of each device.
    pub keep: u32,
}

/// Most lines that are kept of a device.
const MOST_LINES: usize = 10_000;
/// Most lines of a second: what two cores read of a few devices.
const MOST_A_SECOND: u32 = 1000;
/// Most counters: each is a series per device.
const MOST_COUNTERS: usize = 50;
/// Largest compiled pattern, in bytes.
const PATTERN_BYTES: usize = 1 << 20;

impl DeviceLogs {
    /// The plan, and what is wrong: a path below the section, and what to do.
    pub fn check(&self, state: &Path) -> (Plan, Vec<(String, String)>) {
        let mut mistakes = Vec::new();
        let mut matchers = Vec::new();
        for (index, text) in self.matchers.iter().enumerate() {
            match Matcher::parse(text) {
                Ok(matcher) => matchers.push(matcher),
                Err(error) => mistakes.push((format!("match[{index}]"), error.to_string())),
            }
        }
        if !(1..=MOST_LINES).contains(&self.lines) {
            mistakes.push(("lines".to_string(), format!("{} is not within 1 and {MOST_LINES}", self.lines)));
        }
        if !(1..=MOST_A_SECOND).contains(&self.lines_per_second) {
            let text = format!("{} is not within 1 and {MOST_A_SECOND}", self.lines_per_second);
            mistakes.push(("lines_per_second".to_string(), text));
        }
        if self.counters.len() > MOST_COUNTERS {
            mistakes.push(("counters".to_string(), format!("at most {MOST_COUNTERS} counters")));
        }
        let mut counters = Vec::new();
        for (index, entry) in self.counters.iter().enumerate() {
            let at = |key: &str| format!("counters[{index}].{key}");
            if !is_label_name(&entry.name) || self.counters[..index].iter().any(|other| other.name == entry.name) {
                let text = format!("{:?} is no name, or used already: letters, digits and _", entry.name);
                mistakes.push((at("name"), text));
            }
            match RegexBuilder::new(&entry.pattern).size_limit(PATTERN_BYTES).build() {
                Ok(pattern) => counters.push(Counter { name: entry.name.clone(), pattern }),
                Err(error) => mistakes.push((at("pattern"), format!("{:?}: {error}", entry.pattern))),
            }
        }
        if let Some(files) = self.files.as_ref().filter(|files| files.max_bytes < 4096 || files.keep > 100) {
            let text = format!("max_bytes {} and keep {}: at least 4096, at most 100", files.max_bytes, files.keep);
            mistakes.push(("files".to_string(), text));
        }
        let files = self.files.as_ref().map(|files| Files {
            folder: state.join(&files.path),
            max_bytes: files.max_bytes,
            keep: files.keep,
        });
        let (lines, lines_per_second) = (self.lines, self.lines_per_second);
        (Plan { matchers, lines, lines_per_second, counters, files }, mistakes)
    }
}

impl Plan {
    /// Whether a target is listened to.
    pub fn wants(&self, target: &Target) -> bool {
        let words = target.labels.with("target", &*target.id).with("kind", &*target.kind);
        !self.matchers.is_empty() && self.fits(&words) && super::stream(target).is_some()
    }

    fn fits(&self, words: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(words))
    }
}
