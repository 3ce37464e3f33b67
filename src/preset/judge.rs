//! What is to be said of a device after a poll: its drift, pools and workers that nobody expects, and both as samples.

use super::{Address, Drift, Preset, Presets, drift};
use crate::model::{Family, Identity, Matcher, Sample, Settings, Suffix, Target};

/// Whether a setting differs from the preset.
pub static DRIFT: Family = Family::gauge(
    "davylamp_preset_drift",
    "1 where a setting of the device differs from its preset, 0 where it is as it should be",
    &["target", "kind", "preset", "setting", "pool"],
);
/// Whether a pool or a worker is a stranger.
pub static UNEXPECTED: Family = Family::gauge(
    "davylamp_pool_unexpected",
    "1 where the device is set to a pool, or to a worker, that neither its preset nor expected_pools or \
     expected_workers name",
    &["target", "kind", "pool", "what"],
);

/// The families of this file.
pub static FAMILIES: [&Family; 2] = [&DRIFT, &UNEXPECTED];

/// Most pools of a device that are looked at.
const MAX_POOLS: usize = 16;

/// What one poll shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Judgement {
    /// Name of the device's preset.
    pub preset: Option<String>,
    /// Everything that could be compared.
    pub drifts: Vec<Drift>,
    /// Pools and workers, as far as anybody said which are expected.
    pub strangers: Vec<Stranger>,
}

/// A pool or a worker, and whether it is expected.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stranger {
    /// Slot of the pool.
    pub pool: usize,
    /// What was looked at.
    pub what: What,
    /// As the device says it; a worker is shortened.
    pub found: String,
    /// Whether nobody expects it.
    pub unexpected: bool,
}

/// What of a pool may be a stranger; the label `what`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Where it is.
    Pool,
    /// Who is mined for.
    Worker,
}

impl What {
    /// The value of the label `what`.
    pub const fn as_str(self) -> &'static str {
        match self {
            What::Pool => "pool",
            What::Worker => "worker",
        }
    }
}

/// One line for people: what should be, and what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `frequency`, `pool_url 0`.
    pub setting: String,
    /// As it should be.
    pub wanted: String,
    /// As the device says it.
    pub found: String,
    /// Whether that is not as it should be.
    pub wrong: bool,
}

impl Presets {
    /// Compares a device with its preset and with what is expected.
    pub fn judge(&self, target: &Target, identity: &Identity, found: &Settings) -> Judgement {
        let preset = self.of(target, identity);
        Judgement {
            preset: preset.map(|preset| preset.name.clone()),
            drifts: preset.map(|preset| preset.drifts(target, identity, found)).unwrap_or_default(),
            strangers: self.strangers(preset, target, found),
        }
    }

    fn strangers(&self, preset: Option<&Preset>, target: &Target, found: &Settings) -> Vec<Stranger> {
        let own = preset.map(|preset| preset.pools.as_slice()).unwrap_or_default();
        let workers = preset.map(|preset| preset.workers(target)).unwrap_or_default();
        let matches = |list: &[Matcher], text: &str| list.iter().any(|pattern| pattern.matches_value(text));
        let mut strangers = Vec::new();
        for pool in found.pools.iter().take(MAX_POOLS) {
            let mut push = |what, found, expected: bool| {
                strangers.push(Stranger { pool: pool.slot, what, found, unexpected: !expected });
            };
            if !own.is_empty() || !self.expected_pools.is_empty() {
                let address = Address::read(&pool.url);
                let known = address.as_ref().is_some_and(|address| {
                    own.iter().any(|own| own.address.is(address)) || matches(&self.expected_pools, &address.to_string())
                });
                push(What::Pool, pool.url.clone(), known);
            }
            let shown = !pool.user.is_empty() && !pool.user.contains('*');
            if shown && (!own.is_empty() || !self.expected_workers.is_empty()) {
                let known = workers.contains(&pool.user) || matches(&self.expected_workers, &pool.user);
                push(What::Worker, drift::shortened(&pool.user), known);
            }
        }
        strangers
    }
}

impl Judgement {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.drifts.is_empty() && self.strangers.is_empty()
    }

    /// As lines for people.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let drifts = self.drifts.iter().map(|drift| {
            let slot = drift.pool.map(|pool| format!(" {pool}")).unwrap_or_default();
            let (wanted, found) = (drift.wanted.clone(), drift.found.clone());
            Row { setting: format!("{}{slot}", drift.setting.as_str()), wanted, found, wrong: drift.drifted }
        });
        let strangers = self.strangers.iter().map(|stranger| Row {
            setting: format!("expected {} {}", stranger.what.as_str(), stranger.pool),
            wanted: "one that is named".to_string(),
            found: stranger.found.clone(),
            wrong: stranger.unexpected,
        });
        drifts.chain(strangers)
    }

    /// As samples about the target.
    pub fn samples(&self, target: &Target) -> Vec<Sample> {
        let labels = target.labels.with("target", &*target.id).with("kind", &*target.kind);
        let sample = |family: &'static Family, labels, flag: bool| Sample {
            family: family.into(),
            suffix: Suffix::None,
            labels,
            value: f64::from(u8::from(flag)),
        };
        let preset = labels.with("preset", self.preset.as_deref().unwrap_or_default());
        let drifts = self.drifts.iter().map(|drift| {
            let labels = preset.with("setting", drift.setting.as_str());
            let labels = drift.pool.map_or_else(|| labels.clone(), |pool| labels.with("pool", &*pool.to_string()));
            sample(&DRIFT, labels, drift.drifted)
        });
        let strangers = self.strangers.iter().map(|stranger| {
            let labels = labels.with("pool", &*stranger.pool.to_string()).with("what", stranger.what.as_str());
            sample(&UNEXPECTED, labels, stranger.unexpected)
        });
        drifts.chain(strangers).collect()
    }
}
