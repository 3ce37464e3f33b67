//! What must outlive the process: alerts, target states, and the ledger of runs, as records in the state database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::audit::{self, Auditor};
use super::shared::TargetState;
use crate::act::book::Book;
use crate::act::ledger::{Ledger, LedgerEntry, LedgerError};
use crate::audit::Entry;
use crate::model::{Alert, Identity, Labels};
use crate::store::state::{Compare, MAX_OPS, MAX_REQUEST, MAX_VALUE, Op, StateStore, StoreError, Txn};

/// Changes that may be lost with the process (when a target was last up) are written together, this often: a write per
/// poll would be 90 GB a day on a farm.
const WRITE_EVERY: Duration = Duration::from_secs(2);

const ALERTS: &str = "alert/";
const TARGETS: &str = "target/";
const LEDGER: &str = "act/";

/// Writes and reads records. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keeper {
    store: Arc<dyn StateStore>,
    waiting: Arc<Mutex<BTreeMap<String, Op>>>,
    wake: Arc<Notify>,
    auditor: Auditor,
}

/// What is kept of a target.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct TargetRecord {
    pub(super) identity: Identity,
    pub(super) up: Option<bool>,
    pub(super) since: i64,
}

impl Keeper {
    pub(super) fn new(store: Arc<dyn StateStore>) -> Self {
        Keeper { auditor: Auditor::new(store.clone()), store, waiting: Arc::default(), wake: Arc::default() }
    }

    /// The writer of the audit log, which is one with the records of runs.
    pub(super) fn auditor(&self) -> Auditor {
        self.auditor.clone()
    }

    /// Notes the state of a target, to be written with the next batch.
    pub(super) fn target(&self, id: &str, state: &TargetState) {
        let record = TargetRecord { identity: state.identity.clone(), up: state.up, since: state.since };
        self.later(put(format!("{TARGETS}{id}"), &record));
    }

    /// Forgets a target that was removed from the configuration.
    pub(super) fn forget_target(&self, id: &str) {
        self.later(Op::Delete { key: format!("{TARGETS}{id}") });
    }

    /// Writes alerts that changed their state, and removes those that are gone, before anybody acts on them.
    ///
    /// # Errors
    /// When the store does not take them.
    pub(super) async fn alerts_now(&self, changed: &[Alert], gone: &[Alert]) -> Result<(), StoreError> {
        let puts = changed.iter().map(|alert| put(alert_key(&alert.rule, &alert.labels), alert));
        let deletes = gone.iter().map(|alert| Op::Delete { key: alert_key(&alert.rule, &alert.labels) });
        self.write(&puts.chain(deletes).collect::<Vec<_>>()).await
    }

    /// All alerts of an earlier process.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        Ok(self.read(ALERTS).await?.into_iter().map(|(_, alert)| alert).collect())
    }

    /// All target records of an earlier process, by id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn targets(&self) -> Result<BTreeMap<String, TargetRecord>, StoreError> {
        self.read(TARGETS).await.map(|records| records.into_iter().collect())
    }

    /// Writes what waits, every now and then and once more at the end.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(WRITE_EVERY) => {}
            }
            self.flush(&mut failing).await;
        }
        self.flush(&mut failing).await;
    }

    /// Writes what waits. What the store does not take (its disk may be full for an hour) waits on.
    async fn flush(&self, failing: &mut bool) {
        let ops = self.take_waiting();
        let outcome = self.write(&ops).await;
        if let Err(error) = &outcome {
            if !*failing {
                tracing::warn!(%error, "cannot write states of targets; they wait");
            }
            self.put_back(ops);
            self.wake.notify_one();
        }
        *failing = outcome.is_err();
    }

    fn take_waiting(&self) -> Vec<Op> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_values().collect()
    }

    /// What came meanwhile is newer and stays.
    fn put_back(&self, ops: Vec<Op>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for op in ops {
            waiting.entry(key_of(&op).to_string()).or_insert(op);
        }
    }

    fn later(&self, op: Op) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(key_of(&op).to_string(), op);
        drop(waiting);
        self.wake.notify_one();
    }

    /// Writes in as few transactions as the store's limits allow. A record that is too large for it is left out, or it
    /// would keep its neighbours from being written. What is written is durable when this returns.
    ///
    /// # Errors
    /// When the store does not take it.
    pub(super) async fn write(&self, ops: &[Op]) -> Result<(), StoreError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for op in ops {
            let size = size_of(op);
            if size > MAX_VALUE {
                tracing::error!(key = key_of(op), bytes = size, "a record is too large for the state; it is not kept");
                continue;
            }
            if batch.len() == MAX_OPS || bytes + size > MAX_REQUEST {
                self.commit(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += size;
            batch.push(op.clone());
        }
        self.commit(batch).await
    }

    async fn commit(&self, then: Vec<Op>) -> Result<(), StoreError> {
        if then.is_empty() {
            return Ok(());
        }
        self.store.txn(Txn { then, ..Txn::default() }).await.map(drop)
    }

    pub(super) async fn read<T: serde::de::DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let mut records = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.store.list(prefix, 0, cursor).await?;
            for (key, versioned) in page.entries {
                match serde_json::from_slice(&versioned.value) {
                    Ok(record) => records.push((key[prefix.len()..].to_string(), record)),
                    // A record of a later version: kept as it is, for that version.
                    Err(error) => tracing::warn!(key, %error, "cannot read a record; it is left as it is"),
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(records);
            }
        }
    }
}

