//! The section `discovery` of the configuration: where to search, when, and what becomes of what is found.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Ports;
use super::found::Found;
use super::kinds::{KindEntry, Kinds};
use super::plan::Plan;
use super::scan::Search;
use crate::collect::{KINDS, kind};
use crate::model::duration::{self, serde_text};
use crate::model::words;
use crate::schedule::calendar;

/// How public addresses are allowed in the configuration.
const HOW: &str = "say discovery.allow_public: true if they are yours";

/// Shortest time between two searches.
const LEAST_INTERVAL: Duration = Duration::from_secs(10);

/// Devices that a rule adopts where nobody says how many: a network that invents more would take the memory of all.
const MOST_ADOPTED: usize = 10_000;

/// What becomes of a device that was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Adopt {
    /// It waits for `davylamp devices adopt`.
    #[default]
    Approve,
    /// It becomes a target at once; with `allow`, if it fits one of its entries.
    Auto,
}

/// Devices that are adopted at once: everything that an entry says must fit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowEntry {
    /// As the kind is called.
    pub kind: Option<String>,
    /// As the maker is called; upper and lower case are the same.
    pub make: Option<String>,
    /// Network or range that its address belongs to.
    pub network: Option<String>,
}

/// Searching for miners.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Networks (`192.168.1.0/24`), ranges (`192.168.1.10-90`) and addresses. Without any, nothing is searched.
    pub networks: Vec<String>,
    /// What of them is never asked.
    pub exclude: Vec<String>,
    /// Whether public addresses may be among them.
    pub allow_public: bool,
    /// Time between two searches; the first is made at the start.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub interval: Duration,
    /// Search by the calendar instead: second minute hour day-of-month month day-of-week, in UTC.
    pub cron: Option<String>,
    /// What becomes of a device that was found.
    pub adopt: Adopt,
    /// With `adopt: auto`, only these; without entries, all.
    pub allow: Vec<AllowEntry>,
    /// With `adopt: auto`, so many at most; more wait for a person's word.
    pub adopt_at_most: usize,
    /// Labels of the targets that come of it.
    pub labels: BTreeMap<String, String>,
    /// Where devices may answer.
    pub ports: Ports,
    /// What is special about single kinds: their ports, the options and credentials of their targets.
    pub kinds: BTreeMap<String, KindEntry>,
    /// Longest time for one answer.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub timeout: Duration,
    /// Addresses that are asked at once.
    pub concurrency: usize,
    /// Addresses that are begun in a second.
    pub rate: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let search = Search::default();
        Settings {
            networks: Vec::new(),
            exclude: Vec::new(),
            allow_public: false,
            interval: Duration::from_secs(3600),
            cron: None,
            adopt: Adopt::Approve,
            allow: Vec::new(),
            adopt_at_most: MOST_ADOPTED,
            labels: BTreeMap::new(),
            ports: search.ports,
            kinds: BTreeMap::new(),
            timeout: search.timeout,
            // In no hurry: polls go on beside it.
            concurrency: 32,
            rate: 50,
        }
    }
}

/// What is adopted at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Whether anything is.
    pub auto: bool,
    /// Only what fits one of these; everything where there is none.
    pub allow: Vec<Allow>,
    /// So many at most.
    pub most: usize,
}

impl Default for Adoption {
    fn default() -> Self {
        Adoption { auto: false, allow: Vec::new(), most: MOST_ADOPTED }
    }
}

/// One entry, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Name in `KINDS`.
    pub kind: Option<String>,
    /// Maker.
    pub make: Option<String>,
    /// Addresses.
    pub network: Option<Plan>,
}

impl Adoption {
    /// Whether a device is adopted at once.
    pub fn takes(&self, found: &Found) -> bool {
        let fits = |allow: &Allow| {
            allow.kind.as_ref().is_none_or(|kind| *kind == found.kind)
                && allow.make.as_ref().is_none_or(|make| make.eq_ignore_ascii_case(&found.make))
                && allow
                    .network
                    .as_ref()
                    .is_none_or(|plan| address_of(&found.address).is_some_and(|ip| plan.contains(ip)))
        };
        self.auto && (self.allow.is_empty() || self.allow.iter().any(fits))
    }
}

