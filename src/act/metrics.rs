//! Plain counters of this room, which telemetry reads and turns into metrics.

use std::collections::BTreeMap;

/// A copy of the counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActMetrics {
    /// Runs that ended, by state (`succeeded`, `failed`, …).
    pub runs: BTreeMap<&'static str, u64>,
    /// How often an alert came to be held back for a reason; not counted again while the reason stays the same.
    pub suppressed: BTreeMap<&'static str, u64>,
    /// Runs between claim and end.
    pub running: usize,
    /// Runs that wait.
    pub queued: usize,
    /// Runs that wait for a person's word.
    pub waiting_approval: usize,
    /// Runs of which it is being seen whether they helped.
    pub verifying: usize,
    /// Episodes that went through all of their steps in vain.
    pub exhausted: u64,
    /// Ledger writes that failed.
    pub ledger_failures: u64,
}
