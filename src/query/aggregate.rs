//! Aggregations.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::Labels;
use crate::model::labels::METRIC_NAME;

use super::annotation::Remarks;
use super::ast::{Aggregate, AggregateOp, Expr};
use super::error::QueryError;
use super::eval::{Datum, Eval, Evaluator, Sample};
use super::load::key;
use super::native;
use super::quantile::quantile;
use super::window::{Kahan, Mean};

/// The samples of one group, by the labels that name it.
struct Group {
    labels: Labels,
    drop_name: bool,
    samples: Vec<Sample>,
}

/// Evaluates an aggregation at one time.
pub(super) fn aggregate(evaluator: &mut Evaluator, node: &Aggregate, at: i64) -> Result<Vec<Sample>, QueryError> {
    let param = match &node.param {
        Some(param) => Some((param, evaluator.eval(param, at)?)),
        None => None,
    };
    let samples = evaluator.vector(&node.expr, at)?;
    match param {
        Some((expr, Eval::String(label))) => count_values(node, &label, expr, samples),
        Some((expr, Eval::Scalar(value))) => with_number(evaluator, node, value, expr, samples),
        _ => {
            let mut remarks = Remarks::default();
            let groups = groups(evaluator, node, samples);
            let sample = |group: Group| {
                let datum = reduced(node.op, &group.samples, &mut remarks)?;
                Some(Sample::new(group.labels, datum, group.drop_name))
            };
            let out = groups.into_iter().filter_map(sample).collect();
            evaluator.notes.take(remarks, node.expr.span);
            Ok(out)
        }
    }
}

/// The labels of the group that a series belongs to.
fn group_labels(node: &Aggregate, labels: &Labels) -> Labels {
    let named = |name: &str| node.labels.iter().any(|label| label == name);
    if node.without {
        labels.filter(|name| name != METRIC_NAME && !named(name))
    } else if node.labels.is_empty() {
        Labels::empty()
    } else {
        labels.filter(named)
    }
}

/// Groups in the order in which their first series comes.
fn groups(evaluator: &mut Evaluator, node: &Aggregate, samples: Vec<Sample>) -> Vec<Group> {
    let memo = &mut evaluator.memos.entry(key(node)).or_default().key;
    let mut places: Vec<Option<usize>> = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for sample in samples {
        let number = memo.number(&sample.labels, |labels| group_labels(node, labels));
        places.resize(places.len().max(number + 1), None);
        let place = *places[number].get_or_insert_with(|| {
            groups.push(Group { labels: memo.labels(number), drop_name: false, samples: Vec::new() });
            groups.len() - 1
        });
        groups[place].drop_name |= sample.drop_name;
        groups[place].samples.push(sample);
    }
    groups
}

/// The operators that make one sample of a group. Where they are for numbers only, histograms are ignored.
fn reduced(op: AggregateOp, samples: &[Sample], remarks: &mut Remarks) -> Option<Datum> {
    let histograms = samples.iter().filter(|sample| sample.h.is_some()).count();
    match op {
        _ if histograms == 0 => Some(Datum::Float(reduce(op, samples))),
        AggregateOp::Count | AggregateOp::Group => Some(Datum::Float(reduce(op, samples))),
        AggregateOp::Sum | AggregateOp::Avg if histograms < samples.len() => {
            remarks.warn("encountered a mix of histograms and floats for aggregation");
            None
        }
        AggregateOp::Sum | AggregateOp::Avg => {
            let parts = samples.iter().filter_map(|sample| sample.h.as_deref());
            let sum = if op == AggregateOp::Sum { native::total(parts.clone()) } else { native::mean(parts.clone()) };
            let Ok(sum) = sum else {
                remarks.layouts(samples.first().and_then(|sample| sample.labels.name()).unwrap_or_default());
                return None;
            };
            let sum = sum?;
            if native::collide(parts) {
                remarks.collision("aggregation");
            }
            if sum.reconciled {
                remarks.reconciled("aggregation");
            }
            Some(Datum::Histogram(Arc::new(sum.finish())))
        }
        _ => {
            let floats = only_floats(op, samples.to_vec(), remarks);
            (!floats.is_empty()).then(|| Datum::Float(reduce(op, &floats)))
        }
    }
}

/// The numbers; a remark says that there were histograms.
fn only_floats(op: AggregateOp, mut samples: Vec<Sample>, remarks: &mut Remarks) -> Vec<Sample> {
    let all = samples.len();
    samples.retain(|sample| sample.h.is_none());
    if samples.len() < all {
        remarks.info(format!("ignored histogram in {} aggregation", op.name()));
    }
    samples
}

