//! What Innosilicon's web interface can tell a machine to do. Source: that interface.

use serde_json::{Value as Json, json};

use super::super::ask::MAX_REPLY;
use super::super::options::Options;
use super::super::tell::{self, Judge, Web};
use super::super::values::clean;
use super::web;
use crate::collect::command::{Command, CommandError, Goal, Plan};
use crate::collect::http::{Keep, Site};
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| plan(target, "/api/restartCgMiner"),
    },
    Command { name: "reboot", help: tell::REBOOT_HELP, argument: None, plan: |target, _| plan(target, "/api/reboot") },
];

/// A refusal comes with a status of success.
const JUDGE: Judge = |body| {
    let said: Json = serde_json::from_slice(body).unwrap_or_default();
    if said["success"] != json!(false) {
        return Ok(());
    }
    let why = ["message", "msg", "token"].iter().find_map(|key| said[key].as_str());
    Err(CommandError::Refused(format!("the device refused: {}", clean(why.unwrap_or("it does not say why")))))
};

fn plan(target: &Target, path: &'static str) -> Result<Plan, CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    let auth = options.login(web::LOGIN, web::USER);
    let place = tell::rpc_place(target, 4028)?;
    let host = place.rsplit_once(':').map_or(&*place, |(host, _)| host);
    let port = options.web_port();
    let site = Site::open(&format!("{host}:{port}"), port, options.tls, Keep::Close, MAX_REPLY);
    let site = site.map_err(|error| tell::mistake(&error))?;
    Ok(tell::web_to(site, auth, vec![Web::json("POST", path, &json!({}))], JUDGE, Goal::Restarted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, secret};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn logs_in_again_when_the_token_has_run_out() {
        let folder = tempfile::tempdir().unwrap();
        let elapsed = Arc::new(AtomicU32::new(9_000));
        let (shown, told) = (elapsed.clone(), elapsed.clone());
        let api = Peer::start(Wire::Line, move |_| {
            let elapsed = shown.load(Ordering::Relaxed);
            Say::line(&json!({"STATUS": [{"STATUS": "S", "Description": "innominer t3-1.0"}], "SUMMARY": [{"Elapsed": elapsed, "MHS 5s": 43_000_000}]}).to_string())
        })
        .await;
        let mut tokens = 0;
        let web = Peer::start(Wire::Http, move |request| {
            let line = request.split(' ').nth(1).unwrap();
            if line == "/api/auth" {
                let right = request.ends_with("username=admin&password=hunter2");
                tokens += u32::from(right);
                return match right {
                    true => Say::json(&json!({"success": true, "jwt": format!("t{tokens}")})),
                    false => Say::json(&json!({"success": false, "message": "Wrong password"})),
                };
            }
            if !request.contains(&format!("authorization: Bearer t{tokens}\r\n")) {
                return Say::json(&json!({"success": false, "token": "expired"}));
            }
            if line == "/api/restartCgMiner" {
                told.store(0, Ordering::Relaxed);
            }
            Say::json(&json!({"success": line != "/api/reboot", "message": "locked"}))
        })
        .await;
        let port: u16 = web.address.rsplit(':').next().unwrap().parse().unwrap();
        let options = json!({"password": secret(&folder, "hunter2"), "web_port": port});
        let outcome = api.told("innosilicon", options.clone(), "restart").await.unwrap();
        assert_eq!(outcome.before.as_deref(), Some("up for 9000 s"));
        let error = api.told("innosilicon", options, "reboot").await.unwrap_err();
        assert!(matches!(&error, CommandError::Refused(why) if why.contains("locked")), "{error:?}");
        let wrong = json!({"password": secret(&folder, "guess"), "web_port": port});
        assert!(matches!(api.told("innosilicon", wrong, "restart").await, Err(CommandError::Refused(_))));
        let error = api.told("innosilicon", json!({}), "restart").await.unwrap_err();
        assert!(error.to_string().contains("options.password is missing"), "{error}");
    }
}
