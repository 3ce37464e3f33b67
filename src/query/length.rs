//! Lengths of time in a query, with the arithmetic that Prometheus 3 allows in them.

use super::ast::BinaryOp;
use super::binary::arithmetic;

/// A length of time: written out, or computed from others and from the query's own step and range.
#[derive(Clone, Debug, PartialEq)]
pub enum Length {
    /// Milliseconds.
    Duration(f64),
    /// A plain number: seconds where a length is meant, a factor in a product. Kept in seconds.
    Number(f64),
    /// `step()`
    Step,
    /// `range()`
    Range,
    /// `-a`
    Negative(Box<Length>),
    /// `a + b`; the operator is one of `+ - * / % ^`.
    Binary(BinaryOp, Box<Length>, Box<Length>),
    /// `min_of(a, b)`
    MinOf(Box<Length>, Box<Length>),
    /// `max_of(a, b)`
    MaxOf(Box<Length>, Box<Length>),
}

impl Length {
    /// The length in seconds; `step` and `range` are the query's own, in milliseconds.
    pub fn seconds(&self, step: i64, range: i64) -> f64 {
        let of = |length: &Length| length.seconds(step, range);
        match self {
            Length::Duration(millis) => millis / 1000.0,
            Length::Number(number) => *number,
            Length::Step => step as f64 / 1000.0,
            Length::Range => range as f64 / 1000.0,
            Length::Negative(inner) => -of(inner),
            Length::Binary(op, a, b) => arithmetic(*op, of(a), of(b)),
            Length::MinOf(a, b) => of(a).min(of(b)),
            Length::MaxOf(a, b) => of(a).max(of(b)),
        }
    }

    /// The length in milliseconds, cut to what a time can hold.
    pub fn millis(&self, step: i64, range: i64) -> i64 {
        // A cast from a float saturates; the bound keeps sums of a few lengths and times within an i64.
        ((self.seconds(step, range) * 1000.0).round() as i64).clamp(-MAX_MILLIS, MAX_MILLIS)
    }

    /// Whether the value depends on the query's step or range.
    pub fn is_constant(&self) -> bool {
        match self {
            Length::Duration(_) | Length::Number(_) => true,
            Length::Step | Length::Range => false,
            Length::Negative(inner) => inner.is_constant(),
            Length::Binary(_, a, b) | Length::MinOf(a, b) | Length::MaxOf(a, b) => a.is_constant() && b.is_constant(),
        }
    }
}

/// No time and no length in a query lies beyond this (some 70 million years), so that sums never overflow.
pub(super) const MAX_MILLIS: i64 = i64::MAX / 4;
