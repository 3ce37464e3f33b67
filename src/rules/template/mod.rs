//! The part of Go's `text/template` that Prometheus rules use, with Prometheus' own functions.
//!
//! A text is read once ([`Template::parse`], with Prometheus' variables `$labels`, `$value`, `$externalLabels` and
//! `$externalURL` declared) and expanded for every alert. Rule files come from many hands, so expansion is bounded:
//! output and every text built on the way, nesting, and the number of steps.

mod ast;
mod data;
mod exec;
mod format;
mod functions;
mod humanize;
mod lex;
mod method;
mod parse;
mod printf;
mod queries;
mod text;
mod value;

use std::collections::BTreeMap;

use crate::model::Labels;

use ast::Node;
pub use data::Data;

/// What one expansion may write, in bytes; also the longest text that a function may build.
pub const MAX_OUTPUT: usize = 64 * 1024;
/// Longest template text that is read at all, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// Deepest nesting of blocks and parentheses, and of templates that call templates.
pub const MAX_DEPTH: usize = 50;
/// Nodes, pipelines and function calls that one expansion may take.
pub const MAX_STEPS: usize = 100_000;
/// Calls of `query` that one expansion may make.
pub const MAX_QUERIES: usize = 50;

/// A mistake in a template, or why its expansion failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct TemplateError {
    /// Line in the template's own text, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, in one sentence.
    pub message: String,
}

impl TemplateError {
    fn new(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        TemplateError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }
}

/// Answers the template function `query`: PromQL at the time of the rule's evaluation.
pub trait Lookup {
    /// The vector that `expression` gives.
    ///
    /// # Errors
    /// A sentence saying why there is no answer.
    fn query(&self, expression: &str) -> Result<Vec<(Labels, f64)>, LookupError>;
}

/// Why the function `query` has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(pub String);

/// What a template can see.
pub struct Scope<'a> {
    /// `$labels`: the labels of the expression's element.
    pub labels: &'a Labels,
    /// `$value`.
    pub value: f64,
    /// `$externalLabels`.
    pub external_labels: &'a Labels,
    /// `$externalURL`, also behind `externalURL` and `pathPrefix`.
    pub external_url: &'a str,
    /// Time of the evaluation, milliseconds since the epoch: what `now` says.
    pub at: i64,
    /// Behind the function `query`.
    pub lookup: &'a dyn Lookup,
}

/// A template that has been read and found well-formed.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    body: Vec<Node>,
    defined: BTreeMap<String, Vec<Node>>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] at the first mistake: syntax, an unknown function or variable, too long, too deep.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEXT {
            return Err(TemplateError::new(text, 0, format!("the template is longer than {MAX_TEXT} bytes")));
        }
        let (body, defined) = parse::parse(text)?;
        Ok(Template { text: text.to_string(), body, defined })
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How far back before the evaluation the queries of this template read, as far as they stand there in words.
    pub fn window(&self) -> std::time::Duration {
        self.defined.values().chain([&self.body]).map(|nodes| queries::window(nodes)).max().unwrap_or_default()
    }

    /// Expands the template.
    ///
    /// # Errors
    /// [`TemplateError`] where the expansion failed or hit a limit.
    pub fn expand(&self, scope: &Scope<'_>) -> Result<String, TemplateError> {
        exec::expand(self, scope)
    }

    /// Expands as Prometheus does for labels and annotations: an error becomes the text, so that an alert with a bad
    /// annotation is still an alert.
    pub fn expand_or_error(&self, scope: &Scope<'_>) -> String {
        self.expand(scope).unwrap_or_else(|error| format!("<error expanding template: {error}>"))
    }
}

#[cfg(test)]
mod tests;
