//! What was expected and did not happen, and what happened and was not expected.

use std::collections::BTreeSet;

use super::event::{Event, What, time};
use super::file::{AboutAlert, AboutMessage, AboutRun, ExpectEntry};
use super::plan::{Expected, Plan};
use crate::rules::unit::Failure;

/// Most lines of a list that are shown.
const MOST_SHOWN: usize = 50;
/// Sorts of events that are differences wherever they are not expected.
const STRICT: [What; 3] = [What::Run, What::Check, What::Suppressed];

/// Compares a timeline with what a test expects.
pub(super) fn differences(plan: &Plan, events: &[Event], line: Option<usize>) -> Vec<Failure> {
    let Some(expected) = &plan.expect else { return Vec::new() };
    let named: BTreeSet<What> = expected.iter().filter_map(|expected| sort(&expected.entry)).chain(STRICT).collect();
    let mut left: Vec<&Event> = events.iter().filter(|event| named.contains(&event.what)).collect();
    // Whoever asks for more chooses first, or a vague line would take what a precise one means.
    let mut order: Vec<&Expected> = expected.iter().collect();
    order.sort_by_key(|expected| (expected.entry.any, std::cmp::Reverse(words(&expected.entry).len()), expected.at));
    let mut failures: Vec<(i64, Failure)> = Vec::new();
    for Expected { at, line, entry } in order {
        let mut found = 0;
        while entry.any || found < entry.count {
            let near = |event: &&Event| (event.at - at).abs() <= plan.tolerance && means(entry, event);
            let nearest = left.iter().enumerate().filter(|(_, event)| near(event));
            let Some((place, _)) = nearest.min_by_key(|(_, event)| (event.at - at).abs()) else { break };
            left.remove(place);
            found += 1;
        }
        if found < entry.count {
            let how_often = if entry.count == 1 { String::new() } else { format!(" ({found} of {})", entry.count) };
            let missing = vec![format!("{:<8} {}{how_often}", time(*at), said(entry))];
            let later = left.iter().filter(|event| means(entry, event)).take(3);
            let notes = later.map(|event| format!("but at {}: {}", event.time(), event.text())).collect();
            let what = format!("time: {}", time(*at));
            failures.push((*at, Failure { what, line: *line, missing, unexpected: vec![], notes }));
        }
    }
    failures.sort_by_key(|(at, _)| *at);
    let mut failures: Vec<Failure> = failures.into_iter().map(|(_, failure)| failure).collect();
    if !left.is_empty() {
        let shown = left.iter().take(MOST_SHOWN).map(|event| format!("{:<8} {}", event.time(), event.text()));
        let more = left.len().saturating_sub(MOST_SHOWN);
        let notes = if more > 0 { vec![format!("and {more} more")] } else { Vec::new() };
        let what = "not expected".to_string();
        failures.push(Failure { what, line, missing: vec![], unexpected: shown.collect(), notes });
    }
    failures
}

/// Which sort of event an expectation is about.
fn sort(entry: &ExpectEntry) -> Option<What> {
    let sorts = [
        (entry.run.is_some(), What::Run),
        (entry.check.is_some(), What::Check),
        (entry.waits.is_some(), What::Waits),
        (entry.ended.is_some(), What::Ended),
        (entry.suppressed.is_some(), What::Suppressed),
        (entry.told.is_some(), What::Told),
        (entry.refused.is_some(), What::Refused),
    ];
    sorts.into_iter().find(|(said, _)| *said).map(|(_, what)| what)
}

/// What an expectation says of its event: which field must be which text, and which must hold which.
fn words(entry: &ExpectEntry) -> Vec<(&'static str, String)> {
    let run = [&entry.run, &entry.check, &entry.waits, &entry.ended].into_iter().flatten().next();
    let mut words = Vec::new();
    let mut add = |name, word: Option<String>| words.extend(word.map(|word| (name, word)));
    if let Some(AboutRun { binding, target, step, action, state }) = run {
        add("binding", binding.clone());
        add("target", target.clone());
        add("step", step.map(|step| step.to_string()));
        add("action", action.clone());
        add("state", state.map(|state| state.as_str().to_string()));
    }
    if let Some(AboutAlert { binding, target, alertname, reason }) = &entry.suppressed {
        add("binding", binding.clone());
        add("target", target.clone());
        add("alertname", alertname.clone());
        add("reason", reason.map(|reason| reason.as_str().to_string()));
    }
    if let Some(AboutMessage { receiver, text }) = entry.told.as_ref().or(entry.refused.as_ref()) {
        add("receiver", receiver.clone());
        add("text", text.clone());
    }
    words
}

fn means(entry: &ExpectEntry, event: &Event) -> bool {
    let holds = |(name, word): &(&str, String)| match *name {
        "binding" => event.binding == *word,
        "target" => event.target == *word,
        "step" => event.step.is_some_and(|step| step.to_string() == *word),
        "action" => event.subject == *word,
        "state" | "reason" => event.state == *word,
        "alertname" | "receiver" => event.subject == *word,
        _ => event.state.contains(word.as_str()) || event.detail.contains(word.as_str()),
    };
    sort(entry) == Some(event.what) && words(entry).iter().all(holds)
}

/// An expectation in words.
fn said(entry: &ExpectEntry) -> String {
    let words: Vec<String> = words(entry).into_iter().map(|(name, word)| format!("{name}: {word}")).collect();
    format!("{} {{{}}}", sort(entry).map_or("nothing", What::as_str), words.join(", "))
}
