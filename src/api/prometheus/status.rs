//! `status/…`: the daemon about itself.

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use serde_json::{Value, json};

use super::Backend;
use super::answer::{ApiError, ErrorType, Packed, pack};
use super::params::Params;
use super::targets::moment;
use super::work;
use crate::model::Source;
use crate::model::labels::METRIC_NAME;

/// The Prometheus whose API this is. Grafana asks for it, to know what it may use; ours stands in `davylamp`.
const SPOKEN: &str = "3.5.0";

pub(super) async fn build(params: Params) -> Packed {
    let data = json!({
        "version": SPOKEN,
        "davylamp": env!("CARGO_PKG_VERSION"),
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    });
    pack(Ok(data.into()), params.gzip)
}

pub(super) async fn config(State(backend): State<Backend>, params: Params) -> Packed {
    pack(Ok(json!({"yaml": backend.about.facts().config}).into()), params.gzip)
}

pub(super) async fn flags(State(backend): State<Backend>, params: Params) -> Packed {
    pack(Ok(json!(backend.about.facts().flags).into()), params.gzip)
}

pub(super) async fn runtime(State(backend): State<Backend>, params: Params) -> Packed {
    let facts = backend.about.facts();
    let folder = std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let data = json!({
        "startTime": moment(Some(facts.started)),
        "serverTime": moment(Some(backend.about.now())),
        "CWD": folder,
        "hostname": hostname.trim(),
        "reloadConfigSuccess": facts.reload_succeeded,
        "lastConfigTime": moment(Some(facts.configured)),
        "corruptionCount": 0,
        "goroutineCount": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        "GOMAXPROCS": threads,
        "GOMEMLIMIT": i64::MAX,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": facts.retention,
    });
    pack(Ok(data.into()), params.gzip)
}

/// Samples are there before the first request is answered.
pub(super) async fn replay(params: Params) -> Packed {
    pack(Ok(json!({"min": 0, "max": 0, "current": 0}).into()), params.gzip)
}

/// Longest list, where no limit is asked for.
const LISTED: usize = 10;

pub(super) async fn samples(State(backend): State<Backend>, params: Params) -> Packed {
    let facts = backend.about.facts();
    work::run(&backend, params, move |job| {
        let limit = match job.params.get("limit") {
            "" => LISTED,
            text => match text.parse() {
                Ok(limit) if limit > 0 => limit,
                _ => return Err(ApiError::bad("limit must be a positive number")),
            },
        };
        // As in Prometheus, the head alone: what is on disk takes no memory.
        let all = job.source.series(&[], facts.oldest, i64::MAX / 2);
        let all = all.map_err(|error| ApiError::new(ErrorType::Execution, error.to_string()))?;
        let (mut names, mut pairs) = (HashMap::<&str, usize>::new(), HashMap::<(&str, &str), usize>::new());
        let mut values: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for (name, value) in all.iter().flat_map(|labels| labels.iter()) {
            if name == METRIC_NAME {
                *names.entry(value).or_default() += 1;
            }
            *pairs.entry((name, value)).or_default() += 1;
            values.entry(name).or_default().insert(value);
        }
        let bytes = |(name, values): (&&str, &BTreeSet<&str>)| {
            (name.to_string(), values.iter().map(|value| value.len() + name.len()).sum())
        };
        Ok(json!({
            "headStats": {
                "numSeries": all.len(),
                "numLabelPairs": pairs.len(),
                // Each series is one column.
                "chunkCount": all.len(),
                "minTime": facts.oldest,
                "maxTime": job.now,
            },
            "seriesCountByMetricName": most(names.iter().map(|(name, count)| (name.to_string(), *count)), limit),
            "labelValueCountByLabelName": most(values.iter().map(|(name, all)| (name.to_string(), all.len())), limit),
            "memoryInBytesByLabelName": most(values.iter().map(bytes), limit),
            "seriesCountByLabelValuePair":
                most(pairs.iter().map(|((name, value), count)| (format!("{name}={value}"), *count)), limit),
        })
        .into())
    })
    .await
}

/// The largest counts first.
fn most(counts: impl Iterator<Item = (String, usize)>, limit: usize) -> Vec<Value> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.into_iter().take(limit).map(|(name, value)| json!({"name": name, "value": value})).collect()
}
