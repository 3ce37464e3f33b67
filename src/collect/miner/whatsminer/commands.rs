//! What a WhatsMiner can be told to do. The owner must have switched its write API on and changed the password that it
//! came with; neither is done here. Source: MicroBT's API documents 2.0.5 and 3.0.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::super::apply::{self, Hand, Job};
use super::super::ask::MAX_REPLY;
use super::super::documents::{self, Sections};
use super::super::options::Options;
use super::super::repair;
use super::super::tell;
use super::super::values::{Fields, clean};
use super::crypt;
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, Plan, Seen, Value};
use crate::collect::tcp;
use crate::model::Target;
use crate::preset::{Able, Setting};
use crate::secret::SecretRef;

/// How API 2 takes presets.
static HAND: Hand = Hand {
    able: Able { pools: SLOTS, exact: true, settings: &[Setting::PowerLimit, Setting::Mode] },
    by: "update_pools (encrypted)",
    pools: pools_v2,
    starts: false,
};
/// How API 3 takes presets; it does not tell its power mode.
static HAND_V3: Hand = Hand {
    able: Able { pools: SLOTS, exact: true, settings: &[Setting::PowerLimit] },
    by: "set.miner.pools (encrypted)",
    pools: pools_v3,
    starts: false,
};
/// Pools that it has room for.
const SLOTS: usize = 3;

const MODES: Option<Argument> = Some(Argument::Word(&["low", "normal", "high"]));
const LIGHT: Option<Argument> = Some(Argument::Word(&["on", "off"]));
const WATTS: Option<Argument> = Some(Argument::Number { name: "WATTS", bounds: (100, 20_000), or: &[] });
const LIMIT_HELP: &str = "limits the power, for which mining starts anew, and reads it back";
const MODE_HELP: &str = "sets the power mode, for which mining starts anew";
const LIGHT_HELP: &str = "makes the red light blink, or leaves the lights to the device";

/// The commands of API 2.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| v2(target, json!({ "cmd": "restart_btminer" }), Goal::Restarted),
    },
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| v2(target, json!({ "cmd": "reboot" }), Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| v2(target, json!({ "cmd": "power_off", "respbefore": "true" }), Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| v2(target, json!({ "cmd": "power_on" }), Goal::Awake(true)),
    },
    Command {
        name: "power-limit",
        help: LIMIT_HELP,
        argument: WATTS,
        plan: |target, value| {
            let watts = value.number().unwrap_or_default();
            let message = json!({ "cmd": "adjust_power_limit", "power_limit": watts.to_string() });
            v2(target, message, tell::power_limit(watts))
        },
    },
    Command {
        name: "mode",
        help: MODE_HELP,
        argument: MODES,
        plan: |target, value| {
            let goal = Goal::Word { of: Box::new(mode), wanted: value.word().to_string() };
            v2(target, json!({ "cmd": format!("set_{}_power", value.word()) }), goal)
        },
    },
    Command {
        name: "identify",
        help: LIGHT_HELP,
        argument: LIGHT,
        plan: |target, value| {
            let blink = json!({ "cmd": "set_led", "color": "red", "period": 200, "duration": 100, "start": 0 });
            let auto = json!({ "cmd": "set_led", "param": "auto" });
            v2(target, if value.word() == "on" { blink } else { auto }, Goal::Unseen)
        },
    },
    Command {
        name: APPLY_PRESET,
        help: apply::HELP,
        argument: Some(Argument::Preset(&HAND.able)),
        plan: |target, value| apply::plan(target, value, &HAND),
    },
];

/// The commands of API 3.
pub const COMMANDS_V3: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| v3(target, "set.miner.service", json!("restart"), Goal::Restarted),
    },
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| v3(target, "set.system.reboot", Json::Null, Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| v3(target, "set.miner.service", json!("stop"), Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| v3(target, "set.miner.service", json!("start"), Goal::Awake(true)),
    },
    Command {
        name: "power-limit",
        help: LIMIT_HELP,
        argument: WATTS,
        plan: |target, value| {
            let watts = value.number().unwrap_or_default();
            v3(target, "set.miner.power_limit", json!(watts), tell::power_limit(watts))
        },
    },
    Command {
        name: "mode",
        help: MODE_HELP,
        argument: MODES,
        plan: |target, value| v3(target, "set.miner.power_mode", json!(value.word()), Goal::Unseen),
    },
    Command { name: "identify", help: LIGHT_HELP, argument: LIGHT, plan: light_v3 },
    Command {
        name: APPLY_PRESET,
        help: apply::HELP,
        argument: Some(Argument::Preset(&HAND_V3.able)),
        plan: |target, value| apply::plan(target, value, &HAND_V3),
    },
];

