//! From what stands in the configuration to presets, every mistake with its place.

use super::drift::version;
use super::{Able, Address, Pool, PoolEntry, Preset, PresetEntry, Presets, Worker};
use crate::model::{FanSetting, MatchOp, Matcher, Target};

/// What is wrong, and where: a path from the top of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `presets[0].pools[1].url`.
    pub path: String,
    /// The offending words and what to do.
    pub message: String,
    /// Odd, but no mistake.
    pub remark: bool,
}

/// Most pools of a preset: no firmware has more slots.
const MAX_POOLS: usize = 8;

/// What chips of this decade can do, with room.
const FREQUENCY_MHZ: (f64, f64) = (50.0, 2_000.0);
const CORE_VOLTAGE_MV: (f64, f64) = (200.0, 25_000.0);
const POWER_WATTS: (f64, f64) = (1.0, 50_000.0);
const HASHRATE_TERAHASHES: (f64, f64) = (0.01, 10_000.0);

/// Longest word for a mode, in bytes.
const MAX_MODE: usize = 64;

/// What kinds take; `None` where presets cannot be applied, but devices can be compared with them.
pub type AbleOf<'a> = &'a dyn Fn(&str) -> Option<&'static Able>;

/// Reads all presets for these targets.
pub fn check(
    entries: &[PresetEntry],
    expected_pools: &[String],
    expected_workers: &[String],
    targets: &[&Target],
    able: AbleOf<'_>,
) -> (Presets, Vec<Mistake>) {
    let mut found = Found(Vec::new());
    let mut list: Vec<Preset> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("presets[{index}]");
        if entry.name.trim().is_empty() {
            found.mistake(format!("{path}.name"), "a preset needs a name");
        } else if entries[..index].iter().any(|other| other.name == entry.name) {
            found.mistake(format!("{path}.name"), format!("the name {:?} is used already", entry.name));
        }
        let preset = found.preset(&path, entry);
        found.workers(&path, &preset, targets);
        found.abilities(&path, &preset, &list, targets, able);
        list.push(preset);
    }
    let presets = Presets {
        list,
        expected_pools: found.patterns("expected_pools", expected_pools),
        expected_workers: found.patterns("expected_workers", expected_workers),
    };
    (presets, found.0)
}

struct Found(Vec<Mistake>);

impl Found {
    fn mistake(&mut self, path: String, message: impl Into<String>) {
        self.0.push(Mistake { path, message: message.into(), remark: false });
    }

