//! What the simulated AxeOS devices answer over HTTP.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};

use super::Model;
use super::device::{Device, mix};
use super::fault::Fault;
use super::kept;
use super::talk::{Answer, Request};

/// What an authenticator app reads off the display of a simulated NerdQAxe: the key of its one-time codes in base32.
pub const OTP_SECRET: &str = "MRQXM6LMMFWXALLEMVWW6LLLMV4Q";
/// The same as bytes.
const OTP_KEY: &[u8] = b"davylamp-demo-key";

/// The answer to one request.
pub fn reply(device: &Device, request: &Request) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default();
    let (new, nerd) = (device.model() == Model::Bitaxe, device.model() == Model::NerdQaxe);
    match (&*request.method, path) {
        ("GET", "/api/system/info") => Answer::new(200, &info(device).to_string()),
        ("GET", "/api/system/asic") if new || nerd => Answer::new(200, &asic(nerd).to_string()),
        ("GET", "/api/system/statistics") if new => Answer::new(200, &statistics(device).to_string()),
        ("GET", "/api/v2/dashboard") if nerd => {
            let error = u8::from(device.vitals().overheated);
            Answer::new(200, &json!({"system": {"shutdown": false, "boardError": error}}).to_string())
        }
        ("POST", "/api/system/restart") => {
            device.restart();
            device.set_paused(false);
            Answer::new(200, "System will restart shortly.")
        }
        ("POST", "/api/system/pause" | "/api/system/resume") if new => {
            device.set_paused(path.ends_with("pause"));
            Answer::new(200, "")
        }
        ("POST", "/api/system/shutdown") if nerd => {
            device.set_paused(true);
            Answer::new(200, "System will shutdown shortly.")
        }
        ("POST", "/api/otp/session") if nerd && takes(device, request.header("x-totp")) => {
            device.logged_in();
            Answer::new(200, &json!({"token": device.token(), "ttlMs": 130_000, "expiresAt": 0}).to_string())
        }
        ("POST", "/api/otp/session") if nerd => Answer::new(401, "Invalid TOTP"),
        ("PATCH", "/api/system") if nerd && request.header("x-otp-session") != Some(&*device.token()) => {
            Answer::new(401, "OTP/Session required")
        }
        ("PATCH", "/api/system") => match serde_json::from_str(&request.body) {
            Ok(settings) => {
                change(device, settings);
                Answer::new(200, "")
            }
            Err(_) => Answer::new(400, "Invalid JSON"),
        },
        _ => Answer::new(404, "<h1>404 Not Found</h1>"),
    }
}

/// Whether a one-time code is right and was not used before.
fn takes(device: &Device, code: Option<&str>) -> bool {
    let now = step();
    (now.saturating_sub(1)..=now + 1).any(|step| code == Some(&*code_of(step)) && device.spend(step))
}

/// What an authenticator app with [`OTP_SECRET`] shows now.
pub fn one_time_code() -> String {
    code_of(step())
}

fn step() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) / 30
}

