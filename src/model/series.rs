//! Series of points, and the door through which PromQL reads them.

use super::labels::Labels;
use super::matcher::Matcher;

/// The bits of Prometheus' stale marker: a NaN that says "this series has ended here". Compare bits, never values.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `value` is the stale marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One value at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since the epoch.
    pub t: i64,
    /// The value; [`is_stale`] tells the end marker from a true NaN.
    pub v: f64,
}

/// A series and its points in time order.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Label set with `__name__`.
    pub labels: Labels,
    /// Strictly rising in time; stale markers included.
    pub points: Vec<Point>,
}

/// What PromQL reads from: the recent window, later the history too, in tests a list.
pub trait Source: Send + Sync {
    /// All series that satisfy every matcher, with their points whose time lies in `start..=end` (milliseconds, both
    /// included). Series without a point in that range may be left out.
    ///
    /// # Errors
    /// When the source cannot answer within its limits.
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError>;
}

/// Why a source could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// More points than a query may load.
    #[error("the query would load more than {limit} samples; narrow its matchers or its range")]
    TooManySamples {
        /// The limit that was hit.
        limit: usize,
    },
    /// The storage failed.
    #[error("storage: {0}")]
    Storage(String),
}
