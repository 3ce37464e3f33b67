//! All groups, their times, and what one cycle of evaluations brings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Alert;
use crate::model::Labels;
use crate::model::Source;
use crate::model::Transition;
use crate::query::Limits;
use crate::query::VectorSample;

use super::group::GroupState;
use super::no_data::NoDataRule;
use super::overlay::Overlay;
use super::rule::RuleGroup;
use super::state::Input;
use super::state::RuleState;
use super::trace::RuleError;

/// What holds for all rules.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `$externalLabels`.
    pub external_labels: Labels,
    /// `$externalURL`.
    pub external_url: String,
    /// Interval of groups that name none.
    pub interval: Duration,
    /// Query offset of groups that name none.
    pub query_offset: Duration,
    /// What becomes of alerts whose series are gone; the first line that fits a rule decides.
    pub no_data: Vec<NoDataRule>,
    /// Most alerts of one rule, whatever its group allows; 0 for no limit.
    pub max_alerts: usize,
    /// What one query may use.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            external_labels: Labels::empty(),
            external_url: String::new(),
            interval: Duration::from_secs(60),
            query_offset: Duration::ZERO,
            no_data: Vec::new(),
            max_alerts: 10_000,
            limits: Limits::default(),
        }
    }
}

/// What a cycle needs from outside.
pub struct Cycle<'a> {
    /// Wall clock, milliseconds since the epoch.
    pub now: i64,
    /// Since when there are samples without a gap: the daemon's start, or earlier if the samples were restored.
    pub source_since: i64,
    /// The samples.
    pub source: &'a dyn Source,
    /// A stopwatch that only runs forward; its differences are the rules' evaluation times.
    pub clock: &'a dyn Fn() -> Duration,
}

/// A rule that could not be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleProblem {
    /// The rule's key.
    pub rule: Arc<str>,
    /// Why.
    pub error: RuleError,
    /// True when the evaluation before this one did not fail in the same way: log it now, not every time.
    pub new: bool,
}

/// What one cycle brought.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// Alerts that changed state.
    pub transitions: Vec<Transition>,
    /// Alerts that no longer exist and need not be kept.
    pub gone: Vec<Alert>,
    /// Samples to append: recorded series, `ALERTS`, `ALERTS_FOR_STATE`, and stale markers where they end.
    pub recorded: Vec<VectorSample>,
    /// Rules that failed.
    pub problems: Vec<RuleProblem>,
    /// Groups evaluated.
    pub groups: usize,
    /// Rules evaluated.
    pub rules: usize,
    /// Evaluations of groups that were missed since the last cycle.
    pub missed: u64,
}

/// Evaluates rules and keeps their alerts. Pure: time and samples come in by [`Cycle`].
pub struct Engine {
    settings: Settings,
    groups: Vec<GroupState>,
}

impl Engine {
    /// An engine whose groups first run at their next slot after `now`.
    pub fn new(groups: Vec<RuleGroup>, settings: Settings, now: i64) -> Self {
        let groups = groups.into_iter().map(|group| GroupState::new(group, &settings, now)).collect();
        Engine { settings, groups }
    }

    /// The next time (milliseconds since the epoch) at which a group is due; `None` without groups. Never wait much
    /// longer than an interval for it: the clock may be set back meanwhile, and [`Engine::due`] notices that.
    pub fn next_due(&self) -> Option<i64> {
        self.groups.iter().map(GroupState::next).min()
    }

    /// Whether any group is due.
    pub fn due(&self, now: i64) -> bool {
        self.groups.iter().any(|group| group.due(now).is_some())
    }

    /// Evaluates the groups that are due, each at its own slot.
    pub fn evaluate(&mut self, cycle: &Cycle<'_>) -> Evaluation {
        let slots: Vec<_> = self.groups.iter().map(|group| group.due(cycle.now)).collect();
        self.run(cycle, &slots)
    }

    /// Evaluates every group at exactly `cycle.now`, whatever its slot: for tests of rules.
    pub fn evaluate_all(&mut self, cycle: &Cycle<'_>) -> Evaluation {
        let slots = vec![Some(cycle.now); self.groups.len()];
        self.run(cycle, &slots)
    }

