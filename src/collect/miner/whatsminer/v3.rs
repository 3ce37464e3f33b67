//! API 3: hyphenated keys, hash rates in TH/s, everything under `msg`.

use serde_json::Value;

use super::super::device::{Board, Clock, Device, PowerSource, Sensor, Show};
use super::super::pools::{self, Pool};
use super::super::repair;
use super::super::values::Fields;
use crate::collect::{ParseError, Reply};
use crate::model::Reading;

/// Boards and pools that are read at most.
const PARTS: usize = 16;

/// Turns the replies of one poll into samples.
pub fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut device = Device { address: address.to_string(), protocol: "whatsminer", ..Device::default() };
    device.make = "MicroBT".to_string();
    device.firmware = "stock".to_string();
    let mut parts = Parts::default();
    let mut refusal = None;
    for reply in replies {
        match parts.add(reply, &mut device) {
            Ok(notes) => reading.notes.extend(notes),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    if !parts.read {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        return Err(refusal.unwrap_or(ParseError::Malformed { request, reason: "no reply".to_string() }));
    }
    reading.notes.extend(refusal.map(|error| error.to_string()));
    device.fans = super::fans(parts.fans[0], parts.fans[1], parts.fans[2]);
    device.state = super::state(device.hashrate, device.uptime, parts.working.map(|working| !working));
    for (index, serial) in parts.serials.into_iter().enumerate() {
        let name = index.to_string();
        if let Some(board) = device.boards.iter_mut().find(|board| board.name == name) {
            board.serial = serial;
        }
    }
    device.put(&mut reading, show);
    Ok(reading)
}

/// What several replies say together.
#[derive(Default)]
struct Parts {
    read: bool,
    working: Option<bool>,
    fans: [Option<f64>; 3],
    serials: Vec<String>,
}

impl Parts {
    fn add(&mut self, reply: &Reply, device: &mut Device) -> Result<Vec<String>, ParseError> {
        let request = reply.request.clone();
        let malformed = |reason: String| ParseError::Malformed { request: request.clone(), reason };
        let page = repair::read(&reply.body).map_err(|error| malformed(error.to_string()))?;
        let Some(root) = Fields::of(&page.value) else { return Err(malformed("not a JSON object".to_string())) };
        let Some(message) = root.object("msg") else {
            let code = root.number("code").unwrap_or_default();
            let said = root.text("msg").unwrap_or_else(|| "no \"msg\"".to_string());
            return Err(malformed(format!("refused with code {code}: {said}")));
        };
        let mut known = false;
        if let Some(summary) = message.object("summary") {
            self.put_summary(device, summary);
            known = true;
        }
        if message.get(&["edevs"]).is_some() {
            device.boards = message.objects("edevs").take(PARTS).enumerate().map(|(at, dev)| board(dev, at)).collect();
            known = true;
        }
        if message.get(&["pools"]).is_some() {
            put_pools(device, message);
            known = true;
        }
        if message.object("miner").or_else(|| message.object("system")).is_some() {
            self.put_info(device, message);
            known = true;
        }
        if !known {
            return Err(malformed("neither summary, edevs, pools nor information about the device".to_string()));
        }
        self.read = true;
        Ok(page.notes.iter().map(|note| format!("{request}: {note}")).collect())
    }

    fn put_summary(&mut self, device: &mut Device, summary: Fields<'_>) {
        let rate = |key: &str| summary.number(key).map(|terahashes| terahashes * 1e12);
        device.hashrate = rate("hash-realtime");
        for (key, window) in [("hash-1min", "1m"), ("hash-15min", "15m"), ("hash-average", "lifetime")] {
            device.averages.extend(rate(key).map(|average| (window, average)));
        }
        device.expected = rate("factory-hash").filter(|rate| *rate > 0.0);
        device.uptime = summary.number_of(&["elapsed", "bootup-time"]);
        device.power = summary.nonzero("power-realtime").map(|watts| (watts, PowerSource::Measured));
        device.power_limit = summary.nonzero("power-limit");
        let ambient = summary.temperature("environment-temperature");
        device.temperatures.extend(ambient.map(|celsius| Sensor { place: "ambient", celsius }));
        device.frequency.actual = summary.nonzero("freq-avg").map(|megahertz| megahertz * 1e6);
        self.fans[0] = summary.number("fan-speed-in");
        self.fans[1] = summary.number("fan-speed-out");
    }

    fn put_info(&mut self, device: &mut Device, message: Fields<'_>) {
        if let Some(miner) = message.object("miner") {
            device.model = miner.text("type").unwrap_or_default();
            device.serial = miner.text("miner-sn").unwrap_or_default();
            device.boards_expected = miner.nonzero("board-num");
            self.working = miner.flag("working");
            self.serials = (0..PARTS).map_while(|index| miner.text(&format!("pcbsn{index}"))).collect();
        }
        if let Some(network) = message.object("network") {
            device.mac = network.text("mac").unwrap_or_default();
            device.hostname = network.text("hostname").unwrap_or_default();
        }
        device.firmware_version =
            message.object("system").and_then(|system| system.text("fwversion")).unwrap_or_default();
        self.fans[2] = message.object("power").and_then(|power| power.number("fanspeed"));
        for error in message.get(&["error-code"]).and_then(Value::as_array).into_iter().flatten() {
            let code = error.as_object().and_then(|map| map.keys().find(|key| key.parse::<u32>().is_ok()));
            device.faults.extend(code.map(|code| (code.clone(), String::new())));
        }
    }
}

fn board(dev: Fields<'_>, position: usize) -> Board {
    let chip = dev.temperature("chip-temp-max").map(|celsius| Sensor { place: "chip", celsius });
    Board {
        name: dev.number("id").map_or(position, |id| id as usize).to_string(),
        up: dev.text("status").map(|status| status.eq_ignore_ascii_case("alive")),
        hashrate: dev.number("hash-realtime").map(|terahashes| terahashes * 1e12),
        chips: dev.number("effective-chips"),
        temperatures: chip.into_iter().collect(),
        frequency: Clock { set: None, actual: dev.nonzero("freq").map(|megahertz| megahertz * 1e6) },
        ..Board::default()
    }
}

fn put_pools(device: &mut Device, message: Fields<'_>) {
    for (at, fields) in message.objects("pools").take(PARTS).enumerate() {
        let url = fields.text("url").unwrap_or_default();
        device.pools.push(Pool {
            slot: fields
                .number("pool-priority")
                .filter(|slot| (0.0..1e3).contains(slot))
                .map_or(at, |slot| slot as usize),
            protocol: pools::protocol(&url).to_string(),
            url: pools::pool_url(&url, None),
            user: fields.text("account").unwrap_or_default(),
            up: fields.text("status").map(|status| status.eq_ignore_ascii_case("alive")),
            active: fields.flag("stratum-active"),
            ..Pool::default()
        });
    }
    let any_active = device.pools.iter().any(|pool| pool.active == Some(true));
    let first = device.pools.iter().min_by_key(|pool| pool.slot);
    device.on_fallback = first.filter(|_| any_active).map(|pool| pool.active == Some(false));
}
