//! Curtailments, checked against targets, windows and what their kinds can be told.

use std::collections::BTreeSet;

use super::check::Check;
use super::file::File;
use super::labels_of;
use super::remediations::expression;
use crate::collect::command::misfit;
use crate::curtail::{Curtailment, Entry};
use crate::model::{Matcher, words};
use crate::schedule::Job;
use crate::silence::Windows;

/// Commands that have an opposite, so that they can be undone.
const UNDONE: [&str; 7] = ["pause", "power-limit", "hashrate-target", "mode", "profile", "fan", "pool"];

/// Checks all; mistakes are reported.
pub(super) fn check(check: &mut Check, file: &File, jobs: &[Job], windows: &Windows) -> Vec<Curtailment> {
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for (index, entry) in file.curtailments.iter().enumerate() {
        let at = format!("curtailments[{index}]");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if entry.name.is_empty() || entry.name.len() > 64 || !entry.name.bytes().all(plain) {
            check.report(format!("{at}.name"), "a name is 1 to 64 of a to z, 0 to 9 and -");
        } else if !names.insert(entry.name.clone()) {
            check.report(format!("{at}.name"), format!("the name {:?} is used by another curtailment", entry.name));
        }
        when(check, &at, entry, windows);
        if entry.max_concurrent == 0 {
            check.report(format!("{at}.max_concurrent"), "0 would never tell anything; write mode: off instead");
        }
        let matchers = matchers(check, &at, entry);
        let curtailment = Curtailment { hold: hold(entry), entry: entry.clone(), matchers };
        meant(check, &at, &curtailment, jobs);
        found.push(curtailment);
    }
    found
}

fn hold(entry: &Entry) -> i64 {
    let usual = if entry.condition.is_some() { 300_000 } else { 0 };
    entry.hold.map_or(usual, |hold| i64::try_from(hold.as_millis()).unwrap_or(i64::MAX))
}

fn when(check: &mut Check, at: &str, entry: &Entry, windows: &Windows) {
    if entry.windows.is_empty() && entry.condition.is_none() {
        check.report(at, "says not when: name windows, or an expression under while");
    }
    for (index, name) in entry.windows.iter().enumerate().filter(|(_, name)| !windows.contains(name)) {
        let hint = words::hint(name, windows.iter().map(|window| window.name.as_str()));
        check.report(format!("{at}.windows[{index}]"), format!("there is no window {name:?}; {hint}"));
    }
    if let Some(Err(message)) = entry.condition.as_deref().map(expression) {
        check.report(format!("{at}.while"), message);
    }
}

fn matchers(check: &mut Check, at: &str, entry: &Entry) -> Vec<Matcher> {
    if entry.targets.is_empty() {
        check.report(format!("{at}.targets"), "selects every target; say which: ['kind=\"axeos\"']");
    }
    let mut matchers = Vec::new();
    for (index, text) in entry.targets.iter().enumerate() {
        match Matcher::parse(text) {
            Ok(matcher) => matchers.push(matcher),
            Err(error) => check.report(format!("{at}.targets[{index}]"), error.to_string()),
        }
    }
    matchers
}

/// Whether there is anything that can be told what is to be done.
fn meant(check: &mut Check, at: &str, curtailment: &Curtailment, jobs: &[Job]) {
    let action = &curtailment.entry.action;
    let name = action.split(' ').next().unwrap_or_default();
    if !UNDONE.contains(&name) {
        let message = format!("{name:?} cannot be undone afterwards; {}", words::hint(name, UNDONE));
        return check.report(format!("{at}.action"), message);
    }
    let selected = jobs.iter().filter(|job| curtailment.selects(&labels_of(&job.target)));
    let kinds: Vec<&str> = selected.map(|job| &*job.target.kind).collect();
    if kinds.is_empty() {
        // With mistakes elsewhere there may be targets that could not be opened.
        check.warn(&format!("{at}.targets"), "no target is selected");
    } else if let Some(message) = misfit(kinds, action) {
        check.report(format!("{at}.action"), message);
    }
}
