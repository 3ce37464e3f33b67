//! `info`: adds the labels of info metrics, such as `target_info`, to the series of the same `instance` and `job`.

use std::collections::BTreeMap;
use std::collections::HashMap;

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, MatchOp, Matcher};

use super::super::ast::{Expr, Node, Selector};
use super::super::error::QueryError;
use super::super::eval::{Datum, Eval, Evaluator, Sample};
use super::super::load::{self, Clock};
use super::Call;

/// The labels that tie a series to its info series.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The info metric that is meant when none is named.
const DEFAULT_METRIC: &str = "target_info";

/// What `info(v)` reads.
pub(in super::super) fn default_matchers() -> Vec<Matcher> {
    vec![Matcher::equal(METRIC_NAME, DEFAULT_METRIC)]
}

/// What `info(v, {…})` reads: info metrics by name. The other matchers are applied to the labels later, because one
/// that accepts the empty value must not hide a series.
pub(in super::super) fn matchers(selector: &Selector) -> Vec<Matcher> {
    let mut names: Vec<Matcher> = selector.matchers.iter().filter(|m| m.name == METRIC_NAME).cloned().collect();
    if names.is_empty() {
        return default_matchers();
    }
    if names.iter().all(|matcher| matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex)) {
        // Only told what it is not, an info metric is still one by its name.
        names.extend(Matcher::new(METRIC_NAME, MatchOp::Regex, ".+_info"));
    }
    names
}

/// The time whose info series belong to `expr` at `at`: that at which its first selector reads.
pub(in super::super) fn reference(clock: &Clock, expr: &Expr, at: i64) -> Option<i64> {
    match &expr.node {
        Node::Vector(selector) | Node::Matrix(selector, _) => Some(clock.shift(&selector.shift, at)),
        Node::Subquery(subquery) => reference(clock, &subquery.expr, clock.shift(&subquery.shift, at)),
        _ => expr.children().into_iter().find_map(|child| reference(clock, child, at)),
    }
}

/// The key under which the info series of a call are kept: next to its first argument, whose own key is taken.
pub(in super::super) fn key(base: &Expr) -> usize {
    load::key(base) + 1
}

pub(super) fn info(evaluator: &mut Evaluator, call: &Call, at: i64) -> Result<Eval, QueryError> {
    let base = call.arg(0)?;
    let samples = evaluator.vector(base, at)?;
    let selector = match call.args.get(1).map(|arg| &arg.node) {
        Some(Node::Vector(selector)) => Some(selector),
        _ => None,
    };
    let time = reference(&evaluator.clock, base, at).unwrap_or(at);
    let wanted: Vec<&Matcher> =
        selector.map_or(Vec::new(), |s| s.matchers.iter().filter(|m| m.name != METRIC_NAME).collect());
    let names = selector.map_or_else(default_matchers, matchers);
    let mut index: HashMap<Labels, Vec<(Labels, i64)>> = HashMap::new();
    for track in evaluator.loaded(key(base)).iter() {
        let Some((t, datum)) = track.newest(time, evaluator.clock.lookback) else { continue };
        if matches!(datum, Datum::Histogram(_)) {
            let message = format!("this should be an info metric, with float samples: {}", track.labels);
            return Err(QueryError::evaluation(message, call.expr.span));
        }
        if wanted.iter().all(|matcher| matcher.matches(&track.labels)) {
            index.entry(identity(&track.labels)).or_default().push((track.labels.clone(), t));
        }
    }
    let mut out = Vec::new();
    for sample in samples {
        let is_info = names.iter().all(|matcher| matcher.matches(&sample.labels));
        if is_info {
            out.push(sample);
            continue;
        }
        let partners = index.get(&identity(&sample.labels)).map_or(&[][..], Vec::as_slice);
        if let Some(labels) = enriched(&sample.labels, partners, &wanted, call)? {
            out.push(Sample { labels, ..sample });
        }
    }
    Ok(Eval::Vector(out))
}

fn identity(labels: &Labels) -> Labels {
    labels.filter(|name| IDENTIFYING.contains(&name))
}

/// The labels with those of the info series added, or `None` where a demanded label is nowhere to be found.
fn enriched(
    labels: &Labels,
    partners: &[(Labels, i64)],
    wanted: &[&Matcher],
    call: &Call,
) -> Result<Option<Labels>, QueryError> {
    // Of one info metric the newest series counts: an older one is a target's former self.
    let mut newest: BTreeMap<&str, &(Labels, i64)> = BTreeMap::new();
    for partner in partners {
        let name = partner.0.name().unwrap_or_default();
        match newest.get(name) {
            Some(known) if known.1 > partner.1 => {}
            Some(known) if known.1 == partner.1 => {
                let message =
                    format!("found duplicate series for info metric: existing {}, new {}", known.0, partner.0);
                return Err(QueryError::evaluation(message, call.expr.span));
            }
            _ => {
                newest.insert(name, partner);
            }
        }
    }
    let mut builder = labels.edit();
    let mut added: HashMap<String, String> = HashMap::new();
    for (info, _) in newest.values() {
        for (name, value) in info.iter() {
            let named = wanted.is_empty() || wanted.iter().any(|matcher| matcher.name == name);
            if name == METRIC_NAME || !named || IDENTIFYING.contains(&name) || labels.get(name).is_some() {
                continue;
            }
            if added.insert(name.to_string(), value.to_string()).is_some_and(|other| other != value) {
                let message = format!("conflicting label: {name}");
                return Err(QueryError::evaluation(message, call.expr.span));
            }
            builder.set(name.to_string(), value);
        }
    }
    let lost = newest.is_empty() && wanted.iter().any(|matcher| !matcher.matches_value(""));
    Ok((!lost).then(|| builder.build()))
}
