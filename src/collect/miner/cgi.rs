//! What the JSON pages of Antminer's newer web interface mean (`/cgi-bin/summary.cgi`, `stats.cgi`, `pools.cgi`), for the
//! makers who kept its words. Hash rates are in the unit that `rate_unit` names.

pub mod commands;

use serde_json::Value;

use super::cgminer::sections;
use super::device::{Board, Device, Fan, Sensor, State};
use super::pools::{self, Pool};
use super::values::{Fields, number, rate_unit};

/// Boards, fans and pools that are read at most.
const PARTS: usize = 32;

/// Rates and uptime of the whole device, which stand in the summary and in the stats alike.
pub fn put_rates(device: &mut Device, fields: Fields<'_>) {
    let Some(unit) = fields.text("rate_unit").and_then(|unit| rate_unit(&unit)) else { return };
    let rate = |key: &str| fields.number(key).map(|rate| rate * unit);
    device.hashrate = rate("rate_5s");
    // A window that is not kept says 0 while the others do not.
    let windows = [("15m", "rate_15m"), ("30m", "rate_30m"), ("lifetime", "rate_avg")];
    let averages = windows.map(|(window, key)| (window, rate(key)));
    let kept = averages.into_iter().filter_map(|(window, rate)| Some((window, rate.filter(|rate| *rate > 0.0)?)));
    device.averages = kept.collect();
    device.expected = rate("rate_ideal");
    device.uptime = fields.number("elapsed");
    device.best_session = fields.nonzero("bestshare").or(device.best_session);
    device.tell_state();
}

/// What the summary complains of: a list by type, each `s` (sound) or not, with a code.
pub fn put_faults(device: &mut Device, summary: Fields<'_>) {
    for fault in summary.objects("status").take(PARTS) {
        let (Some(component), Some(word)) = (fault.text("type"), fault.text("status")) else { continue };
        if word.eq_ignore_ascii_case("s") {
            continue;
        }
        // A rate that is too low, or no network, says nothing of what is broken; while it starts both are normal.
        let stopped = device.hashrate.is_none_or(|rate| rate == 0.0);
        match &*component {
            "temp" if stopped => device.state = State::Overheated,
            "fans" if stopped && device.state != State::Overheated => device.state = State::Fault,
            _ => {}
        }
        device.faults.push((fault.text("code").unwrap_or(word), component));
    }
}

/// Boards and fans of the stats.
pub fn put_hardware(device: &mut Device, stats: Fields<'_>) {
    let unit = stats.text("rate_unit").and_then(|unit| rate_unit(&unit));
    device.boards_expected = stats.nonzero("chain_num");
    device.fans_expected = stats.nonzero("fan_num");
    device.boards = stats.objects("chain").take(PARTS).filter_map(|chain| board(chain, unit)).collect();
    let fans = stats.get(&["fan"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, rpm) in fans.iter().take(PARTS).enumerate() {
        device.fans.push(Fan { name: (index + 1).to_string(), rpm: number(rpm), ..Fan::default() });
    }
}

fn board(chain: Fields<'_>, unit: Option<f64>) -> Option<Board> {
    let index = chain.number("index")?;
    let chips = chain.number("asic_num");
    // The letters of the chips may be cut short, so those that are dead are counted and not those that work.
    let letters = chain.get(&["asic"]).and_then(Value::as_str).unwrap_or_default();
    let dead = letters.chars().filter(|letter| *letter == 'x').count() as f64;
    let working = chips.map(|chips| (chips - dead).max(0.0));
    let sensor = |(key, place)| hottest(chain, key).map(|celsius| Sensor { place, celsius });
    Some(Board {
        name: index.to_string(),
        serial: chain.text("sn").unwrap_or_default(),
        up: working.map(|working| working > 0.0),
        hashrate: chain.number("rate_real").zip(unit).map(|(rate, unit)| rate * unit),
        chips: working,
        chips_expected: chips,
        temperatures: [("temp_pcb", "board"), ("temp_chip", "chip")].into_iter().filter_map(sensor).collect(),
        ..Board::default()
    })
}

/// The hottest of a list. Chips are told in thousandths of a degree by some firmware, and places without a sensor are
/// empty or 0.
pub fn hottest(chain: Fields<'_>, key: &str) -> Option<f64> {
    let list = chain.get(&[key]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let readings = list.iter().filter_map(number).filter(|reading| *reading > 0.0);
    readings.map(|reading| if reading >= 1000.0 { reading / 1000.0 } else { reading }).max_by(f64::total_cmp)
}

/// The pools of the pools page; the shares of the device are their sum. `now` is the device's clock.
pub fn put_pools(device: &mut Device, page: Fields<'_>, now: Option<f64>) {
    device.pools = page.objects("POOLS").take(PARTS).enumerate().map(|(at, fields)| pool(fields, at, now)).collect();
    device.shares = pools::sum(&device.pools);
}

fn pool(fields: Fields<'_>, position: usize, now: Option<f64>) -> Pool {
    let url = fields.text("url").unwrap_or_default();
    let slot = fields.number("index").filter(|slot| (0.0..1e4).contains(slot));
    // No time at all is what a pool says that never took a share.
    let age = fields.text("lstime").and_then(|text| sections::age(&text)).filter(|age| *age > 0.0);
    Pool {
        slot: slot.map_or(position, |slot| slot as usize),
        protocol: pools::protocol(&url).to_string(),
        url: pools::pool_url(&url, None),
        user: fields.text("user").unwrap_or_default(),
        up: fields.text("status").map(|status| status == "Alive"),
        shares: ["accepted", "rejected", "stale"].map(|key| fields.number(key)),
        difficulty: fields.difficulty("diff").filter(|difficulty| *difficulty > 0.0),
        last_share: now.zip(age).map(|(now, age)| now - age),
        ..Pool::default()
    }
}

/// Who answered, as `get_system_info.cgi` says it.
pub fn put_system(device: &mut Device, page: Fields<'_>) {
    device.mac = page.text("macaddr").unwrap_or_default();
    device.serial = page.text("serinum").unwrap_or_else(|| std::mem::take(&mut device.serial));
    device.hostname = page.text("hostname").unwrap_or_default();
    device.model = page.text("minertype").unwrap_or_else(|| std::mem::take(&mut device.model));
    let version = page.text("system_filesystem_version");
    device.firmware_version = version.unwrap_or_else(|| std::mem::take(&mut device.firmware_version));
}
