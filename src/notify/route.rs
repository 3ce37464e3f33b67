//! The routing tree, flattened: which receivers an alert goes to, and in which group.

use std::time::Duration;

use crate::model::{Labels, Matcher};

/// A node that has a receiver, with everything that it inherits.
#[derive(Clone, Debug)]
pub struct Route {
    /// Alertmanager's key of the node: the matchers on the way to it.
    pub key: String,
    /// Name of the receiver.
    pub receiver: String,
    /// Labels that make a group; `None` for all.
    pub group_by: Option<Vec<String>>,
    /// How long a new group waits.
    pub group_wait: Duration,
    /// How long between two messages of a group that changes.
    pub group_interval: Duration,
    /// How long until the same is said again.
    pub repeat_interval: Duration,
    /// Windows in which nobody is told.
    pub mute_in: Vec<String>,
    /// Windows outside of which nobody is told.
    pub active_in: Vec<String>,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// Whether siblings are asked after a match.
    pub go_on: bool,
    /// Indices of children.
    pub children: Vec<usize>,
}

/// All nodes; the root is the first. Empty when nobody is to be told.
#[derive(Clone, Debug, Default)]
pub struct Routes(pub Vec<Route>);

impl Routes {
    /// The nodes that an alert ends at, in order.
    pub fn of(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        if !self.0.is_empty() {
            self.descend(0, labels, &mut found);
        }
        found
    }

    fn descend(&self, at: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let route = &self.0[at];
        if !route.matchers.iter().all(|matcher| matcher.matches(labels)) {
            return false;
        }
        let mut taken = false;
        for child in &route.children {
            if self.descend(*child, labels, found) {
                taken = true;
                if !self.0[*child].go_on {
                    break;
                }
            }
        }
        if !taken {
            found.push(at);
        }
        true
    }
}

impl Route {
    /// The labels of the group that an alert with these labels belongs to.
    pub fn group(&self, labels: &Labels) -> Labels {
        match &self.group_by {
            None => labels.clone(),
            Some(names) => labels.filter(|name| names.iter().any(|wanted| wanted == name)),
        }
    }

    /// The windows for which nobody is told now: those to be silent in that are open, or those to speak in if none is.
    pub fn muted_by(&self, is_open: impl Fn(&str) -> bool) -> &[String] {
        match self.mute_in.iter().position(|name| is_open(name)) {
            Some(at) => std::slice::from_ref(&self.mute_in[at]),
            None if self.active_in.iter().any(|name| is_open(name)) => &[],
            None => &self.active_in,
        }
    }
}