    fn run(&mut self, cycle: &Cycle<'_>, slots: &[Option<i64>]) -> Evaluation {
        let mut overlay = Overlay::new(cycle.source);
        let mut evaluation = Evaluation::default();
        for (group, slot) in self.groups.iter_mut().zip(slots) {
            let Some(at) = *slot else { continue };
            evaluation.missed += group.begin(at);
            evaluation.groups += 1;
            let started = (cycle.clock)();
            for rule in &mut group.rules {
                let before = (cycle.clock)();
                let known = rule.last_error().cloned();
                let input = Input {
                    settings: &self.settings,
                    source: &overlay,
                    at,
                    offset: group.offset,
                    interval: group.interval,
                    limit: group.limit,
                    source_since: cycle.source_since,
                };
                let output = rule.evaluate(&input);
                rule.set_took((cycle.clock)().saturating_sub(before));
                evaluation.rules += 1;
                evaluation.transitions.extend(output.outcome.transitions);
                evaluation.gone.extend(output.outcome.gone);
                if let Some(error) = output.error {
                    let new = known.as_ref() != Some(&error);
                    evaluation.problems.push(RuleProblem { rule: rule.rule.key.clone(), error, new });
                }
                overlay.extend(&output.samples);
                evaluation.recorded.extend(output.samples);
            }
            group.took = (cycle.clock)().saturating_sub(started);
        }
        evaluation
    }

    /// Puts stored alerts back, before the first evaluation. Gives back those whose rule no longer exists.
    pub fn restore(&mut self, alerts: Vec<Alert>) -> Vec<Alert> {
        let mut rules: HashMap<Arc<str>, &mut RuleState> =
            self.groups.iter_mut().flat_map(|group| &mut group.rules).map(|r| (r.rule.key.clone(), r)).collect();
        let mut orphans = Vec::new();
        for alert in alerts {
            match rules.get_mut(&alert.rule).filter(|state| state.rule.alert().is_some()) {
                Some(state) => {
                    state.active.insert(alert.labels.clone(), alert);
                }
                None => orphans.push(alert),
            }
        }
        orphans
    }

    /// All alerts, those resolved in the last quarter of an hour included.
    pub fn alerts(&self) -> Vec<Alert> {
        self.rules().flat_map(RuleState::alerts).cloned().collect()
    }

    /// Loads other groups. A rule with the same key keeps its alerts; a group with the same interval its times.
    /// `gone` in the result are the alerts of rules that no longer exist, and `recorded` ends the series of those
    /// rules. No transition comes of it: a removed rule says nothing about the world.
    pub fn replace(&mut self, groups: Vec<RuleGroup>, settings: Settings, now: i64) -> Evaluation {
        let mut old: HashMap<Arc<str>, RuleState> = HashMap::new();
        let mut times = HashMap::new();
        for mut group in std::mem::take(&mut self.groups) {
            old.extend(std::mem::take(&mut group.rules).into_iter().map(|state| (state.rule.key.clone(), state)));
            times.insert((group.file.clone(), group.name.clone()), group);
        }
        for group in groups {
            let mut state = GroupState::new(group, &settings, now);
            if let Some(before) = times.get(&(state.file.clone(), state.name.clone())) {
                state.inherit(before);
            }
            for rule in &mut state.rules {
                if let Some(before) = old.remove(&rule.rule.key) {
                    rule.inherit(before);
                }
            }
            self.groups.push(state);
        }
        self.settings = settings;
        let mut evaluation = Evaluation::default();
        let mut removed: Vec<RuleState> = old.into_values().collect();
        removed.sort_by(|a, b| a.rule.key.cmp(&b.rule.key));
        for mut state in removed {
            evaluation.recorded.extend(state.end(now));
            evaluation.gone.extend(state.active.into_values());
        }
        evaluation
    }

    /// How far back samples must be kept for all rules, with one lookback for the question whether a resolve has data.
    pub fn window(&self) -> Duration {
        let groups = self.groups.iter();
        let reach = groups.flat_map(|group| group.rules.iter().map(|rule| rule.window().saturating_add(group.offset)));
        let extra = self.groups.iter().map(|group| group.interval).max().unwrap_or_default();
        reach.max().unwrap_or_default().max(self.settings.limits.lookback.saturating_add(extra))
    }

    /// The groups, in the order of their files.
    pub fn groups(&self) -> &[GroupState] {
        &self.groups
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &RuleState> {
        self.groups.iter().flat_map(|group| &group.rules)
    }
}
