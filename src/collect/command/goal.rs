//! What a command is to bring about, and how that is read back from the device.

use std::time::Duration;

use tokio::time::Instant;

use crate::collect::{Reply, kind};
use crate::model::{FailureReason, PollFailure, Reading, Target};

/// A figure counts as reached so near to what was wanted: firmware rounds to its own steps.
const NEAR: f64 = 0.02;

/// What a device says of itself, asked for this purpose.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// As it answered.
    pub replies: Vec<Reply>,
    /// What that means.
    pub reading: Reading,
}

/// How something is read from what a device says.
pub type Reader<T> = Box<dyn Fn(&Seen) -> Option<T> + Send + Sync>;

/// What a command is to bring about.
pub enum Goal {
    /// Its uptime is that of a new start.
    Restarted,
    /// It works, or does not.
    Awake(bool),
    /// Something of it that is so or not, and that another command undoes.
    Is {
        /// Reads it.
        of: Reader<bool>,
        /// What it is to be.
        wanted: bool,
        /// The command that undoes it.
        undo: String,
    },
    /// A figure of its own, in the unit of the command's argument.
    Figure {
        /// Reads it.
        of: Reader<f64>,
        /// What it is to be.
        wanted: f64,
    },
    /// A word of its own: one that the command takes as its argument.
    Word {
        /// Reads it.
        of: Reader<String>,
        /// What it is to be.
        wanted: String,
    },
    /// Nothing differs from a preset.
    Preset {
        /// Reads what does.
        differs: Reader<Vec<String>>,
    },
    /// So many per cent of its fans' speed, fixed; they may be driven by the temperature instead.
    Speed {
        /// How fast they are told to turn now, in per cent.
        of: Reader<f64>,
        /// Whether they are driven by the temperature; `None` where the device does not say.
        auto: Reader<bool>,
        /// What it is to be.
        wanted: f64,
    },
    /// A goal after which another command than its own brings back how it stood.
    Undone {
        /// The goal.
        goal: Box<Goal>,
        /// The command that brings back what is seen, if any does.
        undo: Reader<String>,
    },
    /// The device does not say: its word that it took the command is all there is.
    Unseen,
}

impl Seen {
    /// Polls once, with nothing remembered from earlier polls.
    ///
    /// # Errors
    /// As a poll.
    pub async fn ask(target: &Target, by: Instant) -> Result<Seen, PollFailure> {
        let bug = || PollFailure::new(FailureReason::Bug, format!("{} cannot be polled", target.id));
        let opened = (kind(&target.kind).ok_or_else(bug)?.open)(target);
        let collector = opened.map_err(|_| bug())?;
        let late = || PollFailure::new(FailureReason::Timeout, "no answer in time");
        let fetched = tokio::time::timeout_at(by, collector.fetch()).await;
        let replies = fetched.map_err(|_| late())??;
        let reading = collector.parse(&replies)?;
        Ok(Seen { replies, reading })
    }

    /// The value of a family's first sample that carries this label.
    pub fn figure(&self, family: &str, label: Option<(&str, &str)>) -> Option<f64> {
        let fits = |sample: &&crate::model::Sample| {
            sample.family.name == family
                && label.is_none_or(|(name, value)| sample.labels.get(name).is_some_and(|found| found == value))
        };
        self.reading.samples.iter().find(fits).map(|sample| sample.value)
    }

    /// What it is doing: the one state of `miner_state` that holds.
    pub fn state(&self) -> Option<&str> {
        let holds = |sample: &&crate::model::Sample| sample.family.name == "miner_state" && sample.value == 1.0;
        self.reading.samples.iter().find(holds)?.labels.get("state")
    }

    /// The first reply to a question, as JSON.
    pub fn page(&self, request: &str) -> Option<serde_json::Value> {
        let reply = self.replies.iter().find(|reply| reply.request == request)?;
        // cgminer's API ends an answer with a NUL.
        serde_json::from_slice(reply.body.split(|byte| *byte == 0).next()?).ok()
    }

    fn uptime(&self) -> Option<f64> {
        self.figure("miner_uptime_seconds", None)
    }

    /// Whether it works. One that is broken or too hot neither works nor was sent to sleep.
    pub fn awake(&self) -> Option<bool> {
        works(self.state()?)
    }
}

/// Whether a device in this state works; `None` for one that is broken, too hot, or does not say.
pub fn works(state: &str) -> Option<bool> {
    match state {
        "paused" | "sleeping" => Some(false),
        "hashing" | "starting" | "tuning" => Some(true),
        _ => None,
    }
}

impl Goal {
    /// Whether it is something that happens, not something that is.
    pub(super) fn is_an_event(&self) -> bool {
        match self {
            Goal::Undone { goal, .. } => goal.is_an_event(),
            _ => matches!(self, Goal::Restarted | Goal::Unseen),
        }
    }

