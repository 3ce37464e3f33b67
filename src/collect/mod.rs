//! What a kind of target answers, and what it means: fetch replies, then turn them into samples.
//!
//! Fetching and parsing never share a function: `fetch` does I/O and knows no metric, `parse` is pure (same replies,
//! same samples). Adding a kind is one file and one row in [`KINDS`].

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::model::{FailureReason, Family, PollFailure, Reading, Target};
use crate::yaml;
use command::Command;

pub mod cloud;
pub mod command;
pub mod docker;
pub mod http;
pub mod miner;
mod pool;
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

    /// The same in no more memory than it needs, for replies that are kept between polls: a body as it was received
    /// sits in a buffer of several kilobytes.
    #[must_use]
    pub fn compact(&self) -> Reply {
        Reply { body: Bytes::copy_from_slice(&self.body), ..self.clone() }
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
    /// Another device answered: the address was given away.
    #[error("another device answers here: {found:?} instead of {expected:?}")]
    Stranger {
        /// Who should have.
        expected: String,
        /// Who did.
        found: String,
    },
}

impl From<ParseError> for PollFailure {
    fn from(error: ParseError) -> Self {
        let reason = match error {
            ParseError::Malformed { .. } => FailureReason::Malformed,
            ParseError::TooLarge { .. } => FailureReason::TooLarge,
            ParseError::Denied { .. } => FailureReason::Denied,
            ParseError::Stranger { .. } => FailureReason::Stranger,
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

/// One mistake is a list of one, so that `?` serves for both.
impl From<OptionError> for Vec<OptionError> {
    fn from(error: OptionError) -> Self {
        vec![error]
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
    /// What its devices can be told to do through their own API.
    pub commands: &'static [Command],
    /// Checks address and options and makes a collector; no I/O.
    pub open: fn(&Target) -> Opened,
}

/// A collector, or every mistake in the address and the options.
pub type Opened = Result<Box<dyn Collector>, Vec<OptionError>>;

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
pub const KINDS: &[Kind] = &[
    miner::axeos::KIND,
    miner::cgminer::KIND,
    miner::antminer::KIND,
    miner::braiins::KIND,
    miner::braiins::KIND_GRAPHQL,
    miner::braiins::KIND_RPC,
    miner::vnish::KIND,
    miner::luxos::KIND,
    miner::mskminer::KIND,
    miner::marathon::KIND,
    miner::whatsminer::KIND,
    miner::whatsminer::KIND_V3,
    miner::avalon::KIND,
    miner::epic::KIND,
    miner::auradine::KIND,
    miner::elphapex::KIND,
    miner::hammer::KIND,
    miner::sealminer::KIND,
    miner::goldshell::KIND,
    miner::proto::KIND,
    miner::iceriver::KIND,
    miner::innosilicon::KIND,
    miner::futurebit::KIND,
    miner::xmrig::KIND,
    docker::KIND,
    pool::BRAIINS,
    pool::CKPOOL,
    pool::PUBLIC,
    pool::OCEAN,
    pool::F2POOL,
    pool::VIABTC,
    pool::NICEHASH,
    cloud::http_json::KIND,
    prometheus::KIND,
];

/// The row of `name`.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Reads the options of a target into a kind's own type.
///
/// # Errors
/// Every [`OptionError`] that the type alone can find.
pub fn read_options<T: serde::de::DeserializeOwned>(target: &Target) -> Result<T, Vec<OptionError>> {
    let options = match &target.options {
        serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
        other => other.clone(),
    };
    let (read, mistakes) = yaml::read::read(options);
    let errors = mistakes.into_iter().map(|mistake| {
        let dot = if mistake.path.is_empty() || mistake.path.starts_with('[') { "" } else { "." };
        OptionError::new(format!("options{dot}{}", mistake.path), mistake.message)
    });
    let errors: Vec<OptionError> = errors.collect();
    read.filter(|_| errors.is_empty()).ok_or(errors)
}
