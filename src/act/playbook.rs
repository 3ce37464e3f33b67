//! Which file a playbook's name means, and whether it may be run.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::act::used::used;
use crate::model::words;

/// Largest playbook, in bytes.
pub(super) const MAX_PLAYBOOK: u64 = 1 << 20;
/// Most names that are looked through for a near one.
const MAX_LISTED: usize = 1000;

/// A playbook that may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playbook {
    /// Real path.
    pub path: PathBuf,
    /// Digest of its content and of everything that it uses, hexadecimal.
    pub sha256: String,
    /// What it uses, itself included, relative to the folder.
    pub files: Vec<String>,
}

/// Why a playbook may not be run.
#[derive(Debug, thiserror::Error)]
pub enum PlaybookError {
    /// The folder itself cannot be used.
    #[error("the playbook folder {} cannot be read: {source}", folder.display())]
    Folder {
        /// `ansible.playbooks`.
        folder: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// No such file.
    #[error("there is no playbook {name:?} in {}{}", folder.display(), near.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    Missing {
        /// As written.
        name: String,
        /// `ansible.playbooks`.
        folder: PathBuf,
        /// The nearest name there is.
        near: Option<String>,
    },
    /// Absolute, with `..`, or a link that leads out.
    #[error("the playbook {name:?} lies outside of {}: only what is below that folder may be run", folder.display())]
    Outside {
        /// As written.
        name: String,
        /// `ansible.playbooks`.
        folder: PathBuf,
    },
    /// Somebody else could have written it.
    #[error("{} can be written by everybody: chmod o-w it, because what stands there is run", path.display())]
    WorldWritable {
        /// The playbook, or a folder above it.
        path: PathBuf,
    },
    /// More files than anybody reads.
    #[error("the playbook uses more than 2000 files or 64 MiB of {}; is that the right folder?", folder.display())]
    TooMuch {
        /// `ansible.playbooks`.
        folder: PathBuf,
    },
    /// Not a readable file of a sensible size.
    #[error("{} is not a readable playbook of at most 1 MiB", path.display())]
    NotReadable {
        /// Real path.
        path: PathBuf,
    },
}

/// Finds a playbook by its name relative to the folder and checks that nobody else decides what it says.
///
/// # Errors
/// [`PlaybookError`].
pub fn find(folder: &Path, name: &str) -> Result<Playbook, PlaybookError> {
    let outside = || PlaybookError::Outside { name: name.to_string(), folder: folder.to_path_buf() };
    let plain = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(outside());
    }
    let root =
        folder.canonicalize().map_err(|source| PlaybookError::Folder { folder: folder.to_path_buf(), source })?;
    let Ok(path) = root.join(name).canonicalize() else {
        return Err(PlaybookError::Missing { name: name.into(), folder: folder.into(), near: nearest(&root, name) });
    };
    if !path.starts_with(&root) {
        return Err(outside());
    }
    if !path.is_file() {
        return Err(PlaybookError::NotReadable { path });
    }
    let (files, sha256) = used(&root, &path)?;
    Ok(Playbook { path, sha256, files })
}

/// SHA-256, hexadecimal.
pub fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nearest(root: &Path, name: &str) -> Option<String> {
    let entries = std::fs::read_dir(root).ok()?.flatten().take(MAX_LISTED);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let yaml = names.filter(|file| file.ends_with(".yml") || file.ends_with(".yaml"));
    words::nearest(name, yaml.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn runs_only_what_lies_below_and_belongs_to_us() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("playbooks");
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        for name in ["restart.yml", "sub/deep.yml", "open.yml", "../out.yml"] {
            std::fs::write(folder.join(name), "[]").unwrap();
            std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o644)).unwrap();
        }
        symlink("../out.yml", folder.join("link.yml")).unwrap();
        symlink("restart.yml", folder.join("inner.yml")).unwrap();
        std::fs::set_permissions(folder.join("open.yml"), PermissionsExt::from_mode(0o666)).unwrap();

        assert_eq!(find(&folder, "restart.yml").unwrap().sha256, sha256(b"[]"));
        assert!(find(&folder, "sub/deep.yml").is_ok());
        assert!(find(&folder, "inner.yml").unwrap().path.ends_with("restart.yml"));
        for name in ["link.yml", "../out.yml", "/etc/passwd", "", "sub/../../out.yml"] {
            assert!(matches!(find(&folder, name), Err(PlaybookError::Outside { .. })), "{name}");
        }
        assert!(matches!(find(&folder, "open.yml"), Err(PlaybookError::WorldWritable { .. })));
        assert!(matches!(find(&folder, "sub"), Err(PlaybookError::NotReadable { .. })));
        let missing = find(&folder, "restrat.yml").unwrap_err().to_string();
        assert!(missing.ends_with("did you mean \"restart.yml\"?"), "{missing}");
        std::fs::set_permissions(folder.join("sub"), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(matches!(find(&folder, "sub/deep.yml"), Err(PlaybookError::WorldWritable { .. })));
    }
}
