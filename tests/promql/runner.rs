//! Runs commands of the test language over a list of series in memory.

use std::collections::BTreeMap;

use std::sync::Arc;

use davylamp::model::{FloatHistogram, Labels, Series};
use davylamp::query::notation::Item;
use davylamp::query::{Answer, Limits, Severity, Value, VectorSample, instant, parse, range};

use super::language::{Command, Expected, When, commands};
use super::memory::Memory;

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
            Command::Load { step, custom, series } => memory.load(step, custom, series),
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
    let found: BTreeMap<Labels, Got> =
        series.into_iter().filter_map(|series| Some((series.labels.clone(), at_time(&series, at)?))).collect();
    let wanted: BTreeMap<Labels, Got> = match value {
        Value::Vector(samples) => {
            samples.iter().map(|sample| (sample.labels.clone(), got(sample.v, sample.h.as_ref()))).collect()
        }
        Value::Scalar(point) => BTreeMap::from([(Labels::empty(), Got::Float(point.v))]),
        _ => return Ok(()),
    };
    let same = found.len() == wanted.len()
        && found.iter().all(|(labels, v)| wanted.get(labels).is_some_and(|w| w.equals(v, false)));
    if same { Ok(()) } else { Err(format!("at this step of a range: {found:?}, at this instant: {wanted:?}")) }
}

/// A sample of either sort.
#[derive(Clone, Debug)]
enum Got {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

fn got(v: f64, h: Option<&Arc<FloatHistogram>>) -> Got {
    h.map_or(Got::Float(v), |histogram| Got::Histogram(Arc::clone(histogram)))
}

fn at_time(series: &Series, at: i64) -> Option<Got> {
    let float = series.points.iter().find(|point| point.t == at).map(|point| Got::Float(point.v));
    float.or_else(|| series.histograms.iter().find(|(t, _)| *t == at).map(|(_, h)| Got::Histogram(Arc::clone(h))))
}

impl Got {
    fn equals(&self, other: &Got, hints: bool) -> bool {
        match (self, other) {
            (Got::Float(a), Got::Float(b)) => almost_equal(*a, *b),
            (Got::Histogram(a), Got::Histogram(b)) => same_histogram(a, b, hints),
            _ => false,
        }
    }
}

/// Populated buckets by index; positive and negative ones apart.
pub fn buckets(histogram: &FloatHistogram) -> BTreeMap<(bool, i32), f64> {
    let mut all = BTreeMap::new();
    for (positive, side) in [(true, &histogram.positive), (false, &histogram.negative)] {
        let (mut index, mut counts) = (0, side.counts.iter());
        for span in &side.spans {
            index += span.offset;
            for _ in 0..span.length {
                let count = *counts.next().unwrap();
                if count != 0.0 {
                    all.insert((positive, index), count);
                }
                index += 1;
            }
        }
    }
    all
}

fn same_histogram(wanted: &FloatHistogram, found: &FloatHistogram, hints: bool) -> bool {
    let (a, b) = (buckets(wanted), buckets(found));
    wanted.schema == found.schema
        && wanted.custom_values == found.custom_values
        && wanted.zero_threshold == found.zero_threshold
        && almost_equal(wanted.count, found.count)
        && almost_equal(wanted.sum, found.sum)
        && almost_equal(wanted.zero_count, found.zero_count)
        && a.len() == b.len()
        && a.iter().all(|(place, count)| b.get(place).is_some_and(|found| almost_equal(*count, *found)))
        && (!hints || wanted.reset_hint == found.reset_hint)
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
            let found = |sample: &VectorSample| (sample.labels.clone(), vec![Some(got(sample.v, sample.h.as_ref()))]);
            let got: Vec<(Labels, Vec<Option<Got>>)> = samples.iter().map(found).collect();
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
                let at = |index| at_time(series, start + index as i64 * step);
                (series.labels.clone(), (0..steps).map(at).collect())
            };
            let stray = |t: i64| t < start || t > end || (t - start) % step != 0;
            let times = |series: &Series| -> Vec<i64> {
                series.points.iter().map(|p| p.t).chain(series.histograms.iter().map(|(t, _)| *t)).collect()
            };
            if series.iter().any(|series| times(series).into_iter().any(stray)) {
                return Err(format!("points at unexpected times: {series:?}"));
            }
            same_series(series.iter().map(row).collect(), expected)
        }
        other => Err(format!("expected {expected:?}, got {other:?}")),
    }
}

fn same_series(got: Vec<(Labels, Vec<Option<Got>>)>, expected: &Expected) -> Result<(), String> {
    let mut got: BTreeMap<Labels, Vec<Option<Got>>> = got.into_iter().collect();
    for line in &expected.series {
        let found = got.remove(&line.labels).ok_or_else(|| format!("{} is missing among {got:?}", line.labels))?;
        let value = |item: Option<&Item>| match item {
            Some(Item::Float(v)) => Some(Got::Float(*v)),
            Some(Item::Histogram(histogram)) => Some(Got::Histogram(Arc::clone(histogram))),
            _ => None,
        };
        let same = |index: usize| match (&found[index], value(line.items.get(index))) {
            (Some(a), Some(b)) => b.equals(a, line.hinted),
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
