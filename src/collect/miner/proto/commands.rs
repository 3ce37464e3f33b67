//! What a Proto Rig can be told to do. Source: the maker's public API definition (MDK API).

use serde_json::json;

use super::super::families;
use super::super::options::Options;
use super::super::tell::{self, BY_STATUS, Web};
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan, Seen, Value};
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", "/api/v1/system/reboot"), Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", "/api/v1/mining/stop"), Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", "/api/v1/mining/start"), Goal::Awake(true)),
    },
    Command {
        name: "power-limit",
        help: "sets the power target of the device and reads it back",
        argument: Some(Argument::Number { name: "WATTS", bounds: (100, 20_000), or: &[] }),
        plan: |target, value| {
            let watts = value.number().unwrap_or_default();
            let message = Web::json("PUT", "/api/v1/mining/target", &json!({ "power_target_watts": watts }));
            plan(target, message, tell::power_limit(watts))
        },
    },
    Command {
        name: "fan",
        help: "drives the fans at so many per cent, or by the temperature, and reads it back",
        argument: Some(Argument::Number { name: "PERCENT", bounds: (10, 100), or: &["auto"] }),
        plan: fan,
    },
    Command {
        name: "identify",
        help: "makes the light of the device blink for half a minute",
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", "/api/v1/system/locate?led_on_time=30"), Goal::Unseen),
    },
];

fn plan(target: &Target, message: Web, goal: Goal) -> Result<Plan, CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    tell::web((target, 80), options.login(super::LOGIN, ""), &options, vec![message], BY_STATUS, goal)
}

fn fan(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    let (body, goal) = match value.number() {
        Some(percent) => {
            let of = |seen: &Seen| seen.figure(&families::FAN_DUTY.name, None).map(|duty| duty * 100.0);
            let auto = |seen: &Seen| fan_mode(seen).map(|mode| mode != "manual");
            let goal = Goal::Speed { of: Box::new(of), auto: Box::new(auto), wanted: f64::from(percent) };
            (json!({ "mode": "Manual", "speed_percentage": percent }), goal)
        }
        None => (json!({ "mode": "Auto" }), Goal::Word { of: Box::new(fan_now), wanted: "auto".to_string() }),
    };
    plan(target, Web::json("PUT", "/api/v1/cooling", &body), goal)
}

/// `auto`, `manual`, `off`.
fn fan_mode(seen: &Seen) -> Option<String> {
    let mode = seen.page("GET /api/v1/cooling")?.pointer("/cooling-status/fan_mode")?.as_str()?.to_ascii_lowercase();
    (mode != "unknown").then_some(mode)
}

/// `auto`, `off`, or the duty in per cent.
fn fan_now(seen: &Seen) -> Option<String> {
    let mode = fan_mode(seen)?;
    if mode != "manual" {
        return Some(mode);
    }
    seen.figure(&families::FAN_DUTY.name, None).map(|duty| format!("{:.0}", duty * 100.0))
}
