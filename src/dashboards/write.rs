//! The one place that writes dashboards: only what differs, each file at once, and nothing that is not ours.
//!
//! Grafana walks the folder at any moment. A half-written file would be an error there, a folder that is empty for a
//! second deletes every dashboard with its stars, and a temporary file that ends in `.json` is loaded as a duplicate
//! and freezes the whole folder. Hence: temporary names that end otherwise, rename, deletions last.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use super::File;
use super::page::MARK;

/// The names of the files that we wrote, one per line. Hidden, and not a name that Grafana reads.
pub(super) const MANIFEST: &str = ".davylamp-files";
/// Grafana's server often runs as another user than we do.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;
/// No file of ours comes near this; what is larger was not written by us and is not read.
pub(super) const MAX_BYTES: u64 = 8 << 20;

/// What [`write()`] did, as relative paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// New and changed files.
    pub written: Vec<String>,
    /// Files that already were as they should be; they were not touched.
    pub unchanged: Vec<String>,
    /// Files of an earlier write that are no longer wanted.
    pub deleted: Vec<String>,
}

/// Why dashboards could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// The set to write has no dashboard, which would delete all that exist.
    #[error("{}: refusing to write an empty set of dashboards: it would delete every dashboard there", dir.display())]
    Empty {
        /// The folder.
        dir: PathBuf,
    },
    /// A path in the set leads somewhere it must not.
    #[error(
        "{path:?} is not a path for a dashboard file: at most one folder, a name that is not hidden, .json or .yaml"
    )]
    BadPath {
        /// As given.
        path: String,
    },
    /// Somebody else's file stands where one of ours belongs.
    #[error("{}: was not written by davylamp; move it away, or set dashboards.path to another folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The operating system said no.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried: `write`, `rename`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Brings `dir` to hold exactly `files`, besides what others put there. New and changed files come first, deletions
/// last; a crash at any point leaves whole files, and the next call finishes the work.
///
/// # Errors
/// [`DashboardError`]; files that were written before it stay.
pub fn write(dir: &Path, files: &[File]) -> Result<Written, DashboardError> {
    if !files.iter().any(|file| file.path.ends_with(".json")) {
        return Err(DashboardError::Empty { dir: dir.to_path_buf() });
    }
    if let Some(bad) = files.iter().find(|file| !is_our_path(&file.path)) {
        return Err(DashboardError::BadPath { path: bad.path.clone() });
    }
    folder(dir)?;
    let wanted: BTreeSet<String> = files.iter().map(|file| file.path.clone()).collect();
    let owned = read_manifest(dir)?;
    sweep(&dir.join(MANIFEST))?;
    for name in owned.union(&wanted) {
        sweep(&place(dir, name)?)?;
    }
    let mut result = Written::default();
    let mut changed = Vec::new();
    for file in files {
        let path = place(dir, &file.path)?;
        if let Some(ours) = path.parent().filter(|parent| *parent != dir) {
            folder(ours)?;
            set_mode(ours, FOLDER_MODE)?;
        }
        match existing(&path)? {
            Existing::File(content) if content == file.content.as_bytes() => {
                set_mode(&path, FILE_MODE)?;
                result.unchanged.push(file.path.clone());
            }
            Existing::File(content) if !owned.contains(&file.path) && !is_marked(&content) => {
                return Err(DashboardError::Foreign { path });
            }
            Existing::Other if !owned.contains(&file.path) => return Err(DashboardError::Foreign { path }),
            _ => changed.push(file),
        }
    }
    // Named as ours before they exist: a crash in between must not leave files that nobody ever deletes.
    let both: BTreeSet<String> = owned.union(&wanted).cloned().collect();
    write_manifest(dir, &owned, &both)?;
    for file in changed {
        replace(&dir.join(&file.path), file.content.as_bytes())?;
        result.written.push(file.path.clone());
    }
    for stale in owned.difference(&wanted) {
        if delete(&place(dir, stale)?)? {
            result.deleted.push(stale.clone());
        }
    }
    write_manifest(dir, &both, &wanted)?;
    Ok(result)
}

enum Existing {
    Absent,
    /// A regular file of a size that could be ours.
    File(Vec<u8>),
    /// Something else.
    Other,
}

