//! Warnings and remarks that accompany an answer.

use std::fmt;

use super::error::Span;

/// How serious an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The answer is probably not what was wanted.
    Warning,
    /// Worth a look.
    Info,
}

/// A remark on a part of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// How serious.
    pub severity: Severity,
    /// What is odd, in Prometheus' words.
    pub message: String,
    /// The part of the query.
    pub span: Span,
}

impl Annotation {
    /// As Prometheus' API shows it: with line and column in `text`, the query.
    pub fn render(&self, text: &str) -> String {
        let (line, column) = self.span.line_column(text);
        format!("{self} ({line}:{column})")
    }
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        write!(f, "PromQL {severity}: {}", self.message)
    }
}

/// More remarks than this are dropped: one per series would flood the reader.
const MAX_NOTES: usize = 20;

/// The remarks of one evaluation, each kept once.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Annotation>);

impl Notes {
    pub(super) fn warn(&mut self, message: impl Into<String>, span: Span) {
        self.add(Annotation { severity: Severity::Warning, message: message.into(), span });
    }

    pub(super) fn info(&mut self, message: impl Into<String>, span: Span) {
        self.add(Annotation { severity: Severity::Info, message: message.into(), span });
    }

    fn add(&mut self, note: Annotation) {
        if self.0.len() < MAX_NOTES && !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    pub(super) fn into_list(self) -> Vec<Annotation> {
        self.0
    }
}
