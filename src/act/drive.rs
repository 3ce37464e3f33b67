//! One claimed run from its start to its verdict. After a crash the same road is walked without the start.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::act::binding::{Action, split_target};
use crate::act::book::Book;
use crate::act::events::cut;
use crate::act::executor::{Executor, ExecutorError, Report, RunRequest, RunStatus};
use crate::act::facts::World;
use crate::act::hands::{Effect, Hands, HandsError};
use crate::act::ledger::LedgerError;
use crate::act::run::{Run, RunId, RunState};
use crate::act::verdict::verdict;

/// How often a run is looked at: soon after its start, rarer later.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long to wait before a failed write to the ledger is tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// What the tasks that follow runs share.
#[derive(Clone)]
pub(super) struct Driver {
    pub(super) book: Arc<Book>,
    pub(super) executor: Arc<dyn Executor>,
    pub(super) world: Arc<dyn World>,
    pub(super) hands: Arc<dyn Hands>,
    /// Set when the daemon stops: a run that is ended then was interrupted, not cancelled.
    pub(super) stopping: Arc<AtomicBool>,
    /// Who asked for the end of a run.
    pub(super) cancelled: Arc<Mutex<HashMap<RunId, String>>>,
}

/// What a claimed run does.
pub(super) enum Work {
    /// Runs a playbook.
    Playbook(Box<RunRequest>),
    /// Does something else within a time.
    Effect(Effect, Duration),
    /// It was begun by an earlier process.
    TakenUp,
}

impl Driver {
    /// Starts a claimed run and follows it to its end, or until it is to be seen whether it helped. Every step is recorded.
    pub(super) async fn drive(self, mut run: Run, work: Work) {
        let result = match work {
            Work::Playbook(request) => match self.start(&mut run, *request).await {
                Ok(()) if !run.state.is_final() => self.follow(&mut run).await,
                other => other,
            },
            Work::Effect(effect, within) => self.effect(&mut run, effect, within).await,
            Work::TakenUp if matches!(run.action(), Action::Playbook(_)) => self.follow(&mut run).await,
            Work::TakenUp => {
                let why = "the daemon ended while it was done; how far it got is unknown";
                self.end(&mut run, RunState::Interrupted, why.into()).await
            }
        };
        match result {
            Ok(()) if run.state == RunState::Verifying => {
                tracing::info!(run = %run.id, binding = run.binding, target = run.target, "run ended well; does it help?");
            }
            Ok(()) => tracing::info!(run = %run.id, binding = run.binding, target = run.target,
                state = run.state.as_str(), detail = run.detail, "run ended"),
            Err(error) => {
                tracing::error!(run = %run.id, %error, "the record of a run was taken over by someone else");
                self.book.disown(&run.id);
            }
        }
    }

