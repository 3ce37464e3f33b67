//! Runs promtool's rule tests on our own engine: a list of samples, a fake clock, and the same expectations.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use davylamp::model::Alert;
use davylamp::model::AlertState;
use davylamp::model::Labels;
use davylamp::model::Matcher;
use davylamp::model::Point;
use davylamp::model::Series;
use davylamp::model::Source;
use davylamp::model::SourceError;
use davylamp::model::duration::parse_duration;
use davylamp::model::series::stale_nan;
use davylamp::query::VectorSample;
use davylamp::rules::Cycle;
use davylamp::rules::Engine;
use davylamp::rules::Evaluation;
use davylamp::rules::Settings;

/// Samples in memory.
#[derive(Clone, Default)]
pub struct Samples(BTreeMap<Labels, Vec<Point>>);

impl Samples {
    pub fn push(&mut self, labels: &Labels, t: i64, v: f64) {
        let points = self.0.entry(labels.clone()).or_default();
        let position = points.partition_point(|point| point.t < t);
        points.insert(position, Point { t, v });
    }

    pub fn extend(&mut self, samples: &[VectorSample]) {
        for sample in samples {
            self.push(&sample.labels, sample.t, sample.v);
        }
    }

    /// Adds a series in promtool's notation, one sample every `interval` milliseconds from 0.
    pub fn load(&mut self, series: &str, values: &str, interval: i64) {
        let labels = labels_of(series);
        for (index, value) in (0..).zip(expand(values)) {
            if let Some(v) = value {
                self.push(&labels, index * interval, v);
            }
        }
    }
}

impl Source for Samples {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let hits = self.0.iter().filter(|(labels, _)| matchers.iter().all(|matcher| matcher.matches(labels)));
        let cut = hits.map(|(labels, points)| {
            Series::floats(
                labels.clone(),
                points.iter().filter(|point| point.t >= start && point.t <= end).copied().collect(),
            )
        });
        Ok(cut.filter(|series| !series.points.is_empty()).collect())
    }
}

/// `up{job="a"}` as labels.
pub fn labels_of(series: &str) -> Labels {
    let expr = davylamp::query::parse(series).unwrap();
    let selectors = davylamp::query::selectors(&expr);
    Labels::new(selectors[0].iter().map(|matcher| (matcher.name.clone(), matcher.value.clone())))
}

/// `1 2x3 0+1x4 _ stale` as values.
fn expand(values: &str) -> Vec<Option<f64>> {
    let mut all = Vec::new();
    for word in values.split_whitespace() {
        match word {
            "_" => all.push(None),
            "stale" => all.push(Some(stale_nan())),
            _ => {
                let Some((pattern, times)) = word.split_once('x') else {
                    all.push(Some(word.parse().unwrap()));
                    continue;
                };
                let times: usize = times.parse().unwrap();
                if pattern == "_" {
                    all.extend(vec![None; times]);
                    continue;
                }
                let cut = pattern[1..].find(['+', '-']).map_or(pattern.len(), |at| at + 1);
                let start: f64 = pattern[..cut].parse().unwrap();
                let step: f64 = if cut < pattern.len() { pattern[cut..].parse().unwrap() } else { 0.0 };
                all.extend((0..=times).map(|n| Some(start + step * n as f64)));
            }
        }
    }
    all
}

#[derive(serde::Deserialize)]
struct TestFile {
    rule_files: Vec<PathBuf>,
    evaluation_interval: String,
    tests: Vec<Test>,
}

#[derive(serde::Deserialize)]
struct Test {
    interval: String,
    input_series: Vec<Input>,
    alert_rule_test: Vec<Expectation>,
}

#[derive(serde::Deserialize)]
struct Input {
    series: String,
    values: String,
}

#[derive(serde::Deserialize)]
struct Expectation {
    eval_time: String,
    alertname: String,
    exp_alerts: Vec<Expected>,
}

#[derive(serde::Deserialize)]
struct Expected {
    #[serde(default)]
    exp_labels: BTreeMap<String, String>,
    #[serde(default)]
    exp_annotations: BTreeMap<String, String>,
}

fn millis(text: &str) -> i64 {
    parse_duration(text).unwrap().as_millis().try_into().unwrap()
}

/// Runs one promtool test file on our engine. Gives back the number of expectations that held.
pub fn run(path: &Path) -> usize {
    let file: TestFile = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let folder = path.parent().unwrap();
    let report = davylamp::rules::check_files(file.rule_files.iter().map(|rules| folder.join(rules)));
    assert!(!report.has_errors(), "{report}");
    let mut held = 0;
    for test in &file.tests {
        let mut samples = Samples::default();
        for input in &test.input_series {
            samples.load(&input.series, &input.values, millis(&test.interval));
        }
        let settings = Settings { interval: Duration::from_secs(30), ..Settings::default() };
        let mut engine = Engine::new(report.groups.clone(), settings, 0);
        let last = test.alert_rule_test.iter().map(|expectation| millis(&expectation.eval_time)).max().unwrap_or(0);
        let step = millis(&file.evaluation_interval);
        for at in (0..=last).step_by(usize::try_from(step).unwrap()) {
            let evaluation = evaluate_all(&mut engine, &samples, at);
            assert!(evaluation.problems.is_empty(), "{}: {:?}", path.display(), evaluation.problems);
            samples.extend(&evaluation.recorded);
            for expectation in test.alert_rule_test.iter().filter(|expectation| millis(&expectation.eval_time) == at) {
                compare(path, expectation, &engine.alerts());
                held += 1;
            }
        }
    }
    held
}

pub fn evaluate_all(engine: &mut Engine, source: &Samples, at: i64) -> Evaluation {
    engine.evaluate_all(&Cycle { now: at, source_since: i64::MIN, source, clock: &|| Duration::ZERO })
}

fn compare(path: &Path, expectation: &Expectation, alerts: &[Alert]) {
    let wanted: Vec<(Labels, Labels)> = expectation
        .exp_alerts
        .iter()
        .map(|alert| {
            let labels = Labels::new(alert.exp_labels.clone()).with("alertname", expectation.alertname.as_str());
            (labels, Labels::new(alert.exp_annotations.clone()))
        })
        .collect();
    let firing = alerts.iter().filter(|alert| alert.state == AlertState::Firing);
    let named = firing.filter(|alert| alert.labels.get("alertname") == Some(&expectation.alertname));
    let mut got: Vec<(Labels, Labels)> = named.map(|alert| (alert.labels.clone(), alert.annotations.clone())).collect();
    let mut wanted = wanted;
    wanted.sort();
    got.sort();
    let place = format!("{}: {} at {}", path.display(), expectation.alertname, expectation.eval_time);
    assert_eq!(got, wanted, "{place} (left: davylamp, right: expected)");
}
