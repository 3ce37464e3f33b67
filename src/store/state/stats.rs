//! Figures about the state, as plain atomics that telemetry reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the commit latency histogram, in seconds.
pub const COMMIT_BUCKETS: [f64; 10] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// Figures of one store.
#[derive(Debug, Default)]
pub struct Stats {
    /// Bytes of the database on the disk.
    pub bytes_on_disk: AtomicU64,
    /// Bytes free on its disk.
    pub free_bytes: AtomicU64,
    /// Keys.
    pub keys: AtomicU64,
    /// Last durable revision.
    pub revision: AtomicU64,
    /// Transactions answered.
    pub txns_total: AtomicU64,
    /// Group commits: one flush and fdatasync each.
    pub commits_total: AtomicU64,
    /// Seconds of all group commits, in nanoseconds.
    pub commit_nanos_total: AtomicU64,
    /// Group commits per bucket of [`COMMIT_BUCKETS`], not cumulative; the last one is everything above.
    pub commit_buckets: [AtomicU64; COMMIT_BUCKETS.len() + 1],
    /// Transactions that failed for the store's sake (not for a compare that did not hold).
    pub errors_total: AtomicU64,
    /// Transactions refused because the queue was full.
    pub refused_total: AtomicU64,
    /// Exports written.
    pub exports_total: AtomicU64,
    /// Whether writes are taken: false on a full or failed disk.
    pub writable: AtomicBool,
    /// Whether the ballast is in place.
    pub ballast: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Stats {
    /// The last failure, in words, if there was one.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn failed(&self, error: &dyn std::fmt::Display) {
        self.errors_total.fetch_add(1, Ordering::Relaxed);
        self.suffers(error);
    }

    /// What keeps the store from writing, although no transaction has failed of it yet.
    pub(super) fn suffers(&self, error: &dyn std::fmt::Display) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    pub(super) fn committed(&self, txns: usize, took: Duration) {
        self.txns_total.fetch_add(txns as u64, Ordering::Relaxed);
        self.commits_total.fetch_add(1, Ordering::Relaxed);
        self.commit_nanos_total.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = COMMIT_BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(COMMIT_BUCKETS.len());
        self.commit_buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }
}
