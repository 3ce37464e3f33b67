//! Which addresses are asked: networks, ranges and single addresses, private ones only unless the owner says otherwise.
//! A plan of a million addresses takes as much memory as one of ten.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::collect::http::{Network, address_allowed};

/// Most addresses of one plan: a /12. At the usual rate that is an hour.
pub const MOST_ADDRESSES: u128 = 1 << 20;

/// Most networks and ranges of one plan.
const MOST_SPANS: usize = 1024;

/// Why no plan can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Neither network nor range nor address.
    #[error(
        "{0:?} is no network: write 192.168.1.0/24, 192.168.1.10-192.168.1.90, 192.168.1.10-90 or a single address"
    )]
    Unreadable(String),
    /// Last before first.
    #[error("{0:?} ends before it begins")]
    Backwards(String),
    /// Not private.
    #[error("{0:?} holds public addresses: asking strangers' machines may be taken for an attack; {1}")]
    Public(String, &'static str),
    /// Never asked.
    #[error("{0:?} holds link-local, multicast or metadata addresses, which are never talked to")]
    Never(String),
    /// Too large.
    #[error("{0} addresses are more than {MOST_ADDRESSES} at once: name smaller networks")]
    TooMany(u128),
    /// Too many parts.
    #[error("more than {MOST_SPANS} networks and ranges")]
    TooManyParts,
    /// Nothing.
    #[error("no address is left to ask")]
    Empty,
}

/// From one address to another of the same family, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    v6: bool,
    first: u128,
    last: u128,
}

/// Addresses to ask, each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    spans: Vec<Span>,
}

impl Plan {
    /// Reads networks, ranges and addresses, and leaves out those of `exclude`. `how` says how public ones would be
    /// allowed; `None` where they are.
    ///
    /// # Errors
    /// The first [`PlanError`].
    pub fn read<S: AsRef<str>>(wanted: &[S], exclude: &[S], how: Option<&'static str>) -> Result<Self, PlanError> {
        let mut spans = Vec::new();
        for text in parts(wanted) {
            let span = Span::read(text)?.without_ends(text);
            span.check(text, how)?;
            spans.push(span);
        }
        let without = parts(exclude).map(Span::read).collect::<Result<Vec<_>, _>>()?;
        if spans.len() + without.len() > MOST_SPANS {
            return Err(PlanError::TooManyParts);
        }
        let mut plan = Plan { spans: merged(spans) };
        for span in without {
            plan.leave_out(span);
        }
        match plan.len() {
            0 => Err(PlanError::Empty),
            count if count > MOST_ADDRESSES => Err(PlanError::TooMany(count)),
            _ => Ok(plan),
        }
    }

    /// How many addresses.
    pub fn len(&self) -> u128 {
        self.spans.iter().map(|span| (span.last - span.first).saturating_add(1)).fold(0, u128::saturating_add)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether an address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (v6, number) = number(address);
        self.spans.iter().any(|span| span.v6 == v6 && (span.first..=span.last).contains(&number))
    }

    /// All addresses, those of `hints` first: a neighbour that was heard of lately is there for certain.
    pub fn addresses(&self, hints: &BTreeSet<IpAddr>) -> impl Iterator<Item = IpAddr> + Send + use<> {
        let first: BTreeSet<IpAddr> = hints.iter().copied().filter(|hint| self.contains(*hint)).collect();
        let all = self.spans.clone().into_iter();
        let all = all.flat_map(|span| (span.first..=span.last).map(move |number| address(span.v6, number)));
        first.clone().into_iter().chain(all.filter(move |address| !first.contains(address)))
    }

    fn leave_out(&mut self, hole: Span) {
        let mut left = Vec::with_capacity(self.spans.len() + 1);
        for span in &self.spans {
            if span.v6 != hole.v6 || hole.last < span.first || span.last < hole.first {
                left.push(*span);
                continue;
            }
            if span.first < hole.first {
                left.push(Span { last: hole.first - 1, ..*span });
            }
            if hole.last < span.last {
                left.push(Span { first: hole.last + 1, ..*span });
            }
        }
        self.spans = left;
    }
}

/// Lists may stand in one word: `192.168.1.0/24,192.168.2.5`.
fn parts<S: AsRef<str>>(texts: &[S]) -> impl Iterator<Item = &str> {
    texts.iter().flat_map(|text| text.as_ref().split(',')).map(str::trim).filter(|text| !text.is_empty())
}

