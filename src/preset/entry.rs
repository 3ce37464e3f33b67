//! What stands in the configuration under `presets:`, as it is written.

use crate::secret::SecretRef;

/// How some devices should be set. What is left out is the device's own affair.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PresetEntry {
    /// Unique name.
    pub name: String,
    /// Matchers on a device's labels, `target` (its id), `kind`, and what it says of itself: `make`, `model`,
    /// `firmware`. All of them must hold; the first preset that matches a device is its preset.
    #[serde(rename = "match", default)]
    pub matchers: Vec<String>,
    /// Pools, first choice first.
    #[serde(default)]
    pub pools: Vec<PoolEntry>,
    /// Whether the device is to have no pools beside these. Left out, it may keep more of them behind these.
    #[serde(default)]
    pub exact_pools: bool,
    /// Clock of the chips, in MHz.
    #[serde(default)]
    pub frequency_mhz: Option<f64>,
    /// Voltage of the chips, in mV.
    #[serde(default)]
    pub core_voltage_mv: Option<f64>,
    /// Power that the device may draw, in watts.
    #[serde(default)]
    pub power_limit_watts: Option<f64>,
    /// Hash rate that the device's tuner should aim at, in TH/s.
    #[serde(default)]
    pub hashrate_target_ths: Option<f64>,
    /// Work mode, power mode or profile, in the word of the device's firmware: `eco`, `low`, `290MHz`.
    #[serde(default)]
    pub mode: Option<String>,
    /// `auto`, or a share of the fans' full speed: `60%`.
    #[serde(default)]
    pub fan: Option<String>,
    /// Oldest version of the firmware that is good enough: `2.9.0`. It is compared and never installed.
    #[serde(default)]
    pub firmware_at_least: Option<String>,
    /// Writes a frequency or voltage that is not known to be right for the model, too.
    #[serde(default)]
    pub force: bool,
}

/// A pool.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolEntry {
    /// `stratum+tcp://pool.example:3333`; without a scheme, plain or TLS is not compared.
    pub url: String,
    /// User at the pool; `{{ miner }}` stands for the device's id, `{{ NAME }}` for one of its labels.
    pub worker: String,
    /// Password at the pool, by reference; `x` if left out. Devices do not show it, so it is written and not compared.
    #[serde(default)]
    pub password: Option<SecretRef>,
}
