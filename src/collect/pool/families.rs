//! All `pool_*` families: what a pool says of an account and its workers.

use crate::model::Family;

/// Largest hash rate of an account: ten times the network of 2026.
const MAX_HASHRATE: f64 = 1e22;
/// Largest amount of coins: all dogecoins, with room.
const MAX_COINS: f64 = 1e13;

/// Every family of an account.
pub const ALL: &[&Family] = &[
    &HASHRATE,
    &WORKERS,
    &BALANCE,
    &REWARDS,
    &REWARD_TODAY,
    &BEST,
    &LAST,
    &WORKER_HASHRATE,
    &WORKER_STATE,
    &WORKER_LAST,
    &WORKER_BEST,
    &DATA,
    &UP,
];

/// Hash rate of the account.
pub static HASHRATE: Family = Family::gauge(
    "pool_hashrate_hashes_per_second",
    "Hash rate of the account as the pool sees it, by window, in hashes per second.",
    &["window"],
)
.within(0.0, MAX_HASHRATE);

/// Workers by state.
pub static WORKERS: Family =
    Family::gauge("pool_workers", "Workers of the account by state: ok, low, off, dis (disabled).", &["state"])
        .within(0.0, 1e7);

/// Balance.
pub static BALANCE: Family =
    Family::gauge("pool_balance_coins", "Coins that the pool owes the account.", &["coin"]).within(0.0, MAX_COINS);

/// All rewards.
pub static REWARDS: Family =
    Family::counter("pool_rewards_coins_total", "Coins that the account ever earned.", &["coin"])
        .within(0.0, MAX_COINS);

/// Rewards of the day.
pub static REWARD_TODAY: Family =
    Family::gauge("pool_reward_today_coins", "Coins that the account earned today.", &["coin"]).within(0.0, MAX_COINS);

/// Best share of the account.
pub static BEST: Family =
    Family::gauge("pool_best_share_difficulty", "Difficulty of the account's best share ever.", &[]).within(0.0, 1e18);

/// Last share of the account.
pub static LAST: Family = Family::gauge(
    "pool_last_share_timestamp_seconds",
    "When the pool took the account's last share, in seconds since the epoch.",
    &[],
)
.within(1.2e9, 4.2e9);

/// Hash rate of a worker.
pub static WORKER_HASHRATE: Family = Family::gauge(
    "pool_worker_hashrate_hashes_per_second",
    "Hash rate of a worker as the pool sees it, by window, in hashes per second.",
    &["worker", "window"],
)
.within(0.0, MAX_HASHRATE);

/// The state set of a worker.
pub static WORKER_STATE: Family = Family::gauge(
    "pool_worker_state",
    "1 for the state that the pool says of a worker: ok, low, off, dis (disabled), or unknown.",
    &["worker", "state"],
)
.within(0.0, 1.0);

/// The values of the label `state` of [`WORKER_STATE`].
pub const STATES: [&str; 5] = ["ok", "low", "off", "dis", "unknown"];

/// Last share of a worker.
pub static WORKER_LAST: Family = Family::gauge(
    "pool_worker_last_share_timestamp_seconds",
    "When the pool took a worker's last share, in seconds since the epoch.",
    &["worker"],
)
.within(1.2e9, 4.2e9);

/// Best share of a worker.
pub static WORKER_BEST: Family =
    Family::gauge("pool_worker_best_share_difficulty", "Difficulty of a worker's best share.", &["worker"])
        .within(0.0, 1e18);

/// Age of the data.
pub static DATA: Family = Family::gauge(
    "pool_data_timestamp_seconds",
    "When the pool last gave this document, in seconds since the epoch: what is told from it is as old.",
    &["document"],
)
.within(1.2e9, 4.2e9);

/// Whether a document was had when it was last asked for.
pub static UP: Family = Family::gauge(
    "pool_document_up",
    "Whether the pool gave this document when it was last asked for: 1 or 0. Without it the last good one is told on, for \
     an hour at most.",
    &["document"],
)
.within(0.0, 1.0);
