//! Runs commands of the test language over a list of series in memory.

use std::collections::BTreeMap;

use davylamp::model::{Labels, Matcher, Point, Series, Source, SourceError};
use davylamp::query::{Answer, Limits, Severity, Value, instant, parse, range};

use super::language::{Command, Expected, Item, SeriesLine, When, commands};

/// Series in memory.
#[derive(Debug, Default)]
pub struct Memory(pub BTreeMap<Labels, Vec<Point>>);

impl Source for Memory {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let hit = |labels: &&Labels| matchers.iter().all(|matcher| matcher.matches(labels));
        let series = |labels: &Labels| {
            Series::floats(
                labels.clone(),
                self.0[labels].iter().filter(|p| (start..=end).contains(&p.t)).copied().collect(),
            )
        };
        Ok(self.0.keys().filter(hit).map(series).collect())
    }
}

impl Memory {
    fn load(&mut self, step: i64, lines: Vec<SeriesLine>) {
        for line in lines {
            let points = self.0.entry(line.labels).or_default();
            for (index, item) in line.items.iter().enumerate() {
                if let Item::Float(v) = item {
                    let t = index as i64 * step;
                    points.retain(|point| point.t != t);
                    points.push(Point { t, v: *v });
                }
            }
            points.sort_by_key(|point| point.t);
        }
    }
}

/// How one evaluation went.
pub struct Outcome {
    pub line: usize,
    pub query: String,
    /// What is wrong, if anything.
    pub failure: Option<String>,
}

/// Runs a whole file.
pub fn run(text: &str) -> Vec<Outcome> {
    let mut memory = Memory::default();
    let mut outcomes = Vec::new();
    for command in commands(text) {
        match command {
            Command::Clear => memory = Memory::default(),
            Command::Load { step, series } => memory.load(step, series),
            Command::Eval { line, when, query, expected } => {
                let failure = evaluate(&memory, &query, when, &expected).err();
                outcomes.push(Outcome { line, query, failure });
            }
        }
    }
    outcomes
}

fn evaluate(memory: &Memory, query: &str, when: When, expected: &Expected) -> Result<(), String> {
    let limits = Limits::default();
    let result = parse(query).and_then(|expr| match when {
        When::Instant(at) => instant(&expr, memory, at, &limits),
        When::Range { start, end, step } => range(&expr, memory, start, end, step, &limits),
    });
    match (result, expected.fail) {
        (Err(error), true) => failed_rightly(&error.to_string(), expected),
        (Err(error), false) => Err(error.render(query)),
        (Ok(answer), true) => Err(format!("should fail, but gives {answer:?}")),
        (Ok(answer), false) => {
            compare(&answer, when, expected)?;
            annotations(&answer, query, expected)?;
            // What holds for an instant holds for a range: most queries are run twice.
            match (when, &answer.value) {
                (When::Instant(at), Value::Vector(_) | Value::Scalar(_)) if !expected.ordered => {
                    agrees_with_range(memory, query, at, &answer.value)
                }
                _ => Ok(()),
            }
        }
    }
}

fn failed_rightly(message: &str, expected: &Expected) -> Result<(), String> {
    let wrong = || format!("fails with {message:?} in place of {:?}{:?}", expected.fail_message, expected.fail_pattern);
    match (&expected.fail_message, &expected.fail_pattern) {
        (Some(wanted), _) if !message.contains(wanted.as_str()) => Err(wrong()),
        (_, Some(pattern)) if !regex::Regex::new(pattern).unwrap().is_match(message) => Err(wrong()),
        _ => Ok(()),
    }
}

