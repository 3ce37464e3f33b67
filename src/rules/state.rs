//! What is remembered of a rule between its evaluations, and one evaluation of it.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Alert;
use crate::model::AlertState;
use crate::model::Labels;
use crate::model::Matcher;
use crate::model::Source;
use crate::model::labels::METRIC_NAME;
use crate::model::series::stale_nan;
use crate::query;
use crate::query::Expr;
use crate::query::Value;
use crate::query::VectorSample;
use crate::query::ast::Length;
use crate::query::ast::Node;
use crate::query::ast::Shift;

use super::engine::Settings;
use super::evidence;
use super::evidence::Witness;
use super::no_data;
use super::no_data::NoData;
use super::produce;
use super::rule::Rule;
use super::rule::RuleKind;
use super::step;
use super::step::ActiveAlerts;
use super::step::Evidence;
use super::step::Outcome;
use super::step::Round;
use super::step::StepError;
use super::step::millis;
use super::trace::RuleError;
use super::trace::Seen;
use super::trace::TRACE_LENGTH;
use super::trace::Trace;

/// A rule and all that is known of it.
#[derive(Clone, Debug)]
pub struct RuleState {
    pub(super) rule: Rule,
    pub(super) active: ActiveAlerts,
    selectors: Vec<Vec<Matcher>>,
    matched: Vec<bool>,
    /// Series of the last successful evaluation, to be ended when they no longer come.
    series: Vec<Labels>,
    trace: VecDeque<Trace>,
    evaluations: u64,
    failures: u64,
}

/// What the engine passes to one evaluation.
pub(super) struct Input<'a> {
    pub settings: &'a Settings,
    pub source: &'a dyn Source,
    /// The group's slot.
    pub at: i64,
    pub offset: Duration,
    pub interval: Duration,
    pub limit: usize,
    pub source_since: i64,
}

/// What one evaluation brought.
#[derive(Default)]
pub(super) struct Output {
    pub outcome: Outcome,
    pub samples: Vec<VectorSample>,
    pub error: Option<RuleError>,
    /// Warnings and remarks of the query.
    pub notes: Vec<String>,
}

impl RuleState {
    pub(super) fn new(rule: Rule) -> Self {
        let selectors = query::selectors(&rule.expr);
        RuleState {
            matched: vec![false; selectors.len()],
            rule,
            active: ActiveAlerts::new(),
            selectors,
            series: Vec::new(),
            trace: VecDeque::new(),
            evaluations: 0,
            failures: 0,
        }
    }

