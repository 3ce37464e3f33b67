//! The door to durable state: the few things that a run needs of a store, so that this room never names one.

use futures_util::future::BoxFuture;

/// One record as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// `run/<id>` or `episode/<binding>/<target>`.
    pub key: String,
    /// JSON, at most 256 KiB.
    pub value: Vec<u8>,
    /// What the next change of this record must name.
    pub revision: u64,
}

/// Durable records with compare-and-swap. Every call is on disk before it returns: a claim that a power cut can
/// forget would let a playbook run twice.
pub trait Ledger: Send + Sync {
    /// All run and episode records.
    fn load(&self) -> BoxFuture<'_, Result<Vec<LedgerEntry>, LedgerError>>;

    /// Writes a record if its revision is still `expected` (0: it must not exist) and returns the new revision.
    fn put(&self, key: String, value: Vec<u8>, expected: u64) -> BoxFuture<'_, Result<u64, LedgerError>>;

    /// Removes a record if its revision is still `expected`.
    fn delete(&self, key: String, expected: u64) -> BoxFuture<'_, Result<(), LedgerError>>;
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The record is not as expected: someone else has changed it. The change was not made.
    #[error("the record {key} was changed by someone else")]
    Conflict {
        /// Which record.
        key: String,
    },
    /// The store failed. The change may or may not be on disk.
    #[error("cannot {operation} {key}: {source}")]
    Unavailable {
        /// `load`, `write` or `delete`.
        operation: &'static str,
        /// Which record, or which part of the store.
        key: String,
        /// Cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
