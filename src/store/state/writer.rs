//! The one thread that writes: it takes what waits, applies it in order, makes the group durable with one flush and
//! one fdatasync, and only then answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::ballast::Ballast;
use super::engine::{Engine, EngineError};
use super::folder::{self, Folder};
use super::hub::{Change, ChangeSet};
use super::ladder::OpenOptions;
use super::manifest::Manifest;
use super::record;
use super::record::Meta;
use super::sled_state::Shared;
use super::txn::{Decision, Effect, decide};
use super::{Committed, StoreError, Txn};

/// Most transactions in one group.
const MAX_GROUP: usize = 512;
/// How often sizes are looked at, and a full disk is tried again.
const TICK: Duration = Duration::from_secs(1);
/// How often the high-water mark in the MANIFEST follows. A database rolled back by less is not noticed.
const MANIFEST_EVERY: Duration = Duration::from_secs(10);
/// Space without which sled cannot be reopened: a snapshot and two segments.
const REOPEN_BYTES: u64 = 2 * 1024 * 1024;

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
enum Health {
    Good,
    /// sled hit the full disk: it must be reopened before it writes again.
    Full,
    /// The disk failed; only a restart helps. Reads go on.
    Failed(String),
}

/// A transaction that was applied, or tried, and waits for the group to become durable.
struct Applied {
    pending: Pending,
    outcome: Committed,
    set: Option<ChangeSet>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    folder: Folder,
    receiver: Receiver<Request>,
    meta: Meta,
    ballast: Ballast,
    health: Health,
    cache_bytes: u64,
    group_commit: Duration,
    last_commit: Option<Instant>,
    last_tick: Instant,
    last_manifest: Instant,
    manifest_revision: u64,
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        folder: Folder,
        meta: Meta,
        receiver: Receiver<Request>,
        options: &OpenOptions,
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
            match self.apply(&pending.work, failure.is_some()) {
                Ok((outcome, set)) => applied.push(Applied { pending, outcome, set }),
                Err(Refusal::Answer(error)) => answer(pending, Err(error)),
                Err(Refusal::Unread(error)) => {
                    answer(pending, Err(self.shared.error(&error)));
                    // A damaged record concerns those who need it; any other failure to read breaks the group.
                    failure = (!matches!(error, EngineError::Damaged(_))).then_some(error);
                }
                Err(Refusal::Broken(error)) => {
                    // Perhaps half applied: whether it happened is known after the database is reopened.
                    let outcome = Committed { revision: self.meta.revision + 1, succeeded: true };
                    applied.push(Applied { pending, outcome, set: None });
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

    /// Decides and applies one piece of work; nothing once the group is broken.
    fn apply(&mut self, work: &Work, broken: bool) -> Result<(Committed, Option<ChangeSet>), Refusal> {
        if broken {
            return Err(Refusal::Answer(self.shared.full()));
        }
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
        if let Some(engine) = view.engine.as_ref() {
            engine.apply(&decision.effects, &meta).map_err(Refusal::Broken)?;
        }
        drop(view);
        self.meta = meta;
        let changes = decision.effects.into_iter().map(|effect| Change { key: effect.key, value: effect.after });
        let set = ChangeSet { revision, changes: changes.collect() };
        let outcome = Committed { revision, succeeded: decision.succeeded };
        Ok((outcome, (!set.changes.is_empty()).then_some(set)))
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

    /// The group broke. On a full disk the database is reopened on the ballast's space, and its meta record says which
    /// transactions happened. Otherwise nobody knows, and readers keep seeing what was durable before.
    fn recover(&mut self, applied: Vec<Applied>, durable: u64, error: &EngineError) {
        self.shared.stats.failed(error);
        self.shared.stats.writable.store(false, Ordering::Relaxed);
        let full = *error == EngineError::Full;
        self.health = if full { Health::Full } else { Health::Failed(error.to_string()) };
        let known = full && self.reopen();
        for Applied { pending, outcome, set } in applied {
            let happened = outcome.revision <= if known { self.meta.revision } else { durable };
            let result = match (happened, known) {
                (true, _) => Ok(outcome),
                (false, true) => Err(self.shared.full()),
                (false, false) => Err(StoreError::OutcomeUnknown),
            };
            if let (true, true, Some(set)) = (happened, known, set) {
                self.shared.hub.publish(set);
            }
            answer(pending, result);
        }
        if !known {
            self.meta.revision = durable;
        }
    }

    /// Closes and opens the database, if there is space to open it. Readers wait meanwhile.
    fn reopen(&mut self) -> bool {
        self.ballast.release();
        self.shared.stats.ballast.store(false, Ordering::Relaxed);
        if folder::free_bytes(self.folder.path()) < REOPEN_BYTES {
            return false;
        }
        let mut view = self.shared.write();
        if let Some(old) = view.engine.take() {
            old.close();
        }
        let place = self.folder.database(self.meta.generation);
        let opened = Engine::open(&place, self.cache_bytes).and_then(|engine| engine.meta().map(|meta| (engine, meta)));
        match opened {
            Ok((engine, meta)) if meta.revision >= view.revision && meta.id == self.meta.id => {
                view.engine = Some(engine);
                view.shadow.clear();
                view.revision = meta.revision;
                self.meta = meta;
                self.health = Health::Good;
                true
            }
            Err(EngineError::Full) => false,
            Ok(_) => {
                self.health = Health::Failed("the database lost acknowledged records when it was reopened".into());
                false
            }
            Err(error) => {
                self.health = Health::Failed(error.to_string());
                false
            }
        }
    }

    fn may_write(&mut self) -> Result<(), StoreError> {
        if let Health::Failed(reason) = &self.health {
            let path = self.folder.path().display();
            let reason = format!(
                "{path}: {reason}; reads go on, restart the daemon, and look at the disk if this comes again \
                 (`davylamp state verify {path}`)"
            );
            return Err(StoreError::Unavailable { reason });
        }
        let free = folder::free_bytes(self.folder.path());
        let enough = free >= self.shared.reserve_bytes;
        let ready = match self.health {
            Health::Good => enough,
            Health::Full => enough && self.reopen(),
            Health::Failed(_) => false,
        };
        self.shared.stats.writable.store(ready, Ordering::Relaxed);
        if ready { Ok(()) } else { Err(self.shared.full()) }
    }

    fn tick(&mut self) {
        if self.shared.suspect.swap(false, Ordering::Relaxed) && matches!(self.health, Health::Good) {
            self.recover(Vec::new(), self.meta.revision, &EngineError::Full);
        }
        let broken = matches!(self.health, Health::Full);
        if broken && folder::free_bytes(self.folder.path()) >= self.shared.reserve_bytes {
            self.reopen();
        }
        self.look_around();
        if self.last_manifest.elapsed() >= MANIFEST_EVERY {
            self.write_manifest();
        }
    }

    fn look_around(&mut self) {
        let stats = &self.shared.stats;
        let free = folder::free_bytes(self.folder.path());
        stats.free_bytes.store(free, Ordering::Relaxed);
        if let Some(engine) = self.shared.read().engine.as_ref() {
            stats.bytes_on_disk.store(engine.size(), Ordering::Relaxed);
        }
        stats.keys.store(self.meta.keys, Ordering::Relaxed);
        stats.revision.store(self.meta.revision, Ordering::Relaxed);
        // Taken again only when there is room for it and for writing on.
        let spare = self.shared.reserve_bytes.saturating_add(2 * REOPEN_BYTES);
        let stands = matches!(self.health, Health::Good) && self.ballast.restore(spare);
        stats.ballast.store(stands, Ordering::Relaxed);
        let writable = matches!(self.health, Health::Good) && free >= self.shared.reserve_bytes;
        stats.writable.store(writable, Ordering::Relaxed);
    }

    fn write_manifest(&mut self) {
        self.last_manifest = Instant::now();
        let revision = self.shared.read().revision;
        if revision == self.manifest_revision {
            return;
        }
        let (id, generation, keys) = (self.meta.id, self.meta.generation, self.meta.keys);
        match (Manifest { id, generation, revision, keys }).write(&self.folder.manifest()) {
            Ok(()) => self.manifest_revision = revision,
            // The old one stands: the mark is lower than it could be, and nothing else.
            Err(error) => self.shared.stats.failed(&error),
        }
    }

    fn finish(mut self) {
        while let Ok(request) = self.receiver.try_recv() {
            if let Request::Work(pending) = request {
                answer(pending, Err(StoreError::Unavailable { reason: "the store is closed".into() }));
            }
        }
        self.write_manifest();
        self.shared.hub.close();
        let engine = self.shared.write().engine.take();
        if let Some(engine) = engine {
            engine.close();
        }
        self.shared.stats.writable.store(false, Ordering::Relaxed);
    }
}

/// Why a piece of work was not applied.
enum Refusal {
    /// Nothing happened.
    Answer(StoreError),
    /// Nothing happened, since the database could not be read.
    Unread(EngineError),
    /// The database failed in the midst of it.
    Broken(EngineError),
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

fn answer(pending: Pending, result: Result<Committed, StoreError>) {
    // A caller that went away wants no answer.
    let _ = pending.reply.send(result);
}
