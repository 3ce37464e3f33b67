//! What the writer does besides writing: it recovers from a full disk, watches the space, and keeps the MANIFEST.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::StoreError;
use super::engine::{Engine, EngineError};
use super::folder;
use super::manifest::Manifest;
use super::writer::{Applied, Health, Request, Writer, answer};

/// How often the high-water mark in the MANIFEST follows. A database rolled back by less is not noticed.
const MANIFEST_EVERY: Duration = Duration::from_secs(10);
/// Space without which sled cannot be reopened: a snapshot and two segments.
pub(super) const REOPEN_BYTES: u64 = 2 * 1024 * 1024;

/// Space beyond the ballast before it is taken again.
const SPARE: u64 = 2 * REOPEN_BYTES;

impl Writer {
    /// The group broke. On a full disk the database is reopened on the ballast's space, and its meta record says which
    /// transactions happened. Otherwise nobody knows, and readers keep seeing what was durable before.
    pub fn recover(&mut self, applied: Vec<Applied>, durable: u64, error: &EngineError) {
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

    /// Reopens the database some time after it broke. What happened of the transactions that it broke in, nobody
    /// watching has heard.
    fn heal(&mut self) -> bool {
        let shown = self.shared.read().revision;
        let healed = self.reopen();
        if healed && self.meta.revision > shown {
            self.shared.hub.skip_to(self.meta.revision);
        }
        healed
    }

    /// Closes and opens the database, if there is space to open it. Readers wait meanwhile.
    fn reopen(&mut self) -> bool {
        self.ballast_owed |= self.ballast.release();
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
                drop(view);
                self.look_around();
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

    pub fn may_write(&mut self) -> Result<(), StoreError> {
        if let Health::Failed(reason) = &self.health {
            let path = self.folder.path().display();
            let reason = format!(
                "{path}: {reason}; reads go on, restart the daemon, and look at the disk if this comes again \
                 (`davylamp state verify {path}`)"
            );
            return Err(StoreError::Unavailable { reason });
        }
        let enough = self.has_room();
        let ready = match self.health {
            Health::Good => enough,
            Health::Full => enough && self.heal(),
            Health::Failed(_) => false,
        };
        self.shared.stats.writable.store(ready, Ordering::Relaxed);
        if ready { Ok(()) } else { Err(self.shared.full()) }
    }

    /// Whether there is room to write, and for the ballast if it is owed.
    fn has_room(&self) -> bool {
        let owed = if self.ballast_owed { self.ballast.missing().saturating_add(SPARE) } else { 0 };
        let needed = self.reserve_bytes.saturating_add(owed);
        self.shared.needed.store(needed, Ordering::Relaxed);
        folder::free_bytes(self.folder.path()) >= needed
    }

    pub fn tick(&mut self) {
        if self.shared.suspect.swap(false, Ordering::Relaxed) && matches!(self.health, Health::Good) {
            self.recover(Vec::new(), self.meta.revision, &EngineError::Full);
        }
        if matches!(self.health, Health::Full) && self.has_room() {
            self.heal();
        }
        self.look_around();
        if self.last_manifest.elapsed() >= MANIFEST_EVERY {
            self.write_manifest();
        }
    }

    pub fn look_around(&mut self) {
        let stats = &self.shared.stats;
        let free = folder::free_bytes(self.folder.path());
        stats.free_bytes.store(free, Ordering::Relaxed);
        if let Some(engine) = self.shared.read().engine.as_ref() {
            stats.bytes_on_disk.store(engine.size(), Ordering::Relaxed);
        }
        stats.keys.store(self.meta.keys, Ordering::Relaxed);
        stats.revision.store(self.meta.revision, Ordering::Relaxed);
        // Taken again only when there is room for it and for writing on.
        let good = matches!(self.health, Health::Good);
        let stands = good && self.ballast.restore(self.reserve_bytes.saturating_add(SPARE));
        self.ballast_owed &= !stands;
        if good && self.ballast_owed {
            self.ballast.cling(REOPEN_BYTES);
        }
        stats.ballast.store(stands, Ordering::Relaxed);
        let writable = good && self.has_room();
        if good && !writable {
            self.shared.stats.suffers(&self.shared.full());
        }
        self.shared.stats.writable.store(writable, Ordering::Relaxed);
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

    pub fn finish(mut self) {
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
