//! The evaluator: walks the tree once per step over series that were loaded once.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::histogram::ResetHint;
use crate::model::{FloatHistogram, Labels, Series, Source, SourceError};

use super::annotation::{Notes, Remarks};
use super::ast::{Edge, Expr, Node, Subquery};
use super::error::{QueryError, QueryErrorKind};
use super::gather::{Gathered, merged};
use super::length::MAX_MILLIS;
use super::load::{Clock, Loader, Track, key, weight};
use super::memo::Memos;
use super::{Limits, aggregate, binary, functions, native, rate, window};

/// One series of an instant vector while it is being computed.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub labels: Labels,
    /// The number; NaN where there is a histogram.
    pub v: f64,
    pub h: Option<Arc<FloatHistogram>>,
    /// The name is removed only from the final answer, so that label functions still see it.
    pub drop_name: bool,
}

impl Sample {
    pub(super) fn float(labels: Labels, v: f64, drop_name: bool) -> Self {
        Sample { labels, v, h: None, drop_name }
    }

    pub(super) fn new(labels: Labels, datum: Datum, drop_name: bool) -> Self {
        match datum {
            Datum::Float(v) => Sample { labels, v, h: None, drop_name },
            Datum::Histogram(h) => Sample { labels, v: f64::NAN, h: Some(h), drop_name },
        }
    }
}

