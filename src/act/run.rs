//! One run: what was decided, why, and what came of it. The record is what state keeps and `davylamp runs explain` shows.

mod explain;
mod id;
mod state;

use std::collections::BTreeMap;

use crate::act::approval::{Approval, Decision};
use crate::act::binding::Action;
use crate::act::events::{HostStats, TaskResult, cut};
use crate::act::executor::Place;
use crate::act::job::{ExitRecord, Supervisor};
use crate::act::settings::{Mode, Verify};
use crate::model::Alert;

pub use id::{RunId, RunIdError};
pub use state::RunState;

/// The version of the records that are written; 1 is read too, and any later one is refused, not guessed at.
pub const SCHEMA: u32 = 2;

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
    /// How the device stood before a command, in the command's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
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
    /// Who ended it or gave it up.
    #[serde(default)]
    pub cancelled_by: Option<String>,
    /// Where a controller keeps it.
    #[serde(default)]
    pub place: Option<Place>,
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
            before: None,
            rule: cut(&alert.rule, 512),
            labels,
            value: alert.value.to_string(),
            guards: Vec::new(),
            queued_at: now,
            claimed_at: None,
            spawned_at: None,
            exited_at: None,
            ended_at: None,
            cancelled_by: None,
            place: None,
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
            before: None,
            guards: Vec::new(),
            queued_at: now,
            claimed_at: None,
            spawned_at: None,
            exited_at: None,
            ended_at: None,
            cancelled_by: None,
            place: None,
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
}
