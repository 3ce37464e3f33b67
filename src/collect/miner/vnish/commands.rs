//! What VNish can be told to do. Source: the firmware's own API page (`/docs`): mining, system and find-miner.

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::super::apply::{self, Hand, Job};
use super::super::ask::{Auth, MAX_REPLY};
use super::super::cgminer::POOL;
use super::super::options::Options;
use super::super::tell::{self, BY_STATUS, Steps, Web};
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, Plan, Seen};
use crate::collect::http::{Ask, Keep, Site};
use crate::model::Target;
use crate::preset::{Able, Setting};

/// How it takes presets.
static HAND: Hand = Hand {
    able: Able { pools: 3, exact: true, settings: &[Setting::Mode] },
    by: "POST /api/v1/settings",
    pools,
    starts: false,
};

const SETTINGS: &str = "/api/v1/settings";
const RESTART: &str = "/api/v1/mining/restart";

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", RESTART), Goal::Restarted),
    },
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
        plan: |target, _| plan(target, Web::bare("POST", "/api/v1/mining/pause"), Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", "/api/v1/mining/resume"), Goal::Awake(true)),
    },
    Command {
        name: "pool",
        help: tell::POOL_HELP,
        argument: POOL,
        plan: |target, value| {
            let number = value.number().unwrap_or_default();
            let message = Web::json("POST", "/api/v1/mining/switch-pool", &json!({ "pool_id": number }));
            plan(target, message, tell::active_pool(number))
        },
    },
    Command {
        name: "profile",
        help: "sets the autotune preset by its name, for which mining starts anew, and reads it back",
        argument: Some(Argument::Name("PRESET")),
        plan: profile,
    },
    Command {
        name: APPLY_PRESET,
        help: apply::HELP,
        argument: Some(Argument::Preset(&HAND.able)),
        plan: |target, value| apply::plan(target, value, &HAND),
    },
    Command {
        name: "identify",
        help: "switches the light that shows the device on, or off again",
        argument: None,
        plan: |target, _| plan(target, Web::bare("POST", "/api/v1/find-miner"), Goal::Unseen),
    },
];

fn plan(target: &Target, message: Web, goal: Goal) -> Result<Plan, CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    let password = options.password.clone().ok_or_else(|| tell::needs("password"))?;
    tell::web((target, 80), super::unlock(password), &options, vec![message], BY_STATUS, goal)
}

fn profile(target: &Target, value: &crate::collect::command::Value) -> Result<Plan, CommandError> {
    let (site, auth) = door(target)?;
    let name = value.word().to_string();
    let of = |seen: &Seen| seen.reading.settings.mode.clone();
    let goal = Goal::Word { of: Box::new(of), wanted: name.clone() };
    let shown = json!({ "miner": { "overclock": { "preset": name } } });
    let sends = vec![
        format!("GET {SETTINGS}"),
        format!("POST {SETTINGS} {shown} (the rest as it is)"),
        format!("POST {RESTART}"),
    ];
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move {
            let mut overclock = settings(&site, &auth, by).await?["overclock"].take();
            if !overclock.is_object() {
                return Err(CommandError::Refused("it has no presets; nothing was sent".to_string()));
            }
            overclock["preset"] = json!(name);
            change(&site, &auth, &json!({ "miner": { "overclock": overclock } }), by).await
        })
    };
    Ok(Plan { sends, send: Box::new(send), goal })
}

/// Writes the pools; those that the preset does not name stay as the device has them, password and all.
fn pools(job: Job, by: Instant) -> BoxFuture<'static, Result<(), CommandError>> {
    Box::pin(async move {
        let (site, auth) = door(&job.target)?;
        let found = settings(&site, &auth, by).await?["pools"].take();
        let pool = |pool: &apply::Wanted| json!({ "url": pool.url, "user": pool.user, "pass": pool.password.expose() });
        let mut pools: Vec<Json> = job.pools.iter().map(pool).collect();
        let others = found.as_array().into_iter().flatten().skip(if job.exact { usize::MAX } else { pools.len() });
        pools.extend(others.take(HAND.able.pools).cloned());
        change(&site, &auth, &json!({ "miner": { "pools": pools } }), by).await
    })
}

