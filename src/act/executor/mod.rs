//! Who carries runs out: this process's own supervisors, a `davylamp runner` behind a socket, or an AWX.

pub mod awx;
mod awx_shapes;
mod folders;
pub mod local;
mod prepare;
mod printed;
pub mod remote;

use futures_util::future::BoxFuture;

use crate::act::events::Events;
use crate::act::facts::Host;
use crate::act::inventory::Inventory;
use crate::act::job::{ExitRecord, Supervisor};
use crate::act::run::RunId;
use crate::act::vars::Value;

/// Everything that is needed to carry out one run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Identity; the same id is never started twice.
    pub run: RunId,
    /// Playbook, relative to the executor's playbook folder.
    pub playbook: String,
    /// The one inventory host to act on.
    pub target: String,
    /// `--check --diff`.
    pub check: bool,
    /// The extra variable `davylamp`.
    pub vars: Value,
    /// Time limit, milliseconds.
    pub timeout_ms: u64,
    /// The target as a host, when the inventory is generated.
    pub host: Option<Host>,
}

/// A run that was started.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Started {
    /// Digest of the playbook; `None` where it is not ours.
    pub playbook_sha256: Option<String>,
    /// Digest of the variables.
    pub vars_sha256: String,
    /// The supervisor; `None` where a controller does its work.
    pub supervisor: Option<Supervisor>,
}

/// Where a person finds a run in a controller.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// Number of the job.
    pub job: u64,
    /// Address of its page.
    pub url: String,
}

/// What is known of a run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Never heard of.
    Unknown,
    /// Its supervisor lives.
    Running,
    /// It ended.
    Ended(Box<Report>),
    /// It was begun, its supervisor is gone, and nothing says how it ended.
    Lost,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// What the supervisor wrote.
    pub exit: ExitRecord,
    /// What the play wrote.
    pub events: Events,
}

/// A part of what a play has printed so far, secrets masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Printed {
    /// Whole lines, as far as they are there.
    pub text: String,
    /// From where to ask for what follows.
    pub next: u64,
    /// What was asked for is gone, because the play printed too much: this is from the beginning of what is left.
    pub cut: bool,
    /// There is more by now.
    pub more: bool,
}

/// Why an executor did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorError {
    /// It cannot be asked at all, or gave no answer: nobody knows whether it was done.
    #[error("the executor does not answer: {0}")]
    Away(String),
    /// It will not do it, and nothing was started.
    #[error("{0}")]
    Refused(String),
    /// It cannot be given up: its supervisor lives.
    #[error("the run is still going on")]
    StillRunning,
}

/// Carries runs out. Everything may be called again: the run's id decides.
pub trait Executor: Send + Sync {
    /// Whether a run could be started now; asked before a claim is written.
    fn ready(&self) -> BoxFuture<'_, Result<(), ExecutorError>>;

    /// Starts a run. After [`ExecutorError::Refused`] nothing was started, and nothing ever will be under this id;
    /// after any other error only [`Executor::status`] knows.
    fn start(&self, request: RunRequest) -> BoxFuture<'_, Result<Started, ExecutorError>>;

    /// What is known of a run.
    fn status(&self, run: RunId) -> BoxFuture<'_, Result<RunStatus, ExecutorError>>;

    /// Asks a run to end; its status says when it has.
    fn cancel(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>>;

    /// Gives up a run whose supervisor is gone or never came: from then on it cannot start any more, and whatever is
    /// left of its processes is killed. [`ExecutorError::StillRunning`] when its supervisor lives.
    fn abandon(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>>;

    /// What a run has printed, from an offset on that an answer before this one named; 0 for the beginning.
    fn printed(&self, run: RunId, from: u64) -> BoxFuture<'_, Result<Printed, ExecutorError>> {
        let text = format!("the output of {run} is not kept here, so nothing of it after {from} can be shown");
        Box::pin(std::future::ready(Err(ExecutorError::Refused(text))))
    }

    /// Where a controller keeps a run; `None` where there is no controller, or the job is not known yet.
    fn place(&self, _run: &RunId) -> Option<Place> {
        None
    }

    /// The hosts of the configured inventory; `None` when inventories are generated per run.
    fn inventory(&self) -> BoxFuture<'_, Result<Option<Inventory>, ExecutorError>>;

    /// Whether runs go on when this process ends and nobody asks them to stop.
    fn outlives_us(&self) -> bool;
}
