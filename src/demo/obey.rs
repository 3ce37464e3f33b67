//! What the simulated families do when they are told something, behind their gates. Those that are not here answer their
//! questions and nothing else.

use serde_json::{Value, json};

use super::device::Device;
use super::family::{Family, Wire};
use super::talk::{Answer, Request};

/// The answer to what changes the device; `None` for everything else.
pub fn obey(family: &Family, device: &Device, wire: Wire, request: &Request) -> Option<Answer> {
    let name = request.name();
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    match (family.kind, wire) {
        ("auradine", Wire::Http) => auradine(device, &name, &body),
        ("elphapex" | "hammer", Wire::Http) => cgi(device, &name, &body),
        ("goldshell", Wire::Http) => goldshell(device, &name, &body),
        ("proto", _) => proto(device, &name, &body),
        ("iceriver", _) => iceriver(device, &name),
        ("sealminer", Wire::Rpc) => sealminer(device, &name),
        ("sealminer", Wire::Http) => seal_pages(device, &name, &body),
        ("braiins_rpc", _) => braiins_rpc(device, &name),
        ("braiins_graphql", _) => graphql(family, device, &name, &request.body),
        ("xmrig", _) => xmrig(device, &name, &body),
        _ => None,
    }
}

fn said(body: &Value) -> Option<Answer> {
    Some(Answer::new(200, &body.to_string()))
}

/// An answer of cgminer's API.
fn status(letter: &str, text: &str) -> Option<Answer> {
    said(&json!({"STATUS": [{"STATUS": letter, "When": 0, "Code": 119, "Msg": text, "Description": "sim"}], "id": 1}))
}

fn auradine(device: &Device, name: &str, body: &Value) -> Option<Answer> {
    let command = name.strip_prefix("POST /")?;
    if body["command"] != command {
        return status("E", "Invalid command");
    }
    match command {
        "restart" => device.restart(),
        "mode" => match (body["sleep"].as_str(), body["mode"].as_str()) {
            (Some(sleep), _) => device.set_paused(sleep == "on"),
            (None, Some("custom")) if body["tune"] == "power" => {
                device.tell("mode", None);
                device.tell("limit", body["power"].as_u64().map(|watts| watts.to_string()));
            }
            (None, Some(mode @ ("eco" | "normal" | "turbo"))) => device.tell("mode", Some(mode.to_string())),
            _ => return status("E", "Invalid mode"),
        },
        "fan" if body["percentage"] == "auto" => {
            device.hold_fan(None);
            device.tell("target", None);
        }
        "fan" => {
            let speed = body["percentage"].as_u64()?;
            device.hold_fan(Some(speed as f64));
            device.tell("target", Some((speed * 77).to_string()));
        }
        "led" => device.tell("light", (body["code"] == 3).then(|| "on".to_string())),
        _ => return status("E", "Invalid command"),
    }
    status("S", "OK")
}

/// The pages that Elphapex and Hammer have kept of Antminer's web interface.
fn cgi(device: &Device, name: &str, body: &Value) -> Option<Answer> {
    match name {
        "GET /cgi-bin/reboot.cgi" => {
            device.restart();
            said(&json!({"stats": "success", "code": "M000", "msg": "OK!"}))
        }
        "POST /cgi-bin/blink.cgi" => {
            let on = body["blink"] == "true";
            device.tell("light", on.then(|| "on".to_string()));
            said(&json!({ "code": if on { "B000" } else { "B100" } }))
        }
        "POST /cgi-bin/set_miner_conf.cgi" => {
            let mode = body["miner-mode"].as_u64().filter(|_| body["pools"].is_array());
            let Some(mode) = mode else {
                return said(&json!({"stats": "error", "code": "M001", "msg": "Illegal request!"}));
            };
            device.tell("mode", Some(mode.to_string()));
            device.set_paused(mode == 1);
            said(&json!({"stats": "success", "code": "M000", "msg": "OK!"}))
        }
        _ => None,
    }
}

fn goldshell(device: &Device, name: &str, body: &Value) -> Option<Answer> {
    match name {
        "PUT /mcb/restart" => device.restart(),
        "PUT /mcb/setting" => {
            let level = body["select"].as_u64().filter(|_| body["powerplans"].is_array())?;
            device.tell("mode", Some(level.to_string()));
            device.set_paused(level == 3);
        }
        _ => return None,
    }
    said(&json!({ "success": true }))
}

