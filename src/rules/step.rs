//! One evaluation of one alerting rule: elements of its expression → alerts. Pure.
//!
//! As Prometheus does it, with three differences that automation needs:
//! * an error (two elements with the same labels, too many alerts) changes nothing. Prometheus forgets all alerts of a
//!   rule that exceeds its limit; forgetting is a resolve in disguise;
//! * time that nobody watched does not count towards `for`: a pending alert that was not evaluated for longer than
//!   [`MAX_GAP`] or two intervals gets its start moved by the gap;
//! * a resolve says whether the data confirm it, and while samples are only being gathered again after a start, an
//!   alert without data is kept as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Alert;
use crate::model::AlertState;
use crate::model::Labels;
use crate::model::Transition;

use super::rule::AlertRule;

/// A resolved alert is kept this long, so that receivers that were away still hear of it. As in Prometheus.
pub const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);
/// A pending alert may go unwatched this long before the gap is taken off its time.
pub const MAX_GAP: Duration = Duration::from_secs(5 * 60);

/// The alerts of one rule, resolved ones of the last quarter of an hour included, by their labels.
pub type ActiveAlerts = BTreeMap<Labels, Alert>;

/// One element of the expression's value with its labels and annotations expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// With `alertname` and the rule's labels, without the metric name.
    pub labels: Labels,
    /// Expanded.
    pub annotations: Labels,
    /// The element's value.
    pub value: f64,
}

/// What the samples say about an alert whose element is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The series are there, and the expression is false of them.
    Data,
    /// The series are gone.
    NoData,
    /// The series are gone because samples are only being gathered again: wait.
    Unknown,
}

/// What is the same for all alerts of one evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// The rule's key, for new alerts.
    pub key: &'a std::sync::Arc<str>,
    /// The rule.
    pub rule: &'a AlertRule,
    /// Time of the evaluation, milliseconds since the epoch.
    pub at: i64,
    /// The group's interval.
    pub interval: Duration,
    /// Most alerts the rule may have; 0 for no limit.
    pub limit: usize,
    /// The rule's range is not covered by samples yet.
    pub warming_up: bool,
}

/// What one step brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Changes of state, sorted by labels.
    pub transitions: Vec<Transition>,
    /// Alerts that no longer exist: pending ones whose element is gone, and resolved ones whose time is over.
    pub gone: Vec<Alert>,
}

/// Why the result cannot become alerts. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StepError {
    /// Two elements became the same alert.
    #[error(
        "two elements have the labels {0} after the rule's labels are applied; aggregate, or keep a label that tells them apart"
    )]
    Duplicate(Labels),
    /// More alerts than allowed.
    #[error("{count} alerts exceed the limit of {limit}")]
    Limit {
        /// Alerts there would be.
        count: usize,
        /// Alerts allowed.
        limit: usize,
    },
}

/// Milliseconds of a duration; beyond 292 million years it does not matter.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Takes one rule one evaluation further. `evidence` is asked for alerts that would resolve or vanish.
///
/// # Errors
/// [`StepError`]; `active` is then as it was.
pub fn step(
    round: &Round<'_>,
    candidates: Vec<Candidate>,
    active: &mut ActiveAlerts,
    evidence: &mut dyn FnMut(&Alert) -> Evidence,
) -> Result<Outcome, StepError> {
    let mut found = candidates;
    found.sort_by(|a, b| a.labels.cmp(&b.labels));
    if let Some(pair) = found.windows(2).find(|pair| pair[0].labels == pair[1].labels) {
        return Err(StepError::Duplicate(pair[0].labels.clone()));
    }
    let is_found = |alert: &Alert| found.binary_search_by(|candidate| candidate.labels.cmp(&alert.labels)).is_ok();
    let kept = active.values().filter(|alert| keeps_firing(round, alert) && !is_found(alert)).count();
    let count = found.len() + kept;
    if round.limit > 0 && count > round.limit {
        return Err(StepError::Limit { count, limit: round.limit });
    }
    let mut outcome = Outcome::default();
    let mut found = found.into_iter().peekable();
    let mut after = Vec::with_capacity(count);
    // Both are sorted by labels, and one walk over both is cheaper than a search for each.
    for (labels, alert) in std::mem::take(active) {
        while let Some(new) = found.next_if(|candidate| candidate.labels < labels) {
            after.push((new.labels.clone(), holds(round, new, None, &mut outcome)));
        }
        let alert = match found.next_if(|candidate| candidate.labels == labels) {
            Some(candidate) => Some(holds(round, candidate, Some(alert), &mut outcome)),
            None => fails(round, alert, evidence, &mut outcome),
        };
        after.extend(alert.map(|alert| (labels, alert)));
    }
    for new in found {
        after.push((new.labels.clone(), holds(round, new, None, &mut outcome)));
    }
    *active = after.into_iter().collect();
    Ok(outcome)
}

