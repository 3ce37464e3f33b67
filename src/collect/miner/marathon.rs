//! `marathon`: Antminers with Marathon's firmware (MaraFW, "kaonsu"), over the pages of its web interface
//! (`/kaonsu/v1/…`, HTTP Digest).
//!
//! Traps: public clients disagree on the unit of `hashrate_realtime` (GH/s, TH/s), so it is told by the other rates of
//! the same device; the power is an estimate. Asleep it still answers, and its settings say so. Source: public clients of
//! these pages.

mod commands;

use std::time::Duration;

use serde_json::Value;

use super::ask::{Asker, Auth, How, Question};
use super::cgi;
use super::device::{self, Board, Chip, Clock, Device, Fan, PowerSource, Sensor, Show, State};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::pools::{self, Pool};
use super::repair;
use super::values::Fields;
use crate::collect::{Kind, Opened, OptionDoc, OptionError, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "marathon",
    summary: "Antminer with Marathon's firmware MaraFW (HTTP)",
    subject: "miner",
    support: Support::Documented,
    default_address: "host, port 80",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: its pages are closed, but its version over cgminer's API is not.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Firmware,
    door: Door::Http,
    port: 80,
    bears: |clue| clue.names_itself("marafw") || clue.names_itself("kaonsu"),
};

const OPTIONS: &[OptionDoc] =
    &[options::CHIPS_DOC, options::POOL_USER_DOC, options::USERNAME_DOC, options::PASSWORD_DOC, options::TLS_DOC];

const BRIEF: &str = "/kaonsu/v1/brief";
const CONFIG: &str = "/kaonsu/v1/miner_config";

const QUESTIONS: &[Question] = &[
    Question::needed(How::Get(BRIEF)),
    Question::useful(How::Get("/kaonsu/v1/hashboards")),
    Question::useful(How::Get("/kaonsu/v1/fans")),
    Question::useful(How::Get("/kaonsu/v1/pools")),
    Question::seldom(How::Get(CONFIG), 4),
    Question::seldom(How::Get("/kaonsu/v1/overview"), 240),
    Question::seldom(How::Get("/kaonsu/v1/network_config"), 240),
];
/// Every chip with its rate, voltage and clock.
const DETAILS: Question = Question::useful(How::Get("/kaonsu/v1/details"));

/// Boards, fans and pools that are read at most.
const PARTS: usize = 32;

/// The user of the web interface, as the firmware is shipped.
const USER: &str = "root";

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let auth = options.digest(USER);
    if options.username.is_some() && matches!(auth, Auth::Open) {
        return Err(OptionError::new("options.password", "is missing: username has no use without it").into());
    }
    let details = options.chips.then_some(DETAILS);
    let questions: Vec<Question> = QUESTIONS.iter().copied().chain(details).collect();
    Ok(Box::new(Asker::web(target, 80, auth, &questions, &options, parse)?))
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut device = Device { address: address.to_string(), protocol: "http", ..Device::default() };
    device.make = "Bitmain".to_string();
    device.firmware = "MaraFW".to_string();
    device.algorithm = "sha256d".to_string();
    let mut said = None;
    let mut asleep = false;
    for reply in replies {
        let malformed = |reason: String| ParseError::Malformed { request: reply.request.clone(), reason };
        let page = match repair::read(&reply.body) {
            Ok(page) => page.value,
            Err(_) if !reply.request.ends_with("brief") => continue,
            Err(error) => return Err(malformed(error.to_string())),
        };
        if let Value::Array(pools) = &page {
            put_pools(&mut device, pools);
        }
        let Some(page) = Fields::of(&page) else { continue };
        if page.get(&["hashrate_realtime", "hashrate_ideal", "power_consumption_estimated"]).is_some() {
            put_brief(&mut device, page);
            said = Some((page.number("hashrate_realtime"), page.text("status")));
        }
        device.boards.extend(page.objects("hashboards").take(PARTS).enumerate().map(|(at, fields)| board(fields, at)));
        for (at, fan) in page.objects("fans").take(PARTS).enumerate() {
            device.fans.push(Fan { name: at.to_string(), rpm: fan.number("current_speed"), ..Fan::default() });
        }
        if let Some(mode) = page.object("mode") {
            asleep = mode.text("work-mode-selector").as_deref() == Some("Sleep");
            device.power_limit = power_target(mode);
        }
        put_identity(&mut device, page);
        for details in page.objects("hashboard_infos").take(PARTS) {
            put_details(&mut device, details);
        }
    }
    let Some((rate, status)) = said else {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        let reason =
            "no \"hashrate_realtime\", \"hashrate_ideal\" or \"power_consumption_estimated\" in it".to_string();
        return Err(ParseError::Malformed { request, reason });
    };
    device.hashrate = rate.and_then(|rate| realtime(rate, &device));
    if rate.is_some() && device.hashrate.is_none() {
        reading.notes.push("the unit of hashrate_realtime cannot be told, so it is left out".to_string());
    }
    put_state(&mut device, status.as_deref(), asleep);
    device.put(&mut reading, show);
    Ok(reading)
}

fn put_brief(device: &mut Device, brief: Fields<'_>) {
    device.uptime = brief.number("elapsed");
    device.expected = brief.number("hashrate_ideal").map(|gigahashes| gigahashes * 1e9);
    let watts = brief.number("power_consumption_estimated");
    device.power = watts.map(|watts| (watts, PowerSource::Estimated));
}

