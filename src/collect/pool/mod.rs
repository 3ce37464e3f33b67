//! Accounts at mining pools: what the pool sees of the workers, against what the devices claim of themselves.
//!
//! Pools ban those who ask too often (Braiins: more than one request in five seconds), so a poll asks for *one* document,
//! the next poll for the next; the others are told from their last good answer, with the time of that answer. Sources: the
//! pools' public API pages, the programs that pools run (ckpool, public-pool), for Braiins Pool the recorded replies.

mod account;
mod families;
mod fetch;
mod read;
mod readers;

use std::collections::BTreeMap;
use std::time::Duration;

use super::http::{Credential, Endpoint, Keep, NETWORK_DOC, Network, Settings, TLS_DOC, TlsOptions, checked_url};
use super::{Kind, Opened, OptionDoc, OptionError, Support, read_options};
use crate::model::Target;
use crate::secret::SecretRef;

use fetch::Rotation;
use read::Reader;

/// Largest document: an account with thousands of workers.
const MAX_BODY: usize = 1024 * 1024;

/// What a pool asks of those who ask it.
struct Pool {
    /// Its documents: name, path, and the body where it wants a POST. `{user}` and `{coin}` are filled in.
    documents: &'static [(&'static str, &'static str, Option<&'static str>)],
    /// The header of its token, where it wants one.
    token: Option<&'static str>,
    /// Whether the account has to be named.
    user: bool,
    /// What it calls bitcoin, where the coin has to be named.
    coin: Option<&'static str>,
    /// What its documents mean.
    reader: Reader,
}

const USER_DOC: OptionDoc = OptionDoc { name: "user", help: "the account: a wallet address or a name" };
const TOKEN_DOC: OptionDoc = OptionDoc { name: "token", help: "SECRET: token for the pool's API" };
const COIN_DOC: OptionDoc = OptionDoc { name: "coin", help: "the coin, as the pool calls it; bitcoin by default" };

const ACCOUNT: Kind = Kind {
    name: "",
    summary: "",
    subject: "account",
    support: Support::Documented,
    default_address: "",
    min_interval: Duration::from_secs(30),
    families: families::ALL,
    options: &[USER_DOC, TLS_DOC, NETWORK_DOC],
    commands: &[],
    open: |target| open(target, &BRAIINS_POOL),
};

const BRAIINS_POOL: Pool = Pool {
    documents: &[("workers", "/accounts/workers/json/btc", None), ("profile", "/accounts/profile/json/btc", None)],
    token: Some("Pool-Auth-Token"),
    user: false,
    coin: None,
    reader: readers::braiins,
};

/// The row of `pool_braiins`.
pub const BRAIINS: Kind = Kind {
    name: "pool_braiins",
    summary: "an account at Braiins Pool, one target for each token",
    support: Support::Recorded,
    default_address: "pool.braiins.com",
    // The pool's limit is five; a second for a network that jitters.
    min_interval: Duration::from_secs(6),
    options: &[TOKEN_DOC, TLS_DOC, NETWORK_DOC],
    ..ACCOUNT
};

const CKPOOL_POOL: Pool = Pool {
    documents: &[("user", "/users/{user}", None)],
    token: None,
    user: true,
    coin: None,
    reader: readers::ckpool,
};

/// The row of `pool_ckpool`.
pub const CKPOOL: Kind = Kind {
    name: "pool_ckpool",
    summary: "a user of a ckpool (solo.ckpool.org and others)",
    default_address: "solo.ckpool.org",
    open: |target| open(target, &CKPOOL_POOL),
    ..ACCOUNT
};

const PUBLIC_POOL: Pool =
    Pool { documents: &[("client", "/api/client/{user}", None)], reader: readers::public_pool, ..CKPOOL_POOL };

/// The row of `pool_public`.
pub const PUBLIC: Kind = Kind {
    name: "pool_public",
    summary: "a client of public-pool (public-pool.io, or a pool of one's own)",
    default_address: "public-pool.io:40557",
    open: |target| open(target, &PUBLIC_POOL),
    ..ACCOUNT
};

const OCEAN_POOL: Pool = Pool {
    documents: &[("workers", "/v1/user_hashrate_full/{user}", None), ("snapshot", "/v1/statsnap/{user}", None)],
    reader: readers::ocean,
    ..CKPOOL_POOL
};

/// The row of `pool_ocean`.
pub const OCEAN: Kind = Kind {
    name: "pool_ocean",
    summary: "a user of Ocean",
    default_address: "api.ocean.xyz",
    open: |target| open(target, &OCEAN_POOL),
    ..ACCOUNT
};

