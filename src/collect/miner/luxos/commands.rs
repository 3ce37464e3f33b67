//! What LuxOS can be told to do. What changes it wants a session, of which there is one: it is opened for the command and
//! given back whatever comes of it. Source: LuxOS' public API documents.

use futures_util::future::BoxFuture;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::super::apply::{self, Hand};
use super::super::cgminer::pools;
use super::super::cgminer::{POOL, pool};
use super::super::documents::{self, Sections};
use super::super::repair;
use super::super::tell::{self, request};
use super::super::values::{Fields, clean};
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, PARTING, Plan, Seen};
use crate::model::Target;
use crate::preset::{Able, Setting};

/// How it takes presets: pools as a cgminer does, without a session.
static HAND: Hand = Hand {
    able: Able { settings: &[Setting::Mode], ..pools::ABLE },
    by: pools::BY,
    pools: pools::pools,
    starts: false,
};

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| plan(target, "resetminer", String::new(), Goal::Restarted),
    },
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| plan(target, "rebootdevice", String::new(), Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| plan(target, "curtail", "sleep".into(), Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| plan(target, "curtail", "wakeup".into(), Goal::Awake(true)),
    },
    Command {
        name: "profile",
        help: "sets the profile of all boards, and reads it back",
        argument: Some(Argument::Name("PROFILE")),
        plan: |target, value| {
            let goal = Goal::Word { of: Box::new(profile), wanted: value.word().to_string() };
            plan(target, "profileset", value.word().to_string(), goal)
        },
    },
    Command {
        name: "fan",
        help: tell::FAN_HELP,
        argument: Some(Argument::Number { name: "PERCENT", bounds: (10, 100), or: &["auto"] }),
        plan: |target, value| {
            let speed = value.number().map_or_else(|| "-1".to_string(), |percent| percent.to_string());
            plan(target, "fanset", format!("speed={speed}"), tell::fan_speed(value))
        },
    },
    Command { name: "pool", help: tell::POOL_HELP, argument: POOL, plan: pool },
    Command {
        name: APPLY_PRESET,
        help: apply::HELP,
        argument: Some(Argument::Preset(&HAND.able)),
        plan: |target, value| apply::plan(target, value, &HAND),
    },
    Command {
        name: "identify",
        help: "makes the red light blink, or not",
        argument: Some(Argument::Word(&["on", "off"])),
        plan: |target, value| {
            let light = if value.word() == "on" { "red,blink" } else { "red,off" };
            plan(target, "ledset", light.into(), Goal::Unseen)
        },
    },
];

/// The profile that the configuration names.
fn profile(seen: &Seen) -> Option<String> {
    Sections::read(&seen.replies).list("CONFIG").first().and_then(Fields::of)?.text("Profile")
}

fn plan(target: &Target, command: &'static str, argument: String, goal: Goal) -> Result<Plan, CommandError> {
    let address = tell::rpc_place(target, 4028)?;
    let sends = vec!["logon".to_string(), format!("{command} {argument}").trim().to_string(), "logoff".to_string()];
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move {
            let session = log_on(&address, by).await?;
            let parameter = if argument.is_empty() { session.clone() } else { format!("{session},{argument}") };
            let answer = tell::send_rpc(&address, &request(command, &parameter), by).await;
            // One that is left open keeps everybody else out. After a reboot nobody is there to be told.
            if let Err(error) = tell::send_rpc(&address, &request("logoff", &session), by + PARTING).await {
                tracing::debug!(address, %error, "the session could not be given back");
            }
            documents::taken(&answer?)
        })
    };
    Ok(Plan { sends, send: Box::new(send), goal })
}

fn refused(why: String) -> CommandError {
    CommandError::Refused(format!("the device refused: {}", clean(&why)))
}

async fn log_on(address: &str, by: Instant) -> Result<String, CommandError> {
    let answer = tell::send_rpc(address, &request("logon", ""), by).await;
    // Nothing has been told yet, whatever became of the connection.
    let answer = answer.map_err(|error| CommandError::Refused(error.to_string()))?;
    documents::taken(&answer).map_err(|error| CommandError::Refused(error.to_string()))?;
    let answer = repair::read(&answer).map_err(|error| refused(error.to_string()))?.value;
    let id = answer.pointer("/SESSION/0/SessionID").and_then(Json::as_str).unwrap_or_default();
    let plain = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| id.to_string()).ok_or_else(|| refused("it gave no session".to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire};
    use serde_json::json;

    const ASKED: &[&str] = &["summary", "devs", "pools", "\"power\"", "temps", "fans", "config", "voltageget"];

    /// LuxOS; `taken` when somebody else has the session, `stubborn` when it refuses what it is told.
    async fn luxos(taken: bool, stubborn: bool) -> Peer {
        let (mut asleep, mut profile) = (false, "default".to_string());
        Peer::start(Wire::Line, move |request| {
            let request: Json = serde_json::from_str(request).unwrap();
            let said = |letter: &str, text: &str, rest: Json| {
                let mut answer = json!({"STATUS": [{"STATUS": letter, "Code": 1, "Msg": text}], "id": 1});
                answer.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
                Say::line(&answer.to_string())
            };
            let parameter = request["parameter"].as_str().unwrap_or_default();
            match request["command"].as_str().unwrap() {
                "summary" => {
                    let rate = if asleep { 0 } else { 100_000 };
                    said("S", "Summary", json!({"SUMMARY": [{"Elapsed": 900, "GHS 5s": rate, "GHS av": rate}]}))
                }
                "config" => {
                    let mode = if asleep { "Sleep" } else { "None" };
                    said(
                        "S",
                        "Config",
                        json!({"CONFIG": [{"CurtailMode": mode, "Profile": profile, "Model": "Antminer S19"}]}),
                    )
                }
                "logon" if taken => said("E", "Another session is active", json!({})),
                "logon" => said("S", "Session created", json!({"SESSION": [{"SessionID": "ab12"}]})),
                "logoff" => said("S", "Session terminated", json!({})),
                "curtail" | "profileset" if stubborn => said("E", "ATM is active", json!({})),
                "curtail" => {
                    asleep = parameter == "ab12,sleep";
                    said("S", "ok", json!({}))
                }
                "profileset" => {
                    profile = parameter.trim_start_matches("ab12,").to_string();
                    said("S", "ok", json!({}))
                }
                _ => said("E", "Invalid command", json!({})),
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_session_is_opened_for_the_command_and_given_back() {
        let peer = luxos(false, false).await;
        for (text, before) in [("pause", "hashing"), ("resume", "sleeping"), ("profile 290MHz", "default")] {
            let outcome = peer.told("luxos", json!({}), text).await.unwrap();
            assert_eq!(outcome.before.as_deref(), Some(before), "{text}");
        }
        let told = |command: &str, argument: &str| {
            [request("logon", ""), request(command, &format!("ab12,{argument}")), request("logoff", "ab12")]
        };
        let sent = [told("curtail", "sleep"), told("curtail", "wakeup"), told("profileset", "290MHz")].concat();
        assert_eq!(peer.writes(ASKED), sent);
    }

    #[tokio::test]
    async fn a_refusal_gives_the_session_back_and_one_that_is_taken_is_left_alone() {
        let peer = luxos(false, true).await;
        let error = peer.told("luxos", json!({}), "pause").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("ATM is active")), "{error:?}");
        assert_eq!(peer.writes(ASKED).last(), Some(&request("logoff", "ab12")));
        let peer = luxos(true, false).await;
        let error = peer.told("luxos", json!({}), "pause").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("Another session")), "{error:?}");
        assert_eq!(peer.writes(ASKED), [request("logon", "")]);
    }
}