fn door(target: &Target) -> Result<(Site, Auth), CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    let password = options.password.clone().ok_or_else(|| tell::needs("password"))?;
    let site = Site::open(&target.address, 80, options.tls, Keep::Close, MAX_REPLY);
    Ok((site.map_err(|error| tell::mistake(&error))?, super::unlock(password)))
}

/// What the device's settings say of mining. A question changes nothing, so its failure is a refusal.
async fn settings(site: &Site, auth: &Auth, by: Instant) -> Result<Json, CommandError> {
    let page = auth.send(site, Ask::get(SETTINGS), by).await.and_then(|answer| answer.success());
    let page = page.map_err(|failure| CommandError::Refused(failure.to_string()))?;
    let mut page: Json = serde_json::from_slice(&page.body).unwrap_or_default();
    match page["miner"].take() {
        miner @ Json::Object(_) => Ok(miner),
        _ => Err(CommandError::Refused("its settings cannot be read, so nothing was sent".to_string())),
    }
}

/// Some settings need a restart of mining, and the answer says so; old versions say nothing.
async fn change(site: &Site, auth: &Auth, body: &Json, by: Instant) -> Result<(), CommandError> {
    let mut steps = Steps::default();
    let answer = steps.told(tell::send_web(site, auth, &Web::json("POST", SETTINGS, body), by).await)?;
    let said: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    if said["restart_required"] != false {
        steps.told(tell::send_web(site, auth, &Web::bare("POST", RESTART), by).await)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, secret};
    use serde_json::Value;

    #[tokio::test]
    async fn unlocks_before_it_tells_and_needs_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({ "password": secret(&folder, "admin") });
        let (mut state, mut pool) = ("mining", 0);
        let peer = Peer::start(Wire::Http, move |request| {
            let path = request.split(' ').nth(1).unwrap();
            let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap_or_default();
            let unlocked = request.contains("authorization: Bearer tok\r\n");
            match path {
                "/api/v1/unlock" if body["pw"] == "admin" => return Say::json(&json!({"token": "tok"})),
                "/api/v1/unlock" => return Say::http("401 Unauthorized", "{}"),
                "/api/v1/summary" => {
                    let status = |at: u64| if at == pool { "active" } else { "working" };
                    let pools: Vec<Value> = (0..2)
                        .map(|at| json!({"id": at, "url": format!("p{at}:3333"), "user": "u", "status": if at == pool { status(at) } else { "offline" }}))
                        .collect();
                    return Say::json(&json!({"miner": {"hr_realtime": if state == "mining" { 100 } else { 0 },
                        "miner_status": {"miner_state": state, "miner_state_time": 900}, "pools": pools}}));
                }
                "/api/v1/info" => return Say::http("404 Not Found", ""),
                _ if !unlocked => return Say::http("401 Unauthorized", "{}"),
                "/api/v1/mining/pause" => state = "stopped",
                "/api/v1/mining/switch-pool" if body["pool_id"] == 9 => {
                    return Say::http("404 Not Found", r#"{"err":"Could not find pool"}"#);
                }
                "/api/v1/mining/switch-pool" => pool = body["pool_id"].as_u64().unwrap(),
                // Taken, and nothing comes of it.
                _ => {}
            }
            Say::http("200 OK", "")
        })
        .await;
        for (text, before) in [("pool 1", "0"), ("pause", "hashing")] {
            let outcome = peer.told("vnish", options.clone(), text).await.unwrap();
            assert_eq!(outcome.before.as_deref(), Some(before), "{text}");
        }
        let error = peer.told("vnish", options.clone(), "resume").await.unwrap_err();
        assert!(matches!(&error, CommandError::NotConfirmed(text) if text.contains("paused")), "{error:?}");
        let error = peer.told("vnish", options, "pool 9").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("Could not find pool")), "{error:?}");
        let sent = peer.sent(&["GET /", "/api/v1/unlock"]);
        let pool = |number| format!(r#"POST /api/v1/mining/switch-pool {{"pool_id":{number}}}"#);
        assert_eq!(sent, [&pool(1), "POST /api/v1/mining/pause", "POST /api/v1/mining/resume", &pool(9)]);
        let error = peer.told("vnish", json!({}), "pause").await.unwrap_err();
        assert!(error.to_string().contains("options.password is missing"), "{error}");
        let wrong = json!({ "password": secret(&folder, "guess") });
        assert!(matches!(peer.told("vnish", wrong, "reboot").await.unwrap_err(), CommandError::Refused(_)));
    }
}
