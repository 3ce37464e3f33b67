//! What a person can see and order: the one door for the command line and the HTTP surface.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::act::approval::Decision;
use crate::act::book::{Book, Held};
use crate::act::episode::Episode;
use crate::act::executor::{Executor, ExecutorError, Printed};
use crate::act::ledger::LedgerError;
use crate::act::run::{Run, RunId, RunState};
pub use crate::act::shown::Filter;

/// Orders that may wait for the actor; a person gives one at a time.
pub(super) const ORDERS: usize = 32;

/// Sees everything, and gives orders to the actor. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    book: Arc<Book>,
    executor: Arc<dyn Executor>,
    orders: mpsc::Sender<Order>,
}

/// An order, who gives it, and where the answer goes.
pub(super) struct Order {
    pub(super) verb: Verb,
    pub(super) by: String,
    pub(super) answer: oneshot::Sender<Result<(), ControlError>>,
}

pub(super) enum Verb {
    Decide { run: RunId, decision: Decision, token: Option<String> },
    Cancel { run: RunId },
    Retry { run: RunId },
    Close { binding: String, target: String },
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No such run.
    #[error("there is no run {0}")]
    Unknown(RunId),
    /// It does not wait for an approval.
    #[error("run {0} does not wait for an approval: it is {1}")]
    NotWaiting(RunId, RunState),
    /// Its check run has not ended.
    #[error("the check run of {0} has not ended; approve it once you have seen what it would change")]
    NotChecked(RunId),
    /// Its time is over.
    #[error("the time to approve run {0} is over")]
    TooLate(RunId),
    /// The link is wrong, used, or too old.
    #[error("this link is not valid: it was used, is too old, or was never handed out")]
    BadToken,
    /// It cannot be cancelled.
    #[error("run {0} cannot be cancelled: it is {1}")]
    NotCancellable(RunId, RunState),
    /// It cannot be tried again.
    #[error("run {0} cannot be tried again: it is {1}, and only the last run of a step of an open episode can")]
    NotRetryable(RunId, RunState),
    /// No open episode.
    #[error("there is no open episode of {0} on {1}")]
    NoEpisode(String, String),
    /// As many runs wait as may.
    #[error("as many runs wait as may; try again later")]
    QueueFull,
    /// The executor would not.
    #[error(transparent)]
    Executor(ExecutorError),
    /// The record could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Nobody carries out orders any more.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Control {
    pub(super) fn new(book: Arc<Book>, executor: Arc<dyn Executor>) -> (Control, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(ORDERS);
        (Control { book, executor, orders }, receiver)
    }

    /// The records.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Runs, newest first.
    pub fn list(&self, filter: &Filter) -> Vec<Run> {
        self.book.list(filter)
    }

    /// One run.
    ///
    /// # Errors
    /// [`ControlError::Unknown`].
    pub fn show(&self, id: &RunId) -> Result<Run, ControlError> {
        self.book.run(id).ok_or_else(|| ControlError::Unknown(id.clone()))
    }

    /// What a run has printed so far, from an offset on that an answer before this one named; 0 for the beginning.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn printed(&self, id: &RunId, from: u64) -> Result<Printed, ControlError> {
        self.show(id)?;
        Ok(self.executor.printed(id.clone(), from).await?)
    }

    /// All episodes, open and closed.
    pub fn episodes(&self) -> Vec<Episode> {
        self.book.episodes()
    }

    /// What is held back now, and why.
    pub fn held(&self) -> Vec<Held> {
        self.book.held()
    }

    /// Lets a run go that waits for it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn approve(&self, id: &RunId, by: &str) -> Result<Run, ControlError> {
        self.decide(id, Decision::Approve, None, by).await
    }

    /// Does not let a run go that waits for it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn reject(&self, id: &RunId, by: &str) -> Result<Run, ControlError> {
        self.decide(id, Decision::Reject, None, by).await
    }

    /// The run that a one-time link is about, to be shown beside the buttons. Looking uses nothing up.
    ///
    /// # Errors
    /// [`ControlError::BadToken`], also for runs that do not exist.
    pub fn look_by_token(&self, id: &RunId, token: &str, now: i64) -> Result<Run, ControlError> {
        let run = self.book.run(id).filter(|run| run.state == RunState::WaitingApproval);
        let accepted = |run: &Run| run.approval.as_ref().is_some_and(|approval| approval.accepts(token, now));
        run.filter(accepted).ok_or(ControlError::BadToken)
    }

    /// Decides by a one-time link, which is used up by it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn decide_by_token(&self, id: &RunId, token: &str, decision: Decision) -> Result<Run, ControlError> {
        if self.book.run(id).is_none() {
            return Err(ControlError::BadToken);
        }
        self.decide(id, decision, Some(token.to_string()), "one-time link").await
    }

    /// Ends a run that goes on, or gives up one that waits.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn cancel(&self, id: &RunId, by: &str) -> Result<Run, ControlError> {
        self.order(Verb::Cancel { run: id.clone() }, by).await?;
        self.show(id)
    }

    /// Wants the step of a run again that has ended. The new run.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn retry(&self, id: &RunId, by: &str) -> Result<Run, ControlError> {
        self.order(Verb::Retry { run: id.clone() }, by).await?;
        let old = self.show(id)?;
        self.show(&old.next_attempt())
    }

    /// Closes an episode by hand: the next alert opens a new one.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn close_episode(&self, binding: &str, target: &str, by: &str) -> Result<(), ControlError> {
        self.order(Verb::Close { binding: binding.to_string(), target: target.to_string() }, by).await
    }

    async fn decide(
        &self,
        id: &RunId,
        decision: Decision,
        token: Option<String>,
        by: &str,
    ) -> Result<Run, ControlError> {
        self.order(Verb::Decide { run: id.clone(), decision, token }, by).await?;
        self.show(id)
    }

    async fn order(&self, verb: Verb, by: &str) -> Result<(), ControlError> {
        let (answer, answered) = oneshot::channel();
        // Whoever it is, the name goes into records and logs.
        let by = crate::act::events::cut(by, 128);
        self.orders.send(Order { verb, by, answer }).await.map_err(|_| ControlError::Stopping)?;
        answered.await.map_err(|_| ControlError::Stopping)?
    }
}
