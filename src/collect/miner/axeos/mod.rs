//! `axeos`: Bitaxe, NerdQAxe and relatives over HTTP (`GET /api/system/info`, seldom `GET /api/system/asic`).
//!
//! The device's web server has few sockets and dies under load, so: one request at a time, one short connection each,
//! the second document only when the first one lacks what it says, once per start of the device; its own record only where
//! the options ask for it; the dashboard of a NerdQAxe only when it does not hash, because it alone says why.
//! Sources: the firmware's `openapi.yaml`, `handler_v2_dashboard.cpp` of NerdQAxe.

mod apply;
mod board;
mod commands;
mod hardware;
mod hashing;
mod parse;
mod statistics;
mod stratum;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::ask::{Auth, Codes};
use super::device::Show;
use super::families;
use super::options::{OTP_DOC, Options, PASSWORD_DOC, POOL_USER_DOC, TLS_DOC, USERNAME_DOC};
use crate::collect::http::{Answer, Ask, Keep, Site};
use crate::collect::miner::mark::{Door, Mark, Rank};
use crate::collect::{Collector, Kind, Opened, OptionDoc, ParseError, Reply, Support};
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
    options: OPTIONS,
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

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "chips",
        help: "true: hash rate, errors and temperature of every chip (default false; at most 512 series)",
    },
    POOL_USER_DOC,
    OptionDoc {
        name: "statistics",
        help: "true: ask for the device's own record too, and tell what was lowest and highest between two polls (default false: \
               a second request per poll; the device must keep one, see statsFrequency of its settings)",
    },
    USERNAME_DOC,
    PASSWORD_DOC,
    OTP_DOC,
    TLS_DOC,
];

