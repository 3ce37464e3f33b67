//! Points of one series inside a window, and what is computed from them: rates, regressions, sums.

use crate::model::Point;
use crate::model::series::is_stale;

use super::ast::Edge;

/// One series' window as a range function sees it.
pub(super) struct Window<'a> {
    /// The points with `start < t <= end`. With [`Edge::Anchored`] or [`Edge::Smoothed`] those around the window too.
    pub points: &'a [Point],
    /// Milliseconds; itself outside the window.
    pub start: i64,
    /// Milliseconds; the last moment of the window.
    pub end: i64,
    /// When the function is evaluated: `end` without its offset.
    pub at: i64,
    /// How the edges are treated.
    pub edge: Edge,
    /// The function's scalar arguments.
    pub args: &'a [f64],
}

impl Window<'_> {
    /// A scalar argument; the type check has made sure that it is there.
    pub(super) fn arg(&self, index: usize) -> f64 {
        self.args.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The values alone.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().map(|point| point.v)
    }

    fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }
}

/// The points with `start < t <= end`: windows are left-open, so that adjoining ones share no point.
pub(super) fn inside(points: &[Point], start: i64, end: i64) -> &[Point] {
    let from = points.partition_point(|point| point.t <= start);
    let to = points.partition_point(|point| point.t <= end);
    points.get(from..to).unwrap_or_default()
}

/// A sum that carries the error of each addition along (Kahan's, in Neumaier's form).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kahan {
    pub sum: f64,
    pub error: f64,
}

impl Kahan {
    /// A sum that begins with one value.
    pub(super) fn of(value: f64) -> Self {
        Kahan { sum: value, error: 0.0 }
    }

    pub(super) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.error = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.error += (self.sum - total) + value;
        } else {
            self.error += (value - total) + self.sum;
        }
        self.sum = total;
    }

    pub(super) fn value(self) -> f64 {
        self.sum + self.error
    }
}

/// A sum of values.
pub(super) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut total = Kahan::default();
    values.for_each(|value| total.add(value));
    total.value()
}

/// A mean that is exact where the sum fits into a number, and still right where the sum would overflow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    count: f64,
    total: Kahan,
    /// The sum has overflowed; `total` is the mean itself from here on.
    incremental: bool,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.total = Kahan::of(value);
            return;
        }
        if !self.incremental {
            let mut next = self.total;
            next.add(value);
            if !next.sum.is_infinite() {
                self.total = next;
                return;
            }
            self.incremental = true;
            let before = self.count - 1.0;
            self.total = Kahan { sum: self.total.sum / before, error: self.total.error / before };
        }
        let weight = (self.count - 1.0) / self.count;
        self.total = Kahan { sum: weight * self.total.sum, error: weight * self.total.error };
        self.total.add(value / self.count);
    }

    pub(super) fn value(self) -> f64 {
        if self.incremental { self.total.value() } else { self.total.sum / self.count + self.total.error / self.count }
    }
}

/// The population variance, in one pass (Welford's, with Kahan's sums).
pub(super) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Kahan::default(), Kahan::default());
    for value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        squares.add(delta * (value - mean.value()));
    }
    squares.value() / count
}

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
pub(super) fn rate(window: &Window, kind: RateKind) -> Option<f64> {
    if window.edge != Edge::Plain {
        return edged_rate(window, kind);
    }
    let (first, last) = (window.points.first()?, window.points.last()?);
    let gaps = window.points.len() - 1;
    if gaps == 0 {
        return None;
    }
    let mut result = last.v - first.v;
    if kind.counter {
        result += window.points.windows(2).filter(|pair| pair[1].v < pair[0].v).map(|pair| pair[0].v).sum::<f64>();
    }
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let mut before = seconds(window.start, first.t);
    let mut after = seconds(last.t, window.end);
    let sampled = seconds(first.t, last.t);
    let spacing = sampled / gaps as f64;
    // A gap of more than about one spacing means that the series began or ended inside the window.
    let plausible = spacing * 1.1;
    if before >= plausible {
        before = spacing / 2.0;
    }
    if kind.counter && result > 0.0 && first.v >= 0.0 {
        // A counter cannot have been below zero: do not extrapolate past the moment it would have been zero.
        before = before.min(sampled * (first.v / result));
    }
    if after >= plausible {
        after = spacing / 2.0;
    }
    let mut factor = (sampled + before + after) / sampled;
    if kind.per_second {
        factor /= window.seconds();
    }
    Some(result * factor)
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

/// A smoothed instant selector: on the line between the points around `time`; the nearer side alone where the other
/// has none within the lookback.
pub(super) fn interpolate(points: &[Point], time: i64, lookback: i64) -> Option<Point> {
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

/// The points that `changes` and `resets` compare: an anchored window begins with the last point before it.
pub(super) fn anchored<'a>(window: &Window<'a>) -> Option<&'a [Point]> {
    if window.edge != Edge::Anchored {
        return Some(window.points);
    }
    let last = window.points.last()?;
    if last.t <= window.start {
        return None;
    }
    let first = window.points.partition_point(|point| point.t <= window.start).saturating_sub(1);
    window.points.get(first..)
}

/// `irate` and `idelta`: from the last two points only.
pub(super) fn instant_rate(window: &Window, counter: bool) -> Option<f64> {
    let [.., a, b] = window.points else {
        return None;
    };
    if !counter {
        return Some(b.v - a.v);
    }
    let risen = if b.v < a.v { b.v } else { b.v - a.v };
    Some(risen / ((b.t - a.t) as f64 / 1000.0))
}

/// Slope per second and value at `origin` of the line with the least squares.
pub(super) fn regression(points: &[Point], origin: i64) -> Option<(f64, f64)> {
    if points.len() < 2 {
        return None;
    }
    let start = points.first()?.v;
    if points.iter().all(|point| point.v == start) {
        // Exact where the sums would round.
        return Some(if start.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, start) });
    }
    let [mut sum_x, mut sum_y, mut sum_xy, mut sum_xx] = [Kahan::default(); 4];
    for point in points {
        let x = (point.t - origin) as f64 / 1000.0;
        sum_x.add(x);
        sum_y.add(point.v);
        sum_xy.add(x * point.v);
        sum_xx.add(x * x);
    }
    let count = points.len() as f64;
    let (x, y) = (sum_x.value(), sum_y.value());
    let slope = (sum_xy.value() - x * y / count) / (sum_xx.value() - x * x / count);
    Some((slope, y / count - slope * x / count))
}

/// Holt's double exponential smoothing.
pub(super) fn smoothed(window: &Window) -> Option<f64> {
    let [first, second, ..] = window.points else {
        return None;
    };
    let (level_factor, trend_factor) = (window.arg(0), window.arg(1));
    let (mut before, mut level, mut trend) = (0.0, first.v, second.v - first.v);
    for (index, point) in window.points.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = level_factor * point.v + (1.0 - level_factor) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}
