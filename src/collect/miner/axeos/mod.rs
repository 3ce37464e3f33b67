//! `axeos`: Bitaxe, NerdQAxe and relatives over HTTP (`GET /api/system/info`, seldom `GET /api/system/asic`).
//!
//! The device's web server has few sockets and dies under load, so: one request at a time, one short connection each,
//! and the second document only when the first one lacks what it says. Source: the firmware's `openapi.yaml`.

mod apply;
mod commands;
mod hardware;
mod hashing;
mod parse;
mod stratum;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use url::Url;

use super::families;
use super::place::Place;
use crate::collect::http;
use crate::collect::miner::mark::{Door, Mark, Rank};
use crate::collect::{Collector, Kind, Opened, OptionDoc, OptionError, ParseError, Reply, Support, read_options};
use crate::model::{Family, PollFailure, Reading, Target};

/// The row of this kind in the table.
pub const KIND: Kind = Kind {
    name: "axeos",
    summary: "Bitaxe, NerdQAxe and relatives with AxeOS (HTTP); an interval of 15s is kind to their web server",
    subject: "miner",
    support: Support::Recorded,
    default_address: "host, port 80",
    min_interval: Duration::from_secs(5),
    families: FAMILIES,
    options: &[
        OptionDoc {
            name: "chips",
            help: "true: hash rate, errors and temperature of every chip (default false; at most 512 series)",
        },
        OptionDoc { name: "show_pool_user", help: "true: pool users unmasked (default false: they are wallets)" },
    ],
    commands: commands::COMMANDS,
    open,
};

/// How it is recognised: by its one big page.
pub const MARK: Mark = Mark {
    kind: KIND.name,
    rank: Rank::Firmware,
    door: Door::Http,
    port: 80,
    bears: |clue| {
        let chip = ["/ASICModel", "/deviceModel", "/boardVersion"].iter().any(|pointer| clue.holds(&[pointer]));
        chip && clue.holds(&["/hashRate", "/macAddr"])
    },
};

const FAMILIES: &[&Family] = &[
    &families::INFO,
    &families::STATE,
    &families::HASHRATE,
    &families::HASHRATE_AVERAGE,
    &families::HASHRATE_EXPECTED,
    &families::HASHES,
    &families::POWER,
    &families::POWER_LIMIT,
    &families::ENERGY,
    &families::EFFICIENCY,
    &families::TEMPERATURE,
    &families::VOLTAGE,
    &families::CURRENT,
    &families::FREQUENCY,
    &families::FAN_SPEED,
    &families::FAN_DUTY,
    &families::FANS_EXPECTED,
    &families::BOARD_CHIPS,
    &families::BOARD_CHIPS_EXPECTED,
    &families::CHIP_HASHRATE,
    &families::CHIP_DOMAIN_HASHRATE,
    &families::CHIP_HARDWARE_ERRORS,
    &families::CHIP_TEMPERATURE,
    &families::SHARES,
    &families::SHARE_REJECTIONS,
    &families::BEST_SHARE,
    &families::BLOCKS_FOUND,
    &families::NETWORK_DIFFICULTY,
    &families::POOL_INFO,
    &families::POOL_UP,
    &families::POOL_ACTIVE,
    &families::POOL_FALLBACK_ACTIVE,
    &families::POOL_SHARES,
    &families::POOL_DIFFICULTY,
    &families::POOL_RTT,
    &families::HARDWARE_ERRORS,
    &families::HASH_ERROR_RATIO,
    &families::FAULT,
    &families::UPTIME,
    &families::WIFI_RSSI,
    &families::MEMORY_FREE,
];

/// Largest reply: thirty times the largest known one. Read as a JSON tree it takes some 20 times as much memory.
const MAX_REPLY: usize = 256 * 1024;

/// How many polls pass before a failed `/asic` is asked for again: a device that is slow must not be asked twice a poll.
const ASIC_RETRY_POLLS: u32 = 20;

/// The options of a target of this kind.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Series for every chip.
    pub chips: bool,
    /// Pool users as they are.
    pub show_pool_user: bool,
}

/// Checks address and options and makes a collector; no I/O.
///
/// # Errors
/// [`OptionError`] that names the address or the option.
pub fn open(target: &Target) -> Opened {
    let options = read_options(target)?;
    let place = Place::read(&target.address, "http", 80)?;
    let url = |path: &str| {
        Url::parse(&format!("http://{place}{path}")).map_err(|error| OptionError::new("address", error.to_string()))
    };
    let (info, asic) = (url("/api/system/info")?, url("/api/system/asic")?);
    let memory = Mutex::new(Memory::default());
    Ok(Box::new(AxeOs { info, asic, address: place.to_string(), timeout: target.timeout, options, memory }))
}

/// What `/asic` is known to say.
#[derive(Clone, Debug, Default)]
enum Asic {
    /// Not asked yet.
    #[default]
    Unknown,
    /// Its reply, which may be that there is no such document.
    Known(Reply),
    /// It failed; asked again after so many polls.
    Failed(u32),
}

/// What is kept between polls, until the device restarts: it may come back with another firmware.
#[derive(Debug, Default)]
struct Memory {
    asic: Asic,
    uptime: f64,
}

struct AxeOs {
    info: Url,
    asic: Url,
    address: String,
    timeout: Duration,
    options: Options,
    memory: Mutex<Memory>,
}

impl AxeOs {
    async fn get(&self, url: &Url, deadline: Instant) -> Result<http::Answer, PollFailure> {
        let left = deadline.saturating_duration_since(Instant::now());
        http::send(http::Request { max_body: MAX_REPLY, ..http::Request::get(url, left) }).await
    }

    /// What is known of `/asic` when the device has been up for `uptime` seconds.
    fn recall(&self, uptime: f64) -> Asic {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if uptime < memory.uptime {
            memory.asic = Asic::Unknown;
        }
        memory.uptime = uptime;
        if let Asic::Failed(polls) = &mut memory.asic {
            *polls = polls.saturating_sub(1);
        }
        memory.asic.clone()
    }

    /// The reply of `/asic`, from memory or from the device. A failure costs nothing but that reply, and at most half of
    /// the time that is left: the poll must be whole before the scheduler cuts it.
    async fn asic(&self, uptime: f64, deadline: Instant) -> Option<Reply> {
        match self.recall(uptime) {
            Asic::Known(reply) => return Some(reply),
            Asic::Failed(polls) if polls > 0 => return None,
            Asic::Failed(_) | Asic::Unknown => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.get(&self.asic, Instant::now() + left / 2).await;
        let (asic, reply) = match answer {
            Ok(answer) if answer.status < 500 => {
                let reply = reply("GET /api/system/asic", answer);
                (Asic::Known(reply.compact()), Some(reply))
            }
            _ => (Asic::Failed(ASIC_RETRY_POLLS), None),
        };
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).asic = asic;
        reply
    }
}

fn reply(request: &str, answer: http::Answer) -> Reply {
    Reply { request: request.to_string(), status: Some(answer.status), body: answer.body }
}

impl Collector for AxeOs {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.timeout;
            let info = reply("GET /api/system/info", self.get(&self.info, deadline).await?.success()?);
            let lacks_model_at = parse::lacks_model_at(&info.body);
            let mut replies = vec![info];
            if let Some(uptime) = lacks_model_at {
                replies.extend(self.asic(uptime, deadline).await);
            }
            Ok(replies)
        })
    }

    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError> {
        parse::parse(replies, &self.address, self.options)
    }
}
