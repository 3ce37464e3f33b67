//! From an Avalon's replies to a [`Device`].

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::cgminer::sections;
use super::super::device::{Board, Chip, Clock, Device, Fan, PowerSource, Sensor, Show, State};
use super::super::documents::Sections;
use super::super::values::{Fields, clean};
use super::commands::MODES;
use crate::collect::{ParseError, Reply};
use crate::model::Reading;

/// Boards of one control unit, and control units of one device, that are read at most.
const PARTS: usize = 16;
/// Largest `PS[…]` entry that can be a power in watts.
const MAX_WATTS: f64 = 20_000.0;

/// Turns the replies of one poll into samples.
pub fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut sections = Sections::read(replies);
    if !sections.measured() && sections.list("STATS").is_empty() && (sections.version.is_none() || replies.len() > 1) {
        return Err(sections.refused(replies, "SUMMARY, DEVS, STATS, POOLS or VERSION"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = Device { address: address.to_string(), protocol: "cgminer", ..Device::default() };
    device.make = "Canaan".to_string();
    device.firmware = "stock".to_string();
    if let Some(version) = sections.version.as_ref().and_then(Fields::of) {
        device.model = version.text_of(&["PROD", "MODEL"]).unwrap_or_default();
        device.firmware_version = version.text_of(&["LVERSION", "CGVERSION", "VERSION"]).unwrap_or_default();
        device.mac = version.text("MAC").unwrap_or_default();
        device.serial = version.text("DNA").unwrap_or_default();
    }
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        sections::put_summary(&mut device, summary);
    }
    sections::put_boards(&mut device, &sections.devs);
    sections::put_pools(&mut device, &sections);
    let units = units(sections.list("STATS"));
    if !units.is_empty() {
        // `devs` counts control units, the maker's string boards.
        device.boards.clear();
        device.boards_expected = Some(0.0);
        put_units(&mut device, &units);
    }
    let coin = sections.coin.as_ref().and_then(Fields::of);
    device.network_difficulty = coin.and_then(|coin| coin.nonzero("Network Difficulty"));
    device.put(&mut reading, show);
    Ok(reading)
}

/// What stands in brackets behind each word: `Temp[30]`, `PS[0 1214 1316]`. Of a word that comes twice the last counts.
type Words<'a> = BTreeMap<&'a str, &'a str>;

/// The strings of all control units: `MM ID0`, or `MM ID0:Summary` with the chips in `HBinfo` on newer models.
fn units(stats: &[Value]) -> Vec<Words<'_>> {
    let mut units = Vec::new();
    for entry in stats.iter().filter_map(Fields::of) {
        for index in 0..PARTS {
            let keys = [format!("MM ID{index}"), format!("MM ID{index}:Summary")];
            let text = keys.iter().find_map(|key| entry.get(&[key])?.as_str());
            let Some(text) = text else { continue };
            let mut unit = words(text);
            if let Some(boards) = entry.get(&["HBinfo"]).and_then(Value::as_str).filter(|_| units.is_empty()) {
                unit.extend(words(boards));
            }
            units.push(unit);
        }
    }
    units.truncate(PARTS);
    units
}

/// Reads `Word[…]` after `Word[…]`. Brackets do not nest in any known reply; braces and names of groups in front of a word
/// (`'STATS':{`) are left out.
fn words(text: &str) -> Words<'_> {
    let mut found = Words::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((value, behind)) = after.split_once(']') else { break };
        let name = before.rsplit(['{', '}', ':', ',', '\'']).next().unwrap_or(before).trim();
        if !name.is_empty() {
            found.insert(name, value.trim());
        }
        rest = behind;
    }
    found
}

/// A single number: `72%`, `79656.63`.
fn single(words: &Words<'_>, name: &str) -> Option<f64> {
    words.get(name)?.trim_end_matches('%').parse().ok().filter(|number: &f64| number.is_finite())
}

/// The numbers of a list; what is no number ends it.
fn list(words: &Words<'_>, name: &str) -> Vec<f64> {
    let text = words.get(name).copied().unwrap_or_default();
    text.split_ascii_whitespace().map_while(|part| part.parse().ok()).collect()
}

/// 0 and the absolute zero are what firmware says without a reading.
fn real(celsius: f64) -> Option<f64> {
    Some(celsius).filter(|celsius| *celsius != 0.0 && *celsius > -100.0)
}

fn put_units(device: &mut Device, units: &[Words<'_>]) {
    let many = units.len() > 1;
    let mut rates = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        // The momentary rate, an average of some minutes on models without it.
        rates.push(single(unit, "GHSspd").or_else(|| single(unit, "GHSmm")));
        put_cooling(device, unit, if many { format!("{index}-") } else { String::new() });
        put_boards(device, unit, if many { format!("{index}-") } else { String::new() });
        let ambient = single(unit, "ITemp").or_else(|| single(unit, "Temp")).and_then(real);
        device.temperatures.extend(ambient.map(|celsius| Sensor { place: "inlet", celsius }));
    }
    let sum = |numbers: Vec<Option<f64>>| numbers.into_iter().sum::<Option<f64>>();
    let average = sum(units.iter().map(|unit| single(unit, "GHSavg")).collect());
    device.hashrate = sum(rates).map(|rate| rate * 1e9).or(device.hashrate);
    if let Some(average) = average.filter(|_| !device.averages.iter().any(|(window, _)| *window == "lifetime")) {
        device.averages.push(("lifetime", average * 1e9));
    }
    let expected = sum(units.iter().map(|unit| single(unit, "GHSmm")).collect());
    device.expected = expected.map(|rate| rate * 1e9).filter(|rate| *rate > 0.0);
    device.power = sum(units.iter().map(watts).collect()).map(|watts| (watts, PowerSource::Measured));
    let Some(first) = units.first() else { return };
    device.uptime = single(first, "Elapsed").or(device.uptime);
    let mode = first.get("WORKMODE").and_then(|number| MODES.get(number.parse::<usize>().ok()?));
    device.mode = mode.map(ToString::to_string);
    device.frequency.actual = single(first, "Freq").filter(|mhz| *mhz > 0.0).map(|mhz| mhz * 1e6);
    device.chip = first.get("Core").map(|core| clean(core)).unwrap_or_default();
    device.wifi_rssi = single(first, "RSSI");
    let ratio = single(first, "DH").map(|percent| percent / 100.0);
    device.hash_error_ratio = ratio.or(device.hash_error_ratio);
    device.hardware_errors = sum(units.iter().map(|unit| single(unit, "HW")).collect()).or(device.hardware_errors);
    if let Some(version) = first.get("Ver") {
        put_version(device, version);
    }
    if let Some(dna) = first.get("DNA").filter(|dna| device.serial.is_empty() && !dna.starts_with('<')) {
        device.serial = clean(dna);
    }
    put_state(device, first);
    put_faults(device, units);
}

