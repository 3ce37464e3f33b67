//! A run in words: why it ran or did not, and what came of it.

use super::Run;
use crate::act::binding::Action;

impl Run {
    /// Why it ran or did not, and what came of it: text for a person, one fact per line. Quoted text came from alerts or
    /// from the play.
    pub fn explain(&self) -> String {
        let mut lines = vec![
            format!(
                "run {}: {} ({} on {}, mode {})",
                self.id,
                self.state.as_str(),
                self.binding,
                self.target,
                self.mode.as_str()
            ),
            format!("  why       rule {:?} fired with value {} for {:?}", self.rule, self.value, self.labels),
            format!("  episode   opened at {}, step {}", self.episode, self.step),
        ];
        if !self.detail.is_empty() {
            lines.push(format!("  because   {:?}", self.detail));
        }
        lines.extend(self.approval.as_ref().map(|approval| format!("  approval  {}", approval.describe())));
        if !self.guards.is_empty() {
            lines.push(format!("  passed    {}", self.guards.join(", ")));
        }
        let action = match self.action() {
            Action::Playbook(name) => {
                let digest = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "-".into());
                let (playbook, vars) = (digest(&self.playbook_sha256), digest(&self.vars_sha256));
                format!("  playbook  {name:?} sha256 {playbook}\n  variables sha256 {vars}")
            }
            other => format!("  action    {other}"),
        };
        lines.push(action);
        lines.extend(self.place.as_ref().map(|place| format!("  job       {} {}", place.job, place.url)));
        let times = [
            ("claimed", self.claimed_at),
            ("spawned", self.spawned_at),
            ("exited", self.exited_at),
            ("ended", self.ended_at),
        ];
        let after = |(name, at): (&str, Option<i64>)| at.map(|at| format!(", {name} after {} ms", at - self.queued_at));
        let times: String = times.into_iter().filter_map(after).collect();
        lines.push(format!("  times     queued at {}{times}", self.queued_at));
        for task in &self.tasks {
            let (changed, ignored) =
                (if task.changed { ", changed" } else { "" }, if task.ignored { ", ignored" } else { "" });
            lines.push(format!(
                "  task      {} {:?} {}{changed}{ignored} {:?}",
                task.host, task.task, task.status, task.message
            ));
        }
        if self.tasks_dropped > 0 {
            lines.push(format!("  task      … and {} more", self.tasks_dropped));
        }
        lines.join("\n")
    }
}