const F2POOL_POOL: Pool = Pool {
    documents: &[
        ("workers", "/v2/hash_rate/worker/list", Some(r#"{"mining_user_name":"{user}","currency":"{coin}"}"#)),
        ("info", "/v2/hash_rate/info", Some(r#"{"mining_user_name":"{user}","currency":"{coin}"}"#)),
        ("balance", "/v2/assets/balance", Some(r#"{"mining_user_name":"{user}","currency":"{coin}"}"#)),
    ],
    token: Some("F2P-API-SECRET"),
    user: true,
    coin: Some("bitcoin"),
    reader: readers::f2pool,
};

/// The row of `pool_f2pool`.
pub const F2POOL: Kind = Kind {
    name: "pool_f2pool",
    summary: "a mining account at F2Pool (API 2)",
    default_address: "api.f2pool.com",
    options: &[USER_DOC, TOKEN_DOC, COIN_DOC, TLS_DOC, NETWORK_DOC],
    open: |target| open(target, &F2POOL_POOL),
    ..ACCOUNT
};

const VIABTC_POOL: Pool = Pool {
    documents: &[
        ("workers", "/res/openapi/v1/hashrate/worker?coin={coin}&limit=100", None),
        ("hashrate", "/res/openapi/v1/hashrate?coin={coin}", None),
    ],
    token: Some("X-API-KEY"),
    user: false,
    coin: Some("BTC"),
    reader: readers::viabtc,
};

/// The row of `pool_viabtc`.
pub const VIABTC: Kind = Kind {
    name: "pool_viabtc",
    summary: "an account at ViaBTC (its first 100 workers)",
    default_address: "www.viabtc.net",
    options: &[TOKEN_DOC, COIN_DOC, TLS_DOC, NETWORK_DOC],
    open: |target| open(target, &VIABTC_POOL),
    ..ACCOUNT
};

const NICEHASH_POOL: Pool = Pool {
    documents: &[
        ("algorithms", "/main/api/v2/mining/algorithms", None),
        ("rigs", "/main/api/v2/mining/external/{user}/rigs2", None),
    ],
    reader: readers::nicehash,
    ..CKPOOL_POOL
};

/// The row of `pool_nicehash`.
pub const NICEHASH: Kind = Kind {
    name: "pool_nicehash",
    summary: "the rigs of a mining address at NiceHash",
    default_address: "api2.nicehash.com",
    open: |target| open(target, &NICEHASH_POOL),
    ..ACCOUNT
};

/// The options of an account.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    user: Option<String>,
    token: Option<SecretRef>,
    coin: Option<String>,
    tls: Option<TlsOptions>,
    network: Option<Network>,
}

fn open(target: &Target, pool: &Pool) -> Opened {
    let options: Options = read_options(target)?;
    let mut errors = Vec::new();
    let mut fault = |option: &str, text: &str| errors.push(OptionError::new(format!("options.{option}"), text));
    match (pool.token, &options.token) {
        (Some(_), None) => fault("token", "is missing: the pool wants one"),
        (None, Some(_)) => fault("token", "is not for this pool: it is open to everybody"),
        _ => {}
    }
    match (pool.user, &options.user) {
        (true, None) => fault("user", "is missing: whose account?"),
        (true, Some(user)) if !is_name(user) => fault("user", "takes letters, digits and . _ - only"),
        (false, Some(_)) => fault("user", "is not for this pool: the token says whose account it is"),
        _ => {}
    }
    match (pool.coin, &options.coin) {
        (None, Some(_)) => fault("coin", "is not for this pool"),
        (_, Some(coin)) if !is_name(coin) => fault("coin", "takes letters, digits and . _ - only"),
        _ => {}
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let scheme = if target.address.contains("://") { "" } else { "https://" };
    let base = checked_url(&format!("{scheme}{}", target.address), "address")?;
    if !matches!(base.path(), "" | "/") || base.query().is_some() {
        return Err(OptionError::new("address", "holds a path; write the pool's host, or http://host:port").into());
    }
    let user = options.user.as_deref().unwrap_or_default();
    let asked = options.coin.as_deref().or(pool.coin).unwrap_or_default();
    let filled = |text: &str| text.replace("{user}", user).replace("{coin}", asked);
    let mut documents = Vec::with_capacity(pool.documents.len());
    for (name, path, body) in pool.documents {
        let url = base.join(&filled(path)).map_err(|error| OptionError::new("address", error.to_string()))?;
        let header =
            |name: &str, value: &SecretRef| Credential::Header { name: name.to_string(), value: value.clone() };
        let content = body.map(|_| ("content-type".to_string(), "application/json".to_string()));
        let settings = Settings {
            method: if body.is_some() { "POST" } else { "GET" }.to_string(),
            headers: BTreeMap::from_iter(content),
            body: body.map(filled),
            credential: pool.token.zip(options.token.as_ref()).map(|(name, value)| header(name, value)),
            tls: options.tls.clone(),
            network: options.network,
            keep: Keep::Close,
            gzip: true,
            max_body: MAX_BODY,
            timeout: target.timeout,
        };
        documents.push((*name, Endpoint::open(url, settings)?));
    }
    let coin = options.coin.as_ref().map_or_else(|| "btc".to_string(), |coin| coin.to_ascii_lowercase());
    Ok(Box::new(Rotation::new(documents, pool.reader, coin)))
}

/// What may stand in a path and in JSON as it is.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=128).contains(&text.len()) && !matches!(text, "." | "..") && text.chars().all(plain)
}