/// `1246-83-21072802_4ec6bb0_211fc46`: the model in front of the first dash.
fn put_version(device: &mut Device, version: &str) {
    let (model, rest) = version.split_once('-').unwrap_or((version, ""));
    if device.model.is_empty() {
        device.model = format!("Avalon {}", clean(model));
    }
    if device.firmware_version.is_empty() {
        device.firmware_version = clean(rest);
    }
}

/// `PS[error, controller voltage, board voltage, A, W out, set voltage, W in]`: what is drawn from the wall, or where a
/// model has no such field, what the supply gives. A value that no supply can give is another firmware's field.
fn watts(unit: &Words<'_>) -> Option<f64> {
    let supply = list(unit, "PS");
    let real = |index: usize| supply.get(index).copied().filter(|watts| *watts > 0.0 && *watts < MAX_WATTS);
    real(6).or_else(|| real(4))
}

fn put_state(device: &mut Device, unit: &Words<'_>) {
    let status = unit.get("SYSTEMSTATU").copied().unwrap_or_default().to_ascii_lowercase();
    device.tell_state();
    if single(unit, "SoftOFF").is_some_and(|off| off > 0.0) {
        device.state = State::Sleeping;
    } else if status.contains("in idle") && device.hashrate.is_none_or(|rate| rate == 0.0) {
        device.state = State::Paused;
    }
}

fn put_cooling(device: &mut Device, unit: &Words<'_>, prefix: String) {
    let duty = single(unit, "FanR").map(|percent| percent / 100.0);
    for index in 1..=PARTS {
        let Some(rpm) = single(unit, &format!("Fan{index}")) else { break };
        device.fans.push(Fan { name: format!("{prefix}{index}"), role: "", rpm: Some(rpm), duty });
    }
}

fn put_boards(device: &mut Device, unit: &Words<'_>, prefix: String) {
    // `MGHS` are averages since the start, which hide that a board has stopped: they only tell how many there are.
    let rates = list(unit, "MGHS");
    let hashing = single(unit, "GHSspd").is_none_or(|rate| rate > 0.0);
    let hottest = list(unit, "MTmax");
    let count = rates.len().max(hottest.len()).min(PARTS);
    let expected = device.boards_expected.unwrap_or(0.0) + count as f64;
    device.boards_expected = Some(expected).filter(|count| *count > 0.0);
    // One figure for all boards of the unit.
    let chips = single(unit, "TA").filter(|_| count > 0).map(|all| all / count as f64);
    for index in 0..count {
        let outlet = ["HBOTemp", "TempB"].iter().find_map(|name| single(unit, name).and_then(real));
        let chip = hottest.get(index).copied().or_else(|| single(unit, "TMax").filter(|_| count == 1));
        let sensors = [("chip", chip.and_then(real)), ("board", outlet.filter(|_| count == 1))];
        let frequency = list(unit, &format!("SF{index}")).into_iter().fold(0.0, f64::max);
        device.boards.push(Board {
            name: format!("{prefix}{index}"),
            up: chip.filter(|_| hashing).map(|celsius| real(celsius).is_some()),
            chips_expected: chips,
            temperatures: sensors
                .into_iter()
                .filter_map(|(place, celsius)| Some(Sensor { place, celsius: celsius? }))
                .collect(),
            frequency: Clock { set: Some(frequency * 1e6).filter(|hertz| *hertz > 0.0), actual: None },
            details: details(unit, index),
            ..Board::default()
        });
    }
}

fn details(unit: &Words<'_>, board: usize) -> Vec<Chip> {
    let temperatures = list(unit, &format!("PVT_T{board}"));
    temperatures.into_iter().map(|celsius| Chip { celsius: real(celsius), ..Chip::default() }).collect()
}

/// `ECHU` and `ECMM` are error codes of boards and of the control unit, `FanErr` one of the fans; 0 is none.
fn put_faults(device: &mut Device, units: &[Words<'_>]) {
    for unit in units {
        for (board, code) in list(unit, "ECHU").into_iter().enumerate().filter(|(_, code)| *code != 0.0) {
            device.faults.push((format!("ECHU {code}"), format!("board {board}")));
        }
        for (name, component) in [("ECMM", "controller"), ("FanErr", "fan"), ("POWS", "psu")] {
            if let Some(code) = single(unit, name).filter(|code| *code != 0.0) {
                device.faults.push((format!("{name} {code}"), component.to_string()));
            }
        }
    }
}
