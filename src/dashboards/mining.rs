//! Expressions about miners that more than one dashboard shows. One meaning, one place.

use super::page::Context;

/// Power of each miner in watts: what was measured, and only where nothing was, what the firmware estimates.
pub(super) fn power(context: &Context<'_>) -> String {
    let measured = context.select("miner_power_watts", "source=\"measured\"");
    let any = context.select("miner_power_watts", "");
    format!("(max by (miner) ({measured}) or max by (miner) ({any}))")
}

/// Hashrate of each miner in hashes per second.
pub(super) fn hashrate(context: &Context<'_>) -> String {
    format!("max by (miner) ({})", context.select("miner_hashrate_hashes_per_second", ""))
}

/// Expected hashrate of each miner that answered within the last hour: one that has died still counts for an hour, so
/// that a loss shows as a loss and not as a smaller fleet.
pub(super) fn expected_last_hour(context: &Context<'_>) -> String {
    let expected = context.select("miner_hashrate_expected_hashes_per_second", "");
    format!("max by (miner) (max_over_time({expected}[1h]))")
}

/// What each miner should do. One that does not say counts with its own average of the last hour, so that the sum can be
/// compared with the hashrate of all miners.
pub(super) fn expected_of_all(context: &Context<'_>) -> String {
    let hashrate = context.select("miner_hashrate_hashes_per_second", "");
    format!("({} or max by (miner) (avg_over_time({hashrate}[1h])))", expected_last_hour(context))
}

/// Hashrate of each miner divided by what it should do at its present settings.
pub(super) fn ratio(context: &Context<'_>) -> String {
    let expected = context.select("miner_hashrate_expected_hashes_per_second", "");
    format!("{} / (max by (miner) ({expected}) > 0)", hashrate(context))
}

/// Joules per terahash over all shown miners that hash and whose power is known.
pub(super) fn fleet_efficiency(context: &Context<'_>) -> String {
    let (power, hashrate) = (power(context), hashrate(context));
    format!("sum({power} and on (miner) ({hashrate} > 0)) / sum(({hashrate} > 0) and on (miner) {power}) * 1e12")
}

/// Highest temperature of each miner at one kind of sensor, in degrees Celsius.
pub(super) fn hottest(context: &Context<'_>, sensor: &str) -> String {
    let matcher = format!("sensor=\"{sensor}\"");
    format!("max by (miner) ({})", context.select("miner_temperature_celsius", &matcher))
}

/// Rejected shares of each miner divided by all of them, over `window`: what the alert MinerRejectRatioHigh compares.
pub(super) fn reject_ratio(context: &Context<'_>, window: &str) -> String {
    let rejected = context.select("miner_shares_total", "result=\"rejected\"");
    let all = context.select("miner_shares_total", "");
    format!("sum by (miner) (increase({rejected}[{window}])) / (sum by (miner) (increase({all}[{window}])) > 0)")
}

/// 1 for each miner whose last poll succeeded, 0 for the others, by miner and kind.
pub(super) fn up(context: &Context<'_>) -> String {
    let up = context.targets("davylamp_target_up", "");
    format!("max by (miner, kind) (label_replace({up}, \"miner\", \"$1\", \"target\", \"(.+)\"))")
}

/// The same series with the miner's kind, which names the dashboard that a click opens.
pub(super) fn with_kind(context: &Context<'_>, expr: &str) -> String {
    format!("({expr}) * on (miner) group_left (kind) ({} > 0)", up(context))
}
