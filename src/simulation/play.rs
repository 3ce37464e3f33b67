//! Plays a test from its start to its end: moves the scene on, tells the acting room what changed, gives people's orders.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Setting;
use super::differences::differences;
use super::event::{Event, What};
use super::file::{OrderEntry, Trouble};
use super::ledger::Memory;
use super::orders::{obey, verb};
use super::outcome::TestOutcome;
use super::plan::{FactKind, Level, Plan};
use super::scene::{Scene, Stage};
use super::works::Works;
use super::world::Eyes;
use crate::act::actor::{Actor, Setup};
use crate::act::book::Book;
use crate::act::control::Control;
use crate::act::ledger::{Ledger, LedgerError};
use crate::model::{Alert, AlertState, Transition};
use crate::rules::{Cycle, Engine};

/// Transitions on their way to the acting room, which takes them at once.
const TRANSITIONS: usize = 256;
/// The time between SIGTERM and SIGKILL; nothing is killed here.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// Plays a test.
pub(super) fn play(plan: Plan, setting: &Setting) -> TestOutcome {
    let (name, line) = (plan.name.clone(), plan.line);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let played = match runtime {
        Ok(runtime) => runtime.block_on(async { Player::new(plan, setting).play().await }),
        Err(error) => Err(PlayError::Runtime(error)),
    };
    match played {
        Ok(scene) => {
            let failures = differences(&scene.plan, &scene.events, line);
            TestOutcome { name, checks: scene.plan.expect.as_ref().map(Vec::len), timeline: scene.events, failures }
        }
        Err(error) => TestOutcome::failed(name, line, &error.to_string()),
    }
}

/// Why a test could not be played.
#[derive(Debug, thiserror::Error)]
enum PlayError {
    /// There is no clock to play with.
    #[error("cannot start a clock: {0}")]
    Runtime(std::io::Error),
    /// The ledger in memory.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The acting room came to its end by itself.
    #[error("the acting room ended before the test")]
    Ended,
    /// It never ends.
    #[error("more than {} things happen; make the test shorter", super::event::MOST)]
    TooMuch,
    /// A rule cannot be evaluated.
    #[error("{rule}: {error}")]
    Rule { rule: String, error: String },
}

/// Why the acting room is left.
#[derive(PartialEq, Eq)]
enum Left {
    End,
    Killed,
}

struct Player {
    stage: Arc<Stage>,
    ledger: Arc<Memory>,
    engine: Option<Engine>,
    /// What the acting room knows of the alerts of the test, and since when each fires.
    known: Vec<(Level, i64)>,
    /// Up to which time of the test there are samples.
    sampled: i64,
    /// Polls of each target that failed in a row.
    failed: BTreeMap<String, u32>,
    /// Everything up to this time was told.
    told: i64,
}

impl Player {
    fn new(plan: Plan, setting: &Setting) -> Player {
        let rules = setting.rules.clone();
        let engine = plan.evaluates().then(|| Engine::new(setting.groups.clone(), rules, plan.start));
        let known = vec![(Level::Clear, 0); plan.alerts.len()];
        let interval = plan.interval;
        let stage = Arc::new(Stage::new(plan, setting.clone()));
        let ledger = Arc::new(Memory::new(stage.clone()));
        Player { stage, ledger, engine, known, sampled: -interval, failed: BTreeMap::new(), told: -1 }
    }

    async fn play(mut self) -> Result<Scene, PlayError> {
        loop {
            let (actor, control, sender, receiver) = self.daemon().await?;
            let stop = CancellationToken::new();
            let left = tokio::select! {
                biased;
                left = self.on(&control, &sender) => left?,
                () = actor.run(receiver, stop.clone()) => return Err(PlayError::Ended),
            };
            if left == Left::End {
                break;
            }
            let mut scene = self.stage.lock();
            let at = scene.at();
            scene.note(Event { subject: "the daemon starts again".into(), ..Event::new(at, What::Killed) });
        }
        let mut scene = self.stage.lock();
        if scene.too_much { Err(PlayError::TooMuch) } else { Ok(scene.take()) }
    }

