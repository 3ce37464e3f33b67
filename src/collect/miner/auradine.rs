//! `auradine`: Auradine Teraflux (FluxOS) over cgminer's API, with sections of the maker's own: `PSU`, `Fan`, `Mode`,
//! `Temperature`, `IPReport`. Numbers carry their unit ("4052.00 RPM", "58.94W"). Source: the recorded replies.

mod commands;

use std::time::Duration;

use serde_json::Value;

use super::ask::{Asker, How, Question};
use super::cgminer::sections;
use super::device::{self, Device, Fan, PowerSource, Sensor, Show, State};
use super::documents::Sections;
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::values::Fields;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "auradine",
    summary: "Auradine Teraflux with FluxOS (TCP API; commands over its REST API)",
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
    bears: |clue| clue.holds(&["/VERSION/0/GCMiner"]),
};

const OPTIONS: &[OptionDoc] = &[
    options::POOL_USER_DOC,
    options::USERNAME_DOC,
    options::PASSWORD_FOR_COMMANDS_DOC,
    OptionDoc { name: "web_port", help: "port of the REST API that takes commands; default 8080, with tls 443" },
    options::TLS_DOC,
];

/// The port of the REST API.
const WEB_PORT: u16 = 8080;

const COMMANDS: &[Question] = &[
    Question::needed(How::Rpc("summary")),
    Question::useful(How::Rpc("devs")),
    Question::useful(How::Rpc("pools")),
    Question::useful(How::Rpc("temperature")),
    Question::useful(How::Rpc("psu")),
    Question::useful(How::Rpc("fan")),
    Question::useful(How::Rpc("mode")),
    Question::seldom(How::Rpc("frequency"), 4),
    Question::seldom(How::Rpc("voltage"), 4),
    Question::seldom(How::Rpc("asccount"), 240),
    Question::seldom(How::Rpc("ipreport"), 240),
];

/// The sections that hold something to read.
const WANTED: [&str; 8] = ["Temperature", "PSU", "Fan", "Mode", "Frequency", "Voltage", "ASCCount", "IPReport"];

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    Ok(Box::new(Asker::rpc(target, 4028, COMMANDS, &options, parse)?))
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut sections = Sections::read(replies);
    let own = WANTED.iter().any(|name| !sections.list(name).is_empty());
    if !sections.measured() && !own && (sections.version.is_none() || replies.len() > 1) {
        return Err(sections.refused(replies, "SUMMARY, DEVS, POOLS, PSU, Fan, Mode or Temperature"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = Device { address: address.to_string(), protocol: "cgminer", ..Device::default() };
    device.make = "Auradine".to_string();
    device.firmware = "FluxOS".to_string();
    device.firmware_version = sections.description.trim_start_matches("FluxOS-").to_string();
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        sections::put_summary(&mut device, summary);
    }
    sections::put_boards(&mut device, &sections.devs);
    sections::put_pools(&mut device, &sections);
    put_supply(&mut device, &sections);
    put_boards(&mut device, &sections);
    put_identity(&mut device, &sections);
    device.put(&mut reading, show);
    Ok(reading)
}

/// A number in front of its unit.
fn measure(fields: Fields<'_>, key: &str) -> Option<f64> {
    let text = fields.text(key)?;
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-'))).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn put_supply(device: &mut Device, sections: &Sections) {
    for fan in sections.list("Fan").iter().filter_map(Fields::of) {
        let duty = fan.number("Speed").zip(fan.nonzero("Max")).map(|(speed, most)| (speed / most).min(1.0));
        device.fans.push(Fan { name: fan.text("ID").unwrap_or_default(), role: "", rpm: fan.number("Speed"), duty });
    }
    if let Some(supply) = sections.list("PSU").first().and_then(Fields::of) {
        device.power = measure(supply, "PowerIn").map(|watts| (watts, PowerSource::Measured));
        device.voltages.extend(measure(supply, "Vin").map(|volts| ("input", volts)));
        device.currents.extend(measure(supply, "Iin").map(|amperes| ("input", amperes)));
        for (key, name) in [("FanSpeed1", "psu1"), ("FanSpeed2", "psu2")] {
            let fan =
                measure(supply, key).map(|rpm| Fan { name: name.to_string(), role: "psu", rpm: Some(rpm), duty: None });
            device.fans.extend(fan);
        }
    }
    if let Some(mode) = sections.list("Mode").first().and_then(Fields::of) {
        device.power_limit = mode.nonzero("Power");
        device.expected = mode.nonzero("Ths").map(|terahashes| terahashes * 1e12);
        if mode.flag("Sleep") == Some(true) {
            device.state = State::Sleeping;
        }
    }
}

/// The readings of a list that stand under `key`.
fn readings<'a>(fields: Fields<'a>, list: &'a str, key: &'a str) -> impl Iterator<Item = f64> + 'a {
    fields.objects(list).filter_map(move |item| item.nonzero(key))
}

