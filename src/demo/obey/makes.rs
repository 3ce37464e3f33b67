//! What LuxOS, Marathon's firmware, Innosilicon and FutureBit machines do when they are told something.

use serde_json::{Value, json};

use super::super::device::Device;
use super::super::talk::Answer;
use super::{said, status};

/// The id of every session of LuxOS.
const SESSION: &str = "demoSess";

/// One session at a time, whose id is the first parameter of everything that changes something.
pub fn luxos(device: &Device, name: &str) -> Option<Answer> {
    let (command, parameter) = name.split_once(' ').unwrap_or((name, ""));
    let session = device.told("session");
    match (command, &session) {
        ("logon", Some(_)) => return status("E", "Another session is active"),
        ("logon", None) => {
            device.tell("session", Some(SESSION.to_string()));
            let head = [json!({"STATUS": "S", "When": 0, "Code": 316, "Msg": "Session created", "Description": "sim"})];
            return said(&json!({"STATUS": head, "SESSION": [{"SessionID": SESSION}], "id": 1}));
        }
        ("logoff" | "curtail" | "rebootdevice", _) => {}
        _ => return None,
    }
    let (id, argument) = parameter.split_once(',').unwrap_or((parameter, ""));
    if session.as_deref() != Some(id) {
        return status("E", "Invalid session");
    }
    match (command, argument) {
        ("logoff", _) => device.tell("session", None),
        ("curtail", "sleep") => device.set_paused(true),
        ("curtail", "wakeup") => device.set_paused(false),
        ("rebootdevice", _) => {
            device.tell("session", None);
            device.restart();
        }
        _ => return status("E", "Invalid parameter"),
    }
    status("S", "OK")
}

/// Settings are taken as a whole.
pub fn marathon(device: &Device, name: &str, body: &Value) -> Option<Answer> {
    match name {
        "POST /kaonsu/v1/miner_config" => {
            let mode = body["mode"]["work-mode-selector"].as_str().filter(|_| body["pools"].is_array());
            let Some(mode) = mode else { return said(&json!({"error": true, "msg": "not whole"})) };
            device.set_paused(mode == "Sleep");
            let watts = body["mode"]["concorde"]["power-target"].as_u64();
            device.tell("limit", watts.map(|watts| watts.to_string()));
        }
        "POST /kaonsu/v1/maintenance" => device.restart(),
        "POST /kaonsu/v1/locate_miner" => {
            device.tell("light", (body["blinking"] == true).then(|| "on".to_string()));
        }
        _ => return None,
    }
    said(&json!({ "error": false }))
}

/// Its buttons.
pub fn innosilicon(device: &Device, name: &str) -> Option<Answer> {
    if !matches!(name, "POST /api/restartCgMiner" | "POST /api/reboot") {
        return None;
    }
    device.restart();
    said(&json!({ "success": true }))
}

/// A version that knows no mutations.
pub fn futurebit(device: &Device, body: &Value) -> Option<Answer> {
    let query = body["query"].as_str()?;
    if query.starts_with("mutation") {
        let error = json!({"message": "Cannot query field", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}});
        return Some(Answer::new(400, &json!({ "errors": [error] }).to_string()));
    }
    let (module, action) = query.strip_prefix("query{")?.split_once('{')?;
    let action = action.split('{').next().unwrap_or_default();
    match action {
        "stop" => device.set_paused(true),
        "start" => device.set_paused(false),
        "restart" | "reboot" => device.restart(),
        _ => return None,
    }
    said(&json!({"data": { module: { action: {"error": null} } }}))
}
