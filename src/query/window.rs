//! Samples of one series inside a window, and what is computed from numbers among them: regressions, sums, means.

use std::sync::Arc;

use crate::model::{FloatHistogram, Point, Starts};

use super::ast::Edge;

/// One series' window as a range function sees it.
pub(super) struct Window<'a> {
    /// The points with `start < t <= end`. With [`Edge::Anchored`] or [`Edge::Smoothed`] those around the window too.
    pub points: &'a [Point],
    /// Native histograms, likewise.
    pub histograms: &'a [(i64, Arc<FloatHistogram>)],
    /// Since when they count.
    pub starts: &'a Starts,
    /// The name of the metric, for remarks.
    pub name: &'a str,
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

    /// The length of the window.
    pub(super) fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }
}

/// What stands at a time.
pub(super) trait Timed {
    /// Milliseconds.
    fn time(&self) -> i64;
}

impl Timed for Point {
    fn time(&self) -> i64 {
        self.t
    }
}

impl Timed for (i64, Arc<FloatHistogram>) {
    fn time(&self) -> i64 {
        self.0
    }
}

/// The items with `start < t <= end`: windows are left-open, so that adjoining ones share nothing.
pub(super) fn inside<T: Timed>(items: &[T], start: i64, end: i64) -> &[T] {
    let from = items.partition_point(|item| item.time() <= start);
    let to = items.partition_point(|item| item.time() <= end);
    items.get(from..to).unwrap_or_default()
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
