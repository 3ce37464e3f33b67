//! `goldshell`: Goldshell machines over cgminer's API, with the pages of their web interface for model and firmware.
//!
//! Boards have their own words (`tstemp-0`, `clock`, `fan0`), and each repeats the fans of the whole device. The pages
//! need a token on some firmware: `GET /user/login` with the password in the clear gives one. Source: the recorded
//! replies, and for the login and `/mcb/setting` public clients.

mod commands;
mod plans;

use std::time::Duration;

use serde_json::Value;

use super::ask::{Asker, BY_STATUS, Flow, How, LoginRequest, Question};
use super::cgminer::sections;
use super::device::{self, Device, Fan, Sensor, Show, State};
use super::documents::Sections;
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::repair;
use super::values::Fields;
use crate::collect::http::Answer;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

use plans::Plans;

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "goldshell",
    summary: "Goldshell machines (TCP API and HTTP)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by the status page of its control board.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| clue.word("/model").starts_with("Goldshell") && clue.holds(&["/firmware"]),
};

const OPTIONS: &[OptionDoc] =
    &[options::POOL_USER_DOC, options::USERNAME_DOC, options::PASSWORD_DOC, options::WEB_PORT_DOC, options::TLS_DOC];

const COMMANDS: &[Question] = &[
    Question::needed(How::Rpc("devs")),
    Question::useful(How::Rpc("summary")),
    Question::useful(How::Rpc("pools")),
    Question::seldom(How::Rpc("devdetails"), 240),
];
const PAGES: &[Question] = &[Question::seldom(How::Get("/mcb/status"), 240), Question::seldom(How::Get(SETTING), 20)];

/// The page of settings, with the power plan that is chosen.
const SETTING: &str = "/mcb/setting";

/// Fans that are read at most.
const FANS: usize = 8;

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let auth = options.login(LOGIN, "admin");
    Ok(Box::new(Asker::rpc(target, 4028, COMMANDS, &options, parse)?.and_web(
        options.web_port(),
        auth,
        PAGES,
        &options,
    )?))
}

const LOGIN: Flow = Flow {
    request: |user, password| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("username", user).append_pair("password", password).append_pair("cipher", "false");
        LoginRequest { method: "GET", path: format!("/user/login?{}", query.finish()), content: "", body: None }
    },
    token: |answer: &Answer| {
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(answer.get("JWT Token")?.as_str()?.to_string())
    },
    header: ("authorization", "Bearer "),
    refuses: BY_STATUS,
};

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let (commands, pages): (Vec<Reply>, Vec<Reply>) = replies.iter().cloned().partition(|reply| reply.status.is_none());
    let mut sections = Sections::read(&commands);
    if !sections.measured() {
        return Err(sections.refused(replies, "DEVS, SUMMARY or POOLS"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = Device { address: address.to_string(), protocol: "cgminer", ..Device::default() };
    device.make = "Goldshell".to_string();
    device.firmware = "stock".to_string();
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        sections::put_summary(&mut device, summary);
    }
    put_boards(&mut device, &sections);
    sections::put_pools(&mut device, &sections);
    // A dump of everything in one document holds the status page as a part of it.
    for reply in commands.iter().chain(pages.iter().filter(|page| page.status == Some(200))) {
        let Ok(page) = repair::read(&reply.body) else { continue };
        let rests = Plans::read(&page.value).is_some_and(|plans| plans.rests());
        if rests && device.hashrate.is_none_or(|rate| rate == 0.0) {
            device.state = State::Sleeping;
        }
        let Some(page) = Fields::of(&page.value) else { continue };
        put_page(&mut device, page.object("status").unwrap_or(page));
    }
    device.put(&mut reading, show);
    Ok(reading)
}

fn put_boards(device: &mut Device, sections: &Sections) {
    sections::put_boards(device, &sections.devs);
    let devs = sections.devs.iter().filter_map(Fields::of);
    for (board, dev) in device.boards.iter_mut().zip(devs.clone()) {
        board.frequency.actual = dev.nonzero("clock").map(|megahertz| megahertz * 1e6).or(board.frequency.actual);
        board.voltage = dev.nonzero("voltage").map(|millivolts| millivolts / 1e3);
        let chip = ["tstemp-0", "tstemp-1"].iter().filter_map(|key| dev.temperature(key)).max_by(f64::total_cmp);
        for (place, celsius) in [("chip", chip), ("board", dev.temperature("tstemp-2"))] {
            board.temperatures.extend(celsius.map(|celsius| Sensor { place, celsius }));
        }
        let details = sections.list("DEVDETAILS").iter().filter_map(Fields::of);
        let mut own = details.filter(|details| details.text("ID").as_deref() == Some(&*board.name));
        board.chips = own.find_map(|details| details.nonzero("chips-nr"));
    }
    if device.hashrate.is_none() {
        device.hashrate = device.boards.iter().filter_map(|board| board.hashrate).reduce(|sum, one| sum + one);
        device.tell_state();
    }
    // The boards were asked one after the other: the slowest reading of a fan is kept.
    for index in 0..FANS {
        let readings = devs.clone().filter_map(|dev| dev.number(&format!("fan{index}")));
        let slowest = readings.min_by(f64::total_cmp);
        device.fans.extend(slowest.map(|rpm| Fan { name: index.to_string(), rpm: Some(rpm), ..Fan::default() }));
    }
}

/// The status page has model and firmware, the page of settings the MAC address as the device's name.
fn put_page(device: &mut Device, page: Fields<'_>) {
    if let Some(model) = page.text("model") {
        device.model = model.trim_start_matches("Goldshell-").to_string();
        device.firmware_version = page.text("firmware").unwrap_or_default();
    }
    let is_mac = |name: &String| name.len() == 17 && name.matches(':').count() == 5;
    if let Some(mac) = page.text("name").filter(is_mac) {
        device.mac = mac;
    }
}
