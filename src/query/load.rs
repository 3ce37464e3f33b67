//! Before the first step: which time each selector needs, and one read of the source for it.

use std::collections::HashMap;
use std::rc::Rc;

use crate::model::series::is_stale;
use crate::model::{Labels, Matcher, Point, Source};

use super::ast::{At, Edge, Expr, Length, Node, Selector, Shift};
use super::error::{QueryError, QueryErrorKind};
use super::functions::info;
use super::{DEFAULT_SUBQUERY_STEP, Limits};

/// A series and the points of it that an evaluation can need.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub labels: Labels,
    /// The metric name is to be removed from the final answer.
    pub drop_name: bool,
    /// Rising in time.
    pub points: Vec<Point>,
}

/// The times of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub start: i64,
    pub end: i64,
    /// 0 for an instant query.
    pub step: i64,
    pub lookback: i64,
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
        step.map_or(Ok(DEFAULT_SUBQUERY_STEP), |step| self.range(step, expr))
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
                self.load(&subquery.expr, from.saturating_sub(back), to)?;
            }
            Node::Call(function, args) if function.name == "info" => self.load_info(args, from, to)?,
            _ => {
                for child in expr.children() {
                    self.load(child, from, to)?;
                }
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
        self.samples += series.iter().map(|series| series.points.len()).sum::<usize>();
        if self.samples > self.limits.max_samples {
            return Err(QueryError::new(QueryErrorKind::TooManySamples { limit: self.limits.max_samples }));
        }
        let track = |series: crate::model::Series| {
            let mut points = series.points;
            if !keep_stale {
                points.retain(|point| !is_stale(point.v));
            }
            Track { labels: series.labels, drop_name: false, points }
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
