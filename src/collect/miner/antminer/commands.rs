//! What Bitmain's firmware of the S19 and later can be told to do, over the pages of its web interface. Source: those pages.
//!
//! Sleeping is a setting among others of one page that takes them all or none, so they are read first and sent back as
//! they were, with one changed.

use serde_json::{Map, Value as Json, json};

use super::super::ask::Auth;
use super::super::cgi::commands as cgi;
use super::super::options::Options;
use super::super::tell::{self, BY_STATUS, Sheet, Web};
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan};
use crate::collect::http::Site;
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| {
            let (site, auth) = door(target)?;
            let message = Web::bare("GET", "/cgi-bin/reboot.cgi");
            Ok(tell::web_to(site, auth, vec![message], BY_STATUS, Goal::Restarted))
        },
    },
    Command { name: "pause", help: SLEEP_HELP, argument: None, plan: |target, _| sleep(target, true) },
    Command { name: "resume", help: tell::RESUME_HELP, argument: None, plan: |target, _| sleep(target, false) },
    Command {
        name: "identify",
        help: "makes the lights of the device blink, or not",
        argument: Some(Argument::Word(&["on", "off"])),
        plan: |target, value| {
            let (site, auth) = door(target)?;
            let message = Web::json("POST", "/cgi-bin/blink.cgi", &json!({ "blink": value.word() == "on" }));
            Ok(tell::web_to(site, auth, vec![message], BY_STATUS, Goal::Unseen))
        },
    },
];

const SLEEP_HELP: &str = "puts the device into its sleep mode, and waits until its state says so";
const GET: &str = "/cgi-bin/get_miner_conf.cgi";
const SET: &str = "/cgi-bin/set_miner_conf.cgi";

/// The web interface, which is on another port than the API.
pub fn door(target: &Target) -> Result<(Site, Auth), CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    Ok((tell::beside(target, &options, 80)?, options.digest(super::USER)))
}

fn sleep(target: &Target, asleep: bool) -> Result<Plan, CommandError> {
    let (site, auth) = door(target)?;
    let sheet = Sheet {
        get: GET,
        set: ("POST", SET),
        change: Box::new(move |page| settings(page, asleep)),
        shown: format!("\"miner-mode\":{}", u8::from(asleep)),
        judge: cgi::TAKEN,
    };
    Ok(tell::rewrite(site, auth, sheet, Goal::Awake(!asleep)))
}

/// The page's own form: some keys are read under one name and written under another.
fn settings(page: &[u8], asleep: bool) -> Result<Json, CommandError> {
    let unreadable = || CommandError::Refused("its settings cannot be read, so nothing was sent".to_string());
    let page: Map<String, Json> = serde_json::from_slice(page).map_err(|_| unreadable())?;
    let mut form = Map::new();
    for (read, written) in [
        ("bitmain-fan-ctrl", "bitmain-fan-ctrl"),
        ("bitmain-fan-pwm", "bitmain-fan-pwm"),
        ("bitmain-freq-level", "freq-level"),
        ("pools", "pools"),
    ] {
        if let Some(value) = page.get(read) {
            form.insert(written.to_string(), value.clone());
        }
    }
    // Without them the page would forget whom it works for.
    if !form.get("pools").is_some_and(Json::is_array) {
        return Err(unreadable());
    }
    form.insert("miner-mode".to_string(), json!(u8::from(asleep)));
    Ok(Json::Object(form))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, secret};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"antMiner Configuration\", nonce=\"5f\", qop=\"auth\"\r\n";

    #[tokio::test]
    async fn sleeping_changes_one_setting_and_keeps_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let asleep = Arc::new(AtomicBool::new(false));
        let (state, told) = (asleep.clone(), asleep.clone());
        let api = Peer::start(Wire::Line, move |_| {
            let rate = if state.load(Ordering::Relaxed) { 0.0 } else { 100_000.0 };
            Say::line(
                &json!({"STATUS": [{"STATUS": "S", "Msg": "CGMiner stats"}], "STATS": [{"Type": "Antminer S19"},
                {"STATS": 0, "ID": "BTM_SOC0", "Elapsed": 900, "GHS 5s": rate, "GHS av": rate, "fan_num": 0}]})
                .to_string(),
            )
        })
        .await;
        let web = Peer::start(Wire::Http, move |request| {
            // Which password it was the header's own tests say.
            if !request.contains("authorization: Digest username=\"root\"") {
                return Say::headed("401 Unauthorized", CHALLENGE, "");
            }
            if request.starts_with("GET /cgi-bin/get_miner_conf.cgi") {
                let mode = u8::from(told.load(Ordering::Relaxed)).to_string();
                return Say::json(&json!({"pools": [{"url": "p", "user": "u", "pass": "x"}], "bitmain-fan-ctrl": false,
                    "bitmain-fan-pwm": "100", "bitmain-freq-level": "100", "bitmain-work-mode": mode, "miner-mode": mode}));
            }
            if request.starts_with("POST /cgi-bin/set_miner_conf.cgi") {
                told.store(request.contains(r#""miner-mode":1"#), Ordering::Relaxed);
                return Say::json(&json!({"stats": "success", "code": "M000", "msg": "OK!"}));
            }
            Say::json(&json!({}))
        })
        .await;
        let port: u16 = web.address.rsplit(':').next().unwrap().parse().unwrap();
        let options = json!({"password": secret(&folder, "root"), "web_port": port});
        let outcome = api.told("antminer", options.clone(), "pause").await.unwrap();
        assert_eq!(outcome.before.as_deref(), Some("hashing"));
        assert!(api.told("antminer", options.clone(), "resume").await.unwrap().changed);
        assert!(api.told("antminer", options, "identify on").await.unwrap().changed);
        let sent: Vec<String> = web.sent(&["GET /"]).into_iter().filter(|line| line.contains('{')).collect();
        let form = |mode: u8| {
            format!(
                r#"POST {SET} {{"bitmain-fan-ctrl":false,"bitmain-fan-pwm":"100","freq-level":"100","miner-mode":{mode},"pools":[{{"pass":"x","url":"p","user":"u"}}]}}"#
            )
        };
        // The first POST of each is challenged anew, because every command proves itself afresh.
        assert_eq!(sent.first(), Some(&form(1)));
        assert!(
            sent.contains(&form(0)) && sent.contains(&r#"POST /cgi-bin/blink.cgi {"blink":true}"#.to_string()),
            "{sent:?}"
        );
        let error = api.told("antminer", json!({}), "pause").await.unwrap_err();
        assert!(error.to_string().contains("options.password is missing"), "{error}");
    }

    #[test]
    fn settings_that_name_no_pools_are_not_sent_back() {
        assert!(settings(br#"{"miner-mode":"0"}"#, true).is_err());
        assert!(settings(b"<html>", true).is_err());
    }
}
