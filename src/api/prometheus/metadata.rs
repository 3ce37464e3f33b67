//! `metadata`, `targets/metadata`: type, help and unit of metric families.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use serde_json::json;

use super::answer::{ApiError, Good, Packed, pack};
use super::params::Params;
use super::{Backend, Metadata};
use crate::model::MetricType;
use crate::query;

pub(super) async fn families(State(backend): State<Backend>, params: Params) -> Packed {
    let answer = || -> Result<Good, ApiError> {
        let (limit, each) = (params.limit("limit")?, params.limit("limit_per_metric")?);
        let wanted = params.get("metric");
        let mut families: BTreeMap<String, BTreeSet<(&'static str, String, String)>> = BTreeMap::new();
        for Metadata { family, kind, help, unit, .. } in backend.about.metadata() {
            if wanted.is_empty() || wanted == family {
                families.entry(family).or_default().insert((word(kind), help, unit));
            }
        }
        let entry = |(kind, help, unit)| json!({"type": kind, "help": help, "unit": unit});
        let families = families.into_iter().take(limit);
        let data: serde_json::Map<_, _> =
            families.map(|(name, all)| (name, all.into_iter().take(each).map(entry).collect())).collect();
        Ok(Good::from(serde_json::Value::from(data)))
    };
    pack(answer(), params.gzip)
}

pub(super) async fn of_targets(State(backend): State<Backend>, params: Params) -> Packed {
    let answer = || -> Result<Good, ApiError> {
        let limit = params.limit("limit")?;
        let wanted = params.get("metric");
        let matchers = match params.get("match_target") {
            "" => Vec::new(),
            text => {
                let expr = query::parse(text).map_err(|error| ApiError::parse("match_target", text, &error))?;
                query::selectors(&expr).into_iter().next().unwrap_or_default()
            }
        };
        let found = backend.about.metadata().into_iter().filter(|entry| {
            (wanted.is_empty() || wanted == entry.family)
                && matchers.iter().all(|matcher| matcher.matches(&entry.target))
        });
        let entry = |Metadata { target, family, kind, help, unit }| {
            let mut entry = json!({"target": target, "type": word(kind), "help": help, "unit": unit});
            // Named only where it was not asked for, as in Prometheus.
            if wanted.is_empty() {
                entry["metric"] = family.into();
            }
            entry
        };
        Ok(Good::from(serde_json::Value::from(found.take(limit).map(entry).collect::<Vec<_>>())))
    };
    pack(answer(), params.gzip)
}

fn word(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Info => "info",
        MetricType::Histogram => "histogram",
        MetricType::Summary => "summary",
        MetricType::Unknown => "unknown",
    }
}