/// The expression holds for the alert, or for a new one.
fn holds(round: &Round<'_>, candidate: Candidate, before: Option<Alert>, outcome: &mut Outcome) -> Alert {
    let from = before.as_ref().map(|alert| alert.state);
    let mut alert = match before {
        Some(alert) if alert.state != AlertState::Resolved => alert,
        _ => Alert {
            rule: round.key.clone(),
            labels: candidate.labels,
            annotations: Labels::empty(),
            state: AlertState::Pending,
            value: candidate.value,
            active_at: round.at,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            resolved_with_data: false,
            last_seen_at: round.at,
        },
    };
    let gap = round.at.saturating_sub(alert.last_seen_at);
    if alert.state == AlertState::Pending && gap > millis(MAX_GAP.max(round.interval * 2)) {
        alert.active_at = alert.active_at.saturating_add(gap).min(round.at);
    }
    alert.annotations = candidate.annotations;
    alert.value = candidate.value;
    alert.keep_firing_since = None;
    alert.last_seen_at = round.at;
    if alert.state == AlertState::Pending && round.at.saturating_sub(alert.active_at) >= millis(round.rule.hold) {
        alert.state = AlertState::Firing;
        alert.fired_at = Some(round.at);
    }
    if from != Some(alert.state) {
        outcome.transitions.push(transition(round, from, &alert, false));
    }
    alert
}

/// The expression does not hold for the alert any more. `None` when the alert is gone with that.
fn fails(
    round: &Round<'_>,
    mut alert: Alert,
    evidence: &mut dyn FnMut(&Alert) -> Evidence,
    outcome: &mut Outcome,
) -> Option<Alert> {
    match alert.state {
        AlertState::Resolved => {
            let since = alert.resolved_at.unwrap_or(round.at);
            if round.at.saturating_sub(since) > millis(RESOLVED_RETENTION) {
                outcome.gone.push(alert);
                return None;
            }
        }
        AlertState::Pending if evidence(&alert) == Evidence::Unknown => {}
        AlertState::Pending => {
            outcome.gone.push(alert);
            return None;
        }
        AlertState::Firing if keeps_firing(round, &alert) => {
            alert.keep_firing_since.get_or_insert(round.at);
        }
        AlertState::Firing => {
            let evidence = evidence(&alert);
            if evidence != Evidence::Unknown {
                alert.state = AlertState::Resolved;
                alert.resolved_at = Some(round.at);
                let positive = evidence == Evidence::Data;
                alert.resolved_with_data = positive;
                outcome.transitions.push(transition(round, Some(AlertState::Firing), &alert, positive));
            }
        }
    }
    Some(alert)
}

/// Whether `keep_firing_for` still covers a firing alert whose element is gone.
fn keeps_firing(round: &Round<'_>, alert: &Alert) -> bool {
    let since = alert.keep_firing_since.unwrap_or(round.at);
    alert.state == AlertState::Firing && round.at.saturating_sub(since) < millis(round.rule.keep_firing_for)
}

