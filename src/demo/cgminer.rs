//! What the simulated miners that speak cgminer's API answer to a command.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::Model;
use super::device::Device;

/// The clock of the simulated device, in seconds since the epoch.
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The reply to one command.
pub fn reply(device: &Device, request: &[u8]) -> String {
    let command = serde_json::from_slice::<Value>(request).ok();
    let command = command.as_ref().and_then(|request| request.get("command")?.as_str());
    let Some(command) = command else { return refusal(device, 23, "Invalid JSON").to_string() };
    if command == "restart" {
        device.restart();
        return json!({"STATUS": "RESTART", "id": 1}).to_string();
    }
    let combined = !matches!(device.model(), Model::CgminerOld);
    let document = if command.contains('+') && combined {
        let parts = command.split('+').take(8).map(|part| (part.to_string(), json!([document(device, part)])));
        let mut all: Map<String, Value> = parts.collect();
        all.insert("id".to_string(), json!(1));
        Value::Object(all)
    } else {
        document(device, command)
    };
    let text = document.to_string();
    if device.model() == Model::CgminerSloppy { sloppy(&text) } else { text }
}

/// What careless firmware makes of it.
fn sloppy(text: &str) -> String {
    text.replace("},{", "}{")
        .replace("\"MHS 15m\":0", "\"MHS 15m\":nan")
        .replace("}]", "},]")
        .replace("demo rig", "demo\nrig")
}

fn description(device: &Device) -> &'static str {
    match device.model() {
        Model::CgminerOld => "cgminer 2.11.4",
        Model::CgminerSloppy => "cgminer 4.9.0",
        Model::Bfgminer => "bfgminer 5.5.0",
        _ => "cgminer 4.11.1",
    }
}

fn status(device: &Device, letter: &str, code: u32, message: &str) -> Value {
    json!([{
        "STATUS": letter, "When": clock(), "Code": code, "Msg": message, "Description": description(device),
    }])
}

fn refusal(device: &Device, code: u32, message: &str) -> Value {
    json!({"STATUS": status(device, "E", code, message), "id": 1})
}

fn document(device: &Device, command: &str) -> Value {
    let (code, message, name, section) = match command {
        "summary" => (11, "Summary", "SUMMARY", json!([summary(device)])),
        "pools" => (7, "2 Pool(s)", "POOLS", pools(device)),
        "devs" => (9, "3 ASC(s)", "DEVS", devs(device)),
        "version" => (22, "CGMiner versions", "VERSION", json!([{"CGMiner": description(device), "API": "3.7"}])),
        _ => return refusal(device, 14, "Invalid command"),
    };
    let mut document = Map::new();
    document.insert("STATUS".to_string(), status(device, "S", code, message));
    document.insert(name.to_string(), section);
    document.insert("id".to_string(), json!(1));
    Value::Object(document)
}

/// The keys of the windows that each program offers, with MH/s as the unit.
fn rates(device: &Device, gigahashes: f64, lifetime: f64) -> Map<String, Value> {
    let (now, lifetime) = ((gigahashes * 1e6).round() / 1e3, (lifetime * 1e6).round() / 1e3);
    let rates = match device.model() {
        Model::CgminerOld => json!({"MHS av": lifetime}),
        Model::Bfgminer => json!({"MHS av": lifetime, "MHS 20s": now}),
        Model::CgminerSloppy => json!({"MHS av": lifetime, "GHS 5s": format!("{:.2}", now / 1e3), "MHS 15m": 0}),
        _ => json!({"MHS av": lifetime, "MHS 5s": now, "MHS 1m": now, "MHS 5m": now, "MHS 15m": lifetime}),
    };
    match rates {
        Value::Object(rates) => rates,
        _ => Map::new(),
    }
}

fn summary(device: &Device) -> Value {
    let v = device.vitals();
    let mut summary = rates(device, v.hashrate, v.expected * 0.98);
    let more = json!({
        "Elapsed": v.uptime as u64, "Found Blocks": 0, "Getworks": 7, "Accepted": v.accepted,
        "Rejected": v.rejected, "Hardware Errors": v.errors, "Utility": 24.1, "Discarded": 12, "Stale": v.rejected / 5,
        "Total MH": (v.uptime * v.expected * 980.0).round(), "Best Share": 8_134_077, "Device Hardware%": 0.0021,
        "Last getwork": clock(),
    });
    if let Value::Object(more) = more {
        summary.extend(more);
    }
    Value::Object(summary)
}

fn pools(device: &Device) -> Value {
    let v = device.vitals();
    let kept = device.kept();
    let pool = |(slot, pool): (usize, &super::Pool)| {
        let first = slot == 0;
        let share = |count: u64| if first { count } else { 0 };
        json!({
            "POOL": kept.numbers.get(slot).copied().unwrap_or(slot), "URL": pool.url, "Status": "Alive", "Priority": slot, "Accepted": share(v.accepted),
            "Rejected": share(v.rejected), "Stale": share(v.rejected / 5), "User": pool.user,
            "Last Share Time": if first { json!(clock() - 4) } else { json!("0") },
            "Diff": if first { "65.5K" } else { "" }, "Stratum Active": first, "Best Share": share(8_134_077),
        })
    };
    kept.pools.iter().enumerate().map(pool).collect()
}

fn devs(device: &Device) -> Value {
    let v = device.vitals();
    let (key, boards) = match device.model() {
        Model::CgminerOld => ("CPU", 2),
        Model::Bfgminer => ("PGA", 1),
        _ => ("ASC", 3),
    };
    let board = |index: u32| {
        let share = v.hashrate / f64::from(boards);
        let mut board = rates(device, share, share);
        if device.model() == Model::CgminerOld {
            board.insert("MHS 5s".to_string(), json!((share * 1e6).round() / 1e3));
        }
        board.insert(key.to_string(), json!(index));
        let temperature = v.temperature + f64::from(index);
        let more = json!({
            "Name": "SIM", "ID": index, "Enabled": "Y", "Status": "Alive", "Temperature": (temperature * 10.0).round() / 10.0,
            "Accepted": v.accepted / u64::from(boards), "Rejected": 0, "Hardware Errors": v.errors / u64::from(boards),
            "Frequency": 525.0, "Device Elapsed": v.uptime as u64,
        });
        if let Value::Object(more) = more {
            board.extend(more);
        }
        Value::Object(board)
    };
    (0..boards).map(board).collect()
}
