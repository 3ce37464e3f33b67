//! `vnish`: VNish firmware 1.2 and 1.3 over its REST API (`GET /api/v1/summary`, seldom `/api/v1/info`).
//!
//! Reads are open; where a farm has locked them, the password unlocks (`POST /api/v1/unlock` gives a bearer token).
//! Traps: the unit of hash rates stands in `hr_measure` and may be "N/A"; 1.3 calls the chains boards; a 4xx with "miner
//! is not running" is a state, no failure. Source: the firmware's own API page (`/docs`) and public clients of it.

mod commands;

use std::time::Duration;

use serde_json::Value;

use super::ask::{Asker, Auth, BY_STATUS, Flow, How, Login, LoginRequest, Question};
use super::device::{self, Board, Clock, Device, Fan, PowerSource, Sensor, Show, State};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::pools::{self, Pool};
use super::repair;
use super::values::{Fields, rate_unit};
use crate::collect::http::Answer;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};
use crate::secret::SecretRef;

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "vnish",
    summary: "Antminer and others with VNish firmware 1.2 and later (REST)",
    subject: "miner",
    support: Support::Documented,
    default_address: "host, port 80",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by its page of facts, which is open. What it says over TCP is the stock firmware's.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Firmware,
    door: Door::Http,
    port: 80,
    bears: |clue| clue.word("/fw_name").to_ascii_lowercase().contains("vnish") || clue.page_says("AnthillOS"),
};

const OPTIONS: &[OptionDoc] = &[options::POOL_USER_DOC, options::PASSWORD_DOC, options::TLS_DOC];

const SUMMARY: &str = "/api/v1/summary";
const INFO: &str = "/api/v1/info";
/// Names the preset that is in force; 1.2 and later.
const PRESET: &str = "/api/v1/perf-summary";

const QUESTIONS: &[Question] = &[
    Question::needed(How::Get(SUMMARY)),
    Question::seldom(How::Get(INFO), 240),
    Question::seldom(How::Get(PRESET), 12),
];

/// Boards, fans and pools that are read at most.
const PARTS: usize = 32;

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let auth = match options.password.clone() {
        Some(password) => unlock(password),
        None => Auth::Open,
    };
    Ok(Box::new(Asker::web(target, 80, auth, QUESTIONS, &options, parse)?))
}

fn unlock(password: SecretRef) -> Auth {
    Auth::Login(Login::new(UNLOCK, "", password))
}

/// One password and no user.
const UNLOCK: Flow = Flow {
    request: |_, password| LoginRequest {
        method: "POST",
        path: "/api/v1/unlock".to_string(),
        content: "application/json",
        body: Some(serde_json::json!({ "pw": password }).to_string()),
    },
    token: |answer: &Answer| {
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(answer.get("token")?.as_str()?.to_string())
    },
    header: ("authorization", "Bearer "),
    refuses: BY_STATUS,
};

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut device = Device { address: address.to_string(), protocol: "http", ..Device::default() };
    device.firmware = "VNish".to_string();
    let mut read = false;
    for reply in replies {
        let malformed = |reason: String| ParseError::Malformed { request: reply.request.clone(), reason };
        let page = repair::read(&reply.body).map_err(|error| malformed(error.to_string()));
        let page = match page {
            Ok(page) => page.value,
            Err(_) if reply.request.ends_with(INFO) || reply.request.ends_with(PRESET) => continue,
            Err(error) => return Err(error),
        };
        let Some(fields) = Fields::of(&page) else { continue };
        if reply.request.ends_with(PRESET) {
            device.mode = fields.object("current_preset").and_then(|preset| preset.text("name"));
            continue;
        }
        if fields.text_of(&["fw_version", "fw_name"]).is_some() {
            put_info(&mut device, fields);
            continue;
        }
        match (fields.object("miner"), fields.text("err")) {
            (Some(miner), _) => put_miner(&mut device, miner),
            (None, Some(said)) if said.contains("not running") => device.state = State::Paused,
            // Stopped, some versions send no miner at all.
            (None, None) if fields.0.contains_key("miner") => device.state = State::Paused,
            (None, Some(said)) => return Err(malformed(format!("the firmware says {said:?}"))),
            (None, None) => return Err(malformed("no \"miner\" in it".to_string())),
        }
        read = true;
    }
    if !read {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        return Err(ParseError::Malformed { request, reason: "no summary".to_string() });
    }
    device.put(&mut reading, show);
    Ok(reading)
}

fn put_info(device: &mut Device, info: Fields<'_>) {
    device.firmware_version = info.text("fw_version").unwrap_or_default();
    device.serial = info.text("serial").unwrap_or_default();
    device.algorithm = info.text("algorithm").unwrap_or_default();
    if let Some(model) = info.text_of(&["miner", "miner_model", "model"]) {
        device.model = model;
    }
    let network = info.object("system").and_then(|system| system.object("network_status"));
    let network = network.or_else(|| info.object("network_status")).unwrap_or(info);
    device.mac = network.text("mac").unwrap_or_default();
    device.hostname = network.text("hostname").unwrap_or_default();
}

