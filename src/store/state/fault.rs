//! A store that fails on demand, for tests of those who use one. sled almost never answers `OutcomeUnknown`; a cluster
//! does, and callers must be ready for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Committed, DumpSummary, Lease, Page, StateStore, StoreError, Txn, Versioned, Watch};

/// What happens to one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It goes through.
    None,
    /// It is made, and the caller is told that nobody knows.
    Made,
    /// It is not made, and the caller is told that nobody knows.
    Lost,
    /// It is refused with this error.
    Refused(StoreError),
}

/// Wraps a store; `script` says what happens to the n-th transaction (from 0).
pub struct FaultyState<F> {
    inner: Arc<dyn StateStore>,
    script: F,
    count: AtomicU64,
}

impl<F: Fn(u64) -> Fault + Send + Sync> FaultyState<F> {
    /// A store that fails as `script` says.
    pub fn new(inner: Arc<dyn StateStore>, script: F) -> Self {
        FaultyState { inner, script, count: AtomicU64::new(0) }
    }
}

impl<F: Fn(u64) -> Fault + Send + Sync> StateStore for FaultyState<F> {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Versioned>, StoreError>> {
        self.inner.get(key)
    }

    fn list(&self, prefix: &str, limit: usize, cursor: Option<String>) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.inner.list(prefix, limit, cursor)
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let fault = (self.script)(self.count.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move {
            match fault {
                Fault::None => self.inner.txn(txn).await,
                Fault::Made => self.inner.txn(txn).await.and(Err(StoreError::OutcomeUnknown)),
                Fault::Lost => Err(StoreError::OutcomeUnknown),
                Fault::Refused(error) => Err(error),
            }
        })
    }

    fn watch(&self, prefix: &str, from_rev: u64) -> BoxFuture<'_, Result<Watch, StoreError>> {
        self.inner.watch(prefix, from_rev)
    }

    fn lease(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        self.inner.lease(ttl)
    }

    fn export(&self, out: Box<dyn std::io::Write + Send>) -> BoxFuture<'_, Result<DumpSummary, StoreError>> {
        self.inner.export(out)
    }

    fn import(&self, from: Box<dyn std::io::Read + Send>) -> BoxFuture<'_, Result<DumpSummary, StoreError>> {
        self.inner.import(from)
    }
}