    /// Whether it is to work again after a pause.
    pub fn wakes(&self) -> bool {
        match self {
            Goal::Undone { goal, .. } => goal.wakes(),
            _ => matches!(self, Goal::Awake(true)),
        }
    }

    /// How the device stands, in the words of the command's argument.
    pub(super) fn stands(&self, seen: &Seen) -> Option<String> {
        match self {
            Goal::Restarted => seen.uptime().map(|uptime| format!("up for {uptime:.0} s")),
            Goal::Awake(_) => seen.state().map(str::to_string),
            Goal::Is { of, .. } => of(seen).map(|so| if so { "yes" } else { "no" }.to_string()),
            Goal::Figure { of, .. } => of(seen).map(|figure| format!("{figure:.0}")),
            Goal::Word { of, .. } => of(seen),
            Goal::Preset { differs } => differs(seen).map(|some| match some.is_empty() {
                true => "as its preset".to_string(),
                false => some.join(", "),
            }),
            Goal::Speed { of, auto, .. } => match (auto(seen), of(seen)) {
                (Some(true), _) => Some("auto".to_string()),
                (Some(false), percent) => percent.map(|percent| format!("{percent:.0}")),
                (None, Some(percent)) => Some(format!("not known: {percent:.0} now, fixed or by the temperature")),
                (None, None) => None,
            },
            Goal::Undone { goal, .. } => goal.stands(seen),
            Goal::Unseen => None,
        }
    }

    /// The command that brings back what is seen now.
    pub(super) fn undo(&self, command: &str, seen: &Seen) -> Option<String> {
        match self {
            Goal::Awake(false) if seen.awake() == Some(true) => Some("resume".to_string()),
            Goal::Awake(true) if seen.awake() == Some(false) => Some("pause".to_string()),
            Goal::Is { of, wanted, undo } if of(seen) == Some(!wanted) => Some(undo.clone()),
            // A speed that came about by the temperature must not be fixed afterwards, and automatic is always safe.
            Goal::Speed { auto, .. } if auto(seen) != Some(false) => Some(format!("{command} auto")),
            Goal::Undone { undo, .. } => undo(seen),
            Goal::Figure { .. } | Goal::Word { .. } | Goal::Speed { .. } => {
                self.stands(seen).map(|before| format!("{command} {before}"))
            }
            _ => None,
        }
    }

    /// Whether it is met. `since` is what was seen before the command, and how long ago it was sent.
    pub(super) fn is_met(&self, seen: &Seen, since: Option<(Option<&Seen>, Duration)>) -> bool {
        match self {
            Goal::Restarted => {
                let Some((now, (before, passed))) = seen.uptime().zip(since) else { return false };
                // Younger than the command, or than before; without an uptime from before, with a second for rounding.
                let (before, passed) = (before.and_then(Seen::uptime), passed.as_secs_f64());
                before.map_or(now <= passed + 1.0, |before| now < before || now <= passed)
            }
            Goal::Awake(wanted) => seen.awake() == Some(*wanted),
            Goal::Is { of, wanted, .. } => of(seen) == Some(*wanted),
            Goal::Figure { of, wanted } => of(seen).is_some_and(|now| is_near(now, *wanted)),
            // Before the command, a speed that fits by chance is not one that was fixed.
            Goal::Speed { of, auto, wanted } => {
                let fixed = auto(seen).map_or(since.is_some(), |auto| !auto);
                fixed && of(seen).is_some_and(|now| is_near(now, *wanted))
            }
            Goal::Undone { goal, .. } => goal.is_met(seen, since),
            Goal::Word { of, wanted } => of(seen).as_ref() == Some(wanted),
            Goal::Preset { differs } => differs(seen).is_some_and(|some| some.is_empty()),
            Goal::Unseen => false,
        }
    }

    /// What is seen, for people.
    pub(super) fn shown(&self, seen: &Seen) -> String {
        let stands = self.stands(seen);
        match self {
            Goal::Undone { goal, .. } => goal.shown(seen),
            Goal::Awake(_) => format!("its state is {}", stands.as_deref().unwrap_or("not told")),
            _ => stands.map_or_else(|| "it does not say".to_string(), |stands| format!("it says {stands}")),
        }
    }

    /// For what cannot be read back, what there is to say; `doubt` is why nobody knows whether the command arrived.
    pub(super) fn unseen(&self, doubt: Option<&str>) -> Option<Result<String, super::CommandError>> {
        if let Goal::Undone { goal, .. } = self {
            return goal.unseen(doubt);
        }
        matches!(self, Goal::Unseen).then(|| match doubt {
            Some(why) => Err(super::CommandError::Unknown(why.to_string())),
            None => Ok("it took the command, and has no way to show it".to_string()),
        })
    }
}

fn is_near(now: f64, wanted: f64) -> bool {
    (now - wanted).abs() <= NEAR * wanted.max(1.0)
}
