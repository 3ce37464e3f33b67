//! The pages of the REST API, each told by what is in it.

use serde_json::Value;

use super::super::device::{Board, Clock, Device, Fan, PowerSource, Sensor, Show, State};
use super::super::pools::{self, Pool};
use super::super::values::Fields;
use crate::collect::{ParseError, Reply};
use crate::model::Reading;

/// Boards, fans and pools that are read at most.
const PARTS: usize = 32;

/// Turns the pages of one poll into samples.
pub fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut device = super::device(address, "http");
    let (mut status, mut tuner) = (None, None);
    for (at, reply) in replies.iter().enumerate() {
        let page = match super::page(reply) {
            Ok(page) => page,
            Err(error) if at == 0 => return Err(error),
            Err(error) => {
                reading.notes.push(error.to_string());
                continue;
            }
        };
        let known = match (&page, Fields::of(&page)) {
            (Value::Array(groups), _) => put_pools(&mut device, groups),
            (_, Some(page)) => {
                status = status.or_else(|| page.number("status").filter(|_| is_details(page)));
                tuner = tuner.or_else(|| page.number("overall_tuner_state"));
                put_page(&mut device, page)
            }
            _ => false,
        };
        if !known && at == 0 {
            let reason = "neither figures, details, boards, fans, tuner nor pools of Braiins OS".to_string();
            return Err(ParseError::Malformed { request: reply.request.clone(), reason });
        }
    }
    if replies.is_empty() {
        let reason = "there is no reply".to_string();
        return Err(ParseError::Malformed { request: "GET /api/v1/miner/stats".to_string(), reason });
    }
    put_state(&mut device, status, tuner);
    device.put(&mut reading, show);
    Ok(reading)
}

fn is_details(page: Fields<'_>) -> bool {
    page.get(&["bos_version", "miner_identity"]).is_some()
}

fn put_page(device: &mut Device, page: Fields<'_>) -> bool {
    if is_details(page) {
        put_details(device, page);
    } else if page.get(&["miner_stats", "pool_stats", "power_stats"]).is_some() {
        put_stats(device, page);
    } else if page.get(&["hashboards"]).is_some() {
        device.boards = page.objects("hashboards").take(PARTS).enumerate().map(|(at, f)| board(f, at)).collect();
        device.boards_expected = Some(device.boards.len() as f64).filter(|count| *count > 0.0);
    } else if page.get(&["fans", "highest_temperature"]).is_some() {
        device.fans = page.objects("fans").take(PARTS).enumerate().map(|(at, f)| fan(f, at)).collect();
    } else if page.get(&["overall_tuner_state"]).is_some() {
        // Which of the modes it is stands in the key.
        let mode = page.object("mode_state").and_then(|modes| modes.object("powertargetmodestate"));
        device.power_limit = mode.and_then(|mode| unit(mode, "current_target", "watt"));
        let mode = page.object("mode_state").and_then(|modes| modes.object("hashratetargetmodestate"));
        device.hashrate_target = mode.and_then(|mode| rate(mode, "current_target"));
    } else {
        return false;
    }
    true
}

/// A number that is wrapped in its unit.
fn unit(fields: Fields<'_>, key: &str, unit: &str) -> Option<f64> {
    fields.object(key)?.number(unit)
}

/// A hash rate, whose unit is the name of its key.
fn rate(fields: Fields<'_>, key: &str) -> Option<f64> {
    let rate = fields.object(key)?;
    let units = [("gigahash_per_second", 1e9), ("megahash_per_second", 1e6), ("terahash_per_second", 1e12)];
    units.into_iter().find_map(|(unit, scale)| Some(rate.number(unit)? * scale))
}

/// A moment; its nanoseconds do not matter.
fn moment(fields: Fields<'_>, key: &str) -> Option<f64> {
    fields.object(key)?.nonzero("seconds")
}

fn put_details(device: &mut Device, page: Fields<'_>) {
    let text = |key: &str| page.text(key).unwrap_or_default();
    (device.hostname, device.mac, device.serial) = (text("hostname"), text("mac_address"), text("serial_number"));
    if let Some(identity) = page.object("miner_identity") {
        device.model = identity.text_of(&["miner_model", "name"]).unwrap_or_default();
        // The model begins with the maker's word for it: "Antminer S21 Pro".
        device.make = if device.model.starts_with("Antminer") { "Bitmain" } else { "" }.to_string();
    }
    let version = page.object("bos_version").and_then(|version| version.text("current"));
    super::put_version(device, &version.unwrap_or_default());
    device.uptime = page.number_of(&["system_uptime_s", "system_uptime"]);
}