/// Sections by board; the control board has the number 0.
fn put_boards(device: &mut Device, sections: &Sections) {
    let each = |name: &str| -> Vec<(String, Value)> {
        let items = sections.list(name).iter();
        items.filter_map(|item| Some((Fields::of(item)?.text("ID")?, item.clone()))).collect()
    };
    for (name, item) in each("Temperature") {
        let Some(fields) = Fields::of(&item) else { continue };
        let hottest = |list: &'static str| readings(fields, list, "Temperature").max_by(f64::total_cmp);
        let Some(board) = device.boards.iter_mut().find(|board| board.name == name) else {
            let celsius = hottest("BoardTemp").filter(|_| name == "0");
            device.temperatures.extend(celsius.map(|celsius| Sensor { place: "ambient", celsius }));
            continue;
        };
        board.temperatures.clear();
        for (place, celsius) in [("board", hottest("BoardTemp")), ("chip", hottest("ChipTemp"))] {
            board.temperatures.extend(celsius.map(|celsius| Sensor { place, celsius }));
        }
    }
    let average = |fields: Fields<'_>, list: &'static str, key: &'static str| {
        let (sum, count) = readings(fields, list, key).fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0));
        (count > 0.0).then(|| sum / count)
    };
    for (name, item) in each("Frequency") {
        let board = device.boards.iter_mut().find(|board| board.name == name);
        if let (Some(board), Some(fields)) = (board, Fields::of(&item)) {
            board.frequency.actual = average(fields, "ChipFrequency", "Frequency").map(|megahertz| megahertz * 1e6);
        }
    }
    for (name, item) in each("Voltage") {
        let board = device.boards.iter_mut().find(|board| board.name == name);
        if let (Some(board), Some(fields)) = (board, Fields::of(&item)) {
            board.voltage = average(fields, "ChipVoltage", "Voltage");
        }
    }
    let Some(count) = sections.list("ASCCount").first().and_then(Fields::of) else { return };
    device.boards_expected = count.nonzero("BoardCount");
    let chips = count.nonzero("AsicCount").zip(device.boards_expected).map(|(chips, boards)| chips / boards);
    for board in &mut device.boards {
        board.chips_expected = chips;
    }
}

fn put_identity(device: &mut Device, sections: &Sections) {
    let Some(report) = sections.list("IPReport").first().and_then(Fields::of) else { return };
    device.model = report.text("model").unwrap_or_default();
    device.mac = report.text("mac").unwrap_or_default();
    device.serial = report.text("SerialNo").unwrap_or_default();
    device.hostname = report.text("hostname").unwrap_or_default();
    device.firmware_version = report.text("version").unwrap_or_else(|| std::mem::take(&mut device.firmware_version));
    let serials = report.get(&["HBSerialNo"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (board, serial) in device.boards.iter_mut().zip(serials.iter().filter_map(Value::as_str)) {
        board.serial = super::values::clean(serial);
    }
}
