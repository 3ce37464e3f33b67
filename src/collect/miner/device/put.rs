//! From a [`Device`] to samples.

use super::super::families;
use super::super::pools::{self, Pool, RESULTS};
use super::super::values::{clean, plausible};
use super::{Board, Clock, Device, PowerSource, Sensor, Show, State};
use crate::model::{Family, Identity, Reading};

/// Most boards that are exported of one device.
const MAX_BOARDS: usize = 64;
/// Most chips that are exported of one device, where they are asked for.
const MAX_CHIPS: usize = 2_000;
/// Most fans, sensors and faults that are exported of one device.
const MAX_PARTS: usize = 64;
/// Most reasons of rejected shares; what is beyond them is counted together.
const MAX_REASONS: usize = 10;

/// The families that [`Device::put`] can produce, for the row of a kind.
pub const FAMILIES: &[&Family] = &[
    &families::INFO,
    &families::STATE,
    &families::HASHRATE,
    &families::HASHRATE_AVERAGE,
    &families::HASHRATE_EXPECTED,
    &families::HASHES,
    &families::POWER,
    &families::POWER_LIMIT,
    &families::ENERGY,
    &families::EFFICIENCY,
    &families::TEMPERATURE,
    &families::VOLTAGE,
    &families::CURRENT,
    &families::FREQUENCY,
    &families::FAN_SPEED,
    &families::FAN_DUTY,
    &families::FANS_EXPECTED,
    &families::BOARD_INFO,
    &families::BOARD_UP,
    &families::BOARDS_EXPECTED,
    &families::BOARD_HASHRATE,
    &families::BOARD_CHIPS,
    &families::BOARD_CHIPS_EXPECTED,
    &families::BOARD_HARDWARE_ERRORS,
    &families::CHIP_HASHRATE,
    &families::CHIP_HARDWARE_ERRORS,
    &families::CHIP_TEMPERATURE,
    &families::SHARES,
    &families::SHARE_REJECTIONS,
    &families::BEST_SHARE,
    &families::BLOCKS_FOUND,
    &families::NETWORK_DIFFICULTY,
    &families::POOL_INFO,
    &families::POOL_UP,
    &families::POOL_ACTIVE,
    &families::POOL_FALLBACK_ACTIVE,
    &families::POOL_SHARES,
    &families::POOL_DIFFICULTY,
    &families::POOL_RTT,
    &families::POOL_LAST_SHARE,
    &families::HARDWARE_ERRORS,
    &families::HASH_ERROR_RATIO,
    &families::FAULT,
    &families::UPTIME,
    &families::WIFI_RSSI,
    &families::MEMORY_FREE,
];

impl Device {
    /// Adds everything that is known to `reading`, and says who answered.
    pub fn put(self, reading: &mut Reading, show: Show) {
        self.put_info(reading);
        self.put_hashing(reading);
        self.put_power(reading);
        self.put_shares(reading);
        self.put_hardware(reading);
        let mut chips = 0;
        for (position, board) in self.boards.iter().take(MAX_BOARDS).enumerate() {
            if self.boards[..position].iter().any(|earlier| earlier.name == board.name) {
                reading.notes.push(format!("two boards call themselves {}; the second is left out", board.name));
                continue;
            }
            board.put(reading, show.chips, &mut chips);
        }
        let shares = |count: Option<f64>| count.map(|count| plausible(count, self.uptime));
        let plausible = |mut pool: Pool| {
            pool.shares = pool.shares.map(shares);
            pool
        };
        let pools: Vec<Pool> = self.pools.iter().cloned().map(plausible).collect();
        pools::put(reading, &pools, show.pool_user);
        reading.put_opt(&families::POOL_FALLBACK_ACTIVE, &[], truth(self.on_fallback));
    }

    fn put_info(&self, reading: &mut Reading) {
        let labels = [
            ("make", &*self.make),
            ("model", &self.model),
            ("firmware", &self.firmware),
            ("firmware_version", &self.firmware_version),
            ("chip", &self.chip),
            ("algorithm", &self.algorithm),
            ("mac", &self.mac),
            ("hostname", &self.hostname),
            ("address", &self.address),
            ("protocol", self.protocol),
        ];
        reading.put(&families::INFO, &labels, 1.0);
        reading.put_state(&families::STATE, "state", &families::STATES, self.state.as_str());
        reading.put_opt(&families::UPTIME, &[], self.uptime);
        let id = if self.mac.is_empty() { &self.serial } else { &self.mac };
        let firmware = format!("{} {}", self.firmware, self.firmware_version).trim().to_string();
        let (make, model) = (self.make.clone(), self.model.clone());
        reading.identity = Some(Identity { id: id.clone(), make, model, firmware });
    }

