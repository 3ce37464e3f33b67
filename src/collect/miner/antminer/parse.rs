//! From an Antminer's replies to a [`Device`].

use serde_json::Value;

use super::super::cgi;
use super::super::cgminer::sections;
use super::super::device::{Board, Clock, Device, Fan, Sensor, Show, State};
use super::super::documents::Sections;
use super::super::repair;
use super::super::values::{Fields, number, rate_unit};
use crate::collect::{ParseError, Reply};
use crate::model::{FanSetting, Reading};

/// Most boards that any model numbers.
const BOARDS: usize = 16;
/// Most fans that any model numbers.
const FANS: usize = 8;

/// How a maker of this firmware differs from the others.
pub struct Maker {
    /// Its name, where the model does not say another.
    pub name: &'static str,
    /// What its hash rates are called.
    pub word: &'static str,
    /// What that word says, in hashes per second.
    pub unit: f64,
    /// What it says beyond Bitmain's own, from the entry of the figures.
    pub more: fn(&mut Device, Fields<'_>),
}

/// Bitmain itself.
pub const BITMAIN: Maker = Maker { name: "Bitmain", word: "GHS", unit: 1e9, more: |_, _| {} };
/// Hammer, and VolcMiner after it.
pub const HAMMER: Maker = Maker { name: "Hammer", word: "MHS", unit: 1e6, more: |_, _| {} };

/// Turns the replies of one poll into samples.
pub fn parse_as(maker: &Maker, replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let (pages, commands): (Vec<Reply>, Vec<Reply>) = replies.iter().cloned().partition(is_page);
    let mut sections = Sections::read(&commands);
    if sections.list("STATS").is_empty()
        && !sections.measured()
        && (sections.version.is_none() || commands.len() > 1)
        && (pages.is_empty() || !commands.is_empty())
    {
        return Err(sections.refused(replies, "STATS, SUMMARY, POOLS or VERSION"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = Device { address: address.to_string(), protocol: "cgminer", ..Device::default() };
    device.make = maker.name.to_string();
    device.firmware = "stock".to_string();
    let items: Vec<Fields<'_>> = sections.list("STATS").iter().filter_map(Fields::of).collect();
    // The first entry is the head (`Type`, `Miner`), another one holds the figures.
    let head = items.iter().find(|item| item.text("Type").is_some()).copied();
    let figures = items.iter().find(|item| item.get(&["GHS 5s", "GHS av", "MHS 5s", "chain_acn1"]).is_some()).copied();
    let version = sections.version.as_ref().and_then(Fields::of);
    for said in [version, head].into_iter().flatten() {
        put_model(&mut device, said);
    }
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        sections::put_summary(&mut device, summary);
    }
    let unit = unit(maker, &device.model, figures.and_then(|figures| figures.text("rate_unit")).as_deref());
    rescale(&mut device, unit / maker.unit);
    if let Some(figures) = figures {
        put_figures(&mut device, figures, maker.word, unit);
        (maker.more)(&mut device, figures);
    }
    // The web interface has a summary of its own, in other words.
    if let Some(summary) =
        sections.summary.as_ref().and_then(Fields::of).filter(|fields| fields.text("rate_unit").is_some())
    {
        cgi::put_rates(&mut device, summary);
        cgi::put_faults(&mut device, summary);
    }
    sections::put_pools(&mut device, &sections);
    for reply in &pages {
        put_page(&mut device, reply);
    }
    if device.model.starts_with("VolcMiner") {
        device.make = "VolcMiner".to_string();
    }
    device.put(&mut reading, show);
    Ok(reading)
}

fn put_model(device: &mut Device, said: Fields<'_>) {
    if let Some(model) = said.text("Type") {
        // An S9 says "Antminer S9\nV1.3.58"; the second line is no part of its name.
        let first = model.split(" V1.").next().unwrap_or(&model);
        device.model = first.trim().to_string();
    }
    if let Some(version) = said.text("CompileTime").or_else(|| said.text("Miner")) {
        device.firmware_version = version;
    }
}

/// Hashes in the unit that the firmware calls "GHS". It is GH/s but for two families that never changed the word:
/// scrypt machines of the L3 count MH/s, Equihash machines thousands of solutions.
fn unit(maker: &Maker, model: &str, said: Option<&str>) -> f64 {
    let name = model.trim_start_matches("Antminer").trim();
    match said.and_then(rate_unit) {
        Some(unit) => unit,
        None if name.starts_with("L3") => 1e6,
        None if name.starts_with('Z') => 1e3,
        None => maker.unit,
    }
}

/// Sets right what was read from a summary as GH/s.
fn rescale(device: &mut Device, factor: f64) {
    device.hashrate = device.hashrate.map(|rate| rate * factor);
    for (_, rate) in &mut device.averages {
        *rate *= factor;
    }
    // Some send a total, or a best share, that is 0 and stays so: nothing is counted there.
    device.hashes = device.hashes.filter(|hashes| *hashes > 0.0).map(|hashes| hashes * factor);
    device.best_session = device.best_session.filter(|best| *best > 0.0);
}

fn put_figures(device: &mut Device, figures: Fields<'_>, word: &str, unit: f64) {
    let rate = |key: &str| figures.number(key).map(|rate| rate * unit);
    device.hashrate = rate(&format!("{word} 5s")).or(device.hashrate);
    for (window, key) in [("30m", "rate_30m"), ("lifetime", &format!("{word} av"))] {
        if !device.averages.iter().any(|(known, _)| *known == window) {
            device.averages.extend(rate(key).map(|average| (window, average)));
        }
    }
    device.expected = rate("total_rateideal");
    device.uptime = figures.number("Elapsed").or(device.uptime);
    device.tell_state();
    let ratio = figures.number("Device Hardware%").map(|percent| percent / 100.0);
    device.hash_error_ratio = device.hash_error_ratio.or(ratio);
    let megahertz = figures.nonzero("total_freqavg").or_else(|| figures.nonzero("frequency"));
    device.frequency.actual = megahertz.map(|megahertz| megahertz * 1e6);
    device.boards_expected = figures.nonzero("miner_count");
    device.fans_expected = figures.nonzero("fan_num");
    put_fans(device, figures);
    device.boards = (1..=BOARDS).filter_map(|index| board(figures, index, unit)).collect();
    if device.hardware_errors.is_none() && !device.boards.is_empty() {
        device.hardware_errors = device.boards.iter().map(|board| board.hardware_errors).sum();
    }
}

/// `fan_num` tells how many of the numbered places are real; the others say 0. A real one that says 0 stands still, and
/// an S9, whose two fans sit at 3 and 6 of its places, is read by what turns.
fn put_fans(device: &mut Device, figures: Fields<'_>) {
    let count = device.fans_expected.unwrap_or(0.0) as usize;
    let speeds: Vec<(usize, f64)> =
        (1..=FANS).filter_map(|index| Some((index, figures.number(&format!("fan{index}"))?))).collect();
    let turning_beyond = speeds.iter().any(|(index, rpm)| *index > count && *rpm > 0.0);
    let real = speeds.into_iter().filter(|(index, rpm)| *rpm > 0.0 || (*index <= count && !turning_beyond));
    device.fans = real.map(|(index, rpm)| Fan { name: index.to_string(), rpm: Some(rpm), ..Fan::default() }).collect();
}

/// A board is there when it has chips. Its number is kept as the device counts: 6, 7, 8 on an S9.
fn board(figures: Fields<'_>, index: usize, unit: f64) -> Option<Board> {
    let key = |name: &str| format!("{name}{index}");
    let chips = figures.number(&key("chain_acn")).filter(|chips| *chips > 0.0)?;
    // Longer than a label may be, so not read as one.
    let letters = figures.get(&[&key("chain_acs")]).and_then(Value::as_str).unwrap_or_default();
    let count = |wanted: char| letters.chars().filter(|letter| *letter == wanted).count() as f64;
    let working = if letters.trim().is_empty() { chips } else { count('o') };
    let megahertz = [key("freq_avg"), key("freq")].iter().find_map(|key| figures.nonzero(key));
    Some(Board {
        name: index.to_string(),
        up: Some(working > 0.0),
        hashrate: figures.number(&key("chain_rate")).map(|rate| rate * unit),
        chips: Some(working),
        chips_expected: Some(chips),
        hardware_errors: figures.number(&key("chain_hw")),
        temperatures: sensors(figures, index),
        frequency: Clock { set: None, actual: megahertz.map(|megahertz| megahertz * 1e6) },
        ..Board::default()
    })
}

/// The hottest reading of each place: several sensors are joined by a dash, 0 and `-` are no reading. Newer firmware
/// names the places, older has `temp` for the board and `temp2_` for the chips, some have both.
fn sensors(figures: Fields<'_>, index: usize) -> Vec<Sensor> {
    let hottest = |names: [&str; 3]| {
        let readings = names.iter().filter_map(|name| hottest(figures.get(&[&format!("{name}{index}")])?));
        readings.max_by(f64::total_cmp)
    };
    let places = [
        ("board", hottest(["temp_pcb", "temp_out_pcb_", "temp"])),
        ("chip", hottest(["temp_chip", "temp_out_chip_", "temp2_"])),
    ];
    places.into_iter().filter_map(|(place, celsius)| Some(Sensor { place, celsius: celsius? })).collect()
}

fn hottest(value: &Value) -> Option<f64> {
    let readings: Vec<f64> = match value {
        Value::String(text) => text.split('-').filter_map(|part| part.trim().parse().ok()).collect(),
        other => number(other).into_iter().collect(),
    };
    readings.into_iter().filter(|celsius| *celsius > 0.0).max_by(f64::total_cmp)
}

/// Told by what is in it, not by what was asked, so that a saved page can be read whatever its file is called.
fn is_page(reply: &Reply) -> bool {
    let holds = |word: &str| reply.body.windows(word.len()).any(|part| part == word.as_bytes());
    reply.status.is_some() || ["\"macaddr\"", "\"miner-mode\"", "\"bitmain-work-mode\""].into_iter().any(holds)
}

/// A page of the web interface, if it is JSON at all: firmware without it answers with HTML.
fn put_page(device: &mut Device, reply: &Reply) {
    let found = reply.status.is_none_or(|status| status == 200);
    let Some(page) = found.then(|| repair::read(&reply.body).ok()).flatten() else { return };
    let Some(page) = Fields::of(&page.value) else { return };
    // MSKMINER has it deeper.
    let page = page.object("network_info").and_then(|info| info.object("result")).unwrap_or(page);
    if page.text_of(&["macaddr", "minertype"]).is_some() {
        cgi::put_system(device, page);
    }
    if let (Some(fixed), Some(percent)) = (page.flag("bitmain-fan-ctrl"), page.number("bitmain-fan-pwm")) {
        device.fan_setting = Some(if fixed { FanSetting::Fixed(percent / 100.0) } else { FanSetting::Auto });
    }
    // 1 is the sleep mode; some write the number as text. Asleep it still answers, with a rate of 0.
    let asleep = page.number_of(&["miner-mode", "bitmain-work-mode"]) == Some(1.0);
    if asleep && device.hashrate.is_none_or(|rate| rate == 0.0) {
        device.state = State::Sleeping;
    }
}
