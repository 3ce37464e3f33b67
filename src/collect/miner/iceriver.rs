//! `iceriver`: IceRiver KS, AL and AE machines over the page of their web interface (`POST /user/userpanel`, `post=4`).
//!
//! Numbers carry their unit ("102.61G", "8.19 G"), the uptime is `dd:hh:mm:ss`, places without a fan say 0. The page is
//! open on most firmware; where it asks for a login, a password gives a cookie. Source: the device's
//! own web page and public clients of it.

mod commands;

use std::time::Duration;

use super::ask::{Asker, Flow, How, LoginRequest, Question, cookies};
use super::device::{self, Board, Clock, Device, Fan, Sensor, Show};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::pools::{self, Pool};
use super::repair;
use super::values::Fields;
use crate::collect::{Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "iceriver",
    summary: "IceRiver KS, AL and AE machines (HTTP)",
    subject: "miner",
    support: Support::Documented,
    default_address: "host, port 80",
    min_interval: Duration::from_secs(10),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by the page that it is polled by.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Http,
    port: 80,
    bears: |clue| clue.holds(&["/data/rtpow", "/data/firmtype"]),
};

const OPTIONS: &[OptionDoc] = &[options::POOL_USER_DOC, options::USERNAME_DOC, options::PASSWORD_DOC, options::TLS_DOC];

/// The user of every IceRiver.
const USER: &str = "admin";

/// Its web page logs in so, with everything in the query.
const LOGIN: Flow = Flow {
    request: |user, password| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("post", "6").append_pair("user", user).append_pair("pwd", password);
        LoginRequest { method: "POST", path: format!("/user/loginpost?{}", query.finish()), content: "", body: None }
    },
    token: cookies,
    header: ("cookie", ""),
    // Whoever is not let in is led to the page of the login.
    refuses: |answer| matches!(answer.status, 300..=399 | 401 | 403),
};

const QUESTIONS: &[Question] = &[Question::needed(How::Post {
    path: "/user/userpanel",
    content: "application/x-www-form-urlencoded; charset=UTF-8",
    body: "post=4",
})];

/// Boards, fans and pools that are read at most.
const PARTS: usize = 32;

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    Ok(Box::new(Asker::web(target, 80, options.login(LOGIN, USER), QUESTIONS, &options, parse)?))
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let reply = replies.first();
    let request = reply.map(|reply| reply.request.clone()).unwrap_or_default();
    let malformed = |reason: String| ParseError::Malformed { request: request.clone(), reason };
    let body = reply.map(|reply| &*reply.body).unwrap_or_default();
    let page = repair::read(body).map_err(|error| malformed(error.to_string()))?;
    let data = Fields::of(&page.value).and_then(|page| page.object("data"));
    let Some(data) = data else { return Err(malformed("no \"data\" in it".to_string())) };
    if data.get(&["rtpow", "avgpow", "boards"]).is_none() {
        return Err(malformed("no \"rtpow\", \"avgpow\" or \"boards\" in its data".to_string()));
    }
    let mut device = Device { address: address.to_string(), protocol: "http", ..Device::default() };
    put_identity(&mut device, data);
    let unit = data.text("unit").unwrap_or_else(|| "G".to_string());
    device.hashrate = data.rate("rtpow", &unit);
    device.averages.extend(data.rate("avgpow", &unit).map(|rate| ("lifetime", rate)));
    device.uptime = data.text("runtime").and_then(|text| uptime(&text));
    device.tell_state();
    let fans = data.get(&["fans"]).and_then(serde_json::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, rpm) in fans.iter().take(PARTS).enumerate() {
        let rpm = super::values::number(rpm).filter(|rpm| *rpm > 0.0);
        // A place without a fan cannot be told from a fan that stands still, but the device says whether all is well.
        let stopped = data.flag("fanstate") == Some(false);
        if rpm.is_some() || stopped {
            device.fans.push(Fan { name: index.to_string(), rpm: rpm.or(Some(0.0)), ..Fan::default() });
        }
    }
    for (key, component) in
        [("powstate", "power"), ("netstate", "network"), ("fanstate", "fan"), ("tempstate", "temperature")]
    {
        if data.flag(key) == Some(false) {
            device.faults.push((key.to_string(), component.to_string()));
        }
    }
    device.boards =
        data.objects("boards").take(PARTS).enumerate().map(|(at, fields)| board(fields, at, &unit)).collect();
    let ideal = data.objects("boards").take(PARTS).map(|board| board.rate("idealpow", &unit)).sum::<Option<f64>>();
    device.expected = ideal.filter(|rate| *rate > 0.0);
    put_pools(&mut device, data);
    let mut reading = Reading { notes: page.notes.iter().map(ToString::to_string).collect(), ..Reading::default() };
    device.put(&mut reading, show);
    Ok(reading)
}

