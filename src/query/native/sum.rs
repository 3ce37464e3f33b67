//! Adding, subtracting and scaling histograms, each field and bucket with the error of its additions carried along.

use crate::model::FloatHistogram;
use crate::model::histogram::{CUSTOM_BUCKETS, ResetHint};

use super::super::window::Kahan;
use super::layout::widened_zero;
use super::{Sparse, among, coarser, common, runs, sparse, upper_bound};

/// Exponential and custom buckets have no common layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Incompatible;

/// A sum of histograms.
#[derive(Clone, Debug)]
pub(in super::super) struct Sum {
    hint: ResetHint,
    schema: i8,
    zero_threshold: f64,
    zero_count: Kahan,
    count: Kahan,
    sum: Kahan,
    positive: Sparse<Kahan>,
    negative: Sparse<Kahan>,
    custom_values: Vec<f64>,
    /// One part was a counter right after a reset, another one without.
    pub collision: bool,
    /// Parts had different custom boundaries.
    pub reconciled: bool,
}

fn kahans(buckets: Sparse<f64>) -> Sparse<Kahan> {
    buckets.into_iter().map(|(index, count)| (index, Kahan::of(count))).collect()
}

fn join(mut a: Kahan, b: Kahan) -> Kahan {
    a.add(b.sum);
    a.error += b.error;
    a
}

impl Sum {
    /// A sum that begins with one histogram.
    pub(in super::super) fn of(first: &FloatHistogram) -> Self {
        Sum {
            hint: first.reset_hint,
            schema: first.schema,
            zero_threshold: first.zero_threshold,
            zero_count: Kahan::of(first.zero_count),
            count: Kahan::of(first.count),
            sum: Kahan::of(first.sum),
            positive: kahans(sparse(&first.positive)),
            negative: kahans(sparse(&first.negative)),
            custom_values: first.custom_values.clone(),
            collision: false,
            reconciled: false,
        }
    }

    /// Adds a histogram, or subtracts it with a `sign` of -1.
    pub(in super::super) fn add(&mut self, other: &FloatHistogram, sign: f64) -> Result<(), Incompatible> {
        let mut other = Sum::of(other);
        if (self.schema == CUSTOM_BUCKETS) != (other.schema == CUSTOM_BUCKETS) {
            return Err(Incompatible);
        }
        self.adjust_hint(other.hint);
        if self.schema == CUSTOM_BUCKETS {
            self.reconcile_bounds(&mut other);
        } else {
            self.reconcile_zero(&mut other);
            let schema = self.schema.min(other.schema);
            self.reduce(schema);
            other.reduce(schema);
        }
        other.scale(sign);
        self.zero_count = join(self.zero_count, other.zero_count);
        self.count = join(self.count, other.count);
        self.sum = join(self.sum, other.sum);
        self.positive = merge(std::mem::take(&mut self.positive), other.positive);
        self.negative = merge(std::mem::take(&mut self.negative), other.negative);
        Ok(())
    }

    /// Gauges make gauges; what is not known of all parts is unknown.
    fn adjust_hint(&mut self, other: ResetHint) {
        use ResetHint::{Gauge, NoReset, Reset, Unknown};
        self.collision |= matches!((self.hint, other), (Reset, NoReset) | (NoReset, Reset));
        self.hint = match (self.hint, other) {
            (Gauge, _) | (_, Gauge) => Gauge,
            (a, b) if a == b => a,
            _ => Unknown,
        };
    }

    fn reconcile_bounds(&mut self, other: &mut Sum) {
        if self.custom_values == other.custom_values {
            return;
        }
        self.reconciled = true;
        let bounds = common(&self.custom_values, &other.custom_values);
        for side in [&mut *self, other] {
            let old = std::mem::replace(&mut side.custom_values, bounds.clone());
            let moved = side.positive.drain(..).map(|(index, count)| (among(index, &old, &bounds), count));
            side.positive = merge(moved.collect(), Vec::new());
        }
    }

