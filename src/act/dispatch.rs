//! What waits: into the queue, and out of it again by a claim, because nobody wants it any more, or by its age.

use crate::act::actor::Actor;
use crate::act::check::Binding;
use crate::act::episode::{Episode, alert_key};
use crate::act::events::cut;
use crate::act::executor::RunRequest;
use crate::act::judge::{Reason, Verdict};
use crate::act::ledger::LedgerError;
use crate::act::run::{Run, RunId, RunState, SCHEMA};
use crate::act::settings::Mode;
use crate::act::vars::{About, of_alert};
use crate::model::Alert;

impl Actor {
    pub(super) async fn enqueue(
        &mut self,
        alert: &Alert,
        binding: &Binding,
        target: &str,
        episode: &Episode,
        id: RunId,
    ) {
        if self.queue.len() >= self.limits.queue {
            return self.hold(binding, alert, Reason::QueueFull);
        }
        let labels = alert.labels.iter().map(|(name, value)| (cut(name, 128), cut(value, 256))).take(64).collect();
        let run = Run {
            schema: SCHEMA,
            id: id.clone(),
            binding: binding.name.clone(),
            target: target.to_string(),
            episode: episode.opened_at,
            step: 0,
            mode: binding.mode,
            playbook: binding.playbook.clone(),
            state: RunState::Queued,
            detail: String::new(),
            rule: cut(&alert.rule, 512),
            labels,
            value: alert.value.to_string(),
            guards: Vec::new(),
            queued_at: self.driver.world.now(),
            claimed_at: None,
            spawned_at: None,
            ended_at: None,
            playbook_sha256: None,
            vars_sha256: None,
            supervisor: None,
            exit: None,
            tasks: Vec::new(),
            tasks_dropped: 0,
            stats: Default::default(),
        };
        match self.driver.book.save(&run).await {
            Ok(()) => {
                self.held.remove(&(binding.name.clone(), alert_key(alert)));
                self.queue.push(id);
            }
            Err(error) => {
                tracing::error!(run = %id, %error, "cannot record a run, so it waits");
                self.refresh_after(&error).await;
                // Our own write came through after all.
                if self.driver.book.run(&id).is_some_and(|run| run.state == RunState::Queued) {
                    self.queue.push(id);
                } else {
                    self.hold(binding, alert, Reason::LedgerUnavailable);
                }
            }
        }
    }

    /// Starts what waits and may start now.
    pub(super) async fn dispatch(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let firing = self.driver.world.firing();
        let mut ready = None;
        for id in std::mem::take(&mut self.queue) {
            let Some(run) = self.driver.book.run(&id).filter(|run| run.state == RunState::Queued) else { continue };
            let waits = match self.decide(&run, &firing) {
                Decision::Wait => true,
                Decision::Expire => !self.expire(run).await,
                Decision::Drop => self.driver.book.drop_run(&id).await.is_err(),
                Decision::Start(alert, binding, guards) => {
                    // Asked once per round, and only when there is something to start.
                    if ready.is_none() {
                        let answer = self.driver.executor.ready().await;
                        ready = Some(answer.is_ok());
                        self.executor_says(answer.err());
                    }
                    ready != Some(true) || !self.claim(run, &alert, &binding, guards).await
                }
            };
            if waits {
                self.queue.push(id);
            }
        }
    }

    /// What to do with a waiting run, asked at the moment of action.
    fn decide(&mut self, run: &Run, firing: &[Alert]) -> Decision {
        let now = self.driver.world.now();
        let bindings = self.bindings.borrow().clone();
        let Some(binding) = bindings.iter().find(|binding| binding.name == run.binding) else { return Decision::Drop };
        let ours = |alert: &&Alert| {
            binding.matches(&alert.labels) && binding.target.expand(&alert.labels).as_deref() == Some(&run.target)
        };
        // Any alert of the episode will do: the first one may be over while another still fires.
        let Some(alert) = firing.iter().filter(ours).find(|alert| alert.keep_firing_since.is_none()) else {
            self.driver.book.suppressed(Reason::NotFiring);
            tracing::info!(run = %run.id, "no longer wanted: nothing fires any more");
            return Decision::Drop;
        };
        let waited = now.saturating_sub(run.queued_at);
        if waited > i64::try_from(self.limits.queue_expiry.as_millis()).unwrap_or(i64::MAX) {
            return Decision::Expire;
        }
        match self.judge(alert, binding, &run.target, &run.id) {
            Verdict::Run { guards, .. } => Decision::Start(Box::new(alert.clone()), Box::new(binding.clone()), guards),
            Verdict::Skip(reason) if reason.only_waits() => Decision::Wait,
            Verdict::Skip(reason) => {
                self.hold(binding, alert, reason);
                Decision::Drop
            }
        }
    }

    async fn expire(&mut self, mut run: Run) -> bool {
        run.state = RunState::Expired;
        run.detail = "it waited too long and is not started any more".into();
        run.ended_at = Some(self.driver.world.now());
        let written = self.driver.book.save(&run).await;
        match &written {
            Ok(()) => tracing::warn!(run = %run.id, binding = run.binding, target = run.target, "run expired"),
            Err(error) => tracing::error!(run = %run.id, %error, "cannot record an expired run"),
        }
        written.is_ok()
    }

    /// Writes the claim and only then lets the run start. True when the run need not wait any longer.
    async fn claim(&mut self, mut run: Run, alert: &Alert, binding: &Binding, guards: Vec<&'static str>) -> bool {
        let world = &self.driver.world;
        let about =
            About { run: run.id.as_str(), binding: &binding.name, target: &run.target, mode: binding.mode.as_str() };
        let request = RunRequest {
            run: run.id.clone(),
            playbook: binding.playbook.clone(),
            target: run.target.clone(),
            check: binding.mode != Mode::Auto,
            vars: of_alert(about, alert),
            timeout_ms: u64::try_from(binding.timeout.as_millis()).unwrap_or(u64::MAX),
            host: world.hosts().into_iter().find(|host| host.name == run.target),
        };
        // The binding may have changed since the run was queued: what is claimed is what is run.
        (run.mode, run.playbook) = (binding.mode, binding.playbook.clone());
        run.state = RunState::Claimed;
        run.claimed_at = Some(world.now());
        run.guards = guards.into_iter().map(String::from).collect();
        match self.driver.book.save(&run).await {
            Ok(()) => {
                tracing::info!(run = %run.id, binding = run.binding, target = run.target, "run claimed");
                self.tasks.spawn(self.driver.clone().drive(run, Some(request)));
                true
            }
            Err(LedgerError::Conflict { .. }) => {
                tracing::error!(run = %run.id, "claimed by someone else, or by a write that was reported as failed");
                self.driver.book.disown(&run.id);
                true
            }
            Err(error) => {
                tracing::error!(run = %run.id, %error, "no claim, no run");
                false
            }
        }
    }
}

/// What becomes of a waiting run.
enum Decision {
    Wait,
    Expire,
    /// Forget it, so that it may be wanted again.
    Drop,
    Start(Box<Alert>, Box<Binding>, Vec<&'static str>),
}