    fn patterns(&mut self, path: &str, texts: &[String]) -> Vec<Matcher> {
        let mut patterns = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match Matcher::new(path, MatchOp::Regex, text.as_str()) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.mistake(format!("{path}[{index}]"), error.to_string()),
            }
        }
        patterns
    }

    fn preset(&mut self, path: &str, entry: &PresetEntry) -> Preset {
        let mut matchers = Vec::new();
        for (index, text) in entry.matchers.iter().enumerate() {
            match Matcher::parse(text) {
                Ok(matcher) => matchers.push(matcher),
                Err(error) => self.mistake(format!("{path}.match[{index}]"), error.to_string()),
            }
        }
        if entry.pools.len() > MAX_POOLS {
            self.mistake(format!("{path}.pools"), format!("at most {MAX_POOLS} pools"));
        }
        if entry.exact_pools && entry.pools.is_empty() {
            self.mistake(format!("{path}.exact_pools"), "needs pools: a device without any mines for nobody");
        }
        let pools = entry.pools.iter().enumerate();
        let pools = pools.filter_map(|(index, pool)| self.pool(&format!("{path}.pools[{index}]"), pool)).collect();
        let megahertz = self.number(path, "frequency_mhz", entry.frequency_mhz, FREQUENCY_MHZ, "MHz");
        let millivolts = self.number(path, "core_voltage_mv", entry.core_voltage_mv, CORE_VOLTAGE_MV, "mV");
        let terahashes =
            self.number(path, "hashrate_target_ths", entry.hashrate_target_ths, HASHRATE_TERAHASHES, "TH/s");
        let firmware = entry.firmware_at_least.as_deref().and_then(|text| {
            let numbers = version(text);
            if numbers.is_none() {
                let at = format!("{path}.firmware_at_least");
                self.mistake(at, format!("{text:?} is no version: numbers with dots between them, as in 2.9.0"));
            }
            numbers
        });
        Preset {
            name: entry.name.clone(),
            matchers,
            pools,
            frequency: megahertz.map(|megahertz| megahertz * 1e6),
            core_voltage: millivolts.map(|millivolts| millivolts / 1e3),
            power_limit: self.number(path, "power_limit_watts", entry.power_limit_watts, POWER_WATTS, "W"),
            fan: self.fan(path, entry.fan.as_deref()),
            hashrate_target: terahashes.map(|terahashes| terahashes * 1e12),
            mode: self.mode(path, entry.mode.as_deref()),
            exact_pools: entry.exact_pools,
            firmware,
            force: entry.force,
        }
    }

    fn pool(&mut self, path: &str, entry: &PoolEntry) -> Option<Pool> {
        let address = Address::read(&entry.url).filter(|address| address.port.is_some());
        if address.is_none() {
            let text = format!("{:?} is no pool: write it like stratum+tcp://pool.example:3333", entry.url);
            self.mistake(format!("{path}.url"), text);
        }
        let worker = Worker::read(&entry.worker);
        if let Err(reason) = &worker {
            self.mistake(format!("{path}.worker"), reason.clone());
        }
        let (address, worker) = address.zip(worker.ok())?;
        Some(Pool { url: entry.url.clone(), address, worker, password: entry.password.clone() })
    }

    fn number(&mut self, path: &str, key: &str, value: Option<f64>, within: (f64, f64), unit: &str) -> Option<f64> {
        let value = value?;
        if (within.0..=within.1).contains(&value) {
            return Some(value);
        }
        let text = format!("{value} {unit} is impossible: {} to {} {unit}", within.0, within.1);
        self.mistake(format!("{path}.{key}"), text);
        None
    }

    fn fan(&mut self, path: &str, text: Option<&str>) -> Option<FanSetting> {
        let text = text?.trim();
        if text == "auto" {
            return Some(FanSetting::Auto);
        }
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
        if percent.is_none() {
            self.mistake(format!("{path}.fan"), format!("{text:?} is no way to drive a fan: write auto or 60%"));
        }
        percent.map(|percent| FanSetting::Fixed(percent / 100.0))
    }

    fn mode(&mut self, path: &str, text: Option<&str>) -> Option<String> {
        let text = text?.trim();
        let fits = !text.is_empty() && text.len() <= MAX_MODE && !text.chars().any(char::is_control);
        if !fits {
            self.mistake(format!("{path}.mode"), format!("{text:?} is no mode: write the device's word for it"));
        }
        fits.then(|| text.to_string())
    }

    /// What it names has to be something that its targets take, as far as they can be known before they are asked. A
    /// target that an `earlier` preset takes for certain is not meant.
    fn abilities(&mut self, path: &str, preset: &Preset, earlier: &[Preset], targets: &[&Target], able: AbleOf<'_>) {
        let taken = |target: &Target| earlier.iter().any(|other| other.is_certain() && other.may_be_of(target));
        let meant = targets.iter().filter(|target| preset.may_be_of(target) && !taken(target));
        let lacking = meant.filter_map(|target| Some((target, able(&target.kind)?.lacks(&target.kind, preset)?)));
        if let Some((target, (key, why))) = lacking.into_iter().next() {
            let message = format!("the target {:?} cannot be set so: {why}", target.id);
            // Until they are asked, devices of a kind that nobody names may be of another preset.
            let remark = !preset.is_told_by_kind();
            self.0.push(Mistake { path: format!("{path}.{key}"), message, remark });
        }
    }

    /// Every target that a preset may be for must have the labels that its workers name.
    fn workers(&mut self, path: &str, preset: &Preset, targets: &[&Target]) {
        let mut of_none = true;
        for target in targets.iter().filter(|target| preset.may_be_of(target)) {
            of_none = false;
            let wrong = |(index, pool): (usize, &Pool)| Some((index, pool.worker.of(target).err()?));
            if let Some((index, word)) = preset.pools.iter().enumerate().find_map(wrong) {
                let text = format!("the target {:?} has no label {word:?}", target.id);
                return self.mistake(format!("{path}.pools[{index}].worker"), text);
            }
        }
        if of_none && !targets.is_empty() {
            let message = "matches no target".to_string();
            self.0.push(Mistake { path: format!("{path}.match"), message, remark: true });
        }
    }
}