fn put_stats(device: &mut Device, page: Fields<'_>) {
    if let Some(stats) = page.object("miner_stats") {
        if let Some(rates) = stats.object("real_hashrate") {
            device.hashrate = rate(rates, "last_5s");
            let windows = [
                ("1m", "last_1m"),
                ("5m", "last_5m"),
                ("15m", "last_15m"),
                ("30m", "last_30m"),
                ("1h", "last_1h"),
                ("1d", "last_24h"),
                ("lifetime", "since_restart"),
            ];
            device.averages = windows.into_iter().filter_map(|(label, key)| Some((label, rate(rates, key)?))).collect();
        }
        device.expected = rate(stats, "nominal_hashrate");
        device.best_session = stats.number("best_share");
        device.blocks_found = stats.number("found_blocks");
        let wrong = rate(stats, "error_hashrate").zip(device.hashrate).filter(|(_, rate)| *rate > 0.0);
        device.hash_error_ratio = wrong.map(|(wrong, right)| wrong / (wrong + right));
    }
    if let Some(shares) = page.object("pool_stats") {
        device.shares = ["accepted_shares", "rejected_shares", "stale_shares"].map(|key| shares.number(key));
    }
    let watts = page.object("power_stats").and_then(|power| unit(power, "approximated_consumption", "watt"));
    device.power = watts.map(|watts| (watts, PowerSource::Estimated));
}

fn board(fields: Fields<'_>, position: usize) -> Board {
    let stats = fields.object("stats");
    let chip = fields.object("highest_chip_temp").and_then(|sensor| unit(sensor, "temperature", "degree_c"));
    let sensors = [
        ("board", unit(fields, "board_temp", "degree_c")),
        ("chip", chip),
        ("inlet", unit(fields, "lowest_inlet_temp", "degree_c")),
        ("outlet", unit(fields, "highest_outlet_temp", "degree_c")),
    ];
    let sensors = sensors.into_iter().filter_map(|(place, celsius)| {
        let celsius = celsius.filter(|celsius| *celsius != 0.0)?;
        Some(Sensor { place, celsius })
    });
    Board {
        name: fields.text("id").unwrap_or_else(|| position.to_string()),
        serial: fields.text("serial_number").unwrap_or_default(),
        model: fields.text_of(&["board_name", "model"]).unwrap_or_default(),
        up: fields.flag("enabled"),
        hashrate: stats.and_then(|stats| rate(stats.object("real_hashrate")?, "last_5s")),
        chips: fields.number("chips_count"),
        temperatures: sensors.collect(),
        frequency: Clock { set: None, actual: unit(fields, "current_frequency", "hertz").filter(|hertz| *hertz > 0.0) },
        voltage: unit(fields, "current_voltage", "volt").filter(|volts| *volts > 0.0),
        ..Board::default()
    }
}

fn fan(fields: Fields<'_>, position: usize) -> Fan {
    let name = fields.text("position").unwrap_or_else(|| position.to_string());
    Fan { name, role: "", rpm: fields.number("rpm"), duty: fields.number("target_speed_ratio") }
}

/// The list of groups; says whether it is one.
fn put_pools(device: &mut Device, groups: &[Value]) -> bool {
    let groups: Vec<Fields<'_>> = groups.iter().filter_map(Fields::of).filter(|g| g.0.contains_key("pools")).collect();
    let pools = groups.iter().map(|group| group.objects("pools").take(PARTS).map(pool).collect());
    super::put_pools(device, pools);
    !groups.is_empty()
}

fn pool(fields: Fields<'_>) -> Pool {
    let url = fields.text("url").unwrap_or_default();
    let stats = fields.object("stats");
    let count = |key: &str| stats.and_then(|stats| stats.number(key));
    Pool {
        protocol: pools::protocol(&url).to_string(),
        url: pools::pool_url(&url, None),
        user: fields.text("user").unwrap_or_default(),
        up: fields.flag("alive"),
        active: fields.flag("active"),
        shares: ["accepted_shares", "rejected_shares", "stale_shares"].map(count),
        difficulty: stats.and_then(|stats| stats.nonzero("last_difficulty")),
        last_share: stats.and_then(|stats| moment(stats, "last_share_time")),
        ..Pool::default()
    }
}

/// `status`: 1 not started, 2 normal, 3 paused by its owner, 4 suspended by itself, 5 restricted. The tuner: 3 tuning, 4
/// in error, 6 preheating.
fn put_state(device: &mut Device, status: Option<f64>, tuner: Option<f64>) {
    let is = |value: Option<f64>, code: f64| value == Some(code);
    device.tell_state();
    if is(tuner, 4.0) {
        device.faults.push(("tuner_error".to_string(), "tuner".to_string()));
    }
    device.state = match status.unwrap_or(2.0) {
        // It cannot hash before it has started: the rate is a leftover.
        1.0 if device.state == State::Hashing => State::Unknown,
        3.0 => State::Paused,
        // Too hot, or asleep under its power scaling: the code does not say which.
        4.0 => State::Unknown,
        _ if is(tuner, 6.0) => State::Starting,
        _ if is(tuner, 3.0) => State::Tuning,
        _ => device.state,
    };
}
