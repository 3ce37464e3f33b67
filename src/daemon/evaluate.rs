//! The rules' own task: evaluates what is due on the samples, keeps alerts, and hands on what changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::explain::Question;
use super::history::{covered_since, window};
use super::keep::Keeper;
use super::shared::{RuleNote, Shared};
use crate::config::Config;
use crate::model::{Alert, AlertState, Family, FamilyRef, MetricType, Point, TargetId, Transition};
use crate::query;
use crate::rules::{self, Cycle, Engine, Evaluation, Rule, RuleState, Settings};
use crate::schedule::about;
use crate::schedule::poll::unix_millis;
use crate::store::{Kept, KeptHistogram};

/// Longest wait for the next evaluation: the clock may be set forward or back meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How often pending alerts are written down although nothing changed.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// A wall clock that goes this much more or less than the time that passed was set, or the machine slept.
const CLOCK_WAS_SET: Duration = Duration::from_secs(30);
/// Removals that are remembered while the store takes no writes. The record of one that is forgotten is found at the next
/// start, like any alert that was over while nobody looked.
const MOST_OWED: usize = 10_000;

/// The block of alerts as samples. No target's id can hold a slash.
pub(super) const ALERTS: &str = "/alerts";
/// The block of what rules record, and of what only rules need.
pub(super) const RECORDED: &str = "/rules";

/// The rules of a configuration and what they need.
pub(super) struct Evaluator {
    shared: Arc<Shared>,
    keeper: Keeper,
    transitions: mpsc::Sender<Transition>,
    engine: Engine,
    questions: mpsc::Receiver<Question>,
    /// Since when the samples have no gap, milliseconds since the epoch.
    since: i64,
    clocks: Clocks,
    noted: Instant,
    /// The store did not take the last change of alerts; these are to be removed once it does.
    owed: Option<Vec<Alert>>,
    /// What was counted of each group, by file and name.
    counted: HashMap<(String, String), [u64; 3]>,
}

/// One time on both clocks. After the wall clock was set, or the machine slept, samples are only being gathered again:
/// what is missing says nothing about the world, and no alert may resolve for want of it.
struct Clocks {
    wall: i64,
    monotonic: Instant,
}

impl Clocks {
    /// By how much the wall clock was set since the last call, if it was.
    fn set_by(&mut self, wall: i64, monotonic: Instant) -> Option<Duration> {
        let before = std::mem::replace(self, Clocks { wall, monotonic });
        let passed = monotonic.saturating_duration_since(before.monotonic).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let off = Duration::from_millis(wall.saturating_sub(before.wall).abs_diff(passed));
        (off > CLOCK_WAS_SET).then_some(off)
    }
}

/// The settings of the engine in a configuration.
pub fn settings(config: &Config) -> Settings {
    Settings {
        external_labels: config.external_labels.clone(),
        external_url: config.notify.external_url.clone(),
        interval: config.file.rules.evaluation_interval,
        no_data: rules::no_data::read(&config.file.rules.no_data).0,
        limits: query_limits(config),
        ..Settings::default()
    }
}

/// What one query may use.
pub(super) fn query_limits(config: &Config) -> query::Limits {
    query::Limits {
        max_samples: config.file.limits.samples_per_query,
        subquery_step: config.file.rules.evaluation_interval,
        ..query::Limits::default()
    }
}

impl Evaluator {
    /// An evaluator over a restored engine.
    pub(super) fn new(
        shared: Arc<Shared>,
        keeper: Keeper,
        transitions: mpsc::Sender<Transition>,
        engine: Engine,
    ) -> Self {
        let (since, now) = (unix_millis(), Instant::now());
        let questions = shared.desk.questions();
        Evaluator {
            questions,
            shared,
            keeper,
            transitions,
            engine,
            since,
            clocks: Clocks { wall: since, monotonic: now },
            noted: now,
            owed: None,
            counted: HashMap::new(),
        }
    }

