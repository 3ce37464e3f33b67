//! The functions of PromQL: one table, one row each. To add one, add a row (and a `.test` file in `tests/promql/`).

use chrono::{DateTime, Datelike, NaiveDate, Utc};

use crate::model::words;
use crate::model::{FloatHistogram, Labels};

use super::annotation::Remarks;
use super::ast::{AggregateOp, Edge, Expr, Node, ValueType};
use super::error::QueryError;
use super::eval::{Datum, Eval, Evaluator, Sample};
use super::load::{Clock, Track, key, weight};
use super::window::{Window, inside};

mod histogram;
pub(super) mod info;
mod labels;
mod over;
mod table;

pub use table::TABLE;

/// One function.
pub struct Function {
    /// As it is written.
    pub name: &'static str,
    /// The types of the arguments; the last one repeats where [`Function::variadic`].
    pub args: &'static [ValueType],
    /// How many arguments must be there.
    pub required: usize,
    /// Whether the last argument may be repeated.
    pub variadic: bool,
    /// The type of the value.
    pub returns: ValueType,
    run: Run,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    /// The most arguments, or `None` without a limit.
    pub fn most_args(&self) -> Option<usize> {
        (!self.variadic).then_some(self.args.len())
    }

    /// The type of the argument at `index`.
    pub fn arg(&self, index: usize) -> ValueType {
        self.args.get(index).or(self.args.last()).copied().unwrap_or(ValueType::Vector)
    }
}

/// A function of a window that may hold numbers and histograms.
type Mixed = fn(&Window, &mut Remarks) -> Option<Datum>;

type Whole = fn(&mut Evaluator, &Call, i64) -> Result<Eval, QueryError>;

/// How a function is computed.
enum Run {
    /// A number that depends on nothing but the time (second argument) and the query's clock.
    Clock(fn(&Clock, i64) -> f64),
    /// A number from numbers.
    Numbers(fn(&[f64]) -> f64),
    /// Each sample's value by itself, with the scalar arguments; `None` drops the sample.
    Each(fn(f64, &[f64]) -> Option<f64>),
    /// A part of each sample's value as a date in UTC; without an argument, of the evaluation time.
    Date(fn(&DateTime<Utc>) -> f64),
    /// A number from each native histogram; numbers are dropped.
    Histogram(fn(&FloatHistogram) -> f64),
    /// The numbers of each series' window by themselves; histograms among them are ignored, with a remark.
    Window(fn(&Window) -> Option<f64>),
    /// Each series' window by itself, numbers and histograms.
    Mixed(Mixed),
    /// As `Mixed`, of a counter: a name that does not look like one's is remarked upon.
    Counter(Mixed),
    /// As `Mixed`, but the value is one of the series' own, so the name stays.
    Pick(Mixed),
    /// Everything else.
    Whole(Whole),
}

/// A call: its node and its arguments.
struct Call<'a> {
    expr: &'a Expr,
    args: &'a [Expr],
}

impl Call<'_> {
    /// An argument that the check before the evaluation has found there.
    fn arg(&self, index: usize) -> Result<&Expr, QueryError> {
        self.args
            .get(index)
            .ok_or_else(|| QueryError::typed(format!("argument {} is missing", index + 1), self.expr.span))
    }
}

/// Finds a function by its name; upper and lower case are different, as in Prometheus.
pub fn find(name: &str) -> Option<&'static Function> {
    TABLE.iter().find(|function| function.name == name)
}

/// The known function or aggregation that looks most like `word`, if any does.
pub(super) fn nearest(word: &str) -> Option<&'static str> {
    let names = TABLE.iter().map(|function| function.name);
    words::nearest(word, names.chain(AggregateOp::ALL.iter().map(|(name, _)| *name)))
}

