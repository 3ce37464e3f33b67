//! `hammer`: Hammer and VolcMiner machines, whose firmware grew out of an old Antminer's: cgminer's API, and with a
//! password the CGI pages of the web interface (HTTP Digest).
//!
//! Rates are called `MHS` and are MH/s, those of the boards as well; `}{` stands without a comma in some replies; a
//! missing board has empty figures. Source: the recorded replies of a Hammer D10.

mod commands;

use std::time::Duration;

use super::antminer::{self, OPTIONS};
use super::device::{self, Show};
use super::mark::{Door, Mark, Rank};
use crate::collect::{Kind, Opened, ParseError, Reply, Support};
use crate::model::{Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "hammer",
    summary: "Hammer and VolcMiner machines (TCP API; with a password the web interface too)",
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
    bears: |clue| clue.model_begins("Hammer") || clue.model_begins("VolcMiner") || clue.asks_as("blackMiner"),
};

fn open(target: &Target) -> Opened {
    antminer::open_as(target, parse)
}

fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    antminer::parse_as(&antminer::HAMMER, replies, address, show)
}
