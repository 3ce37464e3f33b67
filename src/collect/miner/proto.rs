//! `proto`: Proto Rigs with ProtoOS over their REST API (`/api/v1/…`).
//!
//! Keys have hyphens, telemetry carries its units beside the values. With a password a login gives a bearer token.
//! Source: the recorded replies of the maker's simulator; the words of states and the errors from public clients.

mod commands;

use std::time::Duration;

use serde_json::Value;

use super::ask::{Asker, BY_STATUS, Flow, How, LoginRequest, Question};
use super::device::{self, Board, Device, Fan, PowerSource, Sensor, Show, State};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::pools::{self, Pool};
use super::repair;
use super::values::Fields;
use crate::collect::http::Answer;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "proto",
    summary: "Proto Rig with ProtoOS (REST)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 80",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by its page of facts.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Http,
    port: 80,
    bears: |clue| clue.word("/system-info/os/name") == "ProtoOS" || clue.word("/system-info/manufacturer") == "Proto",
};

const OPTIONS: &[OptionDoc] = &[options::POOL_USER_DOC, options::PASSWORD_DOC, options::TLS_DOC];

/// What the hardware is stands before the telemetry, so that boards are known by their slot.
const QUESTIONS: &[Question] = &[
    Question::seldom(How::Get("/api/v1/hardware"), 240),
    Question::needed(How::Get("/api/v1/mining")),
    Question::useful(How::Get("/api/v1/telemetry?level=miner,hashboard,psu")),
    Question::useful(How::Get("/api/v1/cooling")),
    Question::useful(How::Get("/api/v1/pools")),
    Question::useful(How::Get("/api/v1/errors")),
    Question::seldom(How::Get("/api/v1/system"), 240),
    Question::seldom(How::Get("/api/v1/network"), 240),
];

/// Boards, fans and pools that are read at most.
const PARTS: usize = 32;

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let auth = options.login(LOGIN, "");
    Ok(Box::new(Asker::web(target, 80, auth, QUESTIONS, &options, parse)?))
}

/// One password and no user.
const LOGIN: Flow = Flow {
    request: |_, password| LoginRequest {
        method: "POST",
        path: "/api/v1/auth/login".to_string(),
        content: "application/json",
        body: Some(serde_json::json!({ "password": password }).to_string()),
    },
    token: |answer: &Answer| {
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(answer.get("access_token")?.as_str()?.to_string())
    },
    header: ("authorization", "Bearer "),
    refuses: BY_STATUS,
};

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut device = Device { address: address.to_string(), protocol: "http", ..Device::default() };
    device.make = "Proto".to_string();
    device.firmware = "ProtoOS".to_string();
    device.algorithm = "sha256d".to_string();
    let mut read = false;
    for reply in replies.iter().filter(|reply| reply.status.is_none_or(|status| status == 200)) {
        match repair::read(&reply.body) {
            Ok(page) => read |= put_page(&mut device, &page.value),
            Err(error) => reading.notes.push(format!("{}: {error}", reply.request)),
        }
    }
    if !read {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        let reason = "no mining status, hardware, telemetry, cooling, pools, errors or identity in it".to_string();
        return Err(ParseError::Malformed { request, reason });
    }
    device.put(&mut reading, show);
    Ok(reading)
}

/// Told by what is in it; says whether it was known.
fn put_page(device: &mut Device, page: &Value) -> bool {
    if let Some(errors) = page.as_array() {
        return put_errors(device, errors);
    }
    let Some(page) = Fields::of(page) else { return false };
    if let Some(hardware) = page.object("hardware-info") {
        put_hardware(device, hardware);
    } else if let Some(mining) = page.object("mining-status") {
        put_mining(device, mining);
    } else if page.get(&["hashboards", "miner", "psus"]).is_some() {
        put_telemetry(device, page);
    } else if let Some(cooling) = page.object("cooling-status") {
        for fan in cooling.objects("fans").take(PARTS) {
            let duty = fan.number("speed_percentage").map(|percent| percent / 100.0);
            let name = fan.text("slot").unwrap_or_default();
            device.fans.push(Fan { name, role: "", rpm: fan.number("rpm"), duty });
        }
    } else if page.get(&["pools"]).is_some() {
        put_pools(device, page);
    } else if let Some(system) = page.object("system-info") {
        let os = system.object("os");
        device.model = system.text_of(&["model", "product_name"]).unwrap_or_default();
        device.firmware_version = os.and_then(|os| os.text("version")).unwrap_or_default();
        device.hostname = os.and_then(|os| os.text("hostname")).unwrap_or_default();
        device.serial = system.text("cb_sn").unwrap_or_else(|| std::mem::take(&mut device.serial));
    } else if let Some(network) = page.object("network-info") {
        device.mac = network.text("mac").unwrap_or_default();
        device.hostname = network.text("hostname").unwrap_or_else(|| std::mem::take(&mut device.hostname));
    } else {
        return false;
    }
    true
}

