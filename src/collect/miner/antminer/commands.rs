//! What Bitmain's firmware of the S19 and later can be told to do, over the pages of its web interface. Source: those pages.
//!
//! Sleeping is a setting among others of one page that takes them all or none, so they are read first and sent back as
//! they were, with one changed.

use futures_util::future::BoxFuture;
use serde_json::{Map, Value as Json, json};
use tokio::time::Instant;

use super::super::apply::{self, Hand, Job};
use super::super::ask::Auth;
use super::super::cgi::commands as cgi;
use super::super::options::Options;
use super::super::tell::{self, BY_STATUS, Sheet, Web};
use super::super::values::number;
use crate::collect::command::{APPLY_PRESET, Argument, Command, CommandError, Goal, Plan, Seen, Value};
use crate::collect::http::Site;
use crate::model::Target;
use crate::preset::{Able, Setting};

/// How it takes presets.
static HAND: Hand = Hand {
    able: Able { pools: 3, exact: true, settings: &[Setting::Fan] },
    by: "POST /cgi-bin/set_miner_conf.cgi",
    pools,
    starts: false,
};

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
        name: "fan",
        help: "drives the fans at so many per cent, or by the temperature, and reads it back",
        argument: Some(Argument::Number { name: "PERCENT", bounds: (10, 100), or: &["auto"] }),
        plan: fan,
    },
    Command {
        name: APPLY_PRESET,
        help: apply::HELP,
        argument: Some(Argument::Preset(&HAND.able)),
        plan: |target, value| apply::plan(target, value, &HAND),
    },
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
    let mode = json!(u8::from(asleep));
    let shown = format!("\"miner-mode\":{mode}");
    change(target, shown, Goal::Awake(!asleep), move |form| {
        form.insert("miner-mode".to_string(), mode);
    })
}

/// `bitmain-fan-ctrl` says whether the fans turn as `bitmain-fan-pwm` says.
fn fan(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    let percent = value.number();
    let shown =
        percent.map_or_else(|| "the fans by temperature".to_string(), |percent| format!("the fans at {percent} %"));
    let wanted = percent.map_or_else(|| "auto".to_string(), |percent| percent.to_string());
    let of = |seen: &Seen| seen.reading.settings.fan.map(|fan| fan.to_string().trim_end_matches('%').to_string());
    change(target, shown, Goal::Word { of: Box::new(of), wanted }, move |form| {
        form.insert("bitmain-fan-ctrl".to_string(), json!(percent.is_some()));
        form.extend(percent.map(|percent| ("bitmain-fan-pwm".to_string(), json!(percent.to_string()))));
    })
}

/// Writes the pools; those that the preset does not name stay as the device has them, password and all.
fn pools(job: Job, by: Instant) -> BoxFuture<'static, Result<(), CommandError>> {
    Box::pin(async move {
        let pool = |pool: &apply::Wanted| json!({ "url": pool.url, "user": pool.user, "pass": pool.password.expose() });
        let mut pools: Vec<Json> = job.pools.iter().map(pool).collect();
        let write = move |form: &mut Map<String, Json>| {
            let others = form.get("pools").and_then(Json::as_array).into_iter().flatten().skip(pools.len());
            // The page sends every slot, the empty ones too.
            let empty = json!({ "url": "", "user": "", "pass": "" });
            pools.extend(others.map(|other| if job.exact { empty.clone() } else { other.clone() }));
            form.insert("pools".to_string(), Json::Array(pools));
        };
        (change(&job.target, "other pools".to_string(), Goal::Unseen, write)?.send)(by).await
    })
}

/// A plan that changes some of the settings and sends the others back as they are.
fn change(
    target: &Target,
    shown: String,
    goal: Goal,
    write: impl FnOnce(&mut Map<String, Json>) + Send + 'static,
) -> Result<Plan, CommandError> {
    let (site, auth) = door(target)?;
    let sheet = Sheet {
        get: GET,
        set: ("POST", SET),
        change: Box::new(move |page| {
            let mut form = settings(page)?;
            write(&mut form);
            Ok(Json::Object(form))
        }),
        shown,
        judge: cgi::TAKEN,
    };
    Ok(tell::rewrite(site, auth, sheet, goal))
}

/// The page's own form: some keys are read under one name and written under another.
fn settings(page: &[u8]) -> Result<Map<String, Json>, CommandError> {
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
    // A number in what is written, a text in what is read.
    let mode = number(page.get("miner-mode").unwrap_or(&Json::Null)).unwrap_or_default();
    form.insert("miner-mode".to_string(), json!(u8::from(mode == 1.0)));
    Ok(form)
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
        assert!(settings(br#"{"miner-mode":"0"}"#).is_err());
        assert!(settings(b"<html>").is_err());
    }
}
