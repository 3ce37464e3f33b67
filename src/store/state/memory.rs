//! The state in memory: for tests and the demo. Same rules as on disk, nothing survives.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::dump::{self, DumpSummary};
use super::hub::{Change, ChangeSet, Hub, Watch};
use super::lease::{Lease, LeaseTable};
use super::txn::{MAX_PAGE, MAX_PAGE_BYTES, check_key, decide};
use super::{Committed, Page, StateStore, StoreError, Txn, Versioned};

/// A store in memory.
pub struct MemoryState {
    inner: Mutex<Inner>,
    hub: Hub,
    leases: LeaseTable,
}

#[derive(Default)]
struct Inner {
    revision: u64,
    records: BTreeMap<String, Versioned>,
}

impl Default for MemoryState {
    fn default() -> Self {
        MemoryState { inner: Mutex::default(), hub: Hub::new(0), leases: LeaseTable::default() }
    }
}

impl MemoryState {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, txn: &Txn) -> Result<Committed, StoreError> {
        txn.check()?;
        let mut inner = self.locked();
        let revision = inner.revision + 1;
        let decision = decide(txn, revision, &self.leases, |key| Ok(inner.records.get(key).cloned()))?;
        if decision.effects.is_empty() {
            return Ok(Committed { revision: inner.revision, succeeded: decision.succeeded });
        }
        inner.revision = revision;
        let mut changes = Vec::with_capacity(decision.effects.len());
        for effect in decision.effects {
            match &effect.after {
                Some(value) => inner.records.insert(effect.key.clone(), value.clone()),
                None => inner.records.remove(&effect.key),
            };
            changes.push(Change { key: effect.key, value: effect.after });
        }
        // Still under the lock, so that watchers see the order of the revisions.
        self.hub.publish(ChangeSet { revision, changes });
        Ok(Committed { revision, succeeded: decision.succeeded })
    }

    fn page(&self, prefix: &str, limit: usize, cursor: Option<&str>) -> Page {
        let inner = self.locked();
        let from = cursor.map_or(Bound::Included(prefix), Bound::Excluded);
        let matching = inner
            .records
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| Ok::<_, StoreError>((key.clone(), value.clone())));
        // The iterator has no errors, so that the page is always there.
        cut_page(matching, limit, inner.revision).unwrap_or(Page {
            entries: Vec::new(),
            next: None,
            revision: inner.revision,
        })
    }
}

/// Cuts a page off an ordered stream: at most `limit` entries and [`MAX_PAGE_BYTES`].
pub(super) fn cut_page(
    stream: impl Iterator<Item = Result<(String, Versioned), StoreError>>,
    limit: usize,
    revision: u64,
) -> Result<Page, StoreError> {
    let limit = if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) };
    let mut page = Page { entries: Vec::new(), next: None, revision };
    let mut bytes = 0;
    for entry in stream {
        let (key, value) = entry?;
        bytes += key.len() + value.value.len();
        if page.entries.len() == limit || (bytes > MAX_PAGE_BYTES && !page.entries.is_empty()) {
            page.next = page.entries.last().map(|(last, _)| last.clone());
            break;
        }
        page.entries.push((key, value));
    }
    Ok(page)
}

impl StateStore for MemoryState {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Versioned>, StoreError>> {
        let found = check_key(key).map(|()| self.locked().records.get(key).cloned());
        Box::pin(std::future::ready(found))
    }

    fn list(&self, prefix: &str, limit: usize, cursor: Option<String>) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(std::future::ready(Ok(self.page(prefix, limit, cursor.as_deref()))))
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(std::future::ready(self.commit(&txn)))
    }

    fn watch(&self, prefix: &str, from_rev: u64) -> BoxFuture<'_, Result<Watch, StoreError>> {
        Box::pin(std::future::ready(self.hub.watch(prefix, from_rev)))
    }

    fn lease(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        let epoch = {
            let mut inner = self.locked();
            inner.revision += 1;
            inner.revision
        };
        Box::pin(std::future::ready(self.leases.grant(epoch, ttl)))
    }

    fn export(&self, out: Box<dyn std::io::Write + Send>) -> BoxFuture<'_, Result<DumpSummary, StoreError>> {
        let (records, revision) = {
            let inner = self.locked();
            (inner.records.clone(), inner.revision)
        };
        Box::pin(dump::on_thread(move || {
            let mut writer = dump::Writer::begin(out, &[0; 16])?;
            for (key, value) in &records {
                writer.put(key, value)?;
            }
            writer.finish(revision)
        }))
    }

    fn import(&self, from: Box<dyn std::io::Read + Send>) -> BoxFuture<'_, Result<DumpSummary, StoreError>> {
        Box::pin(dump::import_into(self, from))
    }
}