fn agrees_with_range(memory: &Memory, query: &str, at: i64, value: &Value) -> Result<(), String> {
    // These see the query's own start, end and step.
    if ["start()", "end()", "step()", "range()", "STEP()", "STep()"].iter().any(|word| query.contains(word)) {
        return Ok(());
    }
    let expr = parse(query).map_err(|error| error.to_string())?;
    let answer = range(&expr, memory, at - 60_000, at + 60_000, 60_000, &Limits::default());
    let Ok(Answer { value: Value::Matrix(series), .. }) = answer else {
        // A neighbouring step may fail where this one does not.
        return Ok(());
    };
    let found: BTreeMap<Labels, f64> = series
        .into_iter()
        .filter_map(|series| Some((series.labels, series.points.iter().find(|point| point.t == at)?.v)))
        .collect();
    let wanted: BTreeMap<Labels, f64> = match value {
        Value::Vector(samples) => samples.iter().map(|sample| (sample.labels.clone(), sample.v)).collect(),
        Value::Scalar(point) => BTreeMap::from([(Labels::empty(), point.v)]),
        _ => return Ok(()),
    };
    let same = found.len() == wanted.len()
        && found.iter().all(|(labels, v)| wanted.get(labels).is_some_and(|w| almost_equal(*w, *v)));
    if same { Ok(()) } else { Err(format!("at this step of a range: {found:?}, at this instant: {wanted:?}")) }
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < 1e-6 * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < 1e-6
}

fn compare(answer: &Answer, when: When, expected: &Expected) -> Result<(), String> {
    match &answer.value {
        Value::String(text, _) if expected.string.as_deref() == Some(text) => Ok(()),
        Value::Scalar(point) if expected.scalar.is_some_and(|wanted| almost_equal(wanted, point.v)) => Ok(()),
        Value::Vector(samples) if expected.string.is_none() && expected.scalar.is_none() => {
            let got: Vec<(Labels, Vec<Option<f64>>)> =
                samples.iter().map(|sample| (sample.labels.clone(), vec![Some(sample.v)])).collect();
            let order: Vec<&Labels> = expected.series.iter().map(|line| &line.labels).collect();
            if expected.ordered && order != samples.iter().map(|sample| &sample.labels).collect::<Vec<_>>() {
                return Err(format!("not in the expected order: {samples:?}"));
            }
            same_series(got, expected)
        }
        Value::Matrix(series) => {
            let (start, end, step) = match when {
                When::Range { start, end, step } => (start, end, step),
                When::Instant(_) => expected.matrix.ok_or("a range vector was not expected")?,
            };
            let steps = ((end - start) / step + 1) as usize;
            let row = |series: &Series| {
                let at = |index| series.points.iter().find(|p| p.t == start + index as i64 * step).map(|p| p.v);
                (series.labels.clone(), (0..steps).map(at).collect())
            };
            let stray = |p: &Point| p.t < start || p.t > end || (p.t - start) % step != 0;
            if series.iter().any(|series| series.points.iter().any(stray)) {
                return Err(format!("points at unexpected times: {series:?}"));
            }
            same_series(series.iter().map(row).collect(), expected)
        }
        other => Err(format!("expected {expected:?}, got {other:?}")),
    }
}

fn same_series(got: Vec<(Labels, Vec<Option<f64>>)>, expected: &Expected) -> Result<(), String> {
    let mut got: BTreeMap<Labels, Vec<Option<f64>>> = got.into_iter().collect();
    for line in &expected.series {
        if line.items.contains(&Item::Histogram) {
            return Err("expects native histograms".to_string());
        }
        let found = got.remove(&line.labels).ok_or_else(|| format!("{} is missing among {got:?}", line.labels))?;
        let value = |item: Option<&Item>| match item {
            Some(Item::Float(v)) => Some(*v),
            _ => None,
        };
        let same = |index: usize| match (found[index], value(line.items.get(index))) {
            (Some(a), Some(b)) => almost_equal(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        if !(0..found.len()).all(same) || line.items.len() > found.len() {
            return Err(format!("{}: expected {:?}, got {found:?}", line.labels, line.items));
        }
    }
    if got.is_empty() { Ok(()) } else { Err(format!("unexpected series {got:?}")) }
}

fn annotations(answer: &Answer, query: &str, expected: &Expected) -> Result<(), String> {
    for note in &expected.notes {
        let severity = if note.warning { Severity::Warning } else { Severity::Info };
        let found: Vec<String> =
            answer.annotations.iter().filter(|a| a.severity == severity).map(|a| a.render(query)).collect();
        let fits = |text: &String| match (&note.message, &note.pattern) {
            (Some(message), _) => text == message,
            (_, Some(pattern)) => regex::Regex::new(pattern).unwrap().is_match(text),
            _ => true,
        };
        if note.wanted != found.iter().any(fits) {
            return Err(format!("expected {note:?}, got {found:?}"));
        }
    }
    Ok(())
}
