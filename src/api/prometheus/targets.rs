//! `targets`, `scrape_pools`, `alertmanagers`: what is polled, in the shape of Prometheus' targets, and who is told.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::answer::{ApiError, Good, Packed, pack};
use super::params::Params;
use super::{Backend, Target};

pub(super) async fn targets(State(backend): State<Backend>, params: Params) -> Packed {
    let answer = || -> Result<Good, ApiError> {
        let (state, pool) = (params.get("state").to_ascii_lowercase(), params.get("scrapePool"));
        let active = match state.as_str() {
            "" | "any" | "active" => backend.about.targets(),
            "dropped" => Vec::new(),
            _ => return Err(ApiError::parameter("state", format_args!("{state:?} is not any, active or dropped"))),
        };
        let mut dropped: BTreeMap<&str, usize> = BTreeMap::new();
        if state != "active" {
            dropped.extend(active.iter().map(|target| (target.pool.as_str(), 0)));
        }
        let shown: Vec<Value> =
            active.iter().filter(|target| pool.is_empty() || pool == target.pool).map(target).collect();
        // What the configuration names is polled: nothing is discovered and then dropped.
        Ok(json!({"activeTargets": shown, "droppedTargets": [], "droppedTargetCounts": dropped}).into())
    };
    pack(answer(), params.gzip)
}

pub(super) async fn pools(State(backend): State<Backend>, params: Params) -> Packed {
    let pools: BTreeSet<String> = backend.about.targets().into_iter().map(|target| target.pool).collect();
    pack(Ok(json!({"scrapePools": pools}).into()), params.gzip)
}

pub(super) async fn alertmanagers(State(backend): State<Backend>, params: Params) -> Packed {
    let active: Vec<Value> = backend.about.alertmanagers().into_iter().map(|url| json!({"url": url})).collect();
    pack(Ok(json!({"activeAlertmanagers": active, "droppedAlertmanagers": []}).into()), params.gzip)
}

fn target(target: &Target) -> Value {
    json!({
        "discoveredLabels": {"__address__": target.address, "job": target.pool},
        "labels": target.labels,
        "scrapePool": target.pool,
        "scrapeUrl": target.address,
        "globalUrl": target.address,
        "lastError": target.error,
        "lastScrape": moment(target.polled),
        "lastScrapeDuration": target.took,
        "health": match target.up {
            None => "unknown",
            Some(true) => "up",
            Some(false) => "down",
        },
        "scrapeInterval": target.interval,
        "scrapeTimeout": target.timeout,
    })
}

/// RFC 3339; what never happened is Go's zero time.
pub(super) fn moment(millis: Option<i64>) -> String {
    let at = millis.and_then(DateTime::from_timestamp_millis);
    at.map_or("0001-01-01T00:00:00Z".to_string(), |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
