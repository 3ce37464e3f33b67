//! `avalon`: Canaan Avalons, A10 to A16, Nano 3, Mini 3 and Q, over cgminer's API with the maker's own `stats`.
//!
//! Everything of interest stands in one string, `MM ID0`: `Ver[1246-83…] GHSavg[79656.63] Temp[30] PS[0 1214 …]`, with
//! blanks, colons and nested braces inside. Traps: `MHS av` is nan, temperatures are -273 or 0 without a reading, the
//! meaning of `PS[]` changes with the firmware, the arrays of chips hold some 400 numbers. Source: Canaan's API documents
//! of the A12 and Q, and the recorded replies.

mod commands;
mod parse;

use std::time::Duration;

use super::ask::{Asker, How, Question};
use super::device;
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use crate::collect::{Kind, Opened, OptionDoc, Support};
use crate::model::Target;

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "avalon",
    summary: "Canaan Avalon A10 to A16, Nano 3, Mini 3, Q (TCP API)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: `version` names product and controller.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| {
        clue.word("/VERSION/0/PROD").starts_with("Avalon") || clue.holds(&["/VERSION/0/DNA", "/VERSION/0/MODEL"])
    },
};

const OPTIONS: &[OptionDoc] =
    &[options::CHIPS_DOC, options::POOL_USER_DOC, options::USERNAME_DOC, options::PASSWORD_DOC];

/// The user of every Avalon, whose password pools are set with.
const USER: &str = "root";

const COMMANDS: &[Question] = &[
    Question::needed(How::Rpc("summary")),
    Question::useful(How::Rpc("stats")),
    Question::useful(How::Rpc("pools")),
    Question::seldom(How::Rpc("version"), 240),
];

fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    Ok(Box::new(Asker::rpc(target, 4028, COMMANDS, &options, parse::parse)?))
}