fn transition(round: &Round<'_>, from: Option<AlertState>, alert: &Alert, positive: bool) -> Transition {
    Transition { from, alert: alert.clone(), at: round.at, positive, warming_up: round.warming_up }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn rule(hold: u64, keep: u64) -> AlertRule {
        AlertRule {
            hold: Duration::from_secs(hold),
            keep_firing_for: Duration::from_secs(keep),
            labels: Vec::new(),
            annotations: Vec::new(),
        }
    }

    fn hot(rig: &str) -> Candidate {
        let labels = Labels::new([("alertname", "Hot"), ("rig", rig)]);
        Candidate { labels, annotations: Labels::empty(), value: 1.0 }
    }

    /// Plays evaluations (second, element there?) with an alert that is stored and read back in between.
    fn play(rule: &AlertRule, story: &[(i64, bool)], said: Evidence) -> Vec<(i64, String)> {
        let key: Arc<str> = Arc::from("f;g;Hot{}");
        let mut active = ActiveAlerts::new();
        let mut seen = Vec::new();
        for (second, there) in story {
            let interval = Duration::from_secs(10);
            let round = Round { key: &key, rule, at: second * 1000, interval, limit: 0, warming_up: false };
            let candidates = if *there { vec![hot("a")] } else { Vec::new() };
            let outcome = step(&round, candidates, &mut active, &mut |_| said).unwrap();
            for change in outcome.transitions {
                let since = change.alert.fired_at.unwrap_or(change.alert.active_at) / 1000;
                let positive = if change.positive { "+" } else { "" };
                seen.push((*second, format!("{} since {since}{positive}", change.alert.state.as_str())));
            }
            seen.extend(outcome.gone.iter().map(|_| (*second, "gone".to_string())));
            // A restart after every evaluation.
            let stored = serde_json::to_string(&active.values().collect::<Vec<_>>()).unwrap();
            let back: Vec<Alert> = serde_json::from_str(&stored).unwrap();
            active = back.into_iter().map(|alert| (alert.labels.clone(), alert)).collect();
        }
        seen
    }

    fn story(entries: &[(i64, &str)]) -> Vec<(i64, String)> {
        entries.iter().map(|(second, text)| (*second, (*text).to_string())).collect()
    }

    #[test]
    fn zero_for_fires_at_once() {
        let seen = play(&rule(0, 0), &[(0, true), (10, true), (20, false), (30, false)], Evidence::Data);
        assert_eq!(seen, story(&[(0, "firing since 0"), (20, "resolved since 0+")]));
    }

    #[test]
    fn pending_fires_after_its_time_and_a_short_one_vanishes() {
        let seen = play(&rule(20, 0), &[(0, true), (10, true), (20, true), (30, false)], Evidence::Data);
        assert_eq!(seen, story(&[(0, "pending since 0"), (20, "firing since 20"), (30, "resolved since 20+")]));
        let seen = play(&rule(20, 0), &[(0, true), (10, false), (20, true)], Evidence::NoData);
        assert_eq!(seen, story(&[(0, "pending since 0"), (10, "gone"), (20, "pending since 20")]));
    }

    #[test]
    fn keep_firing_for_bridges_a_gap() {
        let seen = play(
            &rule(0, 20),
            &[(0, true), (10, false), (20, true), (30, false), (40, false), (50, false)],
            Evidence::Data,
        );
        assert_eq!(seen, story(&[(0, "firing since 0"), (50, "resolved since 0+")]));
    }

    #[test]
    fn resolved_alerts_stay_a_quarter_of_an_hour_and_may_come_back() {
        let seen = play(&rule(0, 0), &[(0, true), (10, false), (910, false), (911, false)], Evidence::Data);
        assert_eq!(seen, story(&[(0, "firing since 0"), (10, "resolved since 0+"), (911, "gone")]));
        let seen = play(&rule(20, 0), &[(0, true), (20, true), (30, false), (40, true)], Evidence::NoData);
        let expected =
            [(0, "pending since 0"), (20, "firing since 20"), (30, "resolved since 20"), (40, "pending since 40")];
        assert_eq!(seen, story(&expected));
    }

    #[test]
    fn missing_samples_after_a_start_change_nothing() {
        let seen = play(&rule(0, 0), &[(0, true), (10, false), (20, true)], Evidence::Unknown);
        assert_eq!(seen, story(&[(0, "firing since 0")]));
        let seen = play(&rule(20, 0), &[(0, true), (10, false), (20, true)], Evidence::Unknown);
        assert_eq!(seen, story(&[(0, "pending since 0"), (20, "firing since 20")]));
    }

    #[test]
    fn unwatched_time_does_not_count() {
        let seen = play(&rule(60, 0), &[(0, true), (10, true), (400, true), (440, true), (450, true)], Evidence::Data);
        assert_eq!(seen, story(&[(0, "pending since 0"), (450, "firing since 450")]));
    }

    #[test]
    fn an_error_changes_nothing() {
        let key: Arc<str> = Arc::from("k");
        let rule = rule(0, 0);
        let mut active = ActiveAlerts::new();
        let round = Round { key: &key, rule: &rule, at: 0, interval: MAX_GAP, limit: 1, warming_up: false };
        step(&round, vec![hot("a")], &mut active, &mut |_| Evidence::Data).unwrap();
        let before = active.clone();
        let error = step(&round, vec![hot("a"), hot("a")], &mut active, &mut |_| Evidence::Data).unwrap_err();
        assert_eq!(error, StepError::Duplicate(hot("a").labels));
        let error = step(&round, vec![hot("b"), hot("c")], &mut active, &mut |_| Evidence::Data).unwrap_err();
        assert_eq!(error.to_string(), "2 alerts exceed the limit of 1");
        assert_eq!(active, before);
    }
}