fn existing(path: &Path) -> Result<Existing, DashboardError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Existing::Absent),
        Err(error) => Err(failed("inspect", path, error)),
        Ok(found) if found.is_file() && found.len() <= MAX_BYTES => {
            read_capped(path).map(Existing::File).map_err(|error| failed("read", path, error))
        }
        Ok(_) => Ok(Existing::Other),
    }
}

/// Reads a file, at most [`MAX_BYTES`] of it.
pub(super) fn read_capped(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// Whether a file says that we wrote it. A lost manifest must not stop us, and a file of the operator's never goes.
fn is_marked(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    text.contains(MARK)
}

/// A relative path with at most one folder (Grafana's providers are one level deep), no hidden part, and an ending that
/// we write. The manifest is a file that anybody could have edited: what it names is checked the same way.
fn is_our_path(path: &str) -> bool {
    let parts: Vec<_> = Path::new(path).components().collect();
    let plain = |part: &Component<'_>| match part {
        Component::Normal(name) => name.to_str().is_some_and(|name| !name.starts_with('.')),
        _ => false,
    };
    let ending = [".json", ".yaml"].iter().any(|ending| path.ends_with(ending));
    (1..=2).contains(&parts.len()) && parts.iter().all(plain) && ending && !path.contains(['\n', '\0', '\\'])
}

/// Where a file of ours lies. A folder of ours that is a symbolic link could lead anywhere: it is refused.
fn place(dir: &Path, relative: &str) -> Result<PathBuf, DashboardError> {
    let path = dir.join(relative);
    match path.parent() {
        Some(parent) if parent != dir && parent.is_symlink() => {
            Err(DashboardError::Foreign { path: parent.to_path_buf() })
        }
        _ => Ok(path),
    }
}

/// Makes a folder that others may read, and the missing ones above it.
fn folder(path: &Path) -> Result<(), DashboardError> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), folder)?;
    fs::create_dir(path).map_err(|error| failed("create the folder", path, error))?;
    set_mode(path, FOLDER_MODE)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), DashboardError> {
    let found = fs::metadata(path).map_err(|error| failed("inspect", path, error))?;
    if found.permissions().mode() & 0o777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| failed("set the mode of", path, error))
}

/// The temporary name of a file: hidden, and not one that Grafana reads.
fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.tmp", path.file_name().unwrap_or_default().to_string_lossy()))
}

/// Removes what a crash left beside a file. It also makes way for a fresh one, never one that a link leads to.
fn sweep(path: &Path) -> Result<(), DashboardError> {
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound && error.kind() != io::ErrorKind::NotADirectory => {
            Err(failed("remove", &beside, error))
        }
        _ => Ok(()),
    }
}

/// Writes beside, forces it to disk, then takes the name.
fn replace(path: &Path, content: &[u8]) -> Result<(), DashboardError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let beside = beside(path);
    let outcome = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&beside)?;
        file.write_all(content)?;
        // The umask may have taken the readers away.
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(parent)?.sync_all()
    })();
    outcome.map_err(|error| {
        let _ = fs::remove_file(&beside);
        failed("write", path, error)
    })
}

/// Deletes a file of ours; false when it is already gone or is no plain file.
fn delete(path: &Path) -> Result<bool, DashboardError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {
            fs::remove_file(path).map(|()| true).map_err(|error| failed("delete", path, error))
        }
        _ => Ok(false),
    }
}

/// Names of the files that an earlier write left; lines that could not be ours are skipped.
pub(super) fn read_manifest(dir: &Path) -> Result<BTreeSet<String>, DashboardError> {
    let path = dir.join(MANIFEST);
    match read_capped(&path) {
        Ok(content) => {
            let text = String::from_utf8_lossy(&content);
            Ok(text.lines().filter(|line| is_our_path(line)).map(str::to_string).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(failed("read", &path, error)),
    }
}

fn write_manifest(dir: &Path, old: &BTreeSet<String>, new: &BTreeSet<String>) -> Result<(), DashboardError> {
    let path = dir.join(MANIFEST);
    if old == new && path.exists() {
        return Ok(());
    }
    let text: String = new.iter().map(|name| format!("{name}\n")).collect();
    replace(&path, text.as_bytes())
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> DashboardError {
    DashboardError::Io { action, path: path.to_path_buf(), source }
}
