//! `luxos`: Antminers with LuxOS over its TCP API. Reads are open; a session, of which there is one, is for writes only
//! and never opened by a poll.
//!
//! Traps: `Watts` is 0 before the first reading; a board that is switched off stays in `devs`; health of chips comes board
//! by board in replies of 29 KB, so it is asked for only with the option `chips`. Source: LuxOS' public API documents.

mod commands;

use std::time::Duration;

use super::ask::{Asker, How, Question};
use super::cgminer::sections::{self, Rates};
use super::device::{self, Chip, Device, Fan, PowerSource, Sensor, Show, State};
use super::documents::Sections;
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::values::Fields;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "luxos",
    summary: "Antminers with LuxOS (TCP API)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: `version` names its program beside the maker's model.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Firmware,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| clue.holds(&["/VERSION/0/LUXminer"]),
};

const OPTIONS: &[OptionDoc] = &[options::CHIPS_DOC, options::POOL_USER_DOC];

const COMMANDS: &[Question] = &[
    Question::needed(How::Rpc("summary")),
    Question::useful(How::Rpc("devs")),
    Question::useful(How::Rpc("pools")),
    Question::useful(How::Rpc("power")),
    Question::useful(How::Rpc("temps")),
    Question::useful(How::Rpc("fans")),
    Question::useful(How::Rpc("config")),
];

