//! Functions that look at labels more than at values: `absent`, `label_replace`, `label_join` and the sorts.

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::model::labels::METRIC_NAME;
use crate::model::matcher::anchored;
use crate::model::{Labels, LabelsBuilder, MatchOp};

use super::super::aggregate::nan_last;
use super::super::ast::{Expr, Node};
use super::super::error::{QueryError, QueryErrorKind};
use super::super::eval::{Eval, Evaluator, Sample};
use super::super::gather::same_labels;
use super::super::window::inside;
use super::Call;

/// 1 where the vector is empty, with the labels that its selector demands.
pub(super) fn absent(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let arg = call.arg(0)?;
    let samples = evaluator.vector(arg, at)?;
    Ok(Eval::Vector(absence(arg, samples.is_empty())))
}

/// 1 where no series has a point in the range.
pub(super) fn absent_over_time(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let arg = call.arg(0)?;
    let ranges = evaluator.ranges(arg, at)?;
    let empty = ranges.tracks.iter().all(|track| {
        inside(&track.points, ranges.start, ranges.end).is_empty()
            && inside(&track.histograms, ranges.start, ranges.end).is_empty()
    });
    Ok(Eval::Vector(absence(arg, empty)))
}

fn absence(arg: &Expr, absent: bool) -> Vec<Sample> {
    if absent { vec![Sample::float(demanded(arg), 1.0, false)] } else { Vec::new() }
}

/// The labels that every series of a selector must have. A label named twice has no one value.
fn demanded(arg: &Expr) -> Labels {
    let (Node::Vector(selector) | Node::Matrix(selector, _)) = &arg.bare().node else {
        return Labels::empty();
    };
    let mut labels = LabelsBuilder::default();
    let mut seen = HashSet::new();
    for matcher in selector.matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name) {
            labels.set(matcher.name.clone(), matcher.value.as_str());
            seen.insert(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    labels.build()
}

/// Gives each sample new labels; two samples must not end up with the same ones.
fn relabelled(
    samples: Vec<Sample>,
    target: &str,
    span: super::super::Span,
    value: impl Fn(&Labels) -> Option<String>,
) -> Result<Eval, QueryError> {
    let mut seen = HashSet::with_capacity(samples.len());
    let mut out = Vec::with_capacity(samples.len());
    for mut sample in samples {
        if let Some(value) = value(&sample.labels) {
            sample.labels = sample.labels.with(target, value);
            // A name that was set on purpose stays.
            sample.drop_name &= target != METRIC_NAME;
        }
        if !seen.insert(sample.labels.clone()) {
            return Err(same_labels().at(span));
        }
        out.push(sample);
    }
    Ok(Eval::Vector(out))
}

fn target_label(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<String, QueryError> {
    let target = evaluator.string(call.arg(1)?, at)?;
    if target.is_empty() {
        let message = format!("invalid destination label name in label function: {target:?}");
        return Err(QueryError::evaluation(message, call.arg(1)?.span));
    }
    Ok(target)
}

/// `label_replace(v, target, replacement, source, pattern)`
pub(super) fn label_replace(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let target = target_label(evaluator, call, at)?;
    let replacement = evaluator.string(call.arg(2)?, at)?;
    let source = evaluator.string(call.arg(3)?, at)?;
    let pattern = evaluator.string(call.arg(4)?, at)?;
    let regex = anchored(&pattern).map_err(|error| {
        QueryError::new(QueryErrorKind::Matcher(error)).at(call.args.get(4).map_or(call.expr.span, |a| a.span))
    })?;
    let samples = evaluator.vector(call.arg(0)?, at)?;
    relabelled(samples, &target, call.expr.span, |labels| {
        let captures = regex.captures(labels.get(&source).unwrap_or_default())?;
        let mut value = String::new();
        captures.expand(&replacement, &mut value);
        Some(value)
    })
}

/// `label_join(v, target, separator, source…)`
pub(super) fn label_join(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let target = target_label(evaluator, call, at)?;
    let separator = evaluator.string(call.arg(2)?, at)?;
    let mut sources = Vec::new();
    for arg in call.args.iter().skip(3) {
        sources.push(evaluator.string(arg, at)?);
    }
    let samples = evaluator.vector(call.arg(0)?, at)?;
    relabelled(samples, &target, call.expr.span, |labels| {
        let values: Vec<&str> = sources.iter().map(|source| labels.get(source).unwrap_or_default()).collect();
        Some(values.join(&separator))
    })
}

/// A range query orders its series by labels, whatever the query sorts.
fn remark_on_ranges(evaluator: &mut Evaluator, call: &Call) {
    if evaluator.clock.step > 0 {
        let message = "sort is ineffective for range queries since results are always ordered by labels";
        evaluator.notes.warn(message, call.expr.span);
    }
}

fn sorted(
    evaluator: &mut Evaluator,
    call: &Call,
    at: i64,
    order: impl Fn(&Sample, &Sample) -> Ordering,
) -> Result<Eval, QueryError> {
    remark_on_ranges(evaluator, call);
    let mut samples = evaluator.vector(call.arg(0)?, at)?;
    samples.sort_by(order);
    Ok(Eval::Vector(samples))
}

pub(super) fn sort(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    sorted(evaluator, call, at, |a, b| nan_last(a.v, b.v, a.v, b.v)).map(only_floats)
}

pub(super) fn sort_desc(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    sorted(evaluator, call, at, |a, b| nan_last(b.v, a.v, a.v, b.v)).map(only_floats)
}

/// Histograms have no order by value.
fn only_floats(value: Eval) -> Eval {
    match value {
        Eval::Vector(samples) => Eval::Vector(samples.into_iter().filter(|sample| sample.h.is_none()).collect()),
        other => other,
    }
}

pub(super) fn sort_by_label(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let names = label_names(evaluator, call, at)?;
    sorted(evaluator, call, at, |a, b| by_labels(&names, &a.labels, &b.labels))
}

pub(super) fn sort_by_label_desc(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let names = label_names(evaluator, call, at)?;
    sorted(evaluator, call, at, |a, b| by_labels(&names, &b.labels, &a.labels))
}

fn label_names(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Vec<String>, QueryError> {
    call.args.iter().skip(1).map(|arg| evaluator.string(arg, at)).collect()
}

fn by_labels(names: &[String], a: &Labels, b: &Labels) -> Ordering {
    let value = |labels: &Labels, name: &str| labels.get(name).unwrap_or_default().to_string();
    let named = names.iter().map(|name| natural(&value(a, name), &value(b, name)));
    named.into_iter().find(|order| *order != Ordering::Equal).unwrap_or_else(|| a.cmp(b))
}

/// Compares texts so that runs of digits count as numbers: `cpu2` before `cpu10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (m, n) = (digits(a), digits(b));
        if m > 0 && n > 0 {
            let (x, y) = (a[..m].trim_start_matches('0'), b[..n].trim_start_matches('0'));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[m..], &b[n..]);
            continue;
        }
        let (mut rest_a, mut rest_b) = (a.chars(), b.chars());
        match (rest_a.next(), rest_b.next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (rest_a.as_str(), rest_b.as_str()),
            (x, y) => return x.cmp(&y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_compare_as_numbers() {
        let mut names = ["cpu10", "cpu2", "cpu", "cpu2a", "CPU1", "cpu02"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["CPU1", "cpu", "cpu2", "cpu02", "cpu2a", "cpu10"]);
    }
}
