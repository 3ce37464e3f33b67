//! The words between a collector and its runner: one JSON line asks, one JSON line answers, then the connection ends.
//!
//! Both lines carry the protocol's version, and both ends cap what they read before they look at it.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::act::executor::{ExecutorError, Printed, RunRequest, RunStatus, Started};
use crate::act::inventory::Inventory;
use crate::act::run::RunId;
use crate::act::settings::Access;

/// The version both sides must speak.
pub const VERSION: u32 = 1;
/// Longest line, in bytes. A request carries the labels of one alert, an answer the tasks of one run or the names in an
/// inventory.
pub const MAX_LINE: u64 = 4 << 20;
/// How long the other side may take to write a line that it has begun, or to read ours.
pub const LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a collector asks.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Could a run be started now?
    Ready,
    /// Start a run. Its id is never started twice.
    Start(Box<RunRequest>),
    /// What is known of a run?
    Status(RunId),
    /// End a run.
    Cancel(RunId),
    /// Give a run up, so that it cannot start any more.
    Abandon(RunId),
    /// What has a run printed from this offset on?
    Printed(RunId, u64),
    /// Which hosts are there?
    Inventory,
    /// Which runs have a folder?
    List,
}

/// What the runner answers.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done; to `ready`, `cancel` and `abandon`.
    Done,
    /// To `start`.
    Started(Started),
    /// To `status`.
    Status(RunStatus),
    /// To `printed`.
    Printed(Printed),
    /// To `inventory`; none when inventories are generated.
    Inventory(Option<Inventory>),
    /// To `list`.
    Runs(Vec<RunId>),
    /// It was not done.
    Error(ExecutorError),
}

/// A line: the version beside what is said.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<T> {
    version: u32,
    say: T,
}

/// Why a line could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The other side took too long.
    #[error("no line within {0:?}")]
    Timeout(Duration),
    /// The line is longer than allowed or ended early.
    #[error("not a line of at most {MAX_LINE} bytes")]
    NotALine,
    /// The other side speaks another version.
    #[error("the other side speaks version {0} of the protocol, this one {VERSION}: install the same davylamp on both")]
    Version(u32),
    /// The line is not what this protocol says.
    #[error("not understood: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Who is on the other end, if it is none of those who may be: a user id and a group id.
///
/// # Errors
/// When the kernel does not say.
pub fn stranger(stream: &UnixStream, access: Access) -> std::io::Result<Option<(u32, u32)>> {
    let peer = stream.peer_cred()?;
    let same_user = peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw();
    let same_group = access == Access::Group && peer.gid() == rustix::process::getegid().as_raw();
    Ok((!same_user && !same_group).then_some((peer.uid(), peer.gid())))
}

/// Reads one line. `wait` is how long it may take to come.
///
/// # Errors
/// [`WireError`].
pub async fn read<T: serde::de::DeserializeOwned>(stream: &mut UnixStream, wait: Duration) -> Result<T, WireError> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(MAX_LINE));
    let read = tokio::time::timeout(wait, reader.read_until(b'\n', &mut line)).await;
    read.map_err(|_| WireError::Timeout(wait))??;
    if line.pop() != Some(b'\n') {
        return Err(WireError::NotALine);
    }
    // The version alone first: what another version says need not be understood.
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    match serde_json::from_slice::<Version>(&line)?.version {
        VERSION => Ok(serde_json::from_slice::<Line<T>>(&line)?.say),
        other => Err(WireError::Version(other)),
    }
}

/// Writes one line.
///
/// # Errors
/// [`WireError`]; a line that the other side would refuse is not sent.
pub async fn write<T: serde::Serialize>(stream: &mut UnixStream, say: &T) -> Result<(), WireError> {
    let mut line = serde_json::to_vec(&Line { version: VERSION, say })?;
    line.push(b'\n');
    if line.len() as u64 > MAX_LINE {
        return Err(WireError::NotALine);
    }
    let written = tokio::time::timeout(LINE_TIMEOUT, stream.write_all(&line)).await;
    Ok(written.map_err(|_| WireError::Timeout(LINE_TIMEOUT))??)
}
