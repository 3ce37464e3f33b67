//! The body of an AxeOS device: power, temperatures, fans, clocks, memory, faults.

use super::super::families;
use super::super::values::Fields;
use super::hashing::BOARD;
use super::parse::Device;
use crate::model::{FanSetting, Reading};

/// Adds all samples of this file.
pub fn put(reading: &mut Reading, device: Device<'_>) {
    let info = device.info;
    put_power(reading, info);
    put_temperatures(reading, info);
    put_fans(reading, device);
    for (kind, key) in [("set", "frequency"), ("actual", "actualFrequency")] {
        let hertz = info.number(key).map(|megahertz| megahertz * 1e6);
        reading.put_opt(&families::FREQUENCY, &[("kind", kind), ("board", BOARD)], hertz);
    }
    reading.put_opt(&families::UPTIME, &[], info.number("uptimeSeconds"));
    reading.put_opt(&families::WIFI_RSSI, &[], info.nonzero("wifiRSSI"));
    for (memory, keys) in [
        ("heap", &["freeHeap"][..]),
        ("internal", &["freeHeapInternal", "freeHeapInt"]),
        ("spiram", &["freeHeapSpiram"]),
    ] {
        reading.put_opt(&families::MEMORY_FREE, &[("memory", memory)], info.number_of(keys));
    }
    put_faults(reading, device);
    reading.settings.frequencies.extend(info.nonzero("frequency").map(|megahertz| megahertz * 1e6));
    reading.settings.core_voltages.extend(info.nonzero("coreVoltage").map(|millivolts| millivolts / 1e3));
    reading.settings.fan = match info.number("autofanspeed") {
        Some(0.0) => info.number_of(&["manualFanSpeed", "fanspeed"]).map(|percent| FanSetting::Fixed(percent / 100.0)),
        // NerdQAxe has several ways of doing it by itself.
        Some(_) => Some(FanSetting::Auto),
        None => None,
    };
}

/// Adds how many chips the device is made with.
pub fn put_chips_expected(reading: &mut Reading, device: Device<'_>) {
    reading.put_opt(&families::BOARD_CHIPS_EXPECTED, &[("board", BOARD)], device.chips());
}

/// `voltage` is the input, in mV; the core has keys of its own. Zero means that the board has no sensor.
fn put_power(reading: &mut Reading, info: Fields<'_>) {
    reading.put_opt(&families::POWER, &[("source", "measured")], info.nonzero("power"));
    reading.put_opt(&families::POWER_LIMIT, &[], info.nonzero("maxPower"));
    let volts = |key: &str| info.nonzero(key).map(|millivolts| millivolts / 1e3);
    reading.put_opt(&families::VOLTAGE, &[("rail", "input")], volts("voltage"));
    reading.put_opt(&families::VOLTAGE, &[("rail", "core"), ("board", BOARD)], volts("coreVoltageActual"));
    reading.put_opt(&families::VOLTAGE, &[("rail", "core_set"), ("board", BOARD)], volts("coreVoltage"));
    // NerdQAxe sends amperes beside the usual milliamperes.
    let amperes = info.number("currentA").or_else(|| info.nonzero("current").map(|milliamperes| milliamperes / 1e3));
    reading.put_opt(&families::CURRENT, &[("rail", "input")], amperes);
}

fn put_temperatures(reading: &mut Reading, info: Fields<'_>) {
    for (key, sensor, index) in [
        ("temp", "chip", ""),
        ("temp2", "chip", "1"),
        ("vrTemp", "vr", ""),
        ("vrTempInt", "vr", "1"),
        ("boardtemp1", "board", ""),
        ("boardtemp2", "board", "1"),
    ] {
        let labels = [("sensor", sensor), ("board", BOARD), ("index", index)];
        reading.put_opt(&families::TEMPERATURE, &labels, info.temperature(key));
    }
}

fn put_fans(reading: &mut Reading, device: Device<'_>) {
    let info = device.info;
    reading.put_opt(&families::FANS_EXPECTED, &[], info.number("fanCount"));
    let mut put = |fan: usize, role: &str, rpm: Option<f64>, percent: Option<f64>| {
        let fan = fan.to_string();
        reading.put_opt(&families::FAN_SPEED, &[("fan", &fan), ("role", role)], rpm);
        reading.put_opt(&families::FAN_DUTY, &[("fan", &fan)], percent.map(|percent| percent / 100.0));
    };
    let mut listed = info.objects("fans").take(16).enumerate().peekable();
    if listed.peek().is_some() {
        for (index, fan) in listed {
            let role = fan.text("label").unwrap_or_default();
            put(index, &role, fan.number("rpm"), fan.number("speedPerc"));
        }
        return;
    }
    put(0, "", info.number("fanrpm"), info.number("fanspeed"));
    // Every board sends a second speed, few have a second fan. Zero is a dead fan only where there should be one.
    let second = info.number_of(&["fan2rpm", "fanrpm2"]).filter(|rpm| *rpm > 0.0 || device.chips() > Some(1.0));
    put(1, "", second, second.and(info.number("fanspeed2")));
}

/// Only faults that hold are sent; their texts are the firmware's own.
fn put_faults(reading: &mut Reading, device: Device<'_>) {
    for (component, code) in device.faults() {
        reading.put(&families::FAULT, &[("code", &code), ("component", component)], 1.0);
    }
    if device.info.flag("overheat_mode") == Some(true) {
        reading.put(&families::FAULT, &[("code", "overheat_mode"), ("component", "temperature")], 1.0);
    }
    if let Some(heat) = device.board_error.filter(|error| error.is_heat()) {
        reading.put(&families::FAULT, &[("code", &heat.text()), ("component", heat.component())], 1.0);
    }
}
