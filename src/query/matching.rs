//! Which series of two vectors belong together.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::hash_map::Entry;

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
    let mut key = |sample: &Sample| memos.key.get(&sample.labels, |labels| signature(labels, matching));
    if op == BinaryOp::Or {
        let known: HashSet<Labels> = lhs.iter().map(&mut key).collect();
        let extra = rhs.into_iter().filter(|sample| !known.contains(&key(sample)));
        return lhs.into_iter().chain(extra).collect();
    }
    let known: HashSet<Labels> = rhs.iter().map(&mut key).collect();
    lhs.into_iter().filter(|sample| known.contains(&key(sample)) == (op == BinaryOp::And)).collect()
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
    let mut matching = Pairs { expr, node, memos, remarks, out: Vec::new(), used: HashSet::with_capacity(many.len()) };
    let ones = matching.index(one, if swapped { "left" } else { "right" })?;
    let mut met = HashSet::new();
    for sample in &many {
        let key = matching.key(&sample.labels);
        if fill_many.is_some() {
            met.insert(key.clone());
        }
        match (ones.get(&key), fill_one) {
            (Some(partner), _) => matching.combine(sample, partner, key)?,
            (None, Some(v)) => {
                let partner = Sample::float(key.clone(), v, false);
                matching.combine(sample, &partner, key)?;
            }
            (None, None) => {}
        }
    }
    if let Some(v) = fill_many {
        let mut lonely: Vec<(&Labels, &Sample)> = ones.iter().filter(|(key, _)| !met.contains(*key)).collect();
        lonely.sort_by(|a, b| a.0.cmp(b.0));
        for (key, partner) in lonely {
            let sample = Sample::float(key.clone(), v, false);
            matching.combine(&sample, partner, key.clone())?;
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
    /// What was matched by, and the result labels: a second pair with the same ones is ambiguous.
    used: HashSet<(Labels, Labels)>,
}

impl Pairs<'_> {
    fn key(&mut self, labels: &Labels) -> Labels {
        let matching = &self.node.matching;
        self.memos.key.get(labels, |labels| signature(labels, matching))
    }

    fn index(&mut self, one: Vec<Sample>, side: &str) -> Result<HashMap<Labels, Sample>, QueryError> {
        let mut index: HashMap<Labels, Sample> = HashMap::with_capacity(one.len());
        for sample in one {
            match index.entry(self.key(&sample.labels)) {
                Entry::Vacant(entry) => {
                    entry.insert(sample);
                }
                Entry::Occupied(entry) => {
                    let message = format!(
                        "found duplicate series for the match group {} on the {side} hand-side of the operation: \
                         [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                        plain(entry.key()),
                        plain(&entry.get().labels),
                        plain(&sample.labels)
                    );
                    return Err(QueryError::evaluation(message, self.expr.span));
                }
            }
        }
        Ok(index)
    }

    fn combine(&mut self, many: &Sample, one: &Sample, key: Labels) -> Result<(), QueryError> {
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
        if !self.used.insert((key, if one_to_one { Labels::empty() } else { labels.clone() })) {
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
