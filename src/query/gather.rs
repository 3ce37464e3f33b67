//! Samples of many steps → series, and the late removal of metric names that this needs.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, Point, Series};

use super::error::{QueryError, QueryErrorKind};
use super::eval::Sample;
use super::load::Track;
use super::window;

/// Series gathered step by step.
#[derive(Default)]
pub(super) struct Gathered {
    pub tracks: Rc<Vec<Track>>,
    /// By labels, and whether the name goes: `m or -m` may give either at different steps.
    index: HashMap<(Labels, bool), usize>,
    /// Some labels occur with both.
    twins: bool,
}

impl Gathered {
    /// Adds one step's samples.
    pub(super) fn add(&mut self, samples: Vec<Sample>, at: i64) -> Result<(), QueryError> {
        let tracks = Rc::make_mut(&mut self.tracks);
        // Samples mostly come in the order of the step before; comparing shared labels is cheaper than hashing them.
        let mut next = 0;
        for sample in samples {
            let drop_name = sample.drop_name;
            let expected = tracks.get(next).is_some_and(|t| t.labels == sample.labels && t.drop_name == drop_name);
            let place = if expected {
                next
            } else {
                match self.index.entry((sample.labels, drop_name)) {
                    Entry::Occupied(entry) => *entry.get(),
                    Entry::Vacant(entry) => {
                        let labels = entry.key().0.clone();
                        tracks.push(Track::empty(labels.clone(), drop_name));
                        entry.insert(tracks.len() - 1);
                        self.twins |= self.index.contains_key(&(labels, !drop_name));
                        tracks.len() - 1
                    }
                }
            };
            next = place + 1;
            let track = &mut tracks[place];
            if track.last() == Some(at) {
                return Err(same_labels());
            }
            match sample.h {
                Some(histogram) => track.histograms.push((at, histogram)),
                None => track.points.push(Point { t: at, v: sample.v }),
            }
        }
        Ok(())
    }

    /// The series for a window. Twins are one series there, whose name goes if it goes for any point inside.
    pub(super) fn window(&self, start: i64, end: i64) -> Rc<Vec<Track>> {
        if !self.twins {
            return Rc::clone(&self.tracks);
        }
        let mut joined: Vec<Track> = Vec::new();
        let mut index: HashMap<&Labels, usize> = HashMap::new();
        for track in self.tracks.iter() {
            let points = window::inside(&track.points, start, end);
            let histograms = window::inside(&track.histograms, start, end);
            if points.is_empty() && histograms.is_empty() {
                continue;
            }
            let place = *index.entry(&track.labels).or_insert_with(|| {
                joined.push(Track::empty(track.labels.clone(), false));
                joined.len() - 1
            });
            joined[place].drop_name |= track.drop_name;
            joined[place].points.extend_from_slice(points);
            joined[place].points.sort_by_key(|point| point.t);
            joined[place].histograms.extend_from_slice(histograms);
            joined[place].histograms.sort_by_key(|(t, _)| *t);
        }
        Rc::new(joined)
    }
}

/// The error for two series that an operation made equal.
pub(super) fn same_labels() -> QueryError {
    let message = "vector cannot contain metrics with the same labelset".to_string();
    QueryError::new(QueryErrorKind::Evaluation(message))
        .hint("series that differ only in their metric name become equal when it is dropped")
}

/// The labels that a dropped name takes along: with it, type and unit describe something that no longer exists.
pub(super) fn is_metadata(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// Labels without the metric name and what belongs to it.
pub(super) fn without_name(labels: &Labels) -> Labels {
    if labels.iter().any(|(name, _)| is_metadata(name)) {
        labels.filter(|name| !is_metadata(name))
    } else {
        labels.clone()
    }
}

/// Removes the names marked for it; series that become equal are an error.
pub(super) fn drop_names(mut samples: Vec<Sample>) -> Result<Vec<Sample>, QueryError> {
    let mut seen = HashSet::with_capacity(samples.len());
    for sample in &mut samples {
        if sample.drop_name {
            sample.labels = without_name(&sample.labels);
        }
        if !seen.insert(sample.labels.clone()) {
            return Err(same_labels());
        }
    }
    Ok(samples)
}

/// The final series: names removed, series that became equal merged where their points do not collide, sorted.
pub(super) fn merged(tracks: Vec<Track>) -> Result<Vec<Series>, QueryError> {
    let mut series: Vec<Series> = Vec::with_capacity(tracks.len());
    let mut index: HashMap<Labels, usize> = HashMap::with_capacity(tracks.len());
    for track in tracks {
        let labels = if track.drop_name { without_name(&track.labels) } else { track.labels };
        match index.entry(labels.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(series.len());
                series.push(Series { histograms: track.histograms, ..Series::floats(labels, track.points) });
            }
            Entry::Occupied(entry) => {
                let known = &mut series[*entry.get()];
                known.points.extend(track.points);
                known.points.sort_by_key(|point| point.t);
                known.histograms.extend(track.histograms);
                known.histograms.sort_by_key(|(t, _)| *t);
                let points = known.points.iter().map(|point| point.t);
                let mut times: Vec<i64> = points.chain(known.histograms.iter().map(|(t, _)| *t)).collect();
                times.sort_unstable();
                if times.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(same_labels());
                }
            }
        }
    }
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}
