//! Computing with native histograms: a form that adds up, and what is estimated from buckets.
//!
//! Semantics follow Prometheus (<https://prometheus.io/docs/specs/native_histograms/>): resolutions are brought to the
//! coarser one, zero buckets to the wider one, custom boundaries to those that both sides have.

use crate::model::FloatHistogram;
use crate::model::histogram::{Buckets, CUSTOM_BUCKETS, Span};

mod estimate;
mod layout;
mod sum;
mod trim;

pub(super) use estimate::{Estimate, fraction, quantile, variance};
pub use layout::{Bucket, populated_buckets};
pub(super) use layout::{equal, is_custom, is_reset, text};
pub(super) use sum::{Incompatible, Sum, collide, combined, mean, scaled, total};
pub(super) use trim::{Side, trimmed};

/// Buckets by index, rising.
type Sparse<T> = Vec<(i32, T)>;

/// The populated places of a run of buckets.
fn sparse(buckets: &Buckets) -> Sparse<f64> {
    let mut index = 0_i32;
    let mut counts = buckets.counts.iter();
    let mut out = Vec::with_capacity(buckets.counts.len());
    for span in &buckets.spans {
        index = index.saturating_add(span.offset);
        for _ in 0..span.length {
            let Some(count) = counts.next() else { return out };
            out.push((index, *count));
            index = index.saturating_add(1);
        }
    }
    out
}

/// Back to runs; empty buckets are left out.
fn runs(sparse: impl IntoIterator<Item = (i32, f64)>) -> Buckets {
    let mut buckets = Buckets::default();
    let mut next = 0_i32;
    for (index, count) in sparse.into_iter().filter(|(_, count)| *count != 0.0) {
        match buckets.spans.last_mut() {
            Some(span) if next == index => span.length += 1,
            _ => buckets.spans.push(Span { offset: index.saturating_sub(next), length: 1 }),
        }
        buckets.counts.push(count);
        next = index.saturating_add(1);
    }
    buckets
}

/// Where a bucket of resolution `from` lies at the coarser resolution `to`.
fn coarser(index: i32, from: i8, to: i8) -> i32 {
    let shift = u32::try_from(i32::from(from) - i32::from(to)).unwrap_or(0).min(31);
    (index.saturating_sub(1) >> shift).saturating_add(1)
}

/// The boundaries that both lists have.
fn common(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().copied().filter(|bound| b.contains(bound)).collect()
}

/// Where a custom bucket lies among fewer boundaries: in the first that reaches its own upper one.
fn among(index: i32, bounds: &[f64], fewer: &[f64]) -> i32 {
    let upper = usize::try_from(index).ok().and_then(|index| bounds.get(index)).copied().unwrap_or(f64::INFINITY);
    i32::try_from(fewer.partition_point(|bound| *bound < upper)).unwrap_or(i32::MAX)
}

/// The upper boundary of a bucket above zero.
fn upper_bound(histogram: &FloatHistogram, index: i32) -> f64 {
    if histogram.schema == CUSTOM_BUCKETS {
        return match usize::try_from(index) {
            Ok(index) => histogram.custom_values.get(index).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        };
    }
    exponential_bound(index, histogram.schema)
}

/// `2^(index · 2^-schema)`, exact where it is a power of two. What would overflow is the largest number: the last
/// bucket holds all finite observations.
fn exponential_bound(index: i32, schema: i8) -> f64 {
    let (index, schema) = (f64::from(index), i32::from(schema));
    let exponent = index * 2_f64.powi(-schema);
    let bound = if exponent.fract() == 0.0 { 2_f64.powi(exponent as i32) } else { exponent.exp2() };
    if exponent == 1024.0 { f64::MAX } else { bound }
}
