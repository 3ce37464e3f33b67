//! The `targets` section: every entry completed with the defaults, checked, and its collector opened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::check::Check;
use super::file::{Defaults, TargetEntry};
use crate::collect::{KINDS, kind};
use crate::model::duration::{format_duration, parse_duration};
use crate::model::{Labels, Target};
use crate::schedule::{Job, calendar};
use crate::yaml::did_you_mean;

/// Labels that samples or the scheduler's own families carry already.
pub(super) const RESERVED_LABELS: [&str; 5] = ["target", "kind", "result", "miner", "engine"];

/// Longest id: it becomes a label value, a file name of saved replies, and a key in the state.
const MAX_ID: usize = 128;

/// Checks all targets and opens their collectors.
pub(super) fn check(check: &mut Check, defaults: &Defaults, section: Value) -> Vec<Job> {
    let entries = check.list("targets", section);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut jobs = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let path = format!("targets[{index}]");
        let Some(entry) = check.try_read::<TargetEntry>(&path, entry) else { continue };
        if let Some(first) = seen.insert(entry.id.clone(), index) {
            check.report(format!("{path}.id"), format!("the id {:?} is used by targets[{first}] already", entry.id));
        }
        jobs.extend(target(check, &path, defaults, entry));
    }
    jobs
}

fn target(check: &mut Check, path: &str, defaults: &Defaults, entry: TargetEntry) -> Option<Job> {
    let id_ok =
        !entry.id.is_empty() && entry.id.len() <= MAX_ID && !entry.id.chars().any(|c| c.is_control() || c == '/');
    if !id_ok {
        let text = format!("{:?} is not an id: 1 to {MAX_ID} characters, no slash, no control characters", entry.id);
        check.report(format!("{path}.id"), text);
    }
    let duration = |check: &mut Check, key: &str, text: &Option<String>| {
        text.as_deref().and_then(|text| match parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                check.report(format!("{path}.{key}"), error.to_string());
                None
            }
        })
    };
    let interval = duration(check, "interval", &entry.interval).unwrap_or(defaults.interval);
    let timeout = duration(check, "timeout", &entry.timeout);
    if interval.is_zero() {
        check.report(format!("{path}.interval"), "an interval of 0 is impossible");
    }
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        check.report(format!("{path}.timeout"), "a timeout of 0 is impossible");
    }
    if let Some(timeout) = timeout.filter(|timeout| *timeout > interval && entry.cron.is_none()) {
        let text = format!(
            "the timeout {} is longer than the interval {}: a target is never polled twice at once",
            format_duration(timeout),
            format_duration(interval)
        );
        check.report(format!("{path}.timeout"), text);
    }
    let cron = cron(check, path, &entry);
    let labels = check.labels(&format!("{path}.labels"), &entry.labels, &RESERVED_LABELS);
    let mut all = Labels::new(defaults.labels.iter().map(|(name, value)| (name.clone(), value.as_str()))).edit();
    for (name, value) in labels.iter() {
        all.set(name.to_string(), value);
    }
    let target = Target {
        id: entry.id.as_str().into(),
        kind: entry.kind.as_str().into(),
        address: entry.address,
        interval,
        timeout: timeout.unwrap_or(defaults.timeout.min(interval)),
        cron,
        labels: all.build(),
        options: entry.options,
    };
    open(check, path, target)
}

fn cron(check: &mut Check, path: &str, entry: &TargetEntry) -> Option<(String, chrono_tz::Tz)> {
    let zone = match entry.time_zone.as_deref().map(calendar::zone) {
        None => chrono_tz::Tz::UTC,
        Some(Ok(zone)) => zone,
        Some(Err(near)) => {
            let name = entry.time_zone.as_deref().unwrap_or_default();
            let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            check.report(format!("{path}.time_zone"), format!("{name:?} is not a time zone{near}"));
            chrono_tz::Tz::UTC
        }
    };
    let expression = entry.cron.clone()?;
    if entry.interval.is_some() {
        check.report(format!("{path}.cron"), "interval and cron exclude each other");
    }
    if let Err(error) = calendar::check(&expression) {
        check.report(format!("{path}.cron"), error.to_string());
    }
    Some((expression, zone))
}

fn open(check: &mut Check, path: &str, target: Target) -> Option<Job> {
    let Some(kind) = kind(&target.kind) else {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        let near = did_you_mean(&target.kind, names.iter().copied());
        let hint = if near.is_empty() { format!("; there are {}", names.join(", ")) } else { near };
        check.report(format!("{path}.kind"), format!("unknown kind {:?}{hint}", target.kind.as_ref()));
        return None;
    };
    if target.cron.is_none() && !target.interval.is_zero() && target.interval < kind.min_interval {
        let text = format!(
            "an interval of {} is too short for a target of kind {}: at least {}",
            format_duration(target.interval),
            kind.name,
            format_duration(kind.min_interval)
        );
        check.report(format!("{path}.interval"), text);
    }
    if target.interval < Duration::from_millis(100) {
        return None;
    }
    match (kind.open)(&target) {
        Ok(collector) => Some(Job { target: Arc::new(target), collector: collector.into() }),
        Err(error) => {
            let at = if error.path.is_empty() { path.to_string() } else { format!("{path}.{}", error.path) };
            check.report(at, error.message);
            None
        }
    }
}
