//! Runs tests of rules, and says what differs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde::Serialize;

use crate::model::Alert;
use crate::model::AlertState;
use crate::model::Labels;
use crate::model::duration::format_duration;
use crate::model::histogram::FloatHistogram;
use crate::model::histogram::ResetHint;
use crate::model::words;
use crate::query;
use crate::query::Limits;
use crate::query::Value;
use crate::query::VectorSample;
use crate::query::notation;
use crate::query::notation::Item;
use crate::rules::Cycle;
use crate::rules::Engine;
use crate::rules::Report;
use crate::rules::RuleGroup;
use crate::rules::Samples;
use crate::rules::Settings;
use crate::rules::check_files;
use crate::rules::step::millis;
use crate::yaml::Problem;
use crate::yaml::Severity;

use super::file::AlertCase;
use super::file::QueryCase;
use super::file::Test;
use super::file::TestFile;

/// Evaluations that one test may take: a week every second, and some more.
const MAX_EVALUATIONS: u128 = 1_000_000;

/// What came of a file of tests.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The test file, as it was named.
    pub file: String,
    /// Mistakes in the test file or in its rule files; no test was run then.
    pub errors: Vec<String>,
    /// What is odd and does not keep tests from running.
    pub warnings: Vec<String>,
    /// Tests that were run.
    pub tests: Vec<TestOutcome>,
}

/// What came of one test.
#[derive(Clone, Debug, Serialize)]
pub struct TestOutcome {
    /// Its name, or `unnamed#` and its number.
    pub name: String,
    /// Expectations that were looked at.
    pub checks: usize,
    /// What did not come as expected.
    pub failures: Vec<Failure>,
}

/// One expectation that does not hold.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// `alertname: X, time: 5m` or `expr: "up", time: 5m`.
    pub what: String,
    /// Line of the expectation in the test file.
    pub line: Option<usize>,
    /// Expected and not there.
    pub missing: Vec<String>,
    /// There and not expected.
    pub unexpected: Vec<String>,
    /// What helps to see why, or why there is no result at all.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Whether everything is as expected.
    pub fn passed(&self) -> bool {
        self.errors.is_empty() && self.tests.iter().all(|test| test.failures.is_empty())
    }
}

/// Runs the tests of a file, or those whose name `only` matches.
pub fn run(path: &Path, only: Option<&Regex>) -> Outcome {
    let mut outcome = Outcome { file: path.display().to_string(), ..Outcome::default() };
    let file = match TestFile::read(path) {
        Ok(file) => file,
        Err(problems) => {
            outcome.errors = problems.iter().map(Problem::to_string).collect();
            return outcome;
        }
    };
    outcome.warnings = file.warnings.iter().map(Problem::to_string).collect();
    let report: Report = check_files(&file.rule_files);
    let errors = report.problems().filter(|problem| problem.severity == Severity::Error);
    outcome.errors = errors.map(Problem::to_string).collect();
    if outcome.errors.is_empty() {
        // promtool matches the name as it was given: a test without one has an empty name.
        let wanted = |test: &&Test| only.is_none_or(|only| only.is_match(if test.named { &test.name } else { "" }));
        let groups = ordered(&file, report.groups);
        outcome.tests = file.tests.iter().filter(wanted).map(|test| run_test(&file, &groups, test)).collect();
    }
    outcome
}

/// The groups in the order of `group_eval_order`. A group that is not listed comes with the first, as promtool has it.
/// Every group runs at the interval of the test.
fn ordered(file: &TestFile, mut groups: Vec<RuleGroup>) -> Vec<RuleGroup> {
    let place = |group: &RuleGroup| file.group_order.iter().position(|name| *name == group.name).unwrap_or(0);
    groups.sort_by_key(place);
    for group in &mut groups {
        group.interval = Some(file.interval);
    }
    groups
}

