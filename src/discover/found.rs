//! A device that was found: what it is, and by what it is known again. All text is the device's own, cleaned and cut.

use std::fmt;

use crate::model::{PollFailure, Reading};

/// Longest text that is kept of what a device says of itself, in characters.
const MAX_TEXT: usize = 64;

/// Longest reason, in characters.
const MAX_TROUBLE: usize = 300;

/// A MAC address that can stand for one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Reads `02:c1:58:2e:87:c8`, with `:`, `-` or nothing between the digits. All zeros, all ones and groups are none.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let shape = match text.len() {
            12 => text.bytes().all(|byte| byte.is_ascii_hexdigit()),
            17 => text.bytes().enumerate().all(|(at, byte)| match at % 3 {
                2 => matches!(byte, b':' | b'-'),
                _ => byte.is_ascii_hexdigit(),
            }),
            _ => false,
        };
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let number = shape.then(|| u64::from_str_radix(&digits, 16).ok())??;
        let [_, _, bytes @ ..] = number.to_be_bytes();
        (number != 0 && bytes[0] & 1 == 0).then_some(Mac(bytes))
    }

    /// Its digits without anything between them.
    pub fn digits(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A device that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// As the address of a target of its kind is written.
    pub address: String,
    /// Name in `KINDS`.
    pub kind: &'static str,
    /// From its own replies, else from the ARP table.
    pub mac: Option<Mac>,
    /// Serial number, where it says no MAC address.
    pub serial: String,
    /// Host name.
    pub hostname: String,
    /// Maker.
    pub make: String,
    /// Model.
    pub model: String,
    /// Firmware and version.
    pub firmware: String,
    /// MAC address or serial number in the device's own words, with which each of its polls can be compared.
    pub says: String,
    /// Port of its web interface, where it is polled through another one.
    pub web_port: Option<u16>,
    /// Whether it only answers who has logged in.
    pub locked: bool,
    /// Why it could not be polled, in words; `None` where it was.
    pub trouble: Option<String>,
}

impl Found {
    /// What stands for the device: its MAC address, else its serial number.
    pub fn identity(&self) -> Option<String> {
        let serial = || (!self.serial.is_empty()).then(|| format!("sn:{}", self.serial));
        self.mac.map(|mac| mac.to_string()).or_else(serial)
    }

    /// Takes over what a first poll said.
    pub fn learn(&mut self, reading: &Reading) {
        let info = reading.samples.iter().find(|sample| sample.family.name == "miner_info");
        self.hostname = info.and_then(|info| info.labels.get("hostname")).map(tidy).unwrap_or_default();
        let Some(identity) = &reading.identity else { return };
        self.make = tidy(&identity.make);
        self.model = tidy(&identity.model);
        self.firmware = tidy(&identity.firmware);
        self.says = tidy(&identity.id);
        self.mac = Mac::read(&identity.id);
        if self.mac.is_none() {
            self.serial = self.says.clone();
        }
    }
}

/// Why a device could not be polled, in words that may quote it.
pub(super) fn trouble(failure: &PollFailure) -> String {
    failure.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TROUBLE).collect()
}

/// Text of a device: no control characters, bounded.
pub fn tidy(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_one_however_it_is_written() {
        for text in ["02:C1:58:2E:87:C8", "02-c1-58-2e-87-c8", " 02c1582e87c8 "] {
            assert_eq!(Mac::read(text).unwrap().to_string(), "02:c1:58:2e:87:c8", "{text}");
        }
        for text in [
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "02:55:97:22:3M:72",
            "0:1:2:3:4:5",
            "",
            "é2c1582e87c",
        ] {
            assert_eq!(Mac::read(text), None, "{text}");
        }
    }
}
