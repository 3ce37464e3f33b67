//! What an AxeOS device can be told to do. Source: the firmware's `openapi.yaml`.
//!
//! `pause` and `resume` came with 2.11; an older device answers 404, and nothing was done. NerdQAxes want a one-time code
//! for what changes their settings when their owner has switched that on.

use serde_json::json;

use super::super::ask::Auth;
use super::super::families;
use super::super::options::Options as Common;
use super::super::tell::{self, BY_STATUS, Web};
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, Plan, Seen, Value};
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", "/api/system/restart"), Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", "/api/system/pause"), Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", "/api/system/resume"), Goal::Awake(true)),
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
        plan: |target, _| plan(target, Web::bare("POST", "/api/system/identify"), Goal::Unseen),
    },
];

fn plan(target: &Target, message: Web, goal: Goal) -> Result<Plan, CommandError> {
    tell::web((target, 80), Auth::Open, &Common::default(), vec![message], BY_STATUS, goal)
}

/// The key was `fanspeed` before 2.9 and is `manualFanSpeed` since; each firmware takes the one that it knows.
fn fan(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    let body = match value.number() {
        Some(percent) => json!({ "autofanspeed": 0, "fanspeed": percent, "manualFanSpeed": percent }),
        None => json!({ "autofanspeed": 1 }),
    };
    let wanted = value.number().map_or_else(|| "auto".to_string(), |percent| percent.to_string());
    plan(target, Web::json("PATCH", "/api/system", &body), Goal::Word { of: Box::new(fan_now), wanted })
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
    use crate::collect::miner::told::{Peer, Say, Wire, target, told};
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
