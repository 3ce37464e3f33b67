//! A daemon with samples, rules and targets that are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::prometheus::{Alerting, Facts, Group, Metadata, Prometheus, Rule, Target};
use crate::model::{Alert, AlertState, Labels, Matcher, MetricType, Point, Series, Source, SourceError};
use crate::query::Limits;

/// A quarter past midnight: far enough from zero, and round in minutes.
pub const NOW: i64 = 1_700_000_100_000;

pub struct World {
    pub samples: Arc<dyn Source>,
}

pub struct List(pub Vec<Series>);

impl Source for List {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let found = self.0.iter().filter(|series| matchers.iter().all(|matcher| matcher.matches(&series.labels)));
        let cut = found.map(|series| {
            let points = series.points.iter().filter(|point| (start..=end).contains(&point.t));
            Series::floats(series.labels.clone(), points.copied().collect())
        });
        Ok(cut.filter(|series| !series.points.is_empty()).collect())
    }
}

/// Never answers, until nobody waits any more.
pub struct Slow(pub Arc<std::sync::atomic::AtomicUsize>);

impl Source for Slow {
    fn select(&self, _: &[Matcher], _: i64, _: i64) -> Result<Vec<Series>, SourceError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let points = (0..50_000).map(|n| Point { t: NOW - 50_000 + n, v: n as f64 }).collect();
        Ok(vec![Series::floats(Labels::new([("__name__", "slow")]), points)])
    }
}

pub fn samples() -> Vec<Series> {
    let series = |labels: &[(&str, &str)], value: f64| {
        let points = (0..=20).map(|n| Point { t: NOW - (20 - n) * 15_000, v: value + n as f64 });
        Series::floats(Labels::new(labels.iter().copied()), points.collect())
    };
    vec![
        series(&[("__name__", "miner_hashrate"), ("miner", "a<b"), ("site", "home")], 100.0),
        series(&[("__name__", "miner_hashrate"), ("miner", "b"), ("site", "away")], 200.0),
        series(&[("__name__", "up"), ("target", "b")], 0.5),
    ]
}

impl Prometheus for World {
    fn now(&self) -> i64 {
        NOW
    }
    fn source(&self) -> Arc<dyn Source> {
        self.samples.clone()
    }
    fn limits(&self) -> Limits {
        Limits::default()
    }
    fn metadata(&self) -> Vec<Metadata> {
        let entry = |miner: &str, family: &str, kind, help: &str| Metadata {
            target: Labels::new([("miner", miner)]),
            family: family.into(),
            kind,
            help: help.into(),
            unit: if family == "up" { "bool" } else { "" }.into(),
        };
        vec![
            entry("a", "miner_hashrate", MetricType::Gauge, "Hashes"),
            entry("b", "miner_hashrate", MetricType::Gauge, "Hashes"),
            entry("b", "up", MetricType::Unknown, ""),
        ]
    }
    fn groups(&self) -> Arc<Vec<Group>> {
        let rule = |name: &str, alerting| Rule {
            name: name.into(),
            query: "miner_hashrate < 1".into(),
            labels: Labels::new([("severity", "page")]),
            error: String::new(),
            took: 0.25,
            evaluated: Some(NOW - 1500),
            alerting,
        };
        let alert = Alert {
            rule: "k".into(),
            labels: Labels::new([("alertname", "Low"), ("miner", "b")]),
            annotations: Labels::new([("summary", "b is slow")]),
            state: AlertState::Firing,
            value: 0.5,
            active_at: NOW - 60_000,
            fired_at: Some(NOW),
            resolved_at: None,
            keep_firing_since: None,
            resolved_with_data: false,
            last_seen_at: NOW,
        };
        let alerting =
            Alerting { hold: 300.0, keep_firing_for: 0.0, annotations: BTreeMap::new(), alerts: vec![alert] };
        let group = |file: &str, name: &str, rules| Group {
            name: name.into(),
            file: file.into(),
            interval: 15.0,
            limit: 0,
            took: 0.5,
            evaluated: None,
            rules,
        };
        let failing = Rule { error: "it fails".into(), ..rule("job:sum", None) };
        Arc::new(vec![
            group("b.yml", "second", vec![failing]),
            group("a.yml", "first", vec![rule("Low", Some(alerting)), rule("job:rate", None)]),
        ])
    }
    fn targets(&self) -> Vec<Target> {
        let target = Target {
            pool: "axeos".into(),
            address: "10.0.0.7".into(),
            labels: Labels::new([("miner", "a")]),
            up: None,
            error: String::new(),
            polled: None,
            took: 0.0,
            interval: "15s".into(),
            timeout: "5s".into(),
        };
        let down = Target { up: Some(false), error: "no answer".into(), polled: Some(NOW), ..target.clone() };
        vec![target, Target { pool: "docker".into(), ..down }]
    }
    fn alertmanagers(&self) -> Vec<String> {
        vec!["http://am:9093/api/v2/alerts".into()]
    }
    fn facts(&self) -> Facts {
        Facts { started: NOW, config: "targets: []\n".into(), oldest: NOW - 600_000, ..Facts::default() }
    }
}
