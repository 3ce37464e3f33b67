//! Telling a miner: the messages of a command, over HTTP or cgminer's TCP API, one after the other, each sent once.
//!
//! The counterpart of `ask`, and the only place from which a message leaves that changes something: a read never writes.

use bytes::Bytes;
use tokio::time::Instant;

use super::ask::{Auth, MAX_REPLY};
use super::documents;
use super::families;
use super::options::Options;
use super::place::Place;
use super::values::clean;
use crate::collect::OptionError;
use crate::collect::command::{Argument, CommandError, Goal, Plan, Seen, Value};
use crate::collect::http::{Answer, Ask, Keep, Site};
use crate::collect::tcp;
use crate::model::Target;

/// A message over HTTP.
#[derive(Clone, Debug)]
pub struct Web {
    /// `POST`, `PATCH`, …
    pub method: &'static str,
    /// Path with its query.
    pub path: String,
    /// `content-type` and body. A body may hold a secret, so it is shown only as `shown` says.
    pub body: Option<(&'static str, String)>,
    /// What people are shown behind the path.
    pub shown: String,
}

impl Web {
    /// A message without a body.
    pub fn bare(method: &'static str, path: impl Into<String>) -> Web {
        Web { method, path: path.into(), body: None, shown: String::new() }
    }

    /// A message with a JSON body that holds no secret.
    pub fn json(method: &'static str, path: impl Into<String>, body: &serde_json::Value) -> Web {
        let text = body.to_string();
        Web { method, path: path.into(), body: Some(("application/json", text.clone())), shown: text }
    }