/// The operators that make one number of a group.
fn reduce(op: AggregateOp, samples: &[Sample]) -> f64 {
    let values = samples.iter().map(|sample| sample.v);
    match op {
        AggregateOp::Sum => {
            let mut total = Kahan::default();
            values.for_each(|value| total.add(value));
            total.value()
        }
        AggregateOp::Avg => {
            let mut mean = Mean::default();
            values.for_each(|value| mean.add(value));
            mean.value()
        }
        AggregateOp::Count => samples.len() as f64,
        AggregateOp::Group => 1.0,
        // NaN only where nothing else is: f64::min and max prefer the other operand.
        AggregateOp::Min => values.fold(f64::NAN, f64::min),
        AggregateOp::Max => values.fold(f64::NAN, f64::max),
        AggregateOp::Stdvar => super::window::variance(values),
        AggregateOp::Stddev => super::window::variance(values).sqrt(),
        _ => f64::NAN,
    }
}

/// `quantile`, `topk`, `bottomk`, `limitk`, `limit_ratio`.
fn with_number(
    evaluator: &mut Evaluator,
    node: &Aggregate,
    value: f64,
    param: &Expr,
    samples: Vec<Sample>,
) -> Result<Vec<Sample>, QueryError> {
    let samples = match node.op {
        AggregateOp::Limitk | AggregateOp::LimitRatio => samples,
        _ => {
            let mut remarks = Remarks::default();
            let floats = only_floats(node.op, samples, &mut remarks);
            evaluator.notes.take(remarks, node.expr.span);
            floats
        }
    };
    if node.op == AggregateOp::Quantile {
        if value.is_nan() || !(0.0..=1.0).contains(&value) {
            let message = format!("quantile value should be between 0 and 1, got {}", super::format_value(value));
            evaluator.notes.warn(message, param.span);
        }
        let sample = |group: Group| {
            let v = quantile(value, group.samples.iter().map(|sample| sample.v).collect());
            Sample::float(group.labels, v, group.drop_name)
        };
        return Ok(groups(evaluator, node, samples).into_iter().map(sample).collect());
    }
    if value.is_nan() {
        let what = if node.op == AggregateOp::LimitRatio { "Ratio" } else { "Parameter" };
        return Err(QueryError::evaluation(format!("{what} value is NaN"), param.span));
    }
    if node.op == AggregateOp::LimitRatio {
        return Ok(limit_ratio(evaluator, value, param, samples));
    }
    if value >= i64::MAX as f64 || value <= i64::MIN as f64 {
        let message = format!("Scalar value {} overflows int64", super::format_value(value));
        return Err(QueryError::evaluation(message, param.span));
    }
    let count = if value < 1.0 { 0 } else { value as usize };
    let mut out = Vec::new();
    for mut group in groups(evaluator, node, samples) {
        // Of equal values the labels decide: the order in which series come depends on what else the query reads, and
        // an instant must pick as the same step of a range does.
        let order = |a: &Sample, b: &Sample| {
            let order = match node.op {
                AggregateOp::Topk => nan_last(b.v, a.v, a.v, b.v),
                AggregateOp::Bottomk => nan_last(a.v, b.v, a.v, b.v),
                _ => Ordering::Equal,
            };
            order.then_with(|| a.labels.cmp(&b.labels))
        };
        if let Some(last) = count.checked_sub(1).filter(|last| *last < group.samples.len()) {
            group.samples.select_nth_unstable_by(last, order);
        }
        group.samples.truncate(count);
        group.samples.sort_by(order);
        out.extend(group.samples);
    }
    Ok(out)
}

/// Compares `x` with `y`, but puts NaN last whatever the direction.
pub(super) fn nan_last(x: f64, y: f64, a: f64, b: f64) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then(x.partial_cmp(&y).unwrap_or(Ordering::Equal))
}

/// A sample of the series that does not change from step to step: it depends on the labels only. A negative ratio
/// gives the complement.
fn limit_ratio(evaluator: &mut Evaluator, ratio: f64, param: &Expr, samples: Vec<Sample>) -> Vec<Sample> {
    let capped = ratio.clamp(-1.0, 1.0);
    if capped != ratio {
        let message = format!(
            "ratio value should be between -1 and 1, got {}, capping to {}",
            super::format_value(ratio),
            super::format_value(capped)
        );
        evaluator.notes.warn(message, param.span);
    }
    let keep = |sample: &Sample| {
        let place = super::sample::place(&sample.labels);
        if capped >= 0.0 { place < capped || capped == 1.0 } else { place >= 1.0 + capped }
    };
    samples.into_iter().filter(keep).collect()
}

fn count_values(node: &Aggregate, label: &str, param: &Expr, samples: Vec<Sample>) -> Result<Vec<Sample>, QueryError> {
    if label.is_empty() {
        return Err(QueryError::evaluation(format!("invalid label name {label:?}"), param.span));
    }
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut out: Vec<Sample> = Vec::new();
    for sample in samples {
        let value = sample.h.as_deref().map_or_else(|| super::format_value(sample.v), native::text);
        let labels = group_labels(node, &sample.labels).with(label, value);
        let place = *index.entry(labels).or_insert_with_key(|labels| {
            out.push(Sample::float(labels.clone(), 0.0, false));
            out.len() - 1
        });
        out[place].v += 1.0;
        out[place].drop_name |= sample.drop_name && label != METRIC_NAME;
    }
    Ok(out)
}
