//! What the sections of the API mean. Units are in the names of keys, numbers may be text, and a program that never
//! initialised its memory tells of 728 million shares.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::families;
use super::super::pools::{self, Pool, RESULTS};
use super::super::values::Fields;
use super::Options;
use super::documents::Sections;
use crate::collect::{ParseError, Reply};
use crate::model::{Identity, Reading};

/// A device that does not hash and has been up for less, in seconds, is still starting.
const STARTING_SECONDS: f64 = 180.0;
/// Most boards that are exported of one device.
const MAX_BOARDS: usize = 256;

/// Turns the replies of one poll into samples.
pub fn parse(replies: &[Reply], address: &str, options: Options) -> Result<Reading, ParseError> {
    let mut sections = Sections::read(replies)?;
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    put_info(&mut reading, &sections, address);
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        put_summary(&mut reading, summary, &sections.devs);
    }
    put_boards(&mut reading, &sections.devs);
    put_pools(&mut reading, &sections, options.show_pool_user);
    let coin = sections.coin.as_ref().and_then(Fields::of);
    let difficulty = coin.and_then(|coin| coin.nonzero("Network Difficulty"));
    reading.put_opt(&families::NETWORK_DIFFICULTY, &[], difficulty);
    Ok(reading)
}

fn put_info(reading: &mut Reading, sections: &Sections, address: &str) {
    let version = sections.version.as_ref().and_then(Fields::of);
    let said = |keys: &[&str]| version.and_then(|version| version.text_of(keys)).unwrap_or_default();
    let model = said(&["PROD", "Type", "MODEL"]);
    let mac = said(&["MAC"]);
    let (program, program_version) = sections.description.split_once(' ').unwrap_or((&sections.description, ""));
    let labels = [
        ("model", &*model),
        ("firmware", program),
        ("firmware_version", program_version),
        ("mac", &mac),
        ("address", address),
        ("protocol", "cgminer"),
    ];
    reading.put(&families::INFO, &labels, 1.0);
    let firmware = sections.description.clone();
    reading.identity = Some(Identity { id: mac, make: String::new(), model, firmware });
}

fn put_summary(reading: &mut Reading, summary: Fields<'_>, devs: &[Value]) {
    let elapsed = summary.number("Elapsed");
    let rates = Rates::of(summary);
    // A program that offers only a lifetime average per device still knows more of its boards.
    let boards = || devs.iter().filter_map(Fields::of).map(|dev| Rates::of(dev).shortest()).sum::<Option<f64>>();
    let rate = rates.shortest().or_else(|| boards().filter(|_| !devs.is_empty()));
    reading.put_opt(&families::HASHRATE, &[], rate);
    for (window, rate) in rates.averages() {
        reading.put_opt(&families::HASHRATE_AVERAGE, &[("window", window)], rate);
    }
    let state = match (rate, elapsed) {
        (Some(rate), _) if rate > 0.0 => "hashing",
        (_, Some(elapsed)) if elapsed < STARTING_SECONDS => "starting",
        _ => "unknown",
    };
    reading.put_state(&families::STATE, "state", &families::STATES, state);
    reading.put_opt(&families::UPTIME, &[], elapsed);
    reading.put_opt(&families::HASHES, &[], summary.number("Total MH").map(|megahashes| megahashes * 1e6));
    for (result, key) in RESULTS.into_iter().zip(["Accepted", "Rejected", "Stale"]) {
        let count = summary.number(key).map(|count| plausible(count, elapsed));
        reading.put_opt(&families::SHARES, &[("result", result)], count);
    }
    reading.put_opt(&families::HARDWARE_ERRORS, &[], summary.number("Hardware Errors"));
    let ratio = summary.number("Device Hardware%").map(|percent| percent / 100.0);
    reading.put_opt(&families::HASH_ERROR_RATIO, &[], ratio);
    reading.put_opt(&families::BEST_SHARE, &[("scope", "session")], summary.difficulty("Best Share"));
    reading.put_opt(&families::BLOCKS_FOUND, &[], summary.number("Found Blocks"));
}