/// One command for each board, so asked seldom.
const VOLTAGES: &[Question] = &[
    Question::seldom(How::Rpc(r#"{"command":"voltageget","parameter":"0"}"#), 20),
    Question::seldom(How::Rpc(r#"{"command":"voltageget","parameter":"1"}"#), 20),
    Question::seldom(How::Rpc(r#"{"command":"voltageget","parameter":"2"}"#), 20),
];

/// The chips change slowly, and each reply holds every one of a board.
const CHIPS: &[Question] = &[
    Question::seldom(How::Rpc(r#"{"command":"healthchipget","parameter":"0"}"#), 4),
    Question::seldom(How::Rpc(r#"{"command":"healthchipget","parameter":"1"}"#), 4),
    Question::seldom(How::Rpc(r#"{"command":"healthchipget","parameter":"2"}"#), 4),
];

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let chips = if options.chips { CHIPS } else { &[] };
    let questions = [COMMANDS, VOLTAGES, chips].concat();
    Ok(Box::new(Asker::rpc(target, 4028, &questions, &options, parse)?))
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut sections = Sections::read(replies);
    const OTHERS: [&str; 6] = ["POWER", "TEMPS", "FANS", "CONFIG", "VOLTAGE", "CHIPS"];
    let others = OTHERS.iter().any(|name| !sections.list(name).is_empty());
    if !sections.measured() && !others && sections.version.is_none() {
        return Err(sections.refused(replies, "SUMMARY, DEVS, POOLS, POWER, TEMPS, FANS or CONFIG"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = Device { address: address.to_string(), protocol: "cgminer", ..Device::default() };
    device.make = "Bitmain".to_string();
    device.firmware = "LuxOS".to_string();
    // "LUXminer 2025.4.8.220305-57b389c7"
    device.firmware_version = sections.description.trim_start_matches("LUXminer").trim().to_string();
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        sections::put_summary(&mut device, summary);
    }
    sections::put_boards(&mut device, &sections.devs);
    put_expected(&mut device, &sections);
    sections::put_pools(&mut device, &sections);
    put_hardware(&mut device, &sections);
    put_board_replies(&mut device, &sections);
    if let Some(config) = sections.list("CONFIG").first().and_then(Fields::of) {
        put_config(&mut device, config);
    }
    device.put(&mut reading, show);
    Ok(reading)
}

/// What the boards should do at their profiles; a board that its owner has switched off is not up.
fn put_expected(device: &mut Device, sections: &Sections) {
    let devs = || sections.devs.iter().filter_map(Fields::of);
    let nominal = devs().map(|dev| dev.number("Nominal MHS")).sum::<Option<f64>>();
    device.expected = nominal.filter(|_| !sections.devs.is_empty()).map(|rate| rate * 1e6);
    for (board, dev) in device.boards.iter_mut().zip(devs()) {
        board.serial = dev.text("SerialNumber").unwrap_or_else(|| std::mem::take(&mut board.serial));
        board.model = dev.text("Board").unwrap_or_else(|| std::mem::take(&mut board.model));
        if dev.flag("IsUserShutdown") == Some(true) {
            board.up = Some(false);
        }
    }
}

fn put_hardware(device: &mut Device, sections: &Sections) {
    if let Some(power) = sections.list("POWER").first().and_then(Fields::of) {
        let measured = power.flag("PSU") == Some(true);
        let source = if measured { PowerSource::Measured } else { PowerSource::Estimated };
        device.power = power.nonzero("Watts").map(|watts| (watts, source));
    }
    for fan in sections.list("FANS").iter().filter_map(Fields::of) {
        let name = fan.text("FAN").or_else(|| fan.text("ID")).unwrap_or_default();
        let name = name.trim_start_matches("FAN").to_string();
        device.fans.push(Fan {
            name,
            role: "",
            rpm: fan.number("RPM"),
            duty: fan.number("Speed").map(|percent| percent / 100.0),
        });
    }
    for temps in sections.list("TEMPS").iter().filter_map(Fields::of) {
        let name = temps.number_of(&["TEMP", "ID"]).map(|index| index.to_string());
        let Some(board) = device.boards.iter_mut().find(|board| Some(&board.name) == name.as_ref()) else { continue };
        let sensors = ["TopLeft", "TopRight", "BottomLeft", "BottomRight", "Board"];
        let celsius = sensors.iter().filter_map(|key| temps.temperature(key)).max_by(f64::total_cmp);
        // The same sensors stand in `devs` as one figure.
        board.temperatures.retain(|sensor| sensor.place != "board" || celsius.is_none());
        board.temperatures.extend(celsius.map(|celsius| Sensor { place: "board", celsius }));
        let chip = temps.temperature("Chip");
        board.temperatures.extend(chip.map(|celsius| Sensor { place: "chip", celsius }));
    }
}

fn put_board_replies(device: &mut Device, sections: &Sections) {
    let wanted = |name: &str| matches!(name, "CHIPS" | "VOLTAGE");
    for (section, items) in sections.others.iter().filter(|(name, _)| wanted(name)) {
        for item in items.iter().filter_map(Fields::of) {
            let name = item.number("Board").map(|index| index.to_string());
            let board = device.boards.iter_mut().find(|board| Some(&board.name) == name.as_ref());
            match board {
                Some(board) if section == "VOLTAGE" => board.voltage = item.nonzero("Voltage"),
                Some(board) => board.details.push(Chip { hashrate: Rates::of(item).shortest(), ..Chip::default() }),
                None => {}
            }
        }
    }
}

fn put_config(device: &mut Device, config: Fields<'_>) {
    device.model = config.text("Model").unwrap_or_default();
    device.mac = config.text("MACAddr").unwrap_or_default();
    device.serial = config.text("SerialNumber").unwrap_or_default();
    device.hostname = config.text("Hostname").unwrap_or_default();
    device.mode = config.text("Profile");
    device.boards_expected = config.nonzero("ASCCount");
    let curtailed = config.text("CurtailMode").is_some_and(|mode| mode.eq_ignore_ascii_case("sleep"));
    let status = config.text("SystemStatus").unwrap_or_default().to_ascii_lowercase();
    device.state = match () {
        () if curtailed => State::Sleeping,
        () if status.contains("overheat") => State::Overheated,
        () if config.flag("IsTuning") == Some(true) => State::Tuning,
        () => device.state,
    };
}
