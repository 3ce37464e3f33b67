//! Which series of two vectors belong together.

use std::collections::HashSet;

use crate::model::Labels;
use crate::model::labels::METRIC_NAME;

use super::annotation::Remarks;
use super::ast::{Binary, BinaryOp, Cardinality, Expr, Matching};
use super::binary::{Operand, operate};
use super::error::QueryError;
use super::eval::Sample;
use super::gather::is_metadata;
use super::memo::Memos;

/// The labels by which a series is matched.
pub(super) fn signature(labels: &Labels, matching: &Matching) -> Labels {
    labels.filter(|name| {
        let named = matching.labels.iter().any(|label| label == name);
        if matching.on { named } else { !named && name != METRIC_NAME }
    })
}

/// `and`, `or` and `unless`.
pub(super) fn set(
    op: BinaryOp,
    matching: &Matching,
    lhs: Vec<Sample>,
    rhs: Vec<Sample>,
    memos: &mut Memos,
) -> Vec<Sample> {
    let mut key = |sample: &Sample| memos.key.number(&sample.labels, |labels| signature(labels, matching));
    let mut marked = |side: &[Sample]| {
        let mut known = Vec::new();
        for sample in side {
            mark(&mut known, key(sample));
        }
        known
    };
    let known = marked(if op == BinaryOp::Or { &lhs } else { &rhs });
    let mut is_known = |sample: &Sample| known.get(key(sample)).copied().unwrap_or(false);
    if op == BinaryOp::Or {
        let extra = rhs.into_iter().filter(|sample| !is_known(sample));
        return lhs.into_iter().chain(extra).collect();
    }
    lhs.into_iter().filter(|sample| is_known(sample) == (op == BinaryOp::And)).collect()
}

/// Marks a number; says whether it was not marked before.
fn mark(marks: &mut Vec<bool>, number: usize) -> bool {
    marks.resize(marks.len().max(number + 1), false);
    !std::mem::replace(&mut marks[number], true)
}

/// Arithmetic and comparison between two vectors.
pub(super) fn pairs(
    expr: &Expr,
    node: &Binary,
    (lhs, rhs): (Vec<Sample>, Vec<Sample>),
    memos: &mut Memos,
    remarks: &mut Remarks,
) -> Result<Vec<Sample>, QueryError> {
    let swapped = node.matching.card == Cardinality::OneToMany;
    let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
    // Prometheus swaps the sides for `group_right`, but not what fills them; its tests pin that.
    let (fill_many, fill_one) = (node.matching.fill_left, node.matching.fill_right);
    if (many.is_empty() && fill_many.is_none()) || (one.is_empty() && fill_one.is_none()) {
        return Ok(Vec::new());
    }
    let (out, used) = (Vec::new(), Vec::new());
    let mut matching = Pairs { expr, node, memos, remarks, out, used, used_with: HashSet::new() };
    let ones = matching.index(one, if swapped { "left" } else { "right" })?;
    let mut met = Vec::new();
    for sample in &many {
        let number = matching.number(&sample.labels);
        if fill_many.is_some() {
            mark(&mut met, number);
        }
        match (ones.get(number).and_then(Option::as_ref), fill_one) {
            (Some(partner), _) => matching.combine(sample, partner, number)?,
            (None, Some(v)) => {
                let partner = Sample::float(matching.memos.key.labels(number), v, false);
                matching.combine(sample, &partner, number)?;
            }
            (None, None) => {}
        }
    }
    if let Some(v) = fill_many {
        let met = |number: usize| met.get(number).copied().unwrap_or(false);
        let lonely = ones.iter().enumerate().filter(|(number, _)| !met(*number));
        let mut lonely: Vec<(Labels, usize, &Sample)> = lonely
            .filter_map(|(number, one)| Some((matching.memos.key.labels(number), number, one.as_ref()?)))
            .collect();
        lonely.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, number, partner) in lonely {
            matching.combine(&Sample::float(key, v, false), partner, number)?;
        }
    }
    Ok(matching.out)
}

struct Pairs<'a> {
    expr: &'a Expr,
    node: &'a Binary,
    memos: &'a mut Memos,
    remarks: &'a mut Remarks,
    out: Vec<Sample>,
    /// By the number of what was matched by: one to one, a second pair is ambiguous.
    used: Vec<bool>,
    /// Otherwise only one with the same labels is.
    used_with: HashSet<(usize, Labels)>,
}

impl Pairs<'_> {
    /// The number of what a series is matched by.
    fn number(&mut self, labels: &Labels) -> usize {
        let matching = &self.node.matching;
        self.memos.key.number(labels, |labels| signature(labels, matching))
    }

    /// The samples of a side by their numbers.
    fn index(&mut self, one: Vec<Sample>, side: &str) -> Result<Vec<Option<Sample>>, QueryError> {
        let mut index: Vec<Option<Sample>> = Vec::new();
        for sample in one {
            let number = self.number(&sample.labels);
            index.resize_with(index.len().max(number + 1), || None);
            if let Some(known) = &index[number] {
                let message = format!(
                    "found duplicate series for the match group {} on the {side} hand-side of the operation: \
                     [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                    plain(&self.memos.key.labels(number)),
                    plain(&known.labels),
                    plain(&sample.labels)
                );
                return Err(QueryError::evaluation(message, self.expr.span));
            }
            index[number] = Some(sample);
        }
        Ok(index)
    }

    fn combine(&mut self, many: &Sample, one: &Sample, number: usize) -> Result<(), QueryError> {
        let node = self.node;
        let (many_side, one_side) = (Operand::of(many), Operand::of(one));
        let (left, right) = match node.matching.card == Cardinality::OneToMany {
            true => (one_side, many_side),
            false => (many_side, one_side),
        };
        let datum = operate(node, left, right, self.remarks);
        let one_to_one = node.matching.card == Cardinality::OneToOne;
        let labels = if node.matching.include.is_empty() {
            self.memos.result.get(&many.labels, |labels| result_labels(node, labels, &one.labels))
        } else {
            result_labels(node, &many.labels, &one.labels)
        };
        // The check comes before the filter: a query must not fail only when a comparison happens to hold. One to
        // one, the result's labels follow from the key.
        let new = match one_to_one {
            true => mark(&mut self.used, number),
            false => self.used_with.insert((number, labels.clone())),
        };
        if !new {
            let message = match one_to_one {
                true => "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                false => "multiple matches for labels: grouping labels must ensure unique matches",
            };
            return Err(QueryError::evaluation(message, self.expr.span));
        }
        if let Some(datum) = datum {
            self.out.push(Sample::new(labels, datum, node.returns_bool || many.drop_name));
        }
        Ok(())
    }
}

fn result_labels(node: &Binary, many: &Labels, one: &Labels) -> Labels {
    let matching = &node.matching;
    let drop_metadata = !node.op.is_comparison() || node.returns_bool;
    let labels = many.filter(|name| {
        if drop_metadata && is_metadata(name) {
            return false;
        }
        // One to one: only what both sides share.
        let named = matching.labels.iter().any(|label| label == name);
        matching.card != Cardinality::OneToOne || matching.on == named
    });
    if matching.include.is_empty() {
        return labels;
    }
    let mut builder = labels.edit();
    for name in &matching.include {
        builder.set(name.clone(), one.get(name).unwrap_or_default());
    }
    builder.build()
}

/// Labels with the metric name among them, as Prometheus prints them in this error.
fn plain(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
