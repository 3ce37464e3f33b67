//! How a state folder is to be opened, and what opening it found and did.

use std::path::PathBuf;
use std::time::Duration;

/// How a state folder is to be opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The folder; made if it does not exist.
    pub path: PathBuf,
    /// sled's cache. It takes two to four times as much memory.
    pub cache_bytes: u64,
    /// Space that is held back for reopening on a full disk; 0 for none: then some reads say `Full` too when a write
    /// ran into the end of the disk.
    pub ballast_bytes: u64,
    /// Writes are refused with `Full` when less than this is free.
    pub reserve_bytes: u64,
    /// Begin empty if all else fails. The damaged database is kept even then.
    pub force_empty: bool,
    /// Shortest time from one fdatasync to the next; a lone transaction after that does not wait.
    pub group_commit: Duration,
    /// A larger database that takes more than six times its records is packed anew when it is opened; packed, sled
    /// takes about three times.
    pub compact_above: u64,
    /// How many exports are kept.
    pub exports_kept: usize,
}

impl OpenOptions {
    /// The defaults, for the folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        OpenOptions {
            path: path.into(),
            cache_bytes: 32 << 20,
            ballast_bytes: 32 << 20,
            reserve_bytes: 4 << 20,
            force_empty: false,
            group_commit: Duration::from_millis(2),
            compact_above: 64 << 20,
            exports_kept: 24,
        }
    }
}

/// Which rung of the ladder held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// The first start in this folder.
    Created,
    /// As it should be.
    Opened,
    /// Sound, but without its MANIFEST, which was written anew.
    ManifestRebuilt,
    /// Sound without sled's snapshot.
    SnapshotSetAside,
    /// Damaged; records were saved from it into a new database.
    Salvaged,
    /// Lost; the last export was restored.
    RestoredFromExport,
    /// Lost; the operator allowed an empty one.
    ForcedEmpty,
}

/// What opening found and did.
#[derive(Clone, Debug)]
pub struct OpenReport {
    /// The folder.
    pub path: PathBuf,
    /// The rung that held.
    pub rung: Rung,
    /// Which store this is.
    pub id: String,
    /// The revision that it begins with.
    pub revision: u64,
    /// Keys that it holds.
    pub keys: u64,
    /// What went wrong on the way and what was done, in order; empty if all is well.
    pub messages: Vec<String>,
    /// The damaged database, if one was set aside.
    pub kept_aside: Option<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

impl OpenReport {
    /// Whether somebody should be woken: records may be missing, or a disk is going bad.
    pub fn is_alarming(&self) -> bool {
        !matches!(self.rung, Rung::Created | Rung::Opened)
    }
}

impl std::fmt::Display for OpenReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.rung {
            Rung::Created => "is new",
            Rung::Opened => "is sound",
            Rung::ManifestRebuilt => "is sound; its MANIFEST was missing or damaged and was written anew",
            Rung::SnapshotSetAside => "is sound, but only without its snapshot, which was set aside",
            Rung::Salvaged => "WAS DAMAGED and has been salvaged; records may be missing or older than they were",
            Rung::RestoredFromExport => "WAS LOST and the last export has been restored; later changes are gone",
            Rung::ForcedEmpty => "WAS LOST and begins empty, as --force-empty said",
        };
        write!(f, "the state in {} {what}: {} keys, revision {}", self.path.display(), self.keys, self.revision)?;
        for message in &self.messages {
            write!(f, "\n  {message}")?;
        }
        if let Some(aside) = &self.kept_aside {
            write!(f, "\n  the damaged database is kept in {}", aside.display())?;
        }
        Ok(())
    }
}
