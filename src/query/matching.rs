//! Which series of two vectors belong together.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::hash_map::Entry;

use crate::model::Labels;
use crate::model::labels::METRIC_NAME;

use super::ast::{Binary, BinaryOp, Cardinality, Expr, Matching};
use super::binary::{arithmetic, compare};
use super::error::QueryError;
use super::eval::{Sample, is_metadata};

/// The labels by which a series is matched.
pub(super) fn signature(labels: &Labels, matching: &Matching) -> Labels {
    labels.filter(|name| {
        let named = matching.labels.iter().any(|label| label == name);
        if matching.on { named } else { !named && name != METRIC_NAME }
    })
}

/// `and`, `or` and `unless`.
pub(super) fn set(op: BinaryOp, matching: &Matching, lhs: Vec<Sample>, rhs: Vec<Sample>) -> Vec<Sample> {
    let signatures =
        |samples: &[Sample]| samples.iter().map(|s| signature(&s.labels, matching)).collect::<HashSet<_>>();
    if op == BinaryOp::Or {
        let known = signatures(&lhs);
        let extra = rhs.into_iter().filter(|sample| !known.contains(&signature(&sample.labels, matching)));
        return lhs.into_iter().chain(extra).collect();
    }
    let known = signatures(&rhs);
    let wanted = op == BinaryOp::And;
    lhs.into_iter().filter(|sample| known.contains(&signature(&sample.labels, matching)) == wanted).collect()
}

/// Arithmetic and comparison between two vectors.
pub(super) fn pairs(expr: &Expr, node: &Binary, lhs: Vec<Sample>, rhs: Vec<Sample>) -> Result<Vec<Sample>, QueryError> {
    let mut matching = Pairs { expr, node, out: Vec::new(), used: HashMap::new() };
    let swapped = node.matching.card == Cardinality::OneToMany;
    let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
    // Prometheus swaps the sides for `group_right`, but not what fills them; its tests pin that.
    let (fill_many, fill_one) = (node.matching.fill_left, node.matching.fill_right);
    if (many.is_empty() && fill_many.is_none()) || (one.is_empty() && fill_one.is_none()) {
        return Ok(Vec::new());
    }
    let ones = matching.index(one, if swapped { "left" } else { "right" })?;
    for sample in &many {
        let key = signature(&sample.labels, &node.matching);
        match ones.get(&key) {
            Some(partner) => matching.combine(sample, partner, key)?,
            None => {
                if let Some(v) = fill_one {
                    let partner = Sample { labels: key.clone(), v, drop_name: false };
                    matching.combine(sample, &partner, key)?;
                }
            }
        }
    }
    if let Some(v) = fill_many {
        let met: HashSet<Labels> = many.iter().map(|sample| signature(&sample.labels, &node.matching)).collect();
        let mut lonely: Vec<(&Labels, &Sample)> = ones.iter().filter(|(key, _)| !met.contains(*key)).collect();
        lonely.sort_by(|a, b| a.0.cmp(b.0));
        for (key, partner) in lonely {
            let sample = Sample { labels: key.clone(), v, drop_name: false };
            matching.combine(&sample, partner, key.clone())?;
        }
    }
    Ok(matching.out)
}

struct Pairs<'a> {
    expr: &'a Expr,
    node: &'a Binary,
    out: Vec<Sample>,
    /// Per signature the result labels seen: a second pair with the same ones is ambiguous.
    used: HashMap<Labels, HashSet<Labels>>,
}

impl Pairs<'_> {
    fn index(&self, one: Vec<Sample>, side: &str) -> Result<HashMap<Labels, Sample>, QueryError> {
        let mut index: HashMap<Labels, Sample> = HashMap::with_capacity(one.len());
        for sample in one {
            match index.entry(signature(&sample.labels, &self.node.matching)) {
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
        let (left, right) =
            if node.matching.card == Cardinality::OneToMany { (one.v, many.v) } else { (many.v, one.v) };
        let (value, keep) = if node.op.is_comparison() {
            let holds = compare(node.op, left, right);
            if node.returns_bool { (f64::from(u8::from(holds)), true) } else { (left, holds) }
        } else {
            (arithmetic(node.op, left, right), true)
        };
        let labels = self.result_labels(&many.labels, &one.labels);
        // The check comes before the filter: a query must not fail only when a comparison happens to hold.
        let seen = self.used.entry(key).or_default();
        if node.matching.card == Cardinality::OneToOne {
            if !seen.is_empty() {
                let message =
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
                return Err(QueryError::evaluation(message, self.expr.span));
            }
            seen.insert(Labels::empty());
        } else if !seen.insert(labels.clone()) {
            let message = "multiple matches for labels: grouping labels must ensure unique matches";
            return Err(QueryError::evaluation(message, self.expr.span));
        }
        if keep {
            let drop_name = node.returns_bool || many.drop_name;
            self.out.push(Sample { labels, v: value, drop_name });
        }
        Ok(())
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = &self.node.matching;
        let drop_metadata = !self.node.op.is_comparison() || self.node.returns_bool;
        let keep = |name: &str| {
            if drop_metadata && is_metadata(name) {
                return false;
            }
            if matching.card != Cardinality::OneToOne {
                return true;
            }
            // One to one: only what both sides share.
            let named = matching.labels.iter().any(|label| label == name);
            if matching.on { named } else { !named }
        };
        let labels = many.filter(keep);
        if matching.include.is_empty() {
            return labels;
        }
        let mut builder = labels.edit();
        for name in &matching.include {
            builder.set(name.clone(), one.get(name).unwrap_or_default());
        }
        builder.build()
    }
}

/// Labels with the metric name among them, as Prometheus prints them in this error.
fn plain(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
