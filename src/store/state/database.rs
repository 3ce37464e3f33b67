//! One sled database in a folder: panics become errors here, and `sync` means durable. Knows nothing of what is kept.

use std::any::Any;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::is_full;
use super::folder;

/// sled lets go of a database that was just closed on its own threads; until then its lock is ours and not a stranger's.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// An open that takes longer hangs on a damaged file.
const OPEN_PATIENCE: Duration = Duration::from_secs(300);

/// What can go wrong below the door.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::store) enum EngineError {
    #[error("the disk is full")]
    Full,
    #[error("{0}")]
    Io(String),
    #[error("{0}")]
    Damaged(String),
}

/// An open database.
pub(in crate::store) struct Database {
    pub(super) db: sled::Db,
    /// Our own descriptor of sled's file: its `flush` is sync_file_range, which survives no power cut.
    file: File,
    folder: PathBuf,
    /// Large pages stand in files of their own, which sled never syncs.
    synced_blobs: Mutex<HashSet<OsString>>,
}

/// Changes that are made all or none.
#[derive(Default)]
pub(in crate::store) struct Changes(sled::Batch);

impl Changes {
    /// Puts a value under a key.
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key, value);
    }
}

/// A key and its value.
pub(in crate::store) type Pair = (Vec<u8>, Vec<u8>);

fn pair(found: (sled::IVec, sled::IVec)) -> Pair {
    (found.0.to_vec(), found.1.to_vec())
}

fn translate(error: &sled::Error) -> EngineError {
    use std::io::ErrorKind;
    match error {
        sled::Error::Io(io) if is_full(io) => EngineError::Full,
        sled::Error::Io(io) => match io.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::NotFound => {
                EngineError::Damaged(format!("sled: {io}"))
            }
            _ => EngineError::Io(format!("sled: {io}")),
        },
        other => EngineError::Damaged(format!("sled: {other}")),
    }
}

/// Runs a piece of sled; a panic in it is a damaged file.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, EngineError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translate(&error)),
        Err(panic) => Err(EngineError::Damaged(format!("sled panicked: {}", panic_text(panic.as_ref())))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").chars().take(200).collect()
}

impl Database {
    /// Opens or makes the database in `folder`, on a thread of its own: a damaged file panics in there, or hangs.
    pub fn open(folder: &Path, cache_bytes: u64) -> Result<Database, EngineError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let place = folder.to_path_buf();
        let thread = std::thread::Builder::new().name("sled-open".into()).spawn(move || {
            let result = guarded(|| open_patiently(&place, cache_bytes));
            // Nobody waits any more only after OPEN_PATIENCE; then the result is dropped.
            let _ = sender.send(result);
        });
        thread.map_err(|error| EngineError::Io(format!("cannot start a thread: {error}")))?;
        let db = receiver
            .recv_timeout(OPEN_PATIENCE)
            .unwrap_or_else(|_| Err(EngineError::Damaged("sled did not open the file in 5 minutes".into())))?;
        let file = File::options().read(true).write(true).open(folder.join("db"));
        let file = file.map_err(|error| EngineError::Io(format!("cannot open {}/db: {error}", folder.display())))?;
        let database = Database { db, file, folder: folder.to_path_buf(), synced_blobs: Mutex::default() };
        // What a killed process left in the page cache is about to be relied on.
        folder::sync_tree(folder).map_err(|error| EngineError::Io(error.to_string()))?;
        Ok(database)
    }

    /// Makes changes, all or none. Not durable before [`Database::sync`].
    pub fn apply(&self, changes: Changes) -> Result<(), EngineError> {
        guarded(|| self.db.apply_batch(changes.0))
    }

    /// The first pair whose key is `from` or comes after it.
    pub fn first(&self, from: &[u8]) -> Result<Option<Pair>, EngineError> {
        guarded(|| self.db.range(from..).next().transpose()).map(|found| found.map(pair))
    }

    /// The last pair whose key is `to` or comes before it.
    pub fn last(&self, to: &[u8]) -> Result<Option<Pair>, EngineError> {
        guarded(|| self.db.range(..=to).next_back().transpose()).map(|found| found.map(pair))
    }

    /// Bytes on the disk.
    pub fn size(&self) -> u64 {
        folder::size_of(&self.folder)
    }

    /// Makes everything that was applied survive a power cut.
    pub fn sync(&self) -> Result<(), EngineError> {
        guarded(|| self.db.flush())?;
        // Not `Full`, whatever the cause: after a failed fdatasync the page cache is no longer the disk, so that
        // reopening would prove nothing.
        let synced = self.sync_blobs().and_then(|()| self.file.sync_data());
        synced.map_err(|error| EngineError::Io(format!("fdatasync of {}/db: {error}", self.folder.display())))
    }

    fn sync_blobs(&self) -> std::io::Result<()> {
        let folder = self.folder.join("blobs");
        let present: HashSet<OsString> =
            std::fs::read_dir(&folder)?.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect();
        let mut synced = self.synced_blobs.lock().unwrap_or_else(PoisonError::into_inner);
        if present != *synced {
            for name in present.difference(&synced) {
                match File::open(folder.join(name)) {
                    Ok(file) => file.sync_data()?,
                    // sled removes blobs that nothing names any more, at any time.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            File::open(&folder)?.sync_all()?;
            *synced = present;
        }
        Ok(())
    }

    /// Closes the database. sled may panic while it writes its last bytes to a disk that fails.
    pub fn close(self) {
        let Database { db, .. } = self;
        // What was acknowledged is on the disk already, so that a failure here loses nothing.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(db)));
    }
}

fn open_patiently(folder: &Path, cache_bytes: u64) -> Result<sled::Db, sled::Error> {
    let config = || {
        let config = sled::Config::new().path(folder).cache_capacity(cache_bytes);
        // Its background flusher ends for good at the first error, with a log line only: we flush ourselves.
        config.flush_every_ms(None).open()
    };
    let begun = Instant::now();
    loop {
        match config() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("acquire lock") && begun.elapsed() < LOCK_PATIENCE =>
            {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}
