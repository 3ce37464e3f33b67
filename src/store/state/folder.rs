//! The state folder: its layout, its lock, and file operations that survive a power cut.
//!
//! ```text
//! state.witness   beside the folder: says that it was here
//! state/
//!   lock          held (flock) by the process that uses the folder; holds its pid
//!   MANIFEST      which database is the current one
//!   db.3/         the current database; its number is its generation
//!   aside.2/      the database before a repair or an import, at most three
//!   as-found.3/   a copy of it, only while it is opened
//!   exports/      logical exports
//!   ballast       space that is given back when the disk is full
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::OpenError;

/// How many old databases are kept; the oldest goes first.
const KEPT_ASIDE: usize = 3;

/// Larger databases are not copied when they are opened: it would take longer than a second.
const LARGEST_COPY: u64 = 512 << 20;

/// A state folder that this process alone uses.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The lock lives as long as this descriptor.
    _lock: File,
}

/// A child that an earlier owner forked holds its lock too, until it executes its program: a moment's patience.
const LOCK_TRIES: u32 = 20;
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_millis(10);

impl Folder {
    /// Takes the folder for this process, and makes it if `create`.
    pub fn claim(path: &Path, create: bool) -> Result<Folder, OpenError> {
        if create {
            std::fs::create_dir_all(path).map_err(OpenError::io("cannot create", path))?;
        } else if !path.is_dir() {
            return Err(OpenError::Absent { path: path.to_path_buf() });
        }
        let file = path.join("lock");
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(OpenError::io("cannot open", &file))?;
        let mut taken = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
        for _ in 0..LOCK_TRIES {
            if taken != Err(rustix::io::Errno::WOULDBLOCK) {
                break;
            }
            std::thread::park_timeout(LOCK_WAIT);
            taken = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
        }
        match taken {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = (&lock).take(20).read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "unknown".into() } else { pid.trim().to_string() };
                return Err(OpenError::Held { path: path.to_path_buf(), pid });
            }
            Err(error) => return Err(OpenError::io("cannot lock", &file)(error.into())),
        }
        // The pid is for the message of a second process only; on a full disk the lock holds without it.
        let _ = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Folder { path: path.to_path_buf(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn manifest(&self) -> PathBuf {
        self.path.join("MANIFEST")
    }

    pub fn database(&self, generation: u64) -> PathBuf {
        self.path.join(format!("db.{generation}"))
    }

    /// Where the database of `generation` is built before it is complete.
    pub fn building(&self, generation: u64) -> PathBuf {
        self.path.join(format!("building.{generation}"))
    }

    /// Where the database stands as it was found, while it is opened.
    pub fn as_found(&self, generation: u64) -> PathBuf {
        self.path.join(format!("as-found.{generation}"))
    }

    /// Copies the database as it was found. Opening a damaged one destroys what could be salvaged: sled overwrites all
    /// that follows the first damaged record. A copy that is there already is of a start that did not get to its end,
    /// and truer than what is there now. Without room there is no copy.
    pub fn keep_as_found(&self, generation: u64) -> Result<(), OpenError> {
        let (from, to) = (self.database(generation), self.as_found(generation));
        let size = size_of(&from);
        let room = size <= LARGEST_COPY && free_bytes(&self.path) / 2 > size;
        if to.exists() || !room {
            return Ok(());
        }
        let fresh = self.path.join("as-found.new");
        if let Err(error) = copy_tree(&from, &fresh) {
            remove_dir(&fresh)?;
            return Err(error);
        }
        std::fs::rename(&fresh, &to).map_err(OpenError::io("cannot rename", &fresh))
    }

    pub fn exports(&self) -> PathBuf {
        self.path.join("exports")
    }

    /// The file beside the folder that says that it was here.
    pub fn witness(&self) -> PathBuf {
        let mut name = self.path.file_name().map_or_else(|| OsString::from("state"), OsString::from);
        name.push(".witness");
        self.path.with_file_name(name)
    }

    /// The numbers of the folders `prefix`N, ascending.
    pub fn numbered(&self, prefix: &str) -> Vec<u64> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut found: Vec<u64> =
            entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()).collect();
        found.sort_unstable();
        found
    }

    /// Sets the database of `generation` aside and keeps it; `None` if there is none.
    pub fn set_aside(&self, generation: u64) -> Result<Option<PathBuf>, OpenError> {
        let database = self.database(generation);
        if !database.exists() {
            return Ok(None);
        }
        let aside = self.path.join(format!("aside.{generation}"));
        remove_dir(&aside)?;
        std::fs::rename(&database, &aside).map_err(OpenError::io("cannot rename", &database))?;
        let found = self.as_found(generation);
        if found.exists() {
            let to = aside.join("as-found");
            std::fs::rename(&found, &to).map_err(OpenError::io("cannot rename", &found))?;
        }
        let kept = self.numbered("aside.");
        for old in &kept[..kept.len().saturating_sub(KEPT_ASIDE)] {
            remove_dir(&self.path.join(format!("aside.{old}")))?;
        }
        sync_dir(&self.path)?;
        Ok(Some(aside))
    }

    /// Makes a finished database of [`Folder::building`] the one of its generation.
    pub fn finish(&self, generation: u64) -> Result<(), OpenError> {
        let (from, to) = (self.building(generation), self.database(generation));
        remove_dir(&to)?;
        std::fs::rename(&from, &to).map_err(OpenError::io("cannot rename", &from))?;
        sync_dir(&self.path)
    }
}