    /// Both get the wider of the zero buckets, or a wider one still where it would cut a populated bucket.
    fn reconcile_zero(&mut self, other: &mut Sum) {
        // Of NaN, which hostile senders may write, there is no wider one.
        while self.zero_threshold < other.zero_threshold || other.zero_threshold < self.zero_threshold {
            let (narrow, wide) = match self.zero_threshold < other.zero_threshold {
                true => (&mut *self, &mut *other),
                false => (&mut *other, &mut *self),
            };
            narrow.widen_zero(wide.zero_threshold);
        }
    }

    fn widen_zero(&mut self, threshold: f64) {
        let plain = self.clone().finish();
        let (_, threshold) = widened_zero(&plain, threshold);
        for buckets in [&mut self.positive, &mut self.negative] {
            let inside = buckets.partition_point(|(index, _)| upper_bound(&plain, index.saturating_sub(1)) < threshold);
            self.zero_count = buckets.drain(..inside).fold(self.zero_count, |total, (_, count)| join(total, count));
        }
        self.zero_threshold = threshold;
    }

    fn reduce(&mut self, schema: i8) {
        let from = std::mem::replace(&mut self.schema, schema);
        if from != schema {
            for buckets in [&mut self.positive, &mut self.negative] {
                let moved = buckets.drain(..).map(|(index, count)| (coarser(index, from, schema), count));
                *buckets = merge(moved.collect(), Vec::new());
            }
        }
    }

    fn fields(&mut self) -> impl Iterator<Item = &mut Kahan> {
        let buckets = self.positive.iter_mut().chain(&mut self.negative).map(|(_, count)| count);
        [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter().chain(buckets)
    }

    fn scale(&mut self, factor: f64) {
        for field in self.fields() {
            *field = Kahan { sum: field.sum * factor, error: field.error * factor };
        }
    }

    fn divide(&mut self, divisor: f64) {
        for field in self.fields() {
            *field = Kahan { sum: field.sum / divisor, error: field.error / divisor };
        }
    }

    fn overflows(&self) -> bool {
        let mut copy = self.clone();
        copy.fields().any(|field| field.sum.is_infinite())
    }

    /// The histogram.
    pub(in super::super) fn finish(self) -> FloatHistogram {
        let plain = |buckets: Sparse<Kahan>| runs(buckets.into_iter().map(|(index, count)| (index, count.value())));
        FloatHistogram {
            reset_hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive: plain(self.positive),
            negative: plain(self.negative),
            custom_values: self.custom_values,
        }
    }
}

/// Two rising lists as one; equal indices add up, also within a list.
fn merge(a: Sparse<Kahan>, b: Sparse<Kahan>) -> Sparse<Kahan> {
    let mut out: Sparse<Kahan> = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let from_a = match (a.peek(), b.peek()) {
            (Some((x, _)), Some((y, _))) => x <= y,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return out,
        };
        let Some((index, count)) = (if from_a { a.next() } else { b.next() }) else { return out };
        match out.last_mut() {
            Some((last, total)) if *last == index => *total = join(*total, count),
            _ => out.push((index, count)),
        }
    }
}

/// `a + b`, or `a - b` with a `sign` of -1, as a sum that knows what was odd about it.
pub(in super::super) fn combined(a: &FloatHistogram, b: &FloatHistogram, sign: f64) -> Result<Sum, Incompatible> {
    let mut sum = Sum::of(a);
    sum.add(b, sign)?;
    if sign < 0.0 {
        sum.hint = ResetHint::Gauge;
    }
    Ok(sum)
}

/// Every count and the sum times `factor`, or divided by it. A negative one makes a gauge of a counter.
pub(in super::super) fn scaled(histogram: &FloatHistogram, factor: f64, divide: bool) -> FloatHistogram {
    let scale = |value: f64| if divide { value / factor } else { value * factor };
    let mut out = histogram.clone();
    for value in [&mut out.count, &mut out.sum, &mut out.zero_count] {
        *value = scale(*value);
    }
    for buckets in [&mut out.positive, &mut out.negative] {
        buckets.counts.iter_mut().for_each(|count| *count = scale(*count));
        if divide && factor == 0.0 {
            // All would be infinite or NaN, and say nothing.
            *buckets = Default::default();
        }
    }
    if factor < 0.0 {
        out.reset_hint = ResetHint::Gauge;
    }
    out
}

