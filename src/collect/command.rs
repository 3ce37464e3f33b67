//! Commands that a kind's devices take through their own API: one row per command in the kind.
//!
//! A command is planned without I/O, so that a mistake in it is found with the configuration, and a dry run can say what
//! would be sent. Then the device is asked how it stands, told once, and asked again until it shows what was wanted:
//! "accepted" is not "done". What already is so is left alone.

mod call;
mod goal;

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::collect::ParseError;
use crate::model::{FailureReason, PollFailure, Target};

pub use call::{APPLY_PRESET, Argument, Call, Value, able, misfit};
pub use goal::{Goal, Reader, Seen, works};

/// A row in the table of a kind's commands.
pub struct Command {
    /// Name in the configuration and on the command line: `power-limit`.
    pub name: &'static str,
    /// What it does, for people.
    pub help: &'static str,
    /// What it is told, if anything.
    pub argument: Option<Argument>,
    /// Turns target and argument into what would be sent; no I/O, no secret is read.
    pub plan: fn(&Target, &Value) -> Result<Plan, CommandError>,
}

impl Command {
    /// Whether a second call changes nothing more: a restart restarts again.
    pub fn is_idempotent(&self) -> bool {
        !matches!(self.name, "restart" | "reboot")
    }

    /// As it is typed: `power-limit WATTS`.
    pub fn usage(&self) -> String {
        let argument = self.argument.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{} {argument}", self.name).trim_end().to_string()
    }
}

/// Sends what a plan says, once, before a deadline.
pub type Sending = Box<dyn FnOnce(Instant) -> BoxFuture<'static, Result<(), CommandError>> + Send>;

/// What a command does to one device.
pub struct Plan {
    /// What would be sent, for people, a line per message and without secrets: `POST /api/system/pause`.
    pub sends: Vec<String>,
    /// Sends it.
    pub send: Sending,
    /// What it is to bring about, and how that is read back.
    pub goal: Goal,
}

/// Why a command did not do what it should. The text may quote the device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The device was not reached, or refused: nothing was done.
    #[error("{0}")]
    Refused(String),
    /// The device took it, and does not show what it should.
    #[error("{0}")]
    NotConfirmed(String),
    /// The connection broke after the command had left: nobody knows whether it was done.
    #[error("{0}")]
    Unknown(String),
}

impl CommandError {
    /// What a failed exchange means for a command that had to be sent: only a refusal, or an address that may not be
    /// talked to, is known to have changed nothing.
    pub(crate) fn sent(failure: &PollFailure) -> CommandError {
        match failure.reason {
            FailureReason::Denied | FailureReason::RateLimited => CommandError::Refused(failure.to_string()),
            _ => CommandError::Unknown(failure.to_string()),
        }
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was read back, in words.
    pub detail: String,
    /// How it stood before, in the command's own words: `hashing`, `3200`; `None` where the device does not say.
    pub before: Option<String>,
    /// Whether anything was sent: what already is so is left alone.
    pub changed: bool,
}

/// How often a device is asked whether it has done it: soon at first, then rarer, because small web servers die of it.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

/// Longest time in which a device answers that it takes a command. One that restarts may never do, and there has to be
/// time left to see what it shows.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);
/// What [`Sending`] may take beyond that to say goodbye.
pub const PARTING: Duration = Duration::from_secs(3);

/// A device that was asked how it stands, and is told next.
pub struct Ready {
    target: Target,
    plan: Plan,
    seen: Option<Seen>,
}

impl Ready {
    /// Asks the device how it stands, and changes nothing.
    ///
    /// # Errors
    /// [`CommandError::Refused`] when it does not answer: it is not told anything then, because nobody could tell what
    /// came of it. A device that sleeps may be deaf to questions, so one that is to be woken need not answer.
    pub async fn ask(target: Target, plan: Plan, by: Instant) -> Result<Ready, CommandError> {
        let seen = Seen::ask(&target, by).await;
        if let (Err(failure), false) = (&seen, plan.goal.wakes()) {
            return Err(CommandError::Refused(format!("it does not answer, so nothing was sent: {failure}")));
        }
        Ok(Ready { target, plan, seen: seen.ok() })
    }

    /// How it stands, in the command's own words.
    pub fn before(&self) -> Option<String> {
        self.plan.goal.stands(self.seen.as_ref()?)
    }

