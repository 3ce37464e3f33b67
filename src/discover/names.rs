//! Where targets stand that somebody else has written down: by their addresses, and by names as far as these resolve.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::settings::{address_of, bare};

/// Names that are resolved at once: each takes a thread.
const AT_ONCE: usize = 16;

/// Longest time for all names; what is not resolved by then is not known.
const PATIENCE: Duration = Duration::from_secs(2);

/// Addresses of one name that count.
const MOST_ADDRESSES: usize = 16;

/// What names resolve to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, Vec<IpAddr>>);

impl Names {
    /// Resolves the names in addresses of targets.
    pub async fn resolve<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Names {
        let names: BTreeSet<String> = addresses.into_iter().filter_map(host_of).map(str::to_string).collect();
        let lookup = |name: String| async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.ok()?;
            let found: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).take(MOST_ADDRESSES).collect();
            Some((name, found))
        };
        let lookups = stream::iter(names).map(lookup).buffer_unordered(AT_ONCE).filter_map(std::future::ready);
        Names(lookups.take_until(tokio::time::sleep(PATIENCE)).collect().await)
    }

    /// The IP addresses that a target's address stands for; none where it is a name that does not resolve.
    pub fn of(&self, address: &str) -> Vec<IpAddr> {
        match address_of(bare(address)) {
            Some(ip) => vec![ip],
            None => host_of(address).and_then(|host| self.0.get(host)).cloned().unwrap_or_default(),
        }
    }
}

/// The name in the address of a target; `None` where an IP address or a path stands.
fn host_of(address: &str) -> Option<&str> {
    let bare = bare(address).split('/').next().unwrap_or_default();
    let host = bare.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(bare, |(host, _)| host);
    (!host.is_empty() && !host.contains(['[', ':']) && address_of(host).is_none()).then_some(host)
}

/// Targets by where they stand; each is told by its number.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// By address as it is written, names replaced by what they resolve to.
    exact: HashMap<String, usize>,
    /// By kind and machine.
    machines: HashMap<(String, IpAddr), usize>,
}

impl Places {
    /// Targets as kind and address.
    pub fn of<'a>(targets: impl IntoIterator<Item = (&'a str, &'a str)>, names: &Names) -> Places {
        let mut places = Places::default();
        for (number, (kind, address)) in targets.into_iter().enumerate() {
            let bare = bare(address);
            places.exact.entry(bare.to_string()).or_insert(number);
            for ip in names.of(address) {
                if let Some(port) = host_of(address).and_then(|host| bare.strip_prefix(host)) {
                    let ip = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
                    places.exact.entry(format!("{ip}{port}")).or_insert(number);
                }
                places.machines.entry((kind.to_string(), ip)).or_insert(number);
            }
        }
        places
    }

    /// The target that stands where a device was found: at the same address, or on the same machine asked for the same.
    pub fn find(&self, kind: &str, address: &str) -> Option<usize> {
        let machine = || address_of(address).and_then(|ip| self.machines.get(&(kind.to_string(), ip)));
        self.exact.get(address).or_else(machine).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_addresses_and_paths() {
        for (address, name) in [
            ("rig.lan", Some("rig.lan")),
            ("http://rig.lan:8080/", Some("rig.lan")),
            ("10.0.0.5", None),
            ("10.0.0.5:80", None),
            ("[fd00::1]:80", None),
            ("fd00::1", None),
            ("unix:///var/run/docker.sock", None),
            ("", None),
        ] {
            assert_eq!(host_of(address), name, "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_stands_where_it_resolves_to() {
        let names = Names::resolve(["localhost:81", "no-such-host.invalid"]).await;
        assert!(names.of("http://localhost:81").contains(&IpAddr::from([127, 0, 0, 1])), "{names:?}");
        assert_eq!(names.of("no-such-host.invalid"), [] as [IpAddr; 0]);
        assert_eq!(names.of("10.0.0.5:80"), [IpAddr::from([10, 0, 0, 5])]);
        let targets = [("axeos", "http://localhost:81/"), ("cgminer", "10.0.0.5"), ("luxos", "rig.invalid")];
        let places = Places::of(targets, &names);
        for (kind, address, place) in [
            ("vnish", "127.0.0.1:81", Some(0)),
            ("axeos", "127.0.0.1:8080", Some(0)),
            ("vnish", "127.0.0.1", None),
            ("cgminer", "10.0.0.5:4029", Some(1)),
            ("vnish", "10.0.0.5", Some(1)),
            ("vnish", "10.0.0.5:8080", None),
            ("luxos", "10.0.0.6", None),
        ] {
            assert_eq!(places.find(kind, address), place, "{kind} {address}");
        }
    }
}
