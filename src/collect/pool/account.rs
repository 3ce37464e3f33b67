//! One account, said alike by every pool: the shape between a reader and the `pool_*` families.

use std::collections::BTreeSet;

use super::families;
use crate::model::Reading;

/// Most workers that are exported of one account.
const MAX_WORKERS: usize = 2_000;

/// What a pool says of an account; what it does not say is `None`.
#[derive(Default)]
pub struct Account {
    /// Hash rates with the label `window`.
    pub rates: Vec<(&'static str, f64)>,
    /// How many workers are in a state.
    pub counts: Vec<(&'static str, f64)>,
    /// What the pool owes.
    pub balance: Option<f64>,
    /// What was ever earned.
    pub rewards: Option<f64>,
    /// What was earned today.
    pub today: Option<f64>,
    /// Best share ever.
    pub best: Option<f64>,
    /// Last share, in seconds since the epoch.
    pub last_share: Option<f64>,
    /// Its workers.
    pub workers: Vec<Worker>,
}

/// What a pool says of a worker.
#[derive(Default)]
pub struct Worker {
    /// Its name without the account's: an account is often a wallet.
    pub name: String,
    /// One of [`families::STATES`], where the pool says one.
    pub state: Option<&'static str>,
    /// Hash rates with the label `window`.
    pub rates: Vec<(&'static str, f64)>,
    /// Last share, in seconds since the epoch.
    pub last_share: Option<f64>,
    /// Best share.
    pub best: Option<f64>,
}

impl Account {
    /// Adds everything that is known to `reading`.
    pub fn put(self, reading: &mut Reading, coin: &str) {
        for (window, rate) in self.rates {
            reading.put(&families::HASHRATE, &[("window", window)], rate);
        }
        for (state, count) in self.counts {
            reading.put(&families::WORKERS, &[("state", state)], count);
        }
        let coin = [("coin", coin)];
        reading.put_opt(&families::BALANCE, &coin, self.balance);
        reading.put_opt(&families::REWARDS, &coin, self.rewards);
        reading.put_opt(&families::REWARD_TODAY, &coin, self.today);
        reading.put_opt(&families::BEST, &[], self.best);
        reading.put_opt(&families::LAST, &[], self.last_share);
        if self.workers.len() > MAX_WORKERS {
            reading.notes.push(format!("{} workers; only {MAX_WORKERS} are kept", self.workers.len()));
        }
        let mut seen = BTreeSet::new();
        for worker in self.workers.into_iter().take(MAX_WORKERS) {
            if seen.insert(worker.name.clone()) {
                worker.put(reading);
            } else {
                reading.notes.push("two workers have one name; the second is left out".to_string());
            }
        }
    }
}

impl Worker {
    fn put(self, reading: &mut Reading) {
        let name = &*self.name;
        for (window, rate) in self.rates {
            reading.put(&families::WORKER_HASHRATE, &[("worker", name), ("window", window)], rate);
        }
        if let Some(said) = self.state {
            for state in families::STATES {
                let labels = [("worker", name), ("state", state)];
                reading.put(&families::WORKER_STATE, &labels, f64::from(u8::from(state == said)));
            }
        }
        reading.put_opt(&families::WORKER_LAST, &[("worker", name)], self.last_share);
        reading.put_opt(&families::WORKER_BEST, &[("worker", name)], self.best);
    }
}
