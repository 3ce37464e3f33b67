//! All samples there are: the recent window and, where that does not reach, the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::history::History;
use super::recent::Recent;
use crate::model::{Labels, Matcher, Series, Source, SourceError};

/// Recent samples and history as one [`Source`]. What reaches back beyond the window reads files: never on a thread of
/// the runtime, always within `spawn_blocking`.
#[derive(Clone)]
pub struct Samples {
    recent: Arc<Recent>,
    history: Option<Arc<History>>,
}

impl Samples {
    /// The window alone, or with a history.
    pub fn new(recent: Arc<Recent>, history: Option<Arc<History>>) -> Self {
        Samples { recent, history }
    }

    /// The recent window.
    pub fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// The history, if one is kept.
    pub fn history(&self) -> Option<&Arc<History>> {
        self.history.as_ref()
    }

    /// The history, if the window does not hold everything from `start` on.
    fn beyond(&self, start: i64) -> Option<&Arc<History>> {
        self.history.as_ref().filter(|_| start < self.recent.complete_since())
    }
}

impl Source for Samples {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let recent = self.recent.select(matchers, start, end)?;
        let Some(history) = self.beyond(start) else { return Ok(recent) };
        let limit = self.recent.limits().points_per_query;
        let past = history.select(matchers, start, end, limit)?;
        let mut all: BTreeMap<Labels, Series> =
            past.into_iter().map(|series| (series.labels.clone(), series)).collect();
        for series in recent {
            match all.get_mut(&series.labels) {
                Some(known) => append(known, series),
                None => drop(all.insert(series.labels.clone(), series)),
            }
        }
        let loaded: usize = all.values().map(|series| series.points.len() + series.histograms.len()).sum();
        if loaded > limit { Err(SourceError::TooManySamples { limit }) } else { Ok(all.into_values().collect()) }
    }

    fn series(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Labels>, SourceError> {
        let recent = self.recent.series(matchers, start, end)?;
        let Some(history) = self.beyond(start) else { return Ok(recent) };
        let mut all: BTreeSet<Labels> = history.series(matchers, start, end)?.into_iter().collect();
        all.extend(recent);
        Ok(all.into_iter().collect())
    }
}

/// Adds samples to a series that has others already, in order and without doubles; of two at one time the new one stays.
pub(super) fn append(series: &mut Series, next: Series) {
    let first = [next.points.first().map(|point| point.t), next.histograms.first().map(|(t, _)| *t)];
    if let Some(first) = first.into_iter().flatten().min() {
        series.starts.follow(first, &next.starts);
    }
    merge(&mut series.points, next.points, |point| point.t);
    merge(&mut series.histograms, next.histograms, |(t, _)| *t);
    // Of a number and a histogram at one time only one is there.
    if !series.points.is_empty() && !series.histograms.is_empty() {
        let times: BTreeSet<i64> = series.histograms.iter().map(|(t, _)| *t).collect();
        series.points.retain(|point| !times.contains(&point.t));
    }
}

fn merge<T>(known: &mut Vec<T>, new: Vec<T>, time: impl Fn(&T) -> i64) {
    let follows = match (known.last(), new.first()) {
        (Some(last), Some(first)) => time(last) < time(first),
        _ => true,
    };
    if follows {
        return known.extend(new);
    }
    // Stable, and the new ones first.
    let mut all = new;
    all.append(known);
    all.sort_by_key(&time);
    all.dedup_by_key(|item| time(item));
    *known = all;
}