/// Removes a folder with all that is in it; one that is not there is no error.
pub(in crate::store) fn remove_dir(path: &Path) -> Result<(), OpenError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(OpenError::io("cannot remove", path)(error)),
        _ => Ok(()),
    }
}

/// Copies a database folder, two levels deep. Not durable.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<(), OpenError> {
    remove_dir(to)?;
    for part in ["", "blobs"] {
        let (from, to) = (from.join(part), to.join(part));
        std::fs::create_dir_all(&to).map_err(OpenError::io("cannot create", &to))?;
        for entry in std::fs::read_dir(&from).into_iter().flatten().flatten() {
            if entry.path().is_file() {
                let copied = std::fs::copy(entry.path(), to.join(entry.file_name()));
                copied.map_err(OpenError::io("cannot copy", &entry.path()))?;
            }
        }
    }
    Ok(())
}

/// Makes names in a folder durable: a rename or a new file is lost in a power cut without it.
pub(in crate::store) fn sync_dir(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(OpenError::io("cannot sync", path))
}

/// Makes all files of a folder durable, and their names, two levels deep (sled has no more).
pub(super) fn sync_tree(path: &Path) -> Result<(), OpenError> {
    for folder in [path.to_path_buf(), path.join("blobs")] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let file = entry.path();
            if file.is_file() {
                File::open(&file).and_then(|opened| opened.sync_all()).map_err(OpenError::io("cannot sync", &file))?;
            }
        }
        if folder.is_dir() {
            sync_dir(&folder)?;
        }
    }
    Ok(())
}

/// Replaces a small file so that after a power cut it is the old or the new one, never a torn one.
pub(in crate::store) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(OpenError::io("cannot write", path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Bytes on the disk below `path` that this process may still use.
pub(in crate::store) fn free_bytes(path: &Path) -> u64 {
    // If it cannot be told, nothing is refused for it: the write itself will say.
    rustix::fs::statvfs(path).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes that the files of a folder hold, two levels deep.
pub(in crate::store) fn size_of(path: &Path) -> u64 {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size =
        |entry: std::fs::DirEntry| entry.metadata().map_or(0, |data| if data.is_file() { data.len() } else { 0 });
    entries(path).map(size).sum::<u64>() + entries(&path.join("blobs")).map(size).sum::<u64>()
}
