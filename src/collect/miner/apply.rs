//! `apply-preset` of every family: what of a preset differs from what the device says is written, and nothing else.
//!
//! A family says what it takes and how its list of pools is written; everything else goes out as the command of the same
//! kind that a person would give (`power-limit`, `mode`, `fan`). What was written is read back.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::tell;
use crate::collect::command::{Call, CommandError, Goal, Plan, Seen, Value, able};
use crate::model::{FanSetting, PoolSetting, Target};
use crate::preset::{Able, Address, Drift, Preset, Setting, shortened};
use crate::secret::Secret;

/// Help that every family gives.
pub const HELP: &str = "sets the device as its preset has it: what differs and nothing else, and reads it back";

/// What a password is where the preset has none, as everywhere in mining.
const NO_PASSWORD: &str = "x";

/// What is said of a setting that the device should say and does not.
const UNTOLD: &str = "not told";

/// How a family's list of pools is written: the job, and until when.
pub type PoolWriter = fn(Job, Instant) -> BoxFuture<'static, Result<(), CommandError>>;

/// How a family takes presets.
pub struct Hand {
    /// What it takes.
    pub able: Able,
    /// What the pools are sent with, for people: `addpool, switchpool, removepool`.
    pub by: &'static str,
    /// Writes them.
    pub pools: PoolWriter,
    /// Whether that ends with a start of the whole device, so that it comes last.
    pub starts: bool,
}

/// A list of pools that is to be written.
pub struct Job {
    /// The device.
    pub target: Target,
    /// What it said a moment ago.
    pub seen: Seen,
    /// The pools, first choice first.
    pub pools: Vec<Wanted>,
    /// Whether there are to be no others.
    pub exact: bool,
}