impl Span {
    fn read(text: &str) -> Result<Self, PlanError> {
        let unreadable = || PlanError::Unreadable(text.chars().take(80).collect());
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Span::between(network.network(), network.broadcast()));
        }
        if let Ok(single) = text.parse::<IpAddr>() {
            return Ok(Span::between(single, single));
        }
        let (first, last) = text.split_once('-').ok_or_else(unreadable)?;
        let first: IpAddr = first.trim().parse().map_err(|_| unreadable())?;
        let last = match (first, last.trim().parse::<u8>()) {
            (IpAddr::V4(v4), Ok(byte)) => {
                let [a, b, c, _] = v4.octets();
                IpAddr::from([a, b, c, byte])
            }
            _ => last.trim().parse().map_err(|_| unreadable())?,
        };
        if first.is_ipv4() != last.is_ipv4() {
            return Err(unreadable());
        }
        if last < first {
            return Err(PlanError::Backwards(text.to_string()));
        }
        Ok(Span::between(first, last))
    }

    /// The ends of an IPv4 network are no machines, where it has any besides.
    fn without_ends(self, text: &str) -> Self {
        match text.parse::<IpNet>() {
            Ok(IpNet::V4(network)) if network.prefix_len() <= 30 => {
                Span { first: self.first + 1, last: self.last - 1, ..self }
            }
            _ => self,
        }
    }

    fn between(first: IpAddr, last: IpAddr) -> Self {
        let (v6, first) = number(first);
        Span { v6, first, last: number(last).1 }
    }

    fn check(&self, text: &str, how: Option<&'static str>) -> Result<(), PlanError> {
        let ends = [address(self.v6, self.first), address(self.v6, self.last)];
        if self.never() {
            return Err(PlanError::Never(text.to_string()));
        }
        match how {
            // Both ends in one private block: what lies between them is too.
            Some(how) if block(ends[0]).is_none() || block(ends[0]) != block(ends[1]) => {
                Err(PlanError::Public(text.to_string(), how))
            }
            _ => Ok(()),
        }
    }

    /// Whether it holds nothing that may be asked, or reaches into what never may.
    fn never(&self) -> bool {
        let forbidden = if self.v6 {
            ["fe80::/10", "ff00::/8", "fd00:ec2::254/128"].as_slice()
        } else {
            ["0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"].as_slice()
        };
        let reaches = |text: &&str| {
            text.parse::<IpNet>().is_ok_and(|network| {
                number(network.network()).1 <= self.last && self.first <= number(network.broadcast()).1
            })
        };
        // A whole /8 of unique local addresses is too many anyway; one that holds the metadata address is refused here.
        forbidden.iter().any(reaches) || !address_allowed(address(self.v6, self.first), Network::Lan)
    }
}

/// The private block that an address belongs to: RFC 1918, loopback, unique local.
fn block(address: IpAddr) -> Option<IpNet> {
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128"];
    private.iter().filter_map(|text| text.parse::<IpNet>().ok()).find(|network| network.contains(&address))
}

/// In order, and what overlaps or touches made one.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort();
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if last.v6 == span.v6 && span.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(span.last);
            }
            _ => merged.push(span),
        }
    }
    merged
}

fn number(address: IpAddr) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (false, u32::from(v4).into()),
        IpAddr::V6(v6) => (true, v6.into()),
    }
}

fn address(v6: bool, number: u128) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if !v6 => Ipv4Addr::from(number).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(wanted: &[&str], exclude: &[&str]) -> Result<Plan, PlanError> {
        Plan::read(wanted, exclude, Some("say --public"))
    }

    fn listed(wanted: &[&str], exclude: &[&str]) -> Vec<String> {
        let plan = plan(wanted, exclude).unwrap();
        let all: Vec<String> = plan.addresses(&BTreeSet::new()).map(|address| address.to_string()).collect();
        assert_eq!(plan.len(), all.len() as u128);
        all
    }

    #[test]
    fn people_write_networks_in_many_ways() {
        assert_eq!(listed(&["10.0.0.0/30"], &[]), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(listed(&["10.0.0.4/31"], &[]), ["10.0.0.4", "10.0.0.5"]);
        assert_eq!(listed(&["10.0.0.254-10.0.1.1"], &[]), ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]);
        assert_eq!(listed(&["10.0.0.7 - 9"], &["10.0.0.8"]), ["10.0.0.7", "10.0.0.9"]);
        assert_eq!(listed(&["10.0.0.3,10.0.0.2", "10.0.0.2-3"], &[]), ["10.0.0.2", "10.0.0.3"], "each once");
        assert_eq!(listed(&["fd00::ff-fd00::100"], &[]), ["fd00::ff", "fd00::100"]);
        assert_eq!(
            listed(&["192.168.1.77/24"], &["192.168.1.0/25", "192.168.1.130-254"]),
            ["192.168.1.128", "192.168.1.129"]
        );
        assert_eq!(plan(&["10.0.0.0/12"], &[]).unwrap().len(), (1 << 20) - 2);
    }

    #[test]
    fn neighbours_that_were_heard_of_come_first() {
        let hints = ["10.0.0.3", "10.9.9.9"].map(|text| text.parse().unwrap()).into();
        let order: Vec<String> =
            plan(&["10.0.0.1-4"], &[]).unwrap().addresses(&hints).map(|address| address.to_string()).collect();
        assert_eq!(order, ["10.0.0.3", "10.0.0.1", "10.0.0.2", "10.0.0.4"]);
    }

    #[test]
    fn strangers_and_nonsense_are_refused() {
        for (text, part) in [
            ("8.8.8.0/24", "public addresses"),
            ("10.0.0.0-11.0.0.5", "public addresses"),
            ("192.168.0.1-193.0.0.1", "public addresses"),
            ("100.64.0.0/24", "public addresses"),
            ("2001:db8::/120", "public addresses"),
            ("169.254.0.0/24", "never talked to"),
            ("169.0.0.0-170.0.0.0", "never talked to"),
            ("224.0.0.1", "never talked to"),
            ("fd00:ec2::254", "never talked to"),
            ("fe80::1", "never talked to"),
            ("10.0.0.9-10.0.0.1", "ends before"),
            ("10.0.0.0/7", "public addresses"),
            ("10.0.0.0/8", "more than 1048576 at once"),
            ("fd00::/64", "more than"),
            ("rig.lan", "no network"),
            ("10.0.0.1-fd00::1", "no network"),
            ("10.0.0.1-300", "no network"),
            ("", "no address is left"),
        ] {
            let error = plan(&[text], &[]).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(plan(&["10.0.0.1"], &["10.0.0.0/24"]).is_err());
        assert_eq!(Plan::read(&["8.8.8.8"], &[], None).unwrap().len(), 1, "where the owner says so");
    }
}
