//! What one poll (or one pushed frame) brought.

use std::collections::BTreeMap;
use std::time::Duration;

use super::family::FamilyRef;
use super::labels::Labels;
use super::settings::Settings;
use super::target::TargetId;

/// Which of a histogram's or summary's series a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Suffix {
    /// The family's own name: gauges, counters, quantiles.
    #[default]
    None,
    /// `_bucket`, with a label `le`.
    Bucket,
    /// `_sum`.
    Sum,
    /// `_count`.
    Count,
}

impl Suffix {
    /// What is appended to the family's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Suffix::None => "",
            Suffix::Bucket => "_bucket",
            Suffix::Sum => "_sum",
            Suffix::Count => "_count",
        }
    }
}

/// One value of one series, as a parser says it: without the labels of the target, which are added once for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The family it belongs to.
    pub family: FamilyRef,
    /// Which series of a histogram or summary.
    pub suffix: Suffix,
    /// The labels the parser set.
    pub labels: Labels,
    /// In the base unit that the family's name says.
    pub value: f64,
}

/// Who answered: stable across addresses and host names. Every part is what the device said, so it is untrusted text.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// MAC address or serial number; empty when the device does not say.
    pub id: String,
    /// Maker.
    pub make: String,
    /// Model.
    pub model: String,
    /// Firmware name and version.
    pub firmware: String,
}

/// What a parser read from the replies of one poll.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// All samples, in the order of the parser.
    pub samples: Vec<Sample>,
    /// Since when some of them count (milliseconds since the epoch), by their places in `samples`, rising.
    pub starts: Vec<(usize, i64)>,
    /// Impossible values that were not exported, by family name.
    pub rejected: BTreeMap<String, u64>,
    /// What had to be repaired or was odd, for a person to read.
    pub notes: Vec<String>,
    /// Who answered, where the reply says so.
    pub identity: Option<Identity>,
    /// What it is set to, as far as the reply says so.
    pub settings: Settings,
}

impl Reading {
    /// Adds a sample. An impossible value (NaN, or outside of the family's bounds) is counted instead.
    pub fn put(&mut self, family: impl Into<FamilyRef>, labels: &[(&'static str, &str)], value: f64) {
        let labels = Labels::new(labels.iter().map(|(name, value)| (*name, *value)));
        self.put_labels(family.into(), Suffix::None, labels, value);
    }

    /// Adds a sample if the device sent a value.
    pub fn put_opt(&mut self, family: impl Into<FamilyRef>, labels: &[(&'static str, &str)], value: Option<f64>) {
        if let Some(value) = value {
            self.put(family, labels, value);
        }
    }

    /// Adds a sample whose labels are already built.
    pub fn put_labels(&mut self, family: FamilyRef, suffix: Suffix, labels: Labels, value: f64) {
        if family.allows(value) {
            self.samples.push(Sample { family, suffix, labels, value });
        } else {
            *self.rejected.entry(family.name.to_string()).or_default() += 1;
        }
    }

    /// Adds a set of samples of which exactly one is 1: the state that holds. `label` is the label that names the state.
    pub fn put_state(&mut self, family: impl Into<FamilyRef>, label: &'static str, states: &[&str], active: &str) {
        let family = family.into();
        for state in states {
            self.put(family.clone(), &[(label, state)], f64::from(u8::from(*state == active)));
        }
    }
}

/// Why a poll brought nothing. It *is* the `result` label of `davylamp_polls_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureReason {
    /// No connection, or it broke.
    Unreachable,
    /// Connected, but the answer was not complete in time.
    Timeout,
    /// The target refused us: 401, 403, access denied, an address we may not talk to.
    Denied,
    /// The target asked us to come less often.
    RateLimited,
    /// The answer was larger than allowed.
    TooLarge,
    /// The answer could not be understood.
    Malformed,
    /// Another device answered than the one that is known by this target's id.
    Stranger,
    /// Our own mistake: the poll panicked.
    Bug,
}

impl FailureReason {
    /// All reasons, in the order of their labels' importance.
    pub const ALL: [FailureReason; 8] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Denied,
        Self::RateLimited,
        Self::TooLarge,
        Self::Malformed,
        Self::Stranger,
        Self::Bug,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Denied => "denied",
            Self::RateLimited => "rate_limited",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Stranger => "stranger",
            Self::Bug => "bug",
        }
    }
}

/// A failed poll: the closed reason, and a sentence for a person.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct PollFailure {
    /// Goes into labels.
    pub reason: FailureReason,
    /// Goes to logs and the status page only. May hold text of the device: untrusted, already cut to a bounded length.
    pub detail: String,
    /// How long the target asked us to wait (`Retry-After`), where it did.
    pub retry_after: Option<Duration>,
}

impl PollFailure {
    /// Longest detail that is kept, in characters: device text must not fill logs.
    const MAX_DETAIL: usize = 300;

    /// A failure with a detail, cut to a bounded length and free of control characters.
    pub fn new(reason: FailureReason, detail: impl AsRef<str>) -> Self {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let detail = detail.as_ref().chars().take(Self::MAX_DETAIL).map(clean).collect();
        PollFailure { reason, detail, retry_after: None }
    }
}

/// The result of one poll or one pushed frame: the only message between collection and everything behind it.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Who was asked.
    pub target: TargetId,
    /// When the poll started, milliseconds since the epoch: the timestamp of all its samples.
    pub at: i64,
    /// How long it took.
    pub took: Duration,
    /// Samples, or why there are none.
    pub outcome: Result<Reading, PollFailure>,
}
