//! What the judge is told about the world, and the trait through which the daemon tells it.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use crate::model::{Alert, Labels};

/// The daemon's knowledge, asked again at every decision. Calls must be quick: they read shared state, no disk.
pub trait World: Send + Sync {
    /// Wall clock, milliseconds since the epoch.
    fn now(&self) -> i64;

    /// Every alert that fires at this moment. It must know of a firing alert before its transition is sent: what does
    /// not fire here is dropped at the moment of action.
    fn firing(&self) -> Vec<Alert>;

    /// What is known about a rule, by the key in [`Alert::rule`]; `None` when there is no such rule any more.
    fn rule(&self, rule: &str) -> Option<RuleFacts>;

    /// Whether the target's last poll succeeded; `None` when davylamp polls no target of this name.
    fn target_up(&self, target: &str) -> Option<bool>;

    /// The targets as inventory hosts.
    fn hosts(&self) -> Vec<Host>;

    /// Whether a PromQL expression holds at this moment; `None` without data, or when it cannot be evaluated.
    fn holds<'a>(&'a self, expression: &'a str) -> BoxFuture<'a, Option<bool>>;

    /// Whether a silence covers these labels, and which one, in words.
    fn silenced(&self, labels: &Labels) -> Option<String>;

    /// Whether the window of this name is open.
    fn window_open(&self, name: &str) -> bool;

    /// What samples that are newer than `since` say about an alert of one of our own rules.
    fn symptom<'a>(&'a self, rule: &'a str, labels: &'a Labels, since: i64) -> BoxFuture<'a, Symptom>;
}

/// What new samples say about an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom {
    /// The expression holds.
    Present,
    /// The expression is false, and the series that it needs are there.
    Clear,
    /// There are no new samples that would say it.
    NoData,
}

/// What is known about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleFacts {
    /// The samples do not yet cover the rule's range, so its result means nothing.
    pub warming_up: bool,
    /// The rule reads what the target measures, not only whether it answers (`davylamp_target_up`).
    pub needs_values: bool,
}

/// One host of a generated inventory. Variables are untrusted text and are written as such.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Host {
    /// Name in the inventory: the target's id.
    pub name: String,
    /// Group, the target's kind.
    pub group: String,
    /// Host variables, for example `ansible_host`.
    pub vars: BTreeMap<String, String>,
}
