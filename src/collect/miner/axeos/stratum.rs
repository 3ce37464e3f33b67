//! The pools of an AxeOS device in its three dialects: two fixed slots (to 2.14), a list `pools` (2.15), and the
//! object `stratum` of NerdQAxe.

use super::super::families;
use super::super::pools::{self, Pool};
use super::super::values::{Fields, flag, number};
use super::parse::Device;
use crate::model::Reading;

/// Adds the samples of all pools.
pub fn put(reading: &mut Reading, device: Device<'_>, show_user: bool) {
    let info = device.info;
    let nerd = info.object("stratum");
    let nerd_fallback = nerd.and_then(|stratum| stratum.flag("usingFallback"));
    let fallback = info.flag("isUsingFallbackStratum").or(nerd_fallback);
    let mut all: Vec<Pool> = info.objects("pools").enumerate().map(|(slot, pool)| listed(slot, pool)).collect();
    let by_list = all.iter().any(|pool| pool.active.is_some());
    if all.is_empty() {
        all = vec![fixed(info, 0, ""), fixed(info, 1, "fallback")];
        if let Some(stratum) = nerd {
            add_nerd(&mut all, stratum, fallback.unwrap_or(false));
        }
    }
    mark_active(&mut all, info, fallback);
    let used = all.iter().position(|pool| pool.active == Some(true));
    if let Some(pool) = used.and_then(|index| all.get_mut(index)) {
        pool.difficulty =
            pool.difficulty.or_else(|| info.number_of(&["poolDifficulty", "stratumDiff"])).filter(|d| *d > 0.0);
        let rtt = info.number_of(&["responseTime", "lastpingrtt"]).filter(|rtt| *rtt > 0.0);
        pool.rtt = pool.rtt.or(rtt.map(|milliseconds| milliseconds / 1e3));
    }
    pools::put(reading, &all, show_user);
    let fallback = if by_list { used.map(|slot| slot > 0) } else { fallback };
    reading.put_opt(&families::POOL_FALLBACK_ACTIVE, &[], fallback.map(|on| f64::from(u8::from(on))));
}

/// In dual mode both pools of a NerdQAxe are worked for and each says so; else exactly one is.
fn mark_active(all: &mut [Pool], info: Fields<'_>, fallback: Option<bool>) {
    if all.iter().any(|pool| pool.active.is_some()) || info.get(&["stratumURL", "pools"]).is_none() {
        return;
    }
    let used = usize::from(fallback.unwrap_or(false));
    for pool in all {
        pool.active = Some(pool.slot == used);
    }
}

/// `stratumURL`, or with a prefix `fallbackStratumURL`.
fn fixed(info: Fields<'_>, slot: usize, prefix: &str) -> Pool {
    let key = |name: &str| if prefix.is_empty() { format!("stratum{name}") } else { format!("{prefix}Stratum{name}") };
    Pool {
        slot,
        url: pools::pool_url(&info.text(&key("URL")).unwrap_or_default(), info.number(&key("Port"))),
        user: info.text(&key("User")).unwrap_or_default(),
        protocol: protocol(info, &key("Protocol"), &key("TLS")),
        ..Pool::default()
    }
}

/// Version 2 is said as text (`SV2`) or number (1); TLS as boolean or 0 to 2.
fn protocol(fields: Fields<'_>, protocol: &str, tls: &str) -> String {
    let v2 = fields.get(&[protocol]).is_some_and(|value| {
        number(value) == Some(1.0) || value.as_str().is_some_and(|text| text.to_ascii_lowercase().contains("v2"))
    });
    let tls = fields.get(&[tls]).and_then(flag).unwrap_or(false);
    if v2 {
        "stratum_v2"
    } else if tls {
        "stratum_tls"
    } else {
        "stratum"
    }
    .to_string()
}

/// One entry of the list of 2.15; its names follow those of the fixed slots, with or without the prefix.
fn listed(slot: usize, pool: Fields<'_>) -> Pool {
    let milliseconds = pool.number_of(&["responseTime", "pingRtt"]).filter(|rtt| *rtt > 0.0);
    Pool {
        priority: None,
        slot,
        url: pools::pool_url(
            &pool.text_of(&["stratumURL", "url", "host"]).unwrap_or_default(),
            pool.number_of(&["stratumPort", "port"]),
        ),
        user: pool.text_of(&["stratumUser", "user"]).unwrap_or_default(),
        protocol: protocol(pool, "protocol", "tls"),
        up: pool.flag("connected"),
        active: pool.flag("active"),
        shares: [
            pool.number_of(&["sharesAccepted", "accepted"]),
            pool.number_of(&["sharesRejected", "rejected"]),
            None,
        ],
        difficulty: pool.number_of(&["poolDifficulty", "difficulty"]).filter(|difficulty| *difficulty > 0.0),
        rtt: milliseconds.map(|milliseconds| milliseconds / 1e3),
        last_share: None,
    }
}

/// `stratum.pools` of a NerdQAxe: one entry is whichever pool is in use, two are the two slots.
fn add_nerd(all: &mut [Pool], stratum: Fields<'_>, fallback: bool) {
    let dual = stratum.number("activePoolMode") == Some(1.0);
    let used = usize::from(fallback);
    let entries: Vec<Fields<'_>> = stratum.objects("pools").collect();
    let first = if entries.len() == 1 { used } else { 0 };
    for (entry, pool) in entries.iter().zip(all.iter_mut().skip(first)) {
        let live = listed(pool.slot, *entry);
        (pool.up, pool.shares, pool.difficulty, pool.rtt) = (live.up, live.shares, live.difficulty, live.rtt);
    }
    for pool in all {
        pool.active = Some(dual || pool.slot == used);
    }
}
