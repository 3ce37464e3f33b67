//! `whatsminer`: MicroBT WhatsMiners, API 1 and 2 (JSON over TCP 4028); `whatsminer_v3`: API 3 (framed JSON over TCP 4433).
//!
//! A read never writes: the write API with its token is left alone, and so is `open_write_api`. At most one question at a
//! time, because the API counts connections per client and closes idle ones after 10 s. Traps: `STATUS` as text, `\'` in
//! strings (repaired), list of errors with hundreds of entries cut off in the middle (repaired), expected rate of −0.003,
//! versions with line ends. Source: MicroBT's API documents 2.0.5 and 3.0.

mod commands;
mod crypt;
mod v2;
mod v3;

use std::time::Duration;

use super::ask::{Asker, How, Question};
use super::device::{self, Fan, State};
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use crate::collect::{Kind, Opened, OptionDoc, Support};
use crate::model::Target;

/// The row of API 1 and 2 in the table.
pub const KIND: Kind = Kind {
    name: "whatsminer",
    summary: "MicroBT WhatsMiner, API 1 and 2 (TCP)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open: open_v2,
};

/// The row of API 3 in the table.
pub const KIND_V3: Kind = Kind {
    name: "whatsminer_v3",
    summary: "MicroBT WhatsMiner, API 3 (framed TCP)",
    default_address: "host, port 4433",
    options: OPTIONS_V3,
    commands: commands::COMMANDS_V3,
    open: open_v3,
    ..KIND
};

/// How `whatsminer` is recognised: by its envelope, in which the status is a bare word, and by its name.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| {
        let named = ["/Description", "/STATUS/0/Description"].iter().any(|at| {
            let program = clue.word(at).to_ascii_lowercase();
            program.contains("whatsminer") || program.contains("btminer")
        });
        let refused = clue.word("/STATUS") == "E" && clue.word("/Msg").to_ascii_lowercase().contains("invalid cmd");
        named || refused || clue.holds(&["/Msg/api_ver", "/Msg/fw_ver"])
    },
};

/// How `whatsminer_v3` is recognised: by its facts.
pub const MARK_V3: Mark = Mark {
    kind: KIND_V3.name,
    door: Door::Framed,
    port: 4433,
    bears: |clue| clue.word("/desc") == "get.device.info" && clue.holds(&["/msg/miner"]),
    ..MARK
};

const OPTIONS: &[OptionDoc] = &[options::POOL_USER_DOC, WRITE_DOC];
const OPTIONS_V3: &[OptionDoc] = &[options::POOL_USER_DOC, options::USERNAME_DOC, WRITE_DOC];
const WRITE_DOC: OptionDoc =
    OptionDoc { name: "password", help: "SECRET: password of the write API; needed for commands, never for a poll" };

/// The options that a target's API takes.
fn docs(target: &Target) -> &'static [OptionDoc] {
    if *target.kind == *KIND_V3.name { OPTIONS_V3 } else { OPTIONS }
}

const V2: &[Question] = &[
    Question::needed(How::Rpc(r#"{"cmd":"summary","command":"summary"}"#)),
    Question::useful(How::Rpc(r#"{"cmd":"devs","command":"devs"}"#)),
    Question::useful(How::Rpc(r#"{"cmd":"pools","command":"pools"}"#)),
    Question::useful(How::Rpc(r#"{"cmd":"status","command":"status"}"#)),
    Question::useful(How::Rpc(r#"{"cmd":"get_error_code","command":"get_error_code"}"#)),
    Question::seldom(How::Rpc(r#"{"cmd":"devdetails","command":"devdetails"}"#), 240),
    Question::seldom(How::Rpc(r#"{"cmd":"get_version","command":"get_version"}"#), 240),
    Question::seldom(How::Rpc(r#"{"cmd":"get_miner_info","command":"get_miner_info"}"#), 240),
    Question::seldom(How::Rpc(r#"{"cmd":"get_psu","command":"get_psu"}"#), 12),
];

const V3: &[Question] = &[
    Question::needed(How::Framed(r#"{"cmd":"get.miner.status","param":"summary"}"#)),
    Question::useful(How::Framed(r#"{"cmd":"get.miner.status","param":"edevs"}"#)),
    Question::useful(How::Framed(r#"{"cmd":"get.miner.status","param":"pools"}"#)),
    Question::useful(How::Framed(r#"{"cmd":"get.device.info"}"#)),
];

fn open_v2(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    Ok(Box::new(Asker::rpc(target, 4028, V2, &options, v2::parse)?))
}

fn open_v3(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS_V3)?;
    Ok(Box::new(Asker::rpc(target, 4433, V3, &options, v3::parse)?))
}

/// The state of a machine whose mining program may be off. Its errors alone are none: most are warnings of the past.
fn state(hashrate: Option<f64>, uptime: Option<f64>, off: Option<bool>) -> State {
    match (off, hashrate) {
        (Some(true), rate) if rate.is_none_or(|rate| rate == 0.0) => State::Paused,
        _ => State::told_by(hashrate, uptime),
    }
}

/// Both sides of the machine, and the supply.
fn fans(inlet: Option<f64>, outlet: Option<f64>, psu: Option<f64>) -> Vec<Fan> {
    let fan = |name: &str, role: &'static str, rpm: Option<f64>| {
        rpm.map(|rpm| Fan { name: name.to_string(), role, rpm: Some(rpm), duty: None })
    };
    [fan("in", "in", inlet), fan("out", "out", outlet), fan("psu", "psu", psu)].into_iter().flatten().collect()
}
