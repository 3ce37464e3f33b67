//! Classic histograms: series with an `le` label.

use std::collections::HashMap;

use crate::model::Labels;

use super::super::ast::Expr;
use super::super::error::QueryError;
use super::super::eval::{Eval, Evaluator, Sample};
use super::super::format_value;
use super::super::quantile::{Bucket, Buckets};
use super::Call;

/// The label with a bucket's upper bound.
const BOUND: &str = "le";

/// Warns about a quantile that no distribution has.
pub(super) fn remark_on_quantile(evaluator: &mut Evaluator, q: f64, expr: &Expr) {
    if q.is_nan() || !(0.0..=1.0).contains(&q) {
        evaluator.notes.warn(format!("quantile value should be between 0 and 1, got {}", format_value(q)), expr.span);
    }
}

/// Buckets by the labels of their histogram, in the order of the vector.
fn histograms(evaluator: &mut Evaluator, arg: &Expr, at: i64) -> Result<Vec<(Labels, Option<Buckets>)>, QueryError> {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut found: Vec<(Labels, Vec<Bucket>)> = Vec::new();
    for sample in evaluator.vector(arg, at)? {
        let written = sample.labels.get(BOUND).unwrap_or_default();
        let Ok(bound) = written.parse::<f64>() else {
            let name = sample.labels.name().unwrap_or_default();
            let message = format!(
                "bucket label \"le\" is missing or has a malformed value of {written:?} for metric name {name:?}"
            );
            evaluator.notes.warn(message, arg.span);
            continue;
        };
        let labels = sample.labels.filter(|label| label != BOUND);
        let place = *index.entry(labels).or_insert_with_key(|labels| {
            found.push((labels.clone(), Vec::new()));
            found.len() - 1
        });
        found[place].1.push(Bucket { bound, count: sample.v });
    }
    Ok(found.into_iter().map(|(labels, buckets)| (labels, Buckets::new(buckets))).collect())
}

fn remark_on_order(evaluator: &mut Evaluator, labels: &Labels, buckets: Option<&Buckets>, expr: &Expr) {
    if buckets.is_some_and(|buckets| buckets.forced) {
        let message = format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name {:?}",
            labels.name().unwrap_or_default()
        );
        evaluator.notes.info(message, expr.span);
    }
}

/// `histogram_quantile(q, buckets)`
pub(super) fn quantile(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let q = evaluator.scalar(call.arg(0)?, at)?;
    remark_on_quantile(evaluator, q, call.arg(0)?);
    let mut out = Vec::new();
    for (labels, buckets) in histograms(evaluator, call.arg(1)?, at)? {
        remark_on_order(evaluator, &labels, buckets.as_ref(), call.arg(1)?);
        out.push(Sample { v: buckets.map_or(f64::NAN, |buckets| buckets.quantile(q)), labels, drop_name: true });
    }
    Ok(Eval::Vector(out))
}

/// `histogram_quantiles(buckets, label, q…)`: one series per quantile, which stands in `label`.
pub(super) fn quantiles(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let label = evaluator.string(call.arg(1)?, at)?;
    if label.is_empty() {
        return Err(QueryError::evaluation(format!("invalid label name {label:?}"), call.arg(1)?.span));
    }
    let mut wanted = Vec::new();
    for arg in call.args.iter().skip(2) {
        let q = evaluator.scalar(arg, at)?;
        remark_on_quantile(evaluator, q, arg);
        wanted.push(q);
    }
    let mut out = Vec::new();
    for (labels, buckets) in histograms(evaluator, call.arg(0)?, at)? {
        remark_on_order(evaluator, &labels, buckets.as_ref(), call.arg(0)?);
        for q in &wanted {
            let v = buckets.as_ref().map_or(f64::NAN, |buckets| buckets.quantile(*q));
            out.push(Sample { v, labels: labels.with(label.clone(), open_metrics(*q)), drop_name: true });
        }
    }
    Ok(Eval::Vector(out))
}

/// A number as OpenMetrics writes it in labels: never without a point or an exponent.
fn open_metrics(value: f64) -> String {
    let text = format_value(value);
    if value.is_finite() && !text.contains('.') { text + ".0" } else { text }
}

/// `histogram_fraction(lower, upper, buckets)`
pub(super) fn fraction(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let lower = evaluator.scalar(call.arg(0)?, at)?;
    let upper = evaluator.scalar(call.arg(1)?, at)?;
    let one = |(labels, buckets): (Labels, Option<Buckets>)| Sample {
        v: buckets.map_or(f64::NAN, |buckets| buckets.fraction(lower, upper)),
        labels,
        drop_name: true,
    };
    Ok(Eval::Vector(histograms(evaluator, call.arg(2)?, at)?.into_iter().map(one).collect()))
}
