//! Devices that were found and adopted, as targets beside those of the configuration.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::discover::Adopted;
use super::shared::Shared;
use crate::collect::kind;
use crate::config::Config;
use crate::discover::known::Known;
use crate::discover::names::{Names, Places};
use crate::discover::settings::address_of;
use crate::discover::{Imprint, Mac};
use crate::model::{Identity, Labels, Target};
use crate::schedule::Job;

/// Names are looked up anew after this time: it is as often as routers give out other addresses.
const NAMES_HOLD: Duration = Duration::from_secs(300);

/// What tells which adopted devices stand in the configuration.
pub(super) struct Chooser {
    /// All devices that were adopted.
    pub(super) found: Adopted,
    names: Names,
    looked: Option<(Arc<Config>, Instant)>,
    /// Ids of those that were chosen last.
    chosen: BTreeSet<String>,
}

/// By what a device is known: its MAC address, or its kind and serial number.
type Key = (String, String);

impl Chooser {
    pub(super) fn new(found: Adopted) -> Self {
        Chooser { found, names: Names::default(), looked: None, chosen: BTreeSet::new() }
    }

    /// The configuration with the adopted devices by its side.
    pub(super) async fn complete(&mut self, config: &Arc<Config>, shared: &Shared) -> Arc<Config> {
        let adopted = self.found.borrow_and_update().clone();
        with(config, &self.choose(config, &adopted, shared).await)
    }

    /// Whether others would be chosen now: a configured target may have said that it is an adopted device.
    pub(super) async fn differs(&mut self, config: &Arc<Config>, shared: &Shared) -> bool {
        let (adopted, before) = (self.found.borrow().clone(), self.chosen.clone());
        !adopted.is_empty() && {
            self.choose(config, &adopted, shared).await;
            self.chosen != before
        }
    }

    /// The devices that are polled beside a configuration. What it names itself wins: by id, by address (that of a name
    /// too), or by what the device says of itself.
    async fn choose(&mut self, config: &Arc<Config>, adopted: &[Arc<Imprint>], shared: &Shared) -> Vec<Arc<Imprint>> {
        let fresh = |(of, at): &(Arc<Config>, Instant)| Arc::ptr_eq(of, config) && at.elapsed() < NAMES_HOLD;
        if !adopted.is_empty() && !self.looked.as_ref().is_some_and(fresh) {
            let miners = config.jobs.iter().filter(|job| kind(&job.target.kind).is_some_and(|k| k.subject == "miner"));
            self.names = Names::resolve(miners.map(|job| &*job.target.address)).await;
            self.looked = Some((config.clone(), Instant::now()));
        }
        let targets = config.jobs.iter().map(|job| (&*job.target.kind, &*job.target.address));
        let places = Places::of(targets, &self.names);
        let ids: BTreeSet<&str> = config.jobs.iter().map(|job| &*job.target.id).collect();
        let (named, said) = (named(config), self.said(config, shared));
        let stands = |imprint: &Imprint| {
            let ip = address_of(&imprint.address);
            // A device that says it is another one, elsewhere, keeps nobody from being polled.
            let here = |ips: &Vec<IpAddr>| ips.is_empty() || ip.is_some_and(|ip| ips.contains(&ip));
            ids.contains(&*imprint.id)
                || places.find(&imprint.kind, &imprint.address).is_some()
                || keys(&imprint.kind, &imprint.mac, &imprint.serial)
                    .iter()
                    .any(|key| named.contains(key) || said.get(key).is_some_and(|places| places.iter().any(here)))
        };
        let chosen: Vec<_> = adopted.iter().filter(|imprint| !stands(imprint)).cloned().collect();
        self.chosen = chosen.iter().map(|imprint| imprint.id.clone()).collect();
        chosen
    }

    /// Who the configured targets say they are, and where they stand.
    fn said(&self, config: &Config, shared: &Shared) -> HashMap<Key, Vec<Vec<IpAddr>>> {
        let identities: BTreeMap<&str, Identity> = shared.targets(|targets| {
            let of = |id: &str| targets.get(id).map(|state| state.identity.clone());
            config.jobs.iter().filter_map(|job| Some((&*job.target.id, of(&job.target.id)?))).collect()
        });
        let mut said: HashMap<Key, Vec<Vec<IpAddr>>> = HashMap::new();
        for job in &config.jobs {
            let Some(identity) = identities.get(&*job.target.id) else { continue };
            for key in keys(&job.target.kind, &identity.id, &identity.id) {
                said.entry(key).or_default().push(self.names.of(&job.target.address));
            }
        }
        said
    }
}

/// Who the configuration says its targets are.
fn named(config: &Config) -> BTreeSet<Key> {
    let entries = config.file.targets.iter();
    let entries = entries.filter_map(|entry| Some((&entry.kind, entry.identity.as_deref()?)));
    entries
        .flat_map(|(kind, identity)| keys(kind, identity, identity.strip_prefix("sn:").unwrap_or_default()))
        .collect()
}

fn keys(kind: &str, mac: &str, serial: &str) -> Vec<Key> {
    match Mac::read(mac) {
        Some(mac) => vec![(String::new(), mac.to_string())],
        None if serial.is_empty() => Vec::new(),
        None => vec![(kind.to_string(), serial.to_string())],
    }
}

/// A configuration with these devices by its side.
fn with(config: &Arc<Config>, chosen: &[Arc<Imprint>]) -> Arc<Config> {
    let jobs: Vec<Job> = chosen.iter().filter_map(|imprint| job(config, imprint)).collect();
    if jobs.is_empty() {
        return config.clone();
    }
    let mut full = Config::clone(config);
    full.jobs.extend(jobs);
    Arc::new(full)
}

fn job(config: &Config, imprint: &Imprint) -> Option<Job> {
    let kind = kind(&imprint.kind)?;
    let (defaults, discovery) = (&config.file.defaults, &config.file.discovery);
    let interval = defaults.interval.max(kind.min_interval);
    let labels = defaults.labels.iter().chain(&discovery.labels);
    let target = Target {
        id: imprint.id.as_str().into(),
        kind: kind.name.into(),
        address: imprint.address.clone(),
        interval,
        timeout: defaults.timeout.min(interval),
        cron: None,
        labels: Labels::new(labels.map(|(name, value)| (name.clone(), value.as_str()))),
        options: config.discovery.search.kinds.options(kind.name, imprint.web_port),
    };
    match (kind.open)(&target) {
        Ok(collector) => {
            let collector = Known::wrap(collector.into(), &imprint.says);
            Some(Job { target: Arc::new(target), collector })
        }
        Err(errors) => {
            let errors = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            tracing::warn!(target = imprint.id, errors, "an adopted device cannot be polled");
            None
        }
    }
}