    /// As a dry run shows it.
    pub fn describe(&self) -> String {
        format!("{} {} {}", self.method, self.path, self.shown).trim_end().to_string()
    }
}

/// What an answer with a status of success says: nothing against it, or why not.
pub type Judge = fn(&[u8]) -> Result<(), CommandError>;

/// For devices whose status says it all.
pub const BY_STATUS: Judge = |_| Ok(());

/// A mistake in a target's options, as a command tells of it.
pub fn mistake(error: &OptionError) -> CommandError {
    CommandError::Refused(error.to_string())
}

/// As [`mistake`], of several.
pub fn mistakes(errors: Vec<OptionError>) -> CommandError {
    CommandError::Refused(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// What is sent without a credential that it needs.
pub fn needs(option: &str) -> CommandError {
    CommandError::Refused(format!("options.{option} is missing: the device takes commands only with it"))
}

/// Sends one message and reads its answer.
pub async fn send_web(site: &Site, auth: &Auth, web: &Web, by: Instant) -> Result<Answer, CommandError> {
    // Without a length, some small web servers wait for a body for ever.
    let header = web.body.as_ref().map_or(("content-length", "0"), |(content, _)| ("content-type", *content));
    let body = web.body.as_ref().map(|(_, body)| body.as_bytes());
    let ask = Ask { method: web.method, path: &web.path, headers: &[header], credential: None, body };
    let answer = auth.send(site, ask, by).await.map_err(|failure| CommandError::sent(&failure))?;
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    let said = clean(&String::from_utf8_lossy(&answer.body));
    // A gateway's or a server's own failure may have come after the command was done.
    let unclear = answer.status >= 500;
    let why = answer.success().map_or_else(|failure| failure.to_string(), |_| String::new());
    match unclear {
        true => Err(CommandError::Unknown(format!("it failed: {why} {said}").trim_end().to_string())),
        false => Err(CommandError::Refused(format!("the device refused: {why} {said}").trim_end().to_string())),
    }
}

/// A plan of messages over HTTP.
///
/// # Errors
/// [`CommandError::Refused`] for an address or TLS settings that are wrong.
pub fn web(
    (target, default_port): (&Target, u16),
    auth: Auth,
    options: &Options,
    messages: Vec<Web>,
    judge: Judge,
    goal: Goal,
) -> Result<Plan, CommandError> {
    let site = Site::open(&target.address, default_port, options.tls.clone(), Keep::Close, MAX_REPLY);
    let site = site.map_err(|error| mistake(&error))?;
    Ok(web_to(site, auth, messages, judge, goal))
}

/// [`web`] to a site of the caller's.
pub fn web_to(site: Site, auth: Auth, messages: Vec<Web>, judge: Judge, goal: Goal) -> Plan {
    let sends = messages.iter().map(Web::describe).collect();
    let send = move |by: Instant| {
        let work = async move {
            for message in messages {
                let answer = send_web(&site, &auth, &message, by).await?;
                judge(&answer.body)?;
            }
            Ok(())
        };
        Box::pin(work) as futures_util::future::BoxFuture<'static, _>
    };
    Plan { sends, send: Box::new(send), goal }
}

/// Sends one request of cgminer's API and reads the answer.
pub async fn send_rpc(address: &str, request: &str, by: Instant) -> Result<Bytes, CommandError> {
    let left = by.saturating_duration_since(Instant::now());
    let sent = tcp::exchange(address, request.as_bytes(), MAX_REPLY, left).await;
    sent.map_err(|failure| CommandError::sent(&failure))
}

/// Where a target's TCP API is.
///
/// # Errors
/// [`CommandError::Refused`] for an address that is none.
pub fn rpc_place(target: &Target, default_port: u16) -> Result<String, CommandError> {
    let place = Place::read(&target.address, "tcp", default_port);
    Ok(place.map_err(|error| mistake(&error))?.to_string())
}

/// The web interface of a device whose address is that of its TCP API.
///
/// # Errors
/// As [`rpc_place`], and for TLS settings that are wrong.
pub fn beside(target: &Target, options: &Options, default_port: u16) -> Result<Site, CommandError> {
    let place = rpc_place(target, 4028)?;
    let host = place.rsplit_once(':').map_or(&*place, |(host, _)| host);
    let port = options.web_port.unwrap_or(if options.tls.is_some() { 443 } else { default_port });
    let site = Site::open(&format!("{host}:{port}"), port, options.tls.clone(), Keep::Close, MAX_REPLY);
    site.map_err(|error| mistake(&error))
}

/// Turns settings as they were read into settings as they are written.
pub type Change = Box<dyn FnOnce(&[u8]) -> Result<serde_json::Value, CommandError> + Send>;

/// Settings of a device that a page gives whole and takes whole.
pub struct Sheet {
    /// Where they are read.
    pub get: &'static str,
    /// Method and path by which they are written.
    pub set: (&'static str, &'static str),
    /// Turns what was read into what is written.
    pub change: Change,
    /// What is changed, for people.
    pub shown: String,
    /// What the answer says.
    pub judge: Judge,
}

/// A plan that reads a sheet of settings and sends it back as it was, but for what is changed.
pub fn rewrite(site: Site, auth: Auth, sheet: Sheet, goal: Goal) -> Plan {
    let (method, path) = sheet.set;
    let sends = vec![format!("GET {}", sheet.get), format!("{method} {path} as it is, with {}", sheet.shown)];
    let send = move |by: Instant| {
        let work = async move {
            let found = auth.send(&site, Ask::get(sheet.get), by).await.and_then(|answer| answer.success());
            // Nothing has been told yet, whatever became of the connection.
            let found = found.map_err(|failure| CommandError::Refused(failure.to_string()))?;
            let body = (sheet.change)(&found.body)?;
            let answer = send_web(&site, &auth, &Web::json(method, path, &body), by).await?;
            (sheet.judge)(&answer.body)
        };
        Box::pin(work) as futures_util::future::BoxFuture<'static, _>
    };
    Plan { sends, send: Box::new(send), goal }
}

/// A plan of requests over cgminer's API.
///
/// # Errors
/// As [`rpc_place`].
pub fn rpc(
    (target, default_port): (&Target, u16),
    requests: Vec<String>,
    judge: Judge,
    goal: Goal,
) -> Result<Plan, CommandError> {
    let address = rpc_place(target, default_port)?;
    let sends = requests.clone();
    let send = move |by: Instant| {
        let work = async move {
            for request in requests {
                let answer = send_rpc(&address, &request, by).await?;
                judge(&answer)?;
            }
            Ok(())
        };
        Box::pin(work) as futures_util::future::BoxFuture<'static, _>
    };
    Ok(Plan { sends, send: Box::new(send), goal })
}

/// A request of cgminer's API with a parameter.
pub fn request(command: &str, parameter: &str) -> String {
    match parameter {
        "" => serde_json::json!({ "command": command }).to_string(),
        _ => serde_json::json!({ "command": command, "parameter": parameter }).to_string(),
    }
}

/// Several messages that belong together: once one was taken, a refusal of a later one is no longer "nothing was done".
#[derive(Default)]
pub struct Steps {
    taken: bool,
}

impl Steps {
    /// What became of a question between them.
    ///
    /// # Errors
    /// Its own.
    pub fn asked<T>(&self, came: Result<T, CommandError>) -> Result<T, CommandError> {
        match came {
            Err(CommandError::Refused(why)) if self.taken => {
                Err(CommandError::NotConfirmed(format!("it took a part of it; then {why}")))
            }
            other => other,
        }
    }

    /// What became of the next message.
    ///
    /// # Errors
    /// Its own.
    pub fn told<T>(&mut self, came: Result<T, CommandError>) -> Result<T, CommandError> {
        let came = self.asked(came);
        self.taken |= came.is_ok();
        came
    }
}

/// For cgminer's API: its `STATUS`. A program that restarts says little more than that, or nothing.
pub const BY_SECTIONS: Judge = |body| {
    let parting = body.is_empty() || body.windows(7).any(|word| word == b"RESTART");
    if parting { Ok(()) } else { documents::taken(body) }
};

/// The power limit that a device tells, in watts.
pub fn power_limit(wanted: u32) -> Goal {
    let of = |seen: &Seen| seen.figure(&families::POWER_LIMIT.name, None);
    Goal::Figure { of: Box::new(of), wanted: f64::from(wanted) }
}

/// Terahashes per second, as the argument of a command.
pub const TERAHASHES: Option<Argument> = Some(Argument::Number { name: "TERAHASHES", bounds: (1, 10_000), or: &[] });

/// The hash rate that a device's tuner aims at, in terahashes per second.
pub fn hashrate_target(wanted: u32) -> Goal {
    let of = |seen: &Seen| seen.reading.settings.hashrate_target.map(|rate| rate / 1e12);
    Goal::Figure { of: Box::new(of), wanted: f64::from(wanted) }
}

/// The pool that a device works for, by its number in the label `pool`.
pub fn active_pool(wanted: u32) -> Goal {
    let of = |seen: &Seen| {
        let active = seen
            .reading
            .samples
            .iter()
            .find(|sample| sample.family.name == families::POOL_ACTIVE.name && sample.value == 1.0);
        active?.labels.get("pool").map(str::to_string)
    };
    Goal::Word { of: Box::new(of), wanted: wanted.to_string() }
}

/// The speed of fans of which the device does not say whether they are driven by the temperature. That they are, once
/// told so, cannot be seen.
pub fn fan_speed(value: &Value) -> Goal {
    let of = |seen: &Seen| seen.figure(&families::FAN_DUTY.name, None).map(|duty| duty * 100.0);
    let fixed = |percent| Goal::Speed { of: Box::new(of), auto: Box::new(|_| None), wanted: f64::from(percent) };
    value.number().map_or(Goal::Unseen, fixed)
}

/// Help that more than one family gives.
pub const RESTART_HELP: &str = "restarts mining and waits until its uptime says so";
/// As [`RESTART_HELP`].
pub const REBOOT_HELP: &str = "restarts the whole device and waits until its uptime says so";
/// As [`RESTART_HELP`].
pub const PAUSE_HELP: &str = "stops mining until it is resumed, and waits until its state says so";
/// As [`RESTART_HELP`].
pub const RESUME_HELP: &str = "mines again after a pause, and waits until its state says so";
/// As [`RESTART_HELP`].
pub const POOL_HELP: &str = "makes a pool the first choice, and waits until it works for it";
/// As [`RESTART_HELP`].
pub const FAN_HELP: &str = "drives the fans at so many per cent and reads it back, or by the temperature";
/// As [`RESTART_HELP`].
pub const LIGHT_HELP: &str = "makes the light that shows the device blink, or not";