/// Whether a target of this kind and address stands where a device was found: at the same address, or on the same machine
/// asked for the same.
pub(super) fn is_at((kind, address): (&str, &str), found: (&str, &str)) -> bool {
    let (one, other) = (address_of(bare(address)), address_of(found.1));
    bare(address) == found.1 || (kind == found.0 && one.is_some() && one == other)
}

/// The address of a target without scheme and closing slash.
pub(super) fn bare(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/')
}

/// The IP address in the address of a target.
pub fn address_of(address: &str) -> Option<IpAddr> {
    let bare = || address.trim_start_matches('[').trim_end_matches(']').parse().ok();
    address.parse::<std::net::SocketAddr>().map(|address| address.ip()).ok().or_else(bare)
}

/// Everything checked.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Addresses to ask.
    pub plan: Plan,
    /// How.
    pub search: Search,
    /// What becomes of what is found.
    pub adoption: Adoption,
}

impl Settings {
    /// Checks everything; mistakes come with their paths below `discovery`.
    ///
    /// # Errors
    /// All of them.
    pub fn check(&self) -> Result<Checked, Vec<(String, String)>> {
        let mut mistakes = Vec::new();
        let how = (!self.allow_public).then_some(HOW);
        let mut plan = Plan::default();
        if !self.networks.is_empty() {
            match Plan::read(&self.networks, &self.exclude, how) {
                Ok(read) => plan = read,
                Err(error) => mistakes.push(("networks".to_string(), error.to_string())),
            }
        }
        if let Some(cron) = &self.cron
            && let Err(error) = calendar::check(cron)
        {
            mistakes.push(("cron".to_string(), error.to_string()));
        }
        let too_small = [
            ("interval", self.interval < LEAST_INTERVAL, "at least 10s"),
            ("timeout", self.timeout < Duration::from_millis(50), "at least 50ms"),
            ("concurrency", self.concurrency == 0, "at least 1"),
            ("rate", self.rate == 0, "at least 1 address a second"),
        ];
        let too_small = too_small.into_iter().filter(|(_, wrong, _)| *wrong);
        mistakes.extend(too_small.map(|(path, _, text)| (path.to_string(), format!("is too small: {text}"))));
        let too_large = [
            ("timeout", self.timeout > Duration::from_secs(30), "at most 30s"),
            ("concurrency", self.concurrency > 4096, "at most 4096"),
            ("rate", self.rate > 1000, "at most 1000 addresses a second"),
        ];
        let too_large = too_large.into_iter().filter(|(_, wrong, _)| *wrong);
        mistakes.extend(too_large.map(|(path, _, text)| (path.to_string(), format!("is too large: {text}"))));
        let allow = self.allow(&mut mistakes);
        let kinds = Kinds::check(&self.kinds, &mut mistakes);
        if self.adopt == Adopt::Approve && !self.allow.is_empty() {
            let text = "approve lets every device wait, so allow says nothing: write auto";
            mistakes.push(("adopt".to_string(), text.to_string()));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let search = Search {
            ports: self.ports.clone(),
            kinds,
            timeout: self.timeout,
            concurrency: self.concurrency,
            rate: self.rate,
            ..Search::default()
        };
        Ok(Checked {
            plan,
            search,
            adoption: Adoption { auto: self.adopt == Adopt::Auto, allow, most: self.adopt_at_most },
        })
    }

    fn allow(&self, mistakes: &mut Vec<(String, String)>) -> Vec<Allow> {
        let mut allow = Vec::new();
        for (index, entry) in self.allow.iter().enumerate() {
            let AllowEntry { kind: name, make, network } = entry.clone();
            if let Some(unknown) = name.as_ref().filter(|name| kind(name).is_none()) {
                let hint = words::hint(unknown, KINDS.iter().map(|kind| kind.name));
                mistakes.push((format!("allow[{index}].kind"), format!("unknown kind {unknown:?}; {hint}")));
            }
            let network = network.map(|network| Plan::read(&[network], &[], None)).transpose();
            match network {
                Ok(network) => allow.push(Allow { kind: name, make, network }),
                Err(error) => mistakes.push((format!("allow[{index}].network"), error.to_string())),
            }
            if entry.kind.is_none() && entry.make.is_none() && entry.network.is_none() {
                mistakes.push((format!("allow[{index}]"), "says neither kind nor make nor network".to_string()));
            }
        }
        allow
    }
}
