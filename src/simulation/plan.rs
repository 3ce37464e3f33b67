//! A test as it can be played: everything that is written, checked and turned into times, labels and matchers.

mod written;

use std::collections::{BTreeMap, BTreeSet};

use super::Setting;
use super::file::{Ending, ExpectEntry, Healthy, OrderEntry, Test, Trouble};
use crate::act::binding::{Binding, split_target};
use crate::act::inventory::Inventory;
use crate::model::{Labels, Matcher};
use crate::query::notation::Item;
use crate::yaml::{Document, Problem};

/// A test, ready to be played. Times are milliseconds after the start, but for `start` itself.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) line: Option<usize>,
    /// Milliseconds since the epoch.
    pub(super) start: i64,
    pub(super) interval: i64,
    pub(super) end: i64,
    pub(super) tolerance: i64,
    pub(super) inventory: Option<Inventory>,
    pub(super) alerts: Vec<AlertPlan>,
    pub(super) series: Series,
    pub(super) facts: Vec<Fact>,
    pub(super) runs: Vec<RunPlan>,
    pub(super) orders: Vec<(i64, OrderEntry)>,
    pub(super) expect: Option<Vec<Expected>>,
}

/// Series with one value per interval.
pub(super) type Series = Vec<(Labels, Vec<Item>)>;

/// What a rule says of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// There are no data.
    Silent,
    /// It is false, with data.
    Clear,
    /// It fires.
    Firing,
}

/// An alert that the test says itself.
#[derive(Clone, Debug)]
pub(super) struct AlertPlan {
    /// Key of its rule.
    pub(super) rule: String,
    pub(super) labels: Labels,
    pub(super) annotations: Labels,
    /// When it changes, in order.
    pub(super) levels: Vec<(i64, Level)>,
    pub(super) repeat: Option<i64>,
    /// Its rule reads what the target measures.
    pub(super) needs_values: bool,
    /// What bindings make of its labels: binding and target.
    pub(super) targets: Vec<(String, String)>,
}

impl AlertPlan {
    /// What the test says of it at a time.
    pub(super) fn level(&self, at: i64) -> Level {
        let passed = self.levels.partition_point(|(from, _)| *from <= at);
        passed.checked_sub(1).and_then(|last| self.levels.get(last)).map_or(Level::Clear, |(_, level)| *level)
    }

    /// Whether it is about a host.
    pub(super) fn is_of(&self, host: &str) -> bool {
        self.targets.iter().any(|(_, target)| split_target(target).0 == host)
    }
}

/// Something that is the case for a time.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) what: FactKind,
}

/// What is the case.
#[derive(Clone, Debug)]
pub(super) enum FactKind {
    Down(BTreeSet<String>),
    Silence(Vec<Matcher>),
    WarmingUp(Vec<String>),
    Healthy(Healthy),
    /// The wall clock goes wrong by so many milliseconds, from then on.
    Clock(i64),
    Trouble(Trouble),
}

/// What becomes of the runs that fit.
#[derive(Clone, Debug)]
pub(super) struct RunPlan {
    pub(super) binding: Option<String>,
    pub(super) target: Option<String>,
    pub(super) step: Option<u32>,
    pub(super) check: Option<bool>,
    pub(super) outcome: Ending,
    pub(super) takes: i64,
    pub(super) message: String,
    /// So long after its end, and for how long.
    pub(super) heals: Option<(i64, Option<i64>)>,
    pub(super) silent_after: Option<i64>,
    pub(super) series: Series,
}

/// Something that is expected.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) at: i64,
    pub(super) line: Option<usize>,
    pub(super) entry: ExpectEntry,
}

/// Collects what is wrong with a test.
struct Reader<'a> {
    document: &'a Document,
    /// `tests[0]`
    at: &'a str,
    problems: Vec<Problem>,
    setting: &'a Setting,
}

impl Reader<'_> {
    fn report(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(self.document.problem(format!("{}.{path}", self.at), message));
    }

    fn line(&self, path: &str) -> Option<usize> {
        self.document.line(&format!("{}.{path}", self.at))
    }
}

impl Plan {
    /// Checks a test that stands at a path of a document.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn new(test: &Test, at: &str, setting: &Setting, document: &Document) -> Result<Plan, Vec<Problem>> {
        let mut reader = Reader { document, at, problems: Vec::new(), setting };
        let interval = reader.interval(test);
        let alerts = reader.alerts(test, interval);
        let mut plan = Plan {
            name: test.name.clone(),
            line: document.line(at),
            start: reader.start(test),
            interval,
            end: 0,
            tolerance: millis(test.tolerance),
            inventory: reader.inventory(test, &alerts),
            alerts,
            series: reader.series("input_series", &test.input_series),
            facts: reader.facts(test),
            runs: reader.runs(test),
            orders: reader.orders(test),
            expect: reader.expect(test),
        };
        plan.end = reader.end(test, &plan);
        if reader.problems.is_empty() { Ok(plan) } else { Err(reader.problems) }
    }

    /// Whether rules are evaluated.
    pub(super) fn evaluates(&self) -> bool {
        !self.series.is_empty()
    }
}

/// What bindings make of an alert's labels.
fn targets(bindings: &[Binding], rule: &str, labels: &Labels) -> Vec<(String, String)> {
    let meant = bindings.iter().filter(|binding| binding.matches(rule, labels));
    meant.filter_map(|binding| Some((binding.name.clone(), binding.target.expand(labels)?))).collect()
}

/// Every combination of the values of `each`, beside the labels that are the same for all.
fn combinations(labels: &Labels, each: &BTreeMap<String, BTreeSet<String>>) -> Vec<Labels> {
    each.iter().fold(vec![labels.clone()], |all, (name, values)| {
        all.iter().flat_map(|labels| values.iter().map(move |value| labels.with(name, value.as_str()))).collect()
    })
}

pub(super) fn millis(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