/// What a sample holds.
#[derive(Clone, Debug)]
pub(super) enum Datum {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
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

/// How often each of [`Limits::max_samples`] may be read, on average, by overlapping windows: some ten seconds of work.
const VISITS_PER_SAMPLE: usize = 100;

/// The watch is read after so many nodes: one of them can take milliseconds over many series, none takes seconds.
const TICKS: u32 = 16;

/// One evaluation.
pub(super) struct Evaluator<'a> {
    pub clock: Clock,
    pub notes: Notes,
    source: &'a dyn Source,
    limits: &'a Limits,
    /// When the evaluation has to be done.
    deadline: Option<Instant>,
    /// Nodes evaluated; the watch is read every so often.
    ticks: u32,
    samples: usize,
    visited: usize,
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
        let millis = |length: Duration| i64::try_from(length.as_millis()).unwrap_or(MAX_MILLIS).min(MAX_MILLIS);
        let lookback = millis(limits.lookback);
        let deadline = Instant::now().checked_add(limits.time);
        let default_step = millis(limits.subquery_step).max(1);
        let clock = Clock { start, end, step, lookback, default_step };
        let mut loader = Loader { source, clock, limits, samples: 0, series: 0, tracks: HashMap::new(), stats: false };
        loader.load(expr, start, end)?;
        let (samples, tracks) = (loader.samples, loader.tracks);
        Ok(Evaluator {
            clock,
            notes: Notes::default(),
            source,
            limits,
            deadline,
            ticks: 0,
            samples,
            visited: 0,
            tracks,
            subqueries: HashMap::new(),
            memos: HashMap::new(),
        })
    }

    /// The value at one time.
    pub(super) fn eval(&mut self, expr: &Expr, at: i64) -> Result<Eval, QueryError> {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS) {
            self.watch().map_err(|error| error.at(expr.span))?;
        }
        match &expr.node {
            Node::Number(number) => Ok(Eval::Scalar(*number)),
            Node::String(text) => Ok(Eval::String(text.clone())),
            Node::Paren(inner) => self.eval(inner, at),
            Node::Vector(_) => Ok(Eval::Vector(self.select(expr, at).into_iter().map(|(_, sample)| sample).collect())),
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

    /// Whether it may go on.
    fn watch(&self) -> Result<(), QueryError> {
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(QueryError::new(QueryErrorKind::TooSlow { limit: self.limits.time }));
        }
        if self.source.interrupted() { Err(SourceError::Interrupted.into()) } else { Ok(()) }
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

    /// An instant selector: each series' newest sample within the lookback, with that sample's own time.
    pub(super) fn select(&mut self, expr: &Expr, at: i64) -> Vec<(i64, Sample)> {
        let Node::Vector(selector) = &expr.node else {
            return Vec::new();
        };
        let time = self.clock.shift(&selector.shift, at);
        let lookback = self.clock.lookback;
        let tracks = self.loaded(key(expr));
        let mut remarks = Remarks::default();
        let pick = |track: &Track| {
            let (t, datum) = match selector.edge {
                Edge::Smoothed => (time, rate::smoothed_at(track, time, lookback, &mut remarks)?),
                _ => track.newest(time, lookback)?,
            };
            Some((t, Sample::new(track.labels.clone(), datum, false)))
        };
        let picked = tracks.iter().filter_map(pick).collect();
        self.notes.take(remarks, expr.span);
        picked
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
            let mut samples = self.vector(&subquery.expr, next)?;
            samples.iter_mut().for_each(forget_hint);
            self.count(weighed(&samples).max(1)).map_err(|error| error.at(expr.span))?;
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

    /// Counts samples read from windows: steps times window length is not bounded by the samples loaded.
    pub(super) fn visit(&mut self, samples: usize) -> Result<(), QueryError> {
        self.visited = self.visited.saturating_add(samples);
        let limit = self.limits.max_samples.saturating_mul(VISITS_PER_SAMPLE);
        if self.visited > limit {
            return Err(QueryError::new(QueryErrorKind::TooMuchWork { limit }));
        }
        Ok(())
    }

    /// The value of a range vector that is the whole query.
    pub(super) fn matrix(&mut self, expr: &Expr, at: i64) -> Result<Vec<Series>, QueryError> {
        let ranges = self.ranges(expr, at)?;
        let tracks = ranges.tracks.iter().map(|track| {
            let points = window::inside(&track.points, ranges.start, ranges.end).to_vec();
            let histograms = window::inside(&track.histograms, ranges.start, ranges.end).to_vec();
            Track { points, histograms, ..Track::empty(track.labels.clone(), track.drop_name) }
        });
        merged(tracks.filter(|track| !track.is_empty()).collect()).map_err(|error| error.at(expr.span))
    }

    /// All steps of a range query.
    pub(super) fn steps(&mut self, expr: &Expr) -> Result<Vec<Series>, QueryError> {
        let mut gathered = Gathered::default();
        let mut at = self.clock.start;
        while at <= self.clock.end {
            let samples = match self.eval(expr, at)? {
                Eval::Scalar(v) => vec![Sample::float(Labels::empty(), v, false)],
                Eval::Vector(samples) => samples,
                Eval::String(_) => return Err(QueryError::typed("a string has no range", expr.span)),
            };
            self.count(weighed(&samples)).map_err(|error| error.at(expr.span))?;
            gathered.add(samples, at).map_err(|error| error.at(expr.span))?;
            at = at.saturating_add(self.clock.step);
        }
        let tracks = Rc::unwrap_or_clone(gathered.tracks);
        merged(tracks).map_err(|error| error.at(expr.span))
    }
}

/// How many samples a vector counts for.
fn weighed(samples: &[Sample]) -> usize {
    samples.iter().map(|sample| sample.h.as_deref().map_or(1, weight)).sum()
}

/// A subquery may skip samples: what a hint says of the sample before no longer holds.
fn forget_hint(sample: &mut Sample) {
    if let Some(histogram) = &mut sample.h
        && matches!(histogram.reset_hint, ResetHint::Reset | ResetHint::NoReset)
    {
        Arc::make_mut(histogram).reset_hint = ResetHint::Unknown;
    }
}

fn negated(value: Eval) -> Eval {
    match value {
        Eval::Scalar(v) => Eval::Scalar(-v),
        Eval::Vector(mut samples) => {
            for sample in &mut samples {
                match &mut sample.h {
                    Some(histogram) => *histogram = Arc::new(native::scaled(histogram, -1.0, false)),
                    None => sample.v = -sample.v,
                }
                sample.drop_name = true;
            }
            Eval::Vector(samples)
        }
        text @ Eval::String(_) => text,
    }
}
