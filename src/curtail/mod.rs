//! Curtailment: devices that are paused or limited while power is dear or scarce, and brought back afterwards. Pure: what
//! holds and what time it is are told; what follows is a [`Move`].
//!
//! What was changed is on record before the device is told, with the command that undoes it. Only what stands there is
//! ever undone: a device that its owner had paused stays paused.

mod load;

use std::time::Duration;

use crate::model::{Labels, Matcher};

pub use load::draws_less;

/// A device that refused, or did not show what it should, is left alone for so long, in milliseconds.
const REST: i64 = 300_000;

/// A curtailment as it is written under `curtailments:`.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Unique name, `[a-z0-9-]`.
    pub name: String,
    /// Alertmanager matchers over a target's labels, `miner` or `target` for its id, and `kind`; all must hold.
    pub targets: Vec<String>,
    /// Names of `windows`: curtailed while one of them is open.
    #[serde(default)]
    pub windows: Vec<String>,
    /// PromQL: curtailed while it holds. With windows too, both must. Without data nothing is changed, either way.
    #[serde(default, rename = "while")]
    pub condition: Option<String>,
    /// It must hold for so long before a device is told, and be over for so long before it is brought back. Default: 0s
    /// for windows alone, 5m with `while`.
    #[serde(default, rename = "for", deserialize_with = "crate::model::duration::serde_text::option")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub hold: Option<Duration>,
    /// A command that can be undone: `pause`, `power-limit 800`, `mode eco`.
    pub action: String,
    /// `check` only says what it would do.
    #[serde(default)]
    pub mode: Mode,
    /// Most devices that are told at one time.
    #[serde(default = "most")]
    pub max_concurrent: u32,
    /// Time between two devices, so that the load on the line changes in steps.
    #[serde(default = "stagger", with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub stagger: Duration,
}

fn most() -> u32 {
    5
}

fn stagger() -> Duration {
    Duration::from_secs(2)
}

/// What a curtailment may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing; what it changed before is brought back.
    Off,
    /// Says what it would do.
    #[default]
    Check,
    /// For real.
    Auto,
}

/// A checked curtailment.
#[derive(Clone, Debug)]
pub struct Curtailment {
    /// As written.
    pub entry: Entry,
    /// Over a target's labels.
    pub matchers: Vec<Matcher>,
    /// How long it must hold, in milliseconds.
    pub hold: i64,
}

impl Curtailment {
    /// Whether a target is meant.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }
}

/// What was changed about a device. It is durable before the device is told.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// By which curtailment.
    pub curtailment: String,
    /// The command that was given.
    pub action: String,
    /// The command that undoes it.
    pub undo: String,
    /// How the device stood before, in the command's words.
    pub before: Option<String>,
    /// What it drew then, as far as it says so.
    #[serde(default)]
    pub watts: Option<f64>,
    /// When, milliseconds since the epoch.
    pub at: i64,
    /// Whether the device has shown that it was done.
    pub confirmed: bool,
}

/// Whether to curtail, told often and believed when it has held for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Desire {
    said: Option<(bool, i64)>,
    settled: Option<bool>,
}

impl Desire {
    /// Takes in what is so now; says what has held for long enough. Without data what was settled stays.
    pub fn hear(&mut self, said: Option<bool>, now: i64, hold: i64) -> Option<bool> {
        self.said = match (said, self.said) {
            (None, _) => None,
            (Some(new), Some((old, since))) if new == old => Some((old, since)),
            (Some(new), _) => Some((new, now)),
        };
        if let Some((said, since)) = self.said.filter(|(_, since)| now - since >= hold) {
            let _ = since;
            self.settled = Some(said);
        }
        self.settled
    }

    /// What has held for long enough.
    pub fn settled(&self) -> Option<bool> {
        self.settled
    }
}

/// What is remembered of a device while the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// When it last refused or did not show what it should.
    pub failed_at: Option<i64>,
    /// It was already as wanted, which is somebody else's doing, or would draw more: it is left until this is over.
    pub left_alone: bool,
}

/// What to do with a device next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing.
    Stay,
    /// Tell it.
    Curtail,
    /// Bring back what is on record.
    Restore,
}

