//! What happened in a test: one line of its timeline.

use std::time::Duration;

use serde::Serialize;

use crate::model::duration::format_duration;

/// Most events of a test; one with more is a mistake in the test.
pub(super) const MOST: usize = 200_000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, milliseconds after the start.
    #[serde(serialize_with = "as_text")]
    pub at: i64,
    /// What.
    #[serde(rename = "event")]
    pub what: What,
    /// For which binding.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub binding: String,
    /// On which target.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Which step, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// What it does; of a message to whom; of an alert its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// How it ended, or why it was held back.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// More, for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An alert begins to fire.
    Fires,
    /// An alert is over, with data.
    Over,
    /// An alert is gone for want of data.
    Gone,
    /// A real run begins.
    Run,
    /// A check run begins.
    Check,
    /// A run waits for an approval.
    Waits,
    /// A run ended well; it is to be seen whether it helps.
    Verifies,
    /// A run ended.
    Ended,
    /// Nothing is run.
    Suppressed,
    /// Somebody is told.
    Told,
    /// A person orders something.
    Ordered,
    /// And it is refused.
    Refused,
    /// The daemon is killed and starts again.
    Killed,
}

impl What {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            What::Fires => "fires",
            What::Over => "over",
            What::Gone => "gone",
            What::Run => "run",
            What::Check => "check",
            What::Waits => "waits",
            What::Verifies => "verifies",
            What::Ended => "ended",
            What::Suppressed => "suppressed",
            What::Told => "told",
            What::Ordered => "ordered",
            What::Refused => "refused",
            What::Killed => "killed",
        }
    }
}

impl Event {
    /// Something that happened, about which nothing is known yet.
    pub(super) fn new(at: i64, what: What) -> Event {
        let (binding, target, subject, state, detail) = Default::default();
        Event { at, what, binding, target, step: None, subject, state, detail }
    }

    /// The time as it is written, whole seconds.
    pub fn time(&self) -> String {
        time(self.at)
    }

    /// Everything but the time.
    pub fn text(&self) -> String {
        let mut text = self.what.as_str().to_string();
        let mut add = |before: &str, word: &str| {
            if !word.is_empty() {
                text = format!("{text}{before}{word}");
            }
        };
        add(" ", &self.binding);
        add(if self.binding.is_empty() { " " } else { " on " }, &self.target);
        add(", step ", &self.step.map_or_else(String::new, |step| step.to_string()));
        add(": ", &self.subject);
        add(", ", &self.state);
        text
    }
}

/// A time after the start as it is written.
pub(super) fn time(at: i64) -> String {
    format_duration(Duration::from_secs(at.max(0).unsigned_abs() / 1000))
}

fn as_text<S: serde::Serializer>(at: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time(*at))
}
