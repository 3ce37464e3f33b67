//! The buckets of a histogram in order, comparison, and what a counter reset looks like.

use crate::model::FloatHistogram;
use crate::model::histogram::{CUSTOM_BUCKETS, ResetHint};

use super::{Sparse, among, coarser, common, sparse, upper_bound};

/// One bucket with its boundaries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The lower boundary; may be infinite.
    pub lower: f64,
    /// The upper boundary; may be infinite.
    pub upper: f64,
    /// Observations in it.
    pub count: f64,
    /// Whether the lower boundary belongs to it.
    pub with_lower: bool,
    /// Whether the upper boundary belongs to it.
    pub with_upper: bool,
}

impl Bucket {
    /// Which boundaries belong to it, as Prometheus' HTTP API says it: 0 the upper one, 1 the lower one, 2 neither, 3 both.
    pub fn rule(&self) -> u8 {
        match (self.with_lower, self.with_upper) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }
}

/// The buckets that hold something, from the lowest to the highest, the zero bucket in the middle.
pub fn populated_buckets(histogram: &FloatHistogram) -> Vec<Bucket> {
    all_buckets(histogram).into_iter().filter(|bucket| bucket.count != 0.0).collect()
}

/// Whether the boundaries were chosen by hand.
pub(in super::super) fn is_custom(histogram: &FloatHistogram) -> bool {
    histogram.schema == CUSTOM_BUCKETS
}

/// All buckets from the lowest to the highest, the zero bucket in the middle, also empty ones that are written out.
pub(super) fn all_buckets(histogram: &FloatHistogram) -> Vec<Bucket> {
    let custom = is_custom(histogram);
    let positive = |(index, count): (i32, f64)| Bucket {
        lower: upper_bound(histogram, index.saturating_sub(1)),
        upper: upper_bound(histogram, index),
        count,
        with_lower: custom && index == 0,
        with_upper: true,
    };
    let negative = |(index, count): (i32, f64)| Bucket {
        lower: -upper_bound(histogram, index),
        upper: -upper_bound(histogram, index.saturating_sub(1)),
        count,
        with_lower: true,
        with_upper: false,
    };
    let mut all: Vec<Bucket> = sparse(&histogram.negative).into_iter().rev().map(negative).collect();
    if histogram.zero_count != 0.0 {
        let (lower, upper) = (-histogram.zero_threshold, histogram.zero_threshold);
        all.push(Bucket { lower, upper, count: histogram.zero_count, with_lower: true, with_upper: true });
    }
    all.extend(sparse(&histogram.positive).into_iter().map(positive));
    all
}

/// Whether two histograms are the same; empty buckets and the hint do not count.
pub(in super::super) fn equal(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a == b;
    let populated = |h: &FloatHistogram| {
        let some = |(_, count): &(i32, f64)| *count != 0.0;
        let positive: Sparse<f64> = sparse(&h.positive).into_iter().filter(some).collect();
        let negative: Sparse<f64> = sparse(&h.negative).into_iter().filter(some).collect();
        (positive, negative)
    };
    a.schema == b.schema
        && a.custom_values == b.custom_values
        && same(a.count, b.count)
        && same(a.sum, b.sum)
        && same(a.zero_count, b.zero_count)
        && same(a.zero_threshold, b.zero_threshold)
        && populated(a) == populated(b)
}

/// Whether the counter was reset between `before` and `after`. A hint decides; else whatever fell does.
pub(in super::super) fn is_reset(before: &FloatHistogram, after: &FloatHistogram) -> bool {
    match after.reset_hint {
        ResetHint::Reset => return true,
        ResetHint::NoReset => return false,
        ResetHint::Unknown | ResetHint::Gauge => {}
    }
    if after.count < before.count || is_custom(after) != is_custom(before) {
        return true;
    }
    if is_custom(after) {
        let bounds = common(&before.custom_values, &after.custom_values);
        let moved = |h: &FloatHistogram| {
            merged(sparse(&h.positive).into_iter().map(|(at, count)| (among(at, &h.custom_values, &bounds), count)))
        };
        return fell(&moved(before), &moved(after));
    }
    // A counter's resolution only falls and its zero bucket only widens.
    if after.schema > before.schema || after.zero_threshold < before.zero_threshold {
        return true;
    }
    let (zero_count, threshold) = widened_zero(before, after.zero_threshold);
    if threshold != after.zero_threshold || after.zero_count < zero_count {
        return true;
    }
    let beyond = |h: &FloatHistogram, buckets: Sparse<f64>| {
        let outside = buckets.into_iter().filter(|(at, _)| upper_bound(h, at.saturating_sub(1)) >= threshold);
        merged(outside.map(|(at, count)| (coarser(at, h.schema, after.schema), count)))
    };
    fell(&beyond(before, sparse(&before.positive)), &beyond(after, sparse(&after.positive)))
        || fell(&beyond(before, sparse(&before.negative)), &beyond(after, sparse(&after.negative)))
}

