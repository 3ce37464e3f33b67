//! `query`, `query_range`, `format_query`, `parse_query`: PromQL.

use std::time::{Duration, Instant};

use axum::extract::State;
use serde_json::json;

use super::Backend;
use super::answer::{ApiError, Good, Packed, pack};
use super::json;
use super::params::Params;
use super::work::{self, Job};
use crate::query::{self, Answer, Expr, Limits, Value, ValueType};

/// Steps between the first and the last point, as in Prometheus.
const MAX_STEPS: i64 = 11_000;

pub(super) async fn instant(State(backend): State<Backend>, params: Params) -> Packed {
    work::run(&backend, params, |job| {
        let limit = job.params.limit("limit")?;
        let at = job.params.time("time")?.unwrap_or(job.now);
        let limits = limits(job)?;
        let (text, expr) = parsed(&job.params)?;
        answer(job, text, limit, || query::instant(&expr, &job.source, at, &limits))
    })
    .await
}

pub(super) async fn range(State(backend): State<Backend>, params: Params) -> Packed {
    work::run(&backend, params, |job| {
        let limit = job.params.limit("limit")?;
        let (start, end) = (job.params.needed_time("start")?, job.params.needed_time("end")?);
        if end < start {
            return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
        }
        let step = job.params.needed_duration("step")?;
        if step <= 0 {
            let text = "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(ApiError::parameter("step", text));
        }
        if end.saturating_sub(start) / step > MAX_STEPS {
            let text = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
                        resolution (?step=XX)";
            return Err(ApiError::bad(text));
        }
        let limits = limits(job)?;
        let (text, expr) = parsed(&job.params)?;
        let wrong = match expr.value_type() {
            ValueType::Matrix => Some("range vector"),
            ValueType::String => Some("string"),
            ValueType::Scalar | ValueType::Vector => None,
        };
        if let Some(got) = wrong {
            let text = format!("invalid expression type {got:?} for range query, must be Scalar or instant Vector");
            return Err(ApiError::parameter("query", text));
        }
        answer(job, text, limit, || query::range(&expr, &job.source, start, end, step, &limits))
    })
    .await
}

/// The daemon keeps no exemplars; Grafana asks for them all the same.
pub(super) async fn exemplars(params: Params) -> Packed {
    let checked = || {
        params.span()?;
        parsed(&params)?;
        Ok(Good::from(json!([])))
    };
    pack(checked(), params.gzip)
}

pub(super) async fn format(params: Params) -> Packed {
    pack(parsed(&params).map(|(_, expr)| Good::from(json!(query::format(&expr)))), params.gzip)
}

pub(super) async fn parse(params: Params) -> Packed {
    pack(parsed(&params).map(|(_, expr)| Good::from(query::tree(&expr))), params.gzip)
}

fn parsed(params: &Params) -> Result<(&str, Expr), ApiError> {
    let text = params.get("query");
    query::parse(text).map(|expr| (text, expr)).map_err(|error| ApiError::parse("query", text, &error))
}

fn limits(job: &Job) -> Result<Limits, ApiError> {
    let mut limits = job.limits;
    // Both ends count.
    limits.max_steps = usize::try_from(MAX_STEPS + 1).unwrap_or(usize::MAX);
    match job.params.duration("lookback_delta")? {
        None => {}
        Some(millis) => match u64::try_from(millis) {
            Ok(millis) if millis > 0 => limits.lookback = Duration::from_millis(millis),
            _ => return Err(ApiError::parameter("lookback_delta", "it must be longer than nothing")),
        },
    }
    Ok(limits)
}

fn answer(
    job: &Job,
    text: &str,
    limit: usize,
    work: impl FnOnce() -> Result<Answer, query::QueryError>,
) -> Result<Good, ApiError> {
    let begun = Instant::now();
    let Answer { mut value, annotations } = work().map_err(|error| ApiError::execution(text, &error))?;
    let took = begun.elapsed();
    let mut good = Good::default();
    good.annotate(&annotations, text);
    if truncate(&mut value, limit) {
        good.truncated();
    }
    good.data.push('{');
    json::value(&mut good.data, &value);
    if !job.params.get("stats").is_empty() {
        good.data.push_str(&format!(",\"stats\":{}", stats(job, took)));
    }
    good.data.push('}');
    Ok(good)
}

/// Cuts a list of series; says whether there was anything to cut.
fn truncate(value: &mut Value, limit: usize) -> bool {
    fn cut<T>(list: &mut Vec<T>, limit: usize) -> bool {
        let cuts = list.len() > limit;
        list.truncate(limit);
        cuts
    }
    match value {
        Value::Vector(samples) => cut(samples, limit),
        Value::Matrix(series) => cut(series, limit),
        Value::Scalar(_) | Value::String(..) => false,
    }
}

/// Every sample is read before the first step, and stays: those that were read are also those held at the peak.
fn stats(job: &Job, took: Duration) -> serde_json::Value {
    let (queued, took, samples) = (job.queued.as_secs_f64(), took.as_secs_f64(), job.source.loaded());
    json!({
        "timings": {
            "evalTotalTime": took,
            "resultSortTime": 0,
            "queryPreparationTime": 0,
            "innerEvalTime": took,
            "execQueueTime": queued,
            "execTotalTime": queued + took,
        },
        "samples": {"totalQueryableSamples": samples, "peakSamples": samples},
    })
}