    /// Notes who asked for the end of a run, for its record.
    pub(super) fn cancelled_by(&self, run: &RunId, by: &str) {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).insert(run.clone(), by.to_string());
    }

    async fn start(&self, run: &mut Run, request: RunRequest) -> Result<(), LedgerError> {
        match self.executor.start(request).await {
            Ok(started) => {
                run.state = RunState::Spawned;
                run.spawned_at = Some(self.world.now());
                run.playbook_sha256 = started.playbook_sha256;
                run.vars_sha256 = Some(started.vars_sha256);
                run.supervisor = started.supervisor;
                run.place = self.executor.place(&run.id);
                self.save(run).await
            }
            Err(ExecutorError::Refused(why)) => self.end(run, RunState::Failed, why).await,
            // Nobody knows whether it was started; the run's status will tell.
            Err(error) => {
                tracing::warn!(run = %run.id, %error, "no answer to a start");
                Ok(())
            }
        }
    }

    async fn effect(&self, run: &mut Run, effect: Effect, within: Duration) -> Result<(), LedgerError> {
        run.state = RunState::Spawned;
        run.spawned_at = Some(self.world.now());
        self.save(run).await?;
        let real = run.is_real();
        let work = if real { self.hands.perform(effect, within) } else { self.hands.rehearse(effect, within) };
        let outcome = tokio::time::timeout(within, work).await;
        let (state, detail) = match outcome {
            Ok(Ok(done)) => {
                run.before = done.before.map(|before| cut(&before, 128));
                (RunState::Succeeded, done.detail)
            }
            Ok(Err(HandsError::Refused(why) | HandsError::Failed(why))) => (RunState::Failed, why),
            Ok(Err(error @ HandsError::Unknown(_))) => (RunState::Unreachable, error.to_string()),
            Err(_) => (RunState::TimedOut, "it took too long, and nobody knows whether it was done".into()),
        };
        run.state = RunState::Exited;
        run.exited_at = Some(self.world.now());
        self.save(run).await?;
        self.end(run, state, detail).await
    }

    async fn follow(&self, run: &mut Run) -> Result<(), LedgerError> {
        let mut pause = LOOK.0;
        loop {
            match self.executor.status(run.id.clone()).await {
                Ok(RunStatus::Ended(report)) => return self.judge(run, *report).await,
                Ok(RunStatus::Lost | RunStatus::Unknown) => {
                    // Only when it can no longer start, and nothing of it is left, is it over.
                    if self.executor.abandon(run.id.clone()).await.is_ok() {
                        let why = "whoever ran it is gone without a record; how far the play got is unknown";
                        return self.end(run, RunState::Interrupted, why.into()).await;
                    }
                }
                Ok(RunStatus::Running) => {}
                Err(error) => tracing::debug!(run = %run.id, %error, "cannot ask for a run"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    async fn judge(&self, run: &mut Run, report: Report) -> Result<(), LedgerError> {
        let host = split_target(&run.target).0;
        let (mut state, mut detail) = verdict(&report.exit, &report.events, &[host]);
        if state == RunState::Cancelled && self.stopping.load(Ordering::Relaxed) {
            (state, detail) = (RunState::Interrupted, "the daemon stopped and ended the play".into());
        }
        let asked = self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).remove(&run.id);
        if let Some(by) = asked.filter(|_| state == RunState::Cancelled) {
            detail = format!("{by} cancelled it");
            run.cancelled_by = Some(by);
        }
        run.place = run.place.take().or_else(|| self.executor.place(&run.id));
        run.state = RunState::Exited;
        run.exited_at = Some(self.world.now());
        run.exit = Some(report.exit);
        run.tasks = report.events.tasks;
        run.tasks_dropped = report.events.tasks_dropped;
        run.stats = report.events.stats.unwrap_or_default();
        self.save(run).await?;
        self.end(run, state, detail).await
    }

    /// Records the end; of what ended well and is to be verified, that this begins.
    pub(super) async fn end(&self, run: &mut Run, state: RunState, detail: String) -> Result<(), LedgerError> {
        run.state = state;
        run.detail = cut(&detail, 1000);
        if state == RunState::Succeeded && run.verify.is_some() && run.is_real() {
            run.state = RunState::Verifying;
            run.exited_at.get_or_insert(self.world.now());
            return self.save(run).await;
        }
        run.ended_at = Some(self.world.now());
        self.save(run).await
    }

    /// Writes until it is written: what happened in the world has happened, whatever the disk says.
    async fn save(&self, run: &Run) -> Result<(), LedgerError> {
        let mut failed_before = false;
        loop {
            match self.book.save(run).await {
                Err(error @ LedgerError::Unavailable { .. }) => {
                    tracing::error!(run = %run.id, %error, "cannot record a run; trying again");
                    failed_before = true;
                }
                Err(conflict) if failed_before => match self.book.was_written(run).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => return Err(conflict),
                    Err(error) => tracing::error!(run = %run.id, %error, "cannot read the record of a run"),
                },
                other => return other,
            }
            tokio::time::sleep(WRITE_AGAIN).await;
        }
    }
}
