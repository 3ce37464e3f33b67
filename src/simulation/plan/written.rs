//! Reads the parts of a test, and says what is wrong with each.

use std::collections::{BTreeMap, BTreeSet};

use super::{AlertPlan, Expected, Fact, FactKind, Level, Plan, Reader, RunPlan, Series, combinations, millis, targets};
use crate::act::binding::{ALERTMANAGER, GRAFANA, split_target};
use crate::act::inventory::{Inventory, expand};
use crate::act::settings::AlertSource;
use crate::model::duration::parse_duration;
use crate::model::{Labels, Matcher, words};
use crate::query::notation::{self, Item};
use crate::silence::from_rfc3339;
use crate::simulation::event::time;
use crate::simulation::file::{AboutAlert, AboutRun, AlertEntry, FactEntry, OrderEntry, SeriesEntry, Test};

/// Longest test. Everything is looked at every five seconds, and somebody waits for the result.
const LONGEST: i64 = 31 * 86_400_000;
/// How long is looked on behind the last time that a test names.
const BEHIND: i64 = 1_800_000;
/// Most alerts of a test, and most values of all series together.
const MOST_ALERTS: usize = 10_000;
const MOST_VALUES: i64 = 10_000_000;

impl Reader<'_> {
    pub(super) fn start(&mut self, test: &Test) -> i64 {
        let Some(text) = &test.start_time else { return 0 };
        from_rfc3339(text).unwrap_or_else(|| {
            self.report("start_time", format!("{text:?} is no time: write 2026-01-31T12:00:00Z"));
            0
        })
    }

    pub(super) fn interval(&mut self, test: &Test) -> i64 {
        if test.interval.is_zero() {
            self.report("interval", "0s is impossible; write for example 1m");
            return 60_000;
        }
        millis(test.interval).max(1)
    }

    pub(super) fn alerts(&mut self, test: &Test, interval: i64) -> Vec<AlertPlan> {
        let mut plans = Vec::new();
        for (index, entry) in test.alerts.iter().enumerate() {
            let at = format!("alerts[{index}]");
            let Some(name) = entry.labels.get("alertname") else {
                self.report(&format!("{at}.labels"), "the label alertname is missing");
                continue;
            };
            let each = self.each(&at, entry);
            let levels = self.levels(&at, entry, interval);
            let (rule, needs_values) = self.rule(entry.source, name);
            if entry.repeat.is_some_and(|repeat| repeat.as_secs() == 0) {
                self.report(&format!("{at}.repeat"), "it must be a second at least");
            }
            let annotations = labels(&entry.annotations);
            let labels = combinations(&labels(&entry.labels), &each);
            if plans.len() + labels.len() > MOST_ALERTS {
                self.report(&at, format!("a test has at most {MOST_ALERTS} alerts"));
                continue;
            }
            plans.extend(labels.into_iter().map(|own| AlertPlan {
                targets: targets(&self.setting.bindings, &rule, &own),
                labels: own,
                rule: rule.clone(),
                annotations: annotations.clone(),
                levels: levels.clone(),
                repeat: entry.repeat.map(millis).filter(|repeat| *repeat > 0),
                needs_values,
            }));
        }
        plans
    }

    fn each(&mut self, at: &str, entry: &AlertEntry) -> BTreeMap<String, BTreeSet<String>> {
        let mut each = BTreeMap::new();
        for (name, pattern) in &entry.each {
            match expand(pattern) {
                Some(values) => drop(each.insert(name.clone(), values)),
                None => self.report(&format!("{at}.each.{name}"), not_a_range(pattern)),
            }
        }
        each
    }

    fn levels(&mut self, at: &str, entry: &AlertEntry, interval: i64) -> Vec<(i64, Level)> {
        let from = millis(entry.from);
        let Some(text) = &entry.values else {
            let over = entry.until.map(|until| (millis(until), Level::Clear));
            if entry.until.is_some_and(|until| until <= entry.from) {
                self.report(&format!("{at}.until"), "it must be after `from`");
            }
            return [Some((from, Level::Firing)), over].into_iter().flatten().collect();
        };
        if entry.until.is_some() {
            self.report(&format!("{at}.until"), "the values say when it is over; write one or the other");
        }
        let items = notation::values(text).unwrap_or_else(|error| {
            self.report(&format!("{at}.values"), error.to_string());
            Vec::new()
        });
        let level = |item: &Item| match item {
            Item::Gap => Level::Silent,
            Item::Float(value) if *value == 0.0 => Level::Clear,
            Item::Float(_) | Item::Histogram(_) => Level::Firing,
        };
        let mut levels: Vec<(i64, Level)> = Vec::new();
        for (place, level) in items.iter().map(level).chain([Level::Silent]).enumerate() {
            if levels.last().is_none_or(|(_, last)| *last != level) {
                let after = i64::try_from(place).unwrap_or(i64::MAX).saturating_mul(interval);
                levels.push((from.saturating_add(after), level));
            }
        }
        levels
    }

    /// The key of an alert's rule, and whether the rule reads what the target measures.
    fn rule(&self, source: AlertSource, name: &str) -> (String, bool) {
        match source {
            AlertSource::Alertmanager => (format!("{ALERTMANAGER}{name}"), false),
            AlertSource::Grafana => (format!("{GRAFANA}{name}"), false),
            AlertSource::Rules => {
                let rules = self.setting.groups.iter().flat_map(|group| &group.rules);
                let known = rules.filter(|rule| rule.alert().is_some()).find(|rule| rule.name == name);
                let key = known.map_or_else(|| format!("test;test;{name}"), |rule| rule.key.to_string());
                let only_up = self.setting.only_up.contains(&key);
                (key, !only_up)
            }
        }
    }

    /// The hosts that a test plays with; `None` when they are those of the configuration.
    pub(super) fn inventory(&mut self, test: &Test, alerts: &[AlertPlan]) -> Option<Inventory> {
        let mut hosts = BTreeSet::new();
        for (index, pattern) in test.hosts.iter().enumerate() {
            match expand(pattern) {
                Some(names) => hosts.extend(names),
                None => self.report(&format!("hosts[{index}]"), not_a_range(pattern)),
            }
        }
        if self.setting.any_host {
            let named = alerts.iter().flat_map(|alert| &alert.targets);
            hosts.extend(named.map(|(_, target)| split_target(target).0.to_string()));
        }
        let listed = || self.setting.inventory.clone().unwrap_or_else(|| Inventory::of_hosts(&self.setting.hosts));
        (!hosts.is_empty()).then(|| {
            let mut inventory = listed();
            inventory.hosts.extend(hosts);
            inventory
        })
    }

    pub(super) fn series(&mut self, at: &str, entries: &[SeriesEntry]) -> Series {
        let mut series = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let metric = notation::metric(&entry.series);
            let values = notation::values(&entry.values);
            for (key, error) in [("series", metric.as_ref().err()), ("values", values.as_ref().err())] {
                if let Some(error) = error {
                    self.report(&format!("{at}[{index}].{key}"), error.to_string());
                }
            }
            series.extend(metric.ok().zip(values.ok()));
        }
        series
    }

    pub(super) fn facts(&mut self, test: &Test) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (index, entry) in test.facts.iter().enumerate() {
            let at = format!("facts[{index}]");
            let mut kinds = self.fact(&at, entry);
            if kinds.len() != 1 {
                let message = "a fact is exactly one of down, silence, warming_up, healthy, clock and trouble";
                self.report(&at, message);
                continue;
            }
            if entry.until.is_some_and(|until| until <= entry.from) {
                self.report(&format!("{at}.until"), "it must be after `from`");
            }
            let (from, until) = (millis(entry.from), entry.until.map_or(i64::MAX, millis));
            facts.extend(kinds.pop().flatten().map(|what| Fact { from, until, what }));
        }
        facts
    }

    /// Everything that a fact says; `None` for what it says wrongly.
    fn fact(&mut self, at: &str, entry: &FactEntry) -> Vec<Option<FactKind>> {
        let mut kinds = Vec::new();
        if let Some(patterns) = &entry.down {
            let mut hosts = BTreeSet::new();
            for (index, pattern) in patterns.iter().enumerate() {
                match expand(pattern) {
                    Some(names) => hosts.extend(names),
                    None => self.report(&format!("{at}.down[{index}]"), not_a_range(pattern)),
                }
            }
            kinds.push(Some(FactKind::Down(hosts)));
        }
        if let Some(texts) = &entry.silence {
            let mut matchers = Vec::new();
            for (index, text) in texts.iter().enumerate() {
                match Matcher::parse(text) {
                    Ok(matcher) => matchers.push(matcher),
                    Err(error) => self.report(&format!("{at}.silence[{index}]"), error.to_string()),
                }
            }
            kinds.push(Some(FactKind::Silence(matchers)));
        }
        kinds.extend(entry.warming_up.clone().map(|names| Some(FactKind::WarmingUp(names))));
        kinds.extend(entry.healthy.map(|healthy| Some(FactKind::Healthy(healthy))));
        if let Some(text) = &entry.clock {
            let parse = |sign: i64, rest: &str| Some(sign * millis(parse_duration(rest).ok()?));
            let by = text.strip_prefix('+').and_then(|rest| parse(1, rest));
            let by = by.or_else(|| text.strip_prefix('-').and_then(|rest| parse(-1, rest)));
            if by.is_none() {
                self.report(&format!("{at}.clock"), format!("{text:?} sets no clock: write +1h, or -10m"));
            }
            kinds.push(by.map(FactKind::Clock));
        }
        kinds.extend(entry.trouble.map(|trouble| Some(FactKind::Trouble(trouble))));
        kinds
    }

    pub(super) fn runs(&mut self, test: &Test) -> Vec<RunPlan> {
        let mut runs = Vec::new();
        for (index, entry) in test.runs.iter().enumerate() {
            let at = format!("runs[{index}]");
            self.binding(&at, entry.binding.as_deref());
            if entry.heals_for.is_some() && entry.heals_after.is_none() {
                self.report(&format!("{at}.heals_for"), "it needs heals_after beside it");
            }
            runs.push(RunPlan {
                binding: entry.binding.clone(),
                target: entry.target.clone(),
                step: entry.step,
                check: entry.check,
                outcome: entry.outcome,
                takes: millis(entry.takes),
                message: entry.message.clone(),
                heals: entry.heals_after.map(|after| (millis(after), entry.heals_for.map(millis))),
                silent_after: entry.silent_after.map(millis),
                series: self.series(&format!("{at}.input_series"), &entry.input_series),
            });
        }
        runs
    }

    fn binding(&mut self, at: &str, name: Option<&str>) {
        let names: Vec<&str> = self.setting.bindings.iter().map(|binding| binding.name.as_str()).collect();
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            let message = format!("there is no remediation {name:?}; {}", words::hint(name, &names));
            self.report(&format!("{at}.binding"), message);
        }
    }

    pub(super) fn orders(&mut self, test: &Test) -> Vec<(i64, OrderEntry)> {
        let mut orders = Vec::new();
        for (index, entry) in test.orders.iter().enumerate() {
            let at = format!("orders[{index}]");
            self.binding(&at, entry.binding.as_deref());
            let verbs = [&entry.approve, &entry.reject, &entry.cancel, &entry.retry, &entry.close];
            if verbs.into_iter().flatten().count() != 1 {
                self.report(&at, "an order is exactly one of approve, reject, cancel, retry and close");
            }
            orders.push((millis(entry.at), entry.clone()));
        }
        orders.sort_by_key(|(at, _)| *at);
        orders
    }

    pub(super) fn expect(&mut self, test: &Test) -> Option<Vec<Expected>> {
        let mut expected = Vec::new();
        for (index, entry) in test.expect.as_ref()?.iter().enumerate() {
            let at = format!("expect[{index}]");
            let runs = [&entry.run, &entry.check, &entry.waits, &entry.ended];
            let alert = entry.suppressed.as_ref();
            let sorts = runs.into_iter().flatten().count()
                + usize::from(alert.is_some())
                + [&entry.told, &entry.refused].into_iter().flatten().count();
            if sorts != 1 {
                let message = "an expectation is exactly one of run, check, waits, ended, suppressed, told and refused";
                self.report(&at, message);
            }
            let names = ["run", "check", "waits", "ended"];
            for (name, about) in names.iter().zip(runs).filter_map(|(name, about)| Some((name, about.as_ref()?))) {
                let AboutRun { binding, state, .. } = about;
                self.binding(&format!("{at}.{name}"), binding.as_deref());
                if state.is_some_and(|state| *name != "ended" || !state.is_final()) {
                    self.report(&format!("{at}.{name}.state"), "only the end of a run has a state, and a final one");
                }
            }
            if let Some(AboutAlert { binding, .. }) = alert {
                self.binding(&format!("{at}.suppressed"), binding.as_deref());
            }
            if entry.count == 0 {
                self.report(&format!("{at}.count"), "what is expected 0 times need not be said");
            }
            expected.push(Expected { at: millis(entry.at), line: self.line(&at), entry: entry.clone() });
        }
        Some(expected)
    }

    /// When the test ends: as it says, or some time after the last thing that it says.
    pub(super) fn end(&mut self, test: &Test, plan: &Plan) -> i64 {
        let alerts = plan.alerts.iter().flat_map(|alert| alert.levels.iter().map(|(at, _)| *at));
        let facts = plan.facts.iter().flat_map(|fact| [fact.from, fact.until]).filter(|at| *at < i64::MAX);
        let orders = plan.orders.iter().map(|(at, _)| *at);
        let expected = plan.expect.iter().flatten().map(|expected| expected.at);
        let longest = plan.series.iter().map(|(_, items)| items.len()).max().unwrap_or_default();
        let series = i64::try_from(longest).unwrap_or(i64::MAX).saturating_mul(plan.interval);
        let last = alerts.chain(facts).chain(orders).chain(expected).chain([series]).max().unwrap_or_default();
        let end = test.until.map_or_else(|| last.saturating_add(BEHIND), millis);
        if end > LONGEST {
            let message = format!("the test takes {}; at most {} are played", time(end), time(LONGEST));
            self.report("until", message);
        }
        let tracks = i64::try_from(plan.series.len() + self.setting.about.len()).unwrap_or(i64::MAX);
        if (end / plan.interval).saturating_mul(tracks) > MOST_VALUES {
            self.report("interval", format!("that makes more than {MOST_VALUES} values; write a longer interval"));
        }
        for expected in plan.expect.iter().flatten().filter(|expected| expected.at > end) {
            let problem = format!("the test ends before, at {}; give it a longer `until`", time(end));
            self.problems.push(crate::yaml::Problem {
                line: expected.line,
                path: format!("{}.expect", self.at),
                ..crate::yaml::Problem::of_file(&self.document.file, problem)
            });
        }
        end
    }
}

fn not_a_range(pattern: &str) -> String {
    format!("{pattern:?} is no name and no range of names: write garage-1, m[1:20] or rack-[a:d]")
}

fn labels(pairs: &BTreeMap<String, String>) -> Labels {
    Labels::new(pairs.iter().map(|(name, value)| (name.clone(), value.as_str())))
}
