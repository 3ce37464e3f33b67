//! Where an episode stands among the steps of its binding. Not stored: it follows from the runs, so a crash between two
//! records cannot make them disagree.

use crate::act::binding::Binding;
use crate::act::episode::Episode;
use crate::act::run::{Run, RunId, RunState};
use crate::act::settings::Mode;

/// What comes next for an episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// This step, in this attempt.
    Next {
        /// Number of the step.
        step: u32,
        /// Which attempt.
        attempt: u32,
        /// The step before ended for want of data: no data is no reason to stop here.
        blind: bool,
    },
    /// A run waits, is allowed, is at work, or is being verified.
    Busy(RunId),
    /// The last step helped, or there was nothing to find out.
    Done,
    /// A person or a crash ended a run; a person must say how it goes on.
    Halted(RunId, RunState),
    /// No step is left, and none is known to have helped.
    Exhausted,
}

/// Looks where an episode stands. `back` says whether its alert came back after a time: fired anew, or fires on though
/// the cooldown is over.
pub fn position<'a>(
    episode: &Episode,
    binding: &Binding,
    run: impl Fn(&RunId) -> Option<&'a Run>,
    back: impl Fn(i64) -> bool,
) -> Position {
    let mut blind = false;
    for number in 0_u32.. {
        if binding.step(number).is_none() {
            break;
        }
        let (mut attempt, mut last) = (0, None);
        let id = |attempt| RunId::attempt(&episode.binding, &episode.target, episode.opened_at, number, attempt);
        while let Some(found) = run(&id(attempt)) {
            last = Some(found);
            attempt += 1;
        }
        let Some(last) = last else { return Position::Next { step: number, attempt, blind } };
        if last.action().acts() {
            blind = last.state == RunState::Unverifiable;
        }
        match last.state {
            state if !state.is_final() => return Position::Busy(last.id.clone()),
            state if state.escalates() => {}
            RunState::Succeeded if !last.action().acts() => {}
            RunState::Succeeded | RunState::Healed => {
                // A rehearsal helps nobody, so nothing follows from the alert's still being there.
                let helped = last.state == RunState::Healed && last.mode >= Mode::Approve;
                if !helped || !last.ended_at.is_some_and(&back) {
                    return Position::Done;
                }
            }
            state => return Position::Halted(last.id.clone(), state),
        }
    }
    Position::Exhausted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::binding::{Action, StepPlan};
    use crate::act::judge::tests::{alert, binding};
    use crate::act::run::Wanted;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    fn ladder() -> Binding {
        let plan = |action| StepPlan { action, mode: None, timeout: Duration::from_secs(1), verify: None };
        let actions =
            [Action::Device("restart".into()), Action::Notify("ops".into()), Action::Playbook("p.yml".into())];
        Binding { steps: actions.into_iter().map(plan).collect(), ..binding() }
    }

    proptest! {
        /// Whatever becomes of runs in whatever order, and wherever a crash comes between two records, no step of an
        /// episode is begun twice, steps are begun in order, and what a crash or a person ended is the end.
        #[test]
        fn no_order_of_events_takes_a_step_twice(ends in prop::collection::vec((0..RunState::FINAL.len(), any::<bool>()), 0..20)) {
            let binding = ladder();
            let alert = alert(&[("miner", "m1")]);
            let episode = Episode::of(None, "b", "m1", &alert, 1, false);
            let mut runs: BTreeMap<RunId, Run> = BTreeMap::new();
            let mut begun = BTreeSet::new();
            for (end, back) in ends {
                let position = position(&episode, &binding, |id| runs.get(id), |_| back);
                match position {
                    Position::Next { step, attempt, .. } => {
                        prop_assert!(begun.insert((step, attempt)), "step {} twice", step);
                        prop_assert!(begun.iter().all(|(earlier, _)| *earlier <= step), "out of order");
                        let action = &binding.steps[step as usize].action;
                        let wanted = Wanted {
                            binding: "b", target: "m1", episode: 1, step, attempt, blind: false,
                            mode: Mode::Auto, action, alert: &alert,
                        };
                        let run = Run::wanted(&wanted, 1);
                        runs.insert(run.id.clone(), run);
                    }
                    Position::Busy(id) => {
                        if let Some(run) = runs.get_mut(&id) {
                            (run.state, run.ended_at) = (RunState::FINAL[end], Some(1));
                        }
                    }
                    Position::Halted(id, state) => {
                        prop_assert_eq!(runs[&id].state, state);
                        prop_assert!(state.helped().is_none());
                    }
                    Position::Done => prop_assert!(runs.values().any(|run| run.state.helped() == Some(true))),
                    Position::Exhausted => prop_assert_eq!(begun.len(), 3),
                }
            }
        }
    }
}
