//! Pools, said alike by every firmware: the shape between a parser and the `miner_pool_*` families, and the masking of
//! pool users, which are wallet addresses more often than not.

use std::collections::BTreeSet;

use super::families;
use crate::model::{PoolSetting, Reading};

/// Most pools that are exported of one device; no firmware has more slots than this.
const MAX_POOLS: usize = 16;

/// One configured pool. What the device does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// Slot number, the label `pool`.
    pub slot: usize,
    /// Where it is, without user and password.
    pub url: String,
    /// User as the device says it.
    pub user: String,
    /// `stratum`, `stratum_tls` or `stratum_v2`; empty when unknown.
    pub protocol: String,
    /// Which pool is taken first, where the device says so: the lowest.
    pub priority: Option<f64>,
    /// Whether it answers.
    pub up: Option<bool>,
    /// Whether the device works for it.
    pub active: Option<bool>,
    /// Accepted, rejected and stale shares.
    pub shares: [Option<f64>; 3],
    /// Share difficulty.
    pub difficulty: Option<f64>,
    /// Answer time in seconds.
    pub rtt: Option<f64>,
    /// When it took the last share, in seconds since the epoch.
    pub last_share: Option<f64>,
}

/// The values of the label `result` of shares, in the order of [`Pool::shares`].
pub const RESULTS: [&str; 3] = ["accepted", "rejected", "stale"];

/// The shares of a device that counts them by pool alone.
pub fn sum(pools: &[Pool]) -> [Option<f64>; 3] {
    [0, 1, 2].map(|index| pools.iter().filter_map(|pool| pool.shares[index]).reduce(|sum, one| sum + one))
}

/// Adds the samples of all pools. Pools without an address are empty slots and are left out, and so is the second of two
/// that claim one slot.
pub fn put(reading: &mut Reading, pools: &[Pool], show_user: bool) {
    let mut seen = BTreeSet::new();
    let told = pools.iter().any(|pool| pool.priority.is_some());
    let rank = |pool: &Pool| (pool.priority.unwrap_or(f64::INFINITY), pool.slot);
    let before = |one: &Pool, other: &Pool| !one.url.is_empty() && rank(one) < rank(other);
    for pool in pools.iter().filter(|pool| !pool.url.is_empty() && seen.insert(pool.slot)).take(MAX_POOLS) {
        let place = if told { pools.iter().filter(|other| before(other, pool)).count() } else { pool.slot };
        let setting = PoolSetting { slot: pool.slot, place, url: pool.url.clone(), user: pool.user.clone() };
        reading.settings.pools.push(setting);
        let slot = pool.slot.to_string();
        let user = if show_user { pool.user.clone() } else { mask_user(&pool.user) };
        let labels = [("pool", &*slot), ("url", &*pool.url), ("user", &*user), ("protocol", &*pool.protocol)];
        reading.put(&families::POOL_INFO, &labels, 1.0);
        let labels = [("pool", &*slot)];
        let truth = |flag: Option<bool>| flag.map(|flag| f64::from(u8::from(flag)));
        reading.put_opt(&families::POOL_UP, &labels, truth(pool.up));
        reading.put_opt(&families::POOL_ACTIVE, &labels, truth(pool.active));
        for (result, count) in RESULTS.into_iter().zip(pool.shares) {
            reading.put_opt(&families::POOL_SHARES, &[("pool", &slot), ("result", result)], count);
        }
        reading.put_opt(&families::POOL_DIFFICULTY, &labels, pool.difficulty);
        reading.put_opt(&families::POOL_RTT, &labels, pool.rtt);
        reading.put_opt(&families::POOL_LAST_SHARE, &labels, pool.last_share);
    }
}

/// Longest name of a worker that is shown, in bytes: the shortest wallet address has 26.
const MAX_WORKER: usize = 24;

/// The user with everything before the worker's name hidden: `bc1q….rig7` becomes `***.rig7`. Without a worker, or with
/// one that is long enough to be a wallet itself, all of it is hidden.
pub fn mask_user(user: &str) -> String {
    match user.split_once('.') {
        _ if user.is_empty() => String::new(),
        Some((_, worker)) if (1..=MAX_WORKER).contains(&worker.len()) => format!("***.{worker}"),
        _ => "***".to_string(),
    }
}

/// The label `protocol` that a pool's address tells.
pub fn protocol(url: &str) -> &'static str {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("stratum+ssl" | "stratum+tls" | "stratum+tcps" | "stratums") => "stratum_tls",
        Some("stratum2+tcp" | "stratum+v2") => "stratum_v2",
        Some("http" | "https") => "getwork",
        _ => "stratum",
    }
}

/// A pool's address without user and password, with `port` added where it has none.
pub fn pool_url(address: &str, port: Option<f64>) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match port.filter(|port| !has_port && !host.is_empty() && (1.0..=65_535.0).contains(port)) {
        Some(port) => format!("{scheme}{host}:{port:.0}"),
        None => format!("{scheme}{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_is_never_shown() {
        assert_eq!(mask_user("bc1q0example.nerd.1"), "***.nerd.1");
        assert_eq!(mask_user("bc1q0example"), "***");
        assert_eq!(mask_user("bc1q0example."), "***");
        assert_eq!(mask_user("account.bc1q0example000000000000000000000"), "***");
        assert_eq!(mask_user(""), "");
    }

    #[test]
    fn an_address_holds_no_credentials() {
        assert_eq!(pool_url("pool.example", Some(3333.0)), "pool.example:3333");
        assert_eq!(pool_url("stratum+tcp://wallet:x@pool.example:1", Some(2.0)), "stratum+tcp://pool.example:1");
        assert_eq!(pool_url("", Some(3333.0)), "");
        assert_eq!(pool_url("[2001:db8::1]", Some(3333.0)), "[2001:db8::1]:3333");
        assert_eq!(pool_url("pool.example", Some(1e9)), "pool.example");
    }
}