/// RFC 6238.
fn code_of(step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, OTP_KEY);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let number = tag.as_ref()[at..at + 4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

fn change(device: &Device, mut settings: Map<String, Value>) {
    if matches!(device.fault(), Some((Fault::Stubborn, _))) {
        return;
    }
    let mut kept = device.kept();
    kept::set_axeos(&mut kept, &Value::Object(settings.clone()));
    device.keep(kept);
    let percent = settings.remove("manualFanSpeed").and_then(|percent| percent.as_f64());
    match settings.remove("autofanspeed").map(|auto| auto != json!(0)) {
        Some(true) => device.hold_fan(None),
        Some(false) => device.hold_fan(percent.or(Some(100.0))),
        None => {}
    }
    settings.retain(|key, _| key != "fanspeed" && !key.ends_with("Password"));
    device.set(settings);
}

/// The record of the last ten seconds, a row per second; the chip was hottest and the hash rate lowest five seconds ago.
fn statistics(device: &Device) -> Value {
    let v = device.vitals();
    let now = v.uptime.floor() * 1e3;
    let row = |back: u32| {
        let peak = if back == 5 { 9.0 } else { 0.0 };
        json!([
            round(v.hashrate - 50.0 * peak, 3),
            round(v.temperature + peak, 3),
            -1,
            round(v.temperature, 1),
            round(v.power + peak, 3),
            now - f64::from(back) * 1e3
        ])
    };
    let rows: Vec<Value> = (0..10).rev().map(row).collect();
    json!({"currentTimestamp": now, "labels": ["hashrate", "asicTemp", "asicTemp2", "vrTemp", "power", "timestamp"],
        "statistics": rows})
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// What all three have in common.
fn common(device: &Device) -> Value {
    let v = device.vitals();
    let kept = device.kept();
    let part = |slot: usize| {
        let url = kept.pools.get(slot).map(|pool| pool.url.trim_start_matches("stratum+tcp://").to_string());
        url.unwrap_or_default()
    };
    let host = |slot| part(slot).split(':').next().unwrap_or_default().to_string();
    let port = |slot| part(slot).rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or_default();
    let user = |slot: usize| kept.pools.get(slot).map(|pool| pool.user.clone()).unwrap_or_default();
    let volts = if device.model() == Model::NerdQaxe { 12.05 } else { 5.14 };
    json!({
        "power": round(v.power, 3),
        "voltage": volts * 1e3,
        "current": round(v.power / volts * 1e3, 1),
        "temp": round(v.temperature, 3),
        "vrTemp": round(v.temperature - 4.0, 1),
        "hashRate": round(v.hashrate, 3),
        "coreVoltage": kept.voltage,
        "coreVoltageActual": 1140 + (v.temperature as u64) % 7,
        "ssid": "demo",
        "macAddr": device.mac(),
        "hostname": device.hostname(),
        "wifiStatus": "Connected!",
        "sharesAccepted": v.accepted,
        "sharesRejected": v.rejected,
        "uptimeSeconds": v.uptime as u64,
        "smallCoreCount": 2040,
        "ASICModel": "BM1370",
        "stratumURL": host(0),
        "stratumPort": port(0),
        "stratumUser": user(0),
        "fallbackStratumURL": host(1),
        "fallbackStratumPort": port(1),
        "fallbackStratumUser": user(1),
        "fanrpm": v.fan_rpm.round(),
        "fanspeed": v.fan_percent.round(),
        "autofanspeed": u8::from(!v.fan_held),
        "freeHeap": 8_000_000 + mix(device.seed(), v.uptime as u64) % 90_000,
    })
}

fn info(device: &Device) -> Value {
    let v = device.vitals();
    let domains = [0.251, 0.249, 0.252, 0.248].map(|part| round(v.hashrate * part, 3));
    let mut info = common(device);
    let more = match device.model() {
        Model::BitaxeOld => json!({
            "version": "v2.4.0", "boardVersion": "601", "asicCount": 1, "frequency": device.kept().frequency,
            "bestDiff": "115M", "bestSessionDiff": "4.29M",
            "isUsingFallbackStratum": 0, "overheat_mode": u8::from(v.overheated), "temptarget": 60,
        }),
        Model::NerdQaxe => nerd(device),
        _ => json!({
            "version": "v2.12.0", "axeOSVersion": "v2.12.0", "boardVersion": "601", "frequency": device.kept().frequency,
            "actualFrequency": device.kept().frequency, "expectedHashrate": v.expected, "temp2": -1, "fan2rpm": 0,
            "hashRate_1m": round(v.hashrate * 0.998, 3), "hashRate_10m": round(v.hashrate * 1.001, 3),
            "hashRate_1h": round(v.expected * 0.99, 3), "errorPercentage": 0.31,
            "bestDiff": 115_377_214, "bestSessionDiff": 4_290_133, "poolDifficulty": 1000, "responseTime": 31.4,
            "isUsingFallbackStratum": 0, "overheat_mode": u8::from(v.overheated), "miningPaused": v.paused,
            "blockFound": 0, "blockHeight": 900_000, "networkDifficulty": 1.27e14, "maxPower": 40,
            "wifiRSSI": -52, "statsFrequency": 1, "freeHeapInternal": 151_000, "freeHeapSpiram": 7_900_000,
            "sharesRejectedReasons": [{"message": "Job not found", "count": v.rejected}],
            "hashrateMonitor": {"asics": [{"total": round(v.hashrate, 3), "errorCount": v.errors,
                "domains": domains}]},
        }),
    };
    if let (Value::Object(info), Value::Object(more)) = (&mut info, more) {
        info.extend(more);
        info.extend(device.settings());
    }
    info
}

fn nerd(device: &Device) -> Value {
    let v = device.vitals();
    let fans = json!([
        {"label": "M2", "rpm": v.fan_rpm.round(), "speedPerc": v.fan_percent.round(), "overheatTemp": 90},
        {"label": "M1", "rpm": (v.fan_rpm / 3.2).round(), "speedPerc": v.fan_percent.round(), "overheatTemp": 70},
    ]);
    let stratum = json!({"poolMode": 0, "activePoolMode": 0, "usingFallback": false, "pools": [{
        "connected": true, "poolDifficulty": 4687, "accepted": v.accepted, "rejected": v.rejected,
        "pingRtt": 16, "pingLoss": 0, "poolDiffErr": false, "bestDiff": 2_833_151_285_u64,
    }]});
    json!({
        "version": "V1.0.37.2-LTS", "deviceModel": "NerdQAxe++", "asicCount": 4, "frequency": device.kept().frequency,
        "currentA": round(v.power / 12.05, 4), "maxPower": 100, "vrTempInt": round(v.temperature + 3.0, 1),
        "hashRate_1m": round(v.hashrate, 3), "hashRate_10m": round(v.hashrate, 3),
        "hashRate_1h": round(v.expected * 0.99, 3), "hashRate_1d": round(v.expected * 0.99, 3),
        "bestDiff": 36_603_151_167_u64, "bestSessionDiff": 2_833_151_285_u64, "foundBlocks": 0, "totalFoundBlocks": 0,
        "networkDifficulty": 1.27e14, "poolDifficulty": 4687, "lastpingrtt": 16, "duplicateHWNonces": 0,
        "asicTemps": [0, 0, 0, 0], "fanCount": 2, "shutdown": v.paused, "overheat_temp": 90, "wifiRSSI": -44,
        "freeHeapInt": 95_068, "otp": true, "lastResetReason": "SYSTEM.RESET_SOFTWARE", "stratumTLS": true,
        "fans": fans,
        "stratum": stratum,
    })
}

fn asic(nerd: bool) -> Value {
    if nerd {
        return json!({
            "ASICModel": "BM1370", "deviceModel": "NerdQAxe++", "asicCount": 4, "swarmColor": "#11d51e",
            "defaultFrequency": 600, "defaultVoltage": 1150, "absMaxFrequency": 800, "absMaxVoltage": 1400,
            "frequencyOptions": [500, 515, 525, 550, 575, 590, 600], "voltageOptions": [1120, 1130, 1140, 1150, 1160],
        });
    }
    json!({
        "ASICModel": "BM1370", "deviceModel": "Gamma", "asicCount": 1, "swarmColor": "green",
        "defaultFrequency": 525, "frequencyOptions": [400, 490, 525, 550], "defaultVoltage": 1150,
        "voltageOptions": [1000, 1060, 1100, 1150, 1200],
    })
}
