//! The evaluator: walks the tree once per step over series that were loaded once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use crate::model::Labels;
use crate::model::Point;
use crate::model::Series;
use crate::model::Source;
use crate::model::labels::METRIC_NAME;
use crate::model::series::is_stale;

use super::annotation::Notes;
use super::ast::{Edge, Expr, Node, Subquery};
use super::error::{QueryError, QueryErrorKind};
use super::length::MAX_MILLIS;
use super::load::{Clock, Loader, Track, key};
use super::memo::Memos;
use super::{Limits, aggregate, binary, functions, window};

/// One series of an instant vector while it is being computed.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub labels: Labels,
    pub v: f64,
    /// The name is removed only from the final answer, so that label functions still see it.
    pub drop_name: bool,
}

/// The value of a node at one time. Range vectors are read through [`Ranges`].
#[derive(Clone, Debug)]
pub(super) enum Eval {
    Scalar(f64),
    String(String),
    Vector(Vec<Sample>),
}

/// A range vector at one time: the series, and the window `start < t <= end` that counts.
pub(super) struct Ranges {
    pub tracks: Rc<Vec<Track>>,
    pub start: i64,
    pub end: i64,
    pub edge: Edge,
}

/// What is known of a subquery: its inner steps are evaluated once, however many windows share them.
#[derive(Default)]
struct Steps {
    gathered: Gathered,
    /// First and last inner step evaluated.
    known: Option<(i64, i64)>,
}

/// A subquery evaluates its inner expression at most so often per window: empty steps cost time, but no samples.
const MAX_SUBQUERY_STEPS: usize = 1_000_000;

/// One evaluation.
pub(super) struct Evaluator<'a> {
    pub clock: Clock,
    pub notes: Notes,
    limits: &'a Limits,
    samples: usize,
    tracks: HashMap<usize, Rc<Vec<Track>>>,
    subqueries: HashMap<usize, Steps>,
    /// By the address of an aggregation or a binary operator.
    pub memos: HashMap<usize, Memos>,
}

impl<'a> Evaluator<'a> {
    /// Loads the series for a query over `(start, end, step)`.
    pub(super) fn new(
        expr: &Expr,
        source: &'a dyn Source,
        (start, end, step): (i64, i64, i64),
        limits: &'a Limits,
    ) -> Result<Self, QueryError> {
        if [start, end].iter().any(|time| !(-MAX_MILLIS..=MAX_MILLIS).contains(time)) {
            return Err(QueryError::new(QueryErrorKind::Evaluation(
                "the time of the query is out of bounds".to_string(),
            )));
        }
        if step > 0 && (end - start) / step >= i64::try_from(limits.max_steps).unwrap_or(i64::MAX) {
            return Err(QueryError::new(QueryErrorKind::TooManySteps { limit: limits.max_steps }));
        }
        let lookback = i64::try_from(limits.lookback.as_millis()).unwrap_or(MAX_MILLIS).min(MAX_MILLIS);
        let clock = Clock { start, end, step, lookback };
        let mut loader = Loader { source, clock, limits, samples: 0, series: 0, tracks: HashMap::new() };
        loader.load(expr, start, end)?;
        let (samples, tracks) = (loader.samples, loader.tracks);
        Ok(Evaluator {
            clock,
            notes: Notes::default(),
            limits,
            samples,
            tracks,
            subqueries: HashMap::new(),
            memos: HashMap::new(),
        })
    }

    /// The value at one time.
    pub(super) fn eval(&mut self, expr: &Expr, at: i64) -> Result<Eval, QueryError> {
        match &expr.node {
            Node::Number(number) => Ok(Eval::Scalar(*number)),
            Node::String(text) => Ok(Eval::String(text.clone())),
            Node::Paren(inner) => self.eval(inner, at),
            Node::Vector(_) => {
                let sample = |(labels, point): (Labels, Point)| Sample { labels, v: point.v, drop_name: false };
                Ok(Eval::Vector(self.select(expr, at).into_iter().map(sample).collect()))
            }
            Node::Unary(negative, inner) => {
                let value = self.eval(inner, at)?;
                Ok(if *negative { negated(value) } else { value })
            }
            Node::Call(function, args) => functions::call(self, expr, function, args, at),
            Node::Aggregate(node) => aggregate::aggregate(self, node, at).map(Eval::Vector),
            Node::Binary(node) => binary::binary(self, expr, node, at),
            Node::Matrix(..) | Node::Subquery(_) => {
                Err(QueryError::typed("a range vector can only be a function's argument", expr.span))
            }
        }
    }

