//! Braiins OS and OS+, by the API that its version has: `braiins` (REST, 25.07 and later), `braiins_graphql` (21.09 to
//! 25.05) and `braiins_rpc` (cgminer's API, kept by all of them). Its first version, of 2019, answers as stock firmware
//! does: that is kind `antminer`.
//!
//! Traps of REST: every number is wrapped in its unit (`{"watt": 3137}`), enumerations are integers, absent is null. Its
//! list of errors is a diary of months, so nothing of it is active now and it is not asked for. Sources: the maker's
//! public API definition (`bos-plus-api`), the firmware's own GraphQL schema, and the recorded replies.

mod commands;
mod graphql;
mod older;
mod rest;
mod rpc;

use std::time::Duration;

use serde_json::Value;

use super::ask::{Asker, Auth, BY_STATUS, Flow, How, Login, LoginRequest, Question};
use super::device::{self, Device};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use super::pools::Pool;
use super::repair;
use crate::collect::http::Answer;
use crate::collect::{Kind, Opened, OptionError, ParseError, Reply, Support};
use crate::model::Target;

/// The row of `braiins`.
pub const KIND: Kind = Kind {
    name: "braiins",
    summary: "Braiins OS 25.07 and later (REST with a login)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 80",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: &[options::POOL_USER_DOC, options::USERNAME_DOC, options::PASSWORD_DOC, options::TLS_DOC],
    commands: commands::COMMANDS,
    open: open_rest,
};

/// The row of `braiins_graphql`.
pub const KIND_GRAPHQL: Kind = Kind {
    name: "braiins_graphql",
    summary: "Braiins OS 21.09 to 25.05 (GraphQL; commands with a login)",
    options: &[options::POOL_USER_DOC, options::USERNAME_DOC, options::PASSWORD_FOR_COMMANDS_DOC, options::TLS_DOC],
    commands: older::GRAPHQL_COMMANDS,
    open: open_graphql,
    ..KIND
};

/// The row of `braiins_rpc`.
pub const KIND_RPC: Kind = Kind {
    name: "braiins_rpc",
    summary: "Braiins OS of any version since 2020 (TCP API)",
    support: Support::Documented,
    default_address: "host, port 4028",
    options: &[options::POOL_USER_DOC],
    commands: older::RPC_COMMANDS,
    open: open_rpc,
    ..KIND
};

/// How `braiins` is recognised: its login page says its name. It cannot be polled without a password.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Firmware,
    door: Door::Http,
    port: 80,
    bears: |clue| clue.page_says("Braiins OS"),
};

/// How `braiins_graphql` is recognised: by an answer to its question for the model.
pub const MARK_GRAPHQL: Mark =
    Mark { kind: KIND_GRAPHQL.name, bears: |clue| clue.holds(&["/data/bosminer/info/modelName"]), ..MARK };

/// How `braiins_rpc` is recognised: `version` names its program.
pub const MARK_RPC: Mark = Mark {
    kind: KIND_RPC.name,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| {
        let names = ["/VERSION/0/BOSer", "/VERSION/0/BOSminer", "/VERSION/0/BOSminer+"];
        names.iter().any(|name| clue.holds(&[name]))
    },
    ..MARK
};

/// The user of every installation.
const USER: &str = "root";

const PAGES: &[Question] = &[
    Question::needed(How::Get("/api/v1/miner/stats")),
    Question::needed(How::Get("/api/v1/miner/details")),
    Question::useful(How::Get("/api/v1/miner/hw/hashboards")),
    Question::useful(How::Get("/api/v1/cooling/state")),
    Question::useful(How::Get("/api/v1/performance/tuner-state")),
    Question::useful(How::Get("/api/v1/pools")),
];

/// The answer holds a token, which is the whole of the header.
const LOGIN: Flow = Flow {
    request: |username, password| LoginRequest {
        method: "POST",
        path: "/api/v1/auth/login".to_string(),
        content: "application/json",
        body: Some(serde_json::json!({ "username": username, "password": password }).to_string()),
    },
    token: |answer: &Answer| {
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(answer.get("token")?.as_str()?.to_string())
    },
    header: ("authorization", ""),
    refuses: BY_STATUS,
};

fn open_rest(target: &Target) -> Opened {
    let options = Options::read(target, KIND.options)?;
    Ok(Box::new(Asker::web(target, 80, login(&options)?, PAGES, &options, rest::parse)?))
}

fn login(options: &Options) -> Result<Auth, OptionError> {
    let Some(password) = options.password.clone() else {
        let text = "is missing: the REST API wants a login (kinds braiins_graphql and braiins_rpc do not)";
        return Err(OptionError::new("options.password", text));
    };
    let user = options.username.clone().unwrap_or_else(|| USER.to_string());
    Ok(Auth::Login(Login::new(LOGIN, user, password)))
}

fn open_graphql(target: &Target) -> Opened {
    let options = Options::read(target, KIND_GRAPHQL.options)?;
    Ok(Box::new(Asker::web(target, 80, Auth::Open, graphql::QUESTIONS, &options, graphql::parse)?))
}

fn open_rpc(target: &Target) -> Opened {
    let options = Options::read(target, KIND_RPC.options)?;
    Ok(Box::new(Asker::rpc(target, 4028, rpc::COMMANDS, &options, rpc::parse)?))
}

fn device(address: &str, protocol: &'static str) -> Device {
    Device { address: address.to_string(), protocol, firmware: "Braiins OS".to_string(), ..Device::default() }
}

fn page(reply: &Reply) -> Result<Value, ParseError> {
    let malformed = |reason: String| ParseError::Malformed { request: reply.request.clone(), reason };
    let read = repair::read(&reply.body).map_err(|error| malformed(error.to_string()))?;
    Ok(read.value)
}

/// `2025-08-06-0-3881c51d-25.07-plus`: date, build, commit, then the version, of which `plus` is the edition.
fn put_version(device: &mut Device, full: &str) {
    let version = full.splitn(6, '-').nth(5).unwrap_or(full);
    let plain = version.strip_suffix("-plus");
    if plain.is_some() {
        device.firmware = "Braiins OS+".to_string();
    }
    device.firmware_version = plain.unwrap_or(version).to_string();
}

/// Pools come in groups that are worked for side by side; within a group the first is the choice and the others stand
/// by. So it is on a fallback when any group works for another than its first.
fn put_pools(device: &mut Device, groups: impl Iterator<Item = Vec<Pool>>) {
    for group in groups {
        let active = group.iter().position(|pool| pool.active == Some(true));
        if let Some(active) = active {
            device.on_fallback = Some(device.on_fallback == Some(true) || active > 0);
        }
        let first = device.pools.len();
        device.pools.extend(group.into_iter().enumerate().map(|(at, pool)| Pool { slot: first + at, ..pool }));
    }
}
