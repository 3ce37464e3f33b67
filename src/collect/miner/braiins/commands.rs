//! What Braiins OS can be told to do over REST. Source: the maker's public API definition (`bos-plus-api`), actions and
//! performance services.

use futures_util::future::BoxFuture;
use serde_json::{Map, Value as Json, json};
use tokio::time::Instant;

use super::super::apply::{self, Hand, Job, Wanted};
use super::super::ask::MAX_REPLY;
use super::super::options::Options;
use super::super::tell::{self, BY_STATUS, Web};
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, Plan, Seen};
use crate::collect::http::{Keep, Site};
use crate::model::Target;
use crate::preset::{Able, Setting};

/// How it takes presets.
static HAND: Hand = Hand {
    able: Able { pools: 8, exact: true, settings: &[Setting::PowerLimit, Setting::HashrateTarget] },
    by: "PUT /api/v1/pools/batch",
    pools,
    starts: false,
};

/// The commands of kind `braiins`.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("PUT", "/api/v1/actions/restart"), Goal::Restarted),
    },
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("PUT", "/api/v1/actions/reboot"), Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("PUT", "/api/v1/actions/pause"), Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| plan(target, Web::bare("PUT", "/api/v1/actions/resume"), Goal::Awake(true)),
    },
    Command {
        name: "power-limit",
        help: "sets the power target of the tuner and reads it back",
        argument: Some(Argument::Number { name: "WATTS", bounds: (100, 20_000), or: &[] }),
        plan: |target, value| {
            let watts = value.number().unwrap_or_default();
            let message = Web::json("PUT", "/api/v1/performance/power-target", &json!({ "watt": watts }));
            plan(target, message, tell::power_limit(watts))
        },
    },
    Command {
        name: "hashrate-target",
        help: "sets the hash rate target of the tuner and reads it back",
        argument: tell::TERAHASHES,
        plan: |target, value| {
            let rate = value.number().unwrap_or_default();
            let body = json!({ "terahash_per_second": rate });
            let message = Web::json("PUT", "/api/v1/performance/hashrate-target", &body);
            plan(target, message, tell::hashrate_target(rate))
        },
    },
    Command {
        name: APPLY_PRESET,
        help: apply::HELP,
        argument: Some(Argument::Preset(&HAND.able)),
        plan: |target, value| apply::plan(target, value, &HAND),
    },
];

fn plan(target: &Target, message: Web, goal: Goal) -> Result<Plan, CommandError> {
    let options = Options::read(target, super::KIND.options).map_err(tell::mistakes)?;
    let auth = super::login(&options).map_err(|error| tell::mistake(&error))?;
    tell::web((target, 80), auth, &options, vec![message], BY_STATUS, goal)
}

/// Writes the one group of pools under its own name and strategy. Of several, nobody knows which is meant.
fn pools(job: Job, by: Instant) -> BoxFuture<'static, Result<(), CommandError>> {
    Box::pin(async move {
        job.is_whole()?;
        let options = Options::read(&job.target, super::KIND.options).map_err(tell::mistakes)?;
        let auth = super::login(&options).map_err(|error| tell::mistake(&error))?;
        let site = Site::open(&job.target.address, 80, options.tls, Keep::Close, MAX_REPLY);
        let site = site.map_err(|error| tell::mistake(&error))?;
        let body = Json::Array(vec![group(&job.seen, &job.pools, job.exact)?]);
        tell::send_web(&site, &auth, &Web::json("PUT", "/api/v1/pools/batch", &body), by).await?;
        Ok(())
    })
}

