//! Native histograms: one sample that holds a whole distribution in sparse buckets.
//!
//! Shape and words are those of Prometheus' native histograms
//! (<https://prometheus.io/docs/specs/native_histograms/>); counts are floats, so rates fit too.

/// A histogram at one point in time. Absolute counts, not deltas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// What is known about a reset between the previous sample and this one.
    pub reset_hint: ResetHint,
    /// Resolution: bucket boundaries grow by `2^(2^-schema)`, from -4 (coarse) to 8 (fine); [`CUSTOM_BUCKETS`] says that
    /// the boundaries stand in `custom_values`.
    pub schema: i8,
    /// Width of the zero bucket: observations in `-zero_threshold..=zero_threshold` count into `zero_count`.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, those of NaN included.
    pub count: f64,
    /// Sum of all observations. The stale marker here says that the series has ended.
    pub sum: f64,
    /// Buckets above zero.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
    /// Upper bounds of the buckets, rising, without the infinite one, for [`CUSTOM_BUCKETS`] only.
    pub custom_values: Vec<f64>,
}

/// The schema of a histogram whose boundaries were chosen by hand.
pub const CUSTOM_BUCKETS: i8 = -53;

/// Sparse buckets: runs of consecutive ones, and the counts of all of them in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Where the counts lie.
    pub spans: Vec<Span>,
    /// One absolute count for each bucket of the spans.
    pub counts: Vec<f64>,
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Gap to the end of the span before; of the first, the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// What is known about a counter reset right before a histogram sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Nothing: it has to be found by comparison.
    #[default]
    Unknown,
    /// There was a reset.
    Reset,
    /// There was none.
    NoReset,
    /// The histogram is a gauge: it has no resets.
    Gauge,
}

impl FloatHistogram {
    /// Whether this is the end marker of its series.
    pub fn is_stale(&self) -> bool {
        super::series::is_stale(self.sum)
    }
}