const FAMILIES: &[&Family] = &[
    &families::INFO,
    &families::STATE,
    &families::HASHRATE,
    &families::HASHRATE_AVERAGE,
    &families::HASHRATE_EXPECTED,
    &families::HASHRATE_LOWEST,
    &families::HASHES,
    &families::POWER,
    &families::POWER_HIGHEST,
    &families::POWER_LIMIT,
    &families::ENERGY,
    &families::EFFICIENCY,
    &families::TEMPERATURE,
    &families::TEMPERATURE_HIGHEST,
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

const INFO: &str = "/api/system/info";
const ASIC: &str = "/api/system/asic";

/// Checks address and options and makes a collector; no I/O.
///
/// # Errors
/// [`crate::collect::OptionError`] that names the address or the option.
pub fn open(target: &Target) -> Opened {
    let options = Options::read(target, OPTIONS)?;
    let auth = Auth::Codes(Codes::new(&options, None));
    let (show, record) = (options.show(), options.statistics);
    let site = Site::open(&target.address, 80, options.tls, Keep::Close, MAX_REPLY)?;
    let (interval, timeout, address) = (target.interval, target.timeout, site.place());
    Ok(Box::new(AxeOs { site, auth, address, interval, timeout, show, record, memory: Mutex::default() }))
}

/// What a document beside the first is known to say.
#[derive(Clone, Debug, Default)]
enum Kept {
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
    asic: Kept,
    /// The firmware has no record to ask for.
    no_record: bool,
    /// As `no_record`, of the dashboard.
    no_dashboard: bool,
    uptime: f64,
}

struct AxeOs {
    site: Site,
    auth: Auth,
    address: String,
    interval: Duration,
    timeout: Duration,
    show: Show,
    record: bool,
    memory: Mutex<Memory>,
}

impl AxeOs {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get(&self, path: &str, deadline: Instant) -> Result<Answer, PollFailure> {
        self.auth.send(&self.site, Ask::get(path), deadline).await
    }

    /// A document beside the first. Its failure costs nothing but itself, and at most half of the time that is left: the
    /// poll must be whole before the scheduler cuts it.
    async fn get_more(&self, path: &str, deadline: Instant) -> Option<Reply> {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.get(path, Instant::now() + left / 2).await.ok()?;
        (answer.status < 500).then(|| reply(path, answer))
    }

    /// Forgets what was known before a restart.
    fn notice(&self, uptime: f64) {
        let mut memory = self.memory();
        if uptime < memory.uptime {
            *memory = Memory::default();
        }
        memory.uptime = uptime;
    }

    /// The reply of `/asic`, from memory or from the device.
    async fn asic(&self, deadline: Instant) -> Option<Reply> {
        match &mut self.memory().asic {
            Kept::Known(reply) => return Some(reply.clone()),
            Kept::Failed(polls @ 1..) => {
                *polls -= 1;
                return None;
            }
            Kept::Failed(_) | Kept::Unknown => {}
        }
        let reply = self.get_more(ASIC, deadline).await;
        self.memory().asic =
            reply.as_ref().map_or(Kept::Failed(ASIC_RETRY_POLLS), |reply| Kept::Known(reply.compact()));
        reply
    }

    /// A document that is asked for in each poll, unless the firmware has none.
    async fn unless(&self, absent: fn(&mut Memory) -> &mut bool, path: &str, deadline: Instant) -> Option<Reply> {
        if *absent(&mut self.memory()) {
            return None;
        }
        let reply = self.get_more(path, deadline).await?;
        *absent(&mut self.memory()) = reply.status.is_some_and(|status| status >= 300);
        Some(reply)
    }
}

/// A query is left out of its name.
fn reply(path: &str, answer: Answer) -> Reply {
    let request = format!("GET {}", path.split('?').next().unwrap_or_default());
    Reply { request, status: Some(answer.status), body: answer.body }
}

impl Collector for AxeOs {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.timeout;
            let info = reply(INFO, self.get(INFO, deadline).await?.success()?);
            let glance = parse::glance(&info.body);
            let mut replies = vec![info];
            let Some(glance) = glance else { return Ok(replies) };
            self.notice(glance.uptime);
            if glance.lacks_model {
                replies.extend(self.asic(deadline).await);
            }
            if self.record && glance.keeps_record {
                replies.extend(self.unless(|memory| &mut memory.no_record, statistics::PATH, deadline).await);
            }
            if glance.nerd_idles {
                replies.extend(self.unless(|memory| &mut memory.no_dashboard, board::PATH, deadline).await);
            }
            Ok(replies)
        })
    }

    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError> {
        parse::parse(replies, &self.address, self.show, self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::miner::told::{Peer, Say, Wire};
    use serde_json::json;

    #[tokio::test]
    async fn a_nerdqaxe_that_does_not_hash_is_asked_why_if_its_firmware_can_say() {
        for (known, state) in [(true, "overheated"), (false, "unknown")] {
            let peer = Peer::start(Wire::Http, move |request| match request.split(' ').nth(1) {
                Some(INFO) => Say::json(&json!({"ASICModel": "BM1370", "deviceModel": "NerdQAxe++", "asicCount": 4,
                    "hashRate": 0, "shutdown": false, "uptimeSeconds": 9000})),
                Some(board::PATH) if known => Say::json(&json!({"system": {"boardError": 1}})),
                _ => Say::headed("302 Temporary Redirect", "Location: /\r\n", "Redirect to the captive portal"),
            })
            .await;
            let collector = open(&peer.target("axeos", serde_json::Value::Null)).unwrap();
            for _ in 0..2 {
                let reading = collector.parse(&collector.fetch().await.unwrap()).unwrap();
                let so =
                    reading.samples.iter().find(|sample| sample.family.name == "miner_state" && sample.value == 1.0);
                assert_eq!(so.unwrap().labels.get("state"), Some(state));
                assert_eq!(reading.notes, Vec::<String>::new());
            }
            assert_eq!(peer.sent(&["/info"]).len(), if known { 2 } else { 1 }, "what is not there is not asked again");
        }
    }
}
