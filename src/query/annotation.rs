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

    /// Adds what was remarked on a part of the query while its series were gone through.
    pub(super) fn take(&mut self, remarks: Remarks, span: Span) {
        for (severity, message) in remarks.0 {
            self.add(Annotation { severity, message, span });
        }
    }

    fn add(&mut self, note: Annotation) {
        if self.0.len() < MAX_NOTES && !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// The warnings and remarks.
    pub(super) fn into_list(self) -> Vec<Annotation> {
        self.0
    }
}

/// Remarks that do not know their place yet.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<(Severity, String)>);

impl Remarks {
    pub(super) fn warn(&mut self, message: impl Into<String>) {
        self.add(Severity::Warning, message.into());
    }

    pub(super) fn info(&mut self, message: impl Into<String>) {
        self.add(Severity::Info, message.into());
    }

    fn add(&mut self, severity: Severity, message: String) {
        let remark = (severity, message);
        if self.0.len() < MAX_NOTES && !self.0.contains(&remark) {
            self.0.push(remark);
        }
    }

    /// Floats and histograms where a function needs one sort.
    pub(super) fn mixed(&mut self, name: &str) {
        self.warn(format!("encountered a mix of histograms and floats for metric name {name:?}"));
    }

    /// Histograms that a function of numbers passes over.
    pub(super) fn ignored(&mut self, name: &str) {
        self.info(format!(
            "ignored histograms in a range containing both floats and histograms for metric name {name:?}"
        ));
    }

    /// Exponential and custom buckets.
    pub(super) fn layouts(&mut self, name: &str) {
        self.warn(format!(
            "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name:?}"
        ));
    }

    /// Different custom boundaries; `operation` is Prometheus' word for what was done.
    pub(super) fn reconciled(&mut self, operation: &str) {
        self.info(format!("mismatched custom buckets were reconciled during {operation}"));
    }

    /// A counter right after a reset was put together with one that had none.
    pub(super) fn collision(&mut self, operation: &str) {
        self.warn(format!("conflicting counter resets during histogram {operation}"));
    }
}
