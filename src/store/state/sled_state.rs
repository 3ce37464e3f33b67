//! The state on the disk: reads go straight to the database, writes go through one thread.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

use super::dump::{self, DumpError, DumpSummary};
use super::engine::{Engine, EngineError};
use super::folder;
use super::hub::{Hub, Watch};
use super::ladder;
use super::lease::{Lease, LeaseTable};
use super::memory::cut_page;
use super::report::{OpenOptions, OpenReport};
use super::stats::Stats;
use super::txn::check_key;
use super::writer::{Pending, Request, Work, Writer};
use super::{Committed, OpenError, Page, StateStore, StoreError, Txn, Versioned};

/// Transactions that may wait for the writer. More are refused: a disk that is too slow must be seen, not hidden.
const QUEUE: usize = 1024;
/// KiB of transactions that may wait for the writer.
const QUEUE_KIB: usize = 16 * 1024;

/// The state in one folder. Cheap to share in an `Arc`; dropping it closes it.
pub struct SledState {
    shared: Arc<Shared>,
    sender: SyncSender<Request>,
    budget: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
    exports_kept: usize,
}

/// What readers and the writer share.
pub(super) struct Shared {
    pub path: PathBuf,
    pub id: [u8; 16],
    /// Bytes that must be free before a write is tried.
    pub needed: AtomicU64,
    pub view: RwLock<View>,
    pub hub: Hub,
    pub leases: LeaseTable,
    pub stats: Arc<Stats>,
    /// A reader met the full disk: sled broke between two writes and must be reopened.
    pub suspect: AtomicBool,
}

/// What readers see: the database, less what is written but not yet durable.
pub(super) struct View {
    /// `None` while it is reopened, and after the store is closed.
    pub engine: Option<Engine>,
    /// The durable values of the keys that the group now being committed changes. Without it a reader could act on
    /// a claim that a power cut takes back.
    pub shadow: BTreeMap<String, Option<Versioned>>,
    /// Last durable revision.
    pub revision: u64,
}

impl Shared {
    pub fn read(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of the door for one of the database.
    pub fn error(&self, error: &EngineError) -> StoreError {
        match error {
            EngineError::Full => self.full(),
            EngineError::Io(reason) => StoreError::Unavailable { reason: reason.clone() },
            EngineError::Damaged(reason) => StoreError::Corrupt { path: self.path.clone(), reason: reason.clone() },
        }
    }

    pub fn full(&self) -> StoreError {
        let free = folder::free_bytes(&self.path);
        StoreError::Full { path: self.path.clone(), free, needed: self.needed.load(Ordering::Relaxed) }
    }

    fn counted(&self, error: &EngineError) -> StoreError {
        self.stats.failed(error);
        if *error == EngineError::Full {
            self.suspect.store(true, Ordering::Relaxed);
        }
        self.error(error)
    }

    fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        check_key(key)?;
        let view = self.read();
        if let Some(durable) = view.shadow.get(key) {
            return Ok(durable.clone());
        }
        let found = view.engine()?.get(key).map_err(|error| self.counted(&error))?;
        Ok(found.map(|record| record.value))
    }

    fn page(&self, prefix: &str, limit: usize, cursor: Option<&str>) -> Result<Page, StoreError> {
        let view = self.read();
        let mut disk = view.engine()?.scan(prefix, cursor, false).peekable();
        let from = cursor.map_or(Bound::Included(prefix), Bound::Excluded);
        let shadow = view.shadow.range::<str, _>((from, Bound::Unbounded));
        let mut shadow = shadow.take_while(|(key, _)| key.starts_with(prefix)).peekable();
        // Two ordered streams; where both have a key, the shadow is right.
        let merged = std::iter::from_fn(|| {
            loop {
                let shadowed = match (disk.peek(), shadow.peek()) {
                    (_, None) | (Some(Err(_)), _) => false,
                    (None, Some(_)) => true,
                    (Some(Ok(record)), Some((key, _))) => **key <= record.key,
                };
                if !shadowed {
                    let record = disk.next()?;
                    let pair = record.map(|record| (record.key, record.value));
                    return Some(pair.map_err(|error| self.counted(&error)));
                }
                let (key, durable) = shadow.next()?;
                disk.next_if(|record| matches!(record, Ok(record) if record.key == *key));
                if let Some(value) = durable {
                    return Some(Ok((key.clone(), value.clone())));
                }
            }
        });
        cut_page(merged, limit, view.revision)
    }