/// What follows for a device. `wanted` is what has settled; `None` also stands for a device that is no longer meant, with
/// `meant` false: then what was changed is brought back.
pub fn next(wanted: Option<bool>, meant: bool, record: Option<&Record>, trial: &Trial, now: i64) -> Move {
    let rests = trial.failed_at.is_some_and(|at| (0..REST).contains(&(now - at)));
    match record {
        _ if rests => Move::Stay,
        Some(_) if !meant || wanted == Some(false) => Move::Restore,
        // A crash, or no answer: nobody knows whether it was done, so it is looked at again. What undoes it stays.
        Some(record) if wanted == Some(true) && !record.confirmed => Move::Curtail,
        None if meant && wanted == Some(true) && !trial.left_alone => Move::Curtail,
        _ => Move::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(confirmed: bool) -> Record {
        let (action, undo) = ("pause".to_string(), "resume".to_string());
        Record {
            curtailment: "peak".into(),
            action,
            undo,
            before: Some("hashing".into()),
            watts: None,
            at: 1,
            confirmed,
        }
    }

    #[test]
    fn a_wish_must_hold_and_silence_changes_nothing() {
        let mut desire = Desire::default();
        let mut hear = |at: i64, said| desire.hear(said, at * 1000, 300_000);
        assert_eq!(hear(0, Some(true)), None);
        assert_eq!(hear(200, Some(false)), None, "it flickered");
        assert_eq!(hear(210, Some(true)), None);
        assert_eq!(hear(509, Some(true)), None);
        assert_eq!(hear(510, Some(true)), Some(true));
        assert_eq!(hear(520, None), Some(true), "no data is no reason to do anything");
        assert_eq!(hear(9_000, None), Some(true));
        assert_eq!(hear(9_010, Some(false)), Some(true));
        assert_eq!(hear(9_200, None), Some(true));
        assert_eq!(hear(9_310, Some(false)), Some(true), "silence broke the time in which it held");
        assert_eq!(hear(9_610, Some(false)), Some(false));
        assert_eq!(Desire::default().hear(Some(true), 5, 0), Some(true));
    }

    #[test]
    fn only_what_is_on_record_is_brought_back() {
        let idle = Trial::default();
        let left = Trial { left_alone: true, ..idle };
        let failed = Trial { failed_at: Some(1_000), ..idle };
        for (wanted, meant, known, trial, expected) in [
            (Some(true), true, None, idle, Move::Curtail),
            (Some(true), true, None, left, Move::Stay),
            (Some(true), true, Some(true), idle, Move::Stay),
            (Some(true), true, Some(false), idle, Move::Curtail),
            (Some(true), true, None, failed, Move::Stay),
            (Some(false), true, None, idle, Move::Stay),
            (Some(false), true, Some(true), idle, Move::Restore),
            (Some(false), true, Some(false), idle, Move::Restore),
            (Some(false), true, Some(true), failed, Move::Stay),
            (None, true, Some(true), idle, Move::Stay),
            (None, true, None, idle, Move::Stay),
            (None, false, Some(true), idle, Move::Restore),
            (Some(true), false, None, idle, Move::Stay),
        ] {
            let known = known.map(record);
            assert_eq!(
                next(wanted, meant, known.as_ref(), &trial, 2_000),
                expected,
                "{wanted:?} {meant} {known:?} {trial:?}"
            );
        }
        assert_eq!(next(Some(true), true, None, &failed, 1_000 + REST), Move::Curtail, "the rest is over");
    }

    proptest! {
        /// Whatever is said in whatever order, and whenever the process dies: a device that its owner paused is never
        /// resumed, and one that we paused is resumed in the end.
        #[test]
        fn owners_keep_what_is_theirs(said in prop::collection::vec((0..4_u8, any::<bool>()), 1..60), owned: bool) {
            let (mut desire, mut trial, mut kept) = (Desire::default(), Trial::default(), None);
            let mut paused = owned;
            let mut now = 0;
            let end = std::iter::repeat_n((0, false), 4);
            for (word, dies) in said.into_iter().chain(end) {
                now += REST;
                if dies {
                    (desire, trial) = (Desire::default(), Trial::default());
                }
                let wanted = desire.hear([Some(false), Some(true), Some(true), None][usize::from(word)], now, 0);
                if wanted == Some(false) {
                    trial.left_alone = false;
                }
                match next(wanted, true, kept.as_ref(), &trial, now) {
                    Move::Curtail if paused && kept.is_none() => trial.left_alone = true,
                    Move::Curtail => (paused, kept) = (true, Some(record(!dies))),
                    Move::Restore => (paused, kept) = (false, None),
                    Move::Stay => {}
                }
                prop_assert!(!owned || paused, "an owner's pause was undone");
            }
            prop_assert_eq!(paused, owned);
            prop_assert!(kept.is_none());
        }
    }
}
