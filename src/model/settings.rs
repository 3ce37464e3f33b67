//! What a device is set to, as it says itself: what a preset is compared with.

/// The settings of a device. What it does not say is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Its pools, by slot.
    pub pools: Vec<PoolSetting>,
    /// Clock as set, in hertz: of the device, or of each of its boards.
    pub frequencies: Vec<f64>,
    /// Core voltage as set, in volts: of the device, or of each of its boards.
    pub core_voltages: Vec<f64>,
    /// Power that it is limited to, in watts.
    pub power_limit: Option<f64>,
    /// How its fans are driven.
    pub fan: Option<FanSetting>,
    /// Hash rate that its tuner aims at, in hashes per second.
    pub hashrate_target: Option<f64>,
    /// Its work mode, power mode or profile, in its own word.
    pub mode: Option<String>,
}

/// One pool as it is configured. Both texts are the device's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolSetting {
    /// Slot number.
    pub slot: usize,
    /// How many others it takes first: 0 for the first choice. The slot, unless the device says priorities.
    pub place: usize,
    /// Address, without user and password.
    pub url: String,
    /// User, not masked.
    pub user: String,
}

/// How fans are driven.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FanSetting {
    /// By temperature.
    Auto,
    /// At a share of their full speed, 0 to 1.
    Fixed(f64),
}

impl std::fmt::Display for FanSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FanSetting::Auto => f.write_str("auto"),
            FanSetting::Fixed(share) => write!(f, "{:.0}%", share * 100.0),
        }
    }
}
