//! Before the first step: which time each selector needs, and one read of the source for it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::histogram::{Buckets, ResetHint};
use crate::model::series::is_stale;
use crate::model::{FloatHistogram, Labels, Matcher, Point, Series, Source, Starts};

use super::ast::{At, Edge, Expr, Length, Node, Selector, Shift};
use super::error::{QueryError, QueryErrorKind};
use super::eval::Datum;
use super::functions::info;
use super::{Limits, native};

/// A series and the points of it that an evaluation can need.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub labels: Labels,
    /// The metric name is to be removed from the final answer.
    pub drop_name: bool,
    /// Rising in time.
    pub points: Vec<Point>,
    /// Rising in time.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
    /// Only of what was read: what was computed does not count since anything.
    pub starts: Starts,
}

impl Track {
    pub(super) fn empty(labels: Labels, drop_name: bool) -> Self {
        Track { labels, drop_name, points: Vec::new(), histograms: Vec::new(), starts: Starts::default() }
    }

    /// The time of the last sample.
    pub(super) fn last(&self) -> Option<i64> {
        self.points.last().map(|point| point.t).max(self.histograms.last().map(|(t, _)| *t))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty() && self.histograms.is_empty()
    }

    /// The newest sample at or before `time`, unless it is too old or says that the series has ended.
    pub(super) fn newest(&self, time: i64, lookback: i64) -> Option<(i64, Datum)> {
        let last = |index: usize| index.checked_sub(1);
        let point = last(self.points.partition_point(|p| p.t <= time)).and_then(|index| self.points.get(index));
        let place = last(self.histograms.partition_point(|(t, _)| *t <= time));
        let histogram = place.and_then(|index| self.histograms.get(index));
        let fresh = |t: i64| t > time.saturating_sub(lookback);
        match (point, histogram) {
            (point, Some((t, h))) if point.is_none_or(|p| p.t < *t) => {
                (fresh(*t) && !h.is_stale()).then(|| (*t, Datum::Histogram(Arc::clone(h))))
            }
            (Some(p), _) => (fresh(p.t) && !is_stale(p.v)).then_some((p.t, Datum::Float(p.v))),
            (None, _) => None,
        }
    }
}

/// How many samples a histogram counts for: as many as take up its room.
pub(super) fn weight(histogram: &FloatHistogram) -> usize {
    let room = |buckets: &Buckets| buckets.counts.len() + buckets.spans.len();
    8 + (room(&histogram.positive) + room(&histogram.negative) + histogram.custom_values.len()) / 2
}

/// The times of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub start: i64,
    pub end: i64,
    /// 0 for an instant query.
    pub step: i64,
    pub lookback: i64,
    /// The step of a subquery that names none.
    pub default_step: i64,
}

impl Clock {
    /// A length in milliseconds.
    pub(super) fn millis(&self, length: &Length) -> i64 {
        length.millis(self.step, self.end - self.start)
    }

    /// The time that a selector reads when the query stands at `at`.
    pub(super) fn shift(&self, shift: &Shift, at: i64) -> i64 {
        let base = match shift.at {
            None => at,
            Some(At::Time(time)) => time,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
        };
        base.saturating_sub(shift.offset.as_ref().map_or(0, |offset| self.millis(offset)))
    }

    /// A range; one that is computed can turn out empty.
    pub(super) fn range(&self, range: &Length, expr: &Expr) -> Result<i64, QueryError> {
        let millis = self.millis(range);
        if millis <= 0 {
            return Err(QueryError::evaluation("duration must be greater than 0", expr.span));
        }
        Ok(millis)
    }

    /// A subquery's step.
    pub(super) fn subquery_step(&self, step: Option<&Length>, expr: &Expr) -> Result<i64, QueryError> {
        step.map_or(Ok(self.default_step), |step| self.range(step, expr))
    }
}

/// A node's address: its identity while the tree is borrowed.
pub(super) fn key<T>(node: &T) -> usize {
    std::ptr::from_ref(node).addr()
}

/// Reads all selectors of a tree.
pub(super) struct Loader<'a> {
    pub source: &'a dyn Source,
    pub clock: Clock,
    pub limits: &'a Limits,
    /// Samples read so far.
    pub samples: usize,
    pub series: usize,
    pub tracks: HashMap<usize, Rc<Vec<Track>>>,
    /// Whether only counts and sums of histograms matter to what is being loaded; see [`hinted`].
    pub stats: bool,
}

