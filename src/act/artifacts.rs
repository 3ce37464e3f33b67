//! Files that a playbook leaves in `{{ davylamp.artifacts }}`: counted, capped, described.
//!
//! They are looked at once no process of the play is left. What is no plain file, or is beyond the quota, is removed and
//! counted: a diagnostic bundle must not fill a disk, nor a link in it point at a key.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::act::playbook::hex;

/// Most files, whatever the configuration says: they stand in the run's record, which has a size of its own.
pub const MOST_FILES: u32 = 64;
/// Longest path of an artifact, in bytes.
const MAX_PATH: usize = 128;
/// Deepest folder.
const MAX_DEPTH: usize = 8;
/// Most entries that are looked at; the rest is removed unseen.
const MAX_ENTRIES: u64 = 10_000;

/// How much a run may leave, and for how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Most files of a run, at most 64.
    pub max_files: u32,
    /// Most bytes of a run, all files together.
    pub max_bytes: u64,
    /// Artifacts older than this are removed; the run's record stays.
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub keep: Duration,
}

impl Default for Quota {
    fn default() -> Self {
        Quota { max_files: 20, max_bytes: 10 << 20, keep: Duration::from_secs(30 * 86_400) }
    }
}

/// One file that a run left.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Artifact {
    /// Relative to the run's folder of artifacts.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// Digest of the content, hexadecimal.
    pub sha256: String,
}

/// What a run left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) kept: Vec<Artifact>,
    /// Files, links and folders that were removed.
    pub(super) dropped: u64,
}

/// Enforces the quota on a folder and describes what stays, in the order of the paths.
pub(super) fn collect(folder: &Path, quota: &Quota) -> Left {
    let mut walk = Walk { left: Left::default(), bytes: 0, seen: 0, root: folder, quota };
    walk.folder(folder, 0);
    walk.left
}

struct Walk<'a> {
    left: Left,
    bytes: u64,
    seen: u64,
    root: &'a Path,
    quota: &'a Quota,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, depth: usize) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).take(20_000).collect();
        paths.sort();
        for path in paths {
            self.seen += 1;
            let Ok(data) = std::fs::symlink_metadata(&path) else { continue };
            if self.seen > MAX_ENTRIES {
                self.remove(&path, data.is_dir());
            } else if data.is_dir() && depth < MAX_DEPTH {
                self.folder(&path, depth + 1);
            } else if !self.keep(&path, &data) {
                self.remove(&path, data.is_dir());
            }
        }
    }

    fn keep(&mut self, path: &Path, data: &std::fs::Metadata) -> bool {
        let full = self.left.kept.len() >= self.quota.max_files.min(MOST_FILES) as usize;
        let name = path.strip_prefix(self.root).ok().and_then(Path::to_str).unwrap_or_default();
        let named = !name.is_empty() && name.len() <= MAX_PATH && !name.chars().any(char::is_control);
        if full || !data.is_file() || !named || self.bytes.saturating_add(data.len()) > self.quota.max_bytes {
            return false;
        }
        let Ok(sha256) = digest(path, data.len()) else { return false };
        self.bytes += data.len();
        self.left.kept.push(Artifact { path: name.to_string(), bytes: data.len(), sha256 });
        true
    }

    fn remove(&mut self, path: &Path, folder: bool) {
        let removed = if folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        // Another user's folder cannot be emptied; it is counted as dropped, and never shown.
        let _ = removed;
        self.left.dropped += 1;
    }
}

fn digest(path: &Path, length: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?.take(length);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_plain_files_within_the_quota_and_removes_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("sub")).unwrap();
        for (name, size) in [("a", 10), ("b", 2000), ("c", 10), ("sub/d", 10), ("z", 10)] {
            std::fs::write(root.join(name), "x".repeat(size)).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        std::fs::write(root.join("new\nline"), "").unwrap();
        let quota = Quota { max_files: 3, max_bytes: 1000, ..Quota::default() };
        let left = collect(root, &quota);
        let kept: Vec<&str> = left.kept.iter().map(|artifact| artifact.path.as_str()).collect();
        assert_eq!((kept, left.dropped), (vec!["a", "c", "sub/d"], 4));
        assert!(["b", "link", "z", "new\nline"].iter().all(|name| root.join(name).symlink_metadata().is_err()));
        assert!(Path::new("/etc/passwd").exists());
        assert_eq!(left.kept[0].sha256.len(), 64);
        assert_eq!(collect(&root.join("nothing"), &quota), Left::default());
    }
}
