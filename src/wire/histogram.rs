//! Native histograms between the wire and the model: integer ones become float ones, and what cannot be true is refused.

use super::Caps;
use super::message::{BucketSpan, Count, Histogram, ZeroCount};
use crate::model::histogram::{Buckets, CUSTOM_BUCKETS, FloatHistogram, ResetHint, Span};
use crate::model::series::is_stale;

/// Why a histogram is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    /// A resolution that nobody knows.
    #[error("its schema is neither -4 to 8 nor -53")]
    Schema,
    /// More buckets than allowed.
    #[error("it has too many buckets")]
    TooManyBuckets,
    /// Spans and counts disagree.
    #[error("its spans do not name as many buckets as it has")]
    Spans,
    /// A count below zero, or none at all.
    #[error("it has a count that is negative or not a number")]
    Counts,
    /// More in the buckets than counted.
    #[error("its buckets hold more than its count")]
    Sum,
    /// Custom bounds that do not fit.
    #[error("its custom bounds are missing, not rising, or stand beside buckets that custom ones do not have")]
    Custom,
}

/// Reads a histogram of the wire.
///
/// # Errors
/// [`HistogramError`]: the checks are those of Prometheus' `histogram.Validate`.
pub fn from_histogram(wire: &Histogram, caps: &Caps) -> Result<FloatHistogram, HistogramError> {
    let integer = !matches!(wire.count, Some(Count::Float(_)));
    let positive = buckets(&wire.positive_spans, &wire.positive_deltas, &wire.positive_counts, integer, caps)?;
    let negative = buckets(&wire.negative_spans, &wire.negative_deltas, &wire.negative_counts, integer, caps)?;
    let histogram = FloatHistogram {
        reset_hint: match wire.reset_hint {
            1 => ResetHint::Reset,
            2 => ResetHint::NoReset,
            3 => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        },
        schema: i8::try_from(wire.schema).map_err(|_| HistogramError::Schema)?,
        zero_threshold: wire.zero_threshold,
        zero_count: match wire.zero_count {
            Some(ZeroCount::Int(count)) => count as f64,
            Some(ZeroCount::Float(count)) => count,
            None => 0.0,
        },
        count: match wire.count {
            Some(Count::Int(count)) => count as f64,
            Some(Count::Float(count)) => count,
            None => 0.0,
        },
        sum: wire.sum,
        positive,
        negative,
        custom_values: wire.custom_values.clone(),
    };
    if !is_stale(histogram.sum) {
        check(&histogram, integer, caps)?;
    }
    Ok(histogram)
}

fn buckets(
    spans: &[BucketSpan],
    deltas: &[i64],
    counts: &[f64],
    integer: bool,
    caps: &Caps,
) -> Result<Buckets, HistogramError> {
    let named: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    let given = if integer { deltas.len() } else { counts.len() };
    if given > caps.buckets || spans.len() > caps.buckets {
        return Err(HistogramError::TooManyBuckets);
    }
    let end: i64 = spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    // Whoever reads the buckets counts along their indices.
    let far = i32::try_from(end).is_err();
    if named != given as u64 || far || spans.iter().skip(1).any(|span| span.offset < 0) {
        return Err(HistogramError::Spans);
    }
    let counts = if integer {
        let mut last = 0_i64;
        let absolute = deltas.iter().map(|delta| {
            last = last.checked_add(*delta)?;
            Some(last as f64)
        });
        absolute.collect::<Option<Vec<f64>>>().ok_or(HistogramError::Counts)?
    } else {
        counts.to_vec()
    };
    let spans = spans.iter().map(|span| Span { offset: span.offset, length: span.length }).collect();
    Ok(Buckets { spans, counts })
}

fn check(histogram: &FloatHistogram, integer: bool, caps: &Caps) -> Result<(), HistogramError> {
    let custom = histogram.schema == CUSTOM_BUCKETS;
    if !custom && !(-4..=8).contains(&histogram.schema) {
        return Err(HistogramError::Schema);
    }
    if custom {
        let bounds = &histogram.custom_values;
        let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]) && bounds.iter().all(|bound| bound.is_finite());
        let others =
            histogram.zero_count != 0.0 || histogram.zero_threshold != 0.0 || !histogram.negative.spans.is_empty();
        let end: i64 =
            histogram.positive.spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
        let begin = histogram.positive.spans.first().map_or(0, |span| span.offset);
        // The last bucket reaches from the last bound to infinity.
        if !rising || others || bounds.len() > caps.buckets || begin < 0 || end > bounds.len() as i64 + 1 {
            return Err(HistogramError::Custom);
        }
    } else if !histogram.custom_values.is_empty() {
        return Err(HistogramError::Custom);
    }
    let counts = || histogram.positive.counts.iter().chain(&histogram.negative.counts).chain([&histogram.zero_count]);
    if counts().chain([&histogram.count]).any(|count| !(0.0..f64::INFINITY).contains(count)) {
        return Err(HistogramError::Counts);
    }
    // NaN is observed too: it counts, and lies in no bucket. Sums of floats may be off by more than they should.
    if integer && counts().sum::<f64>() > histogram.count {
        return Err(HistogramError::Sum);
    }
    Ok(())
}

/// Writes a histogram for the wire, as a float one.
pub fn to_histogram(t: i64, histogram: &FloatHistogram) -> Histogram {
    let spans = |buckets: &Buckets| {
        buckets.spans.iter().map(|span| BucketSpan { offset: span.offset, length: span.length }).collect()
    };
    Histogram {
        count: Some(Count::Float(histogram.count)),
        sum: histogram.sum,
        schema: i32::from(histogram.schema),
        zero_threshold: histogram.zero_threshold,
        zero_count: Some(ZeroCount::Float(histogram.zero_count)),
        negative_spans: spans(&histogram.negative),
        negative_deltas: Vec::new(),
        negative_counts: histogram.negative.counts.clone(),
        positive_spans: spans(&histogram.positive),
        positive_deltas: Vec::new(),
        positive_counts: histogram.positive.counts.clone(),
        reset_hint: match histogram.reset_hint {
            ResetHint::Unknown => 0,
            ResetHint::Reset => 1,
            ResetHint::NoReset => 2,
            ResetHint::Gauge => 3,
        },
        timestamp: t,
        custom_values: histogram.custom_values.clone(),
        start_timestamp: 0,
    }
}
