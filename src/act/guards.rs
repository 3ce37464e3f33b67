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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::judge::tests::{alert, binding};
    use crate::act::run::Wanted;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    /// A real run of the test's binding on a target, claimed and ended.
    fn run(target: &str, claimed: i64, ended: i64, state: RunState) -> Run {
        let (action, alert) = (Action::Playbook("p.yml".into()), alert(&[("miner", target)]));
        let wanted = Wanted {
            binding: "b",
            target,
            episode: claimed,
            step: 0,
            attempt: 0,
            blind: false,
            mode: Mode::Auto,
            action: &action,
            alert: &alert,
        };
        let ended_at = state.is_final().then_some(ended);
        Run { state, claimed_at: Some(claimed), ended_at, ..Run::wanted(&wanted, claimed) }
    }

    /// What the past says about `m1` at a time; the guards are the default ones.
    fn said(runs: &[Run], now: i64) -> Recall {
        let runs: Vec<&Run> = runs.iter().collect();
        recall(&runs, &binding(), &Action::Playbook("p.yml".into()), "m1", now)
    }

    #[test]
    fn a_cooldown_counts_from_the_end_of_a_run() {
        let done = run("m1", 0, 5 * MINUTE, RunState::Succeeded);
        let cooling = |run: &Run, now: i64| said(std::slice::from_ref(run), now).cooling;
        assert!(cooling(&done, 35 * MINUTE - 1));
        assert!(!cooling(&done, 35 * MINUTE), "exactly at its end");
        assert!(cooling(&done, -HOUR), "the clock went back");
        assert!(cooling(&run("m1", 0, 0, RunState::Spawned), 10 * HOUR), "while it runs");
        assert!(!cooling(&run("m2", 0, 5 * MINUTE, RunState::Succeeded), 6 * MINUTE), "another target");
        let other = Run { binding: "c".into(), ..done.clone() };
        assert!(!cooling(&other, 6 * MINUTE), "another binding");
        let rehearsal = Run { rehearses: Some(done.id.clone()), ..done.clone() };
        let mut message = done.clone();
        message.becomes(Mode::Auto, &Action::Notify("ops".into()));
        let never_begun = Run { claimed_at: None, ..run("m1", 0, 5 * MINUTE, RunState::Expired) };
        for (what, run) in [("a rehearsal", rehearsal), ("a message", message), ("never begun", never_begun)] {
            assert!(!cooling(&run, 6 * MINUTE), "{what} touches nothing");
        }
    }

    #[test]
    fn a_target_has_its_share_of_runs() {
        let at = |claimed: i64| run("m1", claimed, claimed, RunState::Failed);
        assert!(!said(&[at(0), at(HOUR)], 2 * HOUR).used_up);
        let three = [at(0), at(HOUR), at(2 * HOUR)];
        assert!(said(&three, 24 * HOUR - 1).used_up, "3/24h: the third is the last");
        assert!(!said(&three, 24 * HOUR).used_up, "the first is exactly a day old");
        let others = [at(0), at(HOUR), run("m2", HOUR, HOUR, RunState::Failed)];
        assert!(!said(&others, 2 * HOUR).used_up);
    }

    #[test]
    fn a_budget_counts_targets_and_not_runs() {
        let at = |target: &str, claimed: i64| run(target, claimed, claimed, RunState::Succeeded);
        let runs = [at("m2", 0), at("m2", 1), at("m3", 2), at("m1", 3)];
        let recall = said(&runs, MINUTE);
        assert_eq!((recall.targets, recall.among_them), (2, true));
        assert_eq!(said(&runs, HOUR).targets, 2, "one of two runs on m2 is an hour old");
        assert_eq!(said(&runs, HOUR + 1).targets, 1);
        assert!(!said(&runs, HOUR + 3).among_them);
        let foreign = |mode| Run { binding: "c".into(), mode, ..at("m4", 0) };
        assert_eq!(said(&[foreign(Mode::Check)], 1).targets, 0, "another binding only rehearsed");
        assert_eq!(said(&[foreign(Mode::Auto)], 1).targets, 1, "the fleet is one");
    }

    #[test]
    fn a_breaker_opens_at_failures_in_a_row_and_rests() {
        let end = |at: i64, state| run("m9", at - 1, at, state);
        let broken = |runs: &[Run], now: i64| said(runs, now).broken;
        let two = [end(10, RunState::Failed), end(20, RunState::NotHealed)];
        assert!(!broken(&two, 30), "one below the limit");
        let three = [two[0].clone(), two[1].clone(), end(30, RunState::TimedOut)];
        assert!(broken(&three, 30 + HOUR - 1));
        assert!(!broken(&three, 30 + HOUR), "after its rest one is let through");
        let trying = [three.to_vec(), vec![run("m8", 30 + HOUR, 0, RunState::Verifying)]].concat();
        assert!(broken(&trying, 31 + HOUR), "and no other until that one has ended");
        let healed = [three.to_vec(), vec![end(40, RunState::Healed)]].concat();
        assert!(!broken(&healed, 41), "a success ends the row");
        let nobodys = [two.to_vec(), vec![end(25, RunState::Cancelled), end(26, RunState::Interrupted)]].concat();
        assert!(!broken(&nobodys, 30), "what a person or a crash ended says nothing of the step");
        let mut other = three[2].clone();
        other.becomes(Mode::Auto, &Action::Playbook("q.yml".into()));
        assert!(!broken(&[two[0].clone(), two[1].clone(), other], 40), "another playbook");
    }

    #[test]
    fn one_run_at_a_time_on_a_host() {
        let going = run("m1/web", 0, 0, RunState::Verifying);
        let recall = said(std::slice::from_ref(&going), 1);
        assert_eq!((recall.busy, recall.running), (true, 0), "it is looked after, but nothing runs");
        let recall = said(&[run("m2", 0, 0, RunState::Spawned)], 1);
        assert_eq!((recall.busy, recall.running, recall.of_binding), (false, 1, 1));
        let foreign = Run { binding: "c".into(), ..run("m1", 0, 0, RunState::Claimed) };
        let recall = said(&[foreign], 1);
        assert_eq!((recall.busy, recall.running, recall.of_binding), (true, 1, 0));
        assert!(!said(&[run("m1", 0, 1, RunState::Failed)], 1).busy);
    }

    #[test]
    fn flapping_counts_openings_and_closings() {
        let changes: Vec<i64> = (0..6).map(|number| number * MINUTE).collect();
        assert!(!flapping(&binding(), &changes[..5], 10 * MINUTE), "one below the limit");
        assert!(flapping(&binding(), &changes, 10 * MINUTE));
        assert!(flapping(&binding(), &changes, HOUR - 1));
        assert!(!flapping(&binding(), &changes, HOUR), "the first is an hour old");
    }

    #[test]
    fn a_brake_needs_a_share_and_a_number() {
        let brakes = |firing, fleet| super::brakes(&binding(), firing, fleet);
        assert!(brakes(3, 10), "exactly 30%");
        assert!(!brakes(3, 11));
        assert!(brakes(4, 11));
        assert!(!brakes(2, 2), "the whole fleet, but too few of it");
        assert!(brakes(3, 0), "a fleet of which nothing is known");
    }
}
