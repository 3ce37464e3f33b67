//! The section `history`: what is kept on disk beyond the recent window.

use std::time::Duration;

use super::check::Check;
use crate::model::Matcher;
use crate::model::duration::{self, serde_text};

/// What is kept on disk beyond the recent window.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryEntry {
    /// Whether samples are kept on disk at all.
    pub enabled: bool,
    /// How long samples are kept.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub retention: Duration,
    /// Most bytes on the disk; the oldest samples go first.
    pub max_bytes: u64,
    /// Nothing is written while less is free on the disk: the state needs its space.
    pub reserve_bytes: u64,
    /// How often new samples are written: a kill or a power cut loses at most so much.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub flush_interval: Duration,
    /// Matchers (`name="value"`); only series that satisfy all of them are kept.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
}

impl Default for HistoryEntry {
    fn default() -> Self {
        HistoryEntry {
            enabled: true,
            retention: Duration::from_secs(30 * 86_400),
            max_bytes: 8 << 30,
            reserve_bytes: 512 << 20,
            flush_interval: Duration::from_secs(300),
            matchers: Vec::new(),
        }
    }
}

/// More often would write every series anew for a handful of samples.
const LEAST_FLUSH: Duration = Duration::from_secs(10);
/// What waits in memory for longer is a lot to lose.
const MOST_FLUSH: Duration = Duration::from_secs(3600);
/// Less holds no day of a small farm.
const LEAST_BYTES: u64 = 16 << 20;

/// Checks the section; gives its matchers.
pub(super) fn check(check: &mut Check, entry: &HistoryEntry) -> Vec<Matcher> {
    let shown = |time: Duration| format!("{}s", time.as_secs());
    if !(LEAST_FLUSH..=MOST_FLUSH).contains(&entry.flush_interval) {
        check.report("history.flush_interval", format!("{} is not within 10s and 1h", shown(entry.flush_interval)));
    }
    if entry.retention < Duration::from_secs(3600) {
        let message = format!("{} is too short; the least is 1h (or enabled: false)", shown(entry.retention));
        check.report("history.retention", message);
    }
    if entry.max_bytes < LEAST_BYTES {
        let message = format!("{} is too small; the least is {LEAST_BYTES} (or enabled: false)", entry.max_bytes);
        check.report("history.max_bytes", message);
    }
    let mut matchers = Vec::new();
    for (index, text) in entry.matchers.iter().enumerate() {
        match Matcher::parse(text) {
            Ok(matcher) => matchers.push(matcher),
            Err(error) => check.report(format!("history.match[{index}]"), error.to_string()),
        }
    }
    matchers
}
