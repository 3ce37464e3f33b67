//! What MaraFW can be told to do. Source: public clients of its pages.
//!
//! Its settings are one document that is taken as a whole, so they are read first and sent back as they were, with one
//! thing changed. A device that is to wake gets the mode back that it had before it was sent to sleep, which its own
//! history of settings tells; else the maker's (`Stock`).

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::super::ask::{Auth, MAX_REPLY};
use super::super::options::Options;
use super::super::tell::{self, Judge, Web};
use super::super::values::clean;
use super::CONFIG;
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan};
use crate::collect::http::{Ask, Keep, Site};
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command { name: "restart", help: tell::RESTART_HELP, argument: None, plan: |target, _| maintain(target, "reload") },
    Command { name: "reboot", help: tell::REBOOT_HELP, argument: None, plan: |target, _| maintain(target, "reboot") },
    Command {
        name: "pause",
        help: "puts the device into its sleep mode, and waits until its state says so",
        argument: None,
        plan: |target, _| change(target, Change::Sleep, Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| change(target, Change::Wake, Goal::Awake(true)),
    },
    Command {
        name: "power-limit",
        help: "lets the device tune itself to a power, and waits until its settings say so",
        argument: Some(Argument::Number { name: "WATTS", bounds: (500, 15_000), or: &[] }),
        plan: |target, value| {
            let watts = value.number().unwrap_or_default();
            change(target, Change::Power(watts), tell::power_limit(watts))
        },
    },
    Command {
        name: "identify",
        help: "makes the lights of the device blink, or not",
        argument: Some(Argument::Word(&["on", "off"])),
        plan: |target, value| {
            let (site, auth) = door(target)?;
            let message = Web::json("POST", "/kaonsu/v1/locate_miner", &json!({ "blinking": value.word() == "on" }));
            Ok(tell::web_to(site, auth, vec![message], JUDGE, Goal::Unseen))
        },
    },
];

const HISTORY: &str = "/kaonsu/v1/log?type=miner_config_history";

/// What is changed in the settings.
#[derive(Clone, Copy)]
enum Change {
    Sleep,
    Wake,
    Power(u32),
}

impl Change {
    fn describe(self) -> String {
        match self {
            Change::Sleep => r#""work-mode-selector":"Sleep""#.to_string(),
            Change::Wake => r#""work-mode-selector" as it was before, else "Stock""#.to_string(),
            Change::Power(watts) => format!(r#""work-mode-selector":"Auto" and "power-target":{watts}"#),
        }
    }
}

/// A refusal comes with a status of success.
const JUDGE: Judge = |body| {
    let said: Json = serde_json::from_slice(body).unwrap_or_default();
    if said["error"] != json!(true) {
        return Ok(());
    }
    let why = said["msg"].as_str().unwrap_or("it does not say why");
    Err(CommandError::Refused(format!("the device refused: {}", clean(why))))
};

fn door(target: &Target) -> Result<(Site, Auth), CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    let auth = options.digest(super::USER);
    let site = Site::open(&target.address, 80, options.tls, Keep::Close, MAX_REPLY);
    Ok((site.map_err(|error| tell::mistake(&error))?, auth))
}

fn maintain(target: &Target, what: &str) -> Result<Plan, CommandError> {
    let (site, auth) = door(target)?;
    let message = Web::json("POST", "/kaonsu/v1/maintenance", &json!({ "type": what }));
    Ok(tell::web_to(site, auth, vec![message], JUDGE, Goal::Restarted))
}

fn change(target: &Target, change: Change, goal: Goal) -> Result<Plan, CommandError> {
    let (site, auth) = door(target)?;
    let mut sends = vec![format!("GET {CONFIG}"), format!("POST {CONFIG} as it is, with {}", change.describe())];
    if let Change::Wake = change {
        sends.insert(1, format!("GET {HISTORY}"));
    }
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move {
            let mut settings = read(&site, &auth, CONFIG, by).await?;
            let before = match change {
                // A device without a history is woken all the same.
                Change::Wake => read(&site, &auth, HISTORY, by).await.ok().and_then(|history| mode_before(&history)),
                _ => None,
            };
            apply(&mut settings, change, before.as_deref())?;
            // The settings hold the pools' passwords.
            let shown = String::new();
            let body = Some(("application/json", settings.to_string()));
            let message = Web { method: "POST", path: CONFIG.to_string(), body, shown };
            JUDGE(&tell::send_web(&site, &auth, &message, by).await?.body)
        })
    };
    Ok(Plan { sends, send: Box::new(send), goal })
}

/// Nothing has been told yet, whatever becomes of the connection.
async fn read(site: &Site, auth: &Auth, path: &str, by: Instant) -> Result<Json, CommandError> {
    let refused = |why: String| CommandError::Refused(format!("nothing was sent: {why}"));
    let answer = auth.send(site, Ask::get(path), by).await.and_then(|answer| answer.success());
    let answer = answer.map_err(|failure| refused(failure.to_string()))?;
    serde_json::from_slice(&answer.body).map_err(|_| refused(format!("{path} cannot be read")))
}