fn proto(device: &Device, name: &str, body: &Value) -> Option<Answer> {
    match name {
        "POST /api/v1/mining/stop" => device.set_paused(true),
        "POST /api/v1/mining/start" => device.set_paused(false),
        "POST /api/v1/system/reboot" => device.restart(),
        "POST /api/v1/system/locate?led_on_time=30" => device.tell("light", Some("on".to_string())),
        "PUT /api/v1/mining/target" => {
            let watts = body["power_target_watts"].as_u64();
            device.tell("limit", watts.map(|watts| watts.to_string()));
        }
        "PUT /api/v1/cooling" => {
            device.hold_fan(body["speed_percentage"].as_f64().filter(|_| body["mode"] == "Manual"));
        }
        _ => return None,
    }
    said(&json!({ "message": "OK" }))
}

fn iceriver(device: &Device, name: &str) -> Option<Answer> {
    let locate = name.strip_prefix("POST /user/userpanel?post=5&locate=")?;
    device.tell("light", (locate == "1").then(|| "on".to_string()));
    said(&json!({"error": 0, "message": ""}))
}

/// Over cgminer's API. A limit comes into force with a restart of the device.
fn sealminer(device: &Device, name: &str) -> Option<Answer> {
    if let Some(limit) = name.strip_prefix("ascset 0,powerlimit,") {
        let limit: Value = serde_json::from_str(limit).ok()?;
        device.tell("limit next", limit["value"].as_str().map(str::to_string));
        return status("S", "ASC 0 set OK");
    }
    match name {
        "ascset 0,suspend" => device.set_paused(true),
        "restart" => {
            device.set_paused(false);
            device.restart();
            return Some(Answer::new(200, "RESTART"));
        }
        _ => return None,
    }
    status("S", "ASC 0 set OK")
}

fn seal_pages(device: &Device, name: &str, body: &Value) -> Option<Answer> {
    match name {
        "GET /cgi-bin/reboot.php" => {
            if let Some(limit) = device.told("limit next") {
                device.tell("limit", Some(limit));
            }
            device.set_paused(false);
            device.restart();
        }
        "POST /cgi-bin/led_conf.php" => device.tell("light", (body["value"] == "on").then(|| "on".to_string())),
        _ => return None,
    }
    said(&json!({ "result": "success" }))
}

fn braiins_rpc(device: &Device, name: &str) -> Option<Answer> {
    match name {
        "pause" => device.set_paused(true),
        "resume" => device.set_paused(false),
        "devdetails" | "devs" | "temps" if device.is_paused() => return status("E", "Unavailable"),
        _ => return None,
    }
    status("S", "OK")
}

/// What is asked of a miner that is stopped is null, with a reason.
fn graphql(family: &Family, device: &Device, name: &str, body: &str) -> Option<Answer> {
    if body.contains("mutation{bosminer{") {
        let done = |what: &str| said(&json!({"data": {"bosminer": { what: {"void": "void"} }}}));
        if let Some((_, watts)) = body.split_once("powerTarget:") {
            device.tell("limit", watts.split('}').next().map(str::to_string));
            let result = json!({ "updateAutotuning": {"__typename": "AutotuningOut"} });
            return said(&json!({"data": {"bosminer": { "config": result }}}));
        }
        let stop = body.contains("{stop{");
        device.set_paused(stop);
        return done(if stop { "stop" } else { "start" });
    }
    let page = family.reply(device, name, body).filter(|_| device.is_paused())?;
    let mut page: Value = serde_json::from_str(&page).ok()?;
    page["data"]["bosminer"] = Value::Null;
    page["errors"] = json!([{"message": "Service unavailable", "extensions": {"code": "UNAVAILABLE"}}]);
    said(&page)
}

fn xmrig(device: &Device, name: &str, body: &Value) -> Option<Answer> {
    if name != "POST /json_rpc" {
        return None;
    }
    match body["method"].as_str() {
        Some("pause") => device.set_paused(true),
        Some("resume") => device.set_paused(false),
        _ => {
            return said(&json!({"id": 1, "jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}}));
        }
    }
    said(&json!({"id": 1, "jsonrpc": "2.0", "error": null, "result": {"status": "OK"}}))
}
