//! What an AxeOS device can be told to do. Source: the firmware's `openapi.yaml`.
//!
//! `pause` and `resume` came with 2.11; an older device answers 404, and nothing was done. NerdQAxes want a one-time code
//! for what changes their settings (and before 1.0.36 for a restart) when their owner has switched that on.

use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::time::Instant;

use super::super::ask::{Auth, Codes};
use super::super::families;
use super::super::options::Options;
use super::super::tell::{self, BY_STATUS, Web};
use super::parse;
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, Plan, Seen, Value};
use crate::collect::http::{Ask, Keep, Site};
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, value| plan(target, value, Web::bare("POST", "/api/system/restart"), Goal::Restarted),
    },
    Command {
        name: "reboot",
        help: "the same as restart: there is no mining program to restart alone",
        argument: None,
        plan: |target, value| plan(target, value, Web::bare("POST", "/api/system/restart"), Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, value| rest(target, value, Rest { axeos: "pause", nerd: "shutdown", asleep: true }),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, value| rest(target, value, Rest { axeos: "resume", nerd: "restart", asleep: false }),
    },
    Command {
        name: "fan",
        help: "drives the fan at so many per cent, or by the chip's temperature, and reads it back",
        argument: Some(Argument::Number { name: "PERCENT", bounds: (0, 100), or: &["auto"] }),
        plan: fan,
    },
    Command {
        name: APPLY_PRESET,
        help: "sets the device as its preset has it: what differs and nothing else, within what its model allows",
        argument: Some(Argument::Preset(&super::apply::ABLE)),
        plan: super::apply::plan,
    },
    Command {
        name: "identify",
        help: "makes the device show itself on its display for a while",
        argument: None,
        plan: |target, value| plan(target, value, Web::bare("POST", "/api/system/identify"), Goal::Unseen),
    },
];

/// Where a device takes what changes it, with what opens its door.
pub fn door(target: &Target, value: &Value) -> Result<(Site, Auth), CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    let auth = Auth::Codes(Codes::new(&options, value.code()));
    let site = Site::open(&target.address, 80, options.tls, Keep::Close, super::MAX_REPLY);
    Ok((site.map_err(|error| tell::mistake(&error))?, auth))
}

fn plan(target: &Target, value: &Value, message: Web, goal: Goal) -> Result<Plan, CommandError> {
    let (site, auth) = door(target, value)?;
    Ok(tell::web_to(site, auth, vec![message], BY_STATUS, goal))
}

/// The two names of sending a device to sleep or waking it: a NerdQAxe shuts its chips down and wakes with a restart.
struct Rest {
    axeos: &'static str,
    nerd: &'static str,
    asleep: bool,
}

fn rest(target: &Target, value: &Value, rest: Rest) -> Result<Plan, CommandError> {
    let (site, auth) = door(target, value)?;
    let Rest { axeos, nerd, asleep } = rest;
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move {
            let info = auth.send(&site, Ask::get(super::INFO), by).await.and_then(|answer| answer.success());
            // Nothing has been told yet, whatever became of the connection.
            let info = info.map_err(|failure| CommandError::Refused(format!("nothing was sent: {failure}")))?;
            let name = if parse::is_nerd(&info.body) { nerd } else { axeos };
            let message = Web::bare("POST", format!("/api/system/{name}"));
            tell::send_web(&site, &auth, &message, by).await.map(|_| ())
        })
    };
    let sends = vec![format!("POST /api/system/{axeos} (to a NerdQAxe /api/system/{nerd})")];
    Ok(Plan { sends, send: Box::new(send), goal: Goal::Awake(!asleep) })
}

/// The key was `fanspeed` before 2.9 and is `manualFanSpeed` since; each firmware takes the one that it knows.
fn fan(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    let body = match value.number() {
        Some(percent) => json!({ "autofanspeed": 0, "fanspeed": percent, "manualFanSpeed": percent }),
        None => json!({ "autofanspeed": 1 }),
    };
    let wanted = value.number().map_or_else(|| "auto".to_string(), |percent| percent.to_string());
    plan(target, value, Web::json("PATCH", "/api/system", &body), Goal::Word { of: Box::new(fan_now), wanted })
}