    /// Takes over what is known of the same rule (by key) before a reload. What was learnt of an expression is of no
    /// use to another one; alerts and series stay, as in Prometheus, so that a new threshold does not move `startsAt`.
    pub(super) fn inherit(&mut self, old: RuleState) {
        if old.rule.expr_text == self.rule.expr_text {
            (self.matched, self.trace) = (old.matched, old.trace);
            (self.evaluations, self.failures) = (old.evaluations, old.failures);
        }
        (self.active, self.series) = (old.active, old.series);
    }

    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Its alerts, sorted by labels; those resolved in the last quarter of an hour are among them.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.active.values()
    }

    /// The last evaluations, oldest first.
    pub fn trace(&self) -> impl DoubleEndedIterator<Item = &Trace> + ExactSizeIterator {
        self.trace.iter()
    }

    /// The last evaluation, if there was one.
    pub fn last(&self) -> Option<&Trace> {
        self.trace.back()
    }

    /// Why the last evaluation failed, if it did.
    pub fn last_error(&self) -> Option<&RuleError> {
        match &self.last()?.seen {
            Seen::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Evaluations, and how many of them failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.evaluations, self.failures)
    }

    /// Selectors of the expression that no series has ever matched, in PromQL. Before the first evaluation: none.
    pub fn never_matched(&self) -> Vec<String> {
        let open = self.selectors.iter().zip(&self.matched).filter(|(_, matched)| !**matched && self.evaluations > 0);
        open.map(|(matchers, _)| selector_text(matchers)).collect()
    }

    /// How far before its evaluation the rule reads, the queries of its templates included.
    pub(super) fn window(&self) -> Duration {
        let templates = self.rule.alert().into_iter().flat_map(|alert| alert.labels.iter().chain(&alert.annotations));
        let asked = templates.map(|(_, template)| template.window()).max().unwrap_or_default();
        query::window(&self.rule.expr).max(asked)
    }

    /// Evaluates the rule once. `took` is set by the caller, who has the clock.
    pub(super) fn evaluate(&mut self, input: &Input<'_>) -> Output {
        let at = input.at.saturating_sub(millis(input.offset));
        let covered = at.saturating_sub(input.source_since);
        let warming_up = covered < range(&self.rule.expr);
        let mut output = Output::default();
        let result = self.attempt(input, at, warming_up, covered, &mut output);
        self.evaluations += 1;
        let seen = match result {
            Ok(0) => self.nothing(input, at),
            Ok(count) => {
                self.learn(input, at);
                Seen::Elements(count)
            }
            Err(error) => {
                self.failures += 1;
                output.error = Some(error.clone());
                Seen::Failed(error)
            }
        };
        if self.trace.len() == TRACE_LENGTH {
            self.trace.pop_front();
        }
        let count = |state: AlertState| self.active.values().filter(|alert| alert.state == state).count();
        self.trace.push_back(Trace {
            at: input.at,
            took: Duration::ZERO,
            seen,
            changes: output.outcome.transitions.len(),
            pending: count(AlertState::Pending),
            firing: count(AlertState::Firing),
            notes: std::mem::take(&mut output.notes),
            warming_up,
        });
        output
    }

    pub(super) fn set_took(&mut self, took: Duration) {
        if let Some(last) = self.trace.back_mut() {
            last.took = took;
        }
    }

    fn attempt(
        &mut self,
        input: &Input<'_>,
        at: i64,
        warming_up: bool,
        covered: i64,
        output: &mut Output,
    ) -> Result<usize, RuleError> {
        let answer = query::instant(&self.rule.expr, input.source, at, &input.settings.limits)?;
        output.notes = answer.annotations.iter().map(|note| note.render(&self.rule.expr_text)).collect();
        let elements = match answer.value {
            Value::Vector(elements) => elements,
            Value::Scalar(point) => vec![VectorSample::float(Labels::empty(), at, point.v)],
            Value::String(..) => return Err(RuleError::Type("string")),
            Value::Matrix(_) => return Err(RuleError::Type("range vector")),
        };
        let count = elements.len();
        let samples = match &self.rule.kind {
            RuleKind::Record(labels) => produce::record(&self.rule, labels, input, at, elements)?,
            RuleKind::Alert(alert) => {
                let limit = lower(input.limit, input.settings.max_alerts);
                if limit > 0 && count > limit {
                    // Before a million templates are expanded for nothing.
                    return Err(StepError::Limit { count, limit }.into());
                }
                let mut candidates: Vec<_> =
                    elements.iter().map(|element| produce::candidate(&self.rule, alert, input, at, element)).collect();
                let rule = &self.rule;
                let interval = input.interval;
                let round = Round { key: &rule.key, rule: alert, at: input.at, interval, limit, warming_up };
                // For one lookback after a start, missing series may simply not have been polled yet.
                let unsure = warming_up || covered < millis(input.settings.limits.lookback);
                let lookback = input.settings.limits.lookback;
                let no_data = no_data::decide(&input.settings.no_data, rule);
                if no_data == NoData::Alert && count == 0 && !unsure && self.is_blind(input, at) {
                    let selectors: Vec<String> = self.selectors.iter().map(|m| selector_text(m)).collect();
                    candidates.push(no_data::candidate(rule, &selectors));
                }
                let mut witness = Witness::new(&self.selectors, &rule.labels, at, lookback, input.source);
                let mut evidence = |alert: &Alert| match witness.confirms(alert) {
                    true => Evidence::Data,
                    false if unsure => Evidence::Unknown,
                    false if no_data != NoData::Resolve && !is_blindness(alert) => Evidence::Unknown,
                    false => Evidence::NoData,
                };
                output.outcome = step::step(&round, candidates, &mut self.active, &mut evidence)?;
                produce::alert_samples(&self.active, at)
            }
        };
        output.samples = self.with_ends(samples, at);
        Ok(count)
    }

    /// Adds the stale marker for every series of the last evaluation that did not come again.
    fn with_ends(&mut self, mut samples: Vec<VectorSample>, at: i64) -> Vec<VectorSample> {
        let now: Vec<Labels> = samples.iter().map(|sample| sample.labels.clone()).collect();
        let before = std::mem::replace(&mut self.series, now);
        // Mostly the same series come, in the same order.
        if before != self.series {
            let now: BTreeSet<&Labels> = self.series.iter().collect();
            let ended: BTreeSet<Labels> = before.into_iter().filter(|labels| !now.contains(labels)).collect();
            samples.extend(ended.into_iter().map(|labels| VectorSample::float(labels, at, stale_nan())));
        }
        samples
    }

    /// Ends all series: the rule is being removed.
    pub(super) fn end(&mut self, at: i64) -> Vec<VectorSample> {
        self.with_ends(Vec::new(), at)
    }

    /// Looks which selectors have series, as long as there are some that never had any.
    fn learn(&mut self, input: &Input<'_>, at: i64) {
        for (matchers, matched) in self.selectors.iter().zip(&mut self.matched).filter(|(_, matched)| !**matched) {
            *matched = !evidence::live(matchers, at, input.settings.limits.lookback, input.source).is_empty();
        }
    }

    /// Whether no selector of the expression finds any series.
    fn is_blind(&self, input: &Input<'_>, at: i64) -> bool {
        let lookback = input.settings.limits.lookback;
        let dark = |matchers: &Vec<Matcher>| evidence::live(matchers, at, lookback, input.source).is_empty();
        !self.selectors.is_empty() && self.selectors.iter().all(dark)
    }

    fn nothing(&mut self, input: &Input<'_>, at: i64) -> Seen {
        self.learn(input, at);
        self.never_matched().into_iter().next().map_or(Seen::Nothing, Seen::NeverMatched)
    }
}

