//! What an Avalon can be told to do: `ascset` of cgminer's API with the maker's own words. Source: Canaan's API documents.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::super::apply::{self, Hand, Job};
use super::super::cgminer::{POOL, pool};
use super::super::options::Options;
use super::super::tell::{self, BY_SECTIONS, Steps, request};
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, Plan, Seen};
use crate::model::Target;
use crate::preset::{Able, Setting};

/// How it takes presets: three slots, of which none can be emptied.
static HAND: Hand = Hand {
    able: Able { pools: 3, exact: false, settings: &[Setting::Mode] },
    by: "setpool, then a reboot",
    pools,
    starts: true,
};

/// Modes in the order of their numbers.
pub(super) const MODES: &[&str] = &["eco", "normal", "high"];

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| set(target, "reboot,0", Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| switch(target, "softoff", Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| switch(target, "softon", Goal::Awake(true)),
    },
    Command {
        name: "mode",
        help: "sets the work mode (Nano 3, Mini 3, Q), and reads it back",
        argument: Some(Argument::Word(MODES)),
        plan: |target, value| {
            let number = MODES.iter().position(|mode| *mode == value.word()).unwrap_or_default();
            let of = |seen: &Seen| seen.reading.settings.mode.clone();
            let goal = Goal::Word { of: Box::new(of), wanted: value.word().to_string() };
            set(target, &format!("workmode,set,{number}"), goal)
        },
    },
    Command {
        name: "fan",
        help: tell::FAN_HELP,
        argument: Some(Argument::Number { name: "PERCENT", bounds: (15, 100), or: &["auto"] }),
        plan: |target, value| {
            let speed = value.number().map_or_else(|| "-1".to_string(), |percent| percent.to_string());
            set(target, &format!("fan-spd,{speed}"), tell::fan_speed(value))
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
        help: "switches the light that shows the device on or off",
        argument: Some(Argument::Word(&["on", "off"])),
        plan: |target, value| set(target, if value.word() == "on" { "led,1-1" } else { "led,1-0" }, Goal::Unseen),
    },
];

fn set(target: &Target, words: &str, goal: Goal) -> Result<Plan, CommandError> {
    tell::rpc((target, 4028), vec![request("ascset", &format!("0,{words}"))], BY_SECTIONS, goal)
}

/// Switched at a moment that is named; the device's clock may be off, so it is now.
fn switch(target: &Target, word: &'static str, goal: Goal) -> Result<Plan, CommandError> {
    let address = tell::rpc_place(target, 4028)?;
    let sends = vec![request("ascset", &format!("0,{word},1:NOW"))];
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let answer = tell::send_rpc(&address, &request("ascset", &format!("0,{word},1:{now}")), by).await?;
            BY_SECTIONS(&answer)
        })
    };
    Ok(Plan { sends, send: Box::new(send), goal })
}

/// Writes the slots that differ, as its owner; they count from the next start on.
fn pools(job: Job, by: Instant) -> BoxFuture<'static, Result<(), CommandError>> {
    Box::pin(async move {
        let options = Options::read(&job.target, super::OPTIONS).map_err(tell::mistakes)?;
        let password = options.password.clone().ok_or_else(|| tell::needs("password"))?;
        let password = password.read().map_err(|error| CommandError::Refused(error.to_string()))?;
        let user = options.username.unwrap_or_else(|| super::USER.to_string());
        let address = tell::rpc_place(&job.target, 4028)?;
        let mut steps = Steps::default();
        for (slot, pool) in job.pools.iter().enumerate() {
            let number = slot.to_string();
            let words = [&*user, password.expose(), &number, &pool.url, &pool.user, pool.password.expose()];
            if words.iter().any(|word| word.contains(',')) {
                let text = "a comma in a pool's address, user or password, or in its own, cannot be told to it";
                return Err(CommandError::Refused(text.to_string()));
            }
            let found = job.seen.reading.settings.pools.iter().find(|found| found.place == slot);
            if found.is_some_and(|found| pool.is_at(found)) {
                continue;
            }
            let answer = tell::send_rpc(&address, &request("setpool", &words.join(",")), by).await;
            steps.told(answer.and_then(|answer| BY_SECTIONS(&answer)))?;
        }
        let answer = tell::send_rpc(&address, &request("ascset", "0,reboot,0"), by).await;
        steps.told(answer.and_then(|answer| BY_SECTIONS(&answer)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire};
    use serde_json::{Value as Json, json};

    #[tokio::test]
    async fn it_is_told_in_the_makers_words() {
        let (mut off, mut mode, mut fan) = (0, 0, 40);
        let peer = Peer::start(Wire::Line, move |request| {
            let request: Json = serde_json::from_str(request).unwrap();
            let said = |letter: &str, text: &str| {
                Say::line(&json!({"STATUS": [{"STATUS": letter, "Code": 119, "Msg": text}], "id": 1}).to_string())
            };
            let parameter = request["parameter"].as_str().unwrap_or_default();
            match request["command"].as_str().unwrap() {
                "stats" => {
                    let rate = if off > 0 { 0.0 } else { 80_000.0 };
                    let unit = format!("'STATS':{{Ver[Q-1_a_b] Elapsed[900] SYSTEMSTATU[Work: In Work, Hash Board: 1] FanR[{fan}%] Fan1[3000] \
                        GHSspd[{rate}] GHSavg[{rate}] SoftOFF[{off}] WORKMODE[{mode}]}}");
                    Say::line(&json!({"STATUS": [{"STATUS": "S", "Msg": "stats"}], "STATS": [{"STATS": 0, "ID": "AVALON0", "Elapsed": 900, "MM ID0:Summary": unit}]}).to_string())
                }
                "summary" => Say::line(&json!({"STATUS": [{"STATUS": "S", "Msg": "Summary"}],
                    "SUMMARY": [{"Elapsed": 900, "MHS av": 1.0, "MHS 5s": if off > 0 { 0.0 } else { 80e6 }}]}).to_string()),
                "ascset" if parameter == "0,fan-spd,100" => said("E", "ASC 0 set failed: fan-spd range"),
                "ascset" => {
                    let words: Vec<&str> = parameter.split([',', ':']).collect();
                    match words[1] {
                        "softoff" => off = 4,
                        "softon" => off = 0,
                        "workmode" => mode = words[3].parse().unwrap(),
                        "fan-spd" => fan = words[2].parse().unwrap(),
                        _ => {}
                    }
                    said("S", "ASC 0 set OK")
                }
                _ => said("E", "Invalid command"),
            }
        })
        .await;
        for (text, before) in [
            ("mode high", Some("eco")),
            ("fan 60", Some("not known: 40 now, fixed or by the temperature")),
            ("pause", Some("hashing")),
            ("identify on", None),
        ] {
            let outcome = peer.told("avalon", json!({}), text).await.unwrap();
            assert_eq!(outcome.before.as_deref(), before, "{text}");
        }
        let error = peer.told("avalon", json!({}), "fan 100").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("fan-spd range")), "{error:?}");
        let mut sent = peer.writes(&["\"stats\"", "\"summary\"", "\"pools\"", "\"version\""]);
        let softoff = sent.remove(2);
        assert!(softoff.starts_with(r#"{"command":"ascset","parameter":"0,softoff,1:1"#), "{softoff}");
        let set = |words: &str| request("ascset", words);
        assert_eq!(sent, [set("0,workmode,set,2"), set("0,fan-spd,60"), set("0,led,1-1"), set("0,fan-spd,100")]);
    }
}
