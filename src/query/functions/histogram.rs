//! Quantiles and fractions of histograms: classic ones, which are series with an `le` label, and native ones.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{FloatHistogram, Labels};

use super::super::annotation::{Notes, Remarks};
use super::super::ast::Expr;
use super::super::error::{QueryError, Span};
use super::super::eval::{Eval, Evaluator, Sample};
use super::super::format_value;
use super::super::native::{self, Estimate};
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

/// One histogram, of either sort.
enum Histogram {
    /// `None` where the buckets make no histogram.
    Classic(Option<Buckets>),
    Native(Arc<FloatHistogram>),
}

/// Histograms by their labels, in the order of the vector. Where both sorts have the same labels, neither counts.
fn histograms(evaluator: &mut Evaluator, arg: &Expr, at: i64) -> Result<Vec<(Labels, Histogram)>, QueryError> {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut found: Vec<(Labels, Vec<Bucket>)> = Vec::new();
    let mut natives: Vec<(Labels, Arc<FloatHistogram>)> = Vec::new();
    let mut remarks = Remarks::default();
    for sample in evaluator.vector(arg, at)? {
        if let Some(histogram) = sample.h {
            natives.push((sample.labels, histogram));
            continue;
        }
        let written = sample.labels.get(BOUND).unwrap_or_default();
        let Ok(bound) = written.parse::<f64>() else {
            remarks.warn(format!(
                "bucket label \"le\" is missing or has a malformed value of {written:?}{}",
                of_metric(&sample.labels)
            ));
            continue;
        };
        let labels = sample.labels.filter(|label| label != BOUND);
        let place = *index.entry(labels).or_insert_with_key(|labels| {
            found.push((labels.clone(), Vec::new()));
            found.len() - 1
        });
        found[place].1.push(Bucket { bound, count: sample.v });
    }
    let mut conflicts = HashSet::new();
    for (labels, _) in natives.iter().filter(|(labels, _)| index.contains_key(labels)) {
        remarks.warn(format!("vector contains a mix of classic and native histograms{}", of_metric(labels)));
        conflicts.insert(labels.clone());
    }
    evaluator.notes.take(remarks, arg.span);
    let natives = natives.into_iter().map(|(labels, histogram)| (labels, Histogram::Native(histogram)));
    let classics = found.into_iter().map(|(labels, buckets)| (labels, Histogram::Classic(Buckets::new(buckets))));
    Ok(natives.chain(classics).filter(|(labels, _)| !conflicts.contains(labels)).collect())
}

/// The end of a remark: which metric it is about.
fn of_metric(labels: &Labels) -> String {
    labels.name().map_or(String::new(), |name| format!(" for metric name {name:?}"))
}

impl Histogram {
    /// `span` is that of the argument with the histograms.
    fn quantile(&self, q: f64, labels: &Labels, notes: &mut Notes, span: Span) -> f64 {
        match self {
            Histogram::Classic(buckets) => {
                remark_on_order(notes, labels, buckets.as_ref(), span);
                buckets.as_ref().map_or(f64::NAN, |buckets| buckets.quantile(q))
            }
            Histogram::Native(histogram) => {
                let Estimate { value, skewed } = native::quantile(q, histogram);
                if skewed {
                    let what = if value.is_nan() { "result is NaN" } else { "result is skewed higher" };
                    let message = format!("input to histogram_quantile has NaN observations, {what}");
                    notes.info(message + &of_metric(labels), span);
                }
                value
            }
        }
    }
}

fn remark_on_order(notes: &mut Notes, labels: &Labels, buckets: Option<&Buckets>, span: Span) {
    if buckets.is_some_and(|buckets| buckets.forced) {
        let message = "input to histogram_quantile needed to be fixed for monotonicity (see \
                       https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        notes.info(format!("{message}{}", of_metric(labels)), span);
    }
}

/// `histogram_quantile(q, buckets)`
pub(super) fn quantile(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let q = evaluator.scalar(call.arg(0)?, at)?;
    remark_on_quantile(evaluator, q, call.arg(0)?);
    let span = call.arg(1)?.span;
    let mut out = Vec::new();
    for (labels, histogram) in histograms(evaluator, call.arg(1)?, at)? {
        let v = histogram.quantile(q, &labels, &mut evaluator.notes, span);
        out.push(Sample::float(labels, v, true));
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
    let span = call.arg(0)?.span;
    let mut out = Vec::new();
    for (labels, histogram) in histograms(evaluator, call.arg(0)?, at)? {
        for q in &wanted {
            let v = histogram.quantile(*q, &labels, &mut evaluator.notes, span);
            out.push(Sample::float(labels.with(label.clone(), open_metrics(*q)), v, true));
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
    let mut out = Vec::new();
    for (labels, histogram) in histograms(evaluator, call.arg(2)?, at)? {
        let v = match histogram {
            Histogram::Classic(buckets) => buckets.map_or(f64::NAN, |buckets| buckets.fraction(lower, upper)),
            Histogram::Native(histogram) => {
                let Estimate { value, skewed } = native::fraction(lower, upper, &histogram);
                if skewed {
                    let message =
                        "input to histogram_fraction has NaN observations, which are excluded from all fractions";
                    evaluator.notes.info(format!("{message}{}", of_metric(&labels)), call.arg(2)?.span);
                }
                value
            }
        };
        out.push(Sample::float(labels, v, true));
    }
    Ok(Eval::Vector(out))
}