    /// Whether it already is as it is wanted, so that nothing will be sent.
    pub fn is_done(&self) -> bool {
        let seen = self.seen.as_ref();
        !self.plan.goal.is_an_event() && seen.is_some_and(|seen| self.plan.goal.is_met(seen, None))
    }

    /// What it draws, as far as it says so.
    pub fn watts(&self) -> Option<f64> {
        self.seen.as_ref()?.figure("miner_power_watts", None)
    }

    /// Whether it works; `None` where that cannot be told.
    pub fn is_awake(&self) -> Option<bool> {
        self.seen.as_ref()?.awake()
    }

    /// Whether the one that was asked is the one that is meant.
    ///
    /// # Errors
    /// [`CommandError::Refused`] when another device has answered at its address.
    pub fn is_meant(&self, call: &Call) -> Result<(), CommandError> {
        let (Some(seen), Some(known)) = (&self.seen, &call.known) else { return Ok(()) };
        match known.parse(&seen.replies) {
            Err(stranger @ ParseError::Stranger { .. }) => {
                Err(CommandError::Refused(format!("nothing was sent: {stranger}")))
            }
            _ => Ok(()),
        }
    }

    /// The command that brings back how it stands now, if `call` is what is about to be done; `None` if no command of
    /// the kind does.
    pub fn undo(&self, call: &Call) -> Option<String> {
        let undo = self.plan.goal.undo(call.command.name, self.seen.as_ref()?)?;
        Call::read(&self.target.kind, &undo).is_ok().then_some(undo)
    }

    /// What its state says of whether it works.
    pub fn awake(&self) -> Option<bool> {
        self.seen.as_ref()?.awake()
    }

    /// Tells it, once, and asks until it shows what was wanted or the time is over.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn tell(self, by: Instant) -> Result<Outcome, CommandError> {
        let before = self.before();
        if self.is_done() {
            let detail = format!("it already is so: {}", before.as_deref().unwrap_or("as wanted"));
            return Ok(Outcome { detail, before, changed: false });
        }
        let Ready { target, plan, seen } = self;
        let told_at = Instant::now();
        let answer_by = by.min(told_at + LONGEST_ANSWER);
        // A little longer than it was given, so that a session can be given back.
        let sent = timeout_at(by.min(answer_by + PARTING), (plan.send)(answer_by)).await;
        let doubt = match sent {
            Ok(Ok(())) => None,
            // A device that restarts may well do so before it has answered: what it shows decides.
            Ok(Err(CommandError::Unknown(why))) => Some(why),
            Ok(Err(refused)) => return Err(refused),
            Err(_) => Some("no answer in time".to_string()),
        };
        if let Some(detail) = plan.goal.unseen(doubt.as_deref()) {
            return detail.map(|detail| Outcome { detail, before, changed: true });
        }
        match confirm(&target, &plan.goal, seen.as_ref(), (told_at, by)).await {
            Ok(detail) => Ok(Outcome { detail, before, changed: true }),
            Err(last) => Err(match doubt {
                Some(why) => CommandError::Unknown(format!("{why}; {last}")),
                None => CommandError::NotConfirmed(format!("it took the command; {last}")),
            }),
        }
    }
}

/// Asks until the goal is met; else says what was seen last.
async fn confirm(
    target: &Target,
    goal: &Goal,
    before: Option<&Seen>,
    (told_at, by): (Instant, Instant),
) -> Result<String, String> {
    let (mut pause, mut last) = (ASK_AGAIN.0, "it was not asked again in time".to_string());
    loop {
        let next = Instant::now() + pause;
        if next >= by {
            return Err(last);
        }
        sleep_until(next).await;
        match Seen::ask(target, by).await {
            Ok(seen) if goal.is_met(&seen, Some((before, told_at.elapsed()))) => return Ok(goal.shown(&seen)),
            Ok(seen) => last = format!("it does not show it: {}", goal.shown(&seen)),
            Err(failure) => last = format!("it does not answer since: {failure}"),
        }
        pause = (pause * 2).min(ASK_AGAIN.1);
    }
}

/// Gives a command to a device within a time.
///
/// # Errors
/// [`CommandError`].
pub async fn perform(target: Target, call: &Call, within: Duration) -> Result<Outcome, CommandError> {
    let by = Instant::now() + within;
    let plan = call.plan(&target)?;
    let ready = Ready::ask(target, plan, by).await?;
    ready.is_meant(call)?;
    ready.tell(by).await
}