/// Neighbours with one index become one bucket.
fn merged(buckets: impl Iterator<Item = (i32, f64)>) -> Sparse<f64> {
    let mut out: Sparse<f64> = Vec::new();
    for (index, count) in buckets {
        match out.last_mut() {
            Some((last, total)) if *last == index => *total += count,
            _ => out.push((index, count)),
        }
    }
    out
}

/// Whether any bucket holds less than before.
fn fell(before: &Sparse<f64>, after: &Sparse<f64>) -> bool {
    let now = |index| after.binary_search_by_key(&index, |(at, _)| *at).ok().and_then(|place| after.get(place));
    before.iter().any(|(index, count)| now(*index).map_or(0.0, |(_, count)| *count) < *count)
}

/// The count of the zero bucket when it is widened to `threshold`, and the threshold itself: a populated bucket that it
/// would cut is taken in whole, which widens it further.
pub(super) fn widened_zero(histogram: &FloatHistogram, threshold: f64) -> (f64, f64) {
    let mut threshold = threshold;
    if threshold <= histogram.zero_threshold || threshold.is_nan() {
        return (histogram.zero_count, histogram.zero_threshold);
    }
    let sides = [sparse(&histogram.positive), sparse(&histogram.negative)];
    loop {
        let (mut count, mut wider) = (histogram.zero_count, threshold);
        for (index, bucket) in sides.iter().flatten() {
            if upper_bound(histogram, index.saturating_sub(1)) < threshold {
                count += bucket;
                let upper = upper_bound(histogram, *index);
                if upper > wider && *bucket != 0.0 {
                    wider = upper;
                }
            }
        }
        let cuts = wider > threshold;
        if !cuts {
            return (count, threshold);
        }
        threshold = wider;
    }
}

/// The histogram in one line, as Prometheus prints it: `{count:3, sum:2, (0.5,1]:1, (1,2]:2}`.
pub(in super::super) fn text(histogram: &FloatHistogram) -> String {
    let number = crate::query::format_value;
    let mut text = format!("{{count:{}, sum:{}", number(histogram.count), number(histogram.sum));
    for bucket in populated_buckets(histogram) {
        let (open, close) = (if bucket.with_lower { '[' } else { '(' }, if bucket.with_upper { ']' } else { ')' });
        let (lower, upper, count) = (number(bucket.lower), number(bucket.upper), number(bucket.count));
        text.push_str(&format!(", {open}{lower},{upper}{close}:{count}"));
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use crate::query::notation;

    use super::*;

    #[test]
    fn buckets_come_in_order_with_their_boundaries() {
        let shown = |text: &str| {
            let histogram = notation::histogram(text).unwrap();
            let row = |b: Bucket| (b.rule(), b.lower, b.upper, b.count);
            populated_buckets(&histogram).into_iter().map(row).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("{{schema:0 count:6 z_bucket:1 z_bucket_w:0.1 buckets:[1 0 2] n_buckets:[2]}}"),
            [(1, -1.0, -0.5, 2.0), (3, -0.1, 0.1, 1.0), (0, 0.5, 1.0, 1.0), (0, 2.0, 4.0, 2.0)]
        );
        assert_eq!(
            shown("{{schema:-53 count:3 custom_values:[5] buckets:[1 2]}}"),
            [(3, f64::NEG_INFINITY, 5.0, 1.0), (0, 5.0, f64::INFINITY, 2.0)]
        );
    }
}