    /// A node whose type is scalar.
    pub(super) fn scalar(&mut self, expr: &Expr, at: i64) -> Result<f64, QueryError> {
        match self.eval(expr, at)? {
            Eval::Scalar(v) => Ok(v),
            _ => Err(QueryError::typed("expected a scalar", expr.span)),
        }
    }

    /// A node whose type is string.
    pub(super) fn string(&mut self, expr: &Expr, at: i64) -> Result<String, QueryError> {
        match self.eval(expr, at)? {
            Eval::String(text) => Ok(text),
            _ => Err(QueryError::typed("expected a string", expr.span)),
        }
    }

    /// A node whose type is instant vector.
    pub(super) fn vector(&mut self, expr: &Expr, at: i64) -> Result<Vec<Sample>, QueryError> {
        match self.eval(expr, at)? {
            Eval::Vector(samples) => Ok(samples),
            _ => Err(QueryError::typed("expected an instant vector", expr.span)),
        }
    }

    /// An instant selector: each series' newest point within the lookback, with that point's own time.
    pub(super) fn select(&self, expr: &Expr, at: i64) -> Vec<(Labels, Point)> {
        let Node::Vector(selector) = &expr.node else {
            return Vec::new();
        };
        let time = self.clock.shift(&selector.shift, at);
        let Some(tracks) = self.tracks.get(&key(expr)) else {
            return Vec::new();
        };
        let point = |track: &Track| match selector.edge {
            Edge::Smoothed => window::interpolate(&track.points, time, self.clock.lookback),
            _ => newest(&track.points, time, self.clock.lookback),
        };
        tracks.iter().filter_map(|track| Some((track.labels.clone(), point(track)?))).collect()
    }

    /// The series loaded under a key that is no selector's own.
    pub(super) fn loaded(&self, key: usize) -> Rc<Vec<Track>> {
        self.tracks.get(&key).cloned().unwrap_or_default()
    }

    /// A range selector or subquery at one time.
    pub(super) fn ranges(&mut self, expr: &Expr, at: i64) -> Result<Ranges, QueryError> {
        let expr = expr.bare();
        match &expr.node {
            Node::Matrix(selector, range) => {
                let end = self.clock.shift(&selector.shift, at);
                let start = end.saturating_sub(self.clock.range(range, expr)?);
                Ok(Ranges { tracks: self.loaded(key(expr)), start, end, edge: selector.edge })
            }
            Node::Subquery(subquery) => self.subquery(expr, subquery, at),
            _ => Err(QueryError::typed("expected a range vector", expr.span)),
        }
    }

    fn subquery(&mut self, expr: &Expr, subquery: &Subquery, at: i64) -> Result<Ranges, QueryError> {
        let end = self.clock.shift(&subquery.shift, at);
        let start = end.saturating_sub(self.clock.range(&subquery.range, expr)?);
        let step = self.clock.subquery_step(subquery.step.as_ref(), expr)?;
        // Steps stand on multiples of the step, whatever the query's own time is.
        let first = start.div_euclid(step).saturating_add(1).saturating_mul(step);
        if end.saturating_sub(first) / step >= MAX_SUBQUERY_STEPS as i64 {
            return Err(QueryError::new(QueryErrorKind::TooManySteps { limit: MAX_SUBQUERY_STEPS }).at(expr.span));
        }
        let mut steps = self.subqueries.remove(&key(expr)).unwrap_or_default();
        let mut next = match steps.known {
            Some((low, high)) if low <= first => first.max(high.saturating_add(step)),
            _ => {
                steps = Steps::default();
                first
            }
        };
        while next <= end {
            let samples = self.vector(&subquery.expr, next)?;
            self.count(samples.len().max(1)).map_err(|error| error.at(expr.span))?;
            steps.gathered.add(samples, next).map_err(|error| error.at(expr.span))?;
            steps.known = Some((steps.known.map_or(next, |(low, _)| low), next));
            next = next.saturating_add(step);
        }
        let tracks = steps.gathered.window(start, end);
        self.subqueries.insert(key(expr), steps);
        Ok(Ranges { tracks, start, end, edge: Edge::Plain })
    }

    fn count(&mut self, samples: usize) -> Result<(), QueryError> {
        self.samples += samples;
        if self.samples > self.limits.max_samples {
            return Err(QueryError::new(QueryErrorKind::TooManySamples { limit: self.limits.max_samples }));
        }
        Ok(())
    }

