//! The writer of the audit log. What a run did and the record of it are one transaction: neither is there without the
//! other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::act::run::Run;
use crate::api::audit::{AuditLog, AuditPage};
use crate::api::{Write, WriteSeen};
use crate::audit::{self, CHECKPOINT, Entry, Link};
use crate::schedule::poll::unix_millis;
use crate::store::state::{Committed, Compare, Op, StateStore, StoreError, Txn};

const LOG: &str = "audit/log/";
const HEAD: &str = "audit/head";
const CUT: &str = "audit/cut";
/// Records that are kept; about 10 MiB.
const KEEP: u64 = 10_000;
/// How many are removed at once, and how many more than [`KEEP`] there may be before that.
const CUT_AT_ONCE: u64 = 64;
/// How often the head is logged, as an anchor outside of the database.
const ANCHOR_EVERY: Duration = Duration::from_secs(3600);
/// Writes over HTTP that may wait to be recorded.
const WRITES: usize = 256;
/// Takes samples in, many times a minute; what they do is in the samples.
const QUIET: [&str; 3] = ["/api/v1/write", "/api/v1/push", "/api/v1/otlp"];

/// Appends to the log. Cheap to clone.
#[derive(Clone)]
pub(super) struct Auditor {
    store: Arc<dyn StateStore>,
    /// The end of the log as it is on disk; `None` when that has to be looked up.
    tail: Arc<Mutex<Option<Tail>>>,
}

#[derive(Clone)]
struct Tail {
    head: Link,
    /// Revision of the head's record; 0: there is none.
    revision: u64,
    /// The last record that was removed.
    cut: Link,
}

impl Auditor {
    pub(super) fn new(store: Arc<dyn StateStore>) -> Self {
        Auditor { store, tail: Arc::default() }
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// When the store does not take it.
    pub(super) async fn note(&self, entry: Entry) -> Result<(), StoreError> {
        self.commit(Txn::default(), Some(entry)).await.map(drop)
    }

    /// Runs a transaction without an `otherwise` and records an entry with it, all or nothing.
    ///
    /// # Errors
    /// As [`StateStore::txn`].
    pub(super) async fn commit(&self, txn: Txn, entry: Option<Entry>) -> Result<Committed, StoreError> {
        let Some(entry) = entry else { return self.store.txn(txn).await };
        let mut held = self.tail.lock().await;
        // Twice: our idea of the log's end is wrong after an outcome that nobody knew.
        for last in [false, true] {
            let tail = match held.take() {
                Some(tail) => tail,
                None => self.look().await?,
            };
            let (with, next) = append(txn.clone(), &tail, entry.clone());
            let done = self.store.txn(with).await?;
            if done.succeeded {
                *held = Some(Tail { revision: done.revision, ..next });
                return Ok(done);
            }
            let now = self.look().await?;
            let ours = now.revision == tail.revision;
            *held = Some(now);
            if ours || last {
                return Ok(done);
            }
        }
        Err(StoreError::Conflict)
    }

    async fn look(&self) -> Result<Tail, StoreError> {
        let head = self.store.get(HEAD).await?;
        let cut = self.store.get(CUT).await?;
        let link = |value: &[u8]| serde_json::from_slice(value).unwrap_or_default();
        Ok(Tail {
            head: head.as_ref().map_or_else(Link::default, |head| link(&head.value)),
            revision: head.map_or(0, |head| head.mod_rev),
            cut: cut.map_or_else(Link::default, |cut| link(&cut.value)),
        })
    }

    /// Records writes over HTTP, cuts the log and logs its head, until `stop`.
    pub(super) async fn run(self, mut writes: mpsc::Receiver<Entry>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(ANCHOR_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(entry) = writes.recv() => {
                    if let Err(error) = self.note(entry).await {
                        tracing::error!(%error, "cannot record a write over HTTP in the audit log");
                    }
                }
                _ = tick.tick() => self.anchor().await,
            }
            self.cut().await;
        }
        self.anchor().await;
    }