/// Evaluates a call at one time.
pub(super) fn call(
    evaluator: &mut Evaluator,
    expr: &Expr,
    function: &'static Function,
    args: &[Expr],
    at: i64,
) -> Result<Eval, QueryError> {
    let call = Call { expr, args };
    match function.run {
        Run::Clock(run) => Ok(Eval::Scalar(run(&evaluator.clock, at))),
        Run::Numbers(run) => Ok(Eval::Scalar(run(&scalars(evaluator, args, at)?))),
        Run::Each(run) => {
            let numbers = scalars(evaluator, args, at)?;
            let samples = evaluator.vector(call.arg(0)?, at)?;
            Ok(Eval::Vector(mapped(samples, |v| run(v, &numbers))))
        }
        Run::Histogram(run) => {
            let samples = evaluator.vector(call.arg(0)?, at)?;
            let one = |sample: Sample| Some(Sample::float(sample.labels, run(sample.h.as_deref()?), true));
            Ok(Eval::Vector(samples.into_iter().filter_map(one).collect()))
        }
        Run::Date(run) => {
            let samples = match args.first() {
                Some(arg) => evaluator.vector(arg, at)?,
                None => vec![Sample::float(Labels::empty(), at as f64 / 1000.0, false)],
            };
            let part = |v: f64| {
                let date = if v.is_finite() { DateTime::from_timestamp(v.trunc() as i64, 0) } else { None };
                Some(date.map_or(f64::NAN, |date| run(&date)))
            };
            Ok(Eval::Vector(mapped(samples, part)))
        }
        Run::Window(run) => floats(evaluator, &call, at, run),
        Run::Mixed(run) => windows(evaluator, &call, at, true, run),
        Run::Pick(run) => windows(evaluator, &call, at, false, run),
        Run::Counter(run) => {
            remark_on_gauges(evaluator, &call, at)?;
            windows(evaluator, &call, at, true, run)
        }
        Run::Whole(run) => run(evaluator, &call, at),
    }
}

/// The scalar arguments, in their order.
fn scalars(evaluator: &mut Evaluator, args: &[Expr], at: i64) -> Result<Vec<f64>, QueryError> {
    let is_scalar = |arg: &&Expr| arg.value_type() == ValueType::Scalar;
    args.iter().filter(is_scalar).map(|arg| evaluator.scalar(arg, at)).collect()
}

/// Maps numbers; histograms are dropped.
fn mapped(samples: Vec<Sample>, map: impl Fn(f64) -> Option<f64>) -> Vec<Sample> {
    let one = |sample: Sample| Some(Sample::float(sample.labels, map(sample.v)?, true));
    samples.into_iter().filter(|sample| sample.h.is_none()).filter_map(one).collect()
}

/// Runs a function over the numbers in the window of every series that has some.
fn floats(
    evaluator: &mut Evaluator,
    call: &Call,
    at: i64,
    run: fn(&Window) -> Option<f64>,
) -> Result<Eval, QueryError> {
    windows(evaluator, call, at, true, |window, remarks| {
        if window.points.is_empty() {
            return None;
        }
        if !window.histograms.is_empty() {
            remarks.ignored(window.name);
        }
        run(window).map(Datum::Float)
    })
}

/// Runs a function over the window of every series that has samples in it.
fn windows(
    evaluator: &mut Evaluator,
    call: &Call,
    at: i64,
    drop_name: bool,
    run: impl Fn(&Window, &mut Remarks) -> Option<Datum>,
) -> Result<Eval, QueryError> {
    let args = scalars(evaluator, call.args, at)?;
    let range = call.args.iter().find(|arg| arg.value_type() == ValueType::Matrix);
    let Some(range) = range else {
        return Err(QueryError::typed("a range vector is missing", call.expr.span));
    };
    let ranges = evaluator.ranges(range, at)?;
    let lookback = evaluator.clock.lookback;
    let (low, high) = match ranges.edge {
        Edge::Plain => (ranges.start, ranges.end),
        Edge::Anchored => (ranges.start.saturating_sub(lookback), ranges.end),
        Edge::Smoothed => (ranges.start.saturating_sub(lookback), ranges.end.saturating_add(lookback)),
    };
    let mut visited = 0;
    let mut remarks = Remarks::default();
    let sample = |track: &Track| {
        let (points, histograms) = (inside(&track.points, low, high), inside(&track.histograms, low, high));
        if points.is_empty() && histograms.is_empty() {
            return None;
        }
        visited += points.len() + histograms.iter().map(|(_, histogram)| weight(histogram)).sum::<usize>();
        let window = Window {
            points,
            histograms,
            starts: &track.starts,
            name: track.labels.name().unwrap_or_default(),
            start: ranges.start,
            end: ranges.end,
            at,
            edge: ranges.edge,
            args: &args,
        };
        let datum = run(&window, &mut remarks)?;
        Some(Sample::new(track.labels.clone(), datum, drop_name || track.drop_name))
    };
    let samples = ranges.tracks.iter().filter_map(sample).collect();
    evaluator.notes.take(remarks, range.span);
    evaluator.visit(visited).map_err(|error| error.at(call.expr.span))?;
    Ok(Eval::Vector(samples))
}