fn apply(settings: &mut Json, change: Change, before: Option<&str>) -> Result<(), CommandError> {
    // Without them the device would forget whom it works for.
    let whole = settings["pools"].is_array() && settings["mode"]["work-mode-selector"].is_string();
    if !whole {
        let why = "nothing was sent: its settings do not hold pools and mode".to_string();
        return Err(CommandError::Refused(why));
    }
    let mode = &mut settings["mode"];
    match change {
        Change::Sleep => mode["work-mode-selector"] = json!("Sleep"),
        Change::Wake => mode["work-mode-selector"] = json!(before.unwrap_or("Stock")),
        Change::Power(watts) => {
            // A limit must not wake what somebody has sent to sleep.
            let why = match () {
                () if !mode["concorde"].is_object() => "its settings know no power target",
                () if mode["work-mode-selector"] == "Sleep" => "it sleeps, and a limit would wake it",
                () => "",
            };
            if !why.is_empty() {
                return Err(CommandError::Refused(format!("nothing was sent: {why}")));
            }
            mode["work-mode-selector"] = json!("Auto");
            mode["concorde"]["mode-select"] = json!("PowerTarget");
            mode["concorde"]["power-target"] = json!(watts);
        }
    }
    Ok(())
}

/// The mode before it was sent to sleep the last time. The history lists changes by their time, the newest last.
fn mode_before(history: &Json) -> Option<String> {
    let entries = history.as_array()?.iter().rev().filter_map(Json::as_object);
    let lists = entries.flat_map(|entry| entry.values()).filter_map(Json::as_array);
    let slept = lists.flatten().find(|change| {
        change["path"] == json!(["Mode", "WorkModeSelector"]) && change["to"] == "Sleep" && change["from"] != "Sleep"
    })?;
    let known = |mode: &&str| matches!(*mode, "Auto" | "Fixed" | "Stock");
    slept["from"].as_str().filter(known).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, secret};

    const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"antMiner Configuration\", nonce=\"5f\", qop=\"auth\"\r\n";

    #[tokio::test]
    async fn settings_go_back_as_they_came_but_for_one_thing() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({ "password": secret(&folder, "root") });
        let mut settings = json!({"pools": [{"url": "p", "user": "u", "pass": "x", "gid": 0}], "extra": 7,
            "mode": {"work-mode-selector": "Fixed", "concorde": {"mode-select": "Hashrate", "power-target": 3000, "hash-target": 90}}});
        let mut elapsed = 9_000;
        let peer = Peer::start(Wire::Http, move |request| {
            if !request.contains("authorization: Digest username=\"root\"") {
                return Say::headed("401 Unauthorized", CHALLENGE, "");
            }
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let body: Json = serde_json::from_str(body).unwrap_or_default();
            let asleep = settings["mode"]["work-mode-selector"] == "Sleep";
            match head.split(' ').nth(1).unwrap() {
                CONFIG if body.is_object() && body["mode"]["concorde"]["power-target"] == 9_999 => {
                    return Say::json(&json!({"error": true, "msg": "above the limit of the supply"}));
                }
                CONFIG if body.is_object() => settings = body,
                CONFIG => return Say::json(&settings),
                HISTORY => {
                    let change =
                        json!({"type": "update", "path": ["Mode", "WorkModeSelector"], "from": "Fixed", "to": "Sleep"});
                    return Say::json(&json!([{"1700000000": []}, {"1700000100": [change]}]));
                }
                "/kaonsu/v1/brief" => {
                    let rate = if asleep { 0.0 } else { 100_000.0 };
                    return Say::json(&json!({"status": if asleep { "Idle" } else { "Mining" }, "elapsed": elapsed,
                        "hashrate_realtime": rate, "hashrate_ideal": 100_000.0, "power_consumption_estimated": 3200}));
                }
                "/kaonsu/v1/maintenance" => elapsed = 0,
                _ => return Say::http("404 Not Found", ""),
            }
            Say::json(&json!({}))
        })
        .await;
        for (text, before) in
            [("pause", "hashing"), ("resume", "sleeping"), ("power-limit 2800", ""), ("restart", "up for 9000 s")]
        {
            let outcome = peer.told("marathon", options.clone(), text).await.unwrap();
            assert_eq!((outcome.before.as_deref().unwrap_or_default(), outcome.changed), (before, true), "{text}");
        }
        let error = peer.told("marathon", options.clone(), "power-limit 9999").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(why) if why.contains("above the limit")), "{error:?}");
        let mut sent = peer.sent(&["GET /"]);
        sent.dedup();
        let whole = |mode: &str, aim: &str, watts: u32| {
            format!(
                r#"POST {CONFIG} {{"extra":7,"mode":{{"concorde":{{"hash-target":90,"mode-select":"{aim}","power-target":{watts}}},"work-mode-selector":"{mode}"}},"pools":[{{"gid":0,"pass":"x","url":"p","user":"u"}}]}}"#
            )
        };
        let expected = [
            whole("Sleep", "Hashrate", 3000),
            whole("Fixed", "Hashrate", 3000),
            whole("Auto", "PowerTarget", 2800),
            r#"POST /kaonsu/v1/maintenance {"type":"reload"}"#.to_string(),
            whole("Auto", "PowerTarget", 9999),
        ];
        assert_eq!(sent, expected);
        let error = peer.told("marathon", json!({}), "pause").await.unwrap_err();
        assert!(error.to_string().contains("options.password is missing"), "{error}");
    }

    #[test]
    fn settings_that_are_not_whole_are_not_sent_back() {
        for settings in [json!({}), json!({"pools": []}), json!({"mode": {"work-mode-selector": "Auto"}}), json!("x")] {
            assert!(apply(&mut settings.clone(), Change::Sleep, None).is_err(), "{settings}");
        }
        let mut bare = json!({"pools": [], "mode": {"work-mode-selector": "Stock"}});
        assert!(apply(&mut bare.clone(), Change::Power(3000), None).is_err());
        apply(&mut bare, Change::Wake, mode_before(&json!({"no": "list"})).as_deref()).unwrap();
        assert_eq!(bare["mode"]["work-mode-selector"], "Stock");
    }
}
