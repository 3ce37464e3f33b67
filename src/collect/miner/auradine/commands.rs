//! What an Auradine can be told to do, over the REST API that stands beside its TCP API: a login gives a token, and each
//! message repeats the command of its path. Source: public clients of FluxOS.

use serde_json::{Value as Json, json};

use super::super::ask::{BY_STATUS, Flow, LoginRequest};
use super::super::families;
use super::super::options::Options;
use super::super::tell::{self, BY_SECTIONS, Web};
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan, Seen, Value};
use crate::collect::http::Answer;
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| plan(target, "restart", json!({ "parameter": "gcminer" }), Goal::Restarted),
    },
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| plan(target, "restart", json!({}), Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| plan(target, "mode", json!({ "sleep": "on" }), Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| plan(target, "mode", json!({ "sleep": "off" }), Goal::Awake(true)),
    },
    Command {
        name: "power-limit",
        help: "makes the device tune itself to a power, and reads it back",
        argument: Some(Argument::Number { name: "WATTS", bounds: (100, 20_000), or: &[] }),
        plan: |target, value| {
            let watts = value.number().unwrap_or_default();
            // Its own modes have a power too, which is no limit that somebody set.
            let of = |seen: &Seen| custom(seen).then(|| seen.figure(&families::POWER_LIMIT.name, None)).flatten();
            let goal = Goal::Figure { of: Box::new(of), wanted: f64::from(watts) };
            let message = json!({ "mode": "custom", "tune": "power", "power": watts });
            plan(target, "mode", message, Goal::Undone { goal: Box::new(goal), undo: Box::new(back) })
        },
    },
    Command {
        name: "mode",
        help: "sets one of the device's own modes, and reads it back",
        argument: Some(Argument::Word(&["eco", "normal", "turbo"])),
        plan: |target, value| {
            let goal = Goal::Word { of: Box::new(mode), wanted: value.word().to_string() };
            let goal = Goal::Undone { goal: Box::new(goal), undo: Box::new(back) };
            plan(target, "mode", json!({ "mode": value.word() }), goal)
        },
    },
    Command {
        name: "fan",
        help: tell::FAN_HELP,
        argument: Some(Argument::Number { name: "PERCENT", bounds: (10, 100), or: &["auto"] }),
        plan: fan,
    },
    Command {
        name: "identify",
        help: tell::LIGHT_HELP,
        argument: Some(Argument::Word(&["on", "off"])),
        // Lights have codes: 3 shows the miner, 2 is normal.
        plan: |target, value| {
            let code = if value.word() == "on" { 3 } else { 2 };
            plan(target, "led", json!({ "code": code }), Goal::Unseen)
        },
    },
];

const LOGIN: Flow = Flow {
    request: |user, password| LoginRequest {
        method: "POST",
        path: "/token".to_string(),
        content: "application/json",
        body: Some(json!({ "command": "token", "user": user, "password": password }).to_string()),
    },
    token: |answer: &Answer| {
        let answer: Json = serde_json::from_slice(&answer.body).ok()?;
        Some(answer.pointer("/Token/0/Token")?.as_str()?.to_string())
    },
    header: ("token", ""),
    refuses: BY_STATUS,
};

fn plan(target: &Target, command: &str, mut message: Json, goal: Goal) -> Result<Plan, CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    message["command"] = json!(command);
    let messages = vec![Web::json("POST", format!("/{command}"), &message)];
    let site = tell::beside(target, &options, super::WEB_PORT)?;
    Ok(tell::web_to(site, options.login(LOGIN, "admin"), messages, BY_SECTIONS, goal))
}

/// What the fans are told, not what they do: they take their time, and have their own least speed.
fn fan(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    let of = |seen: &Seen| {
        let fan = seen.page("fan")?.pointer("/Fan/0").cloned()?;
        Some(fan.get("Target")?.as_f64()? / fan.get("Max")?.as_f64().filter(|most| *most > 0.0)? * 100.0)
    };
    let fixed = |percent| Goal::Speed { of: Box::new(of), auto: Box::new(|_| None), wanted: f64::from(percent) };
    let speed = value.number().map_or_else(|| json!("auto"), |percent| json!(percent));
    plan(target, "fan", json!({ "percentage": speed }), value.number().map_or(Goal::Unseen, fixed))
}

/// The mode that is set, `custom` included.
fn mode(seen: &Seen) -> Option<String> {
    Some(seen.page("mode")?.pointer("/Mode/0/Mode")?.as_str()?.to_ascii_lowercase())
}

fn custom(seen: &Seen) -> bool {
    mode(seen).as_deref() == Some("custom")
}

/// The command that brings back the mode that is seen.
fn back(seen: &Seen) -> Option<String> {
    match custom(seen) {
        true => seen.figure(&families::POWER_LIMIT.name, None).map(|watts| format!("power-limit {watts:.0}")),
        false => mode(seen).map(|mode| format!("mode {mode}")),
    }
}
