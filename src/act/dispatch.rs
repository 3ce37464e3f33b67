//! What waits: into the queue, and out of it again by a claim, because nobody wants it any more, or by its age.

use crate::act::actor::{Actor, Round};
use crate::act::binding::{Action, Binding, StepPlan, split_target};
use crate::act::drive::Work;
use crate::act::episode::alert_key;
use crate::act::executor::RunRequest;
use crate::act::hands::{Effect, Message};
use crate::act::judge::{Verdict, Wish};
use crate::act::ledger::LedgerError;
use crate::act::reason::Reason;
use crate::act::run::{Run, RunState};
use crate::act::settings::Mode;
use crate::act::vars::{About, of_alert};
use crate::model::Alert;

impl Actor {
    /// Writes a run that is wanted and lets it wait for its turn.
    pub(super) async fn enqueue(&mut self, alert: &Alert, run: Run) {
        if self.queue.len() >= self.limits.queue {
            return self.hold(&run.binding, alert, Reason::QueueFull);
        }
        let id = run.id.clone();
        if self.record(&run).await {
            self.let_go(&run.binding, alert);
            self.queue.push(id);
        } else {
            self.hold(&run.binding, alert, Reason::LedgerUnavailable);
        }
    }

    /// An alert is no longer held back.
    fn let_go(&self, binding: &str, alert: &Alert) {
        let key = alert_key(alert);
        self.driver.book.keep_held(|held, of| !(held == binding && of == key));
    }

    /// Writes a new record. True when it is there, also when our own write came through though it was reported as failed.
    pub(super) async fn record(&mut self, run: &Run) -> bool {
        let Err(error) = self.driver.book.save(run).await else { return true };
        tracing::error!(run = %run.id, %error, "cannot record a run, so it waits");
        self.refresh_after(&error).await;
        self.driver.book.run(&run.id).is_some_and(|known| known.state == run.state)
    }

    /// Starts what waits and may start now.
    pub(super) async fn dispatch(&mut self, round: &Round) {
        let mut ready = None;
        for id in std::mem::take(&mut self.queue) {
            let Some(run) = self.driver.book.run(&id).filter(|run| run.state == RunState::Queued) else { continue };
            let waits = match self.decide(&run, round) {
                Decision::Wait => true,
                Decision::Expire => !self.expire(run, "it waited too long and is not started any more").await,
                Decision::Drop => self.driver.book.drop_run(&id).await.is_err(),
                Decision::Start(start) => {
                    // Asked once per round, and only when there is a playbook to start.
                    let playbook = matches!(start.step.action, Action::Playbook(_));
                    if playbook && ready.is_none() {
                        let answer = self.driver.executor.ready().await;
                        ready = Some(answer.is_ok());
                        self.executor_says(answer.err());
                    }
                    playbook && ready != Some(true) || !self.claim(run, *start).await
                }
            };
            if waits {
                self.queue.push(id);
            }
        }
    }

    /// What to do with a waiting run, asked at the moment of action.
    fn decide(&mut self, run: &Run, round: &Round) -> Decision {
        let bindings = self.bindings.borrow().clone();
        let wanted = bindings.iter().find(|binding| binding.name == run.binding);
        let Some((binding, step)) = wanted.and_then(|binding| Some((binding, binding.step(run.step)?))) else {
            return Decision::Drop;
        };
        // A run that nobody has approved may not slip through because the configuration changed while it waited.
        let mode = binding.mode_of(step);
        if run.rehearses.is_none() && mode == Mode::Approve && !run.is_approved() {
            return Decision::Drop;
        }
        if run.rehearses.as_ref().is_some_and(|of| self.driver.book.run(of).is_none_or(|of| of.state.is_final())) {
            return Decision::Drop;
        }
        let Some(alert) = self.wanted_by(run, binding, round) else {
            self.driver.book.given_up(run, Reason::NotFiring);
            tracing::info!(run = %run.id, "no longer wanted: nothing fires any more");
            return Decision::Drop;
        };
        let waited = self.driver.world.now().saturating_sub(run.queued_at);
        if waited > i64::try_from(self.limits.queue_expiry.as_millis()).unwrap_or(i64::MAX) {
            self.driver.book.given_up(run, Reason::Expired);
            return Decision::Expire;
        }
        let first = run.step == 0 && run.attempt == 0;
        let wish = Wish { binding, step, target: &run.target, first, blind: run.blind, approved: run.is_approved() };
        let start = |guards| {
            let (alert, binding, step) = (alert.clone(), binding.clone(), step.clone());
            Decision::Start(Box::new(Start { alert, binding, step, guards }))
        };
        match self.judge(&wish, &alert, Some(&run.id), round) {
            Verdict::Run(guards) => start(guards),
            Verdict::Skip(reason) if reason.only_waits() => {
                self.hold(&binding.name, &alert, reason);
                Decision::Wait
            }
            // A check run changes nothing; whether the run itself may go is asked when it is approved.
            Verdict::Skip(_) if run.rehearses.is_some() => start(Vec::new()),
            Verdict::Skip(reason) => {
                self.hold(&binding.name, &alert, reason);
                // A person's word is not thrown away for a guard that may let go again.
                if run.is_approved() { Decision::Wait } else { Decision::Drop }
            }
        }
    }

