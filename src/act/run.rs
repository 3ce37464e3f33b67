//! One run: what was decided, why, and what came of it. The record is what state keeps and `davylamp runs explain` shows.

use std::collections::BTreeMap;

use crate::act::events::{HostStats, TaskResult};
use crate::act::job::{ExitRecord, Supervisor};
use crate::act::playbook::sha256;
use crate::act::settings::Mode;

/// The only version of the record there is; another is refused, not guessed at.
pub const SCHEMA: u32 = 1;

/// Identity of a run: sixteen hexadecimal digits derived from binding, target, episode and step. The same repair of the
/// same trouble has the same id wherever it is computed, so a record under this id that may only be created once *is*
/// the guarantee that nothing runs twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A text that is no run id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a run id (16 hexadecimal digits)")]
pub struct RunIdError(String);

impl RunId {
    /// The id of a step of an episode.
    pub fn new(binding: &str, target: &str, episode: i64, step: u32) -> RunId {
        // Each part is followed by a byte that UTF-8 text cannot hold, so no two tuples look alike.
        let mut key = Vec::new();
        for part in [binding, target, &episode.to_string(), &step.to_string()] {
            key.extend_from_slice(part.as_bytes());
            key.push(0xff);
        }
        RunId(sha256(&key)[..16].to_string())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = RunIdError;
    fn try_from(text: String) -> Result<Self, RunIdError> {
        // It becomes the name of a folder: nothing but these digits may ever get here.
        let good = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(RunId(text)) } else { Err(RunIdError(text)) }
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a run stands. Before `queued` there is no run: the alert either matched or was suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Wanted, not begun; it may still be dropped.
    Queued,
    /// On record as begun; from here on it is never started a second time.
    Claimed,
    /// Its supervisor lives.
    Spawned,
    /// It ended; the verdict is not on record yet.
    Exited,
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// The target could not be reached.
    Unreachable,
    /// It took too long and was ended.
    TimedOut,
    /// Somebody ended it.
    Cancelled,
    /// A crash or a stop came between: nobody knows how far it got.
    Interrupted,
    /// It waited too long and was never started.
    Expired,
}

impl RunState {
    /// All states that end a run.
    pub const FINAL: [RunState; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::Unreachable,
        Self::TimedOut,
        Self::Cancelled,
        Self::Interrupted,
        Self::Expired,
    ];

    /// The word in records, labels and on the status page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Spawned => "spawned",
            Self::Exited => "exited",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        Self::FINAL.contains(&self)
    }

    /// Whether a playbook may be at work.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Claimed | Self::Spawned | Self::Exited)
    }
}

/// The record of a run. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Identity.
    pub id: RunId,
    /// Which binding wanted it.
    pub binding: String,
    /// On which inventory host.
    pub target: String,
    /// Which episode: when it opened.
    pub episode: i64,
    /// Which step of the binding, from 0.
    pub step: u32,
    /// `check` or `auto`.
    pub mode: Mode,
    /// Playbook, relative to its folder.
    pub playbook: String,
    /// Where it stands.
    pub state: RunState,
    /// Why it is in this state, for a person.
    pub detail: String,
    /// The alert that wanted it: the key of its rule.
    pub rule: String,
    /// The alert's labels.
    pub labels: BTreeMap<String, String>,
    /// The alert's value.
    pub value: String,
    /// The guards that were consulted and let it pass, in order.
    pub guards: Vec<String>,
    /// When it was wanted.
    pub queued_at: i64,
    /// When the claim was written.
    pub claimed_at: Option<i64>,
    /// When its supervisor was started.
    pub spawned_at: Option<i64>,
    /// When its end was on record.
    pub ended_at: Option<i64>,
    /// Digest of the playbook that ran.
    pub playbook_sha256: Option<String>,
    /// Digest of the variables it was given.
    pub vars_sha256: Option<String>,
    /// Its supervisor.
    pub supervisor: Option<Supervisor>,
    /// How its program ended.
    pub exit: Option<ExitRecord>,
    /// Results per task, bounded.
    pub tasks: Vec<TaskResult>,
    /// Task results that are not kept.
    pub tasks_dropped: u64,
    /// Statistics per host.
    pub stats: BTreeMap<String, HostStats>,
}

impl Run {
    /// Its key in the ledger.
    pub fn key(&self) -> String {
        format!("run/{}", self.id)
    }

    /// Why it ran or did not, and what came of it: text for a person, one fact per line. Quoted text came from alerts or
    /// from the play.
    pub fn explain(&self) -> String {
        let mut lines = vec![
            format!(
                "run {}: {} ({} on {}, mode {})",
                self.id,
                self.state.as_str(),
                self.binding,
                self.target,
                self.mode.as_str()
            ),
            format!("  why       rule {:?} fired with value {} for {:?}", self.rule, self.value, self.labels),
            format!("  episode   opened at {}, step {}", self.episode, self.step),
        ];
        if !self.detail.is_empty() {
            lines.push(format!("  because   {:?}", self.detail));
        }
        if !self.guards.is_empty() {
            lines.push(format!("  passed    {}", self.guards.join(", ")));
        }
        lines.push(format!(
            "  playbook  {:?} sha256 {}",
            self.playbook,
            self.playbook_sha256.as_deref().unwrap_or("-")
        ));
        lines.push(format!("  variables sha256 {}", self.vars_sha256.as_deref().unwrap_or("-")));
        let times = [("claimed", self.claimed_at), ("spawned", self.spawned_at), ("ended", self.ended_at)];
        let after = |(name, at): (&str, Option<i64>)| at.map(|at| format!(", {name} after {} ms", at - self.queued_at));
        let times: String = times.into_iter().filter_map(after).collect();
        lines.push(format!("  times     queued at {}{times}", self.queued_at));
        for task in &self.tasks {
            let (changed, ignored) =
                (if task.changed { ", changed" } else { "" }, if task.ignored { ", ignored" } else { "" });
            lines.push(format!(
                "  task      {} {:?} {}{changed}{ignored} {:?}",
                task.host, task.task, task.status, task.message
            ));
        }
        if self.tasks_dropped > 0 {
            lines.push(format!("  task      … and {} more", self.tasks_dropped));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_only_digits() {
        let id = RunId::new("restart", "m1", 1, 0);
        assert_eq!(id, RunId::new("restart", "m1", 1, 0));
        assert_ne!(id, RunId::new("restart", "m", 11, 0));
        assert_ne!(id, RunId::new("restart", "m1", 1, 1));
        assert!(serde_json::from_str::<RunId>(&serde_json::to_string(&id).unwrap()).is_ok());
        for bad in ["", "../../etc/passwd", "0123456789ABCDEF", "0123456789abcdef0"] {
            assert!(RunId::try_from(bad.to_string()).is_err(), "{bad}");
        }
    }
}
