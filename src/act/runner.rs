//! The runner: a process of its own that owns playbooks and keys, takes runs over a local socket and keeps them alive
//! while the collector restarts. It decides nothing; claims and guards are the collector's.
//!
//! It may itself be restarted at any time: supervisors and their folders do not depend on it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::act::executor::local::Local;
use crate::act::executor::{Executor, ExecutorError};
use crate::act::settings::Access;
use crate::act::wire::{Answer, Ask, LINE_TIMEOUT, WireError, read, stranger, write};

/// Most connections at one time. A collector has one per run that it follows and one for its inventory; more wait in
/// the socket's queue.
const MAX_CONNECTIONS: usize = 64;

/// Why a runner cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// Somebody does already.
    #[error("another runner listens on {}", .0.display())]
    InUse(PathBuf),
    /// What stands there is no socket.
    #[error("{} exists and is not a socket; remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The system says no.
    #[error("cannot listen on {}: {source}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
}

/// A runner that listens.
#[derive(Debug)]
pub struct Runner {
    listener: UnixListener,
    path: PathBuf,
    access: Access,
}

impl Runner {
    /// Listens on a socket that nobody else can open: mode 0600, or 0660 where the group is let in. A socket that a
    /// dead runner left is replaced.
    ///
    /// # Errors
    /// [`RunnerError`].
    pub async fn bind(path: &Path, access: Access) -> Result<Runner, RunnerError> {
        use std::os::unix::fs::FileTypeExt;
        let failed = |source| RunnerError::Listen { path: path.to_path_buf(), source };
        match std::fs::symlink_metadata(path) {
            Ok(data) if !data.file_type().is_socket() => return Err(RunnerError::NotASocket(path.to_path_buf())),
            Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(RunnerError::InUse(path.to_path_buf())),
            Ok(_) => std::fs::remove_file(path).map_err(failed)?,
            Err(_) => {}
        }
        // Bound under a name in a private folder, closed to others, and only then moved into place: there is no moment
        // in which somebody else could connect.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let private = tempfile::Builder::new().prefix(".davylamp").tempdir_in(folder).map_err(failed)?;
        let hidden = private.path().join("s");
        let listener = UnixListener::bind(&hidden).map_err(failed)?;
        let mode = if access == Access::Group { 0o660 } else { 0o600 };
        std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
        std::fs::rename(&hidden, path).map_err(failed)?;
        Ok(Runner { listener, path: path.to_path_buf(), access })
    }

    /// Serves until `stop`, each question by the executor of that moment. Runs that are going on go on.
    pub async fn serve(self, executor: watch::Receiver<Local>, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let executor = executor.borrow().clone();
                        connections.spawn(answer(stream, executor, self.access));
                    }
                    Err(error) => {
                        // Out of descriptors: wait for connections to end rather than spin.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                },
            }
        }
        // What was asked is answered; only the asking stops.
        let ending = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(2 * LINE_TIMEOUT, ending).await.is_err() {
            tracing::warn!("connections were cut off");
        }
        // A socket that cannot be removed is replaced by the next runner.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, executor: Local, access: Access) {
    if let Err(error) = converse(&mut stream, &executor, access).await {
        tracing::warn!(%error, "a connection ended badly");
    }
}

async fn converse(stream: &mut UnixStream, executor: &Local, access: Access) -> Result<(), WireError> {
    if let Some((user, group)) = stranger(stream, access)? {
        tracing::error!(user, group, "refused a connection");
        let text = format!("user {user} of group {group} may not talk to this runner");
        return write(stream, &Answer::Error(ExecutorError::Refused(text))).await;
    }
    let answer = match read(stream, LINE_TIMEOUT).await {
        Ok(ask) => carry_out(executor, ask).await.unwrap_or_else(Answer::Error),
        // Not understood means not done, and the other side has to hear that.
        Err(error @ (WireError::Version(_) | WireError::Malformed(_) | WireError::NotALine)) => {
            Answer::Error(ExecutorError::Refused(error.to_string()))
        }
        Err(error) => return Err(error),
    };
    write(stream, &answer).await
}

async fn carry_out(executor: &Local, ask: Ask) -> Result<Answer, ExecutorError> {
    Ok(match ask {
        Ask::Ready => executor.ready().await.map(|()| Answer::Done)?,
        Ask::Start(request) => Answer::Started(executor.start(*request).await?),
        Ask::Status(run) => Answer::Status(executor.status(run).await?),
        Ask::Cancel(run) => executor.cancel(run).await.map(|()| Answer::Done)?,
        Ask::Abandon(run) => executor.abandon(run).await.map(|()| Answer::Done)?,
        Ask::Printed(run, from) => Answer::Printed(executor.printed(run, from).await?),
        Ask::Inventory => Answer::Inventory(executor.inventory().await?),
        Ask::List => Answer::Runs(executor.list().await?),
    })
}