fn light_v3(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    let blink = json!([{ "color": "red", "period": 200, "duration": 100, "start": 0 }]);
    v3(target, "set.system.led", if value.word() == "on" { blink } else { json!("auto") }, Goal::Unseen)
}

/// The power mode that the summary tells.
fn mode(seen: &Seen) -> Option<String> {
    let sections = Sections::read(&seen.replies);
    let mode = sections.summary.as_ref().and_then(Fields::of)?.text("Power Mode")?;
    Some(mode.to_ascii_lowercase())
}

fn refused(why: &str) -> CommandError {
    CommandError::Refused(format!("the device refused: {}", clean(why)))
}

fn password(target: &Target) -> Result<(Options, SecretRef), CommandError> {
    let options = Options::read(target, super::docs(target)).map_err(tell::mistakes)?;
    let password = options.password.clone().ok_or_else(|| tell::needs("password"))?;
    Ok((options, password))
}

fn v2(target: &Target, message: Json, goal: Goal) -> Result<Plan, CommandError> {
    let (_, password) = password(target)?;
    let address = tell::rpc_place(target, 4028)?;
    let sends = vec!["get_token".to_string(), format!("{message} (encrypted)")];
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move { send_v2(&address, &password, message, by).await })
    };
    Ok(Plan { sends, send: Box::new(send), goal })
}

async fn send_v2(address: &str, password: &SecretRef, message: Json, by: Instant) -> Result<(), CommandError> {
    let password = password.read().map_err(|error| CommandError::Refused(error.to_string()))?;
    let given = tell::send_rpc(address, r#"{"cmd":"get_token"}"#, by).await;
    // Nothing has been told yet, whatever became of the connection.
    let given = given.map_err(|error| CommandError::Refused(error.to_string()))?;
    let given = repair::read(&given).map_err(|error| refused(&error.to_string()))?.value;
    let part = |name: &str| given["Msg"][name].as_str().filter(|text| text.len() <= 64);
    let parts = part("time").zip(part("salt")).zip(part("newsalt"));
    let ((time, salt), newsalt) = parts.ok_or_else(|| refused(given["Msg"].as_str().unwrap_or("it gave no token")))?;
    let (request, key) = sealed(message, password.expose(), (time, salt, newsalt));
    let answer = tell::send_rpc(address, &request, by).await?;
    documents::taken(opened(&answer, &key).as_bytes())
}

/// All three slots at once; what is empty is cleared.
fn pools_v2(job: Job, by: Instant) -> BoxFuture<'static, Result<(), CommandError>> {
    Box::pin(async move {
        job.is_whole()?;
        let (_, password) = password(&job.target)?;
        let address = tell::rpc_place(&job.target, 4028)?;
        let mut message = json!({ "cmd": "update_pools" });
        for slot in 0..SLOTS {
            let pool = job.pools.get(slot);
            let words = pool.map_or(["", "", ""], |pool| [&*pool.url, &pool.user, pool.password.expose()]);
            for (key, word) in ["pool", "worker", "passwd"].into_iter().zip(words) {
                message[format!("{key}{}", slot + 1)] = json!(word);
            }
        }
        send_v2(&address, &password, message, by).await
    })
}

/// The list as a whole. Its passwords go encrypted, under the hash that the token is cut from.
fn pools_v3(job: Job, by: Instant) -> BoxFuture<'static, Result<(), CommandError>> {
    Box::pin(async move {
        job.is_whole()?;
        let pool =
            |pool: &apply::Wanted| json!({ "pool": pool.url, "worker": pool.user, "passwd": pool.password.expose() });
        let pools: Vec<Json> = job.pools.iter().map(pool).collect();
        let order = OrderV3 { command: "set.miner.pools", param: Json::Array(pools), hidden: true };
        send_v3(&job.target, order, by).await
    })
}

/// The request as it is sent, and the key of its answer.
fn sealed(mut message: Json, password: &str, (time, salt, newsalt): (&str, &str, &str)) -> (String, String) {
    let key = crypt::md5_crypt(password, salt);
    message["token"] = json!(crypt::md5_crypt(&format!("{key}{time}"), newsalt));
    let data = crypt::encrypt(&message.to_string(), &key);
    (json!({ "enc": 1, "data": data }).to_string(), key)
}

