//! Why a rule says what it says: its last evaluations, its alerts, and one sentence that sums them up.

use chrono::DateTime;
use chrono::SecondsFormat;
use serde::Serialize;

use crate::model::Alert;
use crate::model::AlertState;
use crate::model::duration::format_duration;
use crate::query;

use super::group::GroupState;
use super::rule::AlertRule;
use super::state::RuleState;
use super::step::millis;
use super::trace::Seen;
use super::trace::Trace;

/// Alerts shown of one rule.
const MAX_ALERTS: usize = 20;

/// A rule, explained. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The rule file.
    pub file: String,
    /// Line of the rule in it.
    pub line: Option<usize>,
    /// The group.
    pub group: String,
    /// The alert's name, or that of the recorded series.
    pub name: String,
    /// `alerting` or `recording`, as Prometheus' API says.
    #[serde(rename = "type")]
    pub kind: String,
    /// The expression as it was written.
    pub query: String,
    /// `firing`, `pending`, `inactive`, or `recording`.
    pub state: String,
    /// Why it is so, in one sentence.
    pub reason: String,
    /// Selectors that no series has ever matched.
    pub never_matched: Vec<String>,
    /// Evaluations since the rule was loaded.
    pub evaluations: u64,
    /// How many of them failed.
    pub failures: u64,
    /// Pending and firing alerts, and those that resolved lately; the first twenty.
    pub alerts: Vec<AlertNote>,
    /// Alerts that are not shown.
    pub alerts_left_out: usize,
    /// The last evaluations, newest first.
    pub trace: Vec<TraceNote>,
}

/// One alert of the rule.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertNote {
    /// `pending`, `firing` or `resolved`.
    pub state: String,
    /// In Prometheus' notation.
    pub labels: String,
    /// The expression's last value.
    pub value: String,
    /// Since when the expression holds.
    pub active_at: String,
    /// Since when it fires.
    pub fired_at: Option<String>,
    /// When it resolved.
    pub resolved_at: Option<String>,
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceNote {
    /// When.
    pub at: String,
    /// How long it took, in seconds.
    pub duration: f64,
    /// Elements of the expression's value.
    pub elements: usize,
    /// What it saw, or why it failed.
    pub result: String,
    /// Whether it failed.
    pub failed: bool,
    /// Alerts that changed state.
    pub changes: usize,
    /// Alerts that were pending after it.
    pub pending: usize,
    /// Alerts that fired after it.
    pub firing: usize,
    /// The rule's range was not covered by samples yet.
    pub warming_up: bool,
    /// Warnings and remarks of the query.
    pub annotations: Vec<String>,
}

/// Explains the rules for which `wanted` holds, in the order of their groups; at most `most`.
pub fn explain(
    groups: &[GroupState],
    most: usize,
    wanted: impl Fn(&GroupState, &RuleState) -> bool,
) -> Vec<Explanation> {
    let all = groups.iter().flat_map(|group| group.rules().iter().map(move |rule| (group, rule)));
    all.filter(|(group, rule)| wanted(group, rule)).take(most).map(|(group, rule)| of_rule(group, rule)).collect()
}

fn of_rule(group: &GroupState, state: &RuleState) -> Explanation {
    let rule = state.rule();
    let has = |wanted: AlertState| state.alerts().any(|alert| alert.state == wanted);
    let standing = match rule.alert() {
        None => "recording",
        Some(_) if has(AlertState::Firing) => "firing",
        Some(_) if has(AlertState::Pending) => "pending",
        Some(_) => "inactive",
    };
    let (evaluations, failures) = state.counts();
    Explanation {
        file: group.file().to_string(),
        line: rule.line,
        group: group.name().to_string(),
        name: rule.name.clone(),
        kind: if rule.alert().is_some() { "alerting" } else { "recording" }.to_string(),
        query: rule.expr_text.clone(),
        state: standing.to_string(),
        reason: reason(state),
        never_matched: state.never_matched(),
        evaluations,
        failures,
        alerts: state.alerts().take(MAX_ALERTS).map(of_alert).collect(),
        alerts_left_out: state.alerts().count().saturating_sub(MAX_ALERTS),
        trace: state.trace().rev().map(of_trace).collect(),
    }
}

fn of_alert(alert: &Alert) -> AlertNote {
    AlertNote {
        state: alert.state.as_str().to_string(),
        labels: alert.labels.to_string(),
        value: query::format_value(alert.value),
        active_at: time(alert.active_at),
        fired_at: alert.fired_at.map(time),
        resolved_at: alert.resolved_at.map(time),
    }
}

fn of_trace(trace: &Trace) -> TraceNote {
    TraceNote {
        at: time(trace.at),
        duration: trace.took.as_secs_f64(),
        elements: if let Seen::Elements(count) = trace.seen { count } else { 0 },
        result: trace.seen.to_string(),
        failed: matches!(trace.seen, Seen::Failed(_)),
        changes: trace.changes,
        pending: trace.pending,
        firing: trace.firing,
        warming_up: trace.warming_up,
        annotations: trace.notes.clone(),
    }
}

/// One sentence.
fn reason(state: &RuleState) -> String {
    let Some(last) = state.last() else { return "it has not been evaluated yet".to_string() };
    if let Seen::Failed(error) = &last.seen {
        let since = state.trace().rev().take_while(|trace| matches!(trace.seen, Seen::Failed(_))).last();
        let since = since.map(|trace| time(trace.at)).unwrap_or_default();
        return format!("it fails (at least since {since}), and its alerts stay as they were: {error}");
    }
    let now = match state.rule().alert() {
        Some(rule) => of_alerts(state, rule, last),
        None => last.seen.to_string(),
    };
    match last.warming_up {
        true => format!("{now}; it is warming up: the samples do not yet reach back as far as the rule does"),
        false => now,
    }
}

fn of_alerts(state: &RuleState, rule: &AlertRule, last: &Trace) -> String {
    let mut said = Vec::new();
    let kept = state.alerts().filter(|alert| alert.state == AlertState::Firing && alert.last_seen_at < last.at).count();
    let holding = last.firing.saturating_sub(kept);
    if holding > 0 {
        said.push(format!("the condition holds for {}, long enough to fire", alerts(holding)));
    }
    if kept > 0 {
        let keeping = rule.keep_firing_for;
        said.push(match keeping.is_zero() {
            true => format!("{} no data any more and so cannot resolve", has(kept)),
            false => format!("{} going on to fire because of keep_firing_for: {}", is(kept), format_duration(keeping)),
        });
    }
    let pending = state.alerts().filter(|alert| alert.state == AlertState::Pending);
    if let Some(first) = pending.min_by_key(|alert| alert.active_at) {
        let due = time(first.active_at.saturating_add(millis(rule.hold)));
        let hold = format_duration(rule.hold);
        said.push(format!("{} pending for less than {hold}; the oldest is due at {due}", is(last.pending)));
    }
    if said.is_empty() {
        said.push(last.seen.to_string());
    }
    said.join("; ")
}

fn alerts(count: usize) -> String {
    format!("{count} alert{}", if count == 1 { "" } else { "s" })
}

fn is(count: usize) -> String {
    format!("{} {}", alerts(count), if count == 1 { "is" } else { "are" })
}

fn has(count: usize) -> String {
    format!("{} {}", alerts(count), if count == 1 { "has" } else { "have" })
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn time(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
