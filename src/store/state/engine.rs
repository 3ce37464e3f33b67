//! sled, and nothing else: the only file that names it. Panics become errors here, and `sync` means durable.

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
use super::record;
use super::record::{Meta, Record};
use super::txn::Effect;

const META_KEY: &[u8] = b"m";
const DATA: u8 = b'd';
/// sled lets go of a database that was just closed on its own threads; until then its lock is ours and not a stranger's.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// An open that takes longer hangs on a damaged file.
const OPEN_PATIENCE: Duration = Duration::from_secs(300);

/// What can go wrong below the door.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EngineError {
    #[error("the disk is full")]
    Full,
    #[error("{0}")]
    Io(String),
    #[error("{0}")]
    Damaged(String),
}

/// An open database.
pub(super) struct Engine {
    db: sled::Db,
    /// Our own descriptor of sled's file: its `flush` is sync_file_range, which survives no power cut.
    file: File,
    folder: PathBuf,
    /// Large pages stand in files of their own, which sled never syncs.
    synced_blobs: Mutex<HashSet<OsString>>,
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
fn guarded<T>(work: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, EngineError> {
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

fn data_key(key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(DATA);
    out.extend_from_slice(key.as_bytes());
    out
}

impl Engine {
    /// Opens or makes the database in `folder`, on a thread of its own: a damaged file panics in there, or hangs.
    pub fn open(folder: &Path, cache_bytes: u64) -> Result<Engine, EngineError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let place = folder.to_path_buf();
        let thread = std::thread::Builder::new().name("state-open".into()).spawn(move || {
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
        let engine = Engine { db, file, folder: folder.to_path_buf(), synced_blobs: Mutex::default() };
        // What a killed process left in the page cache is about to be relied on.
        folder::sync_tree(folder).map_err(|error| EngineError::Io(error.to_string()))?;
        Ok(engine)
    }

    /// The record of `key`.
    pub fn get(&self, key: &str) -> Result<Option<Record>, EngineError> {
        let Some(bytes) = guarded(|| self.db.get(data_key(key)))? else { return Ok(None) };
        let record = record::decode(&bytes).filter(|record| record.key == key);
        record.map(Some).ok_or_else(|| EngineError::Damaged(format!("the record of {key:?} fails its checksum")))
    }

    /// The meta record; an error if there is none.
    pub fn meta(&self) -> Result<Meta, EngineError> {
        let bytes = guarded(|| self.db.get(META_KEY))?;
        let bytes = bytes.ok_or_else(|| EngineError::Damaged("the database is empty".into()))?;
        Meta::decode(&bytes).ok_or_else(|| EngineError::Damaged("the meta record fails its checksum".into()))
    }

    /// Makes changes and the meta record, all or nothing. Not durable before [`Engine::sync`].
    pub fn apply(&self, effects: &[Effect], meta: &Meta) -> Result<(), EngineError> {
        let mut batch = sled::Batch::default();
        for effect in effects {
            match &effect.after {
                Some(value) => batch.insert(data_key(&effect.key), record::encode(&effect.key, value)),
                None => batch.remove(data_key(&effect.key)),
            }
        }
        batch.insert(META_KEY, meta.encode());
        guarded(|| self.db.apply_batch(batch))
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

    /// The records whose keys begin with `prefix`, in order of keys, those after `after` only; or in reverse.
    pub fn scan(&self, prefix: &str, after: Option<&str>, reverse: bool) -> Scan {
        let start = data_key(after.unwrap_or(prefix));
        let iter = match prefix.is_empty() && after.is_none() {
            true => self.db.range(start..vec![DATA + 1]),
            false => self.db.range(start..),
        };
        Scan { iter, prefix: data_key(prefix), skip: after.map(data_key), last: None, reverse }
    }

    /// Reads everything: each record sound, none missing, none stale.
    pub fn check(&self) -> Result<(Meta, u64), EngineError> {
        let meta = self.meta()?;
        let (mut keys, mut digest, mut bytes) = (0_u64, 0_u64, 0_u64);
        for record in self.scan("", None, false) {
            let record = record?;
            let encoded = record::encode(&record.key, &record.value);
            keys += 1;
            digest = digest.wrapping_add(record::checksum(&encoded));
            bytes += encoded.len() as u64;
        }
        if keys != meta.keys {
            return Err(EngineError::Damaged(format!("{keys} records are there, {} should be", meta.keys)));
        }
        if digest != meta.digest {
            return Err(EngineError::Damaged("a record is older than it should be".into()));
        }
        Ok((meta, bytes))
    }

    /// Bytes on the disk.
    pub fn size(&self) -> u64 {
        folder::size_of(&self.folder)
    }

    /// Closes the database. sled may panic while it writes its last bytes to a disk that fails.
    pub fn close(self) {
        let Engine { db, .. } = self;
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

/// Records in order. Ends at the first error, and at a key out of order: a damaged tree can lead in circles.
pub(super) struct Scan {
    iter: sled::Iter,
    prefix: Vec<u8>,
    skip: Option<Vec<u8>>,
    last: Option<Vec<u8>>,
    reverse: bool,
}

impl Iterator for Scan {
    type Item = Result<Record, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let iter = &mut self.iter;
            let reverse = self.reverse;
            let step = guarded(|| if reverse { iter.next_back() } else { iter.next() }.transpose());
            let (key, value) = match step {
                Ok(Some(pair)) => pair,
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            };
            if !key.starts_with(&self.prefix) {
                return None;
            }
            if self.skip.as_deref() == Some(&key) {
                continue;
            }
            let ordered = self.last.as_deref().is_none_or(|last| if reverse { *key < *last } else { *key > *last });
            self.last = Some(key.to_vec());
            if !ordered {
                return Some(Err(EngineError::Damaged("the keys are out of order".into())));
            }
            let record = record::decode(&value).filter(|record| record.key.as_bytes() == &key[1..]);
            let shown = || String::from_utf8_lossy(&key[1..]).into_owned();
            return Some(
                record.ok_or_else(|| EngineError::Damaged(format!("the record of {:?} fails its checksum", shown()))),
            );
        }
    }
}
