//! What is remembered of a rule between its evaluations, and one evaluation of it.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::fmt;
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
use crate::query::QueryError;
use crate::query::Value;
use crate::query::VectorSample;
use crate::query::ast::Length;
use crate::query::ast::Node;
use crate::query::ast::Shift;

use super::engine::Settings;
use super::evidence;
use super::evidence::Witness;
use super::rule::AlertRule;
use super::rule::Rule;
use super::rule::RuleKind;
use super::step;
use super::step::ActiveAlerts;
use super::step::Candidate;
use super::step::Evidence;
use super::step::Outcome;
use super::step::Round;
use super::step::StepError;
use super::step::millis;
use super::template::Lookup;
use super::template::LookupError;
use super::template::Scope;

/// Evaluations remembered per rule.
pub const TRACE_LENGTH: usize = 20;

/// Why a rule's evaluation failed. Its alerts stay as they were.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// The query failed.
    #[error("{0}")]
    Query(#[from] QueryError),
    /// The query's value is of no use to a rule.
    #[error("the expression gives a {0}; a rule needs a vector or a scalar")]
    Type(&'static str),
    /// The elements cannot become alerts.
    #[error("{0}")]
    Step(#[from] StepError),
    /// Two elements of a recording rule became one series.
    #[error("two elements have the labels {0} after the rule's labels are applied")]
    DuplicateSeries(Labels),
    /// A recording rule produced more series than allowed.
    #[error("{count} series exceed the limit of {limit}")]
    Limit {
        /// Series there would be.
        count: usize,
        /// Series allowed.
        limit: usize,
    },
}

/// What an evaluation saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// So many elements.
    Elements(usize),
    /// No element, though every selector has matched a series before: the condition is false, or series are gone.
    Nothing,
    /// No element, and this selector has never matched any series: a misspelt name, or nothing polled yet.
    NeverMatched(String),
    /// The evaluation failed.
    Failed(RuleError),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Elements(1) => f.write_str("1 element"),
            Seen::Elements(count) => write!(f, "{count} elements"),
            Seen::Nothing => f.write_str("the condition is not met"),
            Seen::NeverMatched(selector) => write!(f, "no series has ever matched {selector}"),
            Seen::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// One remembered evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// When, milliseconds since the epoch.
    pub at: i64,
    /// How long it took.
    pub took: Duration,
    /// What it saw.
    pub seen: Seen,
    /// Alerts that changed state.
    pub changes: usize,
    /// The rule's range was not covered by samples yet.
    pub warming_up: bool,
}

/// A rule and all that is known of it.
#[derive(Clone, Debug)]
pub struct RuleState {
    pub(super) rule: Rule,
    pub(super) active: ActiveAlerts,
    selectors: Vec<Vec<Matcher>>,
    matched: Vec<bool>,
    /// Series of the last successful evaluation, to be ended when they no longer come.
    series: BTreeSet<Labels>,
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
}

impl RuleState {
    pub(super) fn new(rule: Rule) -> Self {
        let selectors = query::selectors(&rule.expr);
        RuleState {
            matched: vec![false; selectors.len()],
            rule,
            active: ActiveAlerts::new(),
            selectors,
            series: BTreeSet::new(),
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
    pub fn trace(&self) -> impl ExactSizeIterator<Item = &Trace> {
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

    /// How far before its evaluation the rule reads.
    pub(super) fn window(&self) -> Duration {
        query::window(&self.rule.expr)
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
        let changes = output.outcome.transitions.len();
        self.trace.push_back(Trace { at: input.at, took: Duration::ZERO, seen, changes, warming_up });
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
        let elements = match query::instant(&self.rule.expr, input.source, at, &input.settings.limits)?.value {
            Value::Vector(elements) => elements,
            Value::Scalar(point) => vec![VectorSample { labels: Labels::empty(), t: at, v: point.v }],
            Value::String(..) => return Err(RuleError::Type("string")),
            Value::Matrix(_) => return Err(RuleError::Type("range vector")),
        };
        let count = elements.len();
        let samples = match &self.rule.kind {
            RuleKind::Record => record(&self.rule, input, at, elements)?,
            RuleKind::Alert(alert) => {
                let candidates =
                    elements.iter().map(|element| candidate(&self.rule, alert, input, at, element)).collect();
                let rule = &self.rule;
                let limit = lower(input.limit, input.settings.max_alerts);
                let interval = input.interval;
                let round = Round { key: &rule.key, rule: alert, at: input.at, interval, limit, warming_up };
                // For one lookback after a start, missing series may simply not have been polled yet.
                let unsure = warming_up || covered < millis(input.settings.limits.lookback);
                let lookback = input.settings.limits.lookback;
                let mut witness = Witness::new(&self.selectors, &rule.labels, at, lookback, input.source);
                let mut evidence = |alert: &Alert| match witness.confirms(alert) {
                    true => Evidence::Data,
                    false if unsure => Evidence::Unknown,
                    false => Evidence::NoData,
                };
                output.outcome = step::step(&round, candidates, &mut self.active, &mut evidence)?;
                alert_samples(&self.active, at)
            }
        };
        output.samples = self.with_ends(samples, at);
        Ok(count)
    }

    /// Adds the stale marker for every series of the last evaluation that did not come again.
    fn with_ends(&mut self, mut samples: Vec<VectorSample>, at: i64) -> Vec<VectorSample> {
        let now: BTreeSet<Labels> = samples.iter().map(|sample| sample.labels.clone()).collect();
        let ended = self.series.difference(&now).cloned();
        samples.extend(ended.map(|labels| VectorSample { labels, t: at, v: stale_nan() }));
        self.series = now;
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

    fn nothing(&mut self, input: &Input<'_>, at: i64) -> Seen {
        self.learn(input, at);
        self.never_matched().into_iter().next().map_or(Seen::Nothing, Seen::NeverMatched)
    }
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

/// The function `query` of templates: at the time of the evaluation, with the rule's own limits.
struct Querier<'a> {
    input: &'a Input<'a>,
    at: i64,
}

impl Lookup for Querier<'_> {
    fn query(&self, expression: &str) -> Result<Vec<(Labels, f64)>, LookupError> {
        let refused = |error: QueryError| LookupError(error.to_string());
        let expr = query::parse(expression).map_err(refused)?;
        let limits = &self.input.settings.limits;
        match query::instant(&expr, self.input.source, self.at, limits).map_err(refused)?.value {
            Value::Vector(elements) => Ok(elements.into_iter().map(|element| (element.labels, element.v)).collect()),
            Value::Scalar(point) => Ok(vec![(Labels::empty(), point.v)]),
            Value::String(..) | Value::Matrix(_) => Err(LookupError("the query gives no vector and no scalar".into())),
        }
    }
}

/// Expands one element's labels and annotations.
fn candidate(rule: &Rule, alert: &AlertRule, input: &Input<'_>, at: i64, element: &VectorSample) -> Candidate {
    let settings = input.settings;
    let scope = Scope {
        labels: &element.labels,
        value: element.v,
        external_labels: &settings.external_labels,
        external_url: &settings.external_url,
        at: input.at,
        lookup: &Querier { input, at },
    };
    let mut labels = element.labels.edit();
    labels.remove(METRIC_NAME);
    for (name, template) in &alert.labels {
        labels.set(name.clone(), template.expand_or_error(&scope));
    }
    labels.set("alertname", rule.name.as_str());
    let annotations = alert.annotations.iter().map(|(name, template)| (name.clone(), template.expand_or_error(&scope)));
    Candidate { labels: labels.build(), annotations: Labels::new(annotations), value: element.v }
}

/// The series of a recording rule.
fn record(
    rule: &Rule,
    input: &Input<'_>,
    at: i64,
    elements: Vec<VectorSample>,
) -> Result<Vec<VectorSample>, RuleError> {
    let (limit, count) = (input.limit, elements.len());
    if limit > 0 && count > limit {
        return Err(RuleError::Limit { count, limit });
    }
    let mut seen = BTreeSet::new();
    let mut samples = Vec::with_capacity(count);
    for element in elements {
        let mut labels = element.labels.edit();
        labels.set(METRIC_NAME, rule.name.as_str());
        for (name, value) in rule.labels.iter() {
            labels.set(name.to_string(), value);
        }
        let labels = labels.build();
        if !seen.insert(labels.clone()) {
            return Err(RuleError::DuplicateSeries(labels));
        }
        samples.push(VectorSample { labels, t: at, v: element.v });
    }
    Ok(samples)
}

/// `ALERTS` and `ALERTS_FOR_STATE` of the alerts that are pending or firing.
#[allow(clippy::cast_precision_loss, reason = "whole seconds since the epoch, as Prometheus writes them")]
fn alert_samples(active: &ActiveAlerts, at: i64) -> Vec<VectorSample> {
    let mut samples = Vec::new();
    for alert in active.values().filter(|alert| alert.state != AlertState::Resolved) {
        let named = |name: &'static str| alert.labels.with(METRIC_NAME, name);
        let state = named("ALERTS").with("alertstate", alert.state.as_str());
        samples.push(VectorSample { labels: state, t: at, v: 1.0 });
        let since = alert.active_at.div_euclid(1000) as f64;
        samples.push(VectorSample { labels: named("ALERTS_FOR_STATE"), t: at, v: since });
    }
    samples
}
