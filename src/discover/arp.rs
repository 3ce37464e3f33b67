//! The neighbours that the kernel has heard of: addresses and their MAC addresses, from `/proc/net/arp`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use super::found::Mac;

/// Where Linux shows them.
pub const TABLE: &str = "/proc/net/arp";

/// Largest table that is read, in bytes; a line has 80.
const MAX_TABLE: u64 = 4 << 20;

/// `Flags` of an entry whose address was really heard.
const COMPLETE: u32 = 0x2;

/// Neighbours by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours(BTreeMap<IpAddr, Mac>);

impl Neighbours {
    /// Reads a table; without one (another system, a container) there are none.
    pub fn of(path: &Path) -> Self {
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_TABLE).read_to_string(&mut text));
        if let Err(error) = read {
            tracing::debug!(path = %path.display(), %error, "no ARP table");
        }
        Neighbours::read(&text)
    }

    /// Reads the text of a table.
    pub fn read(text: &str) -> Self {
        let entry = |line: &str| {
            let mut columns = line.split_ascii_whitespace();
            let address = columns.next()?.parse().ok()?;
            let flags = u32::from_str_radix(columns.nth(1)?.trim_start_matches("0x"), 16).ok()?;
            let mac = Mac::read(columns.next()?)?;
            (flags & COMPLETE != 0).then_some((address, mac))
        };
        Neighbours(text.lines().filter_map(entry).collect())
    }

    /// All addresses.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.0.keys().copied().collect()
    }

    /// The MAC address behind an address, if it stands for that one alone: a repeater answers for everything behind it.
    pub fn mac(&self, address: IpAddr) -> Option<Mac> {
        let mac = *self.0.get(&address)?;
        (self.0.values().filter(|other| **other == mac).count() == 1).then_some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_heard_and_stands_for_one_machine_counts() {
        let table = Neighbours::read(
            "IP address       HW type     Flags       HW address            Mask     Device\n\
             192.168.1.1      0x1         0x2         02:00:00:00:00:01     *        eth0\n\
             192.168.1.2      0x1         0x0         00:00:00:00:00:00     *        eth0\n\
             192.168.1.3      0x1         0x2         02:00:00:00:00:03     *        eth0\n\
             192.168.1.4      0x1         0x2         02:00:00:00:00:03     *        eth0\n\
             nonsense\n",
        );
        let address = |last: u8| IpAddr::from([192, 168, 1, last]);
        assert_eq!(table.addresses(), [address(1), address(3), address(4)].into());
        assert_eq!(table.mac(address(1)).unwrap().to_string(), "02:00:00:00:00:01");
        assert_eq!(table.mac(address(3)), None, "a repeater");
        assert_eq!(Neighbours::of(Path::new("/nowhere")), Neighbours::default());
    }
}
