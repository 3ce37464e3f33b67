//! The operators `</` and `>/`: a histogram without the observations above or below a value.

use crate::model::FloatHistogram;

use super::estimate::{seen, share_below};
use super::layout::{Bucket, is_custom};
use super::runs;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Side {
    /// `</`: what lies below the value.
    Below,
    /// `>/`: what lies above it.
    Above,
}

/// The histogram without what lies beyond `value`. Its sum is estimated anew from the middles of the buckets.
pub(in super::super) fn trimmed(histogram: &FloatHistogram, side: Side, value: f64) -> FloatHistogram {
    let custom = is_custom(histogram);
    let (mut kept, mut sum) = (Vec::new(), 0.0);
    let mut complete = true;
    for bucket in seen(histogram) {
        let (count, middle) = part(&bucket, side, value, custom);
        complete &= count == bucket.count;
        if count != 0.0 {
            sum += count * middle;
        }
        kept.push(count);
    }
    if complete {
        return histogram.clone();
    }
    let mut out = histogram.clone();
    let mut counts = kept.iter().copied();
    // In the order of the buckets: negative ones from the outside in, the zero bucket if it holds anything, positive.
    let negatives = out.negative.counts.len();
    let below: Vec<f64> = counts.by_ref().take(negatives).collect();
    out.negative.counts = below.into_iter().rev().collect();
    if out.zero_count != 0.0 {
        out.zero_count = counts.next().unwrap_or(0.0);
    }
    out.positive.counts = counts.collect();
    (out.count, out.sum) = (kept.iter().sum(), sum);
    (out.positive, out.negative) = (runs(super::sparse(&out.positive)), runs(super::sparse(&out.negative)));
    out
}

/// How much of a bucket is kept, and the middle of that part.
fn part(bucket: &Bucket, side: Side, value: f64, custom: bool) -> (f64, f64) {
    let middle = |lower: f64, upper: f64| {
        if lower == f64::NEG_INFINITY {
            upper
        } else if upper == f64::INFINITY {
            lower
        } else if custom || (lower <= 0.0 && upper >= 0.0) || bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            (lower + upper) / 2.0
        } else {
            (lower * upper).sqrt().copysign(upper)
        }
    };
    let (keeps_all, keeps_none) = match side {
        Side::Below => (bucket.upper <= value, bucket.lower >= value),
        Side::Above => (bucket.lower >= value, bucket.upper <= value),
    };
    // The lowest custom bucket begins nowhere; at zero it is only taken to begin where that helps to cut it.
    let endless = custom && bucket.with_lower && side == Side::Above && value.is_finite() && value < bucket.lower;
    if endless {
        return (0.0, 0.0);
    }
    if keeps_all {
        return (bucket.count, middle(bucket.lower, bucket.upper));
    }
    if keeps_none {
        return (0.0, 0.0);
    }
    // The value lies inside. A bucket without end cannot be cut: it is kept whole on its open side, else dropped.
    match (side, bucket.lower == f64::NEG_INFINITY, bucket.upper == f64::INFINITY) {
        (_, true, true) => (0.0, 0.0),
        (Side::Below, true, _) | (Side::Above, _, true) => (bucket.count, value),
        (Side::Above, true, _) | (Side::Below, _, true) => (0.0, 0.0),
        (Side::Below, ..) => (bucket.count * share_below(bucket, value, custom), middle(bucket.lower, value)),
        (Side::Above, ..) => (bucket.count * (1.0 - share_below(bucket, value, custom)), middle(value, bucket.upper)),
    }
}
