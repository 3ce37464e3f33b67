//! What is the case at each moment of a test, and what has happened so far. Pure but for tokio's paused clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Setting;
use super::event::{Event, MOST, What};
use super::file::{Healthy, Trouble};
use super::plan::{FactKind, Level, Plan, RunPlan, Series};
use crate::act::binding::split_target;
use crate::act::reason::Reason;
use crate::act::run::{Run, RunId, RunState};
use crate::model::{Alert, Labels};
use crate::query::notation::Item;
use crate::rules::Samples;

/// A scene, shared by everybody who plays in it.
pub(super) struct Stage {
    scene: Mutex<Scene>,
    /// Something will change sooner than was known.
    pub(super) woken: Notify,
}

impl Stage {
    pub(super) fn new(plan: Plan, setting: Setting) -> Stage {
        Stage { scene: Mutex::new(Scene::new(plan, setting)), woken: Notify::new() }
    }

    /// A std lock: it is never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is the case.
pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) setting: Setting,
    began: Instant,
    pub(super) events: Vec<Event>,
    /// More happened than is kept.
    pub(super) too_much: bool,
    /// Runs as they were written last.
    pub(super) runs: HashMap<RunId, Run>,
    /// Those that an executor has in hand.
    pub(super) going: HashMap<RunId, Going>,
    /// What runs changed.
    changes: Vec<Change>,
    /// Times at which something changes.
    pub(super) times: BTreeSet<i64>,
    pub(super) samples: Samples,
    /// Alerts that the test says, and those of rules, as far as they fire.
    pub(super) said: Vec<Alert>,
    pub(super) ruled: Vec<Alert>,
    /// Whether a rule that is evaluated is warming up, by its key.
    pub(super) warming: BTreeMap<String, bool>,
}

/// A playbook under way.
#[derive(Clone, Debug)]
pub(super) struct Going {
    pub(super) plan: Option<RunPlan>,
    pub(super) began: i64,
    pub(super) ends: i64,
    pub(super) timed_out: bool,
    pub(super) cancelled: bool,
}

/// Something that a run changed.
struct Change {
    from: i64,
    until: i64,
    what: ChangeKind,
}

enum ChangeKind {
    /// These alerts are false.
    Healed(Vec<usize>),
    /// This host says nothing.
    Silent(String),
    /// These series go on differently.
    Series(Series),
}

impl Scene {
    fn new(plan: Plan, setting: Setting) -> Scene {
        let alerts = plan.alerts.iter().flat_map(|alert| alert.levels.iter().map(|(at, _)| *at));
        let facts = plan.facts.iter().flat_map(|fact| [fact.from, fact.until]);
        let orders = plan.orders.iter().map(|(at, _)| *at);
        let times = alerts.chain(facts).chain(orders).chain([0, plan.end]).filter(|at| *at <= plan.end).collect();
        Scene {
            plan,
            setting,
            began: Instant::now(),
            events: Vec::new(),
            too_much: false,
            runs: HashMap::new(),
            going: HashMap::new(),
            changes: Vec::new(),
            times,
            samples: Samples::default(),
            said: Vec::new(),
            ruled: Vec::new(),
            warming: BTreeMap::new(),
        }
    }

    /// Hands itself out when the play is over.
    pub(super) fn take(&mut self) -> Scene {
        let over = Scene::new(self.plan.clone(), self.setting.clone());
        std::mem::replace(self, over)
    }

