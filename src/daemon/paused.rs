//! Which devices davylamp paused, on disk before they are told, with the command that brings back how each stood: `resume`
//! wakes those and leaves others to whoever paused them. Curtailments keep a book of their own.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::devices::carry_out;
use super::keep::Keeper;
use super::shared::Shared;
use crate::collect::command::{Call, CommandError, Outcome, Ready, works};
use crate::model::{Observation, Target};
use crate::schedule::poll::unix_millis;
use crate::store::state::{Op, StoreError};

const PREFIX: &str = "paused/";

/// A pause of which nobody knows whether it was done is believed for so long, in milliseconds; a device that works
/// afterwards was not paused.
const DOUBT: i64 = 300_000;

/// A device that davylamp paused.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Pause {
    /// The command that undoes it.
    undo: String,
    /// How the device stood before, in the command's words.
    before: Option<String>,
    /// Who paused it.
    by: String,
    /// When it was told, milliseconds since the epoch.
    at: i64,
    /// When it had shown it.
    shown: Option<i64>,
}

/// The book, by target.
#[derive(Default)]
pub(super) struct Paused(Mutex<BTreeMap<String, Pause>>);

/// A command for a device that is held.
pub(super) struct Order<'a> {
    pub(super) target: Target,
    pub(super) call: Call,
    /// The device has shown it by then.
    pub(super) until: Instant,
    /// Wakes it whoever paused it.
    pub(super) force: bool,
    /// Who gives it.
    pub(super) by: &'a str,
    /// Whether it goes into the audit log here: that of a run is the run's.
    pub(super) audited: bool,
}

impl Paused {
    /// Takes in what earlier processes paused.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn load(&self, keeper: &Keeper) -> Result<(), StoreError> {
        let records = keeper.read(PREFIX).await?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(records);
        Ok(())
    }

    fn of(&self, target: &str) -> Option<Pause> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    async fn keep(&self, keeper: &Keeper, target: &str, pause: Pause) -> Result<(), StoreError> {
        let value = serde_json::to_vec(&pause).unwrap_or_default();
        keeper.write(&[Op::Put { key: format!("{PREFIX}{target}"), value }]).await?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_string(), pause);
        Ok(())
    }

    /// What is not forgotten on disk is forgotten by the first poll of the next process.
    async fn forget(&self, keeper: &Keeper, target: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
        if let Err(error) = keeper.write(&[Op::Delete { key: format!("{PREFIX}{target}") }]).await {
            tracing::warn!(target, %error, "that a device was paused cannot be forgotten");
        }
    }
}

impl Shared {
    /// A device that works again is no longer one that we paused: if it is paused once more, somebody else did it.
    pub(super) async fn see_awake(&self, keeper: &Keeper, observation: &Observation) {
        let Some(pause) = self.paused.of(&observation.target) else { return };
        let Ok(reading) = &observation.outcome else { return };
        let mut states = reading.samples.iter().filter(|sample| sample.family.name == "miner_state");
        let state = states.find(|sample| sample.value == 1.0).and_then(|sample| sample.labels.get("state"));
        let late = observation.at > pause.shown.unwrap_or(pause.at + DOUBT);
        if late && state.and_then(works) == Some(true) {
            // Whoever is at work on it knows better.
            let Some(_held) = self.busy.hold(&observation.target) else { return };
            self.paused.forget(keeper, &observation.target).await;
        }
    }

    /// The command that wakes a device.
    ///
    /// # Errors
    /// [`CommandError::Refused`] for one that davylamp did not pause, or that a curtailment brings back.
    fn waking(&self, target: &str) -> Result<String, CommandError> {
        if let Some(pause) = self.paused.of(target) {
            return Ok(pause.undo);
        }
        let curtailed = self.curtailed.get();
        let by = curtailed.iter().find(|row| row.action == "pause" && row.targets.iter().any(|id| id == target));
        let why = match by {
            Some(row) => format!("the curtailment {} keeps it paused and brings it back by itself", row.name),
            None => "it was not davylamp that paused it, so it stays as it is".to_string(),
        };
        let cure = format!("davylamp miner resume {target} --force wakes it all the same");
        Err(CommandError::Refused(format!("{why}; nothing was sent ({cure})")))
    }

    /// The command that is carried out for the one that was given: for a resume what undoes our pause.
    ///
    /// # Errors
    /// As [`Shared::waking`].
    pub(super) fn turned(&self, target: &Target, call: Call, force: bool) -> Result<Call, CommandError> {
        if call.command.name != "resume" || force {
            return Ok(call);
        }
        let undo = self.waking(&target.id)?;
        let back = Call::read(&target.kind, &undo)?;
        Ok(Call { command: back.command, value: back.value, ..call })
    }
}

/// Gives a command to a device that is held: asks it, keeps on disk what undoes a pause, and tells it. Says what came of it,
/// and what was sent.
pub(super) async fn give(
    shared: &Shared,
    keeper: &Keeper,
    order: Order<'_>,
) -> Result<(Outcome, Vec<String>), CommandError> {
    let Order { target, mut call, until, force, by, audited } = order;
    let (id, kind) = (target.id.to_string(), target.kind.clone());
    let (pauses, wakes) = (call.command.name == "pause", call.command.name == "resume");
    let (mut ready, mut sends) = ask(&target, &call, until).await?;
    if wakes && !ready.is_done() {
        let turned = shared.turned(&target, call.clone(), force)?;
        if turned.to_string() != call.to_string() {
            (ready, sends) = ask(&target, &turned, until).await?;
            call = turned;
        }
    }
    // What undoes a pause that was not shown stays: the device may have been half way there when it was asked.
    let fresh = pauses && !ready.is_done() && shared.paused.of(&id).is_none_or(|pause| pause.shown.is_some());
    if fresh {
        let undo = ready.undo(&call).filter(|undo| Call::read(&kind, undo).is_ok());
        let undo = undo.unwrap_or_else(|| "resume".to_string());
        let pause = Pause { undo, before: ready.before(), by: by.to_string(), at: unix_millis(), shown: None };
        let kept = shared.paused.keep(keeper, &id, pause).await;
        kept.map_err(|error| {
            CommandError::Refused(format!("it cannot be put on record, so nothing was sent: {error}"))
        })?;
    }
    let told = if audited {
        carry_out(&keeper.auditor(), (ready, &call), (&id, by, until)).await
    } else {
        match ready.is_meant(&call) {
            Ok(()) => ready.tell(until).await,
            Err(stranger) => Err(stranger),
        }
    };
    match &told {
        Ok(_) if wakes => shared.paused.forget(keeper, &id).await,
        Ok(_) if pauses => shown(shared, keeper, &id).await,
        // Nothing was done, now or ever.
        Err(CommandError::Refused(_)) if fresh => shared.paused.forget(keeper, &id).await,
        _ => {}
    }
    let outcome = told?;
    let sends = if outcome.changed { sends } else { Vec::new() };
    Ok((outcome, sends))
}

async fn ask(target: &Target, call: &Call, until: Instant) -> Result<(Ready, Vec<String>), CommandError> {
    let plan = call.plan(target)?;
    let sends = plan.sends.clone();
    Ok((Ready::ask(target.clone(), plan, until).await?, sends))
}

/// The device has shown that it is paused.
async fn shown(shared: &Shared, keeper: &Keeper, target: &str) {
    let Some(pause) = shared.paused.of(target) else { return };
    if let Err(error) = shared.paused.keep(keeper, target, Pause { shown: Some(unix_millis()), ..pause }).await {
        tracing::warn!(target, %error, "that a device has shown its pause is not on record");
    }
}