fn run_test(file: &TestFile, groups: &[RuleGroup], test: &Test) -> TestOutcome {
    let checks = test.alerts.len() + test.queries.len();
    let mut failures = Vec::new();
    let times = test.alerts.iter().map(|case| case.at).chain(test.queries.iter().map(|case| case.at));
    let steps = times.max().unwrap_or_default().as_millis() / file.interval.as_millis().max(1);
    if steps >= MAX_EVALUATIONS {
        let what = format!("{steps} evaluations, at most {MAX_EVALUATIONS} are allowed");
        let failure = Failure { what, line: None, missing: vec![], unexpected: vec![], notes: vec![] };
        return TestOutcome { name: test.name.clone(), checks, failures: vec![failure] };
    }
    let mut stage = Stage::new(file, groups, test);
    for step in 0..=i64::try_from(steps).unwrap_or(0) {
        let since_start = step.saturating_mul(millis(file.interval));
        if let Err(failed) = stage.evaluate(since_start) {
            failures.extend(failed);
            return TestOutcome { name: test.name.clone(), checks, failures };
        }
        let due = since_start..since_start.saturating_add(millis(file.interval));
        for case in test.alerts.iter().filter(|case| due.contains(&millis(case.at))) {
            failures.extend(stage.alerts(case));
        }
    }
    failures.extend(test.queries.iter().filter_map(|case| stage.query(case)));
    TestOutcome { name: test.name.clone(), checks, failures }
}

/// A test while it runs.
struct Stage<'a> {
    file: &'a TestFile,
    test: &'a Test,
    engine: Engine,
    limits: Limits,
    samples: Samples,
    /// Values of each input series that were taken.
    taken: usize,
}

impl<'a> Stage<'a> {
    fn new(file: &'a TestFile, groups: &[RuleGroup], test: &'a Test) -> Self {
        let limits = Limits { subquery_step: file.interval, ..Limits::default() };
        let settings = Settings {
            external_labels: test.external_labels.clone(),
            external_url: test.external_url.clone(),
            interval: file.interval,
            limits,
            ..Settings::default()
        };
        let engine = Engine::new(groups.to_vec(), settings, test.start);
        Stage { file, test, engine, limits, samples: Samples::default(), taken: 0 }
    }

    /// Evaluates all groups so many milliseconds after the start.
    fn evaluate(&mut self, since_start: i64) -> Result<(), Vec<Failure>> {
        let interval = millis(self.test.interval);
        let until = usize::try_from(since_start / interval).unwrap_or(0) + 1;
        for (labels, items) in &self.test.series {
            for (index, item) in items.iter().enumerate().take(until).skip(self.taken) {
                let after = i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(interval);
                self.samples.push_item(labels, self.test.start.saturating_add(after), item);
            }
        }
        self.taken = until;
        let now = self.test.start.saturating_add(since_start);
        let clock = || Duration::ZERO;
        let cycle = Cycle { now, source_since: i64::MIN, source: &self.samples, clock: &clock };
        let evaluation = self.engine.evaluate_all(&cycle);
        self.samples.extend(&evaluation.recorded);
        if evaluation.problems.is_empty() {
            return Ok(());
        }
        let time = format_duration(Duration::from_millis(since_start.unsigned_abs()));
        let failed = |problem: &crate::rules::RuleProblem| {
            let rule = self.engine.rules().find(|state| state.rule().key == problem.rule);
            let name = rule.map_or(&*problem.rule, |state| state.rule().name.as_str());
            let what = format!("rule: {name}, time: {time}");
            Failure { what, line: None, missing: vec![], unexpected: vec![], notes: vec![problem.error.to_string()] }
        };
        Err(evaluation.problems.iter().map(failed).collect())
    }

    fn alerts(&self, case: &AlertCase) -> Option<Failure> {
        let alerts = self.engine.alerts();
        // Rules are asked by name, not alerts: a rule may set the label to something else.
        let of_name: Vec<&str> =
            self.engine.rules().filter(|s| s.rule().name == case.alertname).map(|s| &*s.rule().key).collect();
        let named: Vec<&Alert> = alerts.iter().filter(|alert| of_name.contains(&&*alert.rule)).collect();
        let firing = named.iter().filter(|alert| alert.state == AlertState::Firing);
        let got = firing.map(|alert| (alert.labels.clone(), alert.annotations.clone()));
        let (missing, unexpected) = differences(case.expected.clone(), got.collect(), |a, b| a == b);
        if missing.is_empty() && unexpected.is_empty() {
            return None;
        }
        let mut notes = Vec::new();
        if of_name.is_empty() {
            let names = self.engine.rules().filter(|state| state.rule().alert().is_some());
            let names: std::collections::BTreeSet<&str> = names.map(|state| state.rule().name.as_str()).collect();
            notes.push(format!("no rule has the name {:?}; {}", case.alertname, words::hint(&case.alertname, names)));
        }
        for alert in named.iter().filter(|alert| alert.state == AlertState::Pending) {
            let active = Duration::from_millis(alert.active_at.saturating_sub(self.test.start).unsigned_abs());
            notes.push(format!("{} is pending since {}", alert.labels, format_duration(active)));
        }
        let what = format!("alertname: {}, time: {}", case.alertname, format_duration(case.at));
        let describe = |list: Vec<(Labels, Labels)>| list.iter().map(described).collect();
        Some(Failure { what, line: case.line, missing: describe(missing), unexpected: describe(unexpected), notes })
    }

