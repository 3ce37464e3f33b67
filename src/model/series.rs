//! Series of points, and the door through which PromQL reads them.

use std::sync::Arc;

use super::histogram::FloatHistogram;
use super::labels::Labels;
use super::matcher::Matcher;
use super::starts::Starts;

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
    /// Native histograms with their times, strictly rising. A series may change between the two sorts of sample; of two
    /// at one time only one is there.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
    /// Since when its samples count, where its source says so.
    pub starts: Starts,
}

impl Series {
    /// A series of plain numbers.
    pub fn floats(labels: Labels, points: Vec<Point>) -> Self {
        Series { labels, points, histograms: Vec::new(), starts: Starts::default() }
    }
}

/// What PromQL reads from: the recent window, later the history too, in tests a list.
pub trait Source: Send + Sync {
    /// All series that satisfy every matcher, with their points whose time lies in `start..=end` (milliseconds, both
    /// included). Series without a point in that range may be left out.
    ///
    /// # Errors
    /// When the source cannot answer within its limits.
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError>;

    /// The label sets of all series that satisfy every matcher and may have a point in `start..=end`, without their
    /// points. A source with an index answers more cheaply than this default does.
    ///
    /// # Errors
    /// When the source cannot answer within its limits.
    fn series(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Labels>, SourceError> {
        Ok(self.select(matchers, start, end)?.into_iter().map(|series| series.labels).collect())
    }

    /// Whether nobody waits for the answer any more. Asked again and again during an evaluation.
    fn interrupted(&self) -> bool {
        false
    }
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
    /// Nobody waits for the answer any more, or not that long.
    #[error("the query was ended before it was done")]
    Interrupted,
    /// The storage failed.
    #[error("storage: {0}")]
    Storage(String),
}
