//! What Braiins OS can be told to do over REST. Source: the maker's public API definition (`bos-plus-api`), actions and
//! performance services.

use serde_json::json;

use super::super::options::Options;
use super::super::tell::{self, BY_STATUS, Web};
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan};
use crate::model::Target;

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
];

fn plan(target: &Target, message: Web, goal: Goal) -> Result<Plan, CommandError> {
    let options = Options::read(target, super::KIND.options).map_err(tell::mistakes)?;
    let auth = super::login(&options).map_err(|error| tell::mistake(&error))?;
    tell::web((target, 80), auth, &options, vec![message], BY_STATUS, goal)
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
