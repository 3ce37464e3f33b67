//! Groups of alerts and what each receiver knows of them: when to say what. Pure; the rules are those of Alertmanager's
//! dispatcher and of its deduplication.
//!
//! A group waits `group_wait` for more of its kind, then tells; after that it looks every `group_interval` whether something
//! new is to be said, and says the same again after `repeat_interval`. What was said is an [`Entry`] of the log, one per group
//! and integration. The log is durable: after a restart the group is there again, knows what was said, and tells of the end
//! of alerts that went away meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::letter::{Group as Written, Letter};
use super::parcel::Fault;
use super::receiver::{Rate, Receiver};
use super::{Checked, Notice, World};
use crate::model::Labels;

/// First and longest wait after a failure.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Groups that are held. More is a `group_by` that makes a group of every alert of a storm; what is over is not told.
pub const MOST_GROUPS: usize = 5_000;
/// Bytes of labels that an entry keeps, so that it fits the store: of alerts beyond, only that they ended is known.
const MOST_LABEL_BYTES: usize = 100_000;
/// Alerts of one group.
const MOST_ALERTS: usize = 4_000;

/// What an integration was told of a group: a record in the state.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// Key of the group, in Alertmanager's form.
    pub group: String,
    /// Name of the receiver.
    pub receiver: String,
    /// Which of its integrations: `slack[0]`.
    pub integration: String,
    /// Alerts that it knows to fire.
    pub firing: BTreeSet<u64>,
    /// Alerts that it knows to be over.
    pub resolved: BTreeSet<u64>,
    /// Labels of those that fire, with their start.
    pub alerts: Vec<(Labels, i64)>,
    /// When it was told, milliseconds since the epoch.
    pub at: i64,
}

/// A letter to be sent.
pub struct Order {
    /// To whom.
    pub receiver: Arc<Receiver>,
    /// Which integration.
    pub integration: usize,
    /// What to say; `None` when this integration need not be told (`send_resolved: false`), only the log.
    pub letter: Option<Letter>,
    /// What it will know then.
    pub entry: Entry,
    route: usize,
}

/// All groups.
pub struct Dispatcher {
    checked: Arc<Checked>,
    /// By route and key: two routes may have the same matchers.
    groups: BTreeMap<(usize, String), Group>,
    log: HashMap<String, Entry>,
    rates: HashMap<String, VecDeque<i64>>,
}

struct Group {
    route: usize,
    labels: Labels,
    /// When it looks next whether something is to be said.
    next: i64,
    sides: Vec<Side>,
}

/// One integration of a group.
#[derive(Clone, Default)]
struct Side {
    /// When to look whether it is to be told; `None` until the group looks.
    due: Option<i64>,
    busy: bool,
    failures: u32,
}

/// A record of the log that changed: its key, and the entry, or `None` to remove it.
pub type Record = (String, Option<Entry>);