/// A count of shares, or NaN (which is counted as an impossible value) where no device could have found so many in the
/// time: that is memory which the program never initialised.
fn plausible(count: f64, elapsed: Option<f64>) -> f64 {
    let most = elapsed.map_or(f64::INFINITY, |elapsed| 1_000.0 + 100.0 * elapsed);
    if count > most { f64::NAN } else { count }
}

fn put_boards(reading: &mut Reading, devs: &[Value]) {
    let mut seen = BTreeSet::new();
    for (position, dev) in devs.iter().filter_map(Fields::of).enumerate().take(MAX_BOARDS) {
        let board = board_label(dev, position);
        if !seen.insert(board.clone()) {
            reading.notes.push(format!("devs: two boards call themselves {board}; the second is left out"));
            continue;
        }
        let labels = [("board", &*board)];
        let (serial, name) = (dev.text_of(&["PCB SN", "Serial"]), dev.text("Name"));
        let info =
            [("board", &*board), ("serial", serial.as_deref().unwrap_or("")), ("name", name.as_deref().unwrap_or(""))];
        reading.put(&families::BOARD_INFO, &info, 1.0);
        let up = dev.text("Status").map(|status| status == "Alive" && dev.flag("Enabled") != Some(false));
        reading.put_opt(&families::BOARD_UP, &labels, up.map(|up| f64::from(u8::from(up))));
        reading.put_opt(&families::BOARD_HASHRATE, &labels, Rates::of(dev).shortest());
        reading.put_opt(&families::BOARD_HARDWARE_ERRORS, &labels, dev.number("Hardware Errors"));
        for (key, sensor) in [("Temperature", "board"), ("Chip Temp Max", "chip")] {
            let labels = [("sensor", sensor), ("board", &board)];
            reading.put_opt(&families::TEMPERATURE, &labels, dev.temperature(key));
        }
        let hertz = dev.number_of(&["Frequency", "GPU Clock"]).filter(|clock| *clock > 0.0).map(|clock| clock * 1e6);
        reading.put_opt(&families::FREQUENCY, &[("kind", "actual"), ("board", &board)], hertz);
        reading.put_opt(&families::VOLTAGE, &[("rail", "core"), ("board", &board)], dev.nonzero("GPU Voltage"));
        reading.put_opt(&families::FAN_SPEED, &[("fan", &board)], dev.nonzero("Fan Speed"));
        reading.put_opt(&families::FAN_DUTY, &[("fan", &board)], dev.nonzero("Fan Percent").map(|p| p / 100.0));
    }
}

/// The number of a board. Its key names the sort, and each sort counts from 0, so all but the usual ones keep its name.
fn board_label(dev: Fields<'_>, position: usize) -> String {
    for (key, prefix) in [("ASC", ""), ("DEV", ""), ("PGA", "pga"), ("GPU", "gpu"), ("CPU", "cpu")] {
        if let Some(number) = dev.number(key).filter(|number| (0.0..1e6).contains(number)) {
            return format!("{prefix}{number}");
        }
    }
    dev.text("ID").unwrap_or_else(|| position.to_string())
}

