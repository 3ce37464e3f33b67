//! What each pool's documents mean: one function per pool. Hash rates are in hashes per second, amounts in whole coins.

use chrono::DateTime;
use serde_json::Value;

use super::account::{Account, Worker};
use super::read::Documents;
use crate::collect::miner::values::{Fields, clean, number};

/// A name of a hash rate in a pool's documents, and its window in the label.
type Windows = [(&'static str, &'static str)];

/// Satoshis of a bitcoin.
const SATOSHIS: f64 = 1e8;

fn rates(fields: Fields<'_>, windows: &Windows, unit: &str) -> Vec<(&'static str, f64)> {
    windows.iter().filter_map(|(key, window)| Some((*window, fields.rate(key, unit)?))).collect()
}

/// The part of a worker's name after the account's: the account is often a wallet.
fn own_name(name: &str) -> String {
    clean(name.split_once('.').map_or(name, |(_, own)| own))
}

/// The same where accounts are wallets, and a worker without a name of its own is called like the account.
fn wallets_name(name: &str) -> String {
    name.split_once('.').map_or_else(|| "default".to_string(), |(_, own)| clean(own))
}

/// A time in words, in seconds since the epoch.
fn time(text: &str) -> Option<f64> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    u32::try_from(time.timestamp()).ok().map(f64::from)
}

/// The larger of two that may be absent.
fn later(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(f64::max)
}

