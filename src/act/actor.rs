//! The running part: takes transitions, keeps episodes, queues, claims and lets runs be carried out.
//!
//! It acts on levels, not on edges: a transition only makes it look sooner. Every few seconds it asks anew what fires,
//! so an alert that was held back (a cold start, a rule warming up, a full house) is judged again without anybody
//! having to remember it, and nothing depends on a message that a crash may swallow.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::act::book::Book;
use crate::act::check::{Binding, Limits};
use crate::act::drive::Driver;
use crate::act::episode::{Episode, alert_key};
use crate::act::executor::{Executor, ExecutorError};
use crate::act::facts::World;
use crate::act::inventory::{Inventory, Standing, is_plain};
use crate::act::judge::{Facts, Reason, Verdict, cooling, judge};
use crate::act::ledger::LedgerError;
use crate::act::run::{RunId, RunState};
use crate::act::settings::Mode;
use crate::model::{Alert, AlertState, Transition};

/// How often everything is looked at again.
const TICK: Duration = Duration::from_secs(5);
/// Ended runs and closed episodes are kept at least this long, however many there are.
const KEEP: Duration = Duration::from_secs(7 * 86_400);
/// How long a stopping daemon waits for plays that it has asked to end, beyond their own grace.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// Decides and drives. [`Actor::run`] is its whole life; the [`Book`] shows what it does.
pub struct Actor {
    pub(super) bindings: watch::Receiver<Arc<Vec<Binding>>>,
    pub(super) limits: Limits,
    kill_grace: Duration,
    pub(super) driver: Driver,
    started_at: i64,
    inventory: Option<Inventory>,
    inventories: JoinSet<Result<Option<Inventory>, ExecutorError>>,
    pub(super) tasks: JoinSet<()>,
    /// What was wrong with the executor last.
    trouble: Option<ExecutorError>,
    /// Waiting runs, oldest first; bounded by `limits.queue`.
    pub(super) queue: Vec<RunId>,
    /// Why an alert was held back last, by binding and alert: only a change is counted and logged.
    pub(super) held: HashMap<(String, String), Reason>,
}

impl Actor {
    /// An actor over a loaded book. `bindings` may change while it runs (a reload).
    pub fn new(
        bindings: watch::Receiver<Arc<Vec<Binding>>>,
        limits: Limits,
        kill_grace: Duration,
        book: Arc<Book>,
        executor: Arc<dyn Executor>,
        world: Arc<dyn World>,
    ) -> Self {
        let started_at = world.now();
        Actor {
            bindings,
            limits,
            kill_grace,
            driver: Driver { book, executor, world, stopping: Arc::new(AtomicBool::new(false)) },
            started_at,
            inventory: None,
            inventories: JoinSet::new(),
            tasks: JoinSet::new(),
            trouble: None,
            queue: Vec::new(),
            held: HashMap::new(),
        }
    }

