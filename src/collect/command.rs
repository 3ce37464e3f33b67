//! Commands that a kind's devices take through their own API: one row per command in the kind, one function each.
//!
//! A command is tried once. Where the device can say that it was done, it is asked until it does or the time is over:
//! "accepted" is not "done".

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::model::{FailureReason, PollFailure, Target};

/// A row in the table of a kind's commands.
pub struct Command {
    /// Name in the configuration.
    pub name: &'static str,
    /// What it does, for people.
    pub help: &'static str,
    /// Does it within a time; answers with what was read back, in words.
    pub perform: Perform,
}

/// Carries out a command on a target within a time.
pub type Perform = fn(Target, Duration) -> BoxFuture<'static, Result<String, CommandError>>;

/// Why a command did not do what it should. The text may quote the device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The device was not reached, or refused: nothing was done.
    #[error("{0}")]
    Refused(String),
    /// The device took it, and does not show what it should.
    #[error("{0}")]
    NotConfirmed(String),
    /// The connection broke after the command had left: nobody knows whether it was done.
    #[error("{0}")]
    Unknown(String),
}

impl CommandError {
    /// What a failed exchange means for a command that had to be sent: only a connection that never stood, or a refusal,
    /// is known to have changed nothing.
    pub(crate) fn sent(failure: &PollFailure) -> CommandError {
        match failure.reason {
            FailureReason::Denied | FailureReason::RateLimited => CommandError::Refused(failure.to_string()),
            _ => CommandError::Unknown(failure.to_string()),
        }
    }
}

/// How often a device is asked whether it has done it.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Waits until a restarted device says that it has been up for less time than before. `uptime` asks it once.
pub(crate) async fn back_after_restart<F>(
    before: Option<f64>,
    within: Duration,
    mut uptime: impl FnMut() -> F,
) -> Result<String, CommandError>
where
    F: Future<Output = Option<f64>>,
{
    let started = tokio::time::Instant::now();
    let deadline = started + within;
    while tokio::time::Instant::now() + ASK_EVERY < deadline {
        tokio::time::sleep(ASK_EVERY).await;
        let Ok(answer) = tokio::time::timeout_at(deadline, uptime()).await else { break };
        let passed = started.elapsed().as_secs_f64();
        // Without an uptime from before, it must be younger than the command.
        let is_new = |now: &f64| before.map_or(*now <= passed + 1.0, |before| *now < before);
        if let Some(now) = answer.filter(is_new) {
            return Ok(format!("it has restarted: up for {now:.0} s"));
        }
    }
    Err(CommandError::NotConfirmed(format!("it took the command, and did not show a restart within {within:?}")))
}
