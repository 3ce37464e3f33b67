//! Rules over the past: what would have been pending, firing and resolved, and when.

mod ahead;
mod past;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::model::Alert;
use crate::model::AlertState;
use crate::model::Labels;
use crate::model::Source;

use super::engine::Cycle;
use super::engine::Engine;
use super::engine::Evaluation;
use super::engine::Settings;
use super::explain::time;
use super::rule::RuleGroup;
use super::rule::RuleKind;
use super::step::millis;

pub use ahead::Ahead;
use past::Past;

/// Alerts that one replay tells of; the rest is counted.
const MOST_EPISODES: usize = 10_000;

/// Which evaluations to do. Times are milliseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first possible one.
    pub from: i64,
    /// The last possible one.
    pub to: i64,
    /// Evaluate all groups this often, from `from` on; `None`: each at the slots at which a daemon evaluates it.
    pub step: Option<Duration>,
}

/// What a replay found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Alerts, in the order in which they began.
    pub alerts: Vec<Episode>,
    /// Alerts that are not shown.
    pub alerts_left_out: u64,
    /// Evaluations of single rules.
    pub evaluations: u64,
    /// Rules that failed.
    pub failures: Vec<Failure>,
    /// Selectors that never matched a series, by rule.
    pub never_matched: BTreeMap<String, Vec<String>>,
}

/// One alert from its beginning to its end. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Episode {
    /// The rule's file, group, name and labels.
    pub rule: String,
    /// Labels with `alertname`.
    pub labels: BTreeMap<String, String>,
    /// `pending` or `firing` at the end of the replay; `resolved`; `inactive`: it was over before it fired.
    pub state: String,
    /// When the expression began to hold.
    pub active_at: String,
    /// When it began to fire.
    pub fired_at: Option<String>,
    /// When it resolved, or was over without having fired.
    pub ended_at: Option<String>,
    /// The expression's value when the alert last changed its state while it held.
    pub value: String,
}

/// A rule that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The rule's file, group, name and labels.
    pub rule: String,
    /// How often.
    pub count: u64,
    /// When first, RFC 3339 in UTC.
    pub first_at: String,
    /// Why, the first time.
    pub error: String,
}

/// Evaluates the rules over `source`. Each rule sees what the rules of this replay recorded, in place of what was recorded
/// under the same names back then. There is no warming up: before its first sample the source is taken for empty.
/// `progress` hears of every time that is done.
pub fn replay(
    groups: Vec<RuleGroup>,
    settings: Settings,
    plan: Plan,
    source: &dyn Source,
    mut progress: impl FnMut(i64),
) -> Replay {
    let mut past = Past::new(source, plan.from, &groups);
    // A group is due at its first slot after the engine's start.
    let mut engine = Engine::new(groups, settings, plan.from.saturating_sub(1));
    let window = millis(engine.window());
    let mut story = Story::default();
    // Evaluation times of the past are nobody's business: a watch that stands still.
    let clock = || Duration::ZERO;
    let mut next = if plan.step.is_some() { Some(plan.from) } else { engine.next_due() };
    while let Some(at) = next.filter(|at| *at <= plan.to) {
        let cycle = Cycle { now: at, source_since: i64::MIN, source: &past, clock: &clock };
        let evaluation = if plan.step.is_some() { engine.evaluate_all(&cycle) } else { engine.evaluate(&cycle) };
        story.note(at, &evaluation);
        past.record(&evaluation.recorded, at.saturating_sub(window));
        progress(at);
        next = match plan.step {
            Some(step) => Some(at.saturating_add(millis(step).max(1))),
            None => engine.next_due(),
        };
    }
    // A rule that fails has not looked which series there are.
    for rule in engine.rules().filter(|rule| rule.last_error().is_none()) {
        let never = rule.never_matched();
        if !never.is_empty() {
            story.replay.never_matched.insert(rule.rule().key.to_string(), never);
        }
    }
    story.replay
}

/// Which series a set of rules produces.
struct Produced {
    recorded: BTreeSet<String>,
    alerts: BTreeSet<String>,
}

impl Produced {
    fn new(groups: &[RuleGroup]) -> Self {
        let rules = groups.iter().flat_map(|group| &group.rules);
        let (alerts, recorded): (Vec<_>, Vec<_>) = rules.partition(|rule| matches!(rule.kind, RuleKind::Alert(_)));
        let names = |rules: Vec<&super::rule::Rule>| rules.into_iter().map(|rule| rule.name.clone()).collect();
        Produced { recorded: names(recorded), alerts: names(alerts) }
    }

    fn holds(&self, labels: &Labels) -> bool {
        match labels.name().unwrap_or_default() {
            "ALERTS" | "ALERTS_FOR_STATE" => labels.get("alertname").is_some_and(|name| self.alerts.contains(name)),
            name => self.recorded.contains(name),
        }
    }
}

/// What happens, as it happens.
#[derive(Default)]
struct Story {
    replay: Replay,
    /// Alerts that are not over, by rule and labels; without a place where they are left out.
    open: HashMap<(Arc<str>, Labels), Option<usize>>,
    failed: HashMap<Arc<str>, usize>,
}

impl Story {
    fn note(&mut self, at: i64, evaluation: &Evaluation) {
        self.replay.evaluations += evaluation.rules as u64;
        for transition in &evaluation.transitions {
            self.alert(at, &transition.alert);
        }
        for alert in evaluation.gone.iter().filter(|alert| alert.state == AlertState::Pending) {
            self.end(at, alert, "inactive");
        }
        for problem in &evaluation.problems {
            let place = *self.failed.entry(problem.rule.clone()).or_insert_with(|| {
                let (rule, error) = (problem.rule.to_string(), problem.error.to_string());
                self.replay.failures.push(Failure { rule, count: 0, first_at: time(at), error });
                self.replay.failures.len() - 1
            });
            self.replay.failures[place].count += 1;
        }
    }

    fn alert(&mut self, at: i64, alert: &Alert) {
        if alert.state == AlertState::Resolved {
            return self.end(at, alert, "resolved");
        }
        let replay = &mut self.replay;
        let place = *self.open.entry((alert.rule.clone(), alert.labels.clone())).or_insert_with(|| {
            if replay.alerts.len() == MOST_EPISODES {
                replay.alerts_left_out += 1;
                return None;
            }
            replay.alerts.push(Episode {
                rule: alert.rule.to_string(),
                labels: alert.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
                state: String::new(),
                active_at: time(alert.active_at),
                fired_at: None,
                ended_at: None,
                value: String::new(),
            });
            Some(replay.alerts.len() - 1)
        });
        if let Some(episode) = place.and_then(|place| replay.alerts.get_mut(place)) {
            episode.state = alert.state.as_str().to_string();
            episode.fired_at = alert.fired_at.map(time);
            episode.value = crate::query::format_value(alert.value);
        }
    }

    fn end(&mut self, at: i64, alert: &Alert, state: &str) {
        let place = self.open.remove(&(alert.rule.clone(), alert.labels.clone())).flatten();
        if let Some(episode) = place.and_then(|place| self.replay.alerts.get_mut(place)) {
            episode.state = state.to_string();
            episode.ended_at = Some(time(at));
        }
    }
}

#[cfg(test)]
mod tests;
