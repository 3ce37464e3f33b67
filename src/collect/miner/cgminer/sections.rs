//! What the sections of cgminer's API mean, for it and for all firmware that kept its words. Units are in the names of
//! keys, numbers may be text.

use serde_json::Value;

use super::super::device::{Board, Clock, Device, Fan, Sensor, State};
use super::super::documents::Sections;
use super::super::pools::{self, Pool};
use super::super::values::Fields;

/// Fills in what the summary says. The state is told by the hash rate; firmware that says more overwrites it.
pub fn put_summary(device: &mut Device, summary: Fields<'_>) {
    let rates = Rates::of(summary);
    device.hashrate = rates.shortest();
    device.averages = rates.averages().collect();
    device.uptime = summary.number("Elapsed");
    device.state = State::told_by(device.hashrate, device.uptime);
    device.hashes = summary.number("Total MH").map(|megahashes| megahashes * 1e6);
    device.shares = ["Accepted", "Rejected", "Stale"].map(|key| summary.number(key));
    device.hardware_errors = summary.number("Hardware Errors");
    device.hash_error_ratio = summary.number("Device Hardware%").map(|percent| percent / 100.0);
    device.best_session = summary.difficulty("Best Share");
    device.blocks_found = summary.number("Found Blocks");
}

/// The boards of a `devs` reply, and the fans that belong to them.
pub fn put_boards(device: &mut Device, devs: &[Value]) {
    for (position, dev) in devs.iter().filter_map(Fields::of).enumerate() {
        let name = board_name(dev, position);
        let fan = (dev.nonzero("Fan Speed"), dev.nonzero("Fan Percent").map(|percent| percent / 100.0));
        if fan != (None, None) {
            device.fans.push(Fan { name: name.clone(), role: "", rpm: fan.0, duty: fan.1 });
        }
        device.boards.push(board(dev, name));
    }
}

fn board(dev: Fields<'_>, name: String) -> Board {
    let sensor = |(key, place)| dev.temperature(key).map(|celsius| Sensor { place, celsius });
    let hertz = dev
        .number_of(&["Frequency", "Chip Frequency", "GPU Clock"])
        .filter(|clock| *clock > 0.0)
        .map(|clock| clock * 1e6);
    Board {
        name,
        serial: dev.text_of(&["PCB SN", "Serial"]).unwrap_or_default(),
        model: dev.text("Name").unwrap_or_default(),
        up: dev.text("Status").map(|status| status == "Alive" && dev.flag("Enabled") != Some(false)),
        hashrate: Rates::of(dev).shortest(),
        hardware_errors: dev.number("Hardware Errors"),
        temperatures: [("Temperature", "board"), ("Chip Temp Max", "chip")].into_iter().filter_map(sensor).collect(),
        frequency: Clock { set: None, actual: hertz },
        voltage: dev.nonzero("GPU Voltage"),
        ..Board::default()
    }
}

/// The number of a board. Its key names the sort, and each sort counts from 0, so all but the usual ones keep its name.
fn board_name(dev: Fields<'_>, position: usize) -> String {
    for (key, prefix) in [("ASC", ""), ("DEV", ""), ("PGA", "pga"), ("GPU", "gpu"), ("CPU", "cpu")] {
        if let Some(number) = dev.number(key).filter(|number| (0.0..1e6).contains(number)) {
            return format!("{prefix}{number}");
        }
    }
    dev.text("ID").unwrap_or_else(|| position.to_string())
}

/// The pools, and whether the device works for another one than its first choice.
pub fn put_pools(device: &mut Device, sections: &Sections) {
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
    device.on_fallback = chosen.filter(|_| any_active).map(|(_, pool)| pool.active == Some(false));
    device.pools = all.into_iter().map(|(_, pool)| pool).collect();
}

fn pool(fields: Fields<'_>, position: usize, when: Option<f64>) -> Pool {
    let url = fields.text_of(&["URL", "Stratum URL"]).unwrap_or_default();
    let difficulty = ["Stratum Difficulty", "Work Difficulty", "Diff"]
        .iter()
        .find_map(|key| fields.difficulty(key).filter(|difficulty| *difficulty > 0.0));
    Pool {
        slot: fields.number("POOL").filter(|slot| (0.0..1e4).contains(slot)).map_or(position, |slot| slot as usize),
        protocol: pools::protocol(&url).to_string(),
        url: pools::pool_url(&url, None),
        user: fields.text("User").unwrap_or_default(),
        priority: fields.number("Priority"),
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
    Some(when? - age(&pool.text("Last Share Time")?)?)
}

/// An age like `0:00:08`, in seconds.
pub fn age(text: &str) -> Option<f64> {
    let parts: Option<Vec<f64>> = text.split(':').map(|part| part.parse::<u32>().ok().map(f64::from)).collect();
    match parts?.as_slice() {
        [hours, minutes, seconds] => Some(hours * 3600.0 + minutes * 60.0 + seconds),
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
pub struct Rates([Option<f64>; WINDOWS.len()]);

impl Rates {
    /// Reads `MHS 5s`, `GHS av` and the like. (`HS RT` is left out: where it is sent, it is in MH/s.)
    pub fn of(fields: Fields<'_>) -> Self {
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
    pub fn shortest(&self) -> Option<f64> {
        self.0[..WINDOWS.len() - 1].iter().find_map(|rate| *rate)
    }

    /// The averages that are there, by their label `window`.
    pub fn averages(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let labelled = WINDOWS.iter().zip(self.0).filter(|((_, label), _)| !label.is_empty());
        labelled.filter_map(|((_, label), rate)| Some((*label, rate?)))
    }
}
