//! What is shown of the records: of a running daemon and of the state that a stopped one left.

use crate::act::book::{Book, Held};
use crate::act::run::{Run, RunId, RunState};

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this binding.
    pub binding: Option<String>,
    /// Only of this target.
    pub target: Option<String>,
    /// Only in this state.
    pub state: Option<RunState>,
    /// At most so many; 0 for all.
    pub most: usize,
}

impl Book {
    /// Runs, newest first.
    pub fn list(&self, filter: &Filter) -> Vec<Run> {
        let same = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        let runs = self.runs().into_iter().filter(|run| {
            same(&filter.binding, &run.binding)
                && same(&filter.target, &run.target)
                && filter.state.is_none_or(|state| state == run.state)
        });
        runs.take(if filter.most == 0 { usize::MAX } else { filter.most }).collect()
    }

    /// The check run that came before the approval of a run.
    pub fn check_of(&self, id: &RunId) -> Option<Run> {
        self.run(&id.rehearsal())
    }

    /// Why a run ran or did not, its check run and the rest of its episode included: text for a person. `None`: there is
    /// no such run.
    pub fn explain(&self, id: &RunId) -> Option<String> {
        let run = self.run(id)?;
        let mut text = run.explain();
        if let Some(check) = self.check_of(id) {
            text.push_str("\nits check run:\n");
            text.push_str(&check.explain());
        }
        let mut others: Vec<Run> = self.runs();
        others.retain(|other| {
            other.binding == run.binding
                && other.target == run.target
                && other.episode == run.episode
                && other.id != run.id
                && other.rehearses.is_none()
        });
        others.sort_by_key(|other| (other.step, other.attempt));
        for other in others {
            let (number, state) = (other.step + 1, other.state.as_str());
            text.push_str(&format!("\nstep {number} of the episode: {} {state}, run {}", other.playbook, other.id));
        }
        Some(text)
    }

    /// Why nothing is run for a binding, a target or an alert, as far as a running daemon knows, and what ran last.
    pub fn about(&self, what: &str) -> Option<String> {
        let concerns = |held: &Held| held.binding == what || held.labels.iter().any(|(_, value)| value == what);
        let line = |held: Held| {
            let since =
                chrono::DateTime::from_timestamp_millis(held.since).map(|at| at.to_rfc3339()).unwrap_or_default();
            let (reason, why) = (held.reason.as_str(), held.reason.why());
            format!("{} for {}: held back since {since}\n  because   {reason}: {why}", held.binding, held.labels)
        };
        let mut lines: Vec<String> = self.held().into_iter().filter(concerns).map(line).collect();
        let last = self.runs().into_iter().find(|run| run.target == what || run.binding == what);
        lines.extend(last.map(|run| run.explain()));
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}
