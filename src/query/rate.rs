//! Rates: of numbers here, of native histograms in [`super::histogram_rate`].

use std::sync::Arc;

use crate::model::Point;
use crate::model::series::is_stale;

use super::annotation::Remarks;
use super::ast::Edge;
use super::begun;
use super::eval::Datum;
use super::histogram_rate;
use super::load::Track;
use super::window::{Window, inside};

/// What a rate function makes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateKind {
    /// The series only rises, apart from resets to zero.
    pub counter: bool,
    /// Per second.
    pub per_second: bool,
}

/// `rate`, `increase` and `delta`: the difference between the ends, extrapolated to the edges of the window as far as
/// the samples' spacing makes that plausible.
pub(super) fn rate(window: &Window, kind: RateKind, remarks: &mut Remarks) -> Option<Datum> {
    match (window.points.is_empty(), window.histograms.is_empty()) {
        (false, false) => {
            remarks.mixed(window.name);
            None
        }
        (true, false) => Some(Datum::Histogram(Arc::new(histogram_rate::rate(window, kind, remarks)?))),
        _ if window.edge == Edge::Plain => float_rate(window, kind, remarks).map(Datum::Float),
        _ => edged_rate(window, kind).map(Datum::Float),
    }
}

fn float_rate(window: &Window, kind: RateKind, remarks: &mut Remarks) -> Option<f64> {
    let (first, last) = (window.points.first()?, window.points.last()?);
    let gaps = window.points.len() - 1;
    let zero = kind.counter.then(|| begun::zero_inside(window, first.t)).flatten();
    if gaps == 0 && zero.is_none() {
        return None;
    }
    let mut result = last.v - first.v;
    if kind.counter {
        begun::check_overlaps(window, window.points.iter().map(|point| point.t), remarks);
        let is_reset = |pair: &&[Point]| pair[1].v < pair[0].v || begun::is_reset(window.starts, pair[0].t, pair[1].t);
        result += window.points.windows(2).filter(is_reset).map(|pair| pair[0].v).sum::<f64>();
    }
    if zero.is_some() {
        result += first.v;
    }
    let sampled = Sampled { zero, first: first.t, last: last.t, gaps, begin: first.v, risen: result };
    Some(result * sampled.factor(window, kind))
}

/// The samples of a window, for the extrapolation to its edges.
pub(super) struct Sampled {
    /// When the counter was zero, if that is known and inside of the window.
    pub zero: Option<i64>,
    /// Times of the first and last sample, milliseconds.
    pub first: i64,
    pub last: i64,
    /// Samples without the first.
    pub gaps: usize,
    /// The first value of the counter, and by how much it rose.
    pub begin: f64,
    pub risen: f64,
}

impl Sampled {
    /// What the difference between first and last sample is to be multiplied by.
    pub(super) fn factor(&self, window: &Window, kind: RateKind) -> f64 {
        let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
        let mut before = seconds(window.start, self.first);
        let mut after = seconds(self.last, window.end);
        let mut sampled = seconds(self.first, self.last);
        let spacing = if self.gaps == 0 { 0.0 } else { sampled / self.gaps as f64 };
        // A gap of more than about one spacing means that the series began or ended inside the window.
        let plausible = spacing * 1.1;
        if before >= plausible {
            before = spacing / 2.0;
        }
        if let Some(zero) = self.zero {
            before = 0.0;
            sampled = seconds(zero, self.last);
        } else if kind.counter && self.risen > 0.0 && self.begin >= 0.0 {
            // A counter cannot have been below zero: do not extrapolate past the moment it would have been zero.
            before = before.min(sampled * (self.begin / self.risen));
        }
        if after >= plausible {
            after = spacing / 2.0;
        }
        let factor = (sampled + before + after) / sampled;
        if kind.per_second { factor / window.seconds() } else { factor }
    }
}