/// The endings that a counter's name should have.
const COUNTER_ENDINGS: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

fn remark_on_gauges(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<(), QueryError> {
    let range = call.arg(0)?;
    let ranges = evaluator.ranges(range, at)?;
    for track in ranges.tracks.iter() {
        let Some(name) = track.labels.name().filter(|_| !track.drop_name) else { continue };
        let message = match track.labels.get("__type__") {
            Some("counter" | "histogram") => continue,
            Some(other) if other != "unknown" => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", \
                 got {other:?}: {name:?}"
            ),
            _ if COUNTER_ENDINGS.iter().any(|ending| name.ends_with(ending)) => continue,
            _ => format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"),
        };
        let histograms = inside(&track.histograms, ranges.start, ranges.end);
        if inside(&track.points, ranges.start, ranges.end).len() < 2 || !histograms.is_empty() {
            continue;
        }
        evaluator.notes.info(message, range.span);
    }
    Ok(())
}

/// `timestamp(selector)` gives each sample's own time; of anything else, the evaluation time.
fn timestamp(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let arg = call.arg(0)?.bare();
    let samples = match &arg.node {
        Node::Vector(_) => {
            let sample = |(t, sample): (i64, Sample)| Sample::float(sample.labels, t as f64 / 1000.0, true);
            evaluator.select(arg, at).into_iter().map(sample).collect()
        }
        _ => {
            let sample = |sample: Sample| Sample::float(sample.labels, at as f64 / 1000.0, true);
            evaluator.vector(arg, at)?.into_iter().map(sample).collect()
        }
    };
    Ok(Eval::Vector(samples))
}

/// `start_timestamp(selector)` gives the time since which each sample counts, 0 where that is not known; of anything
/// else, nothing.
fn start_timestamp(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let arg = call.arg(0)?.bare();
    let Node::Vector(selector) = &arg.node else {
        evaluator.vector(arg, at)?;
        return Ok(Eval::Vector(Vec::new()));
    };
    let (time, lookback) = (evaluator.clock.shift(&selector.shift, at), evaluator.clock.lookback);
    let sample = |track: &Track| {
        let (t, _) = track.newest(time, lookback)?;
        Some(Sample::float(track.labels.clone(), track.starts.at(t) as f64 / 1000.0, true))
    };
    Ok(Eval::Vector(evaluator.loaded(key(arg)).iter().filter_map(sample).collect()))
}

/// `scalar`: the one number's value; NaN where there is none or several.
fn scalar(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let mut samples = evaluator.vector(call.arg(0)?, at)?;
    samples.retain(|sample| sample.h.is_none());
    Ok(Eval::Scalar(if let [sample] = samples.as_slice() { sample.v } else { f64::NAN }))
}

fn vector(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let v = evaluator.scalar(call.arg(0)?, at)?;
    Ok(Eval::Vector(vec![Sample::float(Labels::empty(), v, false)]))
}

/// `quantile_over_time`, with a warning for a quantile that cannot be.
fn quantile_over_time(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let q = evaluator.scalar(call.arg(0)?, at)?;
    let value = floats(evaluator, call, at, |w| Some(super::quantile::quantile(w.arg(0), w.values().collect())))?;
    if matches!(&value, Eval::Vector(samples) if !samples.is_empty()) {
        histogram::remark_on_quantile(evaluator, q, call.arg(0)?);
    }
    Ok(value)
}

/// Both factors of `double_exponential_smoothing` must lie between 0 and 1.
fn smoothing(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    for (index, name) in [(1, "smoothing factor"), (2, "trend factor")] {
        let factor = evaluator.scalar(call.arg(index)?, at)?;
        if !(factor > 0.0 && factor < 1.0) {
            let message = format!("invalid {name}. Expected: 0 < factor < 1, got: {factor}");
            return Err(QueryError::evaluation(message, call.arg(index)?.span));
        }
    }
    floats(evaluator, call, at, super::window::smoothed)
}

fn days_in_month(date: &DateTime<Utc>) -> f64 {
    let (year, month) = if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
    NaiveDate::from_ymd_opt(year, month, 1)
        .and_then(|next| next.pred_opt())
        .map_or(f64::NAN, |last| f64::from(last.day()))
}