    /// Takes up what an earlier process left, then works until `stop`, or until nobody can send any more. A transition
    /// may be told twice; the daemon tells those of restored alerts again after a start.
    pub async fn run(mut self, mut transitions: mpsc::Receiver<Transition>, stop: CancellationToken) {
        self.take_up();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    // A resolve is told once; what fires is told again after the next start, and nothing begins now.
                    while let Ok(transition) = transitions.try_recv() {
                        if transition.alert.state == AlertState::Resolved {
                            self.hear(transition).await;
                        }
                    }
                    break;
                }
                Some(done) = self.tasks.join_next() => {
                    if let Err(error) = done {
                        // Its record still says that it runs, so its target stays blocked until a restart looks again.
                        tracing::error!(%error, "a task that follows a run failed");
                    }
                    self.dispatch().await;
                }
                Some(answer) = self.inventories.join_next() => {
                    self.learn_inventory(answer);
                    self.look_around().await;
                }
                transition = transitions.recv() => match transition {
                    Some(transition) => self.hear(transition).await,
                    None => break,
                },
                _ = tick.tick() => self.tick().await,
            }
        }
        self.stop().await;
    }

    fn take_up(&mut self) {
        for run in self.driver.book.runs().into_iter().rev() {
            match run.state {
                RunState::Queued => self.queue.push(run.id),
                state if state.is_running() => {
                    tracing::warn!(run = %run.id, state = state.as_str(), "taking up a run of an earlier process");
                    self.tasks.spawn(self.driver.clone().drive(run, None));
                }
                _ => {}
            }
        }
    }

    async fn tick(&mut self) {
        let wanted = self.bindings.borrow().iter().any(|binding| binding.mode != Mode::Off);
        if wanted && self.inventories.is_empty() {
            let executor = self.driver.executor.clone();
            self.inventories.spawn(async move { executor.inventory().await });
        }
        let world = self.driver.world.clone();
        for mut episode in self.driver.book.episodes().into_iter().filter(|episode| episode.closed_at.is_none()) {
            episode.keep_rules(|rule| world.rule(rule).is_some(), world.now());
            self.save_episode(&episode).await;
        }
        self.look_around().await;
        let guards = self.bindings.borrow().iter().map(|binding| binding.budget.within.max(binding.cooldown)).max();
        let keep = KEEP.max(guards.unwrap_or_default());
        let horizon = world.now().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        if let Err(error) = self.driver.book.prune(horizon).await {
            tracing::warn!(%error, "cannot remove old records");
        }
    }

    fn learn_inventory(&mut self, answer: Result<Result<Option<Inventory>, ExecutorError>, tokio::task::JoinError>) {
        let answer = answer.unwrap_or_else(|error| Err(ExecutorError::Away(error.to_string())));
        let error = match answer {
            Ok(read) => {
                self.inventory = Some(read.unwrap_or_else(|| Inventory::of_hosts(&self.driver.world.hosts())));
                None
            }
            // Nothing new about the hosts; whether a run can start is asked of the executor before each claim.
            Err(error @ ExecutorError::Away(_)) => Some(error),
            Err(error) => {
                self.inventory = None;
                Some(error)
            }
        };
        if error.is_some() {
            self.executor_says(error);
        }
    }

    /// Logs what is wrong with the executor or its inventory, when that changes.
    pub(super) fn executor_says(&mut self, error: Option<ExecutorError>) {
        if error != self.trouble {
            match &error {
                Some(error) => tracing::warn!(%error, "no run can start; what is wanted waits"),
                None => tracing::info!("runs can start again"),
            }
            self.trouble = error;
        }
    }

    /// Judges everything that fires, then everything that waits.
    async fn look_around(&mut self) {
        let firing = self.driver.world.firing();
        let keys: BTreeSet<String> = firing.iter().map(alert_key).collect();
        self.held.retain(|(_, alert), _| keys.contains(alert));
        for alert in &firing {
            self.consider(alert, false).await;
        }
        self.dispatch().await;
    }

    async fn hear(&mut self, transition: Transition) {
        let alert = &transition.alert;
        match alert.state {
            AlertState::Pending => {}
            AlertState::Firing => {
                self.consider(alert, true).await;
                self.dispatch().await;
            }
            AlertState::Resolved => {
                let over = alert_key(alert);
                self.held.retain(|(_, alert), _| *alert != over);
                let bindings = self.bindings.borrow().clone();
                for binding in bindings.iter().filter(|binding| binding.matches(&alert.labels)) {
                    let target = binding.target.expand(&alert.labels);
                    let episode = target.and_then(|target| self.driver.book.episode(&binding.name, &target));
                    if let Some(mut episode) = episode {
                        episode.resolve(alert, transition.at, transition.positive);
                        self.save_episode(&episode).await;
                    }
                }
            }
        }
    }

    /// Opens or continues the episodes of a firing alert and queues what may run. `edge`: it has only just fired.
    async fn consider(&mut self, alert: &Alert, edge: bool) {
        let bindings = self.bindings.borrow().clone();
        for binding in bindings.iter().filter(|binding| binding.matches(&alert.labels)) {
            let target = binding.target.expand(&alert.labels);
            let (Some(target), false) = (target.as_deref(), binding.mode == Mode::Off) else {
                let reason = if binding.mode == Mode::Off { Reason::ModeOff } else { Reason::NoTarget };
                self.hold(binding, alert, reason);
                continue;
            };
            // Before anything is written: a label's text may be anything, and there are as many of them as one likes.
            let standing = self.inventory.as_ref().map(|inventory| inventory.standing(target));
            match standing {
                Some(Standing::Missing) => {
                    self.hold(binding, alert, Reason::TargetNotInInventory);
                    continue;
                }
                Some(Standing::Host) => {}
                None if is_plain(target) => {}
                Some(Standing::Ambiguous) | None => {
                    self.hold(binding, alert, Reason::TargetAmbiguous);
                    continue;
                }
            }
            let now = self.driver.world.now();
            let last = self.driver.book.episode(&binding.name, target);
            let cooling = cooling(binding, &self.driver.book.history(&binding.name, target), now);
            let episode = Episode::of(last.as_ref(), &binding.name, target, alert, now, cooling);
            if !self.save_episode(&episode).await {
                self.hold(binding, alert, Reason::LedgerUnavailable);
                continue;
            }
            let id = RunId::new(&binding.name, target, episode.opened_at, 0);
            if self.driver.book.run(&id).is_some_and(|run| !edge || !run.state.is_final()) {
                continue;
            }
            match self.judge(alert, binding, target, &id) {
                Verdict::Skip(reason) if !reason.only_waits() => self.hold(binding, alert, reason),
                _ => self.enqueue(alert, binding, target, &episode, id).await,
            }
        }
    }

    /// Judges `alert` with what is known at this moment.
    pub(super) fn judge(&self, alert: &Alert, binding: &Binding, target: &str, id: &RunId) -> Verdict {
        let Driver { book, world, .. } = &self.driver;
        let running = book.running();
        let facts = Facts {
            firing: Some(alert),
            started: (self.started_at, self.limits.startup_grace),
            rule: world.rule(&alert.rule),
            inventory: self.inventory.as_ref(),
            target_up: world.target_up(target),
            history: &book.history(&binding.name, target),
            step_taken: book.run(id).is_some_and(|run| run.state != RunState::Queued),
            target_busy: running.iter().any(|run| run.target == target),
            binding_running: running.iter().filter(|run| run.binding == binding.name).count(),
            running: (running.len(), self.limits.max_concurrent),
        };
        judge(alert, binding, &facts, world.now())
    }

    pub(super) fn hold(&mut self, binding: &Binding, alert: &Alert, reason: Reason) {
        let before = self.held.insert((binding.name.clone(), alert_key(alert)), reason);
        if before != Some(reason) {
            self.driver.book.suppressed(reason);
            let labels = &alert.labels;
            tracing::info!(binding = binding.name, alert = %labels, reason = reason.as_str(), "alert held back");
        }
    }

    async fn save_episode(&self, episode: &Episode) -> bool {
        let written = self.driver.book.save_episode(episode).await;
        if let Err(error) = &written {
            tracing::error!(binding = episode.binding, target = episode.target, %error, "cannot record an episode");
            self.refresh_after(error).await;
        }
        written.is_ok()
    }

    pub(super) async fn refresh_after(&self, error: &LedgerError) {
        if let LedgerError::Conflict { key } = error
            && let Err(error) = self.driver.book.refresh(key).await
        {
            tracing::error!(key, %error, "cannot read a record again");
        }
    }

    /// Leaves running plays to a runner; without one waits for them, then ends them and records it.
    async fn stop(mut self) {
        self.inventories.abort_all();
        self.driver.stopping.store(true, Ordering::Relaxed);
        if self.driver.executor.outlives_us() {
            return;
        }
        if tokio::time::timeout(self.limits.stop_grace, drain(&mut self.tasks)).await.is_ok() {
            return;
        }
        for run in self.driver.book.running() {
            tracing::warn!(run = %run.id, binding = run.binding, target = run.target, "ending a play because the daemon stops");
            if let Err(error) = self.driver.executor.cancel(run.id.clone()).await {
                tracing::error!(run = %run.id, %error, "cannot end a play");
            }
        }
        if tokio::time::timeout(self.kill_grace + STOP_MARGIN, drain(&mut self.tasks)).await.is_err() {
            tracing::error!("plays did not end in time; their supervisors go on, and the next start takes them up");
        }
    }
}

async fn drain(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