    async fn anchor(&self) {
        match self.look().await {
            Ok(tail) if tail.head.seq > 0 => tracing::info!(head = %tail.head, "audit log"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot read the head of the audit log"),
        }
    }

    /// Removes the oldest records when there are too many, and says so in the log.
    async fn cut(&self) {
        if let Err(error) = self.try_cut().await {
            tracing::warn!(%error, "cannot remove old records of the audit log");
        }
    }

    async fn try_cut(&self) -> Result<(), StoreError> {
        loop {
            let tail = self.look().await?;
            if tail.head.seq.saturating_sub(tail.cut.seq) < KEEP + CUT_AT_ONCE {
                return Ok(());
            }
            let to = tail.cut.seq + CUT_AT_ONCE;
            let last = self.store.get(&key(to)).await?;
            let hash = last.and_then(|last| Some(String::from_utf8(last.value).ok()?.split_once('\n')?.0.to_string()));
            // A log that has lost records is left as it is: it is for a person to look at.
            let Some(hash) = hash else { return Ok(()) };
            let cut = Link { seq: to, hash };
            let facts = serde_json::to_value(&cut).unwrap_or_default();
            let mut then: Vec<Op> = (tail.cut.seq + 1..=to).map(|seq| Op::Delete { key: key(seq) }).collect();
            then.push(Op::Put { key: CUT.to_string(), value: serde_json::to_vec(&cut).unwrap_or_default() });
            let entry = entry("davylamp", CHECKPOINT, "", facts);
            // Somebody may have cut meanwhile: then what was looked at is no longer so.
            let same = match tail.cut.seq {
                0 => Compare::Missing(CUT.to_string()),
                _ => Compare::Value(CUT.to_string(), serde_json::to_vec(&tail.cut).unwrap_or_default()),
            };
            self.commit(Txn { then, ..Txn::default() }.when(same), Some(entry)).await?;
            *self.tail.lock().await = None;
        }
    }
}

fn key(seq: u64) -> String {
    format!("{LOG}{seq:016}")
}

fn append(mut txn: Txn, tail: &Tail, entry: Entry) -> (Txn, Tail) {
    let (head, record) = audit::seal(&tail.head, entry);
    txn.compares.push(match tail.revision {
        0 => Compare::Missing(HEAD.to_string()),
        revision => Compare::ModRev(HEAD.to_string(), revision),
    });
    txn.then.push(Op::Put { key: key(head.seq), value: record.into_bytes() });
    txn.then.push(Op::Put { key: HEAD.to_string(), value: serde_json::to_vec(&head).unwrap_or_default() });
    (txn, Tail { head, ..tail.clone() })
}

fn entry(who: &str, what: impl Into<String>, subject: &str, facts: serde_json::Value) -> Entry {
    Entry { at: unix_millis(), who: who.into(), what: what.into(), subject: subject.into(), facts }
}

/// What the log says of a record of a run, as it is about to be written: everything that is known of it at this moment.
pub(super) fn of_run(key: &str, value: &[u8]) -> Option<Entry> {
    let id = key.strip_prefix("run/")?;
    let run: Run = serde_json::from_slice(value).ok()?;
    let mut facts = serde_json::to_value(&run).ok()?;
    let word = |path| facts.pointer(path).and_then(serde_json::Value::as_str);
    let who = word("/cancelled_by").or_else(|| word("/approval/by")).unwrap_or("davylamp").to_string();
    if let Some(facts) = facts.as_object_mut().filter(|_| !run.state.is_final()) {
        facts.remove("tasks");
    }
    Some(entry(&who, format!("run.{}", run.state.as_str()), id, facts))
}

/// What the log says of a run that is forgotten.
pub(super) fn of_removal(key: &str) -> Option<Entry> {
    Some(entry("davylamp", "run.removed", key.strip_prefix("run/")?, serde_json::Value::Null))
}

/// Where the HTTP surface says what was written through it, and where that goes.
pub(super) fn writes() -> (WriteSeen, mpsc::Receiver<Entry>) {
    let (sender, receiver) = mpsc::channel(WRITES);
    let seen: WriteSeen = Arc::new(move |write: &Write<'_>| {
        if QUIET.iter().any(|quiet| write.path.starts_with(quiet)) {
            return;
        }
        let facts =
            serde_json::json!({"method": write.method, "path": write.uri, "status": write.status, "from": write.peer});
        if sender.try_send(entry("api", "api.write", write.path, facts)).is_err() {
            tracing::error!(path = write.path, "a write over HTTP is not in the audit log: too many at once");
        }
    });
    (seen, receiver)
}

