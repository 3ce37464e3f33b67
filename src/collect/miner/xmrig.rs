//! `xmrig`: xmrig on CPUs and GPUs over its HTTP API (`GET /2/summary`, bearer token).
//!
//! The API is off by default; `--http-host`, `--http-port` and `--http-access-token` switch it on. Hash rates are H/s,
//! and null until their window is full. Source: xmrig's `doc/api`, and xmrig 6.26 itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{Asker, Auth, How, Question};
use super::device::{self, Device, Show, State};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::pools::{self, Pool};
use super::repair;
use super::tell::{self, Web};
use super::values::{Fields, clean, number};
use crate::collect::command::{Command, CommandError, Goal, Plan, Sending};
use crate::collect::http::Credential;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "xmrig",
    summary: "xmrig on CPUs and GPUs (HTTP API; off in xmrig by default)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 8080",
    min_interval: Duration::from_secs(1),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: COMMANDS,
    open,
};

/// How it is recognised: by its summary.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Program,
    door: Door::Http,
    port: 8080,
    bears: |clue| clue.holds(&["/worker_id", "/hashrate/total", "/connection"]),
};

const OPTIONS: &[OptionDoc] = &[options::POOL_USER_DOC, options::TOKEN_DOC, options::TLS_DOC];

const QUESTIONS: &[Question] = &[Question::needed(How::Get("/2/summary"))];

/// xmrig takes them unless its API is `restricted`, which it is by default: it answers 403 then.
const COMMANDS: &[Command] = &[
    Command {
        name: "pause",
        help: tell::PAUSE_HELP,
        argument: None,
        plan: |target, _| order(target, "pause", Goal::Awake(false)),
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| order(target, "resume", Goal::Awake(true)),
    },
];

fn order(target: &Target, method: &str, goal: Goal) -> Result<Plan, CommandError> {
    let options = Options::read(target, OPTIONS).map_err(tell::mistakes)?;
    let message = Web::json("POST", "/json_rpc", &json!({ "id": 1, "jsonrpc": "2.0", "method": method }));
    let judge = |body: &[u8]| match serde_json::from_slice::<Value>(body) {
        Ok(answer) if answer.get("error").is_none_or(Value::is_null) => Ok(()),
        Ok(_) => Err(CommandError::Refused(format!("it refused: {}", clean(&String::from_utf8_lossy(body))))),
        Err(error) => Err(CommandError::Unknown(format!("its answer cannot be read: {error}"))),
    };
    let plan = tell::web((target, 8080), auth(&options)?, &options, vec![message], judge, goal)?;
    let send: Sending = Box::new(|by| Box::pin(async move { (plan.send)(by).await.map_err(unrestricted) }));
    Ok(Plan { send, ..plan })
}

/// A right token and a refusal all the same.
fn unrestricted(error: CommandError) -> CommandError {
    match error {
        CommandError::Refused(why) if why.contains("403") => {
            let cure =
                "xmrig takes commands only with \"restricted\": false in the \"http\" section of its configuration";
            CommandError::Refused(format!("{why}; {cure}"))
        }
        other => other,
    }
}

/// Without a token xmrig's API is restricted to reading.
fn auth(options: &Options) -> Result<Auth, CommandError> {
    let token = options.token.clone().ok_or_else(|| tell::needs("token"))?;
    Ok(Auth::Fixed(Credential::Bearer(token)))
}

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let auth = options.token.clone().map_or(Auth::Open, |token| Auth::Fixed(Credential::Bearer(token)));
    Ok(Box::new(Asker::web(target, 8080, auth, QUESTIONS, &options, parse)?))
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let reply = replies.first();
    let request = reply.map(|reply| reply.request.clone()).unwrap_or_default();
    let malformed = |reason: String| ParseError::Malformed { request: request.clone(), reason };
    let body = reply.map(|reply| &*reply.body).unwrap_or_default();
    let page = repair::read(body).map_err(|error| malformed(error.to_string()))?.value;
    let Some(summary) = Fields::of(&page) else { return Err(malformed("not a JSON object".to_string())) };
    if summary.text("error").as_deref() == Some("UNAUTHORIZED") {
        return Err(ParseError::Denied { request, reason: "wrong or missing token".to_string() });
    }
    let Some(hashrate) = summary.object("hashrate") else {
        let said = summary.text("error").unwrap_or_else(|| "no \"hashrate\"".to_string());
        return Err(malformed(format!("no summary of a miner: {said}")));
    };
    let mut device = Device { address: address.to_string(), protocol: "http", ..Device::default() };
    put_identity(&mut device, summary);
    put_hashing(&mut device, summary, hashrate);
    put_shares(&mut device, summary);
    let memory = summary.object("resources").and_then(|resources| resources.object("memory"));
    device.memory_free.extend(memory.and_then(|memory| memory.number("free")).map(|bytes| ("system", bytes)));
    let mut reading = Reading::default();
    device.put(&mut reading, show);
    Ok(reading)
}