fn alert_key(rule: &str, labels: &Labels) -> String {
    // The rule's key may be longer than a key of the store; two fingerprints are not.
    let rule = Labels::new([("rule", rule)]).fingerprint();
    format!("{ALERTS}{rule:016x}{:016x}", labels.fingerprint())
}

pub(super) fn put(key: String, record: &impl serde::Serialize) -> Op {
    // Records are plain structs of text and numbers; they always become JSON.
    Op::Put { key, value: serde_json::to_vec(record).unwrap_or_default() }
}

fn key_of(op: &Op) -> &str {
    match op {
        Op::Put { key, .. } | Op::Delete { key } => key,
    }
}

/// Bytes of key and value.
fn size_of(op: &Op) -> usize {
    match op {
        Op::Put { key, value } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
    }
}

impl Ledger for Keeper {
    fn load(&self) -> BoxFuture<'_, Result<Vec<LedgerEntry>, LedgerError>> {
        async {
            let (mut entries, mut cursor) = (Vec::new(), None);
            loop {
                let page = self.store.list(LEDGER, 0, cursor).await.map_err(|error| failed("load", LEDGER, error))?;
                entries.extend(page.entries.into_iter().map(|(key, versioned)| LedgerEntry {
                    key: key[LEDGER.len()..].to_string(),
                    value: versioned.value,
                    revision: versioned.mod_rev,
                }));
                cursor = page.next;
                if cursor.is_none() {
                    return Ok(entries);
                }
            }
        }
        .boxed()
    }

    fn put(&self, key: String, value: Vec<u8>, expected: u64) -> BoxFuture<'_, Result<u64, LedgerError>> {
        async move {
            let full = format!("{LEDGER}{key}");
            let entry = audit::of_run(&key, &value);
            let txn = if expected == 0 { Txn::create(full, value) } else { Txn::replace(full, expected, value) };
            self.change("write", key, txn, entry).await
        }
        .boxed()
    }

    fn delete(&self, key: String, expected: u64) -> BoxFuture<'_, Result<(), LedgerError>> {
        async move {
            let full = format!("{LEDGER}{key}");
            let txn = Txn::delete(full.clone()).when(Compare::ModRev(full, expected));
            let entry = audit::of_removal(&key);
            self.change("delete", key, txn, entry).await.map(drop)
        }
        .boxed()
    }
}

impl Keeper {
    async fn change(
        &self,
        operation: &'static str,
        key: String,
        txn: Txn,
        entry: Option<Entry>,
    ) -> Result<u64, LedgerError> {
        let done = self.auditor.commit(txn, entry).await.and_then(|committed| committed.or_conflict());
        done.map_err(|error| match error {
            StoreError::Conflict => LedgerError::Conflict { key },
            error => failed(operation, &key, error),
        })
    }
}

/// The records of runs in a state that no daemon has open.
///
/// # Errors
/// [`LedgerError`].
pub async fn runs_of(store: Arc<dyn StateStore>) -> Result<Book, LedgerError> {
    Book::load(Arc::new(Keeper::new(store))).await
}

fn failed(operation: &'static str, key: &str, error: StoreError) -> LedgerError {
    LedgerError::Unavailable { operation, key: key.to_string(), source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AlertState;
    use crate::store::state::MemoryState;

    fn alert(name: &str, summary: &str) -> Alert {
        Alert {
            rule: "f;g;Hot".into(),
            labels: Labels::new([("alertname", name)]),
            annotations: Labels::new([("summary", summary)]),
            state: AlertState::Firing,
            value: 1.0,
            active_at: 1,
            fired_at: Some(1),
            resolved_at: None,
            keep_firing_since: None,
            resolved_with_data: false,
            last_seen_at: 1,
        }
    }

    #[tokio::test]
    async fn long_records_do_not_keep_others_from_being_written() {
        let keeper = Keeper::new(Arc::new(MemoryState::new()));
        let long = "x".repeat(100_000);
        let mut alerts: Vec<Alert> = (0..40).map(|n| alert(&format!("a{n}"), &long)).collect();
        alerts.insert(7, alert("too long", &"x".repeat(MAX_VALUE + 1)));
        keeper.alerts_now(&alerts, &[]).await.unwrap();
        assert_eq!(keeper.alerts().await.unwrap().len(), 40, "4 MB in several transactions");
    }

    #[tokio::test]
    async fn what_could_not_be_written_waits_unless_something_newer_does() {
        let keeper = Keeper::new(Arc::new(MemoryState::new()));
        let state = |since| TargetState { since, ..TargetState::default() };
        keeper.target("a", &state(1));
        keeper.target("b", &state(1));
        let refused = keeper.take_waiting();
        keeper.target("b", &state(2));
        keeper.put_back(refused);
        keeper.flush(&mut false).await;
        let since: Vec<_> =
            keeper.targets().await.unwrap().into_iter().map(|(id, record)| (id, record.since)).collect();
        assert_eq!(since, [("a".to_string(), 1), ("b".to_string(), 2)]);
    }
}
