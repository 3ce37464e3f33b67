//! The door to the durable state: a small linearizable, versioned key-value store.
//!
//! [`StateStore`] is what the rooms see. [`SledState`] keeps it in one folder, [`MemoryState`] in memory; a cluster's
//! store (etcd) has the same verbs and the same limits. One conformance suite in `tests/store` runs on all of them.

use std::time::Duration;

use futures_util::future::BoxFuture;

mod admin;
mod ballast;
pub(in crate::store) mod database;
mod dump;
mod engine;
mod error;
#[doc(hidden)]
pub mod fault;
pub(in crate::store) mod folder;
mod hub;
mod ladder;
mod lease;
mod manifest;
mod memory;
mod record;
mod report;
mod salvage;
mod sled_state;
mod stats;
mod txn;
mod upkeep;
mod writer;

pub use admin::{CompactReport, Hold, VerifyReport, compact, export, hold, import, verify};
pub use dump::DumpSummary;
pub use error::{OpenError, StoreError};
pub use hub::{Change, ChangeSet, Watch, WatchEvent};
pub use lease::{Lease, LeaseHandle};
pub use memory::MemoryState;
pub use report::{OpenOptions, OpenReport, Rung};
pub use sled_state::SledState;
pub use stats::{COMMIT_BUCKETS, Stats};
pub use txn::{Committed, Compare, MAX_KEY, MAX_OPS, MAX_PAGE, MAX_REQUEST, MAX_VALUE, Op, Txn, Versioned};

/// The durable state: versioned values under text keys, changed by transactions.
///
/// Every back end holds to the same rules, those of etcd:
/// * A transaction is durable before it is acknowledged, and readers see only what is durable.
/// * Revisions begin at 1 and only grow; one transaction that changes something takes one.
/// * Keys are text of 1 to [`MAX_KEY`] bytes, values at most [`MAX_VALUE`], a transaction at most [`MAX_OPS`]
///   operations and [`MAX_REQUEST`] bytes.
///
/// A future that is dropped does not take its transaction back.
pub trait StateStore: Send + Sync {
    /// The value of `key`, or `None`.
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Versioned>, StoreError>>;

    /// One page of the keys that begin with `prefix`, in byte order, after `cursor` (the [`Page::next`] of the page
    /// before). `limit` is cut to [`MAX_PAGE`]; 0 means as many as fit. A page is consistent; two pages need not be.
    fn list(&self, prefix: &str, limit: usize, cursor: Option<String>) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// Runs `then` if all compares hold, else `otherwise`: all of it or nothing, and durable before it returns.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] is the only error after which the transaction may have happened.
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// The changes below `prefix` from revision `from_rev` on (0: from now on). A reader that asks for a revision no
    /// longer kept, or that falls too far behind, gets [`WatchEvent::Compacted`]: list again, then watch from there.
    fn watch(&self, prefix: &str, from_rev: u64) -> BoxFuture<'_, Result<Watch, StoreError>>;

    /// Takes a lease that ends after `ttl` unless renewed, when it is revoked or dropped, and with the process. Its
    /// epoch is a revision, so a later lease has a higher epoch, across restarts too.
    fn lease(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>>;

    /// Writes every record, as of one revision, as compressed JSON lines with a trailer that proves completeness.
    fn export(&self, out: Box<dyn std::io::Write + Send>) -> BoxFuture<'_, Result<DumpSummary, StoreError>>;

    /// Puts every record of an export into this store with new revisions. Keys that the export does not name stay.
    /// Nothing is written unless the export is complete. To put a whole store back, use [`import`].
    fn import(&self, from: Box<dyn std::io::Read + Send>) -> BoxFuture<'_, Result<DumpSummary, StoreError>>;
}

/// One page of [`StateStore::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Keys and values in byte order of the keys.
    pub entries: Vec<(String, Versioned)>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<String>,
    /// The revision that the page shows; watch from the one after it.
    pub revision: u64,
}