/// TH/s unless that is more than the device could: twice what its boards do, or what it is made for. Then GH/s. With
/// neither to compare it to, nothing but a zero is believed.
fn realtime(rate: f64, device: &Device) -> Option<f64> {
    let boards: f64 = device.boards.iter().filter_map(|board| board.hashrate).sum();
    let known = [Some(boards), device.expected].into_iter().flatten().find(|rate| *rate > 0.0);
    match known {
        _ if rate == 0.0 => Some(0.0),
        Some(known) if rate * 1e12 <= 2.0 * known => Some((rate * 1e12).round()),
        Some(_) => Some((rate * 1e9).round()),
        None => None,
    }
}

/// Of what it may say, only "Mining" is known. Whatever else it says, it does not mine.
fn put_state(device: &mut Device, status: Option<&str>, asleep: bool) {
    device.tell_state();
    let mining = status.is_none_or(|status| status == "Mining");
    if !mining && device.state == State::Hashing {
        device.state = State::told_by(None, device.uptime);
    }
    let sleeps = asleep || status.is_some_and(|status| status.to_ascii_lowercase().contains("sleep"));
    if sleeps && device.state != State::Hashing {
        device.state = State::Sleeping;
    }
}

fn power_target(mode: Fields<'_>) -> Option<f64> {
    let tuner = mode.object("concorde")?;
    let aims = mode.text("work-mode-selector").as_deref() == Some("Auto")
        && tuner.text("mode-select").as_deref() == Some("PowerTarget");
    tuner.nonzero("power-target").filter(|_| aims)
}

fn put_identity(device: &mut Device, page: Fields<'_>) {
    if let Some(mac) = page.text("mac") {
        device.mac = mac;
    }
    if let Some(version) = page.text("version_firmware") {
        device.firmware_version = version;
        device.model = page.text_of(&["model", "miner_type", "type"]).unwrap_or_default();
    }
    if let Some(hostname) = page.text("hostname") {
        device.hostname = hostname;
    }
}

fn board(fields: Fields<'_>, position: usize) -> Board {
    let chips = fields.number("asic_num");
    let sensor = |(key, place)| cgi::hottest(fields, key).map(|celsius| Sensor { place, celsius });
    let places = [("temperature_pcb", "board"), ("temperature_chip", "chip")];
    Board {
        name: fields.text("index").unwrap_or_else(|| position.to_string()),
        serial: fields.text("serial_number").unwrap_or_default(),
        up: chips.map(|chips| chips > 0.0),
        hashrate: fields.number("hashrate_average").map(|gigahashes| (gigahashes * 1e9).round()),
        chips,
        temperatures: places.into_iter().filter_map(sensor).collect(),
        ..Board::default()
    }
}

/// Voltage, clock and chips of a board that is known already.
fn put_details(device: &mut Device, details: Fields<'_>) {
    let name = details.text("index");
    let Some(board) = device.boards.iter_mut().find(|board| Some(&board.name) == name.as_ref()) else { return };
    board.voltage = details.nonzero("voltage");
    let megahertz = details.nonzero("frequency_avg");
    board.frequency = Clock { set: None, actual: megahertz.map(|megahertz| megahertz * 1e6) };
    let rate = |chip: Fields<'_>| chip.number("hashrate_avg").map(|gigahashes| gigahashes * 1e9);
    board.details =
        details.objects("asic_infos").map(|chip| Chip { hashrate: rate(chip), ..Chip::default() }).collect();
}

/// It works for the living pool with the lowest priority number.
fn put_pools(device: &mut Device, pools: &[Value]) {
    let all: Vec<Fields<'_>> = pools.iter().filter_map(Fields::of).take(PARTS).collect();
    let alive = |fields: &Fields<'_>| fields.text("status").as_deref() == Some("Alive");
    let rank = |fields: &Fields<'_>| fields.number("priority").unwrap_or(f64::INFINITY);
    let best = |among: &mut dyn Iterator<Item = usize>| among.min_by(|a, b| rank(&all[*a]).total_cmp(&rank(&all[*b])));
    let active = best(&mut (0..all.len()).filter(|at| alive(&all[*at])));
    let first = best(&mut (0..all.len()));
    for (at, fields) in all.iter().enumerate() {
        let url = fields.text("url").unwrap_or_default();
        let slot = fields.number("index").filter(|slot| (0.0..1e4).contains(slot));
        device.pools.push(Pool {
            slot: slot.map_or(at, |slot| slot as usize),
            protocol: pools::protocol(&url).to_string(),
            url: pools::pool_url(&url, None),
            user: fields.text("user").unwrap_or_default(),
            up: fields.text("status").map(|status| status == "Alive"),
            active: active.map(|active| active == at),
            shares: ["accepted", "rejected", "stale"].map(|key| fields.number(key)),
            ..Pool::default()
        });
    }
    device.on_fallback = active.map(|active| Some(active) != first);
    device.shares = pools::sum(&device.pools);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(boards: &[f64], expected: Option<f64>) -> Device {
        let board = |rate: &f64| Board { hashrate: Some(*rate), ..Board::default() };
        Device { boards: boards.iter().map(board).collect(), expected, ..Device::default() }
    }

    #[test]
    fn the_unit_of_the_rate_is_told_by_the_others() {
        for (rate, boards, expected, believed) in [
            (110.4, &[36.8e12, 36.8e12, 36.8e12][..], None, Some(110.4e12)),
            (110_400.0, &[36.8e12, 36.8e12, 36.8e12], Some(1.1e14), Some(1.104e14)),
            (104.0, &[], Some(1.1e14), Some(1.04e14)),
            (104_000.0, &[0.0], Some(1.1e14), Some(1.04e14)),
            (0.0, &[], None, Some(0.0)),
            (104.0, &[], None, None),
        ] {
            assert_eq!(realtime(rate, &device(boards, expected)), believed, "{rate} {boards:?} {expected:?}");
        }
    }
}
