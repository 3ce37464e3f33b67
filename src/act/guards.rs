//! The guards that remember: what the runs of the past say about the next one. Pure, and durable because runs are.
//!
//! A rehearsal (the check run before an approval) and a message count nowhere: neither touches the target.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::act::binding::{Action, Binding, split_target};
use crate::act::run::{Run, RunState};
use crate::act::settings::Mode;

/// What the past says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recall {
    /// The target was worked on within the cooldown.
    pub cooling: bool,
    /// The target had its share of runs.
    pub used_up: bool,
    /// Other targets that were worked on within the budget's time.
    pub targets: usize,
    /// The target itself was worked on within that time: once more costs nothing.
    pub among_them: bool,
    /// The step failed too often in a row.
    pub broken: bool,
    /// Another run works on the host, or waits to see whether it helped.
    pub busy: bool,
    /// Runs of the binding under way.
    pub of_binding: usize,
    /// Runs under way.
    pub running: usize,
}

/// Whether `now` is less than `time` after `since`. A `since` in the future (the clock went back) counts as within.
pub(super) fn within(now: i64, since: i64, time: Duration) -> bool {
    now.saturating_sub(since) < i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Looks back from `now` for a step of a binding that would work on a target.
pub fn recall(runs: &[&Run], binding: &Binding, action: &Action, target: &str, now: i64) -> Recall {
    let guards = &binding.guards;
    let mut recall = Recall { broken: broken(runs, binding, action, now), ..Recall::default() };
    let (mut others, mut used) = (BTreeSet::new(), 0);
    for run in runs {
        let ours = run.binding == binding.name;
        if run.state.is_running() {
            recall.running += 1;
            recall.of_binding += usize::from(ours);
        }
        recall.busy |= run.state.occupies() && split_target(&run.target).0 == split_target(target).0;
        let Some(claimed) = run.claimed_at.filter(|_| run.rehearses.is_none() && run.action().acts()) else { continue };
        let same = run.target == target;
        if ours && same {
            recall.cooling |= run.ended_at.is_none_or(|ended| within(now, ended, guards.cooldown));
            used += usize::from(within(now, claimed, guards.runs.within));
        }
        // What another binding only rehearses harms nobody; what it did for real is part of the same fleet's burden.
        if (ours || run.mode >= Mode::Approve) && within(now, claimed, guards.targets.within) {
            recall.among_them |= same;
            if !same {
                others.insert(run.target.as_str());
            }
        }
    }
    recall.used_up = used >= guards.runs.runs as usize;
    recall.targets = others.len();
    recall
}

/// Whether the breaker is open: the last runs of this action all failed and it rests, or the one that was let through
/// after the rest has not ended yet.
fn broken(runs: &[&Run], binding: &Binding, action: &Action, now: i64) -> bool {
    let breaker = binding.guards.breaker;
    let same = || runs.iter().filter(|run| run.rehearses.is_none() && run.action() == *action);
    let judged = same().filter(|run| run.state.helped().is_some());
    let mut ended: Vec<(i64, bool)> =
        judged.filter_map(|run| Some((run.ended_at?, run.state.helped() == Some(true)))).collect();
    ended.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
    ended.truncate(breaker.failures as usize);
    let failed = ended.len() == breaker.failures as usize && ended.iter().all(|(_, helped)| !helped);
    let resting = ended.first().is_some_and(|(at, _)| within(now, *at, breaker.open_for));
    let trying = same().any(|run| run.state.occupies());
    failed && (resting || trying)
}

/// Whether an episode opened and closed too often.
pub fn flapping(binding: &Binding, changes: &[i64], now: i64) -> bool {
    let flap = binding.guards.flap;
    changes.iter().filter(|at| within(now, **at, flap.within)).count() >= flap.changes as usize
}

/// Whether so many firing targets of a fleet are the network's fault, or ours.
pub fn brakes(binding: &Binding, firing: usize, fleet: usize) -> bool {
    let (share, least) = binding.guards.brake;
    firing >= least as usize && firing as f64 >= share * fleet as f64
}

impl RunState {
    /// Whether the run says something about its step: true, it helped; false, it did not; nothing for one that a person
    /// or a crash ended.
    pub fn helped(self) -> Option<bool> {
        match self {
            RunState::Succeeded | RunState::Healed => Some(true),
            RunState::Failed
            | RunState::Unreachable
            | RunState::TimedOut
            | RunState::NotHealed
            | RunState::Unverifiable => Some(false),
            _ => None,
        }
    }
}