/// A pool as it is to be.
pub struct Wanted {
    /// As the preset writes it.
    pub url: String,
    /// Where that is.
    pub address: Address,
    /// The user of this device.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

impl Wanted {
    /// Whether a pool that the device names is this one. Some firmware hides users.
    pub fn is_at(&self, found: &PoolSetting) -> bool {
        let there = Address::read(&found.url).is_some_and(|address| address.is(&self.address));
        there && (found.user == self.user || found.user.is_empty() || found.user.contains('*'))
    }
}

impl Job {
    /// Refuses if the device has pools behind those of the preset: a list that is written as a whole would lose them, or
    /// their passwords, which nobody but the device knows.
    ///
    /// # Errors
    /// [`CommandError::Refused`], with the way out.
    pub fn is_whole(&self) -> Result<(), CommandError> {
        match self.seen.reading.settings.pools.iter().find(|pool| pool.place >= self.pools.len()) {
            Some(pool) if !self.exact => Err(CommandError::Refused(format!(
                "nothing was sent: the device takes all its pools at once, and the preset does not name {}; name it, or \
                 say exact_pools: true",
                pool.url
            ))),
            _ => Ok(()),
        }
    }
}

/// The preset that a command was given.
///
/// # Errors
/// [`CommandError::Refused`] where there is none, or one that the kind cannot take.
pub fn preset(target: &Target, value: &Value) -> Result<Arc<Preset>, CommandError> {
    let Some(preset) = value.preset().cloned() else {
        let why = "no preset matches it (presets: in the configuration), or it has not been polled yet";
        return Err(CommandError::Refused(why.to_string()));
    };
    let lacks = able(&target.kind).and_then(|able| able.lacks(&target.kind, &preset));
    match lacks {
        Some((_, why)) => Err(CommandError::Refused(format!("the preset {}: {why}", preset.name))),
        None => Ok(preset),
    }
}

/// The plan of `apply-preset`.
///
/// # Errors
/// As [`preset`]; as the commands that it is made of.
pub fn plan(target: &Target, value: &Value, hand: &'static Hand) -> Result<Plan, CommandError> {
    let preset = preset(target, value)?;
    let mut sends = Vec::new();
    for (pool, worker) in preset.pools.iter().zip(preset.workers(target)) {
        sends.push(format!("{}: {} as {} (only what differs)", hand.by, pool.url, shortened(&worker)));
    }
    if preset.exact_pools {
        sends.push(format!("{}: no other pools", hand.by));
    }
    for setting in preset.named().filter(|setting| *setting != Setting::Firmware) {
        let plan = command(target, &preset, setting)?.plan(target)?;
        sends.extend(plan.sends.into_iter().map(|line| format!("{line} (only if it differs)")));
    }
    let goal = goal(target.clone(), preset.clone());
    let target = target.clone();
    let send =
        move |by: Instant| -> BoxFuture<'static, _> { Box::pin(async move { send(target, &preset, hand, by).await }) };
    Ok(Plan { sends, send: Box::new(send), goal })
}

/// The command of the device's kind that brings a setting about.
fn command(target: &Target, preset: &Preset, setting: Setting) -> Result<Call, CommandError> {
    let whole = |value: Option<f64>| value.unwrap_or_default().round();
    let text = match setting {
        Setting::PowerLimit => format!("power-limit {}", whole(preset.power_limit)),
        Setting::HashrateTarget => format!("hashrate-target {}", whole(preset.hashrate_target.map(|rate| rate / 1e12))),
        Setting::Fan => match preset.fan {
            Some(FanSetting::Fixed(share)) => format!("fan {}", (share * 100.0).round()),
            _ => "fan auto".to_string(),
        },
        Setting::Mode => {
            let word = preset.mode.as_deref().unwrap_or_default();
            return Call::read(&target.kind, &format!("mode {word}"))
                .or_else(|error| Call::read(&target.kind, &format!("profile {word}")).map_err(|_| error));
        }
        other => return Err(CommandError::Refused(format!("{} cannot be set by a command", other.key()))),
    };
    Call::read(&target.kind, &text)
}

/// What of a preset differs from what the device says, firmware aside: that is not written. What it does not say differs.
pub fn differs(preset: &Preset, target: &Target, seen: &Seen) -> Vec<Drift> {
    let identity = seen.reading.identity.clone().unwrap_or_default();
    let drifts = preset.drifts(target, &identity, &seen.reading.settings);
    let told = |setting| drifts.iter().any(|drift| drift.setting == setting);
    let pools = (!preset.pools.is_empty()).then_some(Setting::PoolUrl);
    let untold = preset.named().chain(pools).filter(|setting| !told(*setting)).map(|setting| {
        let (wanted, found) = (String::new(), UNTOLD.to_string());
        Drift { setting, pool: None, wanted, found, drifted: true }
    });
    let untold: Vec<Drift> = untold.collect();
    let differing = drifts.into_iter().filter(|drift| drift.drifted).chain(untold);
    differing.filter(|drift| drift.setting != Setting::Firmware).collect()
}

/// What differs, for people.
pub fn say(drifts: &[Drift]) -> Vec<String> {
    drifts.iter().map(|drift| format!("{} {}", drift.setting.as_str(), drift.found).trim_end().to_string()).collect()
}

fn goal(target: Target, preset: Arc<Preset>) -> Goal {
    Goal::Preset { differs: Box::new(move |seen| Some(say(&differs(&preset, &target, seen)))) }
}

/// Asks once more how the device stands, and whether it says everything that has to be read back.
///
/// # Errors
/// [`CommandError::Refused`] where it does not: then nothing is sent.
pub async fn look(target: &Target, preset: &Preset, by: Instant) -> Result<(Seen, Vec<Drift>), CommandError> {
    let silent = |error| CommandError::Refused(format!("it does not answer, so nothing was sent: {error}"));
    let seen = Seen::ask(target, by).await.map_err(silent)?;
    let drifts = differs(preset, target, &seen);
    // A device that was reset may have no pools at all; everything else has some value.
    let untold = drifts.iter().find(|drift| drift.found == UNTOLD && drift.setting != Setting::PoolUrl);
    match untold {
        Some(drift) => {
            let what = drift.setting.key();
            let text = format!("it does not say its {what}, which could not be read back; nothing was sent");
            Err(CommandError::Refused(text))
        }
        None => Ok((seen, drifts)),
    }
}

/// The pools of a preset for one device, with their passwords.
///
/// # Errors
/// [`CommandError::Refused`] when one cannot be read.
pub fn wanted(preset: &Preset, target: &Target) -> Result<Vec<Wanted>, CommandError> {
    let of = |(pool, user): (&crate::preset::Pool, String)| {
        let secret = pool.password.as_ref().map(|secret| secret.read()).transpose();
        let secret = secret.map_err(|error| CommandError::Refused(error.to_string()))?;
        let password = secret.unwrap_or_else(|| Secret::new(NO_PASSWORD));
        Ok(Wanted { url: pool.url.clone(), address: pool.address.clone(), user, password })
    };
    preset.pools.iter().zip(preset.workers(target)).map(of).collect()
}

async fn send(target: Target, preset: &Preset, hand: &Hand, by: Instant) -> Result<(), CommandError> {
    let (seen, drifts) = look(&target, preset, by).await?;
    let pools = drifts.iter().any(|drift| matches!(drift.setting, Setting::PoolUrl | Setting::PoolWorker));
    let mut work: Vec<BoxFuture<'static, Result<(), CommandError>>> = Vec::new();
    if pools {
        let job = Job { seen, pools: wanted(preset, &target)?, exact: preset.exact_pools, target: target.clone() };
        work.push((hand.pools)(job, by));
    }
    let writes_pools = work.len();
    for drift in drifts.iter().filter(|drift| !matches!(drift.setting, Setting::PoolUrl | Setting::PoolWorker)) {
        let plan = command(&target, preset, drift.setting)?.plan(&target)?;
        work.push((plan.send)(by));
    }
    if hand.starts {
        work.rotate_left(writes_pools);
    }
    let mut steps = tell::Steps::default();
    for step in work {
        steps.told(step.await)?;
    }
    Ok(())
}
