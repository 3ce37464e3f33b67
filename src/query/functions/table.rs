//! The table of functions.

use chrono::{DateTime, Datelike, Timelike, Utc};

use crate::model::{FloatHistogram, Point};

use super::super::ast::ValueType::{self, Matrix, Scalar, String, Vector};
use super::super::eval::Datum;
use super::super::native;
use super::super::rate::{self, RateKind};
use super::super::window::{self, Window};
use super::{Function, Mixed, Run, Whole, histogram, info, labels, over};

const NONE: &[ValueType] = &[];
const ONE_VECTOR: &[ValueType] = &[Vector];
const ONE_MATRIX: &[ValueType] = &[Matrix];

const fn row(name: &'static str, args: &'static [ValueType], returns: ValueType, run: Run) -> Function {
    Function { name, args, required: args.len(), variadic: false, returns, run }
}

/// The last argument may be left out.
const fn optional(mut function: Function) -> Function {
    function.required -= 1;
    function
}

/// The last argument may be repeated, or left out.
const fn variadic(mut function: Function) -> Function {
    function.required -= 1;
    function.variadic = true;
    function
}

const fn each(name: &'static str, run: fn(f64, &[f64]) -> Option<f64>) -> Function {
    row(name, ONE_VECTOR, Vector, Run::Each(run))
}

const fn date(name: &'static str, run: fn(&DateTime<Utc>) -> f64) -> Function {
    optional(row(name, ONE_VECTOR, Vector, Run::Date(run)))
}

const fn floats(name: &'static str, run: fn(&Window) -> Option<f64>) -> Function {
    row(name, ONE_MATRIX, Vector, Run::Window(run))
}

const fn mixed(name: &'static str, run: Mixed) -> Function {
    row(name, ONE_MATRIX, Vector, Run::Mixed(run))
}

const fn counter(name: &'static str, run: Mixed) -> Function {
    row(name, ONE_MATRIX, Vector, Run::Counter(run))
}

const fn pick(name: &'static str, run: Mixed) -> Function {
    row(name, ONE_MATRIX, Vector, Run::Pick(run))
}

const fn of_histogram(name: &'static str, run: fn(&FloatHistogram) -> f64) -> Function {
    row(name, ONE_VECTOR, Vector, Run::Histogram(run))
}

const fn whole(name: &'static str, args: &'static [ValueType], run: Whole) -> Function {
    row(name, args, Vector, Run::Whole(run))
}

/// A scalar argument.
fn arg(args: &[f64], index: usize) -> f64 {
    args.get(index).copied().unwrap_or(f64::NAN)
}

/// Smaller or larger of two, NaN if either is (unlike `f64::min`).
fn either(a: f64, b: f64, pick: fn(f64, f64) -> f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) }
}

fn two(values: &[f64], pick: fn(f64, f64) -> f64) -> f64 {
    either(arg(values, 0), arg(values, 1), pick)
}

