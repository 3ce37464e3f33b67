//! What can go wrong with a query, always with the place in its text where that is known.

use std::fmt;
use std::time::Duration;

use crate::model::duration::format_duration;
use crate::model::{MatcherError, SourceError};

/// A piece of the query's text, in bytes: `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// From `start` up to, but without, `end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Span { start, end }
    }

    /// The smallest span that holds both.
    pub fn join(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Line and column of the start, both counted from 1; the column counts characters.
    pub fn line_column(self, text: &str) -> (usize, usize) {
        let before = text.get(..self.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// The sort of mistake.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryErrorKind {
    /// The text is longer than a query may be.
    #[error("the query is {length} bytes long; the limit is {limit}")]
    TooLong {
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Operators, calls or parentheses are nested too deeply.
    #[error("the query is nested deeper than {limit} levels; split it with a recording rule")]
    TooDeep {
        /// Levels allowed.
        limit: usize,
    },
    /// The text is not PromQL.
    #[error("{0}")]
    Syntax(String),
    /// A call of a function that does not exist.
    #[error("unknown function {0:?}")]
    UnknownFunction(String),
    /// A value of the wrong type: a range where an instant vector is needed, and so on.
    #[error("{0}")]
    Type(String),
    /// A label matcher that cannot be used.
    #[error("{0}")]
    Matcher(MatcherError),
    /// The query is well formed, but these samples cannot be combined as it asks.
    #[error("{0}")]
    Evaluation(String),
    /// More samples than a query may hold.
    #[error("the query needs more than {limit} samples; narrow its matchers or its range")]
    TooManySamples {
        /// Samples allowed.
        limit: usize,
    },
    /// More series than a query may hold.
    #[error("the query touches more than {limit} series; narrow its matchers")]
    TooManySeries {
        /// Series allowed.
        limit: usize,
    },
    /// More steps than a query may take.
    #[error("the query asks for more than {limit} steps; use a larger step or a shorter range")]
    TooManySteps {
        /// Steps allowed.
        limit: usize,
    },
    /// The windows of a range function overlap so much that reading them all would take too long.
    #[error("the query would read {limit} samples again and again; use a larger step or a shorter range")]
    TooMuchWork {
        /// Samples that may be read, each as often as a window holds it.
        limit: usize,
    },
    /// The evaluation takes too long.
    #[error("the query takes longer than {}; narrow its matchers or its range", format_duration(*limit))]
    TooSlow {
        /// Time allowed.
        limit: Duration,
    },
    /// The source of samples failed.
    #[error("{0}")]
    Source(String),
}

/// Why a query cannot be parsed or answered.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryError {
    /// The mistake.
    pub kind: QueryErrorKind,
    /// Where in the text, if it has one place.
    pub span: Option<Span>,
    /// What to write instead, where that can be guessed.
    pub hint: Option<String>,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for QueryError {}

impl QueryError {
    pub(super) fn new(kind: QueryErrorKind) -> Self {
        QueryError { kind, span: None, hint: None }
    }

    pub(super) fn syntax(message: impl Into<String>, span: Span) -> Self {
        QueryError { kind: QueryErrorKind::Syntax(message.into()), span: Some(span), hint: None }
    }

    pub(super) fn typed(message: impl Into<String>, span: Span) -> Self {
        QueryError { kind: QueryErrorKind::Type(message.into()), span: Some(span), hint: None }
    }

    pub(super) fn evaluation(message: impl Into<String>, span: Span) -> Self {
        QueryError { kind: QueryErrorKind::Evaluation(message.into()), span: Some(span), hint: None }
    }

    pub(super) fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The message for people: `line:column: what is wrong`, then the line of the query with the place marked.
    /// `text` is the query that was parsed.
    pub fn render(&self, text: &str) -> String {
        let Some(span) = self.span else {
            return self.to_string();
        };
        let (line, column) = span.line_column(text);
        let shown = text.lines().nth(line - 1).unwrap_or_default();
        let room = shown.chars().count().saturating_sub(column - 1).max(1);
        let marked = text.get(span.start..span.end).map_or(1, |piece| piece.chars().count()).clamp(1, room);
        // Tabs stay tabs, so that the caret stands below its word whatever a tab's width is.
        let indent: String = shown.chars().take(column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
        format!("{line}:{column}: {self}\n  {shown}\n  {indent}{}", "^".repeat(marked))
    }
}

impl From<SourceError> for QueryError {
    fn from(error: SourceError) -> Self {
        QueryError::new(match error {
            SourceError::TooManySamples { limit } => QueryErrorKind::TooManySamples { limit },
            other => QueryErrorKind::Source(other.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn render_marks_the_word_in_its_line() {
        let text = "up ==\n\tfoo(x)";
        let error = QueryError::syntax("unknown function \"foo\"", Span::new(7, 10));
        assert_eq!(error.render(text), "2:2: unknown function \"foo\"\n  \tfoo(x)\n  \t^^^");
    }

    #[test]
    fn render_survives_a_place_outside_the_text() {
        let error = QueryError::syntax("unexpected end", Span::new(90, 95));
        assert!(error.render("up").contains("unexpected end"));
        assert!(error.render("").contains("unexpected end"));
    }
}
