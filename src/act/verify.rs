//! Did it help? A small state machine over what new samples say. Pure.
//!
//! "No data = resolved" is how dead devices come to be called healed. Here silence is never a cure: it resets the time
//! for which the expression has to stay false, and at the deadline it is `unverifiable`.

use crate::act::facts::Symptom;
use crate::act::run::RunState;
use crate::act::settings::Verify;

/// One verification under way. Times are milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// When the symptom must have begun to be gone.
    deadline: i64,
    /// For how long it must stay gone, milliseconds.
    hold: i64,
    /// Since when it is gone.
    clear_since: Option<i64>,
}

impl Watch {
    /// Begins: the run ended at `ended`, and we look since `from` (later than that after a restart, which must not cost
    /// the target its chance).
    pub fn new(verify: Verify, ended: i64, from: i64) -> Watch {
        let millis = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let least = from.saturating_add(LEAST_LOOK);
        let deadline = ended.saturating_add(millis(verify.within)).max(if from > ended { least } else { 0 });
        Watch { deadline, hold: millis(verify.hold), clear_since: None }
    }

    /// Takes in what is seen at `now`; an answer ends the verification.
    pub fn look(&mut self, symptom: Symptom, now: i64) -> Option<(RunState, &'static str)> {
        match symptom {
            Symptom::Clear => {
                let since = *self.clear_since.get_or_insert(now);
                // A clock that went back must not make it longer than it was.
                let since = since.min(now);
                self.clear_since = Some(since);
                if now.saturating_sub(since) >= self.hold && since <= self.deadline {
                    return Some((RunState::Healed, "new samples say that the alert's expression is false"));
                }
                let late = since > self.deadline;
                late.then_some((RunState::NotHealed, "the alert's expression became false too late"))
            }
            _ if now < self.deadline => {
                self.clear_since = None;
                None
            }
            Symptom::Present => Some((RunState::NotHealed, "the alert's expression still holds on new samples")),
            Symptom::NoData => {
                Some((RunState::Unverifiable, "no new samples say whether it helped: silence is no proof"))
            }
        }
    }
}

/// After a restart at least so long is looked, milliseconds: a few polls of a usual target.
const LEAST_LOOK: i64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: i64 = 1000;

    /// Looks every ten seconds from second 0 on; each letter is a look: P(resent), C(lear), N(o data).
    fn story(within: u64, hold: u64, looks: &str) -> Option<(i64, RunState)> {
        let verify = Verify { within: Duration::from_secs(within), hold: Duration::from_secs(hold) };
        let mut watch = Watch::new(verify, 0, 0);
        for (index, look) in looks.chars().enumerate() {
            let symptom = match look {
                'P' => Symptom::Present,
                'C' => Symptom::Clear,
                _ => Symptom::NoData,
            };
            let at = i64::try_from(index).unwrap() * 10 * SECOND;
            if let Some((state, _)) = watch.look(symptom, at) {
                return Some((at / SECOND, state));
            }
        }
        None
    }

    #[test]
    fn healed_needs_data_for_as_long_as_hold_says() {
        assert_eq!(story(60, 20, "PPCCC"), Some((40, RunState::Healed)));
        assert_eq!(story(60, 0, "NC"), Some((10, RunState::Healed)));
        assert_eq!(story(60, 20, "PCCPCCC"), Some((60, RunState::Healed)), "a relapse begins anew");
        assert_eq!(story(60, 20, "CCNCCC"), Some((50, RunState::Healed)), "so does silence");
    }

    #[test]
    fn the_deadline_is_for_the_beginning() {
        assert_eq!(story(60, 30, "PPPPPPCCCC"), Some((90, RunState::Healed)));
        assert_eq!(story(60, 30, "PPPPPPCCP"), Some((80, RunState::NotHealed)));
        assert_eq!(story(60, 30, "PPPPPPP"), Some((60, RunState::NotHealed)));
    }

    #[test]
    fn silence_is_never_a_cure() {
        assert_eq!(story(60, 20, "NNNNNNN"), Some((60, RunState::Unverifiable)));
        assert_eq!(story(60, 20, "PCCNNNN"), Some((60, RunState::Unverifiable)));
    }

    #[test]
    fn a_restart_does_not_cost_the_chance() {
        let verify = Verify { within: Duration::from_secs(60), hold: Duration::ZERO };
        let mut watch = Watch::new(verify, 0, 500 * SECOND);
        assert_eq!(watch.look(Symptom::NoData, 501 * SECOND), None);
        assert_eq!(watch.look(Symptom::Clear, 520 * SECOND).unwrap().0, RunState::Healed);
    }
}
