//! The device's own record, which it writes every few seconds if its owner wishes: what was lowest and highest between two
//! polls. All else that stands in it stands in the first document too, and newer.

use std::time::Duration;

use serde_json::Value;

use super::super::families;
use super::super::values::{Fields, number};
use super::hashing::{BOARD, hashes};
use crate::model::Reading;

/// Only the columns that are used: the record has up to 720 rows, and the device writes each number out.
pub const PATH: &str = "/api/system/statistics?columns=hashrate,asicTemp,asicTemp2,vrTemp,power";

/// Whether a document is such a record.
pub fn is_record(value: &Value) -> bool {
    value.get("statistics").is_some_and(Value::is_array) && value.get("labels").is_some_and(Value::is_array)
}

/// Adds what was lowest and highest within the last `interval`. Times are milliseconds since the device's start, and so is
/// its "now": no clock is needed.
pub fn put(reading: &mut Reading, record: Fields<'_>, interval: Duration) {
    let list = |key: &str| record.get(&[key]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (labels, rows) = (list("labels"), list("statistics"));
    let place = |name: &str| labels.iter().position(|label| label.as_str() == Some(name));
    let (Some(now), Some(at)) = (record.number("currentTimestamp"), place("timestamp")) else { return };
    let window = (now - interval.as_millis() as f64)..=now;
    let cell = |row: &Value, index: usize| row.get(index).and_then(number);
    let recent: Vec<&Value> =
        rows.iter().filter(|row| cell(row, at).is_some_and(|time| window.contains(&time))).collect();
    let column = |name: &str| {
        let index = place(name);
        recent.iter().filter_map(move |row| cell(row, index?))
    };
    // What firmware says without a sensor.
    let sensed = |value: &f64| *value != 0.0 && *value != -1.0;
    reading.put_opt(&families::HASHRATE_LOWEST, &[], column("hashrate").reduce(f64::min).map(hashes));
    let power = column("power").filter(|watts| *watts != 0.0).reduce(f64::max);
    reading.put_opt(&families::POWER_HIGHEST, &[("source", "measured")], power);
    for (name, sensor, index) in [("asicTemp", "chip", ""), ("asicTemp2", "chip", "1"), ("vrTemp", "vr", "")] {
        let labels = [("sensor", sensor), ("board", BOARD), ("index", index)];
        reading.put_opt(&families::TEMPERATURE_HIGHEST, &labels, column(name).filter(sensed).reduce(f64::max));
    }
}