    fn put_hashing(&self, reading: &mut Reading) {
        reading.put_opt(&families::HASHRATE, &[], self.hashrate);
        for (window, rate) in &self.averages {
            reading.put(&families::HASHRATE_AVERAGE, &[("window", window)], *rate);
        }
        reading.put_opt(&families::HASHRATE_EXPECTED, &[], self.expected.filter(|rate| *rate > 0.0));
        reading.put_opt(&families::HASHES, &[], self.hashes);
    }

    fn put_power(&self, reading: &mut Reading) {
        if let Some((watts, source)) = self.power {
            let source = match source {
                PowerSource::Measured => "measured",
                PowerSource::Estimated => "estimated",
            };
            reading.put(&families::POWER, &[("source", source)], watts);
        }
        reading.put_opt(&families::POWER_LIMIT, &[], self.power_limit);
        let settings = &mut reading.settings;
        (settings.power_limit, settings.hashrate_target) = (self.power_limit, self.hashrate_target);
        (settings.mode, settings.fan) = (self.mode.clone(), self.fan_setting);
        // Only while it hashes: a device that stands still has no efficiency, and a division by its last trace of
        // hash rate would alarm for nothing.
        let rate = self.hashrate.filter(|rate| *rate > 0.0 && matches!(self.state, State::Hashing | State::Tuning));
        let watts = self.power.map(|(watts, _)| watts).filter(|watts| *watts > 0.0);
        let efficiency = watts.zip(rate).map(|(watts, rate)| watts / (rate / 1e12));
        reading.put_opt(&families::EFFICIENCY, &[], efficiency);
        for (rail, volts) in &self.voltages {
            reading.put(&families::VOLTAGE, &[("rail", rail)], *volts);
        }
        for (rail, amperes) in &self.currents {
            reading.put(&families::CURRENT, &[("rail", rail)], *amperes);
        }
    }

    fn put_shares(&self, reading: &mut Reading) {
        for (result, count) in RESULTS.into_iter().zip(self.shares) {
            let count = count.map(|count| plausible(count, self.uptime));
            reading.put_opt(&families::SHARES, &[("result", result)], count);
        }
        let mut reasons: Vec<(String, f64)> = Vec::new();
        for (reason, count) in &self.rejections {
            let reason = clean(reason).to_ascii_lowercase();
            let known = reasons.iter().position(|(known, _)| *known == reason);
            let place = known.or_else(|| {
                let room = reasons.len() < MAX_REASONS && !reason.is_empty();
                room.then(|| {
                    reasons.push((reason.clone(), 0.0));
                    reasons.len() - 1
                })
            });
            let place = place.unwrap_or_else(|| {
                let other = reasons.iter().position(|(known, _)| known == "other");
                other.unwrap_or_else(|| {
                    reasons.push(("other".to_string(), 0.0));
                    reasons.len() - 1
                })
            });
            reasons[place].1 += count;
        }
        for (reason, count) in &reasons {
            reading.put(&families::SHARE_REJECTIONS, &[("reason", reason)], plausible(*count, self.uptime));
        }
        reading.put_opt(&families::HARDWARE_ERRORS, &[], self.hardware_errors);
        reading.put_opt(&families::HASH_ERROR_RATIO, &[], self.hash_error_ratio);
        reading.put_opt(&families::BEST_SHARE, &[("scope", "session")], self.best_session);
        reading.put_opt(&families::BEST_SHARE, &[("scope", "lifetime")], self.best_lifetime);
        reading.put_opt(&families::BLOCKS_FOUND, &[], self.blocks_found);
        reading.put_opt(&families::NETWORK_DIFFICULTY, &[], self.network_difficulty);
    }

