//! What an ePIC board can be told to do: a POST whose body carries what is wanted and the password. Source: the API page
//! of ePIC's dashboard.

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::super::apply::{self, Hand, Job, Wanted};
use super::super::ask::{Auth, MAX_REPLY};
use super::super::families;
use super::super::options::Options;
use super::super::tell::{self, Web};
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, Plan, Seen, Value};
use crate::collect::http::{Ask, Keep, Site};
use crate::model::Target;
use crate::preset::{Able, Setting};
use crate::secret::SecretRef;

/// How it takes presets.
static HAND: Hand = Hand {
    able: Able { pools: 3, exact: true, settings: &[Setting::HashrateTarget] },
    by: "POST /coin",
    pools,
    starts: false,
};

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| plan(target, "/softreboot", json!(0), Goal::Restarted),
    },
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| plan(target, "/reboot", json!(0), Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| plan(target, "/miner", json!("Stop"), Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| plan(target, "/miner", json!("Autostart"), Goal::Awake(true)),
    },
    Command {
        name: "fan",
        help: "drives the fans at so many per cent, and reads it back; the board keeps to its own least speed",
        argument: Some(Argument::Number { name: "PERCENT", bounds: (1, 100), or: &[] }),
        plan: |target, value| {
            let percent = value.number().unwrap_or_default();
            let of = |seen: &Seen| seen.figure(&families::FAN_DUTY.name, None).map(|duty| duty * 100.0);
            let goal = Goal::Speed { of: Box::new(of), auto: Box::new(automatic), wanted: f64::from(percent) };
            plan(target, "/fanspeed", json!(percent.to_string()), goal)
        },
    },
    Command {
        name: "hashrate-target",
        help: "sets what the board's tuner (PerpetualTune) aims at, and reads it back",
        argument: tell::TERAHASHES,
        plan: hashrate_target,
    },
    Command {
        name: APPLY_PRESET,
        help: apply::HELP,
        argument: Some(Argument::Preset(&HAND.able)),
        plan: |target, value| apply::plan(target, value, &HAND),
    },
    Command {
        name: "identify",
        help: "switches the light that shows the board on or off",
        argument: Some(Argument::Word(&["on", "off"])),
        plan: |target, value| plan(target, "/identify", json!(value.word() == "on"), Goal::Unseen),
    },
];

/// Whether the summary says that the fans are driven by the temperature. No command makes them so again: the board wants
/// to be told its target with it.
fn automatic(seen: &Seen) -> Option<bool> {
    let mode = seen.page("GET /summary")?.pointer("/Fans/Fan Mode")?.as_object().cloned()?;
    Some(mode.contains_key("Auto"))
}

fn plan(target: &Target, path: &'static str, param: Json, goal: Goal) -> Result<Plan, CommandError> {
    let (site, password) = door(target)?;
    let sends = vec![format!("POST {path} {}", json!({ "param": param }))];
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move { post(&site, &password, (path, &param), by).await })
    };
    Ok(Plan { sends, send: Box::new(send), goal })
}

fn door(target: &Target) -> Result<(Site, SecretRef), CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    let password = options.password.clone().ok_or_else(|| tell::needs("password"))?;
    let site = Site::open(&target.address, 4028, options.tls.clone(), Keep::Close, MAX_REPLY);
    Ok((site.map_err(|error| tell::mistake(&error))?, password))
}

async fn post(
    site: &Site,
    password: &SecretRef,
    (path, param): (&'static str, &Json),
    by: Instant,
) -> Result<(), CommandError> {
    let password = password.read().map_err(|error| CommandError::Refused(error.to_string()))?;
    let body = json!({ "param": param, "password": password.expose() });
    let answer = tell::send_web(site, &Auth::Open, &Web::json("POST", path, &body), by).await?;
    let unclear = |error| CommandError::Unknown(format!("its answer cannot be read: {error}"));
    let said: Json = serde_json::from_slice(&answer.body).map_err(unclear)?;
    if said["result"] == true {
        return Ok(());
    }
    let why = said["error"].as_str().unwrap_or("it does not say why").to_string();
    Err(CommandError::Refused(format!("the board refused: {}", super::super::values::clean(&why))))
}

/// The tuner keeps its algorithm and its throttle; only what it aims at changes.
fn hashrate_target(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    const TUNE: &str = "/perpetualtune/algo";
    let (site, password) = door(target)?;
    let rate = value.number().unwrap_or_default();
    let sends = vec!["GET /summary".to_string(), format!("POST {TUNE} with {}", json!({ "target": rate }))];
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move {
            let page = site.send(Ask::get("/summary"), by).await.and_then(|answer| answer.success());
            // Nothing has been told yet, whatever became of the connection.
            let page = page.map_err(|failure| CommandError::Refused(failure.to_string()))?;
            let page: Json = serde_json::from_slice(&page.body).unwrap_or_default();
            let tuner = page["PerpetualTune"]["Algorithm"].as_object().and_then(|tuners| tuners.iter().next());
            let none = || CommandError::Refused("its tuner is not running; nothing was sent".to_string());
            let (name, tuner) = tuner.filter(|(_, tuner)| super::aims_at(tuner).is_some()).ok_or_else(none)?;
            let param = json!({ "algo": name, "target": rate, "min_throttle": tuner["Min Throttle Target"],
                "throttle_step": tuner["Throttle Step"] });
            post(&site, &password, (TUNE, &param), by).await
        })
    };
    Ok(Plan { sends, send: Box::new(send), goal: tell::hashrate_target(rate) })
}

