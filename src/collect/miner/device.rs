//! One device, said alike by every firmware: the shape between a parser and the `miner_*` families.
//!
//! A parser fills in what the reply says and leaves the rest `None`; here it becomes samples, once and for all firmware.
//! So "absent means absent", the closed set of states, the plausibility of counters and the masking of pool users do
//! not depend on who wrote the parser.

mod put;

use super::pools::Pool;
use crate::model::FanSetting;

pub use put::FAMILIES;

/// What the device is doing. `Unknown` where it does not hash and does not say why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It hashes.
    Hashing,
    /// It was switched on a moment ago.
    Starting,
    /// It looks for its best settings, and may hash meanwhile.
    Tuning,
    /// Its owner (or a curtailment) has stopped it.
    Paused,
    /// It is in its low-power mode.
    Sleeping,
    /// It has stopped itself because it is too hot.
    Overheated,
    /// It says that something is broken.
    Fault,
    /// None of these can be told.
    #[default]
    Unknown,
}

impl State {
    /// The value of the label `state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Hashing => "hashing",
            State::Starting => "starting",
            State::Tuning => "tuning",
            State::Paused => "paused",
            State::Sleeping => "sleeping",
            State::Overheated => "overheated",
            State::Fault => "fault",
            State::Unknown => "unknown",
        }
    }

    /// The state of a device that says nothing of it: by its hash rate and its uptime in seconds.
    pub fn told_by(hashrate: Option<f64>, uptime: Option<f64>) -> Self {
        /// A device that does not hash and has been up for less, in seconds, is still starting.
        const STARTING: f64 = 180.0;
        match (hashrate, uptime) {
            (Some(rate), _) if rate > 0.0 => State::Hashing,
            (_, Some(uptime)) if uptime < STARTING => State::Starting,
            _ => State::Unknown,
        }
    }
}

/// How a power is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerSource {
    /// A meter in the device.
    Measured,
    /// Computed by the device or by us from a model's table.
    Estimated,
}

/// Everything that a reply may say. Units are those of the families: hashes per second, watts, °C, volts, hertz, seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device {
    /// Host and port that were asked.
    pub address: String,
    /// What was spoken: `cgminer`, `http`, `graphql`, ….
    pub protocol: &'static str,
    /// Maker.
    pub make: String,
    /// Model.
    pub model: String,
    /// Name of the firmware.
    pub firmware: String,
    /// Its version.
    pub firmware_version: String,
    /// Name of the hashing chip.
    pub chip: String,
    /// What is computed: `sha256d`, `scrypt`, ….
    pub algorithm: String,
    /// MAC address as the device says it.
    pub mac: String,
    /// Serial number, the identity where there is no MAC.
    pub serial: String,
    /// Host name.
    pub hostname: String,
    /// What it is doing; [`State::told_by`] where it does not say.
    pub state: State,
    /// Over the shortest honest window.
    pub hashrate: Option<f64>,
    /// Averages with the label `window`: `1m`, `5m`, `10m`, `15m`, `30m`, `1h`, `1d`, `lifetime`.
    pub averages: Vec<(&'static str, f64)>,
    /// At the present settings.
    pub expected: Option<f64>,
    /// All hashes computed.
    pub hashes: Option<f64>,
    /// Power at the wall or at the supply's output, as the device says.
    pub power: Option<(f64, PowerSource)>,
    /// What it is limited to.
    pub power_limit: Option<f64>,
    /// Hash rate that its tuner aims at.
    pub hashrate_target: Option<f64>,
    /// Its work mode, power mode or profile, in its own word.
    pub mode: Option<String>,
    /// How its fans are told to turn.
    pub fan_setting: Option<FanSetting>,
    /// Since the device or its mining program started.
    pub uptime: Option<f64>,
    /// Accepted, rejected, stale.
    pub shares: [Option<f64>; 3],
    /// Rejected shares by the pool's reason.
    pub rejections: Vec<(String, f64)>,
    /// Of the whole device.
    pub hardware_errors: Option<f64>,
    /// Share of wrong results, 0 to 1.
    pub hash_error_ratio: Option<f64>,
    /// Since the start.
    pub best_session: Option<f64>,
    /// Ever.
    pub best_lifetime: Option<f64>,
    /// Blocks found.
    pub blocks_found: Option<f64>,
    /// As it was told.
    pub network_difficulty: Option<f64>,
    /// Sensors that belong to no board.
    pub temperatures: Vec<Sensor>,
    /// Voltages by rail: `input`, `core`, `core_set`.
    pub voltages: Vec<(&'static str, f64)>,
    /// Currents by rail.
    pub currents: Vec<(&'static str, f64)>,
    /// Clock as set and as it is, of the whole device.
    pub frequency: Clock,
    /// Fans.
    pub fans: Vec<Fan>,
    /// How many there should be.
    pub fans_expected: Option<f64>,
    /// Hash boards.
    pub boards: Vec<Board>,
    /// How many there should be.
    pub boards_expected: Option<f64>,
    /// Pools.
    pub pools: Vec<Pool>,
    /// Whether it works for another pool than its first choice.
    pub on_fallback: Option<bool>,
    /// What is broken: code and component, both short.
    pub faults: Vec<(String, String)>,
    /// Free memory by sort, in bytes.
    pub memory_free: Vec<(&'static str, f64)>,
    /// In dBm.
    pub wifi_rssi: Option<f64>,
}

/// A temperature and where it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensor {
    /// `chip`, `board`, `vr`, `inlet`, `outlet`, `ambient`, `psu`, `coolant_in`, `coolant_out`.
    pub place: &'static str,
    /// In degrees Celsius.
    pub celsius: f64,
}

/// Frequencies in hertz.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clock {
    /// As configured.
    pub set: Option<f64>,
    /// As it is.
    pub actual: Option<f64>,
}

/// One fan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fan {
    /// The label `fan`, as the device numbers it.
    pub name: String,
    /// `in`, `out`, `psu` where the device says it; else empty.
    pub role: &'static str,
    /// In revolutions per minute.
    pub rpm: Option<f64>,
    /// 0 to 1.
    pub duty: Option<f64>,
}

/// One hash board.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    /// The label `board`, as the device numbers it.
    pub name: String,
    /// Serial number.
    pub serial: String,
    /// Type name.
    pub model: String,
    /// Whether the device calls it alive and enabled.
    pub up: Option<bool>,
    /// In hashes per second, over the shortest window.
    pub hashrate: Option<f64>,
    /// Chips that work.
    pub chips: Option<f64>,
    /// Chips it is made with.
    pub chips_expected: Option<f64>,
    /// Hardware errors.
    pub hardware_errors: Option<f64>,
    /// Its sensors; several of one place are told apart by an index.
    pub temperatures: Vec<Sensor>,
    /// Its clock.
    pub frequency: Clock,
    /// Core voltage in volts.
    pub voltage: Option<f64>,
    /// Its chips; exported only where the target asks for them.
    pub details: Vec<Chip>,
}

/// One chip.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chip {
    /// In hashes per second.
    pub hashrate: Option<f64>,
    /// Hardware errors.
    pub hardware_errors: Option<f64>,
    /// In degrees Celsius.
    pub celsius: Option<f64>,
}

/// What the target's options say of the samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Show {
    /// Series for every chip.
    pub chips: bool,
    /// Pool users as they are.
    pub pool_user: bool,
}

impl Device {
    /// Sets the state of a device that says nothing of it.
    pub fn tell_state(&mut self) {
        self.state = State::told_by(self.hashrate, self.uptime);
    }
}
