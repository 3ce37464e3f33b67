//! `epic`: ePIC PowerPlay and UMC control boards over their REST API, which is HTTP on cgminer's port 4028.
//!
//! Keys have blanks; hash rates are MH/s; a board's `Hashrate` is a list whose first entry is the rate and whose second is
//! per cent of what it should do. Reads are open, what changes anything carries a password. Source: the API page of
//! ePIC's dashboard, and the recorded replies.

mod commands;

use std::time::Duration;

use serde_json::Value;

use super::ask::{Asker, Auth, How, Question};
use super::device::{self, Board, Chip, Clock, Device, Fan, PowerSource, Sensor, Show, State};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::pools::{self, Pool};
use super::repair;
use super::values::{Fields, number, rate_unit};
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "epic",
    summary: "ePIC PowerPlay and UMC control boards (HTTP on port 4028)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: HTTP on the port of cgminer's API, with this page.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Firmware,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| clue.holds(&["/HBs", "/Status/Operating State"]),
};

const OPTIONS: &[OptionDoc] = &[options::CHIPS_DOC, options::POOL_USER_DOC, options::PASSWORD_DOC, options::TLS_DOC];

const QUESTIONS: &[Question] = &[
    Question::needed(How::Get("/summary")),
    Question::seldom(How::Get("/capabilities"), 240),
    Question::seldom(How::Get("/network"), 240),
];
const CHIPS: &[Question] = &[Question::seldom(How::Get("/hashrate"), 4), Question::seldom(How::Get("/temps/chip"), 4)];

/// Boards and fans that are read at most.
const PARTS: usize = 32;

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let questions = [QUESTIONS, if options.chips { CHIPS } else { &[] }].concat();
    Ok(Box::new(Asker::web(target, 4028, Auth::Open, &questions, &options, parse)?))
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut device = Device { address: address.to_string(), protocol: "http", ..Device::default() };
    device.make = "ePIC".to_string();
    device.firmware = "PowerPlay".to_string();
    let mut read = false;
    for reply in replies {
        let malformed = |reason: String| ParseError::Malformed { request: reply.request.clone(), reason };
        let value = match serde_json::from_slice(&reply.body) {
            Ok(value) => value,
            Err(_) => repair::read(&reply.body).map_err(|error| malformed(error.to_string()))?.value,
        };
        read |= put_page(&mut device, &value);
    }
    if !read {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        let reason = "neither a summary, capabilities, network nor figures of chips".to_string();
        return Err(ParseError::Malformed { request, reason });
    }
    device.put(&mut reading, show);
    Ok(reading)
}

/// Told by what is in it; says whether it was known.
fn put_page(device: &mut Device, page: &Value) -> bool {
    if let Some(boards) = page.as_array() {
        return put_chips(device, boards);
    }
    let Some(page) = Fields::of(page) else { return false };
    if page.get(&["Session", "HBs", "Status"]).is_some() {
        put_summary(device, page);
    } else if page.get(&["Model", "Chip Type", "ChipType"]).is_some() {
        put_capabilities(device, page);
    } else if let Some(mac) = ["dhcp", "static"].iter().find_map(|key| page.object(key)?.text("mac_address")) {
        device.mac = mac;
    } else {
        return false;
    }
    true
}

fn put_summary(device: &mut Device, page: Fields<'_>) {
    let software = page.text("Software").unwrap_or_default();
    let version = software.rsplit_once(' ').map_or(&*software, |(_, version)| version);
    device.firmware_version = version.to_string();
    device.hostname = page.text("Hostname").unwrap_or_default();
    device.algorithm = page.object("Mining").and_then(|mining| mining.text("Algorithm")).unwrap_or_default();
    put_boards(device, page);
    let operating = page.object("Status").and_then(|status| status.text("Operating State")).unwrap_or_default();
    if let Some(session) = page.object("Session") {
        device.uptime = session.number("Uptime");
        device.shares = [session.number("Accepted"), session.number("Rejected"), None];
        let average = session.number("Average MHs").map(|rate| ("lifetime", rate * 1e6));
        device.averages.extend(average);
    }
    device.state = match operating.to_ascii_lowercase().as_str() {
        "mining" => State::told_by(device.hashrate, device.uptime),
        "idle" | "idling" | "stopped" => State::Paused,
        "tuning" => State::Tuning,
        "starting" | "initializing" | "autostarting" | "waiting" => State::Starting,
        word if word.contains("overheat") || word.contains("temp") => State::Overheated,
        word if word.contains("error") || word.contains("fail") => State::Fault,
        _ => State::told_by(device.hashrate, device.uptime),
    };
    if let Some(fault) = page.object("Status").and_then(|status| status.text("Last Error")) {
        device.faults.push((fault, String::new()));
    }
    let supply = page.object("Power Supply Stats");
    let watts = supply.and_then(|supply| supply.nonzero("Input Power"));
    device.power = watts.map(|watts| (watts, PowerSource::Measured));
    let volts = supply.and_then(|supply| supply.nonzero("Input Voltage"));
    device.voltages.extend(volts.map(|volts| ("input", volts)));
    device.power_limit = page.object("PresetInfo").and_then(|preset| preset.nonzero("Target Power"));
    let tuners = page.object("PerpetualTune").and_then(|tuner| tuner.object("Algorithm"));
    device.hashrate_target = tuners.and_then(|tuners| tuners.0.values().next()).and_then(aims_at);
    put_fans(device, page);
    put_pools(device, page);
}