    /// The alert for which a run is wanted: any that fires for its target will do, because the first one may be over
    /// while another still fires; after a step without data, the one that opened the episode.
    pub(super) fn wanted_by(&self, run: &Run, binding: &Binding, round: &Round) -> Option<Alert> {
        let firing = round.firing_for(binding, &run.target).find(|alert| alert.keep_firing_since.is_none());
        let remembered = || {
            let episode = self.driver.book.episode(&run.binding, &run.target)?;
            episode.alert.filter(|_| run.blind && episode.closed_at.is_none()).map(|alert| *alert)
        };
        firing.cloned().or_else(remembered)
    }

    pub(super) async fn expire(&mut self, mut run: Run, why: &str) -> bool {
        run.state = RunState::Expired;
        run.detail = why.into();
        run.ended_at = Some(self.driver.world.now());
        if let Some(approval) = &mut run.approval {
            approval.forget_token();
        }
        let written = self.driver.book.save(&run).await;
        match &written {
            Ok(()) => tracing::warn!(run = %run.id, binding = run.binding, target = run.target, "run expired"),
            Err(error) => tracing::error!(run = %run.id, %error, "cannot record an expired run"),
        }
        written.is_ok()
    }

    /// Writes the claim and only then lets the run start. True when the run need not wait any longer.
    async fn claim(&mut self, mut run: Run, start: Start) -> bool {
        let Start { alert, binding, step, guards } = start;
        // The binding may have changed since the run was queued: what is claimed is what is run.
        let mode = if run.rehearses.is_some() { Mode::Check } else { binding.mode_of(&step) };
        run.becomes(mode, &step.action);
        run.verify = step.verify;
        run.state = RunState::Claimed;
        run.claimed_at = Some(self.driver.world.now());
        run.guards = guards.into_iter().map(String::from).collect();
        let work = self.work(&run, &alert, &step);
        match self.driver.book.save(&run).await {
            Ok(()) => {
                tracing::info!(run = %run.id, binding = run.binding, target = run.target, "run claimed");
                self.let_go(&run.binding, &alert);
                self.tasks.spawn(self.driver.clone().drive(run, work));
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

    fn work(&self, run: &Run, alert: &Alert, step: &StepPlan) -> Work {
        let (host, part) = split_target(&run.target);
        let message = || message(run, alert);
        let effect = match &step.action {
            Action::Playbook(playbook) => {
                let mode = if run.is_real() { Mode::Auto } else { Mode::Check };
                let about =
                    About { run: run.id.as_str(), binding: &run.binding, target: &run.target, mode: mode.as_str() };
                let hosts = self.driver.world.hosts();
                return Work::Playbook(Box::new(RunRequest {
                    run: run.id.clone(),
                    playbook: playbook.clone(),
                    target: host.to_string(),
                    check: !run.is_real(),
                    vars: of_alert(about, alert),
                    timeout_ms: u64::try_from(step.timeout.as_millis()).unwrap_or(u64::MAX),
                    host: hosts.into_iter().find(|known| known.name == host),
                }));
            }
            Action::Device(command) => Effect::Device { target: host.into(), command: command.clone() },
            Action::Container(command) => Effect::Container {
                engine: host.into(),
                container: part.unwrap_or_default().into(),
                command: command.clone(),
            },
            Action::Webhook(receiver) => Effect::Webhook { receiver: receiver.clone(), message: message() },
            Action::Notify(receiver) => Effect::Notify { receiver: receiver.clone(), message: message() },
        };
        Work::Effect(effect, step.timeout)
    }
}

/// What a message step says.
fn message(run: &Run, alert: &Alert) -> Message {
    let name = alert.labels.get("alertname").unwrap_or("an alert");
    Message {
        subject: format!("{name} on {}: step {} of {}", run.target, run.step + 1, run.binding),
        text: format!("{name} fires on {} with value {}.", run.target, alert.value),
        run: Some(run.id.clone()),
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        links: Vec::new(),
    }
}

/// What becomes of a waiting run.
enum Decision {
    Wait,
    Expire,
    /// Forget it, so that it may be wanted again.
    Drop,
    Start(Box<Start>),
}

/// What is needed to start a run.
struct Start {
    alert: Alert,
    binding: Binding,
    step: StepPlan,
    guards: Vec<&'static str>,
}