    /// Writes every record as of one revision, while transactions go on: pages first, then what changed meanwhile.
    fn dump(&self, out: impl std::io::Write) -> Result<DumpSummary, DumpError> {
        let begun = self.read().revision;
        let mut writer = dump::Writer::begin(out, &self.id)?;
        let mut cursor = None;
        loop {
            let page = self.page("", 0, cursor.as_deref())?;
            for (key, value) in &page.entries {
                writer.put(key, value)?;
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let reason = "more was written during the export than the change log keeps: try again".to_string();
        let changed = self.hub.since(begun).ok_or(StoreError::Unavailable { reason })?;
        for set in &changed {
            for change in &set.changes {
                match &change.value {
                    Some(value) => writer.put(&change.key, value)?,
                    None => writer.delete(&change.key, set.revision)?,
                }
            }
        }
        writer.finish(changed.last().map_or(begun, |set| set.revision))
    }
}

impl View {
    fn engine(&self) -> Result<&Engine, StoreError> {
        let reason = || "the store is closed, or is being reopened after its disk was full".to_string();
        self.engine.as_ref().ok_or_else(|| StoreError::Unavailable { reason: reason() })
    }
}

impl SledState {
    /// Opens the folder by the ladder: open, without its snapshot, salvage, last export, empty (only if allowed).
    /// Blocks; call it before the runtime serves anything. The report says which rung it took: log it, and alert on
    /// anything [`OpenReport::is_alarming`].
    ///
    /// # Errors
    /// [`OpenError`] whose text names the file and the command to run.
    pub fn open(options: OpenOptions) -> Result<(SledState, OpenReport), OpenError> {
        let opened = ladder::climb(&options)?;
        let stats = Arc::new(Stats::default());
        stats.writable.store(true, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            path: options.path.clone(),
            id: opened.meta.id,
            needed: AtomicU64::new(options.reserve_bytes),
            hub: Hub::new(opened.meta.revision),
            leases: LeaseTable::default(),
            suspect: AtomicBool::new(false),
            stats,
            view: RwLock::new(View {
                engine: Some(opened.engine),
                shadow: BTreeMap::new(),
                revision: opened.meta.revision,
            }),
        });
        let (sender, receiver) = sync_channel(QUEUE);
        let writer = Writer::new(shared.clone(), opened.folder, opened.meta, receiver, &options, opened.ballast_owed);
        let thread = std::thread::Builder::new().name("state-writer".into()).spawn(move || writer.run());
        let thread = thread.map_err(OpenError::io("cannot start the writer thread of", &options.path))?;
        let state = SledState {
            shared,
            sender,
            budget: Arc::new(Semaphore::new(QUEUE_KIB)),
            thread: Mutex::new(Some(thread)),
            exports_kept: options.exports_kept.max(1),
        };
        Ok((state, opened.report))
    }

    /// Figures; the same for the life of the store.
    pub fn stats(&self) -> Arc<Stats> {
        self.shared.stats.clone()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Commits what waits, writes the MANIFEST and lets go of the folder. Blocks for a moment; a second call does
    /// nothing. Reads and writes after it say that the store is closed.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Fails only if the thread is gone already.
            let _ = self.sender.send(Request::Close);
            if thread.join().is_err() {
                self.shared.stats.failed(&"the writer thread panicked");
            }
        }
    }

    /// Writes an export into `exports/` of the folder and keeps the newest few. Blocks for the time of a full read;
    /// transactions go on meanwhile. Call it every hour and before [`SledState::close`].
    ///
    /// # Errors
    /// [`OpenError`]; earlier exports stay.
    pub fn export_now(&self) -> Result<(PathBuf, DumpSummary), OpenError> {
        let done =
            dump::write_export(&self.shared.path.join("exports"), self.exports_kept, |out| self.shared.dump(out));
        match &done {
            Ok(_) => self.shared.stats.exports_total.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                self.shared.stats.failed(error);
                0
            }
        };
        done
    }

    /// Hands work to the writer.
    async fn submit(&self, work: Work) -> Result<Committed, StoreError> {
        let kib = match &work {
            Work::Txn(txn) => txn.check().map(|()| txn.bytes() / 1024 + 1)?,
            Work::Epoch => 1,
        };
        let refused = || {
            self.shared.stats.refused_total.fetch_add(1, Ordering::Relaxed);
            StoreError::Unavailable { reason: "the disk is too slow for the writes that wait: try again later".into() }
        };
        let kib = u32::try_from(kib).map_err(|_| refused())?;
        let permit = self.budget.clone().try_acquire_many_owned(kib).map_err(|_| refused())?;
        let (reply, answer) = oneshot::channel();
        match self.sender.try_send(Request::Work(Pending { work, reply, _permit: permit })) {
            Ok(()) => answer.await.unwrap_or(Err(StoreError::OutcomeUnknown)),
            Err(TrySendError::Full(_)) => Err(refused()),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Unavailable { reason: "the store is closed".into() }),
        }
    }
}

impl Drop for SledState {
    fn drop(&mut self) {
        self.close();
    }
}

impl StateStore for SledState {
    // Reads are done in place: from the cache they take microseconds, and the state fits the cache.
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Versioned>, StoreError>> {
        Box::pin(std::future::ready(self.shared.get(key)))
    }

    fn list(&self, prefix: &str, limit: usize, cursor: Option<String>) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(std::future::ready(self.shared.page(prefix, limit, cursor.as_deref())))
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(self.submit(Work::Txn(txn)))
    }

    fn watch(&self, prefix: &str, from_rev: u64) -> BoxFuture<'_, Result<Watch, StoreError>> {
        Box::pin(std::future::ready(self.shared.hub.watch(prefix, from_rev)))
    }

    fn lease(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(async move {
            let epoch = self.submit(Work::Epoch).await?.revision;
            self.shared.leases.grant(epoch, ttl)
        })
    }

    fn export(&self, out: Box<dyn std::io::Write + Send>) -> BoxFuture<'_, Result<DumpSummary, StoreError>> {
        let shared = self.shared.clone();
        Box::pin(dump::on_thread(move || shared.dump(out)))
    }

    fn import(&self, from: Box<dyn std::io::Read + Send>) -> BoxFuture<'_, Result<DumpSummary, StoreError>> {
        Box::pin(dump::import_into(self, from))
    }
}