/// `auto`, or the duty in per cent.
fn fan_now(seen: &Seen) -> Option<String> {
    let info: serde_json::Value = serde_json::from_slice(&seen.replies.first()?.body).ok()?;
    if super::super::values::flag(info.get("autofanspeed")?)? {
        return Some("auto".to_string());
    }
    seen.figure(&families::FAN_DUTY.name, None).map(|duty| format!("{:.0}", duty * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, secret, target, told};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    const ASKED: &[&str] = &["GET /"];

    /// A Bitaxe that obeys, unless it is `stubborn` or answers what changes it with `refusal`.
    async fn bitaxe(stubborn: bool, refusal: Option<&'static str>) -> Peer {
        let (mut paused, mut fan, mut auto, start) = (false, 60, true, Arc::new(AtomicU32::new(5000)));
        Peer::start(Wire::Http, move |request| {
            if request.starts_with("GET /api/system/info") {
                let uptime = start.fetch_add(1, Ordering::Relaxed);
                return Say::json(&json!({"ASICModel": "BM1370", "deviceModel": "Gamma", "asicCount": 1,
                    "hashRate": if paused { 0 } else { 1200 }, "uptimeSeconds": uptime, "miningPaused": paused,
                    "fanspeed": fan, "autofanspeed": u8::from(auto)}));
            }
            if let Some(status) = refusal {
                return if status == "silence" { Say::Nothing } else { Say::http(status, "not here") };
            }
            let body: serde_json::Value =
                serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap_or_default();
            if !stubborn {
                match request.split(' ').nth(1).unwrap() {
                    "/api/system/pause" => paused = true,
                    "/api/system/resume" => paused = false,
                    "/api/system/restart" => start.store(0, Ordering::Relaxed),
                    "/api/system" => {
                        auto = body["autofanspeed"] == 1;
                        fan = body["manualFanSpeed"].as_u64().unwrap_or(fan);
                    }
                    _ => {}
                }
            }
            Say::http("200 OK", "")
        })
        .await
    }

    #[tokio::test]
    async fn each_command_is_sent_once_and_read_back_and_says_what_was_before() {
        for (text, request, before) in [
            ("pause", "POST /api/system/pause", Some("hashing")),
            ("restart", "POST /api/system/restart", Some("up for 5000 s")),
            ("identify", "POST /api/system/identify", None),
            ("fan 80", r#"PATCH /api/system {"autofanspeed":0,"fanspeed":80,"manualFanSpeed":80}"#, Some("auto")),
        ] {
            let peer = bitaxe(false, None).await;
            let outcome = peer.told("axeos", json!({}), text).await.unwrap();
            assert_eq!((outcome.before.as_deref(), outcome.changed), (before, true), "{text}: {outcome:?}");
            assert_eq!(peer.sent(ASKED), [request], "{text}");
            let head = peer.writes(ASKED).remove(0).to_lowercase();
            assert!(head.contains("content-length: "), "{head}");
        }
    }

    /// A Bitaxe whose owner has locked all of it.
    async fn locked() -> Peer {
        Peer::start(Wire::Http, |request| {
            // base64 of admin:hunter2
            if !request.to_lowercase().contains("authorization: basic ywrtaw46ahvudgvymg==") {
                return Say::headed("401 Unauthorized", "WWW-Authenticate: Basic realm=\"Bitaxe\"\r\n", "{\"authRequired\":1}");
            }
            Say::json(&json!({"ASICModel": "BM1370", "deviceModel": "Gamma", "asicCount": 1, "hashRate": 5, "uptimeSeconds": 900}))
        })
        .await
    }

    #[tokio::test]
    async fn a_password_opens_polls_and_commands_and_its_absence_is_told() {
        let (folder, wrong) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let right = json!({ "password": secret(&folder, "hunter2") });
        let wrong = json!({ "password": secret(&wrong, "guessed") });
        let peer = locked().await;
        let polled = async |options: serde_json::Value| {
            let by = Instant::now() + std::time::Duration::from_secs(2);
            Seen::ask(&peer.target("axeos", options), by).await.map(|seen| seen.reading.samples.len())
        };
        let missing = polled(json!({})).await.unwrap_err();
        assert!(missing.to_string().contains("options.password is missing"), "{missing}");
        let refused = polled(wrong).await.unwrap_err();
        assert!(refused.to_string().contains("is not what it wants"), "{refused}");
        assert!(polled(right.clone()).await.unwrap() > 5);
        assert!(peer.told("axeos", right, "identify").await.unwrap().changed);
        assert_eq!(peer.sent(ASKED), ["POST /api/system/identify"]);
    }

    #[tokio::test]
    async fn what_already_is_so_is_left_alone() {
        let peer = bitaxe(false, None).await;
        for text in ["resume", "fan auto"] {
            let outcome = peer.told("axeos", json!({}), text).await.unwrap();
            assert!(!outcome.changed && outcome.detail.contains("already"), "{outcome:?}");
        }
        peer.told("axeos", json!({}), "pause").await.unwrap();
        assert!(!peer.told("axeos", json!({}), "pause").await.unwrap().changed);
        assert!(peer.told("axeos", json!({}), "resume").await.unwrap().changed);
        assert_eq!(peer.sent(ASKED).len(), 2);
    }

    #[tokio::test]
    async fn accepted_is_not_done_and_silence_is_not_known() {
        let stubborn = bitaxe(true, None).await;
        let error = stubborn.told("axeos", json!({}), "pause").await.unwrap_err();
        assert!(
            matches!(&error, CommandError::NotConfirmed(text) if text.contains("its state is hashing")),
            "{error:?}"
        );
        let silent = bitaxe(false, Some("silence")).await;
        let error = silent.told("axeos", json!({}), "pause").await.unwrap_err();
        assert!(matches!(&error, CommandError::Unknown(_)), "{error:?}");
        for (status, word) in [("401 Unauthorized", "credential"), ("404 Not Found", "404")] {
            let peer = bitaxe(false, Some(status)).await;
            let error = peer.told("axeos", json!({}), "pause").await.unwrap_err();
            assert!(matches!(&error, CommandError::Refused(text) if text.contains(word)), "{error:?}");
            assert_eq!(peer.sent(ASKED).len(), 1, "a refusal is not tried again");
        }
        // Nobody there: nothing is sent.
        let error = told(target("axeos", "127.0.0.1:1", json!({})), "restart").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("nothing was sent")), "{error:?}");
    }
}