fn put_pools(reading: &mut Reading, sections: &Sections, show_user: bool) {
    let summary = sections.summary.as_ref().and_then(Fields::of);
    let elapsed = summary.and_then(|summary| summary.number("Elapsed"));
    let all: Vec<(Fields<'_>, Pool)> = sections
        .pools
        .iter()
        .filter_map(Fields::of)
        .enumerate()
        .map(|(at, f)| (f, pool(f, at, sections.when)))
        .collect();
    // The pool with the lowest priority number is the first choice; it need not be in slot 0.
    let priority = |fields: Fields<'_>| fields.number("Priority").unwrap_or(f64::INFINITY);
    let chosen = all.iter().min_by(|a, b| priority(a.0).total_cmp(&priority(b.0)));
    let any_active = all.iter().any(|(_, pool)| pool.active == Some(true));
    let fallback = chosen.filter(|_| any_active).map(|(_, pool)| pool.active == Some(false));
    let mut pools: Vec<Pool> = all.into_iter().map(|(_, pool)| pool).collect();
    for count in pools.iter_mut().flat_map(|pool| &mut pool.shares) {
        *count = count.map(|count| plausible(count, elapsed));
    }
    pools::put(reading, &pools, show_user);
    reading.put_opt(&families::POOL_FALLBACK_ACTIVE, &[], fallback.map(|on| f64::from(u8::from(on))));
}

fn pool(fields: Fields<'_>, position: usize, when: Option<f64>) -> Pool {
    let url = fields.text_of(&["URL", "Stratum URL"]).unwrap_or_default();
    let protocol = match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("stratum+ssl" | "stratum+tls") => "stratum_tls",
        Some("stratum2+tcp") => "stratum_v2",
        Some("http" | "https") => "getwork",
        _ => "stratum",
    };
    let difficulty = ["Stratum Difficulty", "Work Difficulty", "Diff"]
        .iter()
        .find_map(|key| fields.difficulty(key).filter(|difficulty| *difficulty > 0.0));
    Pool {
        slot: fields.number("POOL").filter(|slot| (0.0..1e4).contains(slot)).map_or(position, |slot| slot as usize),
        url: pools::pool_url(&url, None),
        user: fields.text("User").unwrap_or_default(),
        protocol: protocol.to_string(),
        up: fields.text("Status").map(|status| status == "Alive"),
        active: fields.flag("Stratum Active"),
        shares: ["Accepted", "Rejected", "Stale"].map(|key| fields.number(key)),
        difficulty,
        rtt: None,
        last_share: last_share(fields, when),
    }
}

/// An epoch, or an age (`0:00:08`) that is told from the device's own clock. Zero means never; a date in words has no
/// time zone, and a small number no meaning that programs agree on.
fn last_share(pool: Fields<'_>, when: Option<f64>) -> Option<f64> {
    if let Some(number) = pool.number("Last Share Time") {
        return Some(number).filter(|epoch| *epoch > 1.2e9);
    }
    let text = pool.text("Last Share Time")?;
    let parts: Option<Vec<f64>> = text.split(':').map(|part| part.parse::<u32>().ok().map(f64::from)).collect();
    match parts?.as_slice() {
        [hours, minutes, seconds] => Some(when? - (hours * 3600.0 + minutes * 60.0 + seconds)),
        _ => None,
    }
}

/// Windows of hash rates from short to long, with the label that each gets; the short ones have none.
const WINDOWS: [(&str, &str); 13] = [
    ("5s", ""),
    ("15s", ""),
    ("20s", ""),
    ("rolling", ""),
    ("30s", ""),
    ("1m", "1m"),
    ("5m", "5m"),
    ("10m", "10m"),
    ("15m", "15m"),
    ("30m", "30m"),
    ("1h", "1h"),
    ("24h", "1d"),
    ("av", "lifetime"),
];

/// The hash rates of a device or board in hashes per second, in the order of [`WINDOWS`].
struct Rates([Option<f64>; WINDOWS.len()]);

impl Rates {
    /// Reads `MHS 5s`, `GHS av` and the like. (`HS RT` is left out: where it is sent, it is in MH/s.)
    fn of(fields: Fields<'_>) -> Self {
        let mut rates = [None; WINDOWS.len()];
        for key in fields.0.keys() {
            let Some((unit, window)) = key.split_once(' ') else { continue };
            let scale = match unit {
                "HS" => 1.0,
                "KHS" => 1e3,
                "MHS" => 1e6,
                "GHS" => 1e9,
                "THS" => 1e12,
                "PHS" => 1e15,
                _ => continue,
            };
            let slot = WINDOWS.iter().zip(&mut rates).find(|((name, _), _)| *name == window);
            if let (Some((_, slot)), Some(rate)) = (slot, fields.number(key)) {
                *slot = Some((rate * scale).round());
            }
        }
        Rates(rates)
    }

    /// The shortest window; a lifetime average is not one, because it hides that the device has stopped.
    fn shortest(&self) -> Option<f64> {
        self.0[..WINDOWS.len() - 1].iter().find_map(|rate| *rate)
    }

    fn averages(&self) -> impl Iterator<Item = (&'static str, Option<f64>)> {
        WINDOWS.iter().zip(self.0).filter(|((_, label), _)| !label.is_empty()).map(|((_, label), rate)| (*label, rate))
    }
}
