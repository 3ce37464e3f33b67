//! Remediations, checked against the rest of the configuration: rules, targets, windows, receivers, PromQL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::check::Check;
use super::file::File;
use crate::act::binding::Action;
use crate::act::check::{Checked, Known, Problem as Mistake, RuleShape, check as check_act};
use crate::act::facts::Host;
use crate::collect::command::misfit;
use crate::collect::http::checked_url;
use crate::model::Labels;
use crate::notify::settings::ReceiverEntry;
use crate::query;
use crate::rules::RuleGroup;
use crate::silence::Windows;
use crate::yaml::{Document, Problem, Severity};

/// What of the configuration is known when the remediations are checked.
pub(super) struct Context<'a> {
    pub(super) folder: &'a Path,
    pub(super) state: &'a Path,
    /// `None` when a rule file could not be read: then nothing is said about what rules can produce.
    pub(super) groups: Option<&'a [RuleGroup]>,
    pub(super) external_labels: &'a Labels,
    pub(super) windows: &'a Windows,
}

/// Checks everything; mistakes and remarks are reported.
pub(super) fn check(check: &mut Check, file: &File, context: &Context<'_>) -> Option<Checked> {
    let host = |entry: &super::file::TargetEntry| Host {
        name: entry.id.clone(),
        group: entry.kind.clone(),
        vars: BTreeMap::new(),
    };
    let receivers = || file.receivers.iter();
    let name = |entry: &ReceiverEntry| entry.name.clone();
    let known = Known {
        rules: context.groups.map(|groups| shapes(groups, context.external_labels)),
        // One that lacks its id has been told of.
        hosts: file.targets.iter().filter(|entry| !entry.id.is_empty()).map(host).collect(),
        receivers: receivers().map(name).collect(),
        webhooks: receivers().filter(|entry| !entry.webhook_configs.is_empty()).map(name).collect(),
        windows: context.windows.iter().map(|window| window.name.clone()).collect(),
        misfit: &|kinds, command| misfit(kinds.iter().copied(), command),
        expression: &expression,
    };
    if let Some(awx) = &file.ansible.awx
        && let Err(error) = checked_url(&awx.url, "ansible.awx.url")
    {
        check.report(error.path, error.message);
    }
    match check_act(&file.remediations, &file.ansible, context.folder, context.state, &known) {
        Ok(act) => {
            for Mistake { path, message } in &act.warnings {
                check.warn(path, message);
            }
            if act.awx.is_none() {
                playbooks(check, &act);
            }
            Some(act)
        }
        Err(mistakes) => {
            for Mistake { path, message } in mistakes {
                check.report(path, message);
            }
            None
        }
    }
}

/// What is wrong with an expression that must hold, and where in it.
pub(super) fn expression(text: &str) -> Result<(), String> {
    match query::parse(text) {
        Ok(expr) if matches!(expr.value_type(), query::ValueType::Vector | query::ValueType::Scalar) => Ok(()),
        Ok(expr) => Err(format!("it gives a {:?}; it must give a vector or a scalar", expr.value_type())),
        Err(error) => match error.span {
            Some(span) => {
                let (line, column) = span.line_column(text);
                Err(format!("{} (line {line}, column {column} of the expression)", error.kind))
            }
            None => Err(error.to_string()),
        },
    }
}

/// What is known beforehand of the alerts of all rules.
fn shapes(groups: &[RuleGroup], external_labels: &Labels) -> Vec<RuleShape> {
    let rules = groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.alert().is_some());
    let shape = |rule: &crate::rules::Rule| {
        let external = external_labels.iter().map(|(name, value)| (name.to_string(), Some(value.to_string())));
        let own = rule.labels.iter().map(|(name, value)| {
            // What a template becomes nobody knows beforehand.
            (name.to_string(), (!value.contains("{{")).then(|| value.to_string()))
        });
        RuleShape { name: rule.name.clone(), labels: external.chain(own).collect() }
    };
    rules.map(shape).collect()
}

/// Playbooks are Ansible's to judge; what YAML itself does not allow can be said before one is needed.
fn playbooks(check: &mut Check, act: &Checked) {
    let steps = act.bindings.iter().flat_map(|binding| &binding.steps);
    let files: BTreeSet<PathBuf> = steps
        .filter_map(|step| match &step.action {
            Action::Playbook(name) => Some(act.ansible.playbooks.join(name)),
            _ => None,
        })
        .collect();
    for file in files.into_iter().filter(|file| file.is_file()) {
        let problem = match Document::read(&file) {
            Ok(document) if document.value.is_sequence() => continue,
            Ok(document) => document.problem("", "a playbook is a list of plays (- hosts: …)"),
            Err(problem) => problem,
        };
        check.warnings.push(Problem { severity: Severity::Warning, ..problem });
    }
}
