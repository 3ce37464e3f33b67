//! The thing that is measured.

use std::sync::Arc;
use std::time::Duration;

use super::labels::Labels;

/// The configured id of a target; the value of its subject label (`miner`, `engine`, `target`).
pub type TargetId = Arc<str>;

/// One thing that is polled, checked and complete: no defaults are left to fill in.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Unique among all targets.
    pub id: TargetId,
    /// Name of its kind in the `KINDS` table.
    pub kind: Arc<str>,
    /// Host, `host:port`, URL or socket path, as the kind understands it.
    pub address: String,
    /// Time between the starts of two polls.
    pub interval: Duration,
    /// Longest time one poll may take; never more than the interval.
    pub timeout: Duration,
    /// A cron expression with seconds, instead of the interval's rhythm, and its time zone.
    pub cron: Option<(String, chrono_tz::Tz)>,
    /// Static labels, added to every sample.
    pub labels: Labels,
    /// What the kind's own options type reads.
    pub options: serde_json::Value,
}