/// Writes the pools; those that the preset does not name stay as the board has them, password and all.
fn pools(job: Job, by: Instant) -> BoxFuture<'static, Result<(), CommandError>> {
    Box::pin(async move {
        let (site, password) = door(&job.target)?;
        let page = job.seen.replies.iter().find(|reply| reply.request == "GET /summary");
        let page: Json = page.and_then(|page| serde_json::from_slice(&page.body).ok()).unwrap_or_default();
        let Some(coin) = page["Mining"]["Coin"].as_str() else {
            return Err(CommandError::Refused("it does not say what it mines; nothing was sent".to_string()));
        };
        let pool = |pool: &Wanted| json!({ "pool": pool.url, "login": pool.user, "password": pool.password.expose() });
        let mut pools: Vec<Json> = job.pools.iter().map(pool).collect();
        let found = page["StratumConfigs"].as_array().into_iter().flatten();
        let others = found.skip(if job.exact { usize::MAX } else { pools.len() });
        pools.extend(others.take(HAND.able.pools).cloned());
        let unique = page["Stratum"]["Worker Unique Id"].as_bool().unwrap_or_default();
        let param = json!({ "coin": coin, "stratum_configs": pools, "unique_id": unique });
        post(&site, &password, ("/coin", &param), by).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, secret};

    #[tokio::test]
    async fn the_password_goes_with_each_message_and_is_shown_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({ "password": secret(&folder, "letmein") });
        let (mut state, mut fan, mut mode) = ("Mining", 60, "Auto");
        let peer = Peer::start(Wire::Http, move |request| {
            if request.starts_with("GET /summary") {
                let rate = if state == "Mining" { 50e6 } else { 0.0 };
                return Say::json(&json!({"Status": {"Operating State": state}, "Session": {"Uptime": 900},
                    "HBs": [{"Index": 0, "Hashrate": [rate, 100.0]}], "Fans": {"Fans Speed": fan, "Fan Mode": {mode: {}}}, "Fans Rpm": {"Fans Speed 1": 3000}}));
            }
            if request.starts_with("GET") {
                return Say::http("404 Not Found", r#"{"result":false}"#);
            }
            let body: Json = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            if body["password"] != "letmein" {
                return Say::json(&json!({"result": false, "error": "Incorrect Password"}));
            }
            match request.split(' ').nth(1).unwrap() {
                "/miner" => state = if body["param"] == "Stop" { "Idling" } else { "Mining" },
                "/fanspeed" => (fan, mode) = (body["param"].as_str().unwrap().parse().unwrap(), "Manual"),
                _ => {}
            }
            Say::json(&json!({"result": true, "error": null}))
        })
        .await;
        let story = [
            ("pause", Some("hashing")),
            ("resume", Some("paused")),
            ("fan 90", Some("auto")),
            ("fan 80", Some("90")),
            ("identify on", None),
        ];
        for (text, before) in story {
            // What was automatic is never brought back as a fixed speed, and the board is not told its target here.
            let call = crate::collect::command::Call::read("epic", text).unwrap();
            let target = peer.target("epic", options.clone());
            let by = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
            let ready = crate::collect::command::Ready::ask(target.clone(), call.plan(&target).unwrap(), by).await;
            let undo = ready.unwrap().undo(&call);
            let expected = [("pause", "resume"), ("resume", "pause"), ("fan 80", "fan 90")];
            let expected = expected.iter().find(|(known, _)| *known == text).map(|(_, undo)| (*undo).to_string());
            assert_eq!(undo, expected, "{text}");
            let outcome = peer.told("epic", options.clone(), text).await.unwrap();
            assert_eq!(outcome.before.as_deref(), before, "{text}");
        }
        assert_eq!(
            peer.sent(&["GET /"]),
            [
                r#"POST /miner {"param":"Stop","password":"letmein"}"#,
                r#"POST /miner {"param":"Autostart","password":"letmein"}"#,
                r#"POST /fanspeed {"param":"90","password":"letmein"}"#,
                r#"POST /fanspeed {"param":"80","password":"letmein"}"#,
                r#"POST /identify {"param":true,"password":"letmein"}"#,
            ]
        );
        let call = crate::collect::command::Call::read("epic", "pause").unwrap();
        let sends = call.plan(&peer.target("epic", options)).unwrap().sends;
        assert_eq!(sends, [r#"POST /miner {"param":"Stop"}"#]);
        let wrong = json!({ "password": secret(&folder, "guess") });
        let error = peer.told("epic", wrong, "pause").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("Incorrect Password")), "{error:?}");
    }
}
