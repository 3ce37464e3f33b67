//! What is estimated from buckets: quantiles, fractions, the variance.

use crate::model::FloatHistogram;

use super::super::window::Kahan;
use super::layout::{Bucket, all_buckets, is_custom};

/// An estimate, and what observations of NaN did to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Estimate {
    pub value: f64,
    /// Observations of NaN are counted in no bucket, so the value is higher or lower than it would be without them.
    pub skewed: bool,
}

impl Estimate {
    fn sound(value: f64) -> Self {
        Estimate { value, skewed: false }
    }
}

/// The buckets as estimates see them: a zero bucket with buckets on one side only reaches to zero, and so does a first
/// custom bucket whose upper boundary is above zero.
pub(super) fn seen(histogram: &FloatHistogram) -> Vec<Bucket> {
    let (negative, positive) = (!histogram.negative.counts.is_empty(), !histogram.positive.counts.is_empty());
    let custom = is_custom(histogram);
    let mut buckets = all_buckets(histogram);
    for bucket in &mut buckets {
        if custom {
            if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 && bucket.upper.is_finite() {
                bucket.lower = 0.0;
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            match (negative, positive) {
                (false, true) => bucket.lower = 0.0,
                (true, false) => bucket.upper = 0.0,
                _ => {}
            }
        }
    }
    buckets
}

/// The value below which `share` of a bucket lies: on a line in custom and zero buckets, else on an exponential curve.
fn at_share(bucket: &Bucket, share: f64, linear: bool) -> f64 {
    if linear || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * share;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        (lower + (upper - lower) * share).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - share)).exp2()
    }
}

/// The share of a bucket that lies below a value inside of it; the inverse of [`at_share`].
pub(super) fn share_below(bucket: &Bucket, value: f64, linear: bool) -> f64 {
    if linear || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let value = value.abs().log2();
    if bucket.lower > 0.0 { (value - lower) / (upper - lower) } else { 1.0 - (value - upper) / (lower - upper) }
}

/// The q-quantile.
pub(in super::super) fn quantile(q: f64, histogram: &FloatHistogram) -> Estimate {
    if !(0.0..=1.0).contains(&q) && !q.is_nan() {
        return Estimate::sound(if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if histogram.count == 0.0 || q.is_nan() {
        return Estimate::sound(f64::NAN);
    }
    let custom = is_custom(histogram);
    // Observations of NaN are in no bucket: only from below can the rank be found then.
    let forward = histogram.sum.is_nan() || q < 0.5;
    let rank = if forward { q } else { 1.0 - q } * histogram.count;
    let mut buckets: Vec<Bucket> = seen(histogram).into_iter().filter(|bucket| bucket.count != 0.0).collect();
    let inside: f64 = buckets.iter().map(|bucket| bucket.count).sum();
    let skewed = histogram.sum.is_nan() && inside < histogram.count;
    if !forward {
        buckets.reverse();
    }
    let mut passed = 0.0;
    let hit = buckets.iter().find(|bucket| {
        passed += bucket.count;
        passed >= rank
    });
    let Some(bucket) = hit.or(buckets.last()) else { return Estimate { value: f64::NAN, skewed } };
    let passed = passed.min(histogram.count);
    if hit.is_none() && histogram.sum.is_nan() {
        return Estimate { value: f64::NAN, skewed };
    }
    let value = if custom && bucket.lower == f64::NEG_INFINITY {
        bucket.upper
    } else if custom && bucket.upper == f64::INFINITY {
        bucket.lower
    } else if passed < rank {
        bucket.upper
    } else {
        let rank = if forward { rank - (passed - bucket.count) } else { passed - rank };
        at_share(bucket, rank / bucket.count, custom)
    };
    Estimate { value, skewed }
}

/// The share of observations in `lower..=upper`.
pub(in super::super) fn fraction(lower: f64, upper: f64, histogram: &FloatHistogram) -> Estimate {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return Estimate::sound(f64::NAN);
    }
    if lower >= upper {
        return Estimate::sound(0.0);
    }
    let custom = is_custom(histogram);
    let buckets = seen(histogram);
    let inside: f64 = buckets.iter().map(|bucket| bucket.count).sum();
    let below = |value: f64| {
        let mut rank = 0.0;
        for bucket in &buckets {
            if bucket.lower >= value {
                break;
            }
            if bucket.upper > value {
                if bucket.lower == f64::NEG_INFINITY {
                    return rank + bucket.count;
                }
                return rank + bucket.count * share_below(bucket, value, custom);
            }
            rank += bucket.count;
        }
        rank
    };
    let rank = |value: f64| below(value).min(histogram.count);
    let skewed = histogram.sum.is_nan() && inside < histogram.count;
    Estimate { value: (rank(upper) - rank(lower)) / histogram.count, skewed }
}

/// The population variance, with the middle of each bucket for all its observations.
pub(in super::super) fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = Kahan::default();
    for bucket in all_buckets(histogram).into_iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if is_custom(histogram) {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        };
        squares.add(bucket.count * (middle - mean) * (middle - mean));
    }
    squares.value() / histogram.count
}