fn put_hardware(device: &mut Device, hardware: Fields<'_>) {
    device.serial = hardware.object("cb-info").and_then(|board| board.text("serial_number")).unwrap_or_default();
    for fields in hardware.objects("hashboards-info").take(PARTS) {
        let Some(name) = fields.text("slot") else { continue };
        device.chip = fields.text("mining_asic").unwrap_or_else(|| std::mem::take(&mut device.chip));
        device.boards.push(Board {
            name,
            serial: fields.text("hb_sn").unwrap_or_default(),
            model: fields.text("board").unwrap_or_default(),
            chips_expected: fields.nonzero("mining_asic_count"),
            ..Board::default()
        });
    }
    device.boards_expected = Some(device.boards.len() as f64).filter(|count| *count > 0.0);
    device.fans_expected = Some(hardware.objects("fans-info").count() as f64).filter(|count| *count > 0.0);
}

fn put_mining(device: &mut Device, mining: Fields<'_>) {
    let rate = |key: &str| mining.number(key).map(|rate| rate * 1e9);
    device.hashrate = rate("hashrate_ghs");
    device.expected = rate("ideal_hashrate_ghs");
    device.uptime = mining.number_of(&["reboot_uptime_s", "mining_uptime_s"]);
    device.hardware_errors = mining.number("hw_errors");
    device.power = mining.number("power_usage_watts").map(|watts| (watts, PowerSource::Measured));
    device.power_limit = mining.nonzero("power_target_watts");
    device.boards_expected = device.boards_expected.or_else(|| mining.nonzero("hashboards_installed"));
    device.tell_state();
    device.state = match mining.text("status").unwrap_or_default().as_str() {
        "PoweringOn" | "Uninitialized" => State::Starting,
        "PoweringOff" | "Stopped" => State::Paused,
        "Error" => State::Fault,
        _ => device.state,
    };
}

/// A value that stands beside its unit.
fn value(fields: Fields<'_>, key: &str) -> Option<f64> {
    fields.object(key)?.number("value")
}

/// Boards are known by their serial number; without what the hardware said, the first has index 0 and slot 1.
fn put_telemetry(device: &mut Device, page: Fields<'_>) {
    for fields in page.objects("hashboards").take(PARTS) {
        let serial = fields.text("serial_number").unwrap_or_default();
        let known = device.boards.iter().position(|board| !serial.is_empty() && board.serial == serial);
        let at = known.or_else(|| {
            let name = (fields.number("index")? + 1.0).to_string();
            device.boards.push(Board { name, serial, ..Board::default() });
            Some(device.boards.len() - 1)
        });
        let Some(board) = at.and_then(|at| device.boards.get_mut(at)) else { continue };
        let rate = fields.object("hashrate");
        board.hashrate = rate.and_then(|rate| rate.rate("value", &rate.text("unit")?));
        let Some(degrees) = fields.object("temperature") else { continue };
        for (place, key) in [("board", "average"), ("inlet", "inlet"), ("outlet", "outlet")] {
            let celsius = degrees.temperature(key);
            board.temperatures.extend(celsius.map(|celsius| Sensor { place, celsius }));
        }
    }
    if let Some(whole) = page.object("miner") {
        let rate = whole.object("hashrate").and_then(|rate| rate.rate("value", &rate.text("unit")?));
        device.hashrate = device.hashrate.or(rate);
        device.power = device.power.or_else(|| Some((value(whole, "power")?, PowerSource::Measured)));
        if device.state == State::Unknown {
            device.tell_state();
        }
    }
    for supply in page.objects("psus").take(PARTS) {
        let celsius = supply.object("temperature").and_then(|degrees| degrees.temperature("hotspot"));
        device.temperatures.extend(celsius.map(|celsius| Sensor { place: "psu", celsius }));
    }
}

/// Which of several living pools is worked for is not said. The shares of the device are the sum.
fn put_pools(device: &mut Device, page: Fields<'_>) {
    for (position, fields) in page.objects("pools").take(PARTS).enumerate() {
        let url = fields.text("url").unwrap_or_default();
        let slot = fields.number("id").filter(|slot| (0.0..1e4).contains(slot));
        device.pools.push(Pool {
            slot: slot.map_or(position, |slot| slot as usize),
            protocol: pools::protocol(&url).to_string(),
            url: pools::pool_url(&url, None),
            user: fields.text("user").unwrap_or_default(),
            up: fields.text("status").map(|status| status != "Dead"),
            shares: [fields.number("accepted"), fields.number("rejected"), None],
            difficulty: fields.difficulty("difficulty").filter(|difficulty| *difficulty > 0.0),
            ..Pool::default()
        });
    }
    device.shares = pools::sum(&device.pools);
}

/// An empty list is good news.
fn put_errors(device: &mut Device, errors: &[Value]) -> bool {
    let errors: Vec<Fields<'_>> = errors.iter().filter_map(Fields::of).collect();
    for error in errors.iter().take(PARTS) {
        let slot = error.text("slot").map(|slot| format!(" {slot}")).unwrap_or_default();
        let component = format!("{}{slot}", error.text("source").unwrap_or_default());
        if let Some(code) = error.text_of(&["error_code", "message"]) {
            device.faults.push((code, component));
        }
    }
    errors.is_empty() || errors.iter().any(|error| error.get(&["error_code"]).is_some())
}
