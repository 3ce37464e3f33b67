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