/// What a tuner aims at, in hashes per second; others than hash rates are none.
fn aims_at(tuner: &Value) -> Option<f64> {
    let tuner = Fields::of(tuner)?;
    Some(tuner.nonzero("Target")? * rate_unit(&tuner.text("Unit")?).filter(|unit| *unit > 1.0)?)
}

/// Places without a fan are null.
fn put_fans(device: &mut Device, page: Fields<'_>) {
    let duty = page.object("Fans").and_then(|fans| fans.number("Fans Speed")).map(|percent| percent / 100.0);
    let Some(speeds) = page.object("Fans Rpm") else { return };
    for index in 1..=PARTS {
        if let Some(rpm) = speeds.number(&format!("Fans Speed {index}")) {
            device.fans.push(Fan { name: index.to_string(), role: "", rpm: Some(rpm), duty });
        }
    }
}

/// `HBStatus` lists every place of a board, `HBs` those that work.
fn put_boards(device: &mut Device, page: Fields<'_>) {
    let name = |board: Fields<'_>| board.number("Index").map(|index| index.to_string());
    for status in page.objects("HBStatus").take(PARTS) {
        let (Some(name), Some(true)) = (name(status), status.flag("Detected")) else { continue };
        device.boards.push(Board { name, up: status.flag("Enabled"), ..Board::default() });
    }
    let mut total = None;
    for fields in page.objects("HBs").take(PARTS) {
        let Some(name) = name(fields) else { continue };
        if !device.boards.iter().any(|board| board.name == name) {
            device.boards.push(Board { name: name.clone(), ..Board::default() });
        }
        let Some(board) = device.boards.iter_mut().find(|board| board.name == name) else { continue };
        let rate = fields.get(&["Hashrate"]).and_then(|list| number(list.get(0)?)).map(|rate| rate * 1e6);
        total = rate.map(|rate| total.unwrap_or(0.0) + rate).or(total);
        board.hashrate = rate;
        let celsius = fields.temperature("Temperature");
        board.temperatures.extend(celsius.map(|celsius| Sensor { place: "board", celsius }));
        board.frequency = Clock { set: None, actual: fields.nonzero("Core Clock Avg").map(|mhz| mhz * 1e6) };
        board.voltage = fields.nonzero("Output Voltage");
    }
    device.boards_expected = Some(page.objects("HBStatus").count() as f64).filter(|count| *count > 0.0);
    device.hashrate = total;
}

fn put_pools(device: &mut Device, page: Fields<'_>) {
    let stratum = page.object("Stratum");
    let current = stratum.and_then(|stratum| stratum.text("Current Pool")).unwrap_or_default();
    let used = stratum.and_then(|stratum| stratum.number("Config Id"));
    for (slot, fields) in page.objects("StratumConfigs").take(PARTS).enumerate() {
        let url = fields.text("pool").unwrap_or_default();
        let active = used.map_or(url.ends_with(&current), |used| used == slot as f64);
        let connected = stratum.filter(|_| active);
        device.pools.push(Pool {
            slot,
            protocol: pools::protocol(&url).to_string(),
            url: pools::pool_url(&url, None),
            user: fields.text("login").unwrap_or_default(),
            up: connected.and_then(|stratum| stratum.flag("IsPoolConnected")),
            active: Some(active),
            difficulty: page.object("Session").filter(|_| active).and_then(|session| session.nonzero("Difficulty")),
            rtt: connected.and_then(|stratum| stratum.nonzero("Average Latency")),
            ..Pool::default()
        });
    }
    device.on_fallback = used.filter(|_| !device.pools.is_empty()).map(|used| used != 0.0);
}

fn put_capabilities(device: &mut Device, page: Fields<'_>) {
    device.model = page.text("Model").unwrap_or_default();
    // Devices have blanks in their keys, the maker's documentation has none.
    let object = |spaced: &str, plain: &str| page.object(spaced).or_else(|| page.object(plain));
    device.chip = page.text_of(&["Chip Type", "ChipType"]).unwrap_or_default();
    let board = object("Control Board Version", "ControlBoardVersion");
    device.serial = board.and_then(|board| board.text("cpuSerial")).unwrap_or_default();
    device.boards_expected =
        page.number_of(&["Max HBs", "MaxHBs"]).filter(|most| *most > 0.0).or(device.boards_expected);
    let chips = object("Performance Estimator", "PerformanceEstimator")
        .and_then(|estimate| estimate.number_of(&["Chip Count", "ChipCount"]))
        .filter(|chips| *chips > 0.0);
    for board in &mut device.boards {
        board.chips_expected = chips;
    }
}

/// `/hashrate` and `/temps/chip` list figures by board; `/temps` has two sensors of each board, `/clocks` and `/voltages`
/// look alike and are told apart by nothing, so they are not asked for.
fn put_chips(device: &mut Device, boards: &[Value]) -> bool {
    let mut known = false;
    for fields in boards.iter().filter_map(Fields::of).take(PARTS) {
        let (Some(index), Some(data)) = (fields.number("Index"), fields.get(&["Data"]).and_then(Value::as_array))
        else {
            continue;
        };
        known = true;
        let name = index.to_string();
        let Some(board) = device.boards.iter_mut().find(|board| board.name == name) else { continue };
        board.details.resize(board.details.len().max(data.len()), Chip::default());
        for (chip, value) in board.details.iter_mut().zip(data) {
            // Rates are lists of the rate in MH/s and per cent, temperatures plain numbers.
            match value {
                Value::Array(rate) => chip.hashrate = rate.first().and_then(number).map(|rate| rate * 1e6),
                other => chip.celsius = number(other).filter(|celsius| *celsius > 0.0),
            }
        }
    }
    known
}
