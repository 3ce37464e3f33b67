//! What a kind of target answers, and what it means: fetch replies, then turn them into samples.
//!
//! Fetching and parsing never share a function: `fetch` does I/O and knows no metric, `parse` is pure (same replies,
//! same samples). Adding a kind is one file and one row in [`KINDS`].

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::model::{FailureReason, Family, PollFailure, Reading, Target};

pub mod cloud;
pub mod docker;
pub mod http;
pub mod miner;
pub mod prometheus;
pub mod redact;
pub mod tcp;

/// One raw answer, as it came from the wire (decompressed, capped).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What was asked: `GET /api/system/info`, `summary`. Names the file under `davylamp poll --save`.
    pub request: String,
    /// HTTP status; `None` for protocols without one.
    pub status: Option<u16>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A reply without a status.
    pub fn new(request: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Reply { request: request.into(), status: None, body: body.into() }
    }
}

/// Why replies could not be turned into samples. The text may quote the device and is cut before it is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The reply is not of the form that this kind speaks.
    #[error("{request}: {reason}")]
    Malformed {
        /// Which reply.
        request: String,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The reply holds more than may be kept: samples, labels, or their lengths.
    #[error("{request}: {reason}")]
    TooLarge {
        /// Which reply.
        request: String,
        /// The limit that was hit, and where.
        reason: String,
    },
    /// The target answered, and the answer is a refusal.
    #[error("{request}: access denied: {reason}")]
    Denied {
        /// Which reply.
        request: String,
        /// In the target's words.
        reason: String,
    },
}

impl From<ParseError> for PollFailure {
    fn from(error: ParseError) -> Self {
        let reason = match error {
            ParseError::Malformed { .. } => FailureReason::Malformed,
            ParseError::TooLarge { .. } => FailureReason::TooLarge,
            ParseError::Denied { .. } => FailureReason::Denied,
        };
        PollFailure::new(reason, error.to_string())
    }
}

/// A mistake in the options of a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct OptionError {
    /// Path below the target, for example `options.values[2].path`; empty for the target itself.
    pub path: String,
    /// The offending words and what to do.
    pub message: String,
}

impl OptionError {
    /// An error at a path below the target (`address`, `options.url`, …).
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        OptionError { path: path.into(), message: message.into() }
    }
}

/// How well a kind is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Goldens from recorded replies, or tested against the real thing.
    Recorded,
    /// Written from public documentation.
    Documented,
}

/// One option of a kind, for `davylamp kinds`.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// Key below `options`.
    pub name: &'static str,
    /// What it does, its unit and default.
    pub help: &'static str,
}

/// A row in the table of what can be polled.
pub struct Kind {
    /// Name in the configuration.
    pub name: &'static str,
    /// One line for `davylamp kinds`.
    pub summary: &'static str,
    /// The label that carries the target's id on every sample: `miner`, `engine`, `target`.
    pub subject: &'static str,
    /// How well it is known.
    pub support: Support,
    /// Default port or place, for people.
    pub default_address: &'static str,
    /// Shortest interval that does the target no harm; shorter ones are refused.
    pub min_interval: Duration,
    /// The families its parser can produce. Empty for kinds whose families are declared or carried on.
    pub families: &'static [&'static Family],
    /// Its options.
    pub options: &'static [OptionDoc],
    /// Checks address and options and makes a collector; no I/O.
    pub open: fn(&Target) -> Result<Box<dyn Collector>, OptionError>,
}

/// Polls one target.
pub trait Collector: Send + Sync {
    /// Asks the target. All timeouts and caps of a single request are the collector's; the scheduler cuts the whole.
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>>;

    /// Turns replies into samples. Pure: no clock, no I/O, no memory of earlier calls.
    ///
    /// # Errors
    /// [`ParseError`] when the replies hold nothing that can be trusted.
    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError>;
}

/// All kinds, in the order of `davylamp kinds`.
pub const KINDS: &[Kind] =
    &[miner::axeos::KIND, miner::cgminer::KIND, docker::KIND, cloud::http_json::KIND, prometheus::KIND];

/// The row of `name`.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Reads the options of a target into a kind's own type, with the path to the mistake.
///
/// # Errors
/// [`OptionError`] that names the option.
pub fn read_options<T: serde::de::DeserializeOwned>(target: &Target) -> Result<T, OptionError> {
    let options = match &target.options {
        serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
        other => other.clone(),
    };
    serde_path_to_error::deserialize(options).map_err(|error| {
        let inner = error.path().to_string();
        let path = if inner == "." { "options".to_string() } else { format!("options.{inner}") };
        OptionError::new(path, with_nearest_word(error.inner().to_string()))
    })
}

/// Adds the nearest right word to serde's "unknown field `pth`, expected one of `path`, `name`".
fn with_nearest_word(message: String) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next().filter(|_| message.starts_with("unknown ")).unwrap_or_default();
    let nearest = quoted.map(|word| (strsim::jaro_winkler(wrong, word), word)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, word)) if likeness > 0.75 => format!("{message}; did you mean `{word}`?"),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_answered_with_the_nearest() {
        for (message, expected) in [
            ("unknown field `pth`, expected `path` or `name`", "; did you mean `path`?"),
            ("unknown variant `gaug`, expected one of `counter`, `gauge`", "; did you mean `gauge`?"),
            ("unknown field `zzz`, expected `path` or `name`", ""),
            ("missing field `path`", ""),
        ] {
            assert_eq!(with_nearest_word(message.to_string()), format!("{message}{expected}"));
        }
    }
}
