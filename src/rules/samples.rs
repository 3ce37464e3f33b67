//! Samples in memory: what tests of rules and replays evaluate on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::Labels;
use crate::model::MatchOp;
use crate::model::Matcher;
use crate::model::Point;
use crate::model::Series;
use crate::model::Source;
use crate::model::SourceError;
use crate::model::Starts;
use crate::model::histogram::FloatHistogram;
use crate::model::labels::METRIC_NAME;
use crate::query::VectorSample;
use crate::query::notation::Item;

/// Series by metric name, then by labels.
#[derive(Clone, Debug, Default)]
pub struct Samples(BTreeMap<String, BTreeMap<Labels, Track>>);

#[derive(Clone, Debug, Default)]
struct Track {
    points: Vec<Point>,
    histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

impl Samples {
    /// Adds one number; of two samples for one series and time the later call wins.
    pub fn push(&mut self, labels: &Labels, t: i64, v: f64) {
        let track = self.track(labels);
        track.histograms.retain(|(at, _)| *at != t);
        insert(&mut track.points, Point { t, v }, |point| point.t);
    }

    /// Adds one native histogram.
    pub fn push_histogram(&mut self, labels: &Labels, t: i64, histogram: Arc<FloatHistogram>) {
        let track = self.track(labels);
        track.points.retain(|point| point.t != t);
        insert(&mut track.histograms, (t, histogram), |(t, _)| *t);
    }

    /// Adds the value at `index` of a series in the notation of tests.
    pub fn push_item(&mut self, labels: &Labels, t: i64, item: &Item) {
        match item {
            Item::Gap => {}
            Item::Float(v) => self.push(labels, t, *v),
            Item::Histogram(histogram) => self.push_histogram(labels, t, histogram.clone()),
        }
    }

    /// Adds what an evaluation recorded.
    pub fn extend(&mut self, samples: &[VectorSample]) {
        for sample in samples {
            match &sample.h {
                Some(histogram) => self.push_histogram(&sample.labels, sample.t, histogram.clone()),
                None => self.push(&sample.labels, sample.t, sample.v),
            }
        }
    }

    /// Forgets what is older than `t`, so that a long replay takes the memory of its rules' windows only.
    pub fn forget_before(&mut self, t: i64) {
        for family in self.0.values_mut() {
            family.retain(|_, track| {
                track.points.drain(..track.points.partition_point(|point| point.t < t));
                track.histograms.drain(..track.histograms.partition_point(|(at, _)| *at < t));
                !track.points.is_empty() || !track.histograms.is_empty()
            });
        }
    }

    fn track(&mut self, labels: &Labels) -> &mut Track {
        let name = labels.name().unwrap_or_default().to_string();
        self.0.entry(name).or_default().entry(labels.clone()).or_default()
    }
}

/// Keeps a list sorted by time. Samples come in order, so it is nearly always the end.
fn insert<T>(list: &mut Vec<T>, item: T, time: impl Fn(&T) -> i64) {
    let t = time(&item);
    let place = list.partition_point(|known| time(known) < t);
    match list.get_mut(place).filter(|known| time(known) == t) {
        Some(same) => *same = item,
        None => list.insert(place, item),
    }
}

/// The part of a sorted list whose times lie in `start..=end`.
pub(super) fn cut<T: Clone>(list: &[T], start: i64, end: i64, time: impl Fn(&T) -> i64) -> Vec<T> {
    let (from, to) = (list.partition_point(|x| time(x) < start), list.partition_point(|x| time(x) <= end));
    list.get(from..to).unwrap_or_default().to_vec()
}

impl Source for Samples {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let name = matchers.iter().find(|matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal);
        let families: Vec<&BTreeMap<Labels, Track>> = match name {
            Some(matcher) => self.0.get(&matcher.value).into_iter().collect(),
            None => self.0.values().collect(),
        };
        let hits = families.into_iter().flatten().filter(|(labels, _)| matchers.iter().all(|m| m.matches(labels)));
        let series = hits.map(|(labels, track)| Series {
            labels: labels.clone(),
            points: cut(&track.points, start, end, |point| point.t),
            histograms: cut(&track.histograms, start, end, |(t, _)| *t),
            starts: Starts::default(),
        });
        Ok(series.filter(|series| !series.points.is_empty() || !series.histograms.is_empty()).collect())
    }
}