/// The mean, from the sum where that fits into numbers, else step by step.
pub(in super::super) fn mean<'a>(
    histograms: impl Iterator<Item = &'a FloatHistogram>,
) -> Result<Option<Sum>, Incompatible> {
    let mut total: Option<Sum> = None;
    let (mut count, mut incremental) = (0.0, false);
    for histogram in histograms {
        count += 1.0;
        let Some(sum) = &mut total else {
            total = Some(Sum::of(histogram));
            continue;
        };
        if !incremental {
            let mut next = sum.clone();
            next.add(histogram, 1.0)?;
            if !next.overflows() {
                *sum = next;
                continue;
            }
            incremental = true;
            sum.divide(count - 1.0);
        }
        sum.scale((count - 1.0) / count);
        sum.add(&scaled(histogram, count, true), 1.0)?;
    }
    if let Some(sum) = total.as_mut().filter(|_| !incremental) {
        sum.divide(count);
    }
    Ok(total)
}

/// The sum.
pub(in super::super) fn total<'a>(
    mut histograms: impl Iterator<Item = &'a FloatHistogram>,
) -> Result<Option<Sum>, Incompatible> {
    let Some(first) = histograms.next() else { return Ok(None) };
    let mut sum = Sum::of(first);
    histograms.try_for_each(|histogram| sum.add(histogram, 1.0))?;
    Ok(Some(sum))
}

/// Whether counters right after a reset are among counters without one.
pub(in super::super) fn collide<'a>(histograms: impl Iterator<Item = &'a FloatHistogram>) -> bool {
    let (mut reset, mut no_reset) = (false, false);
    for histogram in histograms {
        reset |= histogram.reset_hint == ResetHint::Reset;
        no_reset |= histogram.reset_hint == ResetHint::NoReset;
    }
    reset && no_reset
}

#[cfg(test)]
mod tests {
    use crate::model::histogram::{Buckets, Span};
    use crate::query::notation;

    use super::*;

    fn read(text: &str) -> FloatHistogram {
        notation::histogram(text).unwrap()
    }

    #[test]
    fn layouts_are_brought_together() {
        let sum = |a: &str, b: &str| combined(&read(a), &read(b), 1.0).map(Sum::finish);
        // A zero bucket that would cut a populated one takes it in whole.
        let wide = sum("{{z_bucket:1 z_bucket_w:0.7}}", "{{buckets:[1 1 1] offset:-1}}").unwrap();
        assert_eq!((wide.zero_threshold, wide.zero_count, wide.positive.counts), (1.0, 3.0, vec![1.0]));
        let custom = "{{schema:-53 custom_values:[1 2 3] buckets:[1 2 3 4]}}";
        let common = sum(custom, "{{schema:-53 custom_values:[2] buckets:[5 6]}}").unwrap();
        assert_eq!((common.custom_values, common.positive.counts), (vec![2.0], vec![8.0, 13.0]));
        assert_eq!(sum(custom, "{{}}"), Err(Incompatible));
    }

    #[test]
    fn no_histogram_harms() {
        let mut odd = read("{{z_bucket:1 buckets:[1 2 3] n_buckets:[1]}}");
        odd.zero_threshold = f64::NAN;
        let span = |offset, length| Span { offset, length };
        let lost =
            Buckets { spans: vec![span(i32::MIN, 2), span(i32::MAX, 9), span(-7, u32::MAX)], counts: vec![1.0; 5] };
        let stray = FloatHistogram { positive: lost.clone(), negative: lost, ..odd.clone() };
        for a in [&odd, &stray, &FloatHistogram { zero_threshold: f64::INFINITY, ..stray.clone() }] {
            for b in [&odd, &stray, &read("{{schema:3 z_bucket:1 z_bucket_w:4 buckets:[1 1]}}")] {
                let _ = combined(a, b, -1.0).map(Sum::finish);
                let _ = (super::super::is_reset(a, b), super::super::equal(a, b));
                let _ = super::super::trimmed(a, super::super::Side::Above, 0.5);
                let _ = (super::super::quantile(0.9, a), super::super::fraction(0.1, 0.5, a));
            }
        }
    }
}
