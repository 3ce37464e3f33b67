//! What is remembered of a rule's last evaluations, with the reason of each.

use std::fmt;
use std::time::Duration;

use crate::model::Labels;
use crate::query::QueryError;

use super::step::StepError;

/// Evaluations remembered per rule.
pub const TRACE_LENGTH: usize = 20;

/// Why a rule's evaluation failed. Its alerts stay as they were.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// The query failed.
    #[error("{0}")]
    Query(#[from] QueryError),
    /// The query's value is of no use to a rule.
    #[error("the expression gives a {0}; a rule needs a vector or a scalar")]
    Type(&'static str),
    /// The elements cannot become alerts.
    #[error("{0}")]
    Step(#[from] StepError),
    /// Two elements of a recording rule became one series.
    #[error("two elements have the labels {0} after the rule's labels are applied")]
    DuplicateSeries(Labels),
    /// A recording rule produced more series than allowed.
    #[error("{count} series exceed the limit of {limit}")]
    Limit {
        /// Series there would be.
        count: usize,
        /// Series allowed.
        limit: usize,
    },
}

/// What an evaluation saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// So many elements.
    Elements(usize),
    /// No element, though every selector has matched a series before: the condition is false, or series are gone.
    Nothing,
    /// No element, and this selector has never matched any series: a misspelt name, or nothing polled yet.
    NeverMatched(String),
    /// The evaluation failed.
    Failed(RuleError),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Elements(1) => f.write_str("1 element"),
            Seen::Elements(count) => write!(f, "{count} elements"),
            Seen::Nothing => f.write_str("the condition is not met"),
            Seen::NeverMatched(selector) => write!(f, "no series has ever matched {selector}"),
            Seen::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// One remembered evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// When, milliseconds since the epoch.
    pub at: i64,
    /// How long it took.
    pub took: Duration,
    /// What it saw.
    pub seen: Seen,
    /// Alerts that changed state.
    pub changes: usize,
    /// Alerts that were pending after it.
    pub pending: usize,
    /// Alerts that fired after it.
    pub firing: usize,
    /// Warnings and remarks of the query, in Prometheus' words.
    pub notes: Vec<String>,
    /// The rule's range was not covered by samples yet.
    pub warming_up: bool,
}
