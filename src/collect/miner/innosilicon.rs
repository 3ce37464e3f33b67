//! `innosilicon`: Innosilicon machines (T1 to T3, A4 to A11, D9, S11) and the DragonMint T1, over cgminer's API, and with
//! a password over the web interface (`POST /api/auth` gives a token).
//!
//! Traps: "MHS" is MH/s, but solutions per second on an A9 and KH/s on an A8; the web interface has the average over 15
//! minutes in hashes too, and so tells what it is. The rate in `stats` is none. Old programs number their sections (`STATS0`, `POOL1`). A
//! token that has run out is refused with status 200. Many machines have the MAC address of their chip's data sheet.
//! Source: the maker's own web interface, the drivers that it has published, and public clients.

mod commands;
mod web;

use std::time::Duration;

use super::ask::{Asker, How, Question};
use super::cgminer::sections;
use super::device::{self, Board, Clock, Device, Fan, Sensor, Show, State};
use super::documents::Sections;
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::values::Fields;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "innosilicon",
    summary: "Innosilicon machines and DragonMint T1 (TCP API; with a password the web interface too)",
    subject: "miner",
    support: Support::Documented,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by the name of its program, or by the title of its web interface.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| clue.names_itself(PROGRAM) || clue.page_says("DragonMint"),
};

const OPTIONS: &[OptionDoc] =
    &[options::POOL_USER_DOC, options::USERNAME_DOC, options::PASSWORD_DOC, options::WEB_PORT_DOC, options::TLS_DOC];

const COMMANDS: &[Question] = &[
    Question::needed(How::Rpc("summary")),
    Question::useful(How::Rpc("devs")),
    Question::useful(How::Rpc("stats")),
    Question::useful(How::Rpc("pools")),
];

/// What the program calls itself, in front of model and version: `innominer a9-1.1.0`.
const PROGRAM: &str = "innominer";

/// Boards that are read at most.
const PARTS: usize = 32;

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let asker = Asker::rpc(target, 4028, COMMANDS, &options, parse)?;
    if options.has_no_web()? {
        return Ok(Box::new(asker));
    }
    let auth = options.login(web::LOGIN, web::USER);
    Ok(Box::new(asker.and_web(options.web_port(), auth, web::PAGES, &options)?))
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let (commands, pages): (Vec<Reply>, Vec<Reply>) = replies.iter().cloned().partition(|reply| reply.status.is_none());
    let mut sections = Sections::read(&commands);
    join_numbered(&mut sections);
    if !sections.measured() && sections.list("STATS").is_empty() {
        return Err(sections.refused(replies, "SUMMARY, DEVS, STATS or POOLS"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = Device { address: address.to_string(), protocol: "cgminer", ..Device::default() };
    device.make = "Innosilicon".to_string();
    device.firmware = "stock".to_string();
    put_program(&mut device, &sections.description);
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        sections::put_summary(&mut device, summary);
        // An A9 says one meaningless number for this, for all other percentages and for the best share.
        if device.hash_error_ratio.is_some_and(|ratio| ratio > 1.0) {
            (device.hash_error_ratio, device.best_session) = (None, None);
        }
    }
    sections::put_boards(&mut device, &sections.devs);
    for (at, stats) in sections.list("STATS").iter().filter_map(Fields::of).take(PARTS).enumerate() {
        put_chain(&mut device, stats, at);
    }
    sections::put_pools(&mut device, &sections);
    let pages: Vec<_> = pages.iter().filter_map(|page| web::read(page, &mut reading)).collect();
    for page in &pages {
        web::put_identity(&mut device, page);
    }
    let told = pages.iter().find_map(web::unit);
    let unit = told.unwrap_or_else(|| unit(&device.model));
    rescale(&mut device, unit / 1e6);
    device.tell_state();
    for page in &pages {
        web::put_figures(&mut device, page);
    }
    if device.state != State::Hashing && !device.faults.is_empty() {
        device.state = State::Fault;
    }
    device.put(&mut reading, show);
    Ok(reading)
}

/// `STATS0` to `STATS9` and `POOL0` to `POOL9`, put into the lists that others have.
fn join_numbered(sections: &mut Sections) {
    let numbered = |name: &str, word: &str| {
        let number = name.strip_prefix(word);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut stats = Vec::new();
    for (name, items) in &mut sections.others {
        if numbered(name, "STATS") {
            stats.append(items);
        } else if numbered(name, "POOL") {
            sections.pools.append(items);
        }
    }
    if !stats.is_empty() {
        sections.others.push(("STATS".to_string(), stats));
    }
}

/// Model and version from `innominer a9-1.1.0`; another program says neither.
fn put_program(device: &mut Device, description: &str) {
    let Some((program, rest)) = description.split_once(' ') else { return };
    if !program.eq_ignore_ascii_case(PROGRAM) {
        device.firmware_version = description.to_string();
        return;
    }
    match rest.split_once('-') {
        Some((model, version)) => {
            device.model = model.to_ascii_uppercase();
            device.firmware_version = version.to_string();
        }
        None => device.firmware_version = rest.to_string(),
    }
}

/// One chain of `stats`: chips, sensors, clock and voltage of a board that `devs` has, or of one that it has not.
fn put_chain(device: &mut Device, stats: Fields<'_>, position: usize) {
    let Some(chips) = stats.number("Num chips") else { return };
    let name = stats.text("Chain ID").unwrap_or_else(|| position.to_string());
    let at = device.boards.iter().position(|board| board.name == name).unwrap_or_else(|| {
        device.boards.push(Board { name, ..Board::default() });
        device.boards.len() - 1
    });
    let board = &mut device.boards[at];
    board.chips = stats.number("Num active chips");
    board.chips_expected = Some(chips).filter(|chips| *chips > 0.0);
    if board.up.is_none() || stats.flag("Disabled") == Some(true) {
        board.up = Some(board.chips.is_some_and(|chips| chips > 0.0) && stats.flag("Disabled") != Some(true));
    }
    let hottest = ["Temp max", "Temp"].iter().find_map(|key| stats.temperature(key));
    if let Some(celsius) = hottest {
        // The sensors sit in the chips.
        board.temperatures = vec![Sensor { place: "chip", celsius }];
    }
    board.frequency = Clock { set: None, actual: stats.nonzero("PLL").map(|megahertz| megahertz * 1e6) };
    board.voltage = stats.nonzero("Voltage Avg").map(|millivolts| millivolts / 1e3);
    if device.fans.is_empty() {
        device.fans.extend(stats.number("Fan duty").map(all_fans));
    }
}

/// All fans turn alike, and how fast is not told.
fn all_fans(percent: f64) -> Fan {
    Fan { name: "all".to_string(), duty: Some(percent / 100.0), ..Fan::default() }
}

/// What a model counts as one of its "mega" hashes: an A9 counts solutions, an A8 thousands of hashes.
fn unit(model: &str) -> f64 {
    match model.trim_start_matches("Innosilicon").trim().to_ascii_uppercase() {
        model if model.starts_with("A9") || model.starts_with("B29") => 1.0,
        model if model.starts_with("A8") => 1e3,
        _ => 1e6,
    }
}

/// Sets right what was read as MH/s.
fn rescale(device: &mut Device, factor: f64) {
    for rate in [&mut device.hashrate, &mut device.hashes] {
        *rate = rate.map(|rate| (rate * factor).round());
    }
    for (_, rate) in &mut device.averages {
        *rate = (*rate * factor).round();
    }
    for board in &mut device.boards {
        board.hashrate = board.hashrate.map(|rate| (rate * factor).round());
    }
}