/// Whether an alert says that its rule has no data; it ends when there are some.
fn is_blindness(alert: &Alert) -> bool {
    alert.value.is_nan() && alert.labels.get("reason") == Some("no_data")
}

/// The smaller of two limits of which 0 means none.
fn lower(a: usize, b: usize) -> usize {
    match (a, b) {
        (0, limit) | (limit, 0) => limit,
        (a, b) => a.min(b),
    }
}

fn selector_text(matchers: &[Matcher]) -> String {
    let (names, rest): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| m.name == METRIC_NAME);
    let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
    match (names.as_slice(), rest.is_empty()) {
        ([name], true) if name.op == crate::model::MatchOp::Equal => name.value.clone(),
        ([name], false) if name.op == crate::model::MatchOp::Equal => format!("{}{{{}}}", name.value, rest.join(",")),
        _ => format!("{{{}}}", matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
    }
}

/// How far back the expression's ranges, subqueries and offsets reach, without the lookback of plain selectors: what
/// must be covered by samples before its value means what it says. Milliseconds.
fn range(expr: &Expr) -> i64 {
    let millis = |length: &Length| length.millis(0, 0);
    let shifted = |shift: &Shift, back: i64| match shift.at {
        Some(_) => 0,
        None => back.saturating_add(shift.offset.as_ref().map_or(0, millis)),
    };
    match &expr.node {
        Node::Vector(selector) => shifted(&selector.shift, 0),
        Node::Matrix(selector, length) => shifted(&selector.shift, millis(length)),
        Node::Subquery(sub) => shifted(&sub.shift, millis(&sub.range).saturating_add(range(&sub.expr))),
        _ => expr.children().into_iter().map(range).max().unwrap_or(0),
    }
}
