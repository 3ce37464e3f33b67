//! Presets: how devices should be set, which preset is whose, and where a device differs from its own.
//!
//! Pure: what a device is set to comes in with each poll ([`crate::model::Settings`]), what is to be said of it goes out.
//! The first preset that matches a device is its preset. Only what a preset names, and the device says, is compared.

mod able;
mod address;
mod check;
mod drift;
mod entry;
mod judge;
mod template;

use std::collections::BTreeMap;

use crate::model::{FanSetting, Identity, Labels, Matcher, Settings, Target};
use crate::secret::SecretRef;

pub use able::Able;
pub use address::Address;
pub use check::{Mistake, check};
pub use drift::{Drift, Setting, shortened};
pub use entry::{PoolEntry, PresetEntry};
pub use judge::{FAMILIES, Judgement, Row, Stranger, What};
pub use template::Worker;

/// All presets, in the order in which they are asked, and what else is known to be right.
#[derive(Clone, Debug, Default)]
pub struct Presets {
    list: Vec<Preset>,
    expected_pools: Vec<Matcher>,
    expected_workers: Vec<Matcher>,
}

/// How a device should be set. What is `None` or empty is the device's own affair.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Unique name.
    pub name: String,
    /// All must hold for the words that a device can be chosen by.
    pub matchers: Vec<Matcher>,
    /// Pools, first choice first.
    pub pools: Vec<Pool>,
    /// Whether there are to be no others.
    pub exact_pools: bool,
    /// In hertz.
    pub frequency: Option<f64>,
    /// In volts.
    pub core_voltage: Option<f64>,
    /// In watts.
    pub power_limit: Option<f64>,
    /// How fans are to be driven.
    pub fan: Option<FanSetting>,
    /// In hashes per second.
    pub hashrate_target: Option<f64>,
    /// In the firmware's word.
    pub mode: Option<String>,
    /// Oldest firmware that is good enough, as numbers.
    pub firmware: Option<Vec<u64>>,
    /// Whether frequency and voltage may go beyond what is known to be right for the model.
    pub force: bool,
}

/// A pool of a preset.
#[derive(Clone, Debug)]
pub struct Pool {
    /// As it is written.
    pub url: String,
    /// Where that is.
    pub address: Address,
    /// The user that a device mines for.
    pub worker: Worker,
    /// What it logs in with.
    pub password: Option<SecretRef>,
}

/// The words that only a device itself can say.
const SAID: [&str; 3] = ["make", "model", "firmware"];

impl Presets {
    /// Whether there is nothing to compare any device with.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.expected_pools.is_empty() && self.expected_workers.is_empty()
    }

    /// The preset of a device.
    pub fn of(&self, target: &Target, identity: &Identity) -> Option<&Preset> {
        let words = words(target, identity);
        self.list.iter().find(|preset| preset.matchers.iter().all(|matcher| matcher.matches(&words)))
    }
}

impl Preset {
    /// Everything beside pools that it names.
    pub fn named(&self) -> impl Iterator<Item = Setting> {
        let all = [
            (Setting::Frequency, self.frequency.is_some()),
            (Setting::CoreVoltage, self.core_voltage.is_some()),
            (Setting::PowerLimit, self.power_limit.is_some()),
            (Setting::Fan, self.fan.is_some()),
            (Setting::HashrateTarget, self.hashrate_target.is_some()),
            (Setting::Mode, self.mode.is_some()),
            (Setting::Firmware, self.firmware.is_some()),
        ];
        all.into_iter().filter(|(_, named)| *named).map(|(setting, _)| setting)
    }

    /// Whether its matchers say of which kinds the devices are, or need nothing but the configuration.
    fn is_told_by_kind(&self) -> bool {
        self.matchers.iter().any(|matcher| &*matcher.name == "kind") || self.is_certain()
    }

    /// Whether no device has to be asked to know whose preset it is.
    fn is_certain(&self) -> bool {
        self.matchers.iter().all(|matcher| !SAID.contains(&&*matcher.name))
    }

    /// Whether it may be the preset of a target of which nothing but its configuration is known.
    fn may_be_of(&self, target: &Target) -> bool {
        let words = words(target, &Identity::default());
        self.matchers.iter().all(|matcher| SAID.contains(&&*matcher.name) || matcher.matches(&words))
    }

    /// Everything that it names and the device says, compared.
    pub fn drifts(&self, target: &Target, identity: &Identity, found: &Settings) -> Vec<Drift> {
        drift::compare(self, target, identity, found)
    }

    /// The users of its pools for one target.
    pub fn workers(&self, target: &Target) -> Vec<String> {
        self.pools.iter().map(|pool| pool.worker.of(target).unwrap_or_default()).collect()
    }
}

/// What a device can be chosen by: its labels, `target` (its id), `kind`, and what it says of itself.
fn words(target: &Target, identity: &Identity) -> Labels {
    let mut words: BTreeMap<String, String> =
        target.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let own = [("target", &*target.id), ("kind", &*target.kind)];
    let said = SAID.into_iter().zip([&*identity.make, &*identity.model, &*identity.firmware]);
    words.extend(own.into_iter().chain(said).map(|(name, value)| (name.to_string(), value.to_string())));
    Labels::new(words.iter().map(|(name, value)| (name.clone(), value.as_str())))
}

#[cfg(test)]
mod tests;