    fn query(&self, case: &QueryCase) -> Option<Failure> {
        let at = self.test.start.saturating_add(millis(case.at));
        let what = format!("expr: {:?}, time: {}", case.text, format_duration(case.at));
        let failure = Failure { what, line: case.line, missing: vec![], unexpected: vec![], notes: vec![] };
        let refused = |note: String| Some(Failure { notes: vec![note], ..failure.clone() });
        let got = match query::instant(&case.expr, &self.samples, at, &self.limits).map(|answer| answer.value) {
            Ok(Value::Vector(elements)) => elements.into_iter().map(element).collect(),
            Ok(Value::Scalar(point)) => vec![(Labels::empty(), Item::Float(point.v))],
            Ok(Value::String(..) | Value::Matrix(_)) => return refused("the value is no vector and no scalar".into()),
            Err(error) => return refused(error.render(&case.text)),
        };
        let same = |a: &Item, b: &Item| same_value(a, b, self.file.fuzzy);
        let (missing, unexpected) = differences(case.expected.clone(), got, same);
        let describe =
            |list: Vec<(Labels, Item)>| list.iter().map(|(l, item)| format!("{l} {}", shown(item))).collect();
        let (missing, unexpected): (Vec<String>, Vec<String>) = (describe(missing), describe(unexpected));
        (!missing.is_empty() || !unexpected.is_empty()).then_some(Failure { missing, unexpected, ..failure })
    }
}

/// Things with labels, in any order.
type Labelled<T> = Vec<(Labels, T)>;

/// What is only in the one list and what is only in the other; a thing that stands twice must come twice.
fn differences<T>(
    expected: Labelled<T>,
    got: Labelled<T>,
    same: impl Fn(&T, &T) -> bool,
) -> (Labelled<T>, Labelled<T>) {
    let mut unexpected: BTreeMap<Labels, Vec<T>> = BTreeMap::new();
    for (labels, value) in got {
        unexpected.entry(labels).or_default().push(value);
    }
    let mut missing = Vec::new();
    for (labels, value) in expected {
        let candidates = unexpected.entry(labels.clone()).or_default();
        match candidates.iter().position(|candidate| same(&value, candidate)) {
            Some(index) => drop(candidates.remove(index)),
            None => missing.push((labels, value)),
        }
    }
    missing.sort_by(|a, b| a.0.cmp(&b.0));
    let rest = unexpected.into_iter().flat_map(|(labels, list)| list.into_iter().map(move |v| (labels.clone(), v)));
    (missing, rest.collect())
}

/// Labels, and each annotation on a line of its own.
fn described((labels, annotations): &(Labels, Labels)) -> String {
    let lines = annotations.iter().map(|(name, value)| format!("\n  {name}: {value:?}"));
    format!("{labels}{}", lines.collect::<String>())
}

fn same_value(a: &Item, b: &Item, fuzzy: bool) -> bool {
    match (a, b) {
        (Item::Float(a), Item::Float(b)) => {
            a == b || (a.is_nan() && b.is_nan()) || (fuzzy && (a.next_up() == *b || a.next_down() == *b))
        }
        (Item::Histogram(a), Item::Histogram(b)) => {
            // Without a word about resets any will do.
            let mut b = FloatHistogram::clone(b);
            b.reset_hint = if a.reset_hint == ResetHint::Unknown { ResetHint::Unknown } else { b.reset_hint };
            notation::written(a) == notation::written(&b)
        }
        _ => false,
    }
}

fn element(element: VectorSample) -> (Labels, Item) {
    (element.labels, element.h.map_or(Item::Float(element.v), Item::Histogram))
}

fn shown(item: &Item) -> String {
    match item {
        Item::Gap => "_".to_string(),
        Item::Float(v) => query::format_value(*v),
        Item::Histogram(histogram) => notation::written(histogram),
    }
}
