//! The running part: takes transitions, keeps episodes, queues, claims and lets runs be carried out.
//!
//! It acts on levels, not on edges: a transition only makes it look sooner. Every few seconds it asks anew what fires,
//! so an alert that was held back (a cold start, a rule warming up, a full house) is judged again without anybody
//! having to remember it, and nothing depends on a message that a crash may swallow.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::act::binding::{Binding, source_of};
use crate::act::book::Book;
use crate::act::check::Limits;
use crate::act::control::{Control, Order};
use crate::act::drive::{Driver, Work};
use crate::act::episode::{Episode, alert_key};
use crate::act::executor::{Executor, ExecutorError};
use crate::act::facts::{Host, World};
use crate::act::hands::Hands;
use crate::act::inventory::Inventory;
use crate::act::ledger::LedgerError;
use crate::act::reload::{Plan, Switch};
use crate::act::run::{RunId, RunState};
use crate::act::settings::{AlertSource, Mode};
use crate::act::verify::Watch;
use crate::model::{Alert, AlertState, Transition};

/// How often everything is looked at again.
const TICK: Duration = Duration::from_secs(5);
/// Ended runs and closed episodes are kept at least this long, however many there are.
const KEEP: Duration = Duration::from_secs(7 * 86_400);
/// How long a stopping daemon waits for plays that it has asked to end, beyond their own grace.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// A wall clock that goes this much more or less than the time that passed was set, or the machine slept.
const CLOCK_WAS_SET: Duration = Duration::from_secs(30);

/// Decides and drives. [`Actor::run`] is its whole life; the [`Book`] shows what it does.
pub struct Actor {
    pub(super) bindings: watch::Receiver<Arc<Vec<Binding>>>,
    pub(super) limits: Limits,
    pub(super) kill_grace: Duration,
    /// Where a reload's new plans come from, and the executor that they exchange.
    pub(super) plans: Option<(Arc<Switch>, watch::Receiver<Arc<Plan>>)>,
    pub(super) approval_url: Option<String>,
    pub(super) driver: Driver,
    orders: mpsc::Receiver<Order>,
    pub(super) started: Instant,
    /// Both clocks at the last tick, and when the wall clock was found to have been set.
    clocks: (i64, Instant),
    jumped: Option<Instant>,
    pub(super) inventory: Option<Inventory>,
    pub(super) inventories: JoinSet<Result<Option<Inventory>, ExecutorError>>,
    pub(super) tasks: JoinSet<()>,
    /// What was wrong with the executor last.
    trouble: Option<ExecutorError>,
    /// Waiting runs, oldest first; bounded by `limits.queue`.
    pub(super) queue: Vec<RunId>,
    /// Verifications under way.
    pub(super) watches: HashMap<RunId, Watch>,
    /// Runs whose verification an earlier process began, and when we took them up.
    pub(super) took_up: HashSet<RunId>,
    pub(super) took_up_at: i64,
    /// When it was last asked of an episode whether it is over.
    pub(super) asked: HashMap<(String, String), Instant>,
    /// Bindings whose brake holds everything.
    pub(super) braked: BTreeSet<String>,
}

/// What an actor is made of.
pub struct Setup {
    /// The bindings; they may change while it runs (a reload).
    pub bindings: watch::Receiver<Arc<Vec<Binding>>>,
    /// Limits over all bindings.
    pub limits: Limits,
    /// Time between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// What one-time links begin with.
    pub approval_url: Option<String>,
    /// The loaded records.
    pub book: Arc<Book>,
    /// Runs playbooks.
    pub executor: Arc<dyn Executor>,
    /// Does everything else.
    pub hands: Arc<dyn Hands>,
    /// Knows what is the case.
    pub world: Arc<dyn World>,
}

/// What is the same for everything that is judged in one look around.
pub(super) struct Round {
    pub(super) firing: Vec<Alert>,
    /// Places in `firing` by binding and target: a thousand alerts must not be searched through for each of them.
    pub(super) by_target: HashMap<(String, String), Vec<usize>>,
    pub(super) hosts: Vec<Host>,
    /// Answers by expression.
    pub(super) healthy: HashMap<String, Option<bool>>,
    /// A brake holds everything.
    pub(super) braked: bool,
}

impl Actor {
    /// An actor, and the door through which people give it orders.
    pub fn new(setup: Setup) -> (Self, Control) {
        let Setup { bindings, limits, kill_grace, approval_url, book, executor, hands, world } = setup;
        let (control, orders) = Control::new(book.clone(), executor.clone());
        let (now, started) = (world.now(), Instant::now());
        let actor = Actor {
            bindings,
            limits,
            kill_grace,
            plans: None,
            approval_url,
            driver: Driver { book, executor, world, hands, stopping: Arc::default(), cancelled: Arc::default() },
            orders,
            started,
            clocks: (now, started),
            jumped: None,
            inventory: None,
            inventories: JoinSet::new(),
            tasks: JoinSet::new(),
            trouble: None,
            queue: Vec::new(),
            watches: HashMap::new(),
            took_up: HashSet::new(),
            took_up_at: now,
            asked: HashMap::new(),
            braked: BTreeSet::new(),
        };
        (actor, control)
    }