impl Entry {
    /// Its key in the log.
    pub fn key(&self) -> String {
        let digest = Sha256::digest(format!("{}\0{}\0{}", self.group, self.receiver, self.integration).as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The wait after so many failures, and at least as long as the service asks for.
pub(super) fn back_off(failures: u32, fault: &Fault) -> i64 {
    let wait = (BACK_OFF.0 * (1 << failures.min(10))).min(BACK_OFF.1);
    match fault {
        Fault::Retry { after: Some(after), .. } => millis(wait.max(*after)),
        _ => millis(wait),
    }
}

impl Dispatcher {
    /// From the log of earlier processes, or of the configuration before a reload. Records of groups or receivers that no
    /// longer exist are handed back, to be removed.
    pub fn new(checked: Arc<Checked>, log: Vec<Entry>, now: i64) -> (Self, Vec<Record>) {
        let mut dispatcher = Dispatcher {
            checked: checked.clone(),
            groups: BTreeMap::new(),
            log: HashMap::new(),
            rates: HashMap::new(),
        };
        let mut gone = Vec::new();
        for entry in log {
            let route = checked.routes.0.iter().position(|route| {
                let labels = entry.group.strip_prefix(&route.key).and_then(|rest| rest.strip_prefix(':'));
                labels.is_some() && route.receiver == entry.receiver
            });
            let known = checked.receivers.get(&entry.receiver);
            let side = known.and_then(|receiver| {
                (0..receiver.integrations.len()).find(|i| name(receiver, *i) == entry.integration)
            });
            let labels = route.and_then(|route| {
                let (first, _) = entry.alerts.first()?;
                let labels = checked.routes.0[route].group(first);
                (group_key(&checked, route, &labels) == entry.group).then_some((route, labels))
            });
            // What was told of the end of everything is over too.
            let (Some((route, labels)), Some(_)) = (labels, side) else {
                gone.push((entry.key(), None));
                continue;
            };
            // It looks at once: what it knows keeps it from saying anything twice.
            let group = || dispatcher_group(&checked, route, labels, now);
            dispatcher.groups.entry((route, entry.group.clone())).or_insert_with(group);
            dispatcher.log.insert(entry.key(), entry);
        }
        (dispatcher, gone)
    }

    /// The log, for a dispatcher of another configuration.
    pub fn into_log(self) -> Vec<Entry> {
        self.log.into_values().collect()
    }

    /// What is to be sent now, at most `most` letters, and records of groups that are over.
    pub fn orders(&mut self, world: &dyn World, most: usize) -> (Vec<Order>, Vec<Record>) {
        let (now, notices, checked) = (world.now(), world.notices(), self.checked.clone());
        let mut members: BTreeMap<(usize, String), Vec<&Notice>> = BTreeMap::new();
        for notice in notices.iter() {
            for route in checked.routes.of(&notice.labels) {
                let labels = checked.routes.0[route].group(&notice.labels);
                let key = (route, group_key(&checked, route, &labels));
                if !self.groups.contains_key(&key) {
                    // What resolved before anybody was told of it is nothing to tell.
                    if notice.resolved_at.is_some() || self.groups.len() >= MOST_GROUPS {
                        continue;
                    }
                    let wait = millis(checked.routes.0[route].group_wait);
                    let next = if notice.starts_at + wait < now { now } else { now + wait };
                    self.groups.insert(key.clone(), dispatcher_group(&checked, route, labels, next));
                }
                let group = members.entry(key).or_default();
                if group.len() < MOST_ALERTS {
                    group.push(notice);
                }
            }
        }
        let (mut orders, mut records) = (Vec::new(), Vec::new());
        for key in self.groups.keys().cloned().collect::<Vec<_>>() {
            let alerts = members.remove(&key).unwrap_or_default();
            self.look(&key, &alerts, world, now, most, &mut orders);
            records.extend(self.bury(&key, &alerts));
        }
        (orders, records)
    }

    fn look(
        &mut self,
        key: &(usize, String),
        alerts: &[&Notice],
        world: &dyn World,
        now: i64,
        most: usize,
        orders: &mut Vec<Order>,
    ) {
        let checked = self.checked.clone();
        let Some(group) = self.groups.get_mut(key) else { return };
        let route = &checked.routes.0[group.route];
        let Some(receiver) = checked.receivers.get(&route.receiver) else { return };
        if now >= group.next {
            group.next = now + millis(route.group_interval);
            group.sides.iter_mut().filter(|side| side.due.is_none()).for_each(|side| side.due = Some(now));
        }
        for index in 0..group.sides.len() {
            let side = group.sides[index].clone();
            if side.busy || side.due.is_none_or(|due| due > now) || orders.len() >= most {
                continue;
            }
            let blank = Entry {
                group: key.1.clone(),
                receiver: receiver.name.clone(),
                integration: name(receiver, index),
                ..Entry::default()
            };
            let known = self.log.get(&blank.key());
            let told = if !route.muted_by(|name| world.window_open(name)).is_empty() {
                None
            } else {
                self::due(known, &blank, alerts, route.repeat_interval, world, now)
            };
            let Some((entry, alerts)) = told else {
                group.sides[index].due = None;
                continue;
            };
            let integration = &receiver.integrations[index];
            let worth = integration.send_resolved || !entry.firing.is_empty();
            if worth
                && let Err(later) = take(&mut self.rates, &format!("{}\0{index}", receiver.name), receiver.rate, now)
            {
                group.sides[index].due = Some(later);
                continue;
            }
            let alerts: Vec<Notice> =
                alerts.into_iter().filter(|alert| integration.send_resolved || alert.resolved_at.is_none()).collect();
            let written = Written {
                receiver: &receiver.name,
                key: &key.1,
                labels: &group.labels,
                alerts: &alerts,
                external_url: &checked.external_url,
                max_alerts: integration.max_alerts,
                at: now,
            };
            let letter = worth.then(|| Letter::of_group(&written, &integration.templates));
            group.sides[index].busy = true;
            orders.push(Order { receiver: receiver.clone(), integration: index, letter, entry, route: key.0 });
        }
    }

    /// A group with nothing left to tell is over, and its entries with it.
    fn bury(&mut self, key: &(usize, String), alerts: &[&Notice]) -> Vec<Record> {
        let Some(group) = self.groups.get(key).filter(|_| alerts.is_empty()) else { return Vec::new() };
        let receiver = &self.checked.routes.0[group.route].receiver;
        let own = |entry: &&Entry| entry.group == key.1 && entry.receiver == *receiver;
        let entries: Vec<&Entry> = self.log.values().filter(own).collect();
        let busy = group.sides.iter().any(|side| side.busy || side.due.is_some());
        if busy || entries.iter().any(|entry| !entry.firing.is_empty()) {
            return Vec::new();
        }
        let keys: Vec<String> = entries.into_iter().map(Entry::key).collect();
        self.groups.remove(key);
        self.log.retain(|key, _| !keys.contains(key));
        keys.into_iter().map(|key| (key, None)).collect()
    }

    /// How an order went. A record to write, when it arrived.
    pub fn done(&mut self, order: &Order, outcome: &Result<(), Fault>, now: i64) -> Option<Record> {
        let key = (order.route, order.entry.group.clone());
        let side = self.groups.get_mut(&key).and_then(|group| group.sides.get_mut(order.integration));
        if let Some(side) = side {
            side.busy = false;
            match outcome {
                Ok(()) => *side = Side::default(),
                Err(fault @ Fault::Retry { .. }) => {
                    side.due = Some(now + back_off(side.failures, fault));
                    side.failures += 1;
                }
                // The next look of the group tries again: somebody may have mended the configuration of the service.
                Err(Fault::Refused { .. }) => *side = Side::default(),
            }
        }
        if outcome.is_err() {
            return None;
        }
        let (key, entry) = (order.entry.key(), order.entry.clone());
        self.log.insert(key.clone(), entry.clone());
        Some((key, Some(entry)))
    }

    /// Whether a message may be sent now; else when.
    ///
    /// # Errors
    /// The time when it may.
    pub fn take(&mut self, receiver: &Receiver, integration: usize, now: i64) -> Result<(), i64> {
        take(&mut self.rates, &format!("{}\0{integration}", receiver.name), receiver.rate, now)
    }
}

fn dispatcher_group(checked: &Checked, route: usize, labels: Labels, next: i64) -> Group {
    let receiver = checked.receivers.get(&checked.routes.0[route].receiver);
    let sides = receiver.map_or(0, |receiver| receiver.integrations.len());
    Group { route, labels, next, sides: vec![Side::default(); sides] }
}

/// `slack[0]`: the kind, and its place among all of the receiver.
pub(super) fn name(receiver: &Receiver, index: usize) -> String {
    receiver.integrations.get(index).map_or_else(String::new, |found| format!("{}[{index}]", found.kind))
}

fn group_key(checked: &Checked, route: usize, labels: &Labels) -> String {
    format!("{}:{labels}", checked.routes.0[route].key)
}

/// What is to be said, if anything: the entry as it will be, and the alerts.
fn due(
    known: Option<&Entry>,
    blank: &Entry,
    alerts: &[&Notice],
    repeat: Duration,
    world: &dyn World,
    now: i64,
) -> Option<(Entry, Vec<Notice>)> {
    let mut told: Vec<Notice> =
        alerts.iter().filter(|alert| !world.muted(&alert.labels)).map(|a| (*a).clone()).collect();
    // Alerts that went without a word: their rule was removed, or they resolved long ago while we were away.
    let here: BTreeSet<u64> = alerts.iter().map(|alert| alert.labels.fingerprint()).collect();
    for (labels, starts_at) in known.into_iter().flat_map(|known| &known.alerts) {
        let fingerprint = labels.fingerprint();
        if !here.contains(&fingerprint) && known.is_some_and(|known| known.firing.contains(&fingerprint)) {
            told.push(Notice {
                labels: labels.clone(),
                annotations: Labels::empty(),
                starts_at: *starts_at,
                resolved_at: Some(now),
                generator_url: String::new(),
                interval: Duration::ZERO,
            });
        }
    }
    if told.is_empty() {
        return None;
    }
    told.sort_by_key(|alert| (alert.resolved_at.is_some(), alert.starts_at));
    let of = |resolved: bool| -> BTreeSet<u64> {
        told.iter().filter(|a| a.resolved_at.is_some() == resolved).map(|a| a.labels.fingerprint()).collect()
    };
    let (firing, resolved) = (of(false), of(true));
    let news = match known {
        None => !firing.is_empty(),
        Some(known) if !firing.is_subset(&known.firing) => true,
        Some(known) if firing.is_empty() => !known.firing.is_empty(),
        Some(known) => !resolved.is_subset(&known.resolved) || now - known.at >= millis(repeat),
    };
    if !news {
        return None;
    }
    let mut bytes = 0;
    let fits = |alert: &&Notice| {
        bytes += alert.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>();
        bytes <= MOST_LABEL_BYTES
    };
    let alerts =
        told.iter().filter(|a| a.resolved_at.is_none()).take_while(fits).map(|a| (a.labels.clone(), a.starts_at));
    let entry = Entry { alerts: alerts.collect(), firing, resolved, at: now, ..blank.clone() };
    Some((entry, told))
}

/// Takes one of the messages that a rate allows, or says when there is one again.
fn take(rates: &mut HashMap<String, VecDeque<i64>>, key: &str, rate: Rate, now: i64) -> Result<(), i64> {
    let sent = rates.entry(key.to_string()).or_default();
    while sent.front().is_some_and(|at| at + millis(rate.within) <= now) {
        sent.pop_front();
    }
    match sent.front() {
        Some(first) if sent.len() >= rate.count as usize => Err(first + millis(rate.within)),
        _ => {
            sent.push_back(now);
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