    /// Evaluates until `stop`; follows the configuration. A panic in an evaluation ends the task, and with it the
    /// daemon: a half-updated engine must not decide anything.
    pub(super) async fn run(mut self, mut configs: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
        // What fires must be on show before anybody is told of it.
        self.publish();
        self.tell_restored().await;
        // Opens a database, which may take a second: nothing else waits for it.
        self.since = self.since.min(covered_since(&self.shared.samples).await);
        loop {
            let wait = self
                .engine
                .next_due()
                .map(|due| Duration::from_millis(u64::try_from(due - unix_millis()).unwrap_or(0)));
            tokio::select! {
                () = stop.cancelled() => break,
                changed = configs.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let config = configs.borrow_and_update().clone();
                    self.reload(&config).await;
                }
                Some(question) = self.questions.recv() => question.answer(&self.engine),
                () = tokio::time::sleep(wait.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)) => {
                    if self.engine.due(unix_millis()) {
                        let Some(next) = self.evaluate().await else { break };
                        self = next;
                    }
                }
            }
        }
    }

    async fn evaluate(mut self) -> Option<Self> {
        let now = unix_millis();
        if let Some(off) = self.clocks.set_by(now, Instant::now()) {
            tracing::warn!(seconds = off.as_secs(), "the clock was set, or the machine slept; rules warm up again");
            self.since = now;
        }
        let (since, samples) = (self.since, self.shared.samples.clone());
        let mut engine = self.engine;
        let work = move || {
            let started = Instant::now();
            let clock = || started.elapsed();
            let cycle = Cycle { now, source_since: since, source: &samples, clock: &clock };
            let evaluation = engine.evaluate(&cycle);
            (engine, evaluation)
        };
        // Queries are computation; on a thread of the runtime they would make polls late.
        let (engine, evaluation) = match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "the evaluation of rules failed; the daemon stops");
                self.shared.telemetry.count_panic("rules");
                return None;
            }
        };
        self.engine = engine;
        self.take(evaluation, now).await;
        Some(self)
    }

    async fn reload(&mut self, config: &Config) {
        let now = unix_millis();
        // Of groups that the reload takes away.
        self.shared.telemetry.rule_group_duration.clear();
        let before = window(&self.engine, config);
        let evaluation = self.engine.replace(config.groups.clone(), settings(config), now);
        // With a history, it is on disk.
        if self.shared.samples.history().is_none() && window(&self.engine, config) > before {
            // What older rules did not need is gone already.
            self.since = self.since.max(now - i64::try_from(before.as_millis()).unwrap_or(i64::MAX));
        }
        self.shared.recent.set_window(window(&self.engine, config));
        self.take(evaluation, now).await;
    }

    /// Appends, persists, tells, in this order.
    async fn take(&mut self, evaluation: Evaluation, now: i64) {
        let (points, histograms) = self.append(&evaluation, now);
        self.shared.sink.offer(points).await;
        self.shared.sink.offer_histograms(histograms).await;
        self.persist(&evaluation).await;
        self.count(&evaluation);
        self.publish();
        for transition in evaluation.transitions {
            log(&transition);
            // The receiver is gone only at shutdown.
            let _ = self.transitions.send(transition).await;
        }
    }

    /// Writes alerts that changed, and now and then what is pending too: its last sight decides after a restart how long
    /// it has been pending. What the store did not take is owed, and tried again with every evaluation.
    async fn persist(&mut self, evaluation: &Evaluation) {
        let note = self.noted.elapsed() >= NOTE_EVERY;
        if note {
            self.noted = Instant::now();
        }
        let noted = |alert: &Alert| note && alert.state == AlertState::Pending;
        let changed = evaluation.transitions.iter().map(|transition| &transition.alert);
        let changed: Vec<Alert> = match &self.owed {
            Some(_) => self.engine.alerts(),
            None if !note => changed.cloned().collect(),
            None => {
                let pending = self.engine.alerts().into_iter().filter(noted);
                changed.filter(|alert| !noted(alert)).cloned().chain(pending).collect()
            }
        };
        let owed = self.owed.take();
        let (late, mut gone) = (owed.is_some(), owed.unwrap_or_default());
        gone.extend(evaluation.gone.iter().cloned());
        // One that went while nothing could be written may be back.
        gone.retain(|old| !changed.iter().any(|alert| alert.rule == old.rule && alert.labels == old.labels));
        if changed.is_empty() && gone.is_empty() {
            self.shared.notice("alerts", None);
            return;
        }
        let outcome = self.keeper.alerts_now(&changed, &gone).await;
        if let Err(error) = &outcome {
            if !late {
                tracing::error!(%error, "cannot write alerts; until it can, their times will not survive a restart");
            }
            gone.truncate(MOST_OWED);
            self.owed = Some(gone);
        }
        self.shared.notice("alerts", outcome.err().map(|error| format!("Alerts cannot be written: {error}")));
    }

    /// Appends what was recorded; hands back what is to be sent on.
    fn append(&self, evaluation: &Evaluation, now: i64) -> (Vec<Kept>, Vec<KeptHistogram>) {
        static FIRING: Family = Family::gauge("ALERTS", "1 for every alert that is pending or firing", &[]);
        let (mut alerts, mut recorded, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
        for sample in &evaluation.recorded {
            if let Some(histogram) = &sample.h {
                let family = family(sample.labels.name().unwrap_or_default());
                histograms.push((family, sample.labels.clone(), sample.t, Arc::clone(histogram)));
                continue;
            }
            let (labels, point) = (sample.labels.clone(), Point { t: sample.t, v: sample.v });
            match labels.name() {
                Some("ALERTS") => alerts.push((FamilyRef::from(&FIRING), labels, point)),
                name => recorded.push((family(name.unwrap_or_default()), labels, point)),
            }
        }
        let mut sent = Vec::new();
        for (block, points) in [(ALERTS, alerts), (RECORDED, recorded)] {
            let id = TargetId::from(block);
            let done = self.shared.recent.append_points(&id, &points, now);
            self.shared.over_limit("series", &id, done.over_limit);
            if self.shared.sink.is_wanted() {
                sent.extend(points);
            }
        }
        let id = TargetId::from(RECORDED);
        let done = self.shared.recent.append_histograms(&id, &histograms, now);
        self.shared.over_limit("series", &id, done.over_limit);
        (sent, histograms)
    }

    fn count(&mut self, evaluation: &Evaluation) {
        let telemetry = &self.shared.telemetry;
        for problem in evaluation.problems.iter().filter(|problem| problem.new) {
            tracing::warn!(rule = &*problem.rule, error = %problem.error, "rule failed");
        }
        for group in self.engine.groups() {
            let labels = vec![("group", group.name().to_string())];
            let (evaluations, failures) =
                group.rules().iter().map(RuleState::counts).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            let totals = [evaluations, failures, group.missed()];
            let counters = [&telemetry.rule_evaluations, &telemetry.rule_failures, &telemetry.rule_missed];
            let before = self.counted.entry((group.file().to_string(), group.name().to_string())).or_default();
            for ((counter, total), before) in counters.into_iter().zip(totals).zip(before) {
                // A rule that a reload changed counts from zero again, while our counters only rise.
                counter.get_or_create(&labels).inc_by(total.saturating_sub(*before));
                *before = total;
            }
            telemetry.rule_group_duration.get_or_create(&labels).set(group.took().as_secs_f64());
        }
        let alerts = self.engine.alerts();
        for state in [AlertState::Pending, AlertState::Firing] {
            let count = alerts.iter().filter(|alert| alert.state == state).count();
            telemetry.alerts.get_or_create(&vec![("state", state.as_str().into())]).set(count as f64);
        }
    }

    /// Shows alerts and rules to the rest.
    fn publish(&self) {
        self.shared.alerts.set(Arc::new(self.engine.alerts()));
        let rules = self.engine.groups().iter().flat_map(|group| group.rules().iter().map(move |state| (group, state)));
        let notes: BTreeMap<String, RuleNote> =
            rules.map(|(group, state)| (state.rule().key.to_string(), note(state, group.interval()))).collect();
        self.shared.rules.set(Arc::new(notes));
        self.shared.groups.set(Arc::new(super::prometheus::groups(&self.engine)));
    }

    /// Tells restored alerts again: whoever acts may not have heard before the process ended.
    async fn tell_restored(&self) {
        for alert in self.engine.alerts().into_iter().filter(|alert| alert.state != AlertState::Pending) {
            let (at, positive) = (alert.resolved_at.unwrap_or(alert.last_seen_at), alert.resolved_with_data);
            let transition = Transition { from: Some(AlertState::Firing), alert, at, positive, warming_up: true };
            let _ = self.transitions.send(transition).await;
        }
    }
}

