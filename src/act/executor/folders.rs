//! Run folders: made once per run, which is what makes an id start only once, and removed when they are old.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::act::check::Ansible;
use crate::act::executor::ExecutorError;
use crate::act::files::FileError;
use crate::act::job::names;
use crate::act::run::RunId;

/// Creates a private folder. It exists already: somebody else was first, and that is an error.
pub(super) fn create(path: &Path) -> Result<(), std::io::Error> {
    DirBuilder::new().mode(0o700).create(path)
}

/// The folder of all run folders, which may exist.
pub(super) fn all(ansible: &Ansible) -> Result<(), ExecutorError> {
    match create(&ansible.runs) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(ExecutorError::Away(FileError::on("create", &ansible.runs)(error).to_string()))
        }
        _ => Ok(()),
    }
}

/// The folder of a run.
pub(super) fn of(ansible: &Ansible, run: &RunId) -> PathBuf {
    ansible.runs.join(run.as_str())
}

/// Creates the folder of a run. It is the executor's own guard: it can be created only once, so an id can be started
/// only once, even if whoever asks has lost his memory.
pub(super) fn begin(ansible: &Ansible, run: &RunId) -> Result<PathBuf, ExecutorError> {
    all(ansible)?;
    let folder = of(ansible, run);
    match create(&folder) {
        Ok(()) => Ok(folder),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(ExecutorError::Away(format!("the run {run} was begun before")))
        }
        Err(error) => Err(ExecutorError::Refused(FileError::on("create", &folder)(error).to_string())),
    }
}

/// Removes the folders of the oldest ended runs. What cannot be removed is tried again the next time.
pub(super) fn prune(ansible: &Ansible) {
    let Ok(entries) = std::fs::read_dir(&ansible.runs) else { return };
    let ended = entries.flatten().filter_map(|entry| {
        RunId::try_from(entry.file_name().into_string().ok()?).ok()?;
        let over = [names::EXIT, names::ABANDONED].iter().any(|name| entry.path().join(name).exists());
        let changed = entry.metadata().ok()?.modified().ok()?;
        over.then(|| (changed, entry.path()))
    });
    let mut ended: Vec<(SystemTime, PathBuf)> = ended.collect();
    ended.sort();
    for (changed, folder) in &ended {
        let artifacts = folder.join(names::ARTIFACTS);
        if changed.elapsed().is_ok_and(|age| age > ansible.artifacts.keep) && artifacts.exists() {
            // What cannot be removed now is tried again with the next run.
            let _ = std::fs::remove_dir_all(&artifacts);
        }
    }
    let surplus = ended.len().saturating_sub(ansible.keep_runs);
    for (_, folder) in ended.into_iter().take(surplus) {
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "cannot remove an old run folder");
        }
    }
}