impl AuditLog for Auditor {
    fn page(&self, after: u64, most: usize) -> BoxFuture<'_, Result<AuditPage, String>> {
        async move {
            let page = self.store.list(LOG, most, Some(key(after))).await.map_err(|error| error.to_string())?;
            let tail = self.look().await.map_err(|error| error.to_string())?;
            let records = page.entries.into_iter().filter_map(|(key, versioned)| {
                let seq = key.strip_prefix(LOG)?.parse().ok()?;
                Some((seq, String::from_utf8_lossy(&versioned.value).into_owned()))
            });
            let cut = (tail.cut.seq > 0).then_some(tail.cut);
            Ok(AuditPage { records: records.collect(), head: tail.head, cut, more: page.next.is_some() })
        }
        .boxed()
    }
}

/// Reads a closed state's log for a command, page by page.
///
/// # Errors
/// In words.
pub async fn audit_page(store: Arc<dyn StateStore>, after: u64, most: usize) -> Result<AuditPage, String> {
    Auditor::new(store).page(after, most).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Verifier;
    use crate::store::state::MemoryState;

    async fn verify(auditor: &Auditor) -> audit::Verdict {
        let mut after = 0;
        let mut verifier: Option<Verifier> = None;
        loop {
            let page = auditor.page(after, 1000).await.unwrap();
            let verifier = verifier.get_or_insert_with(|| Verifier::new(page.cut.clone()));
            page.records.iter().for_each(|(seq, record)| verifier.take(*seq, record));
            after = page.records.last().map_or(after, |(seq, _)| *seq);
            if !page.more {
                let head = page.head;
                return std::mem::replace(verifier, Verifier::new(None)).finish(&head);
            }
        }
    }

    #[tokio::test]
    async fn what_is_done_and_its_record_are_one() {
        let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let (one, two) = (Auditor::new(store.clone()), Auditor::new(store.clone()));
        one.note(entry("a", "x", "1", serde_json::Value::Null)).await.unwrap();
        two.note(entry("b", "y", "2", serde_json::Value::Null)).await.unwrap();
        // The first writer's idea of the end is old by now; it looks again.
        let done =
            one.commit(Txn::create("k", "v"), Some(entry("a", "z", "3", serde_json::Value::Null))).await.unwrap();
        assert!(done.succeeded);
        let refused =
            one.commit(Txn::create("k", "w"), Some(entry("a", "no", "4", serde_json::Value::Null))).await.unwrap();
        assert!(!refused.succeeded);
        let verdict = verify(&one).await;
        assert_eq!((verdict.records, verdict.is_sound()), (3, true), "{verdict:?}");
        store.txn(Txn::put(key(2), "0\n{}")).await.unwrap();
        assert!(!verify(&one).await.is_sound());
    }

    #[tokio::test]
    async fn old_records_go_and_the_log_says_so() {
        let auditor = Auditor::new(Arc::new(MemoryState::new()));
        for _ in 0..KEEP + 2 * CUT_AT_ONCE {
            auditor.note(entry("a", "x", "1", serde_json::Value::Null)).await.unwrap();
        }
        auditor.cut().await;
        let verdict = verify(&auditor).await;
        assert!(verdict.is_sound(), "{verdict:?}");
        assert!((KEEP..KEEP + CUT_AT_ONCE).contains(&verdict.records), "{verdict:?}");
        auditor.note(entry("a", "x", "1", serde_json::Value::Null)).await.unwrap();
        assert!(verify(&auditor).await.is_sound());
    }
}