fn family(name: &str) -> FamilyRef {
    let family = Family {
        name: name.to_string().into(),
        kind: MetricType::Unknown,
        help: "Recorded by a rule".into(),
        labels: &[],
        bounds: (f64::NEG_INFINITY, f64::INFINITY),
    };
    Arc::new(family).into()
}

fn note(state: &RuleState, interval: Duration) -> RuleNote {
    let rule = state.rule();
    let warming_up = state.last().is_none_or(|last| last.warming_up);
    let mut remarks = Vec::new();
    if let Some(error) = state.last_error() {
        remarks.push(format!("fails: {error}"));
    } else if warming_up {
        remarks.push("warming up: the samples do not yet reach back as far as the rule does".to_string());
    }
    let never = state.never_matched();
    if !never.is_empty() && !warming_up {
        remarks.push(format!("has never matched a series: {}", never.join(", ")));
    }
    RuleNote {
        name: rule.name.clone(),
        warming_up,
        expr: rule.expr_text.clone(),
        interval,
        needs_values: needs_values(rule),
        remark: remarks.join("; "),
    }
}

/// Whether a rule reads what targets measure, and not only what the scheduler says of them: that they do not answer.
pub(super) fn needs_values(rule: &Rule) -> bool {
    let of_us = |value: &str| about::FAMILIES.iter().any(|family| family.name == value);
    let only_of_us = |matchers: &Vec<crate::model::Matcher>| {
        matchers.iter().any(|matcher| {
            matcher.name == "__name__" && matcher.op == crate::model::MatchOp::Equal && of_us(&matcher.value)
        })
    };
    !query::selectors(&rule.expr).iter().all(only_of_us)
}

fn log(transition: &Transition) {
    let alert = &transition.alert;
    let (state, labels) = (alert.state.as_str(), alert.labels.to_string());
    match alert.state {
        AlertState::Pending => tracing::debug!(state, labels, "alert"),
        AlertState::Firing | AlertState::Resolved => tracing::info!(state, labels, value = alert.value, "alert"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_and_a_slow_evaluation_is_not_taken_for_one() {
        let start = Instant::now();
        let mut clocks = Clocks { wall: 1_000_000, monotonic: start };
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(clocks.set_by(1_600_100, after(600)), None);
        assert_eq!(clocks.set_by(5_205_100, after(605)), Some(Duration::from_secs(3600)));
        assert_eq!(clocks.set_by(1_610_100, after(610)), Some(Duration::from_secs(3600)));
        assert_eq!(clocks.set_by(1_615_100, after(615)), None);
    }
}
