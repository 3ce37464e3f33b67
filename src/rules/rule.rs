//! What a rule file says, checked: groups and rules with their expressions parsed and their templates read.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Labels;
use crate::query::Expr;

use super::template::Template;

/// A group: its rules are evaluated one after the other, at one time.
#[derive(Clone, Debug)]
pub struct RuleGroup {
    /// The file, as it was named.
    pub file: String,
    /// Unique within its file.
    pub name: String,
    /// How often; `None` for the engine's default.
    pub interval: Option<Duration>,
    /// How far the evaluation looks back, for samples that arrive late; `None` for the engine's default.
    pub query_offset: Option<Duration>,
    /// Most alerts or series that one rule may produce; 0 for the engine's own limit only.
    pub limit: usize,
    /// In the order of evaluation.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `file;group;name{labels}`: unique and stable across restarts. Never parsed.
    pub key: Arc<str>,
    /// The alert's name, or that of the recorded series.
    pub name: String,
    /// The parsed expression.
    pub expr: Expr,
    /// The expression as it was written.
    pub expr_text: String,
    /// The group's labels and the rule's own over them, as written; those with an empty value are left out.
    pub labels: Labels,
    /// Line of the rule in its file, from 1.
    pub line: Option<usize>,
    /// Alert or recording.
    pub kind: RuleKind,
}

/// What a rule does with its result.
#[derive(Clone, Debug)]
pub enum RuleKind {
    /// Makes alerts.
    Alert(AlertRule),
    /// Makes series under the rule's name with these labels set; an empty value removes the label.
    Record(Vec<(String, String)>),
}

/// The part of a rule that only alerts have.
#[derive(Clone, Debug)]
pub struct AlertRule {
    /// How long the expression must hold before the alert fires.
    pub hold: Duration,
    /// How long the alert goes on firing when the expression no longer holds.
    pub keep_firing_for: Duration,
    /// Label templates, sorted by name.
    pub labels: Vec<(String, Template)>,
    /// Annotation templates, sorted by name.
    pub annotations: Vec<(String, Template)>,
}

impl Rule {
    /// The alerting part, if this is an alerting rule.
    pub fn alert(&self) -> Option<&AlertRule> {
        match &self.kind {
            RuleKind::Alert(alert) => Some(alert),
            RuleKind::Record(_) => None,
        }
    }
}
