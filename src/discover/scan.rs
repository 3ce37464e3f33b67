//! A plan carried out: so many addresses at once, so many a second, each found device told as soon as it is known.
//!
//! Whoever reads the stream drives it all, and dropping it ends it. Memory is that of the addresses under way.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::MissedTickBehavior;

use super::arp::{self, Neighbours};
use super::found::Found;
use super::plan::Plan;
use super::{Ports, probe};

/// Descriptors that a search leaves to the rest of the process.
const RESERVED_DESCRIPTORS: u64 = 64;

/// How to search.
#[derive(Clone, Debug)]
pub struct Search {
    /// Where devices may answer.
    pub ports: Ports,
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
        let ports = self.ports.http.len() + self.ports.rpc.len() + self.ports.framed.len();
        let spare = limit.saturating_sub(RESERVED_DESCRIPTORS) / ports.max(1) as u64;
        self.concurrency = self.concurrency.min(usize::try_from(spare).unwrap_or(usize::MAX)).max(1);
        self
    }
}

/// What happened to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing that we know is there.
    Nothing,
    /// This is there.
    Found(Box<Found>),
}

/// Asks every address of a plan once, and says of each how it went, in the order in which it becomes known.
pub fn scan(plan: Plan, search: Search) -> BoxStream<'static, Progress> {
    let search = Arc::new(search);
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
        addresses.zip(ticks).map(move |(address, ())| one(address, search.clone())).buffer_unordered(at_once)
    };
    begin.into_stream().flatten().boxed()
}

/// A device that makes us stumble over its answers ends its own address only.
async fn one(address: IpAddr, search: Arc<Search>) -> Progress {
    match AssertUnwindSafe(probe::probe(address, &search)).catch_unwind().await {
        Ok(Some(found)) => Progress::Found(Box::new(found)),
        Ok(None) => Progress::Nothing,
        Err(_) => {
            tracing::error!(%address, "a panic while an address was asked; please report it");
            Progress::Nothing
        }
    }
}