/// The answer; a refusal comes as it is, the rest encrypted.
fn opened(answer: &[u8], key: &str) -> String {
    let text = String::from_utf8_lossy(answer).trim_end_matches('\0').to_string();
    let sealed = serde_json::from_str::<Json>(&text).ok().and_then(|answer| answer["enc"].as_str().map(str::to_string));
    sealed.and_then(|sealed| crypt::decrypt(&sealed, key)).unwrap_or(text)
}

fn v3(target: &Target, command: &'static str, param: Json, goal: Goal) -> Result<Plan, CommandError> {
    password(target)?;
    tell::rpc_place(target, 4433)?;
    let shown = if param.is_null() { command.to_string() } else { format!("{command} {param}") };
    let (target, order) = (target.clone(), OrderV3 { command, param, hidden: false });
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move { send_v3(&target, order, by).await })
    };
    Ok(Plan { sends: vec!["get.device.info salt".to_string(), shown], send: Box::new(send), goal })
}

/// What API 3 is told.
struct OrderV3 {
    command: &'static str,
    param: Json,
    /// Whether the parameter goes encrypted.
    hidden: bool,
}

async fn send_v3(target: &Target, order: OrderV3, by: Instant) -> Result<(), CommandError> {
    let (options, password) = password(target)?;
    let account = options.username.unwrap_or_else(|| "super".to_string());
    let address = tell::rpc_place(target, 4433)?;
    let password = password.read().map_err(|error| CommandError::Refused(error.to_string()))?;
    let ask = async |request: &Json| {
        let left = by.saturating_duration_since(Instant::now());
        tcp::exchange_framed(&address, request.to_string().as_bytes(), MAX_REPLY, left).await
    };
    let device = ask(&json!({ "cmd": "get.device.info", "param": "salt" })).await;
    let device = device.map_err(|failure| CommandError::Refused(failure.to_string()))?;
    let device: Json = serde_json::from_slice(&device).unwrap_or_default();
    let salt = device["msg"]["salt"].as_str().ok_or_else(|| refused("it gave no salt"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let OrderV3 { command, param, hidden } = order;
    let token = crypt::token(command, password.expose(), salt, now);
    let mut request = json!({ "cmd": command, "ts": now, "token": token, "account": account });
    if hidden {
        let secret = format!("{command}{}{salt}{now}", password.expose());
        request["param"] = json!(crypt::encrypt(&crypt::padded(&param.to_string()), &secret));
    } else if !param.is_null() {
        request["param"] = param;
    }
    let answer = ask(&request).await.map_err(|failure| CommandError::sent(&failure))?;
    let answer: Json = serde_json::from_slice(&answer).unwrap_or_default();
    match answer["code"].as_i64() {
        Some(0) => Ok(()),
        Some(code) => Err(refused(&format!("code {code}: {}", answer["msg"]))),
        None => Err(CommandError::Unknown("its answer cannot be read".to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, applied, secret};

    /// API 2: knows its password by what it can decrypt with.
    async fn v2_device(writable: bool) -> Peer {
        let (mut off, mut mode, mut limit) = (false, "Normal", 3500);
        let mut pools =
            json!([["stratum+tcp://evil.example:1", "thief", "x"], ["stratum+tcp://other.example:2", "w", "x"]]);
        Peer::start(Wire::Line, move |request| {
            let request: Json = serde_json::from_str(request).unwrap();
            if request["enc"] == 1 {
                if !writable {
                    return Say::line(r#"{"STATUS":"E","When":1,"Code":45,"Msg":"permission denied","Description":""}"#);
                }
                let key = crypt::md5_crypt("hunter2", "BQ5hoXV9");
                let Some(plain) = crypt::decrypt(request["data"].as_str().unwrap(), &key) else { return Say::line("{}") };
                let plain: Json = serde_json::from_str(&plain).unwrap_or_default();
                if plain["token"] != crypt::md5_crypt(&format!("{key}4602"), "jHqr0xRq") {
                    return Say::line(r#"{"STATUS":"E","When":1,"Code":135,"Msg":"enc json load err","Description":""}"#);
                }
                match plain["cmd"].as_str().unwrap() {
                    "power_off" => off = true,
                    "power_on" => off = false,
                    "set_low_power" => mode = "Low",
                    "update_pools" => pools = json!([1, 2, 3].map(|slot: usize| [
                        plain[format!("pool{slot}")].clone(), plain[format!("worker{slot}")].clone(),
                        plain[format!("passwd{slot}")].clone(),
                    ])),
                    "adjust_power_limit" => limit = plain["power_limit"].as_str().unwrap().parse().unwrap(),
                    _ => {}
                }
                let done = r#"{"STATUS":"S","When":1,"Code":131,"Msg":"API command OK","Description":""}"#;
                return Say::line(&json!({ "enc": crypt::encrypt(done, &key) }).to_string());
            }
            match request["cmd"].as_str().unwrap() {
                "get_token" => Say::line(&json!({"STATUS": "S", "Code": 134, "Msg": {"time": "4602", "salt": "BQ5hoXV9", "newsalt": "jHqr0xRq"}}).to_string()),
                "summary" => {
                    let rate = if off { 0 } else { 90_000_000 };
                    Say::line(&json!({"STATUS": [{"STATUS": "S", "Msg": "Summary"}], "SUMMARY": [{"Elapsed": 900, "Uptime": 900,
                        "MHS av": rate, "HS RT": rate, "Power Limit": limit, "Power Mode": mode}]}).to_string())
                }
                "pools" => {
                    let pool = |(at, pool): (usize, &Json)| json!({"POOL": at + 1, "URL": pool[0], "User": pool[1],
                        "Priority": at, "Status": "Alive", "Stratum Active": at == 0});
                    let list: Vec<Json> = pools.as_array().unwrap().iter().enumerate().map(pool).collect();
                    Say::line(&json!({"STATUS": [{"STATUS": "S", "Msg": "Pools"}], "POOLS": list}).to_string())
                }
                "status" => Say::line(&json!({"STATUS": "S", "Code": 131, "Msg": {"mineroff": off.to_string()}}).to_string()),
                _ => Say::line(r#"{"STATUS":"E","Code":14,"Msg":"invalid cmd"}"#),
            }
        })
        .await
    }

    #[tokio::test]
    async fn api_2_is_told_under_a_token_and_encrypted() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({ "password": secret(&folder, "hunter2") });
        let peer = v2_device(true).await;
        for (text, before) in
            [("pause", "hashing"), ("resume", "paused"), ("mode low", "normal"), ("power-limit 3000", "3500")]
        {
            let outcome = peer.told("whatsminer", options.clone(), text).await.unwrap();
            assert_eq!(outcome.before.as_deref(), Some(before), "{text}");
        }
        let sent: Vec<String> = peer.writes(&[
            "\"cmd\":\"s",
            "\"cmd\":\"d",
            "\"cmd\":\"p",
            "\"cmd\":\"get_e",
            "\"cmd\":\"get_v",
            "\"cmd\":\"get_m",
            "\"cmd\":\"get_p",
        ]);
        assert_eq!(sent.iter().filter(|request| request.contains("get_token")).count(), 4);
        let message = json!({"cmd": "power_off", "respbefore": "true"});
        assert_eq!(sent[1], sealed(message, "hunter2", ("4602", "BQ5hoXV9", "jHqr0xRq")).0);
        for request in &sent {
            assert!(!request.contains("hunter2") && !request.contains("power_off"), "{request}");
        }
        let wrong = json!({ "password": secret(&folder, "guess") });
        assert!(peer.told("whatsminer", wrong, "pause").await.is_err());
        let error = v2_device(false)
            .await
            .told("whatsminer", json!({"password": secret(&folder, "hunter2")}), "pause")
            .await
            .unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("permission denied")), "{error:?}");
        let error = peer.told("whatsminer", json!({}), "pause").await.unwrap_err();
        assert!(error.to_string().contains("options.password is missing"), "{error}");
    }

    #[tokio::test]
    async fn api_3_is_told_with_a_token_of_the_moment() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({ "password": secret(&folder, "hunter2") });
        let mut working = true;
        let peer = Peer::start(Wire::Framed, move |request| {
            let request: Json = serde_json::from_str(request).unwrap();
            let command = request["cmd"].as_str().unwrap();
            let rate = if working { 100.0 } else { 0.0 };
            let said = |message: Json| {
                Say::Bytes(json!({"code": 0, "when": 1, "msg": message, "desc": command}).to_string().into_bytes())
            };
            if command.starts_with("set.") {
                let token = crypt::token(command, "hunter2", "NaCl", request["ts"].as_u64().unwrap());
                if request["token"] != token || request["account"] != "super" {
                    return Say::Bytes(br#"{"code":-4,"msg":"permission denied"}"#.to_vec());
                }
                working = request["param"] == "start";
                return said(json!("ok"));
            }
            match request["param"].as_str() {
                Some("salt") => said(json!({"salt": "NaCl"})),
                Some("summary") => {
                    said(json!({"summary": {"elapsed": 900, "hash-realtime": rate, "power-limit": 3500}}))
                }
                None => said(json!({"miner": {"working": working.to_string(), "type": "M60"}})),
                _ => Say::Bytes(br#"{"code":-1,"msg":"no"}"#.to_vec()),
            }
        })
        .await;
        let outcome = peer.told("whatsminer_v3", options.clone(), "pause").await.unwrap();
        assert_eq!(outcome.before.as_deref(), Some("hashing"));
        assert!(peer.told("whatsminer_v3", options, "resume").await.unwrap().changed);
        let sent = peer.writes(&["\"get."]);
        assert_eq!(sent.len(), 2);
        assert!(sent[0].contains(r#""param":"stop""#) && sent[1].contains(r#""param":"start""#), "{sent:?}");
        let wrong = json!({ "password": secret(&folder, "guess") });
        let error = peer.told("whatsminer_v3", wrong, "pause").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("permission denied")), "{error:?}");
    }

    #[tokio::test]
    async fn presets_go_encrypted_and_a_pool_that_nobody_names_is_not_lost_by_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({ "password": secret(&folder, "hunter2") });
        let peer = v2_device(true).await;
        let preset = |exact: bool| {
            json!({"name": "p", "power_limit_watts": 3000, "mode": "low", "exact_pools": exact,
                "pools": [{"url": "stratum+tcp://pool.example:3333", "worker": "owner.m1"}]})
        };
        let error = applied(peer.target("whatsminer", options.clone()), preset(false)).await.unwrap_err();
        let said = |text: &String| text.contains("nothing was sent") && text.contains("other.example:2");
        assert!(matches!(&error, CommandError::Refused(text) if said(text)), "{error:?}");
        let outcome = applied(peer.target("whatsminer", options.clone()), preset(true)).await.unwrap();
        let before = outcome.before.unwrap();
        assert!(before.contains("evil.example") && before.contains("mode Normal"), "{before}");
        let outcome = applied(peer.target("whatsminer", options), preset(true)).await.unwrap();
        assert!(!outcome.changed, "{outcome:?}");
        for request in peer.writes(&[]) {
            assert!(!request.contains("owner") && !request.contains("update_pools"), "{request}");
        }
    }

    #[tokio::test]
    async fn api_3_is_given_pools_under_the_hash_of_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({ "password": secret(&folder, "hunter2") });
        let mut pools = json!([{"url": "stratum+tcp://evil.example:1", "account": "thief"}]);
        let peer = Peer::start(Wire::Framed, move |request| {
            let request: Json = serde_json::from_str(request).unwrap();
            let command = request["cmd"].as_str().unwrap();
            let said = |message: Json| {
                Say::Bytes(json!({"code": 0, "when": 1, "msg": message, "desc": command}).to_string().into_bytes())
            };
            if command == "set.miner.pools" {
                let now = request["ts"].as_u64().unwrap();
                let plain = crypt::decrypt(request["param"].as_str().unwrap(), &format!("{command}hunter2NaCl{now}"));
                let plain = plain.unwrap();
                let list: Json = serde_json::from_str(plain.trim_end_matches(|c: char| c <= '\u{10}')).unwrap();
                assert_eq!(list[0]["passwd"], "x");
                pools = json!([{"url": list[0]["pool"], "account": list[0]["worker"]}]);
                return said(json!("ok"));
            }
            match request["param"].as_str() {
                Some("salt") => said(json!({"salt": "NaCl"})),
                Some("summary") => said(json!({"summary": {"elapsed": 900, "hash-realtime": 100.0}})),
                Some("pools") => said(json!({ "pools": pools })),
                None => said(json!({"miner": {"working": "true", "type": "M60"}})),
                _ => Say::Bytes(br#"{"code":-1,"msg":"no"}"#.to_vec()),
            }
        })
        .await;
        let preset = json!({"name": "p", "pools": [{"url": "stratum+tcp://pool.example:3333", "worker": "owner.m1"}]});
        let outcome = applied(peer.target("whatsminer_v3", options.clone()), preset.clone()).await.unwrap();
        assert!(outcome.changed, "{outcome:?}");
        assert!(!applied(peer.target("whatsminer_v3", options), preset).await.unwrap().changed);
        assert_eq!(peer.writes(&["\"get."]).len(), 1);
    }
}
