//! From the replies of cgminer, sgminer or bfgminer to samples. A program that never initialised its memory tells of 728
//! million shares; what cannot be is counted, not exported.

use super::super::device::{Device, Show};
use super::super::documents::Sections;
use super::super::values::Fields;
use super::sections::{self, Rates};
use crate::collect::{ParseError, Reply};
use crate::model::Reading;

/// Turns the replies of one poll into samples.
pub fn parse(replies: &[Reply], address: &str, show: Show) -> Result<Reading, ParseError> {
    let mut sections = Sections::read(replies);
    // The version is kept from an earlier poll: beside other replies it does not prove that the device answers.
    if !sections.measured() && (sections.version.is_none() || replies.len() > 1) {
        return Err(sections.refused(replies, "SUMMARY, POOLS, DEVS, VERSION or COIN"));
    }
    let mut reading = Reading { notes: std::mem::take(&mut sections.notes), ..Reading::default() };
    let mut device = Device { address: address.to_string(), protocol: "cgminer", ..Device::default() };
    put_version(&mut device, &sections);
    if let Some(summary) = sections.summary.as_ref().and_then(Fields::of) {
        sections::put_summary(&mut device, summary);
        if device.hashrate.is_none() {
            // A program that offers only a lifetime average of the whole still knows more of its boards.
            let boards = sections.devs.iter().filter_map(Fields::of).map(|dev| Rates::of(dev).shortest());
            device.hashrate = boards.sum::<Option<f64>>().filter(|_| !sections.devs.is_empty());
            device.tell_state();
        }
    }
    sections::put_boards(&mut device, &sections.devs);
    sections::put_pools(&mut device, &sections);
    let coin = sections.coin.as_ref().and_then(Fields::of);
    device.network_difficulty = coin.and_then(|coin| coin.nonzero("Network Difficulty"));
    device.put(&mut reading, show);
    Ok(reading)
}

fn put_version(device: &mut Device, sections: &Sections) {
    let version = sections.version.as_ref().and_then(Fields::of);
    let said = |keys: &[&str]| version.and_then(|version| version.text_of(keys)).unwrap_or_default();
    device.model = said(&["PROD", "Type", "MODEL"]);
    device.mac = said(&["MAC"]);
    let (program, version) = sections.description.split_once(' ').unwrap_or((&sections.description, ""));
    (device.firmware, device.firmware_version) = (program.to_string(), version.to_string());
}
