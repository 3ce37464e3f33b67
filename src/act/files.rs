//! Small files of a run folder: written whole or not at all, read with a cap, and the lock that says who is alive.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// Largest file that is read whole, in bytes.
pub const MAX_READ: u64 = 4 << 20;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct FileError {
    /// `read`, `write`, …
    pub operation: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Cause.
    pub source: std::io::Error,
}

impl FileError {
    /// Builds the error for a path; made for `map_err`.
    pub fn on(operation: &'static str, path: &Path) -> impl Fn(std::io::Error) -> FileError {
        let path = path.to_path_buf();
        move |source| FileError { operation, path: path.clone(), source }
    }
}

/// Creates a new file with mode 0600 and this content. An existing file is an error.
///
/// # Errors
/// [`FileError`].
pub fn create_private(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let failed = FileError::on("write", path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(&failed)?;
    file.write_all(content).map_err(&failed)
}

/// Creates a new file with mode 0600 that holds JSON. Not synced: what it says matters only while the machine runs.
///
/// # Errors
/// [`FileError`].
pub fn create_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let content = serde_json::to_vec(value).map_err(|error| FileError::on("write", path)(error.into()))?;
    create_private(path, &content)
}

/// Writes JSON so that a reader sees the whole file or none, also after a power cut: temporary file, fsync, rename,
/// fsync of the folder.
///
/// # Errors
/// [`FileError`].
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let failed = FileError::on("write", path);
    let content = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
    let temporary = path.with_extension("tmp");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(&failed)?;
    file.write_all(&content).and_then(|()| file.sync_all()).map_err(&failed)?;
    std::fs::rename(&temporary, path).map_err(&failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(&failed)
}

/// Reads JSON; `None` when the file does not exist.
///
/// # Errors
/// [`FileError`], also for content that is no such JSON.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let failed = FileError::on("read", path);
    let Some(bytes) = read_capped(path, MAX_READ)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into()))
}

/// Reads at most `cap` bytes of a file; `None` when it does not exist.
///
/// # Errors
/// [`FileError`].
pub fn read_capped(path: &Path, cap: u64) -> Result<Option<Vec<u8>>, FileError> {
    let failed = FileError::on("read", path);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(cap).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// The lock of a run folder. The supervisor holds it as long as it lives, and the kernel gives it back however it
/// dies; process ids and start times could not say that without a gap between fork and the first write.
#[derive(Debug)]
pub struct RunLock(#[allow(dead_code, reason = "holding the open file is what holds the lock")] File);

impl RunLock {
    /// Takes the lock of a run folder; `wait` says whether to wait for its holder. `None`: somebody else holds it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn take(folder: &Path, wait: bool) -> Result<Option<Self>, FileError> {
        let operation = if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
        let path = folder.join("lock");
        let failed = FileError::on("lock", &path);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(&failed)?;
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Some(RunLock(file))),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}
