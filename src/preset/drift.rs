//! Where a device differs from its preset.

use super::{Address, Preset};
use crate::model::{FanSetting, Identity, Settings, Target};

/// A setting that is compared; the label `setting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Where a pool is.
    PoolUrl,
    /// The user at a pool.
    PoolWorker,
    /// Clock of the chips.
    Frequency,
    /// Voltage of the chips.
    CoreVoltage,
    /// Power that may be drawn.
    PowerLimit,
    /// How fans are driven.
    Fan,
    /// Hash rate that is aimed at.
    HashrateTarget,
    /// Work mode, power mode or profile.
    Mode,
    /// Age of the firmware.
    Firmware,
}

impl Setting {
    /// The value of the label `setting`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Setting::PoolUrl => "pool_url",
            Setting::PoolWorker => "pool_worker",
            Setting::Frequency => "frequency",
            Setting::CoreVoltage => "core_voltage",
            Setting::PowerLimit => "power_limit",
            Setting::Fan => "fan",
            Setting::HashrateTarget => "hashrate_target",
            Setting::Mode => "mode",
            Setting::Firmware => "firmware",
        }
    }

    /// The key of a preset that names it.
    pub const fn key(self) -> &'static str {
        match self {
            Setting::PoolUrl | Setting::PoolWorker => "pools",
            Setting::Frequency => "frequency_mhz",
            Setting::CoreVoltage => "core_voltage_mv",
            Setting::PowerLimit => "power_limit_watts",
            Setting::Fan => "fan",
            Setting::HashrateTarget => "hashrate_target_ths",
            Setting::Mode => "mode",
            Setting::Firmware => "firmware_at_least",
        }
    }
}

/// One setting, as it should be and as it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Drift {
    /// Which one.
    pub setting: Setting,
    /// Of which pool.
    pub pool: Option<usize>,
    /// As the preset has it.
    pub wanted: String,
    /// As the device says it. Workers are shortened: they are wallets.
    pub found: String,
    /// Whether both differ.
    pub drifted: bool,
}

/// Devices round what they are told: MHz, or a share of it.
const FREQUENCY_TOLERANCE: f64 = 0.01;
/// In volts: half a step of the finest regulator.
const VOLTAGE_TOLERANCE: f64 = 0.005;
/// Limits and targets are often rounded to steps.
const POWER_TOLERANCE: f64 = 0.01;
/// Shares of a fan's speed are whole percents.
const FAN_TOLERANCE: f64 = 0.015;

