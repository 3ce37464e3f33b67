//! Turns the elements of an expression into what a rule makes of them: alerts, recorded series, `ALERTS`.

use std::collections::BTreeSet;

use crate::model::AlertState;
use crate::model::Labels;
use crate::model::labels::METRIC_NAME;
use crate::query;
use crate::query::QueryError;
use crate::query::Value;
use crate::query::VectorSample;

use super::rule::AlertRule;
use super::rule::Rule;
use super::state::Input;
use super::step::ActiveAlerts;
use super::step::Candidate;
use super::template::Lookup;
use super::template::LookupError;
use super::template::Scope;
use super::trace::RuleError;

/// The function `query` of templates: at the time of the evaluation, with the rule's own limits.
struct Querier<'a> {
    input: &'a Input<'a>,
    at: i64,
}

impl Lookup for Querier<'_> {
    fn query(&self, expression: &str) -> Result<Vec<(Labels, f64)>, LookupError> {
        let refused = |error: QueryError| LookupError(error.to_string());
        let expr = query::parse(expression).map_err(refused)?;
        let limits = &self.input.settings.limits;
        match query::instant(&expr, self.input.source, self.at, limits).map_err(refused)?.value {
            Value::Vector(elements) => Ok(elements.into_iter().map(|element| (element.labels, element.v)).collect()),
            Value::Scalar(point) => Ok(vec![(Labels::empty(), point.v)]),
            Value::String(..) | Value::Matrix(_) => Err(LookupError("the query gives no vector and no scalar".into())),
        }
    }
}

/// Expands one element's labels and annotations.
pub(super) fn candidate(
    rule: &Rule,
    alert: &AlertRule,
    input: &Input<'_>,
    at: i64,
    element: &VectorSample,
) -> Candidate {
    let settings = input.settings;
    let scope = Scope {
        labels: &element.labels,
        value: element.v,
        external_labels: &settings.external_labels,
        external_url: &settings.external_url,
        at: input.at,
        lookup: &Querier { input, at },
    };
    let own = |name: &str| alert.labels.iter().any(|(own, _)| own == name);
    let kept = element.labels.filter(|name| name != METRIC_NAME && name != "alertname" && !own(name));
    let set = alert.labels.iter().map(|(name, template)| (name.as_str(), template.expand_or_error(&scope)));
    let labels = kept.merge(&Labels::new(set.chain([("alertname", rule.name.clone())])));
    let annotations = alert.annotations.iter().map(|(name, template)| (name.clone(), template.expand_or_error(&scope)));
    Candidate { labels, annotations: Labels::new(annotations), value: element.v }
}

/// The series of a recording rule.
pub(super) fn record(
    rule: &Rule,
    set: &[(String, String)],
    input: &Input<'_>,
    at: i64,
    elements: Vec<VectorSample>,
) -> Result<Vec<VectorSample>, RuleError> {
    let (limit, count) = (input.limit, elements.len());
    if limit > 0 && count > limit {
        return Err(RuleError::Limit { count, limit });
    }
    let mut seen = BTreeSet::new();
    let mut samples = Vec::with_capacity(count);
    for element in elements {
        let mut labels = element.labels.edit();
        labels.set(METRIC_NAME, rule.name.as_str());
        for (name, value) in set {
            labels.set(name.clone(), value.as_str());
        }
        let labels = labels.build();
        if !seen.insert(labels.clone()) {
            return Err(RuleError::DuplicateSeries(labels));
        }
        samples.push(VectorSample { labels, t: at, v: element.v, h: element.h.clone() });
    }
    Ok(samples)
}

/// `ALERTS` and `ALERTS_FOR_STATE` of the alerts that are pending or firing.
#[allow(clippy::cast_precision_loss, reason = "whole seconds since the epoch, as Prometheus writes them")]
pub(super) fn alert_samples(active: &ActiveAlerts, at: i64) -> Vec<VectorSample> {
    let of_state = |state: AlertState| Labels::new([(METRIC_NAME, "ALERTS"), ("alertstate", state.as_str())]);
    let (pending, firing) = (of_state(AlertState::Pending), of_state(AlertState::Firing));
    let since = Labels::new([(METRIC_NAME, "ALERTS_FOR_STATE")]);
    let mut samples = Vec::new();
    for alert in active.values() {
        let state = match alert.state {
            AlertState::Pending => &pending,
            AlertState::Firing => &firing,
            AlertState::Resolved => continue,
        };
        samples.push(VectorSample::float(alert.labels.merge(state), at, 1.0));
        let active_at = alert.active_at.div_euclid(1000) as f64;
        samples.push(VectorSample::float(alert.labels.merge(&since), at, active_at));
    }
    samples
}
