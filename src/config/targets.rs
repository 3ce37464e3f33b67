//! The `targets` section: every entry completed with the defaults, checked, and its collector opened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::check::Check;
use super::file::{Defaults, TargetEntry};
use crate::collect::{KINDS, kind};
use crate::discover::imprint::is_identity;
use crate::discover::known::Known;
use crate::model::duration::format_duration;
use crate::model::words;
use crate::model::{Labels, Target};
use crate::schedule::{Job, calendar};

/// Labels that samples or the scheduler's own families carry already.
pub(super) const RESERVED_LABELS: [&str; 5] = ["target", "kind", "result", "miner", "engine"];

/// Longest id: it becomes a label value, a file name of saved replies, and a key in the state.
const MAX_ID: usize = 128;

/// Shortest interval of any kind: below it, even the error about it would be a flood.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// Where each id stands, over all files.
pub(super) type Seen = BTreeMap<String, String>;

/// Checks the targets of one file and opens their collectors.
pub(super) fn check(check: &mut Check, defaults: &Defaults, entries: &[TargetEntry], seen: &mut Seen) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("targets[{index}]");
        if let Some(first) = seen.insert(entry.id.clone(), check.place(&path)) {
            check.report(format!("{path}.id"), format!("the id {:?} is used by {first} already", entry.id));
        }
        jobs.extend(target(check, &path, defaults, entry));
    }
    jobs
}

fn target(check: &mut Check, path: &str, defaults: &Defaults, entry: &TargetEntry) -> Option<Job> {
    let id_ok =
        !entry.id.is_empty() && entry.id.len() <= MAX_ID && !entry.id.chars().any(|c| c.is_control() || c == '/');
    if !id_ok {
        let text = format!("{:?} is not an id: 1 to {MAX_ID} characters, no slash, no control characters", entry.id);
        check.report(format!("{path}.id"), text);
    }
    let interval = entry.interval.unwrap_or(defaults.interval);
    let calendar = entry.cron.is_some() || check.is_broken(&format!("{path}.cron"));
    if let Some(timeout) = entry.timeout {
        let at = format!("{path}.timeout");
        if timeout.is_zero() {
            check.report(at, "a timeout of 0 is impossible");
        } else if timeout > interval && !calendar && !check.is_broken(&format!("{path}.interval")) {
            let text = format!(
                "the timeout {} is longer than the interval {}: a target is never polled twice at once",
                format_duration(timeout),
                format_duration(interval)
            );
            check.report(at, text);
        }
    }
    if let Some(identity) = entry.identity.as_ref().filter(|identity| !is_identity(identity)) {
        let text = format!(
            "{identity:?} is no identity: write the MAC address (02:c1:58:2e:87:c8) or sn: and the serial number"
        );
        check.report(format!("{path}.identity"), text);
    }
    let cron = cron(check, path, entry);
    let labels = check.labels(&format!("{path}.labels"), &entry.labels, &RESERVED_LABELS);
    let mut all = Labels::new(defaults.labels.iter().map(|(name, value)| (name.clone(), value.as_str()))).edit();
    for (name, value) in labels.iter() {
        all.set(name.to_string(), value);
    }
    let target = Target {
        id: entry.id.as_str().into(),
        kind: entry.kind.as_str().into(),
        address: entry.address.clone(),
        interval,
        timeout: entry.timeout.unwrap_or(defaults.timeout.min(interval)),
        cron,
        labels: all.build(),
        options: entry.options.clone(),
    };
    open(check, path, target, entry)
}

fn cron(check: &mut Check, path: &str, entry: &TargetEntry) -> Option<(String, chrono_tz::Tz)> {
    let zone = match entry.time_zone.as_deref().map(calendar::zone) {
        None => chrono_tz::Tz::UTC,
        Some(Ok(zone)) => zone,
        Some(Err(near)) => {
            let name = entry.time_zone.as_deref().unwrap_or_default();
            let hint = near.map_or("write it like Europe/Berlin".to_string(), |near| format!("did you mean {near:?}?"));
            check.report(format!("{path}.time_zone"), format!("{name:?} is not a time zone; {hint}"));
            chrono_tz::Tz::UTC
        }
    };
    if entry.cron.is_none() && entry.time_zone.is_some() {
        check.report(format!("{path}.time_zone"), "says nothing without cron; remove it, or write cron");
    }
    let expression = entry.cron.clone()?;
    if entry.interval.is_some() {
        check.report(format!("{path}.cron"), "interval and cron exclude each other");
    }
    if let Err(error) = calendar::check(&expression) {
        check.report(format!("{path}.cron"), error.to_string());
    }
    Some((expression, zone))
}

fn open(check: &mut Check, path: &str, target: Target, entry: &TargetEntry) -> Option<Job> {
    let (own_interval, identity) = (entry.interval.is_some(), entry.identity.as_deref());
    let Some(kind) = kind(&target.kind) else {
        let hint = words::hint(&target.kind, KINDS.iter().map(|kind| kind.name));
        check.report(format!("{path}.kind"), format!("unknown kind {:?}; {hint}", target.kind.as_ref()));
        return None;
    };
    if target.cron.is_none() && target.interval < kind.min_interval.max(LEAST_INTERVAL) {
        let text = format!(
            "an interval of {} is too short for a target of kind {}: at least {}",
            format_duration(target.interval),
            kind.name,
            format_duration(kind.min_interval.max(LEAST_INTERVAL))
        );
        let at = if own_interval { format!("{path}.interval") } else { "defaults.interval".to_string() };
        // The defaults stand in the main file only.
        check.report(if check.is_main() { at } else { path.to_string() }, text);
    }
    match (kind.open)(&target) {
        Ok(collector) => {
            let collector = Known::wrap(collector.into(), identity.unwrap_or_default());
            Some(Job { target: Arc::new(target), collector })
        }
        Err(errors) => {
            for error in errors {
                let at = if error.path.is_empty() { path.to_string() } else { format!("{path}.{}", error.path) };
                check.report(at, error.message);
            }
            None
        }
    }
}
