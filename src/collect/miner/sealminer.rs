//! `sealminer`: Bitdeer's SealMiner A2 and relatives over cgminer's API.
//!
//! The figures stand in one entry of `stats`, those of boards and fans under keys that begin with their number. Traps: a
//! window longer than the uptime is filled with zeros, so it says less than is hashed; the 5 s rate of the summary is
//! told by shares and jumps. Source: the recorded replies. The web interface wants a cookie and says nothing more,
//! so that it is only told.

mod commands;

use std::time::Duration;

use super::ask::{Asker, How, Question};
use super::cgminer::sections;
use super::device::{self, Board, Clock, Device, Fan, PowerSource, Sensor, Show, State};
use super::documents::Sections;
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::values::Fields;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "sealminer",
    summary: "Bitdeer SealMiner A2 and relatives (TCP API; some commands over HTTP)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: `version` names its program.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| clue.holds(&["/VERSION/0/BDMiner"]),
};

const OPTIONS: &[OptionDoc] = &[
    options::POOL_USER_DOC,
    options::USERNAME_DOC,
    options::PASSWORD_FOR_COMMANDS_DOC,
    options::WEB_PORT_DOC,
    options::TLS_DOC,
];

const COMMANDS: &[Question] =
    &[Question::needed(How::Rpc("stats")), Question::useful(How::Rpc("summary")), Question::useful(How::Rpc("pools"))];

/// Boards and fans that are read at most.
const PARTS: usize = 16;
/// Sensors of a board.
const SENSORS: usize = 4;

/// Averages by the label that each gets, with their length in seconds.
const WINDOWS: [(&str, &str, f64); 5] = [
    ("1m", "MHS(1m)", 60.0),
    ("5m", "MHS(5m)", 300.0),
    ("15m", "MHS(15m)", 900.0),
    ("30m", "MHS(30m)", 1800.0),
    ("1h", "MHS(1h)", 3600.0),
];

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    Ok(Box::new(Asker::rpc(target, 4028, COMMANDS, &options, parse)?))
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut sections = Sections::read(replies);
    if sections.list("STATS").is_empty() && !sections.measured() && sections.version.is_none() {
        return Err(sections.refused(replies, "STATS, SUMMARY, POOLS or VERSION"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = Device { address: address.to_string(), protocol: "cgminer", ..Device::default() };
    device.make = "SealMiner".to_string();
    device.firmware = "stock".to_string();
    device.algorithm = "sha256d".to_string();
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        sections::put_summary(&mut device, summary);
    }
    sections::put_pools(&mut device, &sections);
    let mut stats = sections.list("STATS").iter().filter_map(Fields::of);
    if let Some(stats) = stats.find(|stats| stats.get(&["Board Count", "MHS(30s)", "PM State"]).is_some()) {
        put_identity(&mut device, stats);
        put_rates(&mut device, stats);
        put_supply(&mut device, stats);
        device.boards_expected = stats.nonzero("Board Count");
        device.boards = (0..PARTS).filter_map(|index| board(stats, index)).collect();
        put_fans(&mut device, stats);
        put_state(&mut device, stats);
    }
    device.put(&mut reading, show);
    Ok(reading)
}

fn put_identity(device: &mut Device, stats: Fields<'_>) {
    device.model = stats.text("Model").unwrap_or_default();
    device.firmware_version = stats.text("Firmware").unwrap_or_default();
    device.chip = stats.text("ASIC").unwrap_or_default();
    device.mac = stats.text("MAC").unwrap_or_default();
    device.serial = stats.text("Ctrl Board SN").unwrap_or_default();
}

fn put_rates(device: &mut Device, stats: Fields<'_>) {
    let rate = |key: &str| stats.number(key).map(|rate| (rate * 1e6).round());
    device.uptime = stats.number("Elapsed").or(device.uptime);
    device.hashrate = rate("MHS(30s)").or(device.hashrate);
    let full = |seconds: f64| device.uptime.is_some_and(|uptime| uptime >= seconds);
    let windows = WINDOWS.into_iter().filter(|(_, _, seconds)| full(*seconds));
    let averages = windows.filter_map(|(window, key, _)| Some((window, rate(key)?)));
    device.averages = averages.chain(rate("MHS(Avg)").map(|rate| ("lifetime", rate))).collect();
    device.expected = rate("MHS(Ideal)");
    device.frequency.actual = stats.nonzero("Freq").map(|megahertz| megahertz * 1e6);
}

fn put_supply(device: &mut Device, stats: Fields<'_>) {
    device.power = stats.number("PSU Input Power").map(|watts| (watts, PowerSource::Measured));
    device.power_limit = stats.nonzero("Power Limit");
    device.voltages.extend(stats.nonzero("PSU Input Voltage").map(|volts| ("input", volts)));
    let celsius = stats.temperature("PSU Temp AMB");
    device.temperatures.extend(celsius.map(|celsius| Sensor { place: "psu", celsius }));
}

fn put_fans(device: &mut Device, stats: Fields<'_>) {
    device.fans_expected = stats.nonzero("Fan Count");
    for index in 0..PARTS {
        if let Some(rpm) = stats.number(&format!("{index} Speed")) {
            device.fans.push(Fan { name: index.to_string(), rpm: Some(rpm), ..Fan::default() });
        }
    }
    let supply = stats.number("PSU Fan Speed");
    device.fans.extend(supply.map(|rpm| Fan { name: "psu".to_string(), role: "psu", rpm: Some(rpm), duty: None }));
}

fn board(stats: Fields<'_>, index: usize) -> Option<Board> {
    let key = |name: &str| format!("{index} {name}");
    let up = stats.flag(&key("Online"))?;
    let chips = stats.number(&key("Chip Count"));
    let bad = stats.number(&key("Bad Chip Count")).unwrap_or(0.0);
    let sensors = (0..SENSORS).filter_map(|sensor| stats.temperature(&key(&format!("Temp {sensor}"))));
    Some(Board {
        name: index.to_string(),
        serial: stats.text(&key("SN")).unwrap_or_default(),
        up: Some(up),
        hashrate: stats.number(&key("MHS(Sample)")).map(|rate| (rate * 1e6).round()),
        chips: chips.map(|chips| (chips - bad).max(0.0)),
        chips_expected: chips,
        temperatures: sensors.map(|celsius| Sensor { place: "board", celsius }).collect(),
        frequency: Clock { set: None, actual: stats.nonzero(&key("Freq")).map(|megahertz| megahertz * 1e6) },
        ..Board::default()
    })
}

/// `PM State` is the state of its power management: `Running`, or what a suspended device says.
fn put_state(device: &mut Device, stats: Fields<'_>) {
    let word = |key: &str| stats.text(key).unwrap_or_default().to_ascii_lowercase();
    let sound = |code: &str| code.trim_start_matches("0x").chars().all(|digit| digit == '0');
    for (key, component) in [("Error Code", ""), ("PSU Error", "psu")] {
        let code = word(key);
        if !sound(&code) {
            device.faults.push((code, component.to_string()));
        }
    }
    let (power, tuning) = (word("PM State"), word("Tune Status"));
    device.tell_state();
    if power.contains("suspend") {
        device.state = State::Paused;
    } else if device.state != State::Hashing && !device.faults.is_empty() {
        device.state = State::Fault;
    } else if power == "running" && tuning.contains("tuning") && !tuning.contains("done") {
        device.state = State::Tuning;
    }
}