fn put_identity(device: &mut Device, data: Fields<'_>) {
    let said = |key: &str| data.text(key).filter(|text| text != "none").unwrap_or_default();
    device.make = "IceRiver".to_string();
    device.model = [said("model"), said("firmtype")].into_iter().find(|model| !model.is_empty()).unwrap_or_default();
    device.algorithm = said("algo");
    device.firmware = "stock".to_string();
    device.firmware_version =
        [said("softver1"), said("firmver2")].into_iter().find(|v| !v.is_empty()).unwrap_or_default();
    device.mac = said("mac");
    device.hostname = said("host");
}

/// `dd:hh:mm:ss` in seconds.
fn uptime(text: &str) -> Option<f64> {
    let parts: Option<Vec<f64>> = text.split(':').map(|part| part.parse::<u32>().ok().map(f64::from)).collect();
    match parts?.as_slice() {
        [days, hours, minutes, seconds] => Some(days * 86_400.0 + hours * 3600.0 + minutes * 60.0 + seconds),
        _ => None,
    }
}

fn board(fields: Fields<'_>, position: usize, unit: &str) -> Board {
    let sensor = |key: &str, place| fields.temperature(key).map(|celsius| Sensor { place, celsius });
    Board {
        name: fields.number("no").map_or(position, |number| number as usize).to_string(),
        up: fields.flag("state"),
        hashrate: fields.rate("rtpow", unit),
        chips_expected: fields.nonzero("chipnum"),
        hardware_errors: fields.number("error"),
        temperatures: [sensor("intmp", "inlet"), sensor("outtmp", "outlet")].into_iter().flatten().collect(),
        frequency: Clock { set: None, actual: fields.nonzero("freq").map(|megahertz| megahertz * 1e6) },
        ..Board::default()
    }
}

fn put_pools(device: &mut Device, data: Fields<'_>) {
    let slot = |pool: Fields<'_>, at: usize| pool.number("no").map_or(at, |number| (number as usize).saturating_sub(1));
    for (at, pool) in data.objects("pools").take(PARTS).enumerate() {
        let url = pool.text("addr").unwrap_or_default();
        let up = pool.flag("connect").or_else(|| pool.number("state").map(|state| state > 0.0));
        device.pools.push(Pool {
            slot: slot(pool, at),
            protocol: pools::protocol(&url).to_string(),
            url: pools::pool_url(&url, None),
            user: pool.text("user").unwrap_or_default(),
            up,
            active: None,
            shares: [pool.number("accepted"), pool.number("rejected"), None],
            difficulty: pool.difficulty("diff").filter(|difficulty| *difficulty > 0.0),
            ..Pool::default()
        });
    }
    // It works for the first pool that it is connected to.
    if let Some(active) = device.pools.iter().position(|pool| pool.up == Some(true)) {
        for (at, pool) in device.pools.iter_mut().enumerate() {
            pool.active = Some(at == active);
        }
        device.on_fallback = Some(active != 0);
    }
    let shares = |index: usize| device.pools.iter().map(|pool| pool.shares[index]).sum::<Option<f64>>();
    if !device.pools.is_empty() {
        device.shares = [shares(0), shares(1), None];
    }
}
