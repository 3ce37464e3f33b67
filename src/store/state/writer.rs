//! The one thread that writes: it takes what waits, applies it in order, makes the group durable with one flush and
//! one fdatasync, and only then answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::ballast::Ballast;
use super::engine::{Engine, EngineError};
use super::folder::Folder;
use super::hub::{Change, ChangeSet};
use super::record;
use super::record::Meta;
use super::report::OpenOptions;
use super::sled_state::Shared;
use super::txn::{Decision, Effect, decide};
use super::{Committed, StoreError, Txn};

/// Most transactions in one group.
const MAX_GROUP: usize = 512;
/// How often sizes are looked at, and a full disk is tried again.
const TICK: Duration = Duration::from_secs(1);
/// What a caller wants done.
pub(super) enum Work {
    Txn(Txn),
    /// Takes a revision and changes nothing: the epoch of a lease.
    Epoch,
}

/// Work with the place for its answer.
pub(super) struct Pending {
    pub work: Work,
    pub reply: oneshot::Sender<Result<Committed, StoreError>>,
    /// Its part of the queue's bytes, given back when it is answered.
    pub _permit: OwnedSemaphorePermit,
}

/// A message to the writer.
pub(super) enum Request {
    Work(Pending),
    Close,
}

/// Whether writes are taken.
pub(super) enum Health {
    Good,
    /// sled hit the full disk: it must be reopened before it writes again.
    Full,
    /// The disk failed; only a restart helps. Reads go on.
    Failed(String),
}

/// A transaction that was applied, or tried, and waits for the group to become durable.
pub(super) struct Applied {
    pub pending: Pending,
    pub outcome: Committed,
    pub set: Option<ChangeSet>,
}

pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub folder: Folder,
    pub receiver: Receiver<Request>,
    pub meta: Meta,
    pub ballast: Ballast,
    /// It was given back to reopen the database. Until there is room for it again nothing is written, or the writes
    /// would eat the space without which the next start fails.
    pub ballast_owed: bool,
    pub reserve_bytes: u64,
    pub health: Health,
    pub cache_bytes: u64,
    pub group_commit: Duration,
    pub last_commit: Option<Instant>,
    pub last_tick: Instant,
    pub last_manifest: Instant,
    pub manifest_revision: u64,
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        folder: Folder,
        meta: Meta,
        receiver: Receiver<Request>,
        options: &OpenOptions,
        ballast_owed: bool,
    ) -> Self {
        let now = Instant::now();
        let ballast = Ballast::new(folder.path(), options.ballast_bytes);
        let manifest_revision = meta.revision;
        let mut writer = Writer {
            shared,
            folder,
            receiver,
            meta,
            ballast,
            ballast_owed,
            reserve_bytes: options.reserve_bytes,
            health: Health::Good,
            cache_bytes: options.cache_bytes,
            group_commit: options.group_commit,
            last_commit: None,
            last_tick: now,
            last_manifest: now,
            manifest_revision,
        };
        writer.look_around();
        writer
    }

    /// Works until the store is closed.
    pub fn run(mut self) {
        loop {
            match self.receiver.recv_timeout(TICK) {
                Ok(Request::Work(first)) => {
                    let (group, closing) = self.gather(first);
                    self.commit(group);
                    if closing {
                        break;
                    }
                }
                Ok(Request::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.last_tick.elapsed() >= TICK {
                self.last_tick = Instant::now();
                self.tick();
            }
        }
        self.finish();
    }

    /// A lone transaction goes at once; under load, one fdatasync per `group_commit` serves all that came meanwhile.
    fn gather(&self, first: Pending) -> (Vec<Pending>, bool) {
        let mut group = vec![first];
        let until = self.last_commit.map_or_else(Instant::now, |last| last + self.group_commit);
        while group.len() < MAX_GROUP {
            match self.receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Request::Work(next)) => group.push(next),
                Ok(Request::Close) => return (group, true),
                Err(_) => break,
            }
        }
        (group, false)
    }

    fn commit(&mut self, group: Vec<Pending>) {
        if let Err(error) = self.may_write() {
            self.shared.stats.failed(&error);
            for pending in group {
                answer(pending, Err(error.clone()));
            }
            return;
        }
        let begun = Instant::now();
        let durable = self.meta.revision;
        let mut applied = Vec::with_capacity(group.len());
        let mut failure = None;
        for pending in group {
            if let Some(error) = &failure {
                answer(pending, Err(self.shared.error(error)));
                continue;
            }
            match self.apply(&pending.work) {
                Ok((outcome, set)) => applied.push(Applied { pending, outcome, set }),
                Err(Refusal::Answer(error)) => answer(pending, Err(error)),
                Err(Refusal::Unread(error)) => {
                    answer(pending, Err(self.shared.error(&error)));
                    // A damaged record concerns those who need it; any other failure to read breaks the group.
                    failure = (!matches!(error, EngineError::Damaged(_))).then_some(error);
                }
                Err(Refusal::Broken(error, outcome, set)) => {
                    // Perhaps half applied: whether it happened is known after the database is reopened.
                    applied.push(Applied { pending, outcome, set });
                    failure = Some(error);
                }
            }
        }
        if failure.is_none() && self.meta.revision > durable {
            failure = self.synced().err();
        }
        match failure {
            None => self.acknowledge(applied, begun),
            Some(error) => self.recover(applied, durable, &error),
        }
        self.last_commit = Some(Instant::now());
    }

    /// Decides and applies one piece of work.
    fn apply(&mut self, work: &Work) -> Result<(Committed, Option<ChangeSet>), Refusal> {
        let revision = self.meta.revision + 1;
        let shared = self.shared.clone();
        let view = shared.read();
        let Some(engine) = view.engine.as_ref() else {
            return Err(Refusal::Answer(StoreError::Unavailable { reason: "the database is not open".into() }));
        };
        let decision = match work {
            Work::Epoch => Decision { succeeded: true, effects: Vec::new() },
            Work::Txn(txn) => {
                let mut unread = None;
                let decided = decide(txn, revision, &self.shared.leases, |key| match engine.get(key) {
                    Ok(found) => Ok(found.map(|record| record.value)),
                    Err(error) => {
                        let shown = self.shared.error(&error);
                        unread = Some(error);
                        Err(shown)
                    }
                });
                decided.map_err(|error| unread.map_or(Refusal::Answer(error), Refusal::Unread))?
            }
        };
        if decision.effects.is_empty() && matches!(work, Work::Txn(_)) {
            return Ok((Committed { revision: self.meta.revision, succeeded: decision.succeeded }, None));
        }
        drop(view);
        let meta = after(&self.meta, revision, &decision.effects);
        let mut view = self.shared.write();
        for effect in &decision.effects {
            view.shadow.entry(effect.key.clone()).or_insert_with(|| effect.before.clone());
        }
        drop(view);
        let view = self.shared.read();
        // Only this thread takes the engine away.
        let applied = view.engine.as_ref().map_or(Ok(()), |engine| engine.apply(&decision.effects, &meta));
        drop(view);
        let changes = decision.effects.into_iter().map(|effect| Change { key: effect.key, value: effect.after });
        let set = ChangeSet { revision, changes: changes.collect() };
        let set = (!set.changes.is_empty()).then_some(set);
        let outcome = Committed { revision, succeeded: decision.succeeded };
        if let Err(error) = applied {
            return Err(Refusal::Broken(error, outcome, set));
        }
        self.meta = meta;
        Ok((outcome, set))
    }

    fn synced(&self) -> Result<(), EngineError> {
        self.shared.read().engine.as_ref().map_or(Ok(()), Engine::sync)
    }

    /// The group is durable: show it, hand it on, answer.
    fn acknowledge(&mut self, applied: Vec<Applied>, begun: Instant) {
        self.shared.stats.committed(applied.len(), begun.elapsed());
        self.shared.stats.keys.store(self.meta.keys, Ordering::Relaxed);
        self.shared.stats.revision.store(self.meta.revision, Ordering::Relaxed);
        let mut view = self.shared.write();
        view.shadow.clear();
        view.revision = self.meta.revision;
        let mut answers = Vec::with_capacity(applied.len());
        for Applied { pending, outcome, set } in applied {
            // Below the lock, so that an export finds in the change log all that its pages may show.
            if let Some(set) = set {
                self.shared.hub.publish(set);
            }
            answers.push((pending, outcome));
        }
        drop(view);
        for (pending, outcome) in answers {
            answer(pending, Ok(outcome));
        }
    }
}

/// Why a piece of work was not applied.
enum Refusal {
    /// Nothing happened.
    Answer(StoreError),
    /// Nothing happened, since the database could not be read.
    Unread(EngineError),
    /// The database failed in the midst of it; if it happened all the same, this is what it did.
    Broken(EngineError, Committed, Option<ChangeSet>),
}

/// The meta record after a transaction.
pub(super) fn after(meta: &Meta, revision: u64, effects: &[Effect]) -> Meta {
    let mut next = Meta { revision, deleted: Vec::new(), ..meta.clone() };
    for effect in effects {
        if let Some(before) = &effect.before {
            next.keys -= 1;
            next.digest = next.digest.wrapping_sub(record::checksum(&record::encode(&effect.key, before)));
        }
        match &effect.after {
            Some(value) => {
                next.keys += 1;
                next.digest = next.digest.wrapping_add(record::checksum(&record::encode(&effect.key, value)));
            }
            None => next.deleted.push(effect.key.clone()),
        }
    }
    next
}

pub(super) fn answer(pending: Pending, result: Result<Committed, StoreError>) {
    // A caller that went away wants no answer.
    let _ = pending.reply.send(result);
}
