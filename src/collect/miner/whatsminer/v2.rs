//! API 1 and 2: cgminer's words, and answers of the maker's own under `Msg`.

use serde_json::Value;

use super::super::cgminer::sections;
use super::super::device::{Device, PowerSource, Sensor, Show};
use super::super::documents::Sections;
use super::super::repair;
use super::super::values::Fields;
use crate::collect::{ParseError, Reply};
use crate::model::Reading;

/// Turns the replies of one poll into samples.
pub fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut sections = Sections::read(replies);
    let own: Vec<Value> = replies.iter().filter_map(message).collect();
    if !sections.measured() && (own.is_empty() || replies.len() > own.len()) {
        return Err(sections.refused(replies, "SUMMARY, DEVS, POOLS or Msg"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = Device { address: address.to_string(), protocol: "whatsminer", ..Device::default() };
    device.make = "MicroBT".to_string();
    device.firmware = "stock".to_string();
    let mut off = None;
    let mut psu_fan = None;
    for message in own.iter().filter_map(Fields::of) {
        put_message(&mut device, message);
        off = message.flag("mineroff").or(off);
        psu_fan = message.number("fan_speed").or(psu_fan);
    }
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        put_summary(&mut device, summary);
        device.fans = super::fans(summary.number("Fan Speed In"), summary.number("Fan Speed Out"), psu_fan);
    }
    device.state = super::state(device.hashrate, device.uptime, off);
    sections::put_boards(&mut device, &sections.devs);
    // The fans of the whole machine are told with each board again.
    device.fans.retain(|fan| !fan.role.is_empty());
    put_boards(&mut device, &sections);
    sections::put_pools(&mut device, &sections);
    let details = sections.list("DEVDETAILS").first().and_then(Fields::of);
    device.model = details.and_then(|details| details.text("Model")).unwrap_or_default();
    device.put(&mut reading, show);
    Ok(reading)
}

/// What stands under `Msg`: the maker's own answers have an object there, cgminer's a sentence.
fn message(reply: &Reply) -> Option<Value> {
    let mut value = repair::read(&reply.body).ok()?.value;
    let message = value.get_mut("Msg")?.take();
    message.is_object().then_some(message)
}

fn put_message(device: &mut Device, message: Fields<'_>) {
    if let Some(version) = message.text_of(&["fw_ver", "FirmwareVersion"]) {
        device.firmware_version = version;
    }
    device.mac = message.text("mac").unwrap_or_else(|| std::mem::take(&mut device.mac));
    device.hostname = message.text("hostname").unwrap_or_else(|| std::mem::take(&mut device.hostname));
    device.power_limit = message.nonzero("power_limit_set").or(device.power_limit);
    // Each entry is a code over the time when it came up; API 1 lists bare codes.
    for error in message.get(&["error_code"]).and_then(Value::as_array).into_iter().flatten() {
        let code = match error {
            Value::Object(map) => map.keys().find(|key| key.parse::<u32>().is_ok()).cloned(),
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text.clone()),
            _ => None,
        };
        device.faults.extend(code.map(|code| (code, String::new())));
    }
}

fn put_summary(device: &mut Device, summary: Fields<'_>) {
    sections::put_summary(device, summary);
    // `HS RT` is in MH/s, whatever its name says.
    device.hashrate =
        summary.number("HS RT").or_else(|| summary.number("MHS RT")).map(|rate| rate * 1e6).or(device.hashrate);
    device.uptime = summary.number("Uptime").or(device.uptime);
    device.expected =
        summary.number_of(&["Target MHS", "Factory MHS"]).filter(|rate| *rate > 0.0).map(|rate| rate * 1e6);
    device.expected =
        device.expected.or(summary.number("Factory GHS").filter(|rate| *rate > 0.0).map(|rate| rate * 1e9));
    device.power = summary.nonzero("Power").map(|watts| (watts, PowerSource::Measured));
    device.power_limit = summary.nonzero("Power Limit").or(device.power_limit);
    device.mode = summary.text("Power Mode");
    device.mac = summary.text("MAC").unwrap_or_else(|| std::mem::take(&mut device.mac));
    if let Some(version) = summary.text("Firmware Version") {
        device.firmware_version = version.trim_matches('\'').to_string();
    }
    let ambient = summary.temperature("Env Temp");
    device.temperatures.extend(ambient.map(|celsius| Sensor { place: "ambient", celsius }));
    let megahertz = summary.nonzero("freq_avg");
    device.frequency.actual = megahertz.map(|megahertz| megahertz * 1e6);
    device.frequency.set = summary.nonzero("Target Freq").map(|megahertz| megahertz * 1e6);
}

fn put_boards(device: &mut Device, sections: &Sections) {
    for (board, dev) in device.boards.iter_mut().zip(sections.devs.iter().filter_map(Fields::of)) {
        board.chips = dev.number("Effective Chips");
        // "SM" is the driver's name, the same for all of them.
        board.model.clear();
        board.hashrate = dev.number("HS RT").or_else(|| dev.number("MHS RT")).map(|rate| rate * 1e6).or(board.hashrate);
        if board.hashrate.is_none() {
            board.hashrate = dev.number("MHS 1m").or_else(|| dev.number("MHS av")).map(|rate| rate * 1e6);
        }
    }
}
