//! PromQL over a [`Source`]: text → [`parse`] → tree → [`instant`] or [`range`] → [`Answer`].
//!
//! Invariant: pure. No I/O, no tokio, no clock but the watch that ends what takes too long; the same tree, source and
//! time give the same answer. Semantics follow
//! Prometheus 3 with delayed name removal. A new function is one row in [`functions::TABLE`].

use std::sync::Arc;
use std::time::Duration;

use crate::model::{FloatHistogram, Labels, Matcher, Point, Series, Source};

mod aggregate;
mod annotation;
pub mod ast;
mod begun;
mod binary;
mod check;
mod display;
mod error;
mod eval;
mod format;
pub mod functions;
mod gather;
mod histogram_rate;
mod length;
mod lexer;
mod load;
mod matching;
mod memo;
mod native;
pub mod notation;
mod parser;
mod quantile;
mod rate;
mod sample;
mod selector;
mod tree;
mod truth;
mod window;

pub use annotation::{Annotation, Severity};
pub use ast::{Expr, ValueType};
pub use error::{QueryError, QueryErrorKind, Span};
pub use format::format;
pub use native::{Bucket, populated_buckets};
pub use parser::{MAX_DEPTH, MAX_LENGTH, parse};
pub use tree::tree;
pub use truth::holds;

use ast::Node;
use eval::Evaluator;

/// What one query may use, and how far back a selector looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Samples loaded and produced, in all.
    pub max_samples: usize,
    /// Series that the query's selectors may load, in all.
    pub max_series: usize,
    /// Steps of a range query.
    pub max_steps: usize,
    /// How long a sample stays valid for an instant selector.
    pub lookback: Duration,
    /// The step of a subquery that names none: the interval at which rules are evaluated.
    pub subquery_step: Duration,
    /// How long an evaluation may take.
    pub time: Duration,
}

impl Default for Limits {
    /// As Prometheus: 50 million samples, 11,000 steps, five minutes, a minute, two minutes; and a million series.
    fn default() -> Self {
        Limits {
            max_samples: 50_000_000,
            max_series: 1_000_000,
            max_steps: 11_000,
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            time: Duration::from_secs(120),
        }
    }
}

/// One series of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// Its labels; the metric name is there only where Prometheus keeps it.
    pub labels: Labels,
    /// The evaluation time, milliseconds since the epoch.
    pub t: i64,
    /// The number; NaN where there is a histogram.
    pub v: f64,
    /// The native histogram, for series of such.
    pub h: Option<Arc<FloatHistogram>>,
}

impl VectorSample {
    /// A sample that is a number.
    pub fn float(labels: Labels, t: i64, v: f64) -> Self {
        VectorSample { labels, t, v, h: None }
    }
}

/// The value of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(Point),
    /// A text and the evaluation time in milliseconds.
    String(String, i64),
    /// One value per series; in the order of `sort` and `topk` where the query ends in one.
    Vector(Vec<VectorSample>),
    /// Points per series: a range query's value, or that of `x[5m]`. Sorted by labels.
    Matrix(Vec<Series>),
}

/// A query's value and what there is to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Warnings and remarks, each once.
    pub annotations: Vec<Annotation>,
}

/// Evaluates at one time. `at` is in milliseconds since the epoch.
///
/// # Errors
/// [`QueryError`] when series do not match as the query demands, a limit is hit, or the source fails.
pub fn instant(expr: &Expr, source: &dyn Source, at: i64, limits: &Limits) -> Result<Answer, QueryError> {
    let mut evaluator = Evaluator::new(expr, source, (at, at, 0), limits)?;
    let value = match expr.value_type() {
        ValueType::Matrix => Value::Matrix(evaluator.matrix(expr, at)?),
        _ => match evaluator.eval(expr, at)? {
            eval::Eval::Scalar(v) => Value::Scalar(Point { t: at, v }),
            eval::Eval::String(text) => Value::String(text, at),
            eval::Eval::Vector(samples) => {
                let samples = gather::drop_names(samples).map_err(|error| error.at(expr.span))?;
                Value::Vector(
                    samples.into_iter().map(|s| VectorSample { labels: s.labels, t: at, v: s.v, h: s.h }).collect(),
                )
            }
        },
    };
    Ok(Answer { value, annotations: evaluator.notes.into_list() })
}

/// Evaluates at `start`, `start + step`, … up to and including `end` (milliseconds). Each selector's series are read
/// from the source once, for the whole time.
///
/// # Errors
/// As [`instant`]; also when the query's type has no range form, or `step` is not positive.
pub fn range(
    expr: &Expr,
    source: &dyn Source,
    start: i64,
    end: i64,
    step: i64,
    limits: &Limits,
) -> Result<Answer, QueryError> {
    let got = expr.value_type();
    if !matches!(got, ValueType::Scalar | ValueType::Vector) {
        let message = format!("invalid expression type {got:?} for range query, must be scalar or instant vector");
        return Err(QueryError::typed(message, expr.span));
    }
    if step <= 0 || end < start {
        let message = format!("a range query needs a positive step and an end after its start, got step {step} ms");
        return Err(QueryError::new(QueryErrorKind::Evaluation(message)));
    }
    let mut evaluator = Evaluator::new(expr, source, (start, end, step), limits)?;
    let series = evaluator.steps(expr)?;
    Ok(Answer { value: Value::Matrix(series), annotations: evaluator.notes.into_list() })
}

/// How far back before the evaluation time the expression reads: ranges, offsets and subqueries, with the default
/// lookback. A selector with `@ <time>` reads elsewhere and counts as nothing.
pub fn window(expr: &Expr) -> Duration {
    let back = load::reach(expr, i64::try_from(Limits::default().lookback.as_millis()).unwrap_or(i64::MAX));
    Duration::from_millis(u64::try_from(back).unwrap_or(0))
}

/// Every selector's matchers, in the order of the text.
pub fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = match &expr.node {
        Node::Vector(selector) | Node::Matrix(selector, _) => vec![selector.matchers.clone()],
        _ => Vec::new(),
    };
    // The second argument of `info` filters labels: it is no selector.
    let is_info = matches!(&expr.node, Node::Call(function, _) if function.name == "info");
    for child in expr.children().into_iter().take(if is_info { 1 } else { usize::MAX }) {
        found.extend(selectors(child));
    }
    found
}

/// Writes a value as Prometheus' API does: `NaN`, `+Inf`, `-Inf`, else the shortest digits that read back to the same
/// number, without an exponent.
pub fn format_value(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_string()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_string()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests;