    /// The acting room of a daemon that has just started.
    async fn daemon(
        &self,
    ) -> Result<(Actor, Control, mpsc::Sender<Transition>, mpsc::Receiver<Transition>), LedgerError> {
        let ledger: Arc<dyn Ledger> = self.ledger.clone();
        let book = Arc::new(Book::load(ledger).await?);
        let stage = self.stage.clone();
        book.listen(move |binding, labels, reason| stage.lock().suppressed(binding, labels, reason));
        let (bindings, limits, approval_url) = {
            let scene = self.stage.lock();
            let setting = &scene.setting;
            (setting.bindings.clone(), setting.limits, setting.approval_url.clone())
        };
        // The sender may go: a binding does not change in a test.
        let (_, bindings) = watch::channel(Arc::new(bindings));
        let works = Arc::new(Works(self.stage.clone()));
        let (actor, control) = Actor::new(Setup {
            bindings,
            limits,
            kill_grace: KILL_GRACE,
            approval_url,
            book,
            executor: works.clone(),
            hands: works,
            world: Arc::new(Eyes(self.stage.clone())),
        });
        let (sender, receiver) = mpsc::channel(TRANSITIONS);
        Ok((actor, control, sender, receiver))
    }

    /// Moves on from event to event, until the end or until the daemon is killed.
    async fn on(&mut self, control: &Control, sender: &mpsc::Sender<Transition>) -> Result<Left, PlayError> {
        // As the daemon does after a start: what fires is told again.
        let restored = { self.stage.lock().said.clone() };
        self.tell(sender, restored.into_iter().map(|alert| (alert, false)).collect()).await?;
        loop {
            let (next, end) = self.next();
            let woken = tokio::select! {
                biased;
                () = self.stage.woken.notified() => true,
                () = tokio::time::sleep_until(self.stage.lock().instant(next)) => false,
            };
            if woken {
                continue;
            }
            let changed = self.move_to(next)?;
            self.tell(sender, changed).await?;
            self.orders(control, next).await;
            let before = std::mem::replace(&mut self.told, next);
            if next >= end {
                return Ok(Left::End);
            }
            if self.killed(before, next) {
                return Ok(Left::Killed);
            }
        }
    }

    /// The next time at which anything changes, and the end.
    fn next(&self) -> (i64, i64) {
        let scene = self.stage.lock();
        let said = scene.times.range(self.told + 1..).next().copied();
        let sample = scene.needs_samples().then(|| self.sampled + scene.plan.interval);
        let rules =
            self.engine.as_ref().and_then(Engine::next_due).map(|due| (due - scene.wall(scene.at())) + scene.at());
        let repeats = scene.plan.alerts.iter().zip(&self.known).filter_map(|(alert, (level, since))| {
            let repeat = alert.repeat.filter(|_| *level == Level::Firing)?;
            Some(since + ((self.told - since) / repeat + 1) * repeat)
        });
        let next = repeats.chain([said, sample, rules].into_iter().flatten()).min().unwrap_or(scene.plan.end);
        (next.max(self.told + 1).min(scene.plan.end), scene.plan.end)
    }

    /// Brings the scene to a time, and gives the alerts that changed, each with whether a resolve is with data.
    fn move_to(&mut self, at: i64) -> Result<Vec<(Alert, bool)>, PlayError> {
        let stage = self.stage.clone();
        let mut scene = stage.lock();
        self.sample(&mut scene, at);
        let mut changed = self.evaluate(&mut scene)?;
        let now = scene.wall(at);
        for index in 0..self.known.len() {
            let Some((before, since)) = self.known.get(index).copied() else { continue };
            let level = scene.level(index, at);
            let alert = said(&scene, index, now);
            let repeat = scene.plan.alerts.get(index).and_then(|plan| plan.repeat);
            if level == before {
                let again =
                    level == Level::Firing && repeat.is_some_and(|repeat| at > since && (at - since) % repeat == 0);
                changed.extend(again.then_some((alert, false)));
                continue;
            }
            self.known[index] = (level, at);
            let same = |other: &Alert| other.rule == alert.rule && other.labels == alert.labels;
            scene.said.retain(|other| !same(other));
            let what = match level {
                Level::Firing => What::Fires,
                Level::Clear => What::Over,
                Level::Silent => What::Gone,
            };
            if level == Level::Firing {
                scene.said.push(alert.clone());
                changed.push((alert.clone(), false));
            } else if before == Level::Firing {
                changed.push((
                    Alert { state: AlertState::Resolved, resolved_at: Some(now), ..alert.clone() },
                    level == Level::Clear,
                ));
            }
            if level == Level::Firing || before == Level::Firing {
                note(&mut scene, at, what, &alert);
            }
        }
        Ok(changed)
    }

    /// Takes the samples that are due.
    fn sample(&mut self, scene: &mut Scene, at: i64) {
        if !scene.needs_samples() {
            return;
        }
        while self.sampled + scene.plan.interval <= at {
            self.sampled += scene.plan.interval;
            let (taken, now) = (self.sampled, scene.wall(self.sampled));
            let said = scene.values(taken);
            for (id, about) in scene.setting.about.clone() {
                let down = scene.down(&id, taken);
                let failed = self.failed.entry(id).or_default();
                *failed = if down { *failed + 1 } else { 0 };
                scene.samples.push(&about.up, now, if down { 0.0 } else { 1.0 });
                scene.samples.push(&about.failed, now, f64::from(*failed));
            }
            // Last, because what the test says of a target wins.
            for (labels, item) in said {
                scene.samples.push_item(&labels, now, &item);
            }
        }
    }