/// The same over a window whose edges have values of their own: no extrapolation.
fn edged_rate(window: &Window, kind: RateKind) -> Option<f64> {
    let (points, smoothed) = (window.points, window.edge == Edge::Smoothed);
    let mut last = points.len().checked_sub(1)?;
    let mut first = points[..last].partition_point(|point| point.t <= window.start).saturating_sub(1);
    if smoothed {
        last = points[..last].partition_point(|point| point.t < window.end);
    }
    if points[last].t <= window.start || points[first].t > window.end {
        return None;
    }
    // Both edges between the same two points: a reset there lies before both of them.
    let one_gap = smoothed && last == first + 1 && points[first].t < window.start && points[last].t > window.end;
    let left = if smoothed && points[first].t < window.start {
        between(points[first], points[first + 1], window.start, kind.counter.then_some(true))
    } else {
        points[first].v
    };
    let right = if smoothed && last > 0 && points[last].t > window.end {
        between(points[last - 1], points[last], window.end, kind.counter.then_some(one_gap))
    } else {
        points[last].v
    };
    let mut result = right - left;
    if kind.counter {
        first += usize::from(points[first].t <= window.start);
        let end = if points[last].t >= window.end { last } else { last + 1 };
        let mut previous = left;
        let inner = points.get(first..end).unwrap_or_default().iter().map(|point| point.v);
        for value in inner.chain([right]) {
            if value < previous {
                result += previous;
            }
            previous = value;
        }
    }
    Some(if kind.per_second { result / window.seconds() } else { result })
}

/// The value at `time` on the line between two points. `counter` says that a fall is a reset, and whether the time is
/// the window's left edge.
fn between(a: Point, b: Point, time: i64, counter: Option<bool>) -> f64 {
    let (mut from, mut to) = (a.v, b.v);
    match counter {
        Some(true) if to < from => from = 0.0,
        Some(false) if to < from => to += from,
        _ => {}
    }
    from + (to - from) * (time - a.t) as f64 / (b.t - a.t) as f64
}

/// A smoothed instant selector: on the line between the samples around `time`; the nearer side alone where the other
/// has none within the lookback.
pub(super) fn smoothed_at(track: &Track, time: i64, lookback: i64, remarks: &mut Remarks) -> Option<Datum> {
    let (low, high) = (time.saturating_sub(lookback), time.saturating_add(lookback));
    let histograms = inside(&track.histograms, low, high);
    if histograms.is_empty() {
        return interpolate(&track.points, time, lookback).map(|point| Datum::Float(point.v));
    }
    let name = track.labels.name().unwrap_or_default();
    if !inside(&track.points, low, high).is_empty() {
        remarks.mixed(name);
        return None;
    }
    histogram_rate::smoothed_at(histograms, time, name, remarks).map(Datum::Histogram)
}

fn interpolate(points: &[Point], time: i64, lookback: i64) -> Option<Point> {
    let next = points.partition_point(|point| point.t <= time);
    let before =
        next.checked_sub(1).and_then(|index| points.get(index)).filter(|p| p.t > time.saturating_sub(lookback));
    let after = points.get(next).filter(|point| point.t <= time.saturating_add(lookback) && !is_stale(point.v));
    match (before, after) {
        (Some(a), _) if is_stale(a.v) => None,
        (Some(a), Some(b)) if a.t < time => Some(Point { t: time, v: between(*a, *b, time, None) }),
        (Some(a), _) => Some(*a),
        (None, Some(b)) => Some(Point { t: time, v: b.v }),
        (None, None) => None,
    }
}

/// `irate` and `idelta`: from the last two samples only.
pub(super) fn instant_rate(window: &Window, counter: bool, remarks: &mut Remarks) -> Option<Datum> {
    let last = |index: usize| {
        let place = window.histograms.len().checked_sub(index + 1)?;
        window.histograms.get(place)
    };
    // The times of the last two histograms tell whether the last two samples are numbers.
    let [.., a, b] = window.points else {
        return match (window.points, window.histograms) {
            (_, []) => None,
            ([only], [.., x, y]) if only.t < x.0 => histogram_rate::instant_rate(x, y, window, counter, remarks),
            ([], [.., x, y]) => histogram_rate::instant_rate(x, y, window, counter, remarks),
            ([], [_]) => None,
            _ => {
                remarks.mixed(window.name);
                None
            }
        };
    };
    match (last(1), last(0)) {
        (Some(x), Some(y)) if x.0 > b.t => return histogram_rate::instant_rate(x, y, window, counter, remarks),
        (_, Some(y)) if y.0 > a.t => {
            remarks.mixed(window.name);
            return None;
        }
        _ => {}
    }
    if !counter {
        return Some(Datum::Float(b.v - a.v));
    }
    let risen = if b.v < a.v || begun::is_reset(window.starts, a.t, b.t) { b.v } else { b.v - a.v };
    Some(Datum::Float(risen / ((b.t - a.t) as f64 / 1000.0)))
}