    /// The value of a range vector that is the whole query.
    pub(super) fn matrix(&mut self, expr: &Expr, at: i64) -> Result<Vec<Series>, QueryError> {
        let ranges = self.ranges(expr, at)?;
        let tracks = ranges.tracks.iter().map(|track| {
            let points = window::inside(&track.points, ranges.start, ranges.end).to_vec();
            Track { labels: track.labels.clone(), drop_name: track.drop_name, points }
        });
        merged(tracks.filter(|track| !track.points.is_empty()).collect()).map_err(|error| error.at(expr.span))
    }

    /// All steps of a range query.
    pub(super) fn steps(&mut self, expr: &Expr) -> Result<Vec<Series>, QueryError> {
        let mut gathered = Gathered::default();
        let mut at = self.clock.start;
        while at <= self.clock.end {
            let samples = match self.eval(expr, at)? {
                Eval::Scalar(v) => vec![Sample { labels: Labels::empty(), v, drop_name: false }],
                Eval::Vector(samples) => samples,
                Eval::String(_) => return Err(QueryError::typed("a string has no range", expr.span)),
            };
            self.count(samples.len()).map_err(|error| error.at(expr.span))?;
            gathered.add(samples, at).map_err(|error| error.at(expr.span))?;
            at = at.saturating_add(self.clock.step);
        }
        let tracks = Rc::unwrap_or_clone(gathered.tracks);
        merged(tracks).map_err(|error| error.at(expr.span))
    }
}

/// The newest point at or before `time`, unless it is too old or says that the series has ended.
pub(super) fn newest(points: &[Point], time: i64, lookback: i64) -> Option<Point> {
    let index = points.partition_point(|point| point.t <= time).checked_sub(1)?;
    points.get(index).copied().filter(|point| point.t > time.saturating_sub(lookback) && !is_stale(point.v))
}

fn negated(value: Eval) -> Eval {
    match value {
        Eval::Scalar(v) => Eval::Scalar(-v),
        Eval::Vector(mut samples) => {
            for sample in &mut samples {
                sample.v = -sample.v;
                sample.drop_name = true;
            }
            Eval::Vector(samples)
        }
        text @ Eval::String(_) => text,
    }
}

/// Series gathered step by step.
#[derive(Default)]
struct Gathered {
    tracks: Rc<Vec<Track>>,
    /// By labels, and whether the name goes: `m or -m` may give either at different steps.
    index: HashMap<(Labels, bool), usize>,
    /// Some labels occur with both.
    twins: bool,
}

impl Gathered {
    /// Adds one step's samples.
    fn add(&mut self, samples: Vec<Sample>, at: i64) -> Result<(), QueryError> {
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
                        tracks.push(Track { labels: labels.clone(), drop_name, points: Vec::new() });
                        entry.insert(tracks.len() - 1);
                        self.twins |= self.index.contains_key(&(labels, !drop_name));
                        tracks.len() - 1
                    }
                }
            };
            next = place + 1;
            let track = &mut tracks[place];
            if track.points.last().is_some_and(|last| last.t == at) {
                return Err(same_labels());
            }
            track.points.push(Point { t: at, v: sample.v });
        }
        Ok(())
    }

    /// The series for a window. Twins are one series there, whose name goes if it goes for any point inside.
    fn window(&self, start: i64, end: i64) -> Rc<Vec<Track>> {
        if !self.twins {
            return Rc::clone(&self.tracks);
        }
        let mut joined: Vec<Track> = Vec::new();
        let mut index: HashMap<&Labels, usize> = HashMap::new();
        for track in self.tracks.iter() {
            let points = window::inside(&track.points, start, end);
            if points.is_empty() {
                continue;
            }
            let place = *index.entry(&track.labels).or_insert_with(|| {
                joined.push(Track { labels: track.labels.clone(), drop_name: false, points: Vec::new() });
                joined.len() - 1
            });
            joined[place].drop_name |= track.drop_name;
            joined[place].points.extend_from_slice(points);
            joined[place].points.sort_by_key(|point| point.t);
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
    let mut seen = std::collections::HashSet::with_capacity(samples.len());
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
fn merged(tracks: Vec<Track>) -> Result<Vec<Series>, QueryError> {
    let mut series: Vec<Series> = Vec::with_capacity(tracks.len());
    let mut index: HashMap<Labels, usize> = HashMap::with_capacity(tracks.len());
    for track in tracks {
        let labels = if track.drop_name { without_name(&track.labels) } else { track.labels };
        match index.entry(labels.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(series.len());
                series.push(Series { labels, points: track.points });
            }
            Entry::Occupied(entry) => {
                let points = &mut series[*entry.get()].points;
                points.extend(track.points);
                points.sort_by_key(|point| point.t);
                if points.windows(2).any(|pair| pair[0].t == pair[1].t) {
                    return Err(same_labels());
                }
            }
        }
    }
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}