impl Loader<'_> {
    /// Loads what `expr` needs when it is evaluated at times in `from..=to`.
    pub(super) fn load(&mut self, expr: &Expr, from: i64, to: i64) -> Result<(), QueryError> {
        let clock = self.clock;
        match &expr.node {
            Node::Vector(selector) => {
                self.select(expr, selector, from.saturating_sub(clock.lookback), to)?;
            }
            Node::Matrix(selector, range) => {
                let mut back = clock.range(range, expr)?;
                if selector.edge != Edge::Plain {
                    back += clock.lookback;
                }
                self.select(expr, selector, from.saturating_sub(back), to)?;
            }
            Node::Subquery(subquery) => {
                let back = clock.range(&subquery.range, expr)?;
                let (from, to) = (clock.shift(&subquery.shift, from), clock.shift(&subquery.shift, to));
                let stats = std::mem::replace(&mut self.stats, false);
                self.load(&subquery.expr, from.saturating_sub(back), to)?;
                self.stats = stats;
            }
            Node::Call(function, args) if function.name == "info" => self.load_info(args, from, to)?,
            node => {
                let stats = self.stats;
                match node {
                    Node::Call(function, _) if STATS.contains(&function.name) => self.stats = true,
                    Node::Call(function, _) if BUCKETS.contains(&function.name) => self.stats = false,
                    Node::Binary(binary) if binary.op.is_trim() => self.stats = false,
                    _ => {}
                }
                for child in expr.children() {
                    self.load(child, from, to)?;
                }
                self.stats = stats;
            }
        }
        Ok(())
    }

    /// `from` already counts the lookback or range, which is left-open.
    fn select(&mut self, expr: &Expr, selector: &Selector, from: i64, to: i64) -> Result<(), QueryError> {
        let shift = &selector.shift;
        let fixed = shift.at.is_some();
        let (low, mut high) = if fixed {
            let time = self.clock.shift(shift, 0);
            let back = match &expr.node {
                Node::Matrix(_, range) => self.clock.millis(range),
                _ => self.clock.lookback,
            };
            let edge = if selector.edge == Edge::Plain { 0 } else { self.clock.lookback };
            (time.saturating_sub(back + edge), time)
        } else {
            (self.clock.shift(shift, from), self.clock.shift(shift, to))
        };
        if selector.edge == Edge::Smoothed {
            high = high.saturating_add(self.clock.lookback);
        }
        let keep_stale = matches!(expr.node, Node::Vector(_));
        let tracks =
            self.read(&selector.matchers, low.saturating_add(1), high, keep_stale).map_err(|e| e.at(expr.span))?;
        let tracks = if self.stats { tracks.into_iter().map(hinted).collect() } else { tracks };
        self.tracks.insert(key(expr), Rc::new(tracks));
        Ok(())
    }

    /// Reads series, sorted by labels so that every answer has one order. Range selectors never see stale markers.
    pub(super) fn read(
        &mut self,
        matchers: &[Matcher],
        from: i64,
        to: i64,
        keep_stale: bool,
    ) -> Result<Vec<Track>, QueryError> {
        let mut series = self.source.select(matchers, from, to)?;
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        self.series += series.len();
        if self.series > self.limits.max_series {
            return Err(QueryError::new(QueryErrorKind::TooManySeries { limit: self.limits.max_series }));
        }
        let size = |series: &Series| {
            series.points.len() + series.histograms.iter().map(|(_, histogram)| weight(histogram)).sum::<usize>()
        };
        self.samples += series.iter().map(size).sum::<usize>();
        if self.samples > self.limits.max_samples {
            return Err(QueryError::new(QueryErrorKind::TooManySamples { limit: self.limits.max_samples }));
        }
        let track = |series: Series| {
            let (mut points, mut histograms) = (series.points, series.histograms);
            if !keep_stale {
                points.retain(|point| !is_stale(point.v));
                histograms.retain(|(_, histogram)| !histogram.is_stale());
            }
            Track { labels: series.labels, drop_name: false, points, histograms, starts: series.starts }
        };
        Ok(series.into_iter().map(track).collect())
    }

    /// The second argument of `info` is no selector of its own: it names info series, by default `target_info`.
    fn load_info(&mut self, args: &[Expr], from: i64, to: i64) -> Result<(), QueryError> {
        let Some(base) = args.first() else {
            return Ok(());
        };
        self.load(base, from, to)?;
        let matchers = match args.get(1).map(|arg| &arg.node) {
            Some(Node::Vector(selector)) => info::matchers(selector),
            _ => info::default_matchers(),
        };
        let time = |at| info::reference(&self.clock, base, at).unwrap_or(at);
        let (low, high) = (time(from).saturating_sub(self.clock.lookback), time(to));
        let tracks = self.read(&matchers, low.saturating_add(1), high, true)?;
        self.tracks.insert(info::key(base), Rc::new(tracks));
        Ok(())
    }
}

/// Functions below which only count and sum of a histogram are read, and those that read buckets in spite of it.
const STATS: [&str; 3] = ["histogram_count", "histogram_sum", "histogram_avg"];
const BUCKETS: [&str; 3] = ["histogram_fraction", "histogram_quantile", "histogram_quantiles"];

/// Finds out what is not known of resets. Prometheus does so where it decodes nothing but counts and sums, and its
/// warnings about conflicting resets depend on it.
fn hinted(mut track: Track) -> Track {
    let mut before: Option<Arc<FloatHistogram>> = None;
    for (_, histogram) in &mut track.histograms {
        let original = Arc::clone(histogram);
        if let Some(before) = before.as_ref().filter(|_| original.reset_hint == ResetHint::Unknown) {
            let reset = native::is_reset(before, &original);
            Arc::make_mut(histogram).reset_hint = if reset { ResetHint::Reset } else { ResetHint::NoReset };
        }
        before = Some(original);
    }
    track
}

/// How many milliseconds before its evaluation time `expr` reads; negative where it only looks ahead.
pub(super) fn reach(expr: &Expr, lookback: i64) -> i64 {
    let millis = |length: &Length| length.millis(0, 0);
    let shifted = |shift: &Shift, back: i64| match shift.at {
        Some(_) => 0,
        None => back.saturating_add(shift.offset.as_ref().map_or(0, millis)),
    };
    match &expr.node {
        Node::Vector(selector) => shifted(&selector.shift, lookback),
        Node::Matrix(selector, range) => {
            let edge = if selector.edge == Edge::Plain { 0 } else { lookback };
            shifted(&selector.shift, millis(range).saturating_add(edge))
        }
        Node::Subquery(subquery) => {
            let inner = reach(&subquery.expr, lookback);
            shifted(&subquery.shift, millis(&subquery.range).saturating_add(inner))
        }
        _ => expr.children().into_iter().map(|child| reach(child, lookback)).max().unwrap_or(0),
    }
}