    /// Milliseconds since the start.
    pub(super) fn at(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// When a time of the test is on tokio's clock.
    pub(super) fn instant(&self, at: i64) -> Instant {
        self.began + std::time::Duration::from_millis(at.max(0).unsigned_abs())
    }

    /// The wall clock at a time of the test.
    pub(super) fn wall(&self, at: i64) -> i64 {
        let set = |kind: &FactKind| if let FactKind::Clock(by) = kind { *by } else { 0 };
        let set: i64 = self.plan.facts.iter().filter(|fact| fact.from <= at).map(|fact| set(&fact.what)).sum();
        self.plan.start.saturating_add(at).saturating_add(set)
    }

    pub(super) fn now(&self) -> i64 {
        self.wall(self.at())
    }

    /// What holds at a time.
    pub(super) fn facts(&self, at: i64) -> impl Iterator<Item = &FactKind> {
        let holds = move |fact: &&super::plan::Fact| fact.from <= at && at < fact.until;
        self.plan.facts.iter().filter(holds).map(|fact| &fact.what)
    }

    pub(super) fn troubled(&self, trouble: Trouble) -> bool {
        self.facts(self.at()).any(|fact| matches!(fact, FactKind::Trouble(known) if *known == trouble))
    }

    pub(super) fn healthy(&self) -> Option<Healthy> {
        self.facts(self.at()).find_map(|fact| if let FactKind::Healthy(healthy) = fact { Some(*healthy) } else { None })
    }

    pub(super) fn down(&self, host: &str, at: i64) -> bool {
        let said = self.facts(at).any(|fact| matches!(fact, FactKind::Down(hosts) if hosts.contains(host)));
        let silent = |kind: &ChangeKind| matches!(kind, ChangeKind::Silent(silent) if silent == host);
        said || self.changes(at).any(silent)
    }

    fn changes(&self, at: i64) -> impl DoubleEndedIterator<Item = &ChangeKind> {
        self.changes.iter().filter(move |change| change.from <= at && at < change.until).map(|change| &change.what)
    }

    /// What is the case with an alert of the test, with what runs have changed.
    pub(super) fn level(&self, index: usize, at: i64) -> Level {
        let Some(alert) = self.plan.alerts.get(index) else { return Level::Silent };
        let changed = self.changes(at).rev().find_map(|kind| match kind {
            ChangeKind::Healed(alerts) if alerts.contains(&index) => Some(Level::Clear),
            ChangeKind::Silent(host) if alert.is_of(host) => Some(Level::Silent),
            _ => None,
        });
        let said = alert.level(at);
        // What the test itself says to be silent or over stays so.
        if said == Level::Firing { changed.unwrap_or(said) } else { said }
    }

    /// The values of all series at one of the times at which there are values.
    pub(super) fn values(&self, at: i64) -> BTreeMap<Labels, Item> {
        let changed = self.changes.iter().filter(|change| change.from <= at).filter_map(|change| match &change.what {
            ChangeKind::Series(series) => Some((series, change.from)),
            _ => None,
        });
        let mut values = BTreeMap::new();
        for (series, from) in std::iter::once((&self.plan.series, 0)).chain(changed) {
            let place = usize::try_from((at - from) / self.plan.interval).unwrap_or(usize::MAX);
            let now = |items: &Vec<Item>| items.get(place).cloned().unwrap_or(Item::Gap);
            values.extend(series.iter().map(|(labels, items)| (labels.clone(), now(items))));
        }
        values
    }

    /// Whether somebody asks series: rules, or `min_healthy`.
    pub(super) fn needs_samples(&self) -> bool {
        self.plan.evaluates() || self.setting.bindings.iter().any(|binding| binding.guards.min_healthy.is_some())
    }

    /// Notes something that happened.
    pub(super) fn note(&mut self, event: Event) {
        if self.events.len() < MOST {
            self.events.push(event);
        } else {
            self.too_much = true;
        }
    }

    /// Notes what became of a run, by the record that is written.
    pub(super) fn wrote(&mut self, run: Run) {
        let before = self.runs.get(&run.id).map(|before| before.state);
        let real = run.is_real() && run.rehearses.is_none();
        let what = match run.state {
            RunState::Claimed if real => What::Run,
            RunState::Claimed => What::Check,
            RunState::WaitingApproval => What::Waits,
            RunState::Verifying => What::Verifies,
            state if state.is_final() => What::Ended,
            _ => What::Fires,
        };
        if before != Some(run.state) && what != What::Fires {
            let check = run.rehearses.is_some() && run.state.is_final();
            let state = match what {
                What::Ended => run.state.as_str(),
                What::Run => run.mode.as_str(),
                _ => "",
            };
            self.note(Event {
                binding: run.binding.clone(),
                target: run.target.clone(),
                step: Some(run.step + 1),
                subject: if check { format!("check of {}", run.playbook) } else { run.playbook.clone() },
                state: state.to_string(),
                detail: run.detail.clone(),
                ..Event::new(self.at(), what)
            });
        }
        self.runs.insert(run.id.clone(), run);
    }

    /// Notes that nothing is run.
    pub(super) fn suppressed(&mut self, binding: &str, labels: &Labels, reason: Reason) {
        let known = self.setting.bindings.iter().find(|known| known.name == binding);
        self.note(Event {
            binding: binding.to_string(),
            target: known.and_then(|known| known.target.expand(labels)).unwrap_or_default(),
            subject: labels.get("alertname").unwrap_or_default().to_string(),
            state: reason.as_str().to_string(),
            detail: reason.why().to_string(),
            ..Event::new(self.at(), What::Suppressed)
        });
    }

    /// What the test says of a run.
    pub(super) fn plan_of(&self, run: &Run) -> Option<RunPlan> {
        let fits = |plan: &&RunPlan| {
            plan.binding.as_ref().is_none_or(|binding| *binding == run.binding)
                && plan.target.as_ref().is_none_or(|target| *target == run.target)
                && plan.step.is_none_or(|step| step == run.step + 1)
                && plan.check.is_none_or(|check| check != run.is_real())
        };
        self.plan.runs.iter().find(fits).cloned()
    }

    /// A run ended well: what the test says to follow from it begins.
    pub(super) fn ended_well(&mut self, run: &Run, plan: &RunPlan) {
        if !run.is_real() || run.rehearses.is_some() {
            return;
        }
        let (at, host) = (self.at(), split_target(&run.target).0.to_string());
        let mut begin = |from: i64, until: i64, what: ChangeKind| {
            self.times.extend([from, until].into_iter().filter(|at| *at <= self.plan.end));
            self.changes.push(Change { from, until, what });
        };
        if let Some((after, lasting)) = plan.heals {
            let ours = |(_, alert): &(usize, &super::plan::AlertPlan)| {
                alert.targets.iter().any(|(binding, target)| *binding == run.binding && *target == run.target)
            };
            let alerts = self.plan.alerts.iter().enumerate().filter(ours).map(|(index, _)| index).collect();
            let from = at.saturating_add(after);
            let until = lasting.map_or(i64::MAX, |lasting| from.saturating_add(lasting));
            begin(from, until, ChangeKind::Healed(alerts));
        }
        if let Some(after) = plan.silent_after {
            begin(at.saturating_add(after), i64::MAX, ChangeKind::Silent(host));
        }
        if !plan.series.is_empty() {
            // From the next time at which there are values.
            let from = at.saturating_add(self.plan.interval - 1) / self.plan.interval * self.plan.interval;
            begin(from, i64::MAX, ChangeKind::Series(plan.series.clone()));
        }
    }
}
