//! `futurebit`: FutureBit Apollo BTC, Apollo II and III over the GraphQL API of their system (port 5000).
//!
//! An Apollo has a mining board of its own and may have more on USB; each writes its figures to a file that the API reads
//! out. Traps: the file stays when the miner is stopped, so only what `online` says tells whether its figures are of now;
//! the MAC address in it is all zeros; response times are of uninitialised memory. With the password host name and MAC
//! address are asked too, and whether its owner has stopped it. Source: the maker's published server (apolloapi-v2) and a
//! public client.

mod commands;

use std::time::Duration;

use serde_json::Value;

use super::ask::{Asker, Flow, How, LoginRequest, Question};
use super::device::{self, Board, Device, Fan, PowerSource, Sensor, Show, State};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::pools::{self, Pool};
use super::repair;
use super::values::Fields;
use crate::collect::http::Answer;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "futurebit",
    summary: "FutureBit Apollo BTC, Apollo II and III (GraphQL)",
    subject: "miner",
    support: Support::Documented,
    default_address: "host, port 5000",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by what it says to the question whether its miner runs, or by who refuses it.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Http,
    port: 5000,
    bears: |clue| {
        clue.holds(&["/data/Miner/online/result/online/status"])
            || (clue.word("/errors/0/path/0") == "Miner" && clue.word("/errors/0/extensions/code") == UNAUTHENTICATED)
    },
};

const OPTIONS: &[OptionDoc] = &[options::POOL_USER_DOC, options::PASSWORD_DOC, options::TLS_DOC];

/// Where it is asked, and what it says without a login.
const PATH: &str = "/api/graphql";
const UNAUTHENTICATED: &str = "UNAUTHENTICATED";

const fn query(body: &'static str) -> How {
    How::Post { path: PATH, content: "application/json", body }
}

