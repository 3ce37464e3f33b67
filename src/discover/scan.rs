//! A plan carried out: so many addresses at once, so many a second, each found device told as soon as it is known.
//!
//! The caller's task drives it all, and dropping it ends it. Memory is that of the addresses under way.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt, stream};
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

/// What happens during a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// One address is done, and nothing that we know is there.
    Nothing,
    /// One address is done, and this is there.
    Found(Box<Found>),
}

/// Asks every address of a plan once and tells `each` how it went, in the order in which it becomes known.
pub async fn scan(plan: &Plan, search: &Search, mut each: impl FnMut(Progress)) {
    let table = search.arp_table.clone();
    let neighbours = tokio::task::spawn_blocking(move || Neighbours::of(&table)).await.unwrap_or_default();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / search.rate.max(1));
    // What was late is not made up for in a burst.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let addresses = stream::iter(plan.addresses(&neighbours.addresses()));
    let paced = addresses.zip(stream::unfold(pace, |mut pace| async move {
        pace.tick().await;
        Some(((), pace))
    }));
    let answers = paced.map(|(address, ())| probe::probe(address, search)).buffer_unordered(search.concurrency.max(1));
    let mut answers = std::pin::pin!(answers);
    while let Some(found) = answers.next().await {
        each(found.map_or(Progress::Nothing, |found| Progress::Found(Box::new(found))));
    }
}
