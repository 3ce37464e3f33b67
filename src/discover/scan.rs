//! A plan carried out: so many addresses at once, so many a second, each found device told as soon as it is known.
//!
//! Whoever reads the stream drives it all, and dropping it ends it. Memory is that of the addresses under way.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, MissedTickBehavior};

use super::arp::{self, Neighbours};
use super::found::Found;
use super::plan::Plan;
use super::{Kinds, Ports, probe};
use crate::collect::miner::mark::Door;

/// Descriptors that a search leaves to the rest of the process.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Addresses that may keep us waiting before the rest is asked in a hurry.
const MOST_HELD: u64 = 256;

/// Longest time for one answer in a hurry; devices on a network of one's own take a tenth of it.
const HURRIED: Duration = Duration::from_millis(500);

/// Longest time for one address, in answers, and in a hurry.
const MOST_ANSWERS: (u32, u32) = (8, 2);

/// Whether a device is adopted by what is known of it before anybody logs in: only then are credentials sent to it.
pub type Trust = Arc<dyn Fn(&Found) -> bool + Send + Sync>;

/// No device is.
pub fn nobody() -> Trust {
    Arc::new(|_| false)
}

/// How to search.
#[derive(Clone, Debug)]
pub struct Search {
    /// Where devices may answer.
    pub ports: Ports,
    /// What is special about single kinds.
    pub kinds: Kinds,
    /// Longest time for one answer.
    pub timeout: Duration,
    /// Addresses under way at once, at most.
    pub concurrency: usize,
    /// Addresses begun in a second, at most.
    pub rate: u32,
    /// The kernel's table of neighbours.
    pub arp_table: PathBuf,
}

impl Default for Search {
    fn default() -> Self {
        Search {
            ports: Ports::default(),
            kinds: Kinds::default(),
            timeout: Duration::from_secs(3),
            concurrency: 128,
            rate: 200,
            arp_table: arp::TABLE.into(),
        }
    }
}

impl Search {
    /// The same search with no more under way than this process may open connections for: an address whose connection
    /// we cannot open would look empty.
    #[must_use]
    pub fn fitting(mut self) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let ports: usize = [Door::Http, Door::Rpc, Door::Framed].map(|door| self.ports_of(door).len()).iter().sum();
        let spare = limit.saturating_sub(RESERVED_DESCRIPTORS) / ports.max(1) as u64;
        self.concurrency = self.concurrency.min(usize::try_from(spare).unwrap_or(usize::MAX)).max(1);
        self
    }

    /// All ports of a protocol.
    pub(super) fn ports_of(&self, door: Door) -> Vec<u16> {
        let protocol = match door {
            Door::Http => &self.ports.http,
            Door::Rpc => &self.ports.rpc,
            Door::Framed => &self.ports.framed,
        };
        self.kinds.ports(door, protocol)
    }
}

/// How long one address may keep us waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For one answer.
    pub(super) answer: Duration,
    /// For all of them.
    pub(super) all: Duration,
}

impl Search {
    /// A network in which every address takes connections and says nothing (a tarpit, a firewall that answers for all)
    /// would hold a search up for hours.
    fn patience(&self, held: u64) -> Patience {
        let (answer, answers) = match held < MOST_HELD {
            true => (self.timeout, MOST_ANSWERS.0),
            false => (self.timeout.min(HURRIED), MOST_ANSWERS.1),
        };
        Patience { answer, all: answer * answers }
    }
}

/// What happened to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing that we know is there.
    Nothing,
    /// Somebody there took a connection and kept us waiting for nothing.
    Held,
    /// This is there.
    Found(Box<Found>),
}

/// Asks every address of a plan once, and says of each how it went, in the order in which it becomes known. Whom `trust`
/// takes is polled with the credentials of its kind, where the search has them.
pub fn scan(plan: Plan, search: Search, trust: Trust) -> BoxStream<'static, Progress> {
    let (search, held) = (Arc::new(search), Arc::new(AtomicU64::new(0)));
    let begin = async move {
        let table = search.arp_table.clone();
        let neighbours = tokio::task::spawn_blocking(move || Neighbours::of(&table)).await.unwrap_or_default();
        let mut pace = tokio::time::interval(Duration::from_secs(1) / search.rate.max(1));
        // What was late is not made up for in a burst.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ticks = stream::unfold(pace, |mut pace| async move {
            pace.tick().await;
            Some(((), pace))
        });
        let at_once = search.concurrency.max(1);
        let addresses = stream::iter(plan.addresses(&neighbours.addresses()));
        addresses
            .zip(ticks)
            .map(move |(address, ())| one(address, search.clone(), trust.clone(), held.clone()))
            .buffer_unordered(at_once)
    };
    begin.into_stream().flatten().boxed()
}

/// A device that makes us stumble over its answers ends its own address only.
async fn one(address: IpAddr, search: Arc<Search>, trust: Trust, held: Arc<AtomicU64>) -> Progress {
    let (begun, patience) = (Instant::now(), search.patience(held.load(Ordering::Relaxed)));
    let found = AssertUnwindSafe(probe::probe(address, &search, patience, &trust)).catch_unwind().await;
    // An empty address is given up earlier.
    let waited = begun.elapsed() >= patience.answer;
    if waited && !matches!(&found, Ok(Some(found)) if found.trouble.is_none()) {
        held.fetch_add(1, Ordering::Relaxed);
    }
    match found {
        Ok(Some(found)) => Progress::Found(Box::new(found)),
        Ok(None) if waited => Progress::Held,
        Ok(None) => Progress::Nothing,
        Err(_) => {
            tracing::error!(%address, "a panic while an address was asked; please report it");
            Progress::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_tarpits_is_asked_in_a_hurry() {
        let search = Search::default();
        let seconds = |held| search.patience(held).all.as_secs_f64();
        assert_eq!((seconds(0), seconds(MOST_HELD - 1), seconds(MOST_HELD)), (24.0, 24.0, 1.0));
        let quick = Search { timeout: Duration::from_millis(100), ..Search::default() };
        assert_eq!(quick.patience(MOST_HELD).answer, quick.timeout, "never longer than the owner says");
    }

    #[tokio::test]
    async fn who_takes_connections_and_says_nothing_is_told_from_empty_addresses() {
        // Nobody accepts: the kernel takes the connections.
        let first = std::net::TcpListener::bind("127.77.7.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let second = std::net::TcpListener::bind(("127.77.7.2", port)).unwrap();
        let plan = Plan::read(&["127.77.7.1-4"], &[], None).unwrap();
        let ports = Ports { http: vec![port], rpc: Vec::new(), framed: Vec::new() };
        let search = Search { ports, timeout: Duration::from_millis(400), ..Search::default() };
        let progress: Vec<Progress> = scan(plan, search, nobody()).collect().await;
        let held = progress.iter().filter(|progress| **progress == Progress::Held).count();
        assert_eq!((progress.len(), held), (4, 2), "{progress:?}");
        drop((first, second));
    }
}