/// Everything that a preset names and the device says, compared.
pub(super) fn compare(preset: &Preset, target: &Target, identity: &Identity, found: &Settings) -> Vec<Drift> {
    let mut drifts = pools(preset, target, found);
    let mut number = |setting, wanted: Option<f64>, found: &[f64], tolerance: f64, unit: (f64, &str)| {
        let Some((wanted, first)) = wanted.zip(found.first()) else { return };
        // Of several boards the one that is farthest off speaks for all.
        let off = |value: &f64| (value - wanted).abs();
        let worst = found.iter().copied().max_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(*first);
        let say = |value: f64| {
            let text = format!("{:.2}", value * unit.0);
            format!("{} {}", text.trim_end_matches('0').trim_end_matches('.'), unit.1)
        };
        let (wanted_text, found) = (say(wanted), say(worst));
        drifts.push(Drift { setting, pool: None, wanted: wanted_text, found, drifted: off(&worst) > tolerance });
    };
    let share = |wanted: Option<f64>, tolerance: f64| wanted.unwrap_or_default() * tolerance;
    let hertz = share(preset.frequency, FREQUENCY_TOLERANCE);
    number(Setting::Frequency, preset.frequency, &found.frequencies, hertz, (1e-6, "MHz"));
    number(Setting::CoreVoltage, preset.core_voltage, &found.core_voltages, VOLTAGE_TOLERANCE, (1e3, "mV"));
    let watts = share(preset.power_limit, POWER_TOLERANCE);
    number(Setting::PowerLimit, preset.power_limit, found.power_limit.as_slice(), watts, (1.0, "W"));
    let rate = share(preset.hashrate_target, POWER_TOLERANCE);
    number(Setting::HashrateTarget, preset.hashrate_target, found.hashrate_target.as_slice(), rate, (1e-12, "TH/s"));
    if let Some((wanted, found)) = preset.mode.as_ref().zip(found.mode.as_ref()) {
        let drifted = !wanted.eq_ignore_ascii_case(found);
        let (wanted, found) = (wanted.clone(), found.clone());
        drifts.push(Drift { setting: Setting::Mode, pool: None, wanted, found, drifted });
    }
    if let Some((wanted, found)) = preset.fan.zip(found.fan) {
        let drifted = match (wanted, found) {
            (FanSetting::Fixed(wanted), FanSetting::Fixed(found)) => (wanted - found).abs() > FAN_TOLERANCE,
            (wanted, found) => wanted != found,
        };
        let (wanted, found) = (wanted.to_string(), found.to_string());
        drifts.push(Drift { setting: Setting::Fan, pool: None, wanted, found, drifted });
    }
    if let Some((wanted, found)) = preset.firmware.as_ref().zip(version(&identity.firmware)) {
        let say = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
        let drifted = found < *wanted;
        let (wanted, found) = (format!("at least {}", say(wanted)), say(&found));
        drifts.push(Drift { setting: Setting::Firmware, pool: None, wanted, found, drifted });
    }
    drifts
}

fn pools(preset: &Preset, target: &Target, found: &Settings) -> Vec<Drift> {
    let mut drifts = Vec::new();
    // A device that names no pool at all does not say its pools.
    if found.pools.is_empty() {
        return drifts;
    }
    for (place, (pool, worker)) in preset.pools.iter().zip(preset.workers(target)).enumerate() {
        let of_place = found.pools.iter().find(|pool| pool.place == place);
        let (url, user) = of_place.map_or(("", ""), |pool| (&pool.url, &pool.user));
        let right = Address::read(url).is_some_and(|address| address.is(&pool.address));
        let mut push = |setting, wanted: String, found: String, drifted| {
            drifts.push(Drift { setting, pool: Some(place), wanted, found, drifted });
        };
        push(Setting::PoolUrl, pool.url.clone(), url.to_string(), !right);
        // Some firmware shows no users, or hides them.
        if !user.is_empty() && !user.contains('*') {
            push(Setting::PoolWorker, shortened(&worker), shortened(user), user != worker);
        }
    }
    for pool in found.pools.iter().filter(|pool| preset.exact_pools && pool.place >= preset.pools.len()) {
        let (wanted, found) = ("no pool".to_string(), pool.url.clone());
        drifts.push(Drift { setting: Setting::PoolUrl, pool: Some(pool.place), wanted, found, drifted: true });
    }
    drifts
}

/// Longest account that is shown as it is.
const SHORT: usize = 12;

/// A user whose account can be told from another one, and not read: `bc1q…x9f2.rig-7`.
pub fn shortened(user: &str) -> String {
    let (account, worker) = match user.split_once('.') {
        Some((account, worker)) => (account, format!(".{worker}")),
        None => (user, String::new()),
    };
    let letters: Vec<char> = account.chars().collect();
    let account = match letters.len() {
        0..=SHORT => account.to_string(),
        many => letters[..4].iter().chain(&['…']).chain(&letters[many - 4..]).collect(),
    };
    let worker: String = worker.chars().take(64).collect();
    format!("{account}{worker}")
}

/// The first numbers with dots between them: `AxeOS v2.9.0-5-gabc` is 2.9.0. Dates and names are no versions.
pub(super) fn version(text: &str) -> Option<Vec<u64>> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let word = words.map(|word| word.trim_matches('.')).find(|word| word.contains('.'))?;
    word.split('.').map(|number| number.parse().ok()).collect()
}