    fn put_hardware(&self, reading: &mut Reading) {
        put_sensors(reading, &self.temperatures, "");
        put_clock(reading, self.frequency, "");
        let mut seen: Vec<&str> = Vec::new();
        for fan in self.fans.iter().take(MAX_PARTS) {
            if seen.contains(&&*fan.name) {
                continue;
            }
            seen.push(&fan.name);
            let labels = [("fan", &*fan.name), ("role", fan.role)];
            reading.put_opt(&families::FAN_SPEED, &labels, fan.rpm);
            reading.put_opt(&families::FAN_DUTY, &labels[..1], fan.duty);
        }
        reading.put_opt(&families::FANS_EXPECTED, &[], self.fans_expected);
        reading.put_opt(&families::BOARDS_EXPECTED, &[], self.boards_expected);
        let mut faults: Vec<(String, String)> = Vec::new();
        for (code, component) in self.faults.iter().take(MAX_PARTS) {
            let fault = (clean(code), clean(component));
            if !faults.contains(&fault) {
                reading.put(&families::FAULT, &[("code", &fault.0), ("component", &fault.1)], 1.0);
                faults.push(fault);
            }
        }
        for (sort, bytes) in &self.memory_free {
            reading.put(&families::MEMORY_FREE, &[("memory", sort)], *bytes);
        }
        reading.put_opt(&families::WIFI_RSSI, &[], self.wifi_rssi);
    }
}

impl Board {
    fn put(&self, reading: &mut Reading, show_chips: bool, chips: &mut usize) {
        let labels = [("board", &*self.name)];
        let info = [("board", &*self.name), ("serial", &self.serial), ("name", &self.model)];
        reading.put(&families::BOARD_INFO, &info, 1.0);
        reading.put_opt(&families::BOARD_UP, &labels, truth(self.up));
        reading.put_opt(&families::BOARD_HASHRATE, &labels, self.hashrate);
        reading.put_opt(&families::BOARD_CHIPS, &labels, self.chips);
        reading.put_opt(&families::BOARD_CHIPS_EXPECTED, &labels, self.chips_expected.filter(|count| *count > 0.0));
        reading.put_opt(&families::BOARD_HARDWARE_ERRORS, &labels, self.hardware_errors);
        put_sensors(reading, &self.temperatures, &self.name);
        put_clock(reading, self.frequency, &self.name);
        reading.put_opt(&families::VOLTAGE, &[("rail", "core"), ("board", &self.name)], self.voltage);
        if !show_chips {
            return;
        }
        for (index, chip) in self.details.iter().enumerate() {
            if *chips == MAX_CHIPS {
                return reading.notes.push(format!("chips beyond the first {MAX_CHIPS} are left out"));
            }
            *chips += 1;
            let index = index.to_string();
            let labels = [("board", &*self.name), ("chip", &*index)];
            reading.put_opt(&families::CHIP_HASHRATE, &labels, chip.hashrate);
            reading.put_opt(&families::CHIP_HARDWARE_ERRORS, &labels, chip.hardware_errors);
            reading.put_opt(&families::CHIP_TEMPERATURE, &labels, chip.celsius);
        }
    }
}

fn truth(flag: Option<bool>) -> Option<f64> {
    flag.map(|flag| f64::from(u8::from(flag)))
}

/// The first sensor of a place has no index: most devices have one, and then there is nothing to tell apart.
fn put_sensors(reading: &mut Reading, sensors: &[Sensor], board: &str) {
    for (position, sensor) in sensors.iter().take(MAX_PARTS).enumerate() {
        let index = sensors[..position].iter().filter(|earlier| earlier.place == sensor.place).count();
        let index = if index == 0 { String::new() } else { index.to_string() };
        let labels = [("sensor", sensor.place), ("board", board), ("index", &*index)];
        reading.put(&families::TEMPERATURE, &labels, sensor.celsius);
    }
}

fn put_clock(reading: &mut Reading, clock: Clock, board: &str) {
    reading.settings.frequencies.extend(clock.set.filter(|hertz| *hertz > 0.0));
    for (kind, hertz) in [("set", clock.set), ("actual", clock.actual)] {
        let labels = [("kind", kind), ("board", board)];
        reading.put_opt(&families::FREQUENCY, &labels, hertz.filter(|hertz| *hertz > 0.0));
    }
}
