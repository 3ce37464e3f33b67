//! What a cgminer and its relatives can be told to do, where `--api-allow` grants us privileged access (`W:`).
//! Source: `API-README` of cgminer.

use super::super::apply;
use super::super::documents::Sections;
use super::super::tell::{self, BY_SECTIONS, request};
use super::super::values::Fields;
use super::pools::HAND;
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, Plan, Seen, Value};
use crate::model::Target;

/// A pool as the label `pool` names it.
pub const POOL: Option<Argument> = Some(Argument::Number { name: "NUMBER", bounds: (0, 99), or: &[] });

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| tell::rpc((target, 4028), vec![request("restart", "")], BY_SECTIONS, Goal::Restarted),
    },
    Command { name: "pool", help: tell::POOL_HELP, argument: POOL, plan: pool },
    Command {
        name: "pool-on",
        help: "lets a pool be used again",
        argument: POOL,
        plan: |target, value| switch(target, value, true),
    },
    Command {
        name: "pool-off",
        help: "keeps a pool from being used; the last one that is on is refused",
        argument: POOL,
        plan: |target, value| switch(target, value, false),
    },
    Command {
        name: APPLY_PRESET,
        help: apply::HELP,
        argument: Some(Argument::Preset(&HAND.able)),
        plan: |target, value| apply::plan(target, value, &HAND),
    },
];

/// Switches the pool.
pub fn pool(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    let number = value.number().unwrap_or_default();
    let switch = request("switchpool", &number.to_string());
    tell::rpc((target, 4028), vec![switch], BY_SECTIONS, tell::active_pool(number))
}

fn switch(target: &Target, value: &Value, on: bool) -> Result<Plan, CommandError> {
    let number = value.number().unwrap_or_default();
    let (command, undo) = if on { ("enablepool", "pool-off") } else { ("disablepool", "pool-on") };
    let of = move |seen: &Seen| {
        let sections = Sections::read(&seen.replies);
        let pools = sections.pools.iter().filter_map(Fields::of);
        let pool = pools.into_iter().find(|pool| pool.number("POOL") == Some(f64::from(number)))?;
        Some(!pool.text("Status")?.eq_ignore_ascii_case("disabled"))
    };
    let goal = Goal::Is { of: Box::new(of), wanted: on, undo: format!("{undo} {number}") };
    tell::rpc((target, 4028), vec![request(command, &number.to_string())], BY_SECTIONS, goal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire};
    use serde_json::{Value as Json, json};

    const ASKED: &[&str] = &["summary", "version"];

    /// cgminer with two pools. Without `privilege` it denies everything that changes it.
    async fn cgminer(privilege: bool) -> Peer {
        let (mut elapsed, mut active, mut off) = (4000, 0, false);
        Peer::start(Wire::Line, move |request| {
            let request: Json = serde_json::from_str(request).unwrap();
            let said = |letter: &str, code: u32, text: &str| {
                Say::line(&json!({"STATUS": [{"STATUS": letter, "Code": code, "Msg": text}], "id": 1}).to_string())
            };
            let parameter = request["parameter"].as_str().unwrap_or_default();
            match request["command"].as_str().unwrap() {
                "summary+pools+devs" => {
                    elapsed += 1;
                    let pool = |number: usize| {
                        json!({"POOL": number, "URL": format!("stratum+tcp://p{number}:3333"), "User": "u",
                            "Status": if number == 1 && off { "Disabled" } else { "Alive" },
                            "Stratum Active": number == active, "Priority": usize::from(number != active)})
                    };
                    let head = json!([{"STATUS": "S", "Code": 11, "Msg": "ok"}]);
                    Say::line(&json!({
                        "summary": [{"STATUS": head, "SUMMARY": [{"Elapsed": elapsed, "MHS av": 100.0, "MHS 5s": 100.0}]}],
                        "pools": [{"STATUS": head, "POOLS": [pool(0), pool(1)]}],
                        "devs": [{"STATUS": head, "DEVS": [{"ASC": 0, "MHS av": 100.0}]}], "id": 1})
                    .to_string())
                }
                "version" => said("S", 22, "CGMiner versions"),
                _ if !privilege => said("E", 45, "Access denied to 'restart' command"),
                "restart" => {
                    elapsed = 0;
                    Say::line("RESTART")
                }
                "switchpool" if parameter.parse::<usize>().unwrap() > 1 => said("E", 25, "Invalid pool id"),
                "switchpool" => {
                    active = parameter.parse().unwrap();
                    said("S", 27, "Switching to pool")
                }
                _ => {
                    off = request["command"] == "disablepool";
                    said("S", 48, "done")
                }
            }
        })
        .await
    }

    #[tokio::test]
    async fn the_program_is_told_and_its_sections_say_what_came_of_it() {
        let peer = cgminer(true).await;
        for (text, before) in
            [("restart", "up for 4001 s"), ("pool 1", "0"), ("pool-off 1", "yes"), ("pool-on 1", "no")]
        {
            let outcome = peer.told("cgminer", json!({}), text).await.unwrap();
            assert_eq!((outcome.before.as_deref(), outcome.changed), (Some(before), true), "{text}");
        }
        let sent = [
            r#"{"command":"restart"}"#,
            r#"{"command":"switchpool","parameter":"1"}"#,
            r#"{"command":"disablepool","parameter":"1"}"#,
            r#"{"command":"enablepool","parameter":"1"}"#,
        ];
        assert_eq!(peer.writes(ASKED), sent);
        let error = peer.told("cgminer", json!({}), "pool 7").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("Invalid pool id")), "{error:?}");
    }

    #[tokio::test]
    async fn without_privilege_it_is_refused() {
        let error = cgminer(false).await.told("cgminer", json!({}), "restart").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("Access denied")), "{error:?}");
    }
}