    /// Takes up what an earlier process left, then works until `stop`, or until nobody can send any more. A transition
    /// may be told twice; the daemon tells those of restored alerts again after a start.
    pub async fn run(mut self, mut transitions: mpsc::Receiver<Transition>, stop: CancellationToken) {
        self.take_up();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // In this order, so that the same case goes the same way every time, in a test of remediations too. What ended
            // makes room first; ticks are too rare to keep anything waiting; no order waits behind a storm of alerts.
            tokio::select! {
                biased;
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
                    self.look_around().await;
                }
                Some(answer) = self.inventories.join_next() => {
                    self.learn_inventory(answer);
                    self.look_around().await;
                }
                _ = tick.tick() => self.tick().await,
                Some(order) = self.orders.recv() => self.obey(order).await,
                transition = transitions.recv() => match transition {
                    Some(transition) => self.hear(transition).await,
                    None => break,
                },
            }
        }
        self.stop().await;
    }

    fn take_up(&mut self) {
        for run in self.driver.book.runs().into_iter().rev() {
            match run.state {
                RunState::Queued => self.queue.push(run.id),
                RunState::Verifying => {
                    self.took_up.insert(run.id);
                }
                state if state.is_running() => {
                    tracing::warn!(run = %run.id, state = state.as_str(), "taking up a run of an earlier process");
                    self.tasks.spawn(self.driver.clone().drive(run, Work::TakenUp));
                }
                _ => {}
            }
        }
    }

    async fn tick(&mut self) {
        self.mind_the_clock();
        let wanted = self.bindings.borrow().iter().any(|binding| binding.mode != Mode::Off);
        if wanted && self.inventories.is_empty() {
            self.ask_inventory();
        }
        let world = self.driver.world.clone();
        for mut episode in self.driver.book.episodes().into_iter().filter(|episode| episode.closed_at.is_none()) {
            let exists = |rule: &str| source_of(rule) != AlertSource::Rules || world.rule(rule).is_some();
            episode.keep_rules(exists, world.now());
            self.save_episode(&episode).await;
        }
        self.look_around().await;
        let guards = self.bindings.borrow().iter().map(Binding::memory).max();
        let keep = KEEP.max(guards.unwrap_or_default());
        let horizon = world.now().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        if let Err(error) = self.driver.book.prune(horizon).await {
            tracing::warn!(%error, "cannot remove old records");
        }
    }

    pub(super) fn ask_inventory(&mut self) {
        let executor = self.driver.executor.clone();
        self.inventories.spawn(async move { executor.inventory().await });
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

    /// Notices when the wall clock was set, or the machine slept: what the samples seem to say is not to be trusted then.
    fn mind_the_clock(&mut self) {
        let (wall, now) = (self.driver.world.now(), Instant::now());
        let before = std::mem::replace(&mut self.clocks, (wall, now));
        let passed = i64::try_from(now.duration_since(before.1).as_millis()).unwrap_or(i64::MAX);
        let off = Duration::from_millis(wall.saturating_sub(before.0).abs_diff(passed));
        if off > CLOCK_WAS_SET {
            tracing::warn!(
                seconds = off.as_secs(),
                "the clock was set, or the machine slept; nothing is run for a while"
            );
            self.jumped = Some(now);
        }
    }

    /// Whether the wall clock was set a short while ago.
    pub(super) fn clock_jumped(&self) -> bool {
        self.jumped.is_some_and(|at| at.elapsed() < self.limits.startup_grace.max(CLOCK_WAS_SET))
    }

    /// Sees what helped, judges everything that fires, then everything that waits.
    async fn look_around(&mut self) {
        let round = self.round().await;
        let keys: BTreeSet<String> = round.firing.iter().map(alert_key).collect();
        self.driver.book.keep_held(|_, alert| keys.contains(alert));
        self.verify(&round).await;
        let mut seen = self.queue.len();
        for alert in &round.firing {
            // Full is a queue of those that cannot start, not of those that nobody has tried to start yet.
            if self.queue.len() >= self.limits.queue && self.queue.len() > seen {
                self.dispatch(&round).await;
                seen = self.queue.len();
            }
            self.consider(alert, false, &round).await;
        }
        self.continue_episodes(&round).await;
        self.mind_approvals(&round).await;
        self.dispatch(&round).await;
    }

    async fn hear(&mut self, transition: Transition) {
        let alert = &transition.alert;
        match alert.state {
            AlertState::Pending => {}
            AlertState::Firing => {
                let round = self.round().await;
                self.consider(alert, true, &round).await;
                self.dispatch(&round).await;
            }
            AlertState::Resolved => {
                let over = alert_key(alert);
                self.driver.book.keep_held(|_, alert| *alert != over);
                let bindings = self.bindings.borrow().clone();
                for binding in bindings.iter().filter(|binding| binding.matches(&alert.rule, &alert.labels)) {
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

    pub(super) async fn save_episode(&self, episode: &Episode) -> bool {
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
        self.take_plan();
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
