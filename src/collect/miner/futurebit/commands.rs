//! What an Apollo can be told to do, by its password. Source: the maker's published server.
//!
//! What changes something was a query until version 2.1.4 and is a mutation since; a query that is none is refused before
//! anything is done, so the newer form is tried first.

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::super::ask::{Auth, MAX_REPLY};
use super::super::options::Options;
use super::super::tell;
use super::super::values::clean;
use super::{LOGIN, OPTIONS, PATH};
use crate::collect::command::{Command, CommandError, Goal, Plan};
use crate::collect::http::{Ask, Keep, Site};
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| plan(target, "Miner", "restart", Goal::Restarted),
    },
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| plan(target, "Mcu", "reboot", Goal::Restarted),
    },
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| plan(target, "Miner", "stop", Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| plan(target, "Miner", "start", Goal::Awake(true)),
    },
];

fn plan(target: &Target, module: &str, action: &str, goal: Goal) -> Result<Plan, CommandError> {
    let options = Options::read(target, OPTIONS).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    let auth = options.login(LOGIN, "");
    let site = Site::open(&target.address, 5000, options.tls, Keep::Close, MAX_REPLY);
    let site = site.map_err(|error| tell::mistake(&error))?;
    let words = ["mutation", "query"].map(|sort| format!("{sort}{{{module}{{{action}{{error{{message}}}}}}}}"));
    let sends = vec![format!("POST {PATH} {}", words[0]), format!("where that is not known: {}", words[1])];
    let send = move |by: Instant| -> BoxFuture<'static, Result<(), CommandError>> {
        Box::pin(async move {
            for query in &words {
                if ask(&site, &auth, query, by).await? {
                    return Ok(());
                }
            }
            Err(CommandError::Refused("the device knows no such command".to_string()))
        })
    };
    Ok(Plan { sends, send: Box::new(send), goal })
}

/// Sends one of both forms; `false` when the device does not know it.
async fn ask(site: &Site, auth: &Auth, query: &str, by: Instant) -> Result<bool, CommandError> {
    let body = json!({ "query": query }).to_string();
    let headers = [("content-type", "application/json")];
    let ask = Ask { method: "POST", headers: &headers, body: Some(body.as_bytes()), ..Ask::get(PATH) };
    let answer = auth.send(site, ask, by).await.map_err(|failure| CommandError::sent(&failure))?;
    let said: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let error = &said["errors"][0];
    if error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED" {
        return Ok(false);
    }
    if answer.status >= 500 && !error.is_object() {
        return Err(CommandError::Unknown(format!("it failed: HTTP {}", answer.status)));
    }
    let told = said["data"].as_object().and_then(|data| data.values().next()?.as_object()?.values().next());
    let complaint = error["message"].as_str().or_else(|| told?["error"]["message"].as_str());
    match complaint {
        Some(why) => Err(CommandError::Refused(format!("the device refused: {}", clean(why)))),
        None if answer.status >= 300 => {
            Err(CommandError::Refused(format!("the device refused: HTTP {}", answer.status)))
        }
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, secret};

    /// A miner of a version that knows mutations, or of one that does not.
    async fn apollo(mutations: bool) -> Peer {
        let (mut online, mut uptime) = (true, 9_000);
        Peer::start(Wire::Http, move |request| {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let body: Json = serde_json::from_str(body).unwrap();
            let query = body["query"].as_str().unwrap();
            let refusal = |message: &str, code: &str| json!({"errors": [{"message": message, "extensions": {"code": code}}], "data": null});
            if query.contains("Auth{login") {
                let right = body["variables"]["input"]["password"] == "hunter2";
                return Say::json(&match right {
                    true => json!({"data": {"Auth": {"login": {"result": {"accessToken": "jwt"}, "error": null}}}}),
                    false => refusal("Invalid password", "UNAUTHENTICATED"),
                });
            }
            let trusted = head.contains("authorization: Bearer jwt");
            if query.contains("online{result") {
                let rate = if online { 3_800.0 } else { 3_790.0 };
                return Say::json(&json!({"data": {"Miner": {"online": {"result": {"online": {"status": if online { "online" } else { "offline" }}}},
                    "stats": {"result": {"stats": [{"version": "v2", "master": {"upTime": uptime}, "slots": {"int_0": {"ghs": rate}}}]}}}}}));
            }
            if !trusted {
                return Say::json(&refusal("You must be authenticated to access this resource", "UNAUTHENTICATED"));
            }
            if query.contains("Services") {
                let wanted = if online { "online" } else { "offline" };
                return Say::json(&json!({"data": {"Services": {"stats": {"result": {"data": [{"serviceName": "miner", "requestedStatus": wanted}]}}}}}));
            }
            if query.starts_with("mutation") != mutations {
                let unknown = refusal("Cannot query field", "GRAPHQL_VALIDATION_FAILED");
                return Say::http("400 Bad Request", &unknown.to_string());
            }
            match query {
                _ if query.contains("Miner{stop") => online = false,
                _ if query.contains("Miner{start") => online = true,
                _ if query.contains("restart") => uptime = 0,
                _ if query.contains("reboot") => return Say::json(&json!({"data": {"Mcu": {"reboot": {"error": {"message": "busy"}}}}})),
                _ => return Say::json(&json!({"data": {"Mcu": {"stats": {"result": null}}}})),
            }
            Say::json(&json!({"data": {"Miner": {"x": {"error": null}}}}))
        })
        .await
    }

    #[tokio::test]
    async fn both_forms_of_the_api_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({ "password": secret(&folder, "hunter2") });
        for mutations in [true, false] {
            let peer = apollo(mutations).await;
            for (text, before) in [("pause", "hashing"), ("resume", "paused"), ("restart", "up for 9000 s")] {
                let outcome = peer.told("futurebit", options.clone(), text).await.unwrap();
                assert_eq!(outcome.before.as_deref(), Some(before), "{text} {mutations}");
            }
            let error = peer.told("futurebit", options.clone(), "reboot").await.unwrap_err();
            assert!(matches!(&error, CommandError::Refused(why) if why.contains("busy")), "{error:?}");
        }
        let peer = apollo(true).await;
        let wrong = json!({ "password": secret(&folder, "guess") });
        assert!(matches!(peer.told("futurebit", wrong, "pause").await, Err(CommandError::Refused(_))));
        let error = peer.told("futurebit", json!({}), "pause").await.unwrap_err();
        assert!(error.to_string().contains("options.password is missing"), "{error}");
    }
}