fn group(seen: &Seen, pools: &[Wanted], exact: bool) -> Result<Json, CommandError> {
    let page = seen.replies.iter().find(|reply| reply.request == "GET /api/v1/pools");
    let groups: Vec<Map<String, Json>> =
        page.and_then(|page| serde_json::from_slice(&page.body).ok()).unwrap_or_default();
    if groups.len() > 1 && !exact {
        let text = "nothing was sent: it has several groups of pools, and a preset knows one; say exact_pools: true";
        return Err(CommandError::Refused(text.to_string()));
    }
    let first = groups.into_iter().next().unwrap_or_default();
    let pool = |pool: &Wanted| json!({ "url": pool.url, "user": pool.user, "password": pool.password.expose(), "enabled": true });
    let pools: Vec<Json> = pools.iter().map(pool).collect();
    let mut group = Map::new();
    group.insert("name".to_string(), first.get("name").cloned().unwrap_or_else(|| json!("davylamp")));
    group.insert("pools".to_string(), Json::Array(pools));
    let strategy = first.get("strategy").filter(|strategy| strategy.is_object()).cloned();
    group.extend(strategy.map(|strategy| ("load_balance_strategy".to_string(), strategy)));
    Ok(Json::Object(group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, secret};

    /// Lets nobody in but root, whose password holds a quote, and resumes for nobody.
    async fn braiins() -> Peer {
        let (mut watts, mut state) = (3000_u64, 2);
        Peer::start(Wire::Http, move |request| {
            let path = request.split(' ').nth(1).unwrap();
            let body = request.split("\r\n\r\n").nth(1).unwrap();
            if path == "/api/v1/auth/login" {
                let good = body == r#"{"password":"pa\"ss","username":"root"}"#;
                return if good {
                    Say::json(&json!({"token": "tok", "timeout_s": 3600}))
                } else {
                    Say::http("401 Unauthorized", "")
                };
            }
            if !request.contains("authorization: tok\r\n") {
                return Say::http("401 Unauthorized", "");
            }
            match path {
                "/api/v1/performance/power-target" => {
                    watts = serde_json::from_str::<serde_json::Value>(body).unwrap()["watt"].as_u64().unwrap();
                    Say::json(&json!({"watt": watts}))
                }
                "/api/v1/actions/pause" => {
                    state = 3;
                    Say::json(&json!(true))
                }
                "/api/v1/actions/resume" => Say::http("412 Precondition Failed", "license"),
                "/api/v1/miner/stats" => Say::json(&json!({"miner_stats": {"real_hashrate": {"last_5s":
                    {"gigahash_per_second": if state == 2 { 100_000 } else { 0 }}}}})),
                "/api/v1/miner/details" => {
                    Say::json(&json!({"bos_version": {"current": "x"}, "status": state, "bosminer_uptime_s": 900}))
                }
                "/api/v1/performance/tuner-state" => Say::json(&json!({"overall_tuner_state": 5,
                    "mode_state": {"powertargetmodestate": {"current_target": {"watt": watts}}}})),
                _ => Say::http("404 Not Found", ""),
            }
        })
        .await
    }

    #[tokio::test]
    async fn logs_in_before_it_tells_and_reads_the_power_back() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({"password": secret(&folder, "pa\"ss")});
        let peer = braiins().await;
        let outcome = peer.told("braiins", options.clone(), "power-limit 2800").await.unwrap();
        assert_eq!(outcome.before.as_deref(), Some("3000"));
        let outcome = peer.told("braiins", options.clone(), "pause").await.unwrap();
        assert_eq!(outcome.before.as_deref(), Some("hashing"));
        let error = peer.told("braiins", options.clone(), "resume").await.unwrap_err();
        assert!(
            matches!(&error, CommandError::Refused(text) if text.contains("412") && text.contains("license")),
            "{error:?}"
        );
        let sent = peer.sent(&["GET /", "POST /api/v1/auth/login"]);
        let power = r#"PUT /api/v1/performance/power-target {"watt":2800}"#;
        assert_eq!(sent, [power, "PUT /api/v1/actions/pause", "PUT /api/v1/actions/resume"]);
        let options = json!({"password": secret(&folder, "wrong")});
        let error = peer.told("braiins", options, "reboot").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(text) if text.contains("nothing was sent")), "{error:?}");
    }
}
