//! What an AxeOS device computes: hash rates, errors, shares, chips.

use super::super::families;
use super::super::pools::RESULTS;
use super::super::values::{Fields, number};
use super::parse::Device;
use crate::model::Reading;

/// Most reasons of rejection that get a series of their own.
const MAX_REASONS: usize = 10;
/// Most series of chips.
const MAX_CHIP_SERIES: usize = 512;
/// The only board of the device.
pub const BOARD: &str = "0";

/// Adds all samples of this file.
pub fn put(reading: &mut Reading, device: Device<'_>, state: &str, chips: bool) {
    let info = device.info;
    put_rates(reading, device, state);
    for (result, key) in RESULTS.into_iter().zip(["sharesAccepted", "sharesRejected"]) {
        reading.put_opt(&families::SHARES, &[("result", result)], info.number(key));
    }
    put_rejections(reading, info);
    reading.put_opt(&families::BEST_SHARE, &[("scope", "session")], info.difficulty("bestSessionDiff"));
    reading.put_opt(&families::BEST_SHARE, &[("scope", "lifetime")], info.difficulty("bestDiff"));
    let blocks = info.number_of(&["totalFoundBlocks", "foundBlocks", "blockFound"]);
    reading.put_opt(&families::BLOCKS_FOUND, &[], blocks);
    reading.put_opt(&families::NETWORK_DIFFICULTY, &[], info.difficulty("networkDifficulty").filter(|d| *d > 0.0));
    reading.put_opt(&families::HASH_ERROR_RATIO, &[], info.number("errorPercentage").map(|percent| percent / 100.0));
    put_chips(reading, info, state, chips);
}

/// GH/s, in which all hash rates are sent, as hashes per second; rounded, because 1037.1 would become …999.9999.
pub fn hashes(giga: f64) -> f64 {
    (giga * 1e9).round()
}

fn put_rates(reading: &mut Reading, device: Device<'_>, state: &str) {
    let info = device.info;
    let rate = info.number("hashRate");
    reading.put_opt(&families::HASHRATE, &[], rate.map(hashes));
    for window in ["1m", "10m", "1h", "1d"] {
        let rate = info.number(&format!("hashRate_{window}"));
        reading.put_opt(&families::HASHRATE_AVERAGE, &[("window", window)], rate.map(hashes));
    }
    // The firmware's own formula, for versions that do not yet send its result: one hash per small core and clock.
    let computed = || {
        let megahertz = info.nonzero("frequency")?;
        Some(megahertz * info.nonzero("smallCoreCount")? * device.chips()? / 1e3)
    };
    let expected = info.nonzero("expectedHashrate").or_else(computed);
    reading.put_opt(&families::HASHRATE_EXPECTED, &[], expected.map(hashes));
    reading.put_opt(&families::HASHES, &[], info.number("totalHashes"));
    if let (Some(rate), Some(power)) = (rate, info.number("power"))
        && state == "hashing"
        && rate > 0.0
        && power > 0.0
    {
        reading.put(&families::EFFICIENCY, &[], power / (rate / 1e3));
    }
}

/// The device lists reasons in the order of their first appearance, so the first ten stay the same ten.
fn put_rejections(reading: &mut Reading, info: Fields<'_>) {
    let mut reasons: Vec<(String, f64)> = Vec::new();
    for reason in info.objects("sharesRejectedReasons") {
        let (Some(message), Some(count)) = (reason.text("message"), reason.number("count")) else { continue };
        let message = if reasons.len() < MAX_REASONS { message } else { "other".to_string() };
        match reasons.iter_mut().find(|(known, _)| *known == message) {
            Some((_, sum)) => *sum += count,
            None => reasons.push((message, count)),
        }
    }
    for (message, count) in reasons {
        reading.put(&families::SHARE_REJECTIONS, &[("reason", &message)], count);
    }
}

fn put_chips(reading: &mut Reading, info: Fields<'_>, state: &str, chips: bool) {
    let monitor = info.object("hashrateMonitor");
    let asics: Vec<Fields<'_>> = monitor.iter().flat_map(|monitor| monitor.objects("asics")).collect();
    let errors: f64 = asics.iter().filter_map(|asic| asic.number("errorCount")).sum();
    if asics.iter().any(|asic| asic.number("errorCount").is_some()) {
        reading.put(&families::HARDWARE_ERRORS, &[], errors);
    } else {
        reading.put_opt(&families::HARDWARE_ERRORS, &[], info.number("duplicateHWNonces"));
    }
    // A chip that rests because the whole device does is not a missing chip.
    if !asics.is_empty() && state == "hashing" {
        let working = asics.iter().filter(|asic| asic.number("total").is_some_and(|rate| rate > 0.0)).count();
        reading.put(&families::BOARD_CHIPS, &[("board", BOARD)], working as f64);
    }
    if chips {
        put_each_chip(reading, info, &asics);
    }
}

fn put_each_chip(reading: &mut Reading, info: Fields<'_>, asics: &[Fields<'_>]) {
    let mut each = Reading::default();
    for (index, asic) in asics.iter().enumerate().take(MAX_CHIP_SERIES) {
        let chip = index.to_string();
        let labels = [("board", BOARD), ("chip", &*chip)];
        each.put_opt(&families::CHIP_HASHRATE, &labels, asic.number("total").map(hashes));
        each.put_opt(&families::CHIP_HARDWARE_ERRORS, &labels, asic.number("errorCount"));
        let domains = asic.get(&["domains"]).and_then(serde_json::Value::as_array);
        for (domain, rate) in domains.into_iter().flatten().enumerate().take(MAX_CHIP_SERIES) {
            let labels = [("board", BOARD), ("chip", &*chip), ("domain", &*domain.to_string())];
            each.put_opt(&families::CHIP_DOMAIN_HASHRATE, &labels, number(rate).map(hashes));
        }
    }
    let temperatures = info.get(&["asicTemps"]).and_then(serde_json::Value::as_array);
    for (index, value) in temperatures.into_iter().flatten().enumerate().take(MAX_CHIP_SERIES) {
        // Zero: the chip has no sensor.
        let value = number(value).filter(|value| *value != 0.0);
        each.put_opt(&families::CHIP_TEMPERATURE, &[("board", BOARD), ("chip", &index.to_string())], value);
    }
    if each.samples.len() > MAX_CHIP_SERIES {
        reading.notes.push(format!("{} series of chips; only {MAX_CHIP_SERIES} are kept", each.samples.len()));
        each.samples.truncate(MAX_CHIP_SERIES);
    }
    reading.samples.append(&mut each.samples);
    for (family, count) in each.rejected {
        *reading.rejected.entry(family).or_default() += count;
    }
}
