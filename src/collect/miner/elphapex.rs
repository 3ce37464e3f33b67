//! `elphapex`: Elphapex DG machines over the CGI pages of their web interface (HTTP Digest).
//!
//! Traps: everything is 0 while it starts; chips are told in thousandths of a degree, as text; `hw` of a board is its
//! number of chips and `hw_all` a hash rate, so hardware errors are told nowhere; the letters of the chips are cut short.
//! Source: the recorded pages; `get_power.cgi` and the work modes from public clients of newer firmware.

mod commands;

use std::time::Duration;

use super::ask::{Asker, How, Question};
use super::cgi;
use super::device::{self, Device, PowerSource, Show, State};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::repair;
use super::values::Fields;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "elphapex",
    summary: "Elphapex DG machines (HTTP, Digest)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 80",
    min_interval: Duration::from_secs(10),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by its web interface, open or closed.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Http,
    port: 80,
    bears: |clue| {
        clue.asks_as("blockMiner") || (clue.word("/minertype").starts_with("DG") && clue.holds(&["/Algorithm"]))
    },
};

const OPTIONS: &[OptionDoc] = &[options::POOL_USER_DOC, options::USERNAME_DOC, options::PASSWORD_DOC, options::TLS_DOC];

const QUESTIONS: &[Question] = &[
    Question::needed(How::Get("/cgi-bin/stats.cgi")),
    Question::useful(How::Get("/cgi-bin/summary.cgi")),
    Question::useful(How::Get("/cgi-bin/pools.cgi")),
    Question::useful(How::Get("/cgi-bin/get_power.cgi")),
    Question::seldom(How::Get("/cgi-bin/get_miner_conf.cgi"), 4),
    Question::seldom(How::Get("/cgi-bin/get_system_info.cgi"), 240),
];

/// The number of `fc-work-mode` that is the sleep mode.
const SLEEP: f64 = 1.0;

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let auth = options.digest("root");
    Ok(Box::new(Asker::web(target, 80, auth, QUESTIONS, &options, parse)?))
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut device = Device { address: address.to_string(), protocol: "http", ..Device::default() };
    device.make = "Elphapex".to_string();
    device.firmware = "stock".to_string();
    let mut read = false;
    for reply in replies.iter().filter(|reply| reply.status.is_none_or(|status| status == 200)) {
        let malformed = |reason: String| ParseError::Malformed { request: reply.request.clone(), reason };
        match repair::read(&reply.body) {
            Ok(page) => read |= Fields::of(&page.value).is_some_and(|page| put_page(&mut device, page)),
            // Firmware without one of the lesser pages answers with HTML.
            Err(_) if read => {}
            Err(error) => return Err(malformed(error.to_string())),
        }
    }
    if !read {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        let reason = "no STATS, SUMMARY, POOLS, power, settings or identity in it".to_string();
        return Err(ParseError::Malformed { request, reason });
    }
    device.put(&mut reading, show);
    Ok(reading)
}

/// Told by what is in it; says whether it was known.
fn put_page(device: &mut Device, page: Fields<'_>) -> bool {
    if let Some(info) = page.object("INFO") {
        device.model = info.text("type").unwrap_or_else(|| std::mem::take(&mut device.model));
        device.serial = info.text("dev_sn").unwrap_or_else(|| std::mem::take(&mut device.serial));
        device.firmware_version =
            info.text("miner_version").unwrap_or_else(|| std::mem::take(&mut device.firmware_version));
    }
    if let Some(stats) = page.objects("STATS").next() {
        cgi::put_rates(device, stats);
        cgi::put_hardware(device, stats);
    } else if let Some(summary) = page.objects("SUMMARY").next() {
        cgi::put_rates(device, summary);
        cgi::put_faults(device, summary);
    } else if page.get(&["POOLS"]).is_some() {
        let now = page.object("STATUS").and_then(|status| status.number("timestamp")).filter(|now| *now > 1.2e9);
        cgi::put_pools(device, page, now);
    } else if page.get(&["power_output"]).is_some() {
        device.power = page.nonzero("power_output").map(|watts| (watts, PowerSource::Measured));
    } else if let Some(mode) = page.number("fc-work-mode") {
        if mode == SLEEP && device.hashrate.is_none_or(|rate| rate == 0.0) {
            device.state = State::Sleeping;
        }
        let set = page.nonzero("fc-freq").map(|megahertz| megahertz * 1e6);
        device.frequency.set = set;
    } else if page.get(&["macaddr"]).is_some() {
        cgi::put_system(device, page);
        device.algorithm = page.text("Algorithm").unwrap_or_default().to_ascii_lowercase();
    } else {
        return false;
    }
    true
}
