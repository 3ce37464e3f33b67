//! What can go wrong with the state, in words that say what to do.

use std::path::PathBuf;

/// Why an operation on the state failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A compare did not hold (only where a caller asked for that with `Committed::or_conflict`).
    #[error("the state was changed by someone else in between")]
    Conflict,
    /// What was asked for does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// Key or lease.
        what: String,
    },
    /// The store cannot do it now; nothing was changed.
    #[error("the state is not available: {reason}")]
    Unavailable {
        /// Cause, and what to do where that is known.
        reason: String,
    },
    /// The change may or may not have been made: read before trying again.
    #[error("it is not known whether the state was changed: read it before trying again")]
    OutcomeUnknown,
    /// A record or a file is damaged.
    #[error("{path}: {reason}; stop the daemon and run `davylamp state verify {}`", path.display())]
    Corrupt {
        /// The database or export.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk is full; nothing was changed, and reads go on.
    #[error("the disk below {path} is full: {free} bytes free, {needed} needed; free space there, writing resumes by itself", path = path.display())]
    Full {
        /// The state folder.
        path: PathBuf,
        /// Free bytes for the daemon.
        free: u64,
        /// Bytes that must be free before a write is tried.
        needed: u64,
    },
    /// The lease that the transaction relied on is over; nothing was changed.
    #[error("the lease is over: someone else may own this now")]
    Fenced,
    /// Over a limit; nothing was changed.
    #[error("{what}: {size} is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size, bytes or count.
        size: usize,
        /// The limit, same unit.
        limit: usize,
    },
}

/// Why a state folder could not be opened, or a command on it failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by process {pid}; stop it first, or give this one another folder", path.display())]
    Held {
        /// The state folder.
        path: PathBuf,
        /// Process id of the holder, as it wrote it.
        pid: String,
    },
    /// The whole folder is gone although the witness beside it says that it was here.
    #[error(
        "the state folder {} is gone or empty, but {} says that a database lived there; put it back from a backup, \
         run `davylamp state import EXPORT {}`, or start once with --force-empty", path.display(), witness.display(), path.display()
    )]
    Vanished {
        /// The state folder.
        path: PathBuf,
        /// The file beside it.
        witness: PathBuf,
    },
    /// The database is damaged and nothing could be saved from it, nor is there an export.
    #[error(
        "{}: {reason}; no record could be salvaged and {} holds no usable export; put the folder back from a backup, \
         run `davylamp state import EXPORT {}`, or start once with --force-empty (the damaged folder is kept)",
        database.display(), path.join("exports").display(), path.display()
    )]
    Lost {
        /// The state folder.
        path: PathBuf,
        /// The database inside it.
        database: PathBuf,
        /// What is wrong, one line per rung of the ladder.
        reason: String,
    },
    /// The database is damaged, and the caller did not ask for repair.
    #[error("{}: {reason}; start the daemon to have it salvaged, or run `davylamp state import EXPORT FOLDER`", database.display())]
    Damaged {
        /// The database.
        database: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Written by a newer davylamp.
    #[error("{} has schema {found}, this davylamp knows {known}; use the newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The highest that is known here.
        known: u32,
    },
    /// There is no database.
    #[error("{} holds no state: nothing to do", path.display())]
    Absent {
        /// The state folder.
        path: PathBuf,
    },
    /// An export is truncated or damaged.
    #[error("the export {} cannot be used: {reason}; take an older one from the exports folder", path.display())]
    BadExport {
        /// The export.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// The disk is full, even without the ballast.
    #[error("the disk below {} is full and the database cannot be opened: free at least {needed} bytes there and start again", path.display())]
    Full {
        /// The state folder.
        path: PathBuf,
        /// Bytes that help.
        needed: u64,
    },
    /// Any other failure of the file system.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried: `cannot create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The opened store failed a request that a command needed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// For `map_err`: a file-system failure with what was tried on what.
    pub(super) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> OpenError {
        let path = path.to_path_buf();
        move |source| OpenError::Io { action, path, source }
    }
}

/// Whether an I/O error means that there is no space.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