fn round(value: f64, to: f64) -> f64 {
    // The inverse is exact for steps such as 0.1, where the step itself is not.
    let inverse = 1.0 / to;
    (value * inverse + 0.5).floor() / inverse
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// The point that beats all others; the later of equals where `beats` says so.
fn best(window: &Window, beats: fn(f64, f64) -> bool) -> Option<Point> {
    let better = |best: Point, point: &Point| {
        if beats(point.v, best.v) || best.v.is_nan() { *point } else { best }
    };
    let first = *window.points.first()?;
    Some(window.points.iter().skip(1).fold(first, better))
}

fn mad(window: &Window) -> f64 {
    if window.values().any(f64::is_nan) {
        return f64::NAN;
    }
    let median = |values: Vec<f64>| super::super::quantile::quantile(0.5, values);
    let middle = median(window.values().collect());
    median(window.values().map(|value| (value - middle).abs()).collect())
}

fn seconds(point: Point) -> f64 {
    point.t as f64 / 1000.0
}

const RATE: RateKind = RateKind { counter: true, per_second: true };
const INCREASE: RateKind = RateKind { counter: true, per_second: false };
const DELTA: RateKind = RateKind { counter: false, per_second: false };

/// Every function, by name.
pub static TABLE: &[Function] = &[
    each("abs", |v, _| Some(v.abs())),
    whole("absent", ONE_VECTOR, labels::absent),
    whole("absent_over_time", ONE_MATRIX, labels::absent_over_time),
    each("acos", |v, _| Some(v.acos())),
    each("acosh", |v, _| Some(v.acosh())),
    each("asin", |v, _| Some(v.asin())),
    each("asinh", |v, _| Some(v.asinh())),
    each("atan", |v, _| Some(v.atan())),
    each("atanh", |v, _| Some(v.atanh())),
    mixed("avg_over_time", over::avg),
    each("ceil", |v, _| Some(v.ceil())),
    mixed("changes", over::changes),
    row(
        "clamp",
        &[Vector, Scalar, Scalar],
        Vector,
        Run::Each(|v, args| {
            let (low, high) = (arg(args, 0), arg(args, 1));
            (low <= high || low.is_nan() || high.is_nan()).then(|| either(low, either(v, high, f64::min), f64::max))
        }),
    ),
    row("clamp_max", &[Vector, Scalar], Vector, Run::Each(|v, args| Some(either(v, arg(args, 0), f64::min)))),
    row("clamp_min", &[Vector, Scalar], Vector, Run::Each(|v, args| Some(either(v, arg(args, 0), f64::max)))),
    each("cos", |v, _| Some(v.cos())),
    each("cosh", |v, _| Some(v.cosh())),
    mixed("count_over_time", over::count),
    date("day_of_month", |date| f64::from(date.day())),
    date("day_of_week", |date| f64::from(date.weekday().num_days_from_sunday())),
    date("day_of_year", |date| f64::from(date.ordinal())),
    date("days_in_month", super::days_in_month),
    each("deg", |v, _| Some(v.to_degrees())),
    mixed("delta", |w, remarks| rate::rate(w, DELTA, remarks)),
    floats("deriv", |w| Some(window::regression(w.points, w.points.first()?.t)?.0)),
    row("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector, Run::Whole(super::smoothing)),
    row("end", NONE, Scalar, Run::Clock(|clock, _| clock.end as f64 / 1000.0)),
    each("exp", |v, _| Some(v.exp())),
    pick("first_over_time", over::first),
    each("floor", |v, _| Some(v.floor())),
    of_histogram("histogram_avg", |h| h.sum / h.count),
    of_histogram("histogram_count", |h| h.count),
    whole("histogram_fraction", &[Scalar, Scalar, Vector], histogram::fraction),
    whole("histogram_quantile", &[Scalar, Vector], histogram::quantile),
    variadic(whole("histogram_quantiles", &[Vector, String, Scalar, Scalar], histogram::quantiles)),
    of_histogram("histogram_stddev", |h| native::variance(h).sqrt()),
    of_histogram("histogram_stdvar", native::variance),
    of_histogram("histogram_sum", |h| h.sum),
    date("hour", |date| f64::from(date.hour())),
    mixed("idelta", |w, remarks| rate::instant_rate(w, false, remarks)),
    counter("increase", |w, remarks| rate::rate(w, INCREASE, remarks)),
    optional(whole("info", &[Vector, Vector], info::info)),
    mixed("irate", |w, remarks| rate::instant_rate(w, true, remarks)),
    variadic(whole("label_join", &[Vector, String, String, String], labels::label_join)),
    whole("label_replace", &[Vector, String, String, String, String], labels::label_replace),
    pick("last_over_time", over::last),
    each("ln", |v, _| Some(v.ln())),
    each("log10", |v, _| Some(v.log10())),
    each("log2", |v, _| Some(v.log2())),
    floats("mad_over_time", |w| Some(mad(w))),
    row("max_of", &[Scalar, Scalar], Scalar, Run::Numbers(|v| two(v, f64::max))),
    floats("max_over_time", |w| best(w, |a, b| a > b).map(|point| point.v)),
    row("min_of", &[Scalar, Scalar], Scalar, Run::Numbers(|v| two(v, f64::min))),
    floats("min_over_time", |w| best(w, |a, b| a < b).map(|point| point.v)),
    date("minute", |date| f64::from(date.minute())),
    date("month", |date| f64::from(date.month())),
    row("pi", NONE, Scalar, Run::Clock(|_, _| std::f64::consts::PI)),
    row(
        "predict_linear",
        &[Matrix, Scalar],
        Vector,
        Run::Window(|w| {
            let (slope, now) = window::regression(w.points, w.at)?;
            Some(slope * w.arg(0) + now)
        }),
    ),
    mixed("present_over_time", |_, _| Some(Datum::Float(1.0))),
    row("quantile_over_time", &[Scalar, Matrix], Vector, Run::Whole(super::quantile_over_time)),
    each("rad", |v, _| Some(v.to_radians())),
    row("range", NONE, Scalar, Run::Clock(|clock, _| (clock.end - clock.start) as f64 / 1000.0)),
    counter("rate", |w, remarks| rate::rate(w, RATE, remarks)),
    mixed("resets", over::resets),
    optional(row(
        "round",
        &[Vector, Scalar],
        Vector,
        Run::Each(|v, args| Some(round(v, args.first().copied().unwrap_or(1.0)))),
    )),
    row("scalar", ONE_VECTOR, Scalar, Run::Whole(super::scalar)),
    each("sgn", |v, _| Some(sign(v))),
    each("sin", |v, _| Some(v.sin())),
    each("sinh", |v, _| Some(v.sinh())),
    whole("sort", ONE_VECTOR, labels::sort),
    variadic(whole("sort_by_label", &[Vector, String], labels::sort_by_label)),
    variadic(whole("sort_by_label_desc", &[Vector, String], labels::sort_by_label_desc)),
    whole("sort_desc", ONE_VECTOR, labels::sort_desc),
    each("sqrt", |v, _| Some(v.sqrt())),
    row("start", NONE, Scalar, Run::Clock(|clock, _| clock.start as f64 / 1000.0)),
    whole("start_timestamp", ONE_VECTOR, super::start_timestamp),
    floats("stddev_over_time", |w| Some(window::variance(w.values()).sqrt())),
    floats("stdvar_over_time", |w| Some(window::variance(w.values()))),
    row("step", NONE, Scalar, Run::Clock(|clock, _| clock.step as f64 / 1000.0)),
    mixed("sum_over_time", over::sum),
    each("tan", |v, _| Some(v.tan())),
    each("tanh", |v, _| Some(v.tanh())),
    row("time", NONE, Scalar, Run::Clock(|_, at| at as f64 / 1000.0)),
    whole("timestamp", ONE_VECTOR, super::timestamp),
    mixed("ts_of_first_over_time", over::time_of_first),
    mixed("ts_of_last_over_time", over::time_of_last),
    floats("ts_of_max_over_time", |w| best(w, |a, b| a >= b).map(seconds)),
    floats("ts_of_min_over_time", |w| best(w, |a, b| a <= b).map(seconds)),
    row("vector", &[Scalar], Vector, Run::Whole(super::vector)),
    date("year", |date| f64::from(date.year())),
];
