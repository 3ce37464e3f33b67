//! `cgminer`: the TCP API of cgminer, sgminer, bfgminer and their many relatives.
//!
//! The API's thread is single: an idle connection blocks every other caller. So: one command per connection, one
//! connection at a time, the request in one segment and without a NUL (with one it is "Invalid JSON"), closed at once.
//! Source: `API-README` of cgminer, and the programs themselves (cgminer 2.11.4, 4.11.1, bfgminer 5.5.0).

mod commands;
mod parse;
pub(super) mod pools;
pub(super) mod sections;

pub(super) use commands::{POOL, pool};

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::documents;
use super::families;
use super::options::{Options, POOL_USER_DOC};
use super::place::Place;
use crate::collect::miner::mark::{Door, Mark, Rank};
use crate::collect::tcp;
use crate::collect::{Collector, Kind, Opened, OptionDoc, ParseError, Reply, Support};
use crate::model::{Family, PollFailure, Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "cgminer",
    summary: "cgminer, sgminer, bfgminer and relatives (TCP API)",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 4028",
    min_interval: Duration::from_secs(5),
    families: FAMILIES,
    options: &[OptionDoc {
        name: "show_pool_user",
        help: "true: pool users unmasked (default false: they are often wallets)",
    }],
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by whatever answers `version` as cgminer does and is nothing better known.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Program,
    door: Door::Rpc,
    port: 4028,
    bears: |clue| clue.holds(&["/STATUS", "/VERSION/0/API"]),
};

const OPTIONS: &[OptionDoc] = &[POOL_USER_DOC];

const FAMILIES: &[&Family] = &[
    &families::INFO,
    &families::STATE,
    &families::HASHRATE,
    &families::HASHRATE_AVERAGE,
    &families::HASHES,
    &families::TEMPERATURE,
    &families::VOLTAGE,
    &families::FREQUENCY,
    &families::FAN_SPEED,
    &families::FAN_DUTY,
    &families::BOARD_INFO,
    &families::BOARD_UP,
    &families::BOARD_HASHRATE,
    &families::BOARD_HARDWARE_ERRORS,
    &families::SHARES,
    &families::BEST_SHARE,
    &families::BLOCKS_FOUND,
    &families::NETWORK_DIFFICULTY,
    &families::POOL_INFO,
    &families::POOL_UP,
    &families::POOL_ACTIVE,
    &families::POOL_FALLBACK_ACTIVE,
    &families::POOL_SHARES,
    &families::POOL_DIFFICULTY,
    &families::POOL_LAST_SHARE,
    &families::HARDWARE_ERRORS,
    &families::HASH_ERROR_RATIO,
    &families::UPTIME,
];

/// Largest reply: fifteen times the largest known one (a dump of every chip).
const MAX_REPLY: usize = 512 * 1024;

/// The three commands of a poll in one request: cgminer 4.11 and bfgminer 5.5 know it, cgminer 2.11 does not.
const COMBINED: &str = "summary+pools+devs";

/// For how many polls a version is believed: another device may have taken the address in between.
const VERSION_POLLS: u32 = 240;

/// Checks address and options and makes a collector; no I/O.
///
/// # Errors
/// [`OptionError`] that names the address or the option.
pub fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let address = Place::read(&target.address, "tcp", 4028)?.to_string();
    Ok(Box::new(CgMiner { address, timeout: target.timeout, options, memory: Mutex::default() }))
}

/// What is kept between polls, until one fails: the device may come back with another program.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// It refused the combined request, usually as "invalid command".
    singly: bool,
    /// The reply to `version`, and for how many polls it is still believed.
    version: Option<(Reply, u32)>,
}

struct CgMiner {
    address: String,
    timeout: Duration,
    options: Options,
    memory: Mutex<Memory>,
}

impl CgMiner {
    async fn ask(&self, command: &str, deadline: Instant) -> Result<Reply, PollFailure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = format!("{{\"command\":\"{command}\"}}");
        let body = tcp::exchange(&self.address, request.as_bytes(), MAX_REPLY, left).await?;
        Ok(Reply::new(command, body))
    }

    async fn poll(&self, memory: &mut Memory) -> Result<Vec<Reply>, PollFailure> {
        let deadline = Instant::now() + self.timeout;
        let mut replies = Vec::new();
        if !memory.singly {
            let reply = self.ask(COMBINED, deadline).await?;
            memory.singly = documents::is_refused(&reply.body);
            if !memory.singly {
                replies.push(reply);
            }
        }
        if memory.singly {
            for command in ["summary", "pools", "devs"] {
                replies.push(self.ask(command, deadline).await?);
            }
        }
        memory.version = match memory.version.take() {
            Some((reply, polls)) if polls > 0 => Some((reply, polls - 1)),
            _ => {
                // Without it the poll is still whole, so it may take half of what is left; the next poll asks again.
                let left = deadline.saturating_duration_since(Instant::now());
                let reply = self.ask("version", Instant::now() + left / 2).await.ok();
                reply.map(|reply| (reply.compact(), VERSION_POLLS))
            }
        };
        replies.extend(memory.version.as_ref().map(|(reply, _)| reply.clone()));
        Ok(replies)
    }
}

impl Collector for CgMiner {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        Box::pin(async move {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let result = self.poll(&mut memory).await;
            let kept = if result.is_ok() { memory } else { Memory::default() };
            *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = kept;
            result
        })
    }

    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError> {
        parse::parse(replies, &self.address, self.options.show())
    }
}
