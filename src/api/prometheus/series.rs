//! `series`, `labels`, `label/<name>/values`: which series there are, and what they are called.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use serde_json::json;

use super::Backend;
use super::answer::{ApiError, ErrorType, Good, Packed, pack};
use super::json;
use super::params::Params;
use super::work::{self, Job};
use crate::model::{Labels, Source};

pub(super) async fn series(State(backend): State<Backend>, params: Params) -> Packed {
    work::run(&backend, params, |job| {
        if job.params.all("match[]").next().is_none() {
            return Err(ApiError::bad("no match[] parameter provided"));
        }
        let found: BTreeSet<Labels> = found(job)?.into_iter().collect();
        let mut good = Good::default();
        let limit = job.params.limit("limit")?;
        json::list(&mut good.data, found.iter().take(limit), json::labels);
        if found.len() > limit {
            good.truncated();
        }
        Ok(good)
    })
    .await
}

pub(super) async fn names(State(backend): State<Backend>, params: Params) -> Packed {
    work::run(&backend, params, |job| {
        let found = found(job)?;
        words(job, found.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect())
    })
    .await
}

pub(super) async fn values(State(backend): State<Backend>, Path(name): Path<String>, params: Params) -> Packed {
    if name.is_empty() {
        return pack(Err(ApiError::bad("invalid label name: \"\"")), params.gzip);
    }
    work::run(&backend, params, move |job| {
        let found = found(job)?;
        words(job, found.iter().filter_map(|labels| labels.get(&name)).collect())
    })
    .await
}

/// How far back is looked where nobody says: to open a month of partitions for a list of names takes seconds, and what
/// was not there for a day is hardly what is looked for.
const LOOK_BACK: i64 = 86_400_000;

/// The label sets that any selector finds; all of them without a selector.
fn found(job: &Job) -> Result<Vec<Labels>, ApiError> {
    let (start, end) = job.params.span()?;
    // Nothing was measured before 1970; a source may count with its bounds.
    let end = end.clamp(0, i64::MAX / 2);
    let start = if start == i64::MIN { end.min(job.now).saturating_sub(LOOK_BACK) } else { start }.max(0);
    let mut selectors = job.params.matchers()?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let mut all = Vec::new();
    for matchers in selectors {
        let found = job.source.series(&matchers, start, end);
        all.extend(found.map_err(|error| ApiError::new(ErrorType::Execution, error.to_string()))?);
    }
    Ok(all)
}

fn words(job: &Job, words: BTreeSet<&str>) -> Result<Good, ApiError> {
    let limit = job.params.limit("limit")?;
    let mut good = Good::from(json!(words.iter().take(limit).collect::<Vec<_>>()));
    if words.len() > limit {
        good.truncated();
    }
    Ok(good)
}