    /// Evaluates the rules that are due.
    fn evaluate(&mut self, scene: &mut Scene) -> Result<Vec<(Alert, bool)>, PlayError> {
        let now = scene.now();
        let Some(engine) = self.engine.as_mut().filter(|engine| engine.due(now)) else { return Ok(Vec::new()) };
        let clock = || Duration::ZERO;
        let cycle = Cycle { now, source_since: scene.plan.start, source: &scene.samples, clock: &clock };
        let evaluation = engine.evaluate(&cycle);
        if let Some(problem) = evaluation.problems.first() {
            return Err(PlayError::Rule { rule: problem.rule.to_string(), error: problem.error.to_string() });
        }
        scene.samples.extend(&evaluation.recorded);
        scene.warming = engine
            .rules()
            .map(|state| (state.rule().key.to_string(), state.last().is_none_or(|last| last.warming_up)))
            .collect();
        scene.ruled = engine.alerts().into_iter().filter(|alert| alert.state == AlertState::Firing).collect();
        let mut changed = Vec::new();
        let at = scene.at();
        for Transition { alert, positive, .. } in evaluation.transitions {
            let what = match (alert.state, positive) {
                (AlertState::Pending, _) => continue,
                (AlertState::Firing, _) => What::Fires,
                (AlertState::Resolved, true) => What::Over,
                (AlertState::Resolved, false) => What::Gone,
            };
            note(scene, at, what, &alert);
            changed.push((alert, positive));
        }
        Ok(changed)
    }

    async fn tell(&self, sender: &mpsc::Sender<Transition>, changed: Vec<(Alert, bool)>) -> Result<(), PlayError> {
        let at = self.stage.lock().now();
        for (alert, positive) in changed {
            let transition = Transition { from: None, alert, at, positive, warming_up: false };
            sender.send(transition).await.map_err(|_| PlayError::Ended)?;
        }
        Ok(())
    }

    fn killed(&self, before: i64, at: i64) -> bool {
        let killed = |fact: &super::plan::Fact| matches!(fact.what, FactKind::Trouble(Trouble::DaemonKilled));
        let scene = self.stage.lock();
        scene.plan.facts.iter().any(|fact| killed(fact) && before < fact.from && fact.from <= at)
    }

    async fn orders(&self, control: &Control, at: i64) {
        let due: Vec<OrderEntry> = {
            let scene = self.stage.lock();
            let due = scene.plan.orders.iter().filter(|(when, _)| self.told < *when && *when <= at);
            due.map(|(_, order)| order.clone()).collect()
        };
        for order in due {
            let (verb, target) = verb(&order);
            let ordered = Event {
                binding: order.binding.clone().unwrap_or_default(),
                target: target.to_string(),
                subject: format!("{verb} by {}", order.by),
                ..Event::new(at, What::Ordered)
            };
            self.stage.lock().note(ordered.clone());
            if let Err(error) = obey(control, &order, verb, target).await {
                let refused = Event { what: What::Refused, state: error.to_string(), ..ordered };
                self.stage.lock().note(refused);
            }
        }
    }
}

/// An alert of the test that fires.
fn said(scene: &Scene, index: usize, now: i64) -> Alert {
    let plan = scene.plan.alerts.get(index);
    let of = |labels: Option<&crate::model::Labels>| labels.cloned().unwrap_or_default();
    let rule = plan.map_or("", |plan| plan.rule.as_str());
    let known =
        scene.said.iter().find(|alert| plan.is_some_and(|plan| alert.labels == plan.labels && *alert.rule == *rule));
    known.cloned().unwrap_or_else(|| Alert {
        rule: rule.into(),
        labels: of(plan.map(|plan| &plan.labels)),
        annotations: of(plan.map(|plan| &plan.annotations)),
        state: AlertState::Firing,
        value: 1.0,
        active_at: now,
        fired_at: Some(now),
        resolved_at: None,
        keep_firing_since: None,
        resolved_with_data: false,
        last_seen_at: now,
    })
}

fn note(scene: &mut Scene, at: i64, what: What, alert: &Alert) {
    let subject = alert.labels.get("alertname").unwrap_or_default().to_string();
    let detail = alert.labels.filter(|name| name != "alertname").to_string();
    scene.note(Event { subject, detail, ..Event::new(at, what) });
}
