//! One run: what was decided, why, and what came of it. The record is what state keeps and `davylamp runs explain` shows.

use std::collections::BTreeMap;

use crate::act::approval::{Approval, Decision};
use crate::act::binding::Action;
use crate::act::events::{HostStats, TaskResult, cut};
use crate::act::job::{ExitRecord, Supervisor};
use crate::act::playbook::sha256;
use crate::act::settings::{Mode, Verify};
use crate::model::Alert;

/// The version of the records that are written; 1 is read too, and any later one is refused, not guessed at.
pub const SCHEMA: u32 = 2;

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
        Self::of(&[binding, target, &episode.to_string(), &step.to_string()])
    }

    /// The id of a step that a person wants to be tried again; attempt 0 is the first one.
    pub fn attempt(binding: &str, target: &str, episode: i64, step: u32, attempt: u32) -> RunId {
        if attempt == 0 {
            return Self::new(binding, target, episode, step);
        }
        Self::of(&[binding, target, &episode.to_string(), &step.to_string(), &attempt.to_string()])
    }

    /// The id of the check run that comes before the approval of this run.
    pub fn rehearsal(&self) -> RunId {
        Self::of(&[&self.0, "rehearsal"])
    }

    fn of(parts: &[&str]) -> RunId {
        // Each part is followed by a byte that UTF-8 text cannot hold, so no two tuples look alike.
        let mut key = Vec::new();
        for part in parts {
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
    /// Wanted, and not allowed yet; it may still be dropped.
    WaitingApproval,
    /// Wanted, not begun; it may still be dropped.
    Queued,
    /// On record as begun; from here on it is never started a second time.
    Claimed,
    /// Its supervisor lives.
    Spawned,
    /// It ended; the verdict is not on record yet.
    Exited,
    /// It ended well; new samples are awaited that say whether it helped.
    Verifying,
    /// It did what it should. Whether that helped nobody was to find out.
    Succeeded,
    /// It did what it should, and new samples say that it helped.
    Healed,
    /// It did what it should, and new samples say that it did not help.
    NotHealed,
    /// It did what it should, and there are no samples that say whether it helped.
    Unverifiable,
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
    /// Somebody did not allow it.
    Rejected,
}

impl RunState {
    /// All states that end a run.
    pub const FINAL: [RunState; 11] = [
        Self::Succeeded,
        Self::Healed,
        Self::NotHealed,
        Self::Unverifiable,
        Self::Failed,
        Self::Unreachable,
        Self::TimedOut,
        Self::Cancelled,
        Self::Interrupted,
        Self::Expired,
        Self::Rejected,
    ];

    /// The word in records, labels and on the status page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitingApproval => "waiting_approval",
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Spawned => "spawned",
            Self::Exited => "exited",
            Self::Verifying => "verifying",
            Self::Succeeded => "succeeded",
            Self::Healed => "healed",
            Self::NotHealed => "not_healed",
            Self::Unverifiable => "unverifiable",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
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

    /// Whether nobody else may work on the target: something is at work there, or it is being seen whether it helped.
    pub const fn occupies(self) -> bool {
        matches!(self, Self::Claimed | Self::Spawned | Self::Exited | Self::Verifying)
    }

    /// Whether the next step follows: this one is known to be over, and not known to have helped.
    pub const fn escalates(self) -> bool {
        matches!(self, Self::NotHealed | Self::Unverifiable | Self::Failed | Self::Unreachable | Self::TimedOut)
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
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
    /// How often the step was tried before, because a person wanted it again.
    #[serde(default)]
    pub attempt: u32,
    /// `check`, `approve` or `auto`.
    pub mode: Mode,
    /// What is done; absent in records of an older version, which knew only playbooks.
    #[serde(default)]
    pub(super) action: Option<Action>,
    /// What is done, in short: of a playbook its path relative to its folder.
    pub playbook: String,
    /// This is the check run before the approval of that run.
    #[serde(default)]
    pub rehearses: Option<RunId>,
    /// The approval that it needs or needed.
    #[serde(default)]
    pub approval: Option<Approval>,
    /// It follows on a step after which there were no data.
    #[serde(default)]
    pub blind: bool,
    /// How it is found out whether it helped; set with the claim.
    #[serde(default)]
    pub verify: Option<Verify>,
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
    /// When what it did ended; verification looks at samples that are newer.
    #[serde(default)]
    pub exited_at: Option<i64>,
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

/// What a run is made of when it is wanted.
pub struct Wanted<'a> {
    /// The binding's name.
    pub binding: &'a str,
    /// What to act on.
    pub target: &'a str,
    /// When the episode opened.
    pub episode: i64,
    /// Number of the step.
    pub step: u32,
    /// Which attempt.
    pub attempt: u32,
    /// It follows on a step after which there were no data.
    pub blind: bool,
    /// What the step may do.
    pub mode: Mode,
    /// What it does.
    pub action: &'a Action,
    /// The alert.
    pub alert: &'a Alert,
}

impl Run {
    /// A run that is wanted now.
    pub fn wanted(wanted: &Wanted<'_>, now: i64) -> Run {
        let alert = wanted.alert;
        let labels = alert.labels.iter().map(|(name, value)| (cut(name, 128), cut(value, 256))).take(64).collect();
        Run {
            schema: SCHEMA,
            id: RunId::attempt(wanted.binding, wanted.target, wanted.episode, wanted.step, wanted.attempt),
            binding: wanted.binding.to_string(),
            target: wanted.target.to_string(),
            episode: wanted.episode,
            step: wanted.step,
            attempt: wanted.attempt,
            mode: wanted.mode,
            action: Some(wanted.action.clone()),
            playbook: wanted.action.to_string(),
            rehearses: None,
            approval: None,
            blind: wanted.blind,
            verify: None,
            state: RunState::Queued,
            detail: String::new(),
            rule: cut(&alert.rule, 512),
            labels,
            value: alert.value.to_string(),
            guards: Vec::new(),
            queued_at: now,
            claimed_at: None,
            spawned_at: None,
            exited_at: None,
            ended_at: None,
            playbook_sha256: None,
            vars_sha256: None,
            supervisor: None,
            exit: None,
            tasks: Vec::new(),
            tasks_dropped: 0,
            stats: BTreeMap::new(),
        }
    }

    /// The check run that comes before this run's approval.
    pub fn rehearsal(&self, now: i64) -> Run {
        Run {
            id: self.id.rehearsal(),
            rehearses: Some(self.id.clone()),
            approval: None,
            mode: Mode::Check,
            state: RunState::Queued,
            queued_at: now,
            ..self.clone()
        }
    }

    /// The id of the attempt after this one.
    pub fn next_attempt(&self) -> RunId {
        RunId::attempt(&self.binding, &self.target, self.episode, self.step, self.attempt + 1)
    }

    /// The same step once more, because a person wants it: that is its approval too.
    pub fn again(&self, by: &str, now: i64) -> Run {
        let mut approval = Approval::wanted(now);
        approval.decide(Decision::Approve, by, now);
        Run {
            schema: SCHEMA,
            id: self.next_attempt(),
            attempt: self.attempt + 1,
            approval: Some(approval),
            state: RunState::Queued,
            detail: String::new(),
            guards: Vec::new(),
            queued_at: now,
            claimed_at: None,
            spawned_at: None,
            exited_at: None,
            ended_at: None,
            playbook_sha256: None,
            vars_sha256: None,
            supervisor: None,
            exit: None,
            tasks: Vec::new(),
            tasks_dropped: 0,
            stats: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// What it does.
    pub fn action(&self) -> Action {
        self.action.clone().unwrap_or_else(|| Action::Playbook(self.playbook.clone()))
    }

    /// Whether a person has allowed it.
    pub fn is_approved(&self) -> bool {
        self.approval.as_ref().is_some_and(|approval| approval.decision == Some(Decision::Approve))
    }

    /// Whether it may change anything: it needs nobody's word, or has it.
    pub fn is_real(&self) -> bool {
        self.mode == Mode::Auto || self.mode == Mode::Approve && self.is_approved()
    }

    /// Takes over what the binding says now: what is claimed is what is run.
    pub fn becomes(&mut self, mode: Mode, action: &Action) {
        (self.mode, self.playbook, self.action) = (mode, action.to_string(), Some(action.clone()));
    }

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
        lines.extend(self.approval.as_ref().map(|approval| format!("  approval  {}", approval.describe())));
        if !self.guards.is_empty() {
            lines.push(format!("  passed    {}", self.guards.join(", ")));
        }
        let action = match self.action() {
            Action::Playbook(name) => {
                let digest = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "-".into());
                let (playbook, vars) = (digest(&self.playbook_sha256), digest(&self.vars_sha256));
                format!("  playbook  {name:?} sha256 {playbook}\n  variables sha256 {vars}")
            }
            other => format!("  action    {other}"),
        };
        lines.push(action);
        let times = [
            ("claimed", self.claimed_at),
            ("spawned", self.spawned_at),
            ("exited", self.exited_at),
            ("ended", self.ended_at),
        ];
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