fn put_identity(device: &mut Device, summary: Fields<'_>) {
    device.firmware = "xmrig".to_string();
    device.firmware_version = summary.text("version").unwrap_or_default();
    // The id follows from the machine's network card and survives restarts.
    device.serial = summary.text("id").unwrap_or_default();
    device.hostname = summary.text("worker_id").unwrap_or_default();
    device.model = summary.object("cpu").and_then(|cpu| cpu.text("brand")).unwrap_or_default();
    let connection = summary.object("connection").and_then(|connection| connection.text("algo"));
    device.algorithm = connection.or_else(|| summary.text("algo")).unwrap_or_default();
}

fn put_hashing(device: &mut Device, summary: Fields<'_>, hashrate: Fields<'_>) {
    let totals = hashrate.get(&["total"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let total = |index: usize| totals.get(index).and_then(number);
    device.hashrate = total(0).or_else(|| total(1));
    for (index, window) in [(1, "1m"), (2, "15m")] {
        device.averages.extend(total(index).map(|rate| (window, rate)));
    }
    device.uptime = summary.number("uptime");
    device.tell_state();
    if summary.flag("paused") == Some(true) {
        device.state = State::Paused;
    }
}

fn put_shares(device: &mut Device, summary: Fields<'_>) {
    if let Some(results) = summary.object("results") {
        let (good, all) = (results.number("shares_good"), results.number("shares_total"));
        device.shares = [good, all.zip(good).map(|(all, good)| all - good), None];
        let best = results.get(&["best"]).and_then(|best| best.get(0)).and_then(number);
        device.best_session = best.filter(|best| *best > 0.0);
    }
    let Some(connection) = summary.object("connection") else { return };
    let url = connection.text("pool").unwrap_or_default();
    let tls = connection.get(&["tls"]).is_some();
    device.pools.push(Pool {
        protocol: if tls { "stratum_tls" } else { pools::protocol(&url) }.to_string(),
        url: pools::pool_url(&url, None),
        // Without a connection the uptime is 0 and the address of the pool is empty.
        up: connection.number("uptime").map(|uptime| uptime > 0.0),
        active: Some(true),
        shares: [connection.number("accepted"), connection.number("rejected"), None],
        difficulty: connection.nonzero("diff"),
        rtt: connection.nonzero("ping").map(|milliseconds| milliseconds / 1e3),
        ..Pool::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire, secret};

    const SUMMARY: &str = r#"{"id":"x","worker_id":"shed","uptime":500,"results":{"shares_good":1,"shares_total":1},"version":"6.26.0","paused":PAUSED,"hashrate":{"total":[20.1,null,null]}}"#;

    #[tokio::test]
    async fn pauses_and_resumes_with_its_token_and_not_without() {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({"token": secret(&folder, "s3cret\n")});
        let mut paused = false;
        let peer = Peer::start(Wire::Http, move |request| {
            if !request.contains("authorization: Bearer s3cret") {
                return Say::json(&json!({"status": 401, "error": "UNAUTHORIZED"}));
            }
            if request.starts_with("POST") {
                paused = request.contains(r#""method":"pause""#);
                return Say::json(&json!({"id": 1, "jsonrpc": "2.0", "error": null, "result": {"status": "OK"}}));
            }
            Say::http("200 OK", &SUMMARY.replace("PAUSED", &paused.to_string()))
        })
        .await;
        let outcome = peer.told("xmrig", options.clone(), "pause").await.unwrap();
        assert_eq!(outcome.before.as_deref(), Some("hashing"));
        assert!(!peer.told("xmrig", options.clone(), "pause").await.unwrap().changed);
        peer.told("xmrig", options, "resume").await.unwrap();
        let message = |method: &str| format!(r#"POST /json_rpc {{"id":1,"jsonrpc":"2.0","method":"{method}"}}"#);
        assert_eq!(peer.sent(&["GET /"]), [message("pause"), message("resume")]);
        let error = peer.told("xmrig", json!({}), "pause").await.unwrap_err();
        assert!(error.to_string().contains("options.token is missing"), "{error}");
    }
}