fn put_miner(device: &mut Device, miner: Fields<'_>) {
    if let Some(model) = miner.text("miner_type") {
        device.model = model;
    }
    // GH/s unless it says otherwise; "N/A" says nothing.
    let unit = miner.text("hr_measure").and_then(|unit| rate_unit(&unit)).unwrap_or(1e9);
    let rate = |fields: Fields<'_>, keys: &[&str]| Some(fields.number_of(keys)? * unit);
    device.hashrate = rate(miner, &["hr_realtime", "instant_hashrate"]);
    device.averages.extend(rate(miner, &["hr_average", "average_hashrate"]).map(|average| ("lifetime", average)));
    device.expected = rate(miner, &["hr_nominal", "hr_stock"]);
    // `power_usage` is watts in old versions and watts per terahash in new ones, so only the unmistakable one is read.
    device.power = miner.nonzero("power_consumption").map(|watts| (watts, PowerSource::Estimated));
    device.hardware_errors = miner.number("hw_errors");
    device.hash_error_ratio = miner.number("hw_errors_percent").map(|percent| percent / 100.0);
    device.best_session = miner.difficulty("best_share").filter(|best| *best > 0.0);
    device.blocks_found = miner.number("found_blocks");
    put_state(device, miner);
    put_cooling(device, miner);
    for key in ["chains", "boards"] {
        device.boards.extend(miner.objects(key).take(PARTS).enumerate().map(|(at, chain)| board(chain, at, unit)));
    }
    device.boards_expected = Some(device.boards.len() as f64).filter(|count| *count > 0.0);
    device.pools = miner.objects("pools").take(PARTS).enumerate().filter_map(|(at, fields)| pool(fields, at)).collect();
    // The pool of the developers' fee stands among the others, and is none of the owner's.
    let shares = |index: usize| device.pools.iter().map(|pool| pool.shares[index]).sum::<Option<f64>>();
    if !device.pools.is_empty() {
        device.shares = [shares(0), shares(1), shares(2)];
        let first = device.pools.iter().min_by_key(|pool| pool.slot);
        let any_active = device.pools.iter().any(|pool| pool.active == Some(true));
        device.on_fallback = first.filter(|_| any_active).map(|pool| pool.active == Some(false));
    }
}

fn put_state(device: &mut Device, miner: Fields<'_>) {
    let Some(status) = miner.object("miner_status") else { return device.tell_state() };
    // This is the age of the state, and while it mines that is all the uptime there is.
    device.uptime = status.number("miner_state_time");
    device.state = match status.text("miner_state").unwrap_or_default().to_ascii_lowercase().as_str() {
        "mining" => State::Hashing,
        "auto-tuning" | "tuning" => State::Tuning,
        "starting" | "initializing" | "restarting" => State::Starting,
        "stopped" | "shutting-down" | "stopping" => State::Paused,
        "failure" => State::Fault,
        _ => State::told_by(device.hashrate, device.uptime),
    };
    if device.state == State::Fault {
        let text = status.text_of(&["description", "failure_code"]).unwrap_or_else(|| "failure".to_string());
        device.faults.push((text, "miner".to_string()));
    }
}

fn put_cooling(device: &mut Device, miner: Fields<'_>) {
    let Some(cooling) = miner.object("cooling") else { return };
    device.fans_expected = cooling.nonzero("fan_num");
    let duty = cooling.number("fan_duty").map(|percent| percent / 100.0);
    for (at, fan) in cooling.objects("fans").take(PARTS).enumerate() {
        let name = fan.number("id").map_or(at, |id| id as usize).to_string();
        device.fans.push(Fan { name, role: "", rpm: fan.number("rpm"), duty });
    }
}

fn board(chain: Fields<'_>, position: usize, unit: f64) -> Board {
    let range = |key: &str, place: &'static str| {
        let celsius = chain.object(key)?.temperature("max")?;
        Some(Sensor { place, celsius })
    };
    let state = chain.object("status").and_then(|status| status.text("state"));
    let chips = chain.object("chip_statuses");
    let chips = chips.map(|chips| ["red", "orange", "grey", "green"].map(|colour| chips.number(colour).unwrap_or(0.0)));
    Board {
        name: chain.number("id").map_or(position, |id| id as usize).to_string(),
        serial: chain.text_of(&["serial", "board_serial"]).unwrap_or_default(),
        up: state.map(|state| !matches!(state.as_str(), "failure" | "disabled" | "stopped" | "disconnected")),
        hashrate: chain.number("hashrate_rt").map(|rate| rate * unit),
        // Grey chips do not answer.
        chips: chips.filter(|chips| chips[3] > 0.0).map(|chips| chips[0] + chips[1] + chips[3]),
        hardware_errors: chain.number("hw_errors"),
        temperatures: [range("pcb_temp", "board"), range("chip_temp", "chip")].into_iter().flatten().collect(),
        frequency: Clock { set: None, actual: chain.nonzero("frequency").map(|megahertz| megahertz * 1e6) },
        voltage: chain.nonzero("voltage").map(|millivolts| millivolts / 1e3),
        ..Board::default()
    }
}

fn pool(fields: Fields<'_>, position: usize) -> Option<Pool> {
    let url = fields.text("url")?;
    let status = fields.text("status").map(|status| status.to_ascii_lowercase());
    if fields.text("pool_type").is_some_and(|sort| sort.eq_ignore_ascii_case("devfee")) {
        return None;
    }
    let active = status.as_deref().map(|status| matches!(status, "working" | "active"));
    Some(Pool {
        slot: fields.number("id").filter(|slot| (0.0..1e3).contains(slot)).map_or(position, |slot| slot as usize),
        protocol: pools::protocol(&url).to_string(),
        url: pools::pool_url(&url, None),
        user: fields.text("user").unwrap_or_default(),
        up: status.as_deref().map(|status| !matches!(status, "offline" | "disabled" | "rejecting" | "dead")),
        active,
        priority: None,
        shares: ["accepted", "rejected", "stale"].map(|key| fields.number(key)),
        difficulty: fields.difficulty("diff").filter(|difficulty| *difficulty > 0.0),
        rtt: fields.nonzero("ping").map(|milliseconds| milliseconds / 1e3),
        last_share: None,
    })
}
