//! `antminer`: Bitmain's own firmware, S9 to S21, L, D, Z, KS and their relatives, over cgminer's API and, with a
//! password, over the CGI pages of the web interface (HTTP Digest).
//!
//! Traps: `}{` without a comma and raw line ends in `stats` (repaired before it is read); boards at index 6, 7, 8 on an
//! S9; temperatures as `"62-62-74-74"`, `"-"` and 0; chip letters `o`, `x`, `-`; "GHS" that are not GH/s on an L3 and a
//! Z9; no power reading at all. Source: the firmware's replies, and the maker's API documents of the S19 series.

mod commands;
mod parse;

use std::time::Duration;

use super::ask::{Asker, Auth, How, Parser, Question};
use super::device;
use super::mark::{Door, Mark, Rank};
use super::options::{self, Options};
use crate::collect::{Kind, Opened, OptionDoc, Support};
use crate::model::Target;

pub(super) use commands::door;
pub(super) use parse::{BITMAIN, HAMMER, Maker, parse_as};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "antminer",
    summary: "Antminer with Bitmain's own firmware (TCP API; with a password the web interface too)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: device::FAMILIES,
    options: OPTIONS,
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by the name that it gives its model, or by its web interface.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Stock,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| clue.model_begins("Antminer") || clue.asks_as("antMiner"),
};

pub(super) const OPTIONS: &[OptionDoc] =
    &[options::POOL_USER_DOC, options::USERNAME_DOC, options::PASSWORD_DOC, options::WEB_PORT_DOC, options::TLS_DOC];

const COMMANDS: &[Question] = &[
    Question::needed(How::Rpc("stats")),
    Question::useful(How::Rpc("summary")),
    Question::useful(How::Rpc("pools")),
    Question::seldom(How::Rpc("version"), 240),
];

/// MAC address, serial number and host name stand only here; the miner's mode (asleep or not) in its configuration.
const PAGES: &[Question] = &[
    Question::seldom(How::Get("/cgi-bin/get_system_info.cgi"), 240),
    Question::seldom(How::Get("/cgi-bin/get_miner_conf.cgi"), 4),
];

/// The user of every Antminer.
const USER: &str = "root";

fn open(target: &Target) -> Opened {
    open_as(target, |replies, address, show| parse_as(&BITMAIN, replies, address, show))
}

/// A device that is asked as an Antminer is, and read by `parse`.
pub(super) fn open_as(target: &Target, parse: Parser) -> Opened {
    open_with(target, parse, PAGES, |options| options.digest(USER))
}

/// The same with another web interface.
pub(super) fn open_with(target: &Target, parse: Parser, pages: &[Question], auth: fn(&Options) -> Auth) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let asker = Asker::rpc(target, 4028, COMMANDS, &options, parse)?;
    if options.has_no_web()? {
        return Ok(Box::new(asker));
    }
    Ok(Box::new(asker.and_web(options.web_port(), auth(&options), pages, &options)?))
}
