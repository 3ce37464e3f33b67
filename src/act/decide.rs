//! Approvals: asking for them once the check run has ended, taking what a person decides, giving up in time.

use crate::act::actor::{Actor, Round};
use crate::act::approval::Decision;
use crate::act::binding::Action;
use crate::act::control::{ControlError, Order, Verb};
use crate::act::episode::Episode;
use crate::act::executor::ExecutorError;
use crate::act::reason::Reason;
use crate::act::run::{Run, RunId, RunState};

impl Actor {
    /// Looks after the runs that wait for an approval.
    pub(super) async fn mind_approvals(&mut self, round: &Round) {
        let now = self.driver.world.now();
        let bindings = self.bindings.borrow().clone();
        for mut run in self.driver.book.in_state(RunState::WaitingApproval) {
            let binding = bindings.iter().find(|binding| binding.name == run.binding);
            let wanted = binding.filter(|binding| self.wanted_by(&run, binding, round).is_some());
            let Some(binding) = wanted else {
                tracing::info!(run = %run.id, "no approval is wanted any more: nothing fires");
                self.driver.book.given_up(&run, Reason::NotFiring);
                if let Err(error) = self.driver.book.drop_run(&run.id).await {
                    tracing::error!(run = %run.id, %error, "cannot remove a run that nobody wants any more");
                }
                continue;
            };
            if run.approval.as_ref().is_none_or(|approval| now >= approval.expires_at) {
                self.driver.book.given_up(&run, Reason::Expired);
                self.expire(run, "nobody approved it in time").await;
                continue;
            }
            let check = self.driver.book.run(&run.id.rehearsal());
            if check.is_none() {
                // The queue was full, or the disk.
                let rehearsal = run.rehearsal(now);
                if let Some(alert) = self.wanted_by(&run, binding, round) {
                    self.enqueue(&alert, rehearsal).await;
                }
            }
            let Some(approval) = &mut run.approval else { continue };
            if approval.asked_at.is_some() || !check.as_ref().is_some_and(|check| check.state.is_final()) {
                continue;
            }
            // Links only where they can lead somewhere.
            let token = self.approval_url.as_ref().and_then(|_| approval.new_token().ok());
            approval.asked_at = Some(now);
            match self.driver.book.save(&run).await {
                Ok(()) => self.tell_approval(binding, &run, check.as_ref(), token.as_deref()),
                Err(error) => tracing::error!(run = %run.id, %error, "cannot record that an approval is asked for"),
            }
        }
    }

    /// Does what a person orders.
    pub(super) async fn obey(&mut self, order: Order) {
        let done = match &order.verb {
            Verb::Decide { run, decision, token } => self.decided(run, *decision, token.as_deref(), &order.by).await,
            Verb::Cancel { run } => self.cancel(run, &order.by).await,
            Verb::Retry { run } => self.retry(run, &order.by).await,
            Verb::Close { binding, target } => self.close(binding, target, &order.by).await,
        };
        // Who asked may have gone away.
        let _ = order.answer.send(done);
        let round = self.round().await;
        self.dispatch(&round).await;
    }

    fn known(&self, id: &RunId) -> Result<Run, ControlError> {
        self.driver.book.run(id).ok_or_else(|| ControlError::Unknown(id.clone()))
    }

    async fn decided(
        &mut self,
        id: &RunId,
        decision: Decision,
        token: Option<&str>,
        by: &str,
    ) -> Result<(), ControlError> {
        let now = self.driver.world.now();
        let mut run = self.known(id)?;
        let waits = run.state == RunState::WaitingApproval;
        let Some(approval) = run.approval.as_mut().filter(|_| waits) else {
            return Err(ControlError::NotWaiting(id.clone(), run.state));
        };
        if token.is_some_and(|token| !approval.accepts(token, now)) {
            return Err(ControlError::BadToken);
        }
        if now >= approval.expires_at {
            return Err(ControlError::TooLate(id.clone()));
        }
        let checked = self.driver.book.run(&id.rehearsal()).is_some_and(|check| check.state.is_final());
        if decision == Decision::Approve && !checked {
            return Err(ControlError::NotChecked(id.clone()));
        }
        approval.decide(decision, by, now);
        match decision {
            Decision::Approve => (run.state, run.queued_at) = (RunState::Queued, now),
            Decision::Reject => {
                (run.state, run.ended_at) = (RunState::Rejected, Some(now));
                run.detail = format!("{by} did not allow it");
            }
        }
        self.driver.book.save(&run).await?;
        tracing::info!(run = %run.id, by, state = run.state.as_str(), "decided");
        if run.state == RunState::Queued {
            self.queue.push(run.id);
        }
        Ok(())
    }

    async fn cancel(&mut self, id: &RunId, by: &str) -> Result<(), ControlError> {
        let mut run = self.known(id)?;
        match run.state {
            RunState::Queued | RunState::WaitingApproval | RunState::Verifying => {
                (run.state, run.ended_at) = (RunState::Cancelled, Some(self.driver.world.now()));
                run.detail = format!("{by} cancelled it");
                run.cancelled_by = Some(by.to_string());
                if let Some(approval) = &mut run.approval {
                    approval.forget_token();
                }
                self.driver.book.save(&run).await?;
                tracing::info!(run = %run.id, by, "cancelled");
                Ok(())
            }
            state if state.is_running() && matches!(run.action(), Action::Playbook(_)) => {
                tracing::info!(run = %run.id, by, "cancelling");
                self.driver.cancelled_by(id, by);
                Ok(self.driver.executor.cancel(id.clone()).await?)
            }
            state => Err(ControlError::NotCancellable(id.clone(), state)),
        }
    }

    /// Wants a step again that ended; the order is its approval. Guards are asked like for any other run.
    async fn retry(&mut self, id: &RunId, by: &str) -> Result<(), ControlError> {
        let now = self.driver.world.now();
        let old = self.known(id)?;
        let episode = self.driver.book.episode(&old.binding, &old.target);
        let current =
            episode.as_ref().filter(|episode| episode.opened_at == old.episode && episode.closed_at.is_none());
        if !old.state.is_final() || old.rehearses.is_some() || current.is_none() {
            return Err(ControlError::NotRetryable(id.clone(), old.state));
        }
        let again = old.again(by, now);
        if self.driver.book.run(&again.id).is_some() {
            return Err(ControlError::NotRetryable(id.clone(), old.state));
        }
        if self.queue.len() >= self.limits.queue {
            return Err(ControlError::QueueFull);
        }
        self.driver.book.save(&again).await?;
        tracing::info!(run = %again.id, of = %id, by, "tried again");
        self.queue.push(again.id);
        if let Some(mut episode) = episode {
            episode.told = false;
            self.save_episode(&episode).await;
        }
        Ok(())
    }

    async fn close(&mut self, binding: &str, target: &str, by: &str) -> Result<(), ControlError> {
        let episode = self.driver.book.episode(binding, target).filter(|episode| episode.closed_at.is_none());
        let Some(mut episode): Option<Episode> = episode else {
            return Err(ControlError::NoEpisode(binding.to_string(), target.to_string()));
        };
        episode.close(self.driver.world.now());
        self.driver.book.save_episode(&episode).await?;
        tracing::info!(binding, target, by, "episode closed");
        Ok(())
    }
}

impl From<ExecutorError> for ControlError {
    fn from(error: ExecutorError) -> Self {
        ControlError::Executor(error)
    }
}