/// What a search asks.
pub const ONLINE: How = query(r#"{"query":"{Miner{online{result{online{status}}}}}"}"#);

const OPEN: &[Question] = &[Question::needed(query(
    r#"{"query":"{Miner{online{result{online{status}} error{message}} stats{result{stats{version versions{miner} master{upTime boardsI boardsW intervals{int_30{bySol errorRate} int_300{bySol} int_900{bySol} int_3600{bySol} int_0{bySol errors}}} pool{host port userName diff intervals{int_0{sharesAccepted sharesRejected staleJobShares inService}}} fans{int_0{rpm}} slots{int_0{chips pwrOn temperature temperature1 ghs}} slaves{uid}}} error{message}}}}"}"#,
))];
/// What is behind the login.
const CLOSED: &[Question] = &[
    Question::useful(query(
        r#"{"query":"{Services{stats(input:{serviceName:\"miner\"}){result{data{serviceName requestedStatus}} error{message}}}}"}"#,
    )),
    Question::seldom(
        query(r#"{"query":"{Mcu{stats{result{stats{hostname network{name mac}}} error{message}}}}"}"#),
        240,
    ),
];

/// Boards and fans that are read at most.
const PARTS: usize = 32;

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let closed = if options.password.is_some() { CLOSED } else { &[] };
    let auth = options.login(LOGIN, "");
    Ok(Box::new(Asker::web(target, 5000, auth, &[OPEN, closed].concat(), &options, parse)?))
}

/// One password and no user. Refusals come with status 200.
const LOGIN: Flow = Flow {
    request: |_, password| {
        let query = "query($input:AuthLoginInput!){Auth{login(input:$input){result{accessToken} error{message}}}}";
        let body = serde_json::json!({ "query": query, "variables": { "input": { "password": password } } });
        let (path, content) = (PATH.to_string(), "application/json");
        LoginRequest { method: "POST", path, content, body: Some(body.to_string()) }
    },
    token: |answer: &Answer| {
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(answer.pointer("/data/Auth/login/result/accessToken")?.as_str()?.to_string())
    },
    header: ("authorization", "Bearer "),
    refuses: |answer: &Answer| matches!(answer.status, 401 | 403) || is_refused(&answer.body),
};

/// Whether an answer is a refusal for want of a login; it stands at its start, because then there is no data.
fn is_refused(body: &[u8]) -> bool {
    /// A refusal is shorter than this; figures are longer.
    const SHORT: usize = 1024;
    let body = String::from_utf8_lossy(body.get(..SHORT).unwrap_or(body)).into_owned();
    body.contains("\"errors\"") && body.contains(UNAUTHENTICATED)
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut device = Device { address: address.to_string(), protocol: "graphql", ..Device::default() };
    device.make = "FutureBit".to_string();
    device.firmware = "stock".to_string();
    device.algorithm = "sha256d".to_string();
    let (mut online, mut wanted) = (None, None);
    for (at, reply) in replies.iter().enumerate() {
        let malformed = |reason: String| ParseError::Malformed { request: reply.request.clone(), reason };
        let page = repair::read(&reply.body).map_err(|error| malformed(error.to_string()))?.value;
        let page = Fields::of(&page).ok_or_else(|| malformed("not a JSON object".to_string()))?;
        if let Some(complaint) = page.objects("errors").find_map(|error| error.text("message")) {
            let (request, denied) = (reply.request.clone(), is_refused(&reply.body));
            match at {
                0 if denied => return Err(ParseError::Denied { request, reason: complaint }),
                _ => reading.notes.push(format!("{request}: {complaint}")),
            }
        }
        let Some(data) = page.object("data") else { continue };
        let result = |module: &str, question: &str| data.object(module)?.object(question)?.object("result");
        if let Some(result) = result("Miner", "online") {
            online = result.object("online").and_then(|online| online.get(&["status"])).map(status);
        }
        if let Some(result) = result("Miner", "stats") {
            put_stats(&mut device, result);
        }
        if let Some(result) = result("Services", "stats") {
            let miner = result.objects("data").find(|data| data.text("serviceName").as_deref() == Some("miner"));
            wanted = miner.and_then(|miner| miner.text("requestedStatus"));
        }
        if let Some(stats) = result("Mcu", "stats").and_then(|result| result.object("stats")) {
            put_system(&mut device, stats);
        }
    }
    let Some(online) = online else {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        return Err(ParseError::Malformed { request, reason: "no status of the miner in it".to_string() });
    };
    put_state(&mut device, &online, wanted.as_deref());
    device.put(&mut reading, show);
    Ok(reading)
}

/// `online`, `pending`, `offline` or `error`; a yes or no in some versions.
fn status(value: &Value) -> String {
    match value {
        Value::Bool(true) => "online".to_string(),
        Value::Bool(false) => "offline".to_string(),
        other => other.as_str().unwrap_or_default().to_ascii_lowercase(),
    }
}

/// What is not online leaves the figures of its last moment behind: they are dropped, and the rate is nothing.
fn put_state(device: &mut Device, online: &str, wanted: Option<&str>) {
    if online == "online" {
        return device.tell_state();
    }
    device.state = match (online, wanted) {
        ("offline", Some("offline")) => State::Paused,
        ("pending", None | Some("online")) => State::Starting,
        _ => State::Unknown,
    };
    device.hashrate = Some(0.0);
    device.averages.clear();
    device.power = None;
    device.uptime = None;
    device.temperatures.clear();
    device.currents.clear();
    device.hash_error_ratio = None;
    device.fans.clear();
    for board in &mut device.boards {
        *board = Board {
            name: std::mem::take(&mut board.name),
            serial: std::mem::take(&mut board.serial),
            ..Board::default()
        };
    }
    for pool in &mut device.pools {
        pool.active = Some(false);
    }
}

/// One entry for each mining board, in no particular order.
fn put_stats(device: &mut Device, result: Fields<'_>) {
    let mut boards: Vec<Fields<'_>> = result.objects("stats").take(PARTS).collect();
    boards.sort_by_key(|stats| uid(*stats));
    if let Some(newest) = boards.iter().max_by_key(|stats| stats.text("version")) {
        put_model(device, *newest);
    }
    for (at, stats) in boards.into_iter().enumerate() {
        put_board(device, stats, at);
    }
    device.shares = pools::sum(&device.pools);
}

fn uid(stats: Fields<'_>) -> Option<String> {
    stats.objects("slaves").find_map(|slave| slave.text("uid"))
}

/// A figure of the whole device from those of its boards, of which some may say nothing.
fn join(whole: &mut Option<f64>, one: Option<f64>, how: fn(f64, f64) -> f64) {
    *whole = match (*whole, one) {
        (Some(whole), Some(one)) => Some(how(whole, one)),
        (whole, one) => whole.or(one),
    };
}

fn put_board(device: &mut Device, stats: Fields<'_>, at: usize) {
    let master = stats.object("master");
    let interval = |name: &str| master?.object("intervals")?.object(name);
    let rate = |name: &str| interval(name)?.number("bySol").map(|gigahashes| gigahashes * 1e9);
    let slot = stats.object("slots").and_then(|slots| slots.object("int_0"));
    let now = slot.and_then(|slot| slot.number("ghs")).map(|gigahashes| gigahashes * 1e9);
    join(&mut device.hashrate, now.or_else(|| rate("int_30")), |sum, one| sum + one);
    for (window, name) in [("5m", "int_300"), ("15m", "int_900"), ("1h", "int_3600"), ("lifetime", "int_0")] {
        let Some(rate) = rate(name) else { continue };
        match device.averages.iter_mut().find(|(known, _)| *known == window) {
            Some((_, sum)) => *sum += rate,
            None => device.averages.push((window, rate)),
        }
    }
    let errors = interval("int_0").and_then(|interval| interval.number("errors"));
    join(&mut device.hardware_errors, errors, |sum, one| sum + one);
    let ratio = interval("int_30").and_then(|interval| interval.number("errorRate")).map(|percent| percent / 100.0);
    join(&mut device.hash_error_ratio, ratio, f64::max);
    let watts = master.and_then(|master| master.number("boardsW"));
    let known = device.power.map_or(0.0, |(watts, _)| watts);
    device.power = watts.map(|watts| (known + watts, PowerSource::Measured)).or(device.power);
    join(&mut device.uptime, master.and_then(|master| master.number("upTime")), f64::max);
    let serial = uid(stats).unwrap_or_default();
    if at == 0 {
        device.serial = serial.clone();
    }
    let fans = stats.object("fans").and_then(|fans| fans.object("int_0")?.get(&["rpm"])?.as_array());
    for (fan, rpm) in fans.into_iter().flatten().take(PARTS).enumerate() {
        let name = if fan == 0 { at.to_string() } else { format!("{at}.{fan}") };
        device.fans.push(Fan { name, rpm: super::values::number(rpm), ..Fan::default() });
    }
    let sensor =
        |key: &str| slot.and_then(|slot| slot.temperature(key)).map(|celsius| Sensor { place: "board", celsius });
    device.boards.push(Board {
        name: at.to_string(),
        serial,
        up: slot.and_then(|slot| slot.flag("pwrOn")),
        hashrate: now,
        chips: slot.and_then(|slot| slot.nonzero("chips")),
        hardware_errors: errors,
        temperatures: ["temperature", "temperature1"].into_iter().filter_map(sensor).collect(),
        ..Board::default()
    });
    device.pools.extend(stats.object("pool").and_then(|fields| pool(fields, at)));
}

/// The model is that of the newest board: one with a system of its own may have older ones on USB.
fn put_model(device: &mut Device, stats: Fields<'_>) {
    device.firmware_version = stats.object("versions").and_then(|versions| versions.text("miner")).unwrap_or_default();
    device.model = match stats.text("version").as_deref() {
        Some("v1") => "Apollo BTC",
        Some("v2") => "Apollo II",
        Some("v3") => "Apollo III",
        _ => "Apollo",
    }
    .to_string();
}

/// Each board works for a pool of its own, which is the same one for all unless the owner has changed that.
fn pool(fields: Fields<'_>, slot: usize) -> Option<Pool> {
    let url = fields.text("host")?;
    let total = fields.object("intervals").and_then(|intervals| intervals.object("int_0"));
    let count = |key: &str| total.and_then(|total| total.number(key));
    Some(Pool {
        slot,
        protocol: pools::protocol(&url).to_string(),
        url: pools::pool_url(&url, fields.number("port")),
        user: fields.text("userName").unwrap_or_default(),
        active: count("inService").map(|seconds| seconds > 0.0),
        shares: ["sharesAccepted", "sharesRejected", "staleJobShares"].map(count),
        difficulty: fields.nonzero("diff"),
        ..Pool::default()
    })
}

/// Host name, and the address of the wire before that of the air.
fn put_system(device: &mut Device, stats: Fields<'_>) {
    device.hostname = stats.text("hostname").unwrap_or_default();
    let real = |card: &Fields<'_>| {
        card.text("mac")
            .is_some_and(|mac| mac.bytes().any(|byte| matches!(byte, b'1'..=b'9' | b'a'..=b'f' | b'A'..=b'F')))
    };
    let cards: Vec<Fields<'_>> = stats.objects("network").filter(real).take(PARTS).collect();
    let wired = |card: &&Fields<'_>| card.text("name").is_some_and(|name| name.starts_with('e'));
    let card = cards.iter().find(wired).or_else(|| cards.first());
    device.mac = card.and_then(|card| card.text("mac")).unwrap_or_default();
}