/// How many workers are in each of `states`.
fn count(workers: &[Worker], states: &[&'static str]) -> Vec<(&'static str, f64)> {
    let of =
        |state: &str| workers.iter().fold(0.0, |sum, worker| sum + f64::from(u8::from(worker.state == Some(state))));
    states.iter().map(|state| (*state, of(state))).collect()
}

const BRAIINS_WINDOWS: &Windows = &[("hash_rate_5m", "5m"), ("hash_rate_60m", "1h"), ("hash_rate_24h", "1d")];

/// Braiins Pool: `profile` and `workers`; each says the unit of its hash rates.
pub fn braiins(documents: &Documents, account: &mut Account) -> bool {
    let profile = documents.with(&["btc"], "ok_workers");
    if let Some(profile) = profile {
        let unit = profile.text("hash_rate_unit").unwrap_or_default();
        account.rates = rates(profile, BRAIINS_WINDOWS, &unit);
        let states = [("ok", "ok_workers"), ("low", "low_workers"), ("off", "off_workers"), ("dis", "dis_workers")];
        account.counts = states.iter().filter_map(|(state, key)| Some((*state, profile.number(key)?))).collect();
        account.balance = profile.number("current_balance");
        account.rewards = profile.number("all_time_reward");
        account.today = profile.number("today_reward");
    }
    let workers = documents.with(&["btc"], "workers").and_then(|btc| btc.object("workers"));
    for (name, worker) in workers.iter().flat_map(|workers| workers.0) {
        let Some(worker) = Fields::of(worker) else { continue };
        let unit = worker.text("hash_rate_unit").unwrap_or_default();
        let state = worker.text("state").unwrap_or_default();
        account.workers.push(Worker {
            name: own_name(name),
            state: Some(["ok", "low", "off", "dis"].into_iter().find(|known| *known == state).unwrap_or("unknown")),
            rates: rates(worker, BRAIINS_WINDOWS, &unit),
            // 0 is a worker that never gave one.
            last_share: worker.nonzero("last_share"),
            best: None,
        });
    }
    profile.is_some() || workers.is_some()
}

const CKPOOL_WINDOWS: &Windows =
    &[("hashrate1m", "1m"), ("hashrate5m", "5m"), ("hashrate1hr", "1h"), ("hashrate1d", "1d"), ("hashrate7d", "7d")];

/// ckpool: one page per user, rates as `"1.23T"`.
pub fn ckpool(documents: &Documents, account: &mut Account) -> bool {
    let Some(user) = documents.with(&[], "hashrate1m") else { return false };
    account.rates = rates(user, CKPOOL_WINDOWS, "");
    account.best = user.number_of(&["bestever", "bestshare"]);
    account.last_share = user.nonzero("lastshare");
    for worker in user.objects("worker") {
        account.workers.push(Worker {
            name: wallets_name(&worker.text("workername").unwrap_or_default()),
            state: None,
            rates: rates(worker, CKPOOL_WINDOWS, ""),
            last_share: worker.nonzero("lastshare"),
            best: worker.number_of(&["bestever", "bestshare"]),
        });
    }
    true
}

/// public-pool: one page per address. A worker of two connections stands there twice: its rates are added.
pub fn public_pool(documents: &Documents, account: &mut Account) -> bool {
    let Some(client) = documents.with(&[], "workers") else { return false };
    account.best = client.number("bestDifficulty");
    for session in client.objects("workers") {
        let name = session.text("name").map(|name| clean(&name)).unwrap_or_default();
        let rate = session.number("hashRate").unwrap_or_default();
        let seen = session.text("lastSeen").and_then(|text| time(&text));
        let best = session.number("bestDifficulty");
        match account.workers.iter_mut().find(|worker| worker.name == name) {
            Some(worker) => {
                worker.rates.iter_mut().for_each(|(_, sum)| *sum += rate);
                worker.last_share = later(worker.last_share, seen);
                worker.best = later(worker.best, best);
            }
            None => account.workers.push(Worker {
                name,
                state: None,
                rates: vec![("current", rate)],
                last_share: seen,
                best,
            }),
        }
    }
    account.rates =
        vec![("current", account.workers.iter().flat_map(|worker| &worker.rates).map(|(_, rate)| rate).sum())];
    true
}

const OCEAN_WINDOWS: &Windows =
    &[("hashrate_60s", "1m"), ("hashrate_300s", "5m"), ("hashrate_3600s", "1h"), ("hashrate_86400s", "1d")];

/// Ocean: hash rates of the user and its workers, and a snapshot with what is unpaid. A page stands under `result`.
pub fn ocean(documents: &Documents, account: &mut Account) -> bool {
    let page = documents.with(&["result"], "workers");
    let snapshot = documents.with(&["result"], "unpaid");
    for worker in page.iter().flat_map(|page| page.object("workers")).flat_map(|workers| workers.0) {
        let (name, said) = worker;
        // A worker's newest figures are the first of a list, or the value itself.
        let Some(figures) = Fields::of(said.get(0).unwrap_or(said)) else { continue };
        account.workers.push(Worker {
            name: wallets_name(name),
            rates: rates(figures, OCEAN_WINDOWS, ""),
            ..Worker::default()
        });
    }
    let user = page.and_then(|page| page.object("user_hashrate")).or(snapshot);
    account.rates = user.map(|user| rates(user, OCEAN_WINDOWS, "")).unwrap_or_default();
    if let Some(snapshot) = snapshot {
        account.balance = snapshot.get(&["unpaid"]).and_then(amount);
        // So spelled by the pool.
        account.last_share = snapshot.number_of(&["lastest_share_ts", "latest_share_ts"]).filter(|at| *at > 0.0);
    }
    page.is_some() || snapshot.is_some()
}

/// An amount: bitcoins where it is a decimal, else satoshis.
fn amount(value: &Value) -> Option<f64> {
    let decimal = value.is_f64() || value.as_str().is_some_and(|text| text.contains('.'));
    number(value).map(|amount| if decimal { amount } else { amount / SATOSHIS })
}

const F2POOL_WINDOWS: &Windows = &[("hash_rate", "current"), ("h1_hash_rate", "1h"), ("h24_hash_rate", "1d")];

/// F2Pool, API 2.
pub fn f2pool(documents: &Documents, account: &mut Account) -> bool {
    let info = documents.with(&[], "info").and_then(|page| page.object("info"));
    let balance = documents.with(&[], "balance_info").and_then(|page| page.object("balance_info"));
    let list = documents.with(&[], "workers");
    account.rates = info.map(|info| rates(info, F2POOL_WINDOWS, "")).unwrap_or_default();
    if let Some(balance) = balance {
        account.balance = balance.number("balance");
        account.rewards = balance.number("total_income");
        account.today = balance.number("estimated_today_income");
    }
    for worker in list.iter().flat_map(|list| list.objects("workers")) {
        let Some(figures) = worker.object("hash_rate_info") else { continue };
        let state = match worker.number("status") {
            Some(0.0) => "ok",
            Some(1.0 | 2.0) => "off",
            _ => "unknown",
        };
        account.workers.push(Worker {
            name: own_name(&figures.text("name").unwrap_or_default()),
            state: Some(state),
            rates: rates(figures, F2POOL_WINDOWS, ""),
            last_share: worker.nonzero("last_share_at"),
            best: None,
        });
    }
    if list.is_some() {
        account.counts = count(&account.workers, &["ok", "off"]);
    }
    info.is_some() || balance.is_some() || list.is_some()
}

const VIABTC_WINDOWS: &Windows = &[("hashrate_10min", "10m"), ("hashrate_1hour", "1h"), ("hashrate_24hour", "1d")];

/// ViaBTC: figures of the account and a page of workers, each under `data`.
pub fn viabtc(documents: &Documents, account: &mut Account) -> bool {
    let figures = documents.with(&["data"], "active_workers");
    if let Some(figures) = figures {
        account.rates = rates(figures, VIABTC_WINDOWS, "");
        let states = [("ok", "active_workers"), ("off", "unactive_workers")];
        account.counts = states.iter().filter_map(|(state, key)| Some((*state, figures.number(key)?))).collect();
    }
    let list = documents.with(&["data"], "data");
    for worker in list.iter().flat_map(|list| list.objects("data")) {
        let state = match worker.text("worker_status").as_deref() {
            Some("active") => "ok",
            Some("unactive" | "inactive") => "off",
            _ => "unknown",
        };
        account.workers.push(Worker {
            name: own_name(&worker.text("worker_name").unwrap_or_default()),
            state: Some(state),
            rates: rates(worker, VIABTC_WINDOWS, ""),
            last_share: worker.nonzero("last_active"),
            best: None,
        });
    }
    figures.is_some() || list.is_some()
}

/// NiceHash: the rigs of an address. How many hashes a unit of speed is differs per algorithm, and is said by the list of
/// algorithms; until that is there, no rate is told.
pub fn nicehash(documents: &Documents, account: &mut Account) -> bool {
    let algorithms: Vec<(String, f64)> = documents
        .with(&[], "miningAlgorithms")
        .iter()
        .flat_map(|page| page.objects("miningAlgorithms"))
        .filter_map(|algorithm| Some((algorithm.text("algorithm")?, algorithm.nonzero("miningFactor")?)))
        .collect();
    let Some(page) = documents.with(&[], "miningRigs") else { return !algorithms.is_empty() };
    account.balance = page.number("unpaidAmount");
    for rig in page.objects("miningRigs") {
        let state = match rig.text("minerStatus").as_deref() {
            Some("MINING") => "ok",
            Some("OFFLINE" | "STOPPED") => "off",
            Some("DISABLED") => "dis",
            _ => "unknown",
        };
        let speed = rig.objects("stats").try_fold(0.0, |sum, stats| {
            let name = stats.object("algorithm").and_then(|algorithm| algorithm.text("enumName"))?;
            let factor = algorithms.iter().find(|(known, _)| *known == name).map(|(_, factor)| factor)?;
            Some(sum + stats.number("speedAccepted")? * factor)
        });
        account.workers.push(Worker {
            name: rig.text_of(&["name", "rigId"]).unwrap_or_default(),
            state: Some(state),
            rates: speed.map(|speed| ("current", speed)).into_iter().collect(),
            last_share: None,
            best: None,
        });
    }
    account.counts = count(&account.workers, &["ok", "off", "dis", "unknown"]);
    let known: Option<f64> = account.workers.iter().map(|worker| worker.rates.first().map(|(_, rate)| rate)).sum();
    account.rates = known.map(|sum| ("current", sum)).into_iter().collect();
    true
}
