//! cgminer's API with the additions of Braiins OS: `temps`, `fans` and `tunerstatus`. The boards of the additions are
//! those whose `ID` a board has in `devs`.

use super::super::ask::{How, Question};
use super::super::cgminer::sections;
use super::super::device::{Device, Fan, PowerSource, Sensor, Show, State};
use super::super::documents::Sections;
use super::super::values::Fields;
use crate::collect::{ParseError, Reply};
use crate::model::Reading;

/// What is asked in a poll.
pub const COMMANDS: &[Question] = &[
    Question::needed(How::Rpc("summary")),
    Question::useful(How::Rpc("devs")),
    Question::useful(How::Rpc("pools")),
    Question::useful(How::Rpc("temps")),
    Question::useful(How::Rpc("fans")),
    Question::useful(How::Rpc("tunerstatus")),
    Question::seldom(How::Rpc("devdetails"), 20),
    Question::seldom(How::Rpc("version"), 240),
];

/// Turns the replies of one poll into samples.
pub fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut sections = Sections::read(replies);
    let additions = ["TEMPS", "FANS", "TUNERSTATUS"].iter().any(|name| !sections.list(name).is_empty());
    if !sections.measured() && !additions && (sections.version.is_none() || replies.len() > 1) {
        return Err(sections.refused(replies, "SUMMARY, POOLS, DEVS, TEMPS, FANS, TUNERSTATUS or VERSION"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = super::device(address, "cgminer");
    // "BOSer boser-openwrt 0.1.0-11012d53": the version is the last word.
    device.firmware_version = sections.description.rsplit(' ').next().unwrap_or_default().to_string();
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        sections::put_summary(&mut device, summary);
    }
    sections::put_boards(&mut device, &sections.devs);
    for (board, dev) in device.boards.iter_mut().zip(sections.devs.iter().filter_map(Fields::of)) {
        board.name = dev.text("ID").unwrap_or_else(|| board.name.clone());
        // Named like the algorithm's driver, which says nothing of the board.
        board.model.clear();
    }
    let nominal = sections.devs.iter().filter_map(Fields::of).map(|dev| dev.number("Nominal MHS"));
    device.expected = nominal.sum::<Option<f64>>().map(|megahashes| megahashes * 1e6);
    sections::put_pools(&mut device, &sections);
    put_additions(&mut device, &sections);
    device.put(&mut reading, show);
    Ok(reading)
}

fn put_additions(device: &mut Device, sections: &Sections) {
    for fields in sections.list("TEMPS").iter().filter_map(Fields::of) {
        let sensors = [("Board", "board"), ("Chip", "chip")];
        let sensors = sensors.map(|(key, place)| Some(Sensor { place, celsius: fields.temperature(key)? }));
        let Some(id) = fields.text("ID") else { continue };
        if let Some(board) = device.boards.iter_mut().find(|board| board.name == id) {
            // `devs` has the first of these too.
            board.temperatures = sensors.into_iter().flatten().collect();
        }
    }
    for (at, fields) in sections.list("FANS").iter().filter_map(Fields::of).enumerate() {
        let name = fields.text_of(&["FAN", "ID"]).unwrap_or_else(|| at.to_string());
        let duty = fields.number("Speed").map(|percent| percent / 100.0);
        device.fans.push(Fan { name, role: "", rpm: fields.number("RPM"), duty });
    }
    for fields in sections.list("DEVDETAILS").iter().filter_map(Fields::of) {
        let Some(id) = fields.text("ID") else { continue };
        if let Some(board) = device.boards.iter_mut().find(|board| board.name == id) {
            board.chips = fields.nonzero("Chips");
            board.voltage = fields.nonzero("Voltage");
            // In hertz here, whatever it is elsewhere.
            board.frequency.actual = fields.nonzero("Frequency").or(board.frequency.actual);
        }
        let model = fields.text("Model").filter(|_| device.model.is_empty());
        device.model = model.unwrap_or_else(|| std::mem::take(&mut device.model));
    }
    if let Some(tuner) = sections.list("TUNERSTATUS").first().and_then(Fields::of) {
        let watts = tuner.nonzero("ApproximateMinerPowerConsumption");
        device.power = watts.map(|watts| (watts, PowerSource::Estimated));
        device.power_limit = tuner.nonzero("PowerLimit");
        let tuning = |chain: Fields<'_>| chain.text("Status").is_some_and(|status| status.starts_with("Testing"));
        if device.state == State::Hashing && tuner.objects("TunerChainStatus").any(tuning) {
            device.state = State::Tuning;
        }
    }
}
