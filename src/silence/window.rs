//! Maintenance windows: a cron expression in a time zone says when one opens, a duration how long it stays open.
//!
//! The duration is time that passes, not time on the wall: a window of two hours is open for two hours in the nights of
//! daylight saving too. An opening that the clock skips comes right behind the gap; one that it shows twice comes once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Mute;
use crate::model::duration::{self, serde_text};
use crate::model::{Labels, Matcher};
use crate::schedule::calendar::{self, Cron};

/// Longest window. One that is always open is a mistake that nobody notices.
const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// A window as it is written under `windows:`.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowEntry {
    /// Unique name: remediations and routes refer to it.
    pub name: String,
    /// When it opens: second minute hour day-of-month month day-of-week.
    pub cron: String,
    /// Time zone of `cron`, for example `Europe/Berlin`; else UTC.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// How long it stays open.
    #[serde(with = "serde_text")]
    #[schemars(schema_with = "duration::schema")]
    pub duration: Duration,
    /// Alertmanager matchers (`miner=~"garage-.*"`): alerts that all of them match are muted while it is open.
    #[serde(default)]
    pub mute: Vec<String>,
    /// What it is for.
    #[serde(default)]
    pub comment: String,
}

/// A mistake, with its path below `windows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `[0].cron`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A checked window.
#[derive(Clone, Debug)]
pub struct Window {
    /// Name.
    pub name: String,
    /// What it is for.
    pub comment: String,
    /// As written.
    pub cron: String,
    /// Name of the time zone.
    pub time_zone: String,
    /// How long it stays open.
    pub duration: Duration,
    /// Which alerts it mutes; none, when empty.
    pub mute: Vec<Matcher>,
    times: Cron,
}

/// All windows, by name.
#[derive(Clone, Debug, Default)]
pub struct Windows(BTreeMap<String, Window>);

impl Window {
    /// Until when it is open at `now`, milliseconds since the epoch; `None` while it is closed.
    pub fn open_until(&self, now: i64) -> Option<i64> {
        let duration = i64::try_from(self.duration.as_millis()).unwrap_or(i64::MAX);
        let opened_since = |time: i64| self.times.after(time).filter(|opened| *opened <= now);
        opened_since(now - duration)?;
        // The last opening says when it closes. There may be one every second, so they are not gone through.
        let (mut before, mut not_before) = (now - duration, now);
        while not_before - before > 1000 {
            let middle = before + (not_before - before) / 2;
            if opened_since(middle).is_some() { before = middle } else { not_before = middle }
        }
        Some(opened_since(before)? + duration)
    }

    /// When it opens next after `now`, milliseconds since the epoch.
    pub fn next_opening(&self, now: i64) -> Option<i64> {
        self.times.after(now)
    }
}

impl Windows {
    /// Checks what is written.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn check(entries: &[WindowEntry]) -> Result<Self, Vec<Mistake>> {
        let (mut windows, mut mistakes) = (BTreeMap::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            match window(entry) {
                Ok(window) => {
                    if windows.insert(entry.name.clone(), window).is_some() {
                        let message = format!("the name {:?} is used by another window already", entry.name);
                        mistakes.push(Mistake { path: format!("[{index}].name"), message });
                    }
                }
                Err(found) => mistakes.extend(
                    found.into_iter().map(|(path, message)| Mistake { path: format!("[{index}].{path}"), message }),
                ),
            }
        }
        if mistakes.is_empty() { Ok(Windows(windows)) } else { Err(mistakes) }
    }

    /// All, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Window> {
        self.0.values()
    }

    /// Whether there is a window of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether the window of this name is open. One that does not exist is closed.
    pub fn is_open(&self, name: &str, now: i64) -> bool {
        self.0.get(name).is_some_and(|window| window.open_until(now).is_some())
    }

    /// The open windows that mute an alert with these labels.
    pub fn muting<'a>(&'a self, labels: &'a Labels, now: i64) -> impl Iterator<Item = (&'a Window, i64)> {
        self.iter().filter_map(move |window| {
            let meant = !window.mute.is_empty() && window.mute.iter().all(|matcher| matcher.matches(labels));
            Some((window, meant.then(|| window.open_until(now)).flatten()?))
        })
    }

    /// The open window that mutes an alert with these labels for the longest time, if any does.
    pub fn muted_by(&self, labels: &Labels, now: i64) -> Option<Mute> {
        let (window, ends_at) = self.muting(labels, now).max_by_key(|(_, until)| *until)?;
        Some(Mute::Window { name: window.name.clone(), ends_at })
    }
}

fn window(entry: &WindowEntry) -> Result<Window, Vec<(String, String)>> {
    let mut mistakes = Vec::new();
    if entry.name.is_empty() || entry.name.len() > 128 || entry.name.chars().any(char::is_control) {
        mistakes.push(("name".to_string(), format!("{:?} is not a name: 1 to 128 characters", entry.name)));
    }
    let zone = match entry.time_zone.as_deref().map_or(Ok(chrono_tz::Tz::UTC), calendar::zone) {
        Ok(zone) => zone,
        Err(near) => {
            let hint = near.map_or("write it like Europe/Berlin".to_string(), |near| format!("did you mean {near:?}?"));
            let name = entry.time_zone.as_deref().unwrap_or_default();
            mistakes.push(("time_zone".to_string(), format!("{name:?} is not a time zone; {hint}")));
            chrono_tz::Tz::UTC
        }
    };
    if entry.duration < Duration::from_secs(1) || entry.duration > LONGEST {
        let text = format!("{} is not 1s to 31d", duration::format_duration(entry.duration));
        mistakes.push(("duration".to_string(), text));
    }
    let mut mute = Vec::new();
    for (index, text) in entry.mute.iter().enumerate() {
        match Matcher::parse(text) {
            Ok(matcher) => mute.push(matcher),
            Err(error) => mistakes.push((format!("mute[{index}]"), error.to_string())),
        }
    }
    let times = Cron::new(&entry.cron, zone).map_err(|error| mistakes.push(("cron".to_string(), error.to_string())));
    match times {
        Ok(times) if mistakes.is_empty() => Ok(Window {
            name: entry.name.clone(),
            comment: entry.comment.clone(),
            cron: entry.cron.clone(),
            time_zone: zone.name().to_string(),
            duration: entry.duration,
            mute,
            times,
        }),
        _ => Err(mistakes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::from_rfc3339;
    use super::*;

    fn windows(text: &str) -> Result<Windows, Vec<Mistake>> {
        Windows::check(&serde_yaml::from_str::<Vec<WindowEntry>>(text).unwrap())
    }

    fn at(text: &str) -> i64 {
        from_rfc3339(text).unwrap()
    }

    #[test]
    fn is_open_from_its_opening_for_its_duration() {
        let windows = windows(
            "[{name: sunday, cron: '0 0 2 * * SUN', time_zone: Europe/Berlin, duration: 2h, mute: ['miner=~\"g.*\"']}]",
        )
        .unwrap();
        let open = |text: &str| windows.is_open("sunday", at(text));
        assert_eq!(
            ["2026-11-22T00:59:59Z", "2026-11-22T01:00:00Z", "2026-11-22T02:59:59Z", "2026-11-22T03:00:00Z"].map(open),
            [false, true, true, false]
        );
        assert!(!windows.is_open("monday", at("2026-11-22T02:00:00Z")));
        let muted = |labels: &Labels| windows.muted_by(labels, at("2026-11-22T02:00:00Z"));
        let mute = muted(&Labels::new([("miner", "g1")])).unwrap();
        assert_eq!(mute, Mute::Window { name: "sunday".into(), ends_at: at("2026-11-22T03:00:00Z") });
        assert_eq!(muted(&Labels::new([("miner", "x")])), None);
    }

    #[test]
    fn daylight_saving_neither_loses_nor_doubles_a_window() {
        let windows = windows("[{name: n, cron: '0 30 2 * * *', time_zone: Europe/Berlin, duration: 1h}]").unwrap();
        let open = |text: &str| windows.is_open("n", at(text));
        // 29 March 2026, 02:00 CET is 03:00 CEST: half past two does not exist, the window opens at 01:00 UTC.
        assert_eq!(
            ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:59:59Z", "2026-03-29T02:00:00Z"].map(open),
            [false, true, true, false]
        );
        // 25 October 2026, half past two comes twice: at 00:30 UTC and at 01:30 UTC. Only the first opens.
        assert_eq!(
            [
                "2026-10-25T00:29:59Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:29:59Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T01:45:00Z"
            ]
            .map(open),
            [false, true, true, false, false]
        );
    }

    #[test]
    fn openings_that_overlap_are_one_window() {
        let windows = windows("[{name: n, cron: '0 0 * * * *', duration: 90m}]").unwrap();
        let until = windows.iter().next().unwrap().open_until(at("2026-11-22T03:10:00Z"));
        assert_eq!(until, Some(at("2026-11-22T04:30:00Z")));
    }

    #[test]
    fn every_mistake_is_said_at_once() {
        let mistakes = windows(
            "[{name: '', cron: '*/5 * * * *', time_zone: Europe/Berlni, duration: 0s, mute: ['x', 'a=~\"(\"']},
              {name: a, cron: '0 0 2 * * *', duration: 1h}, {name: a, cron: '0 0 2 * * *', duration: 1h}]",
        )
        .unwrap_err();
        let paths: Vec<&str> = mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
        let all = ["[0].name", "[0].time_zone", "[0].duration", "[0].mute[0]", "[0].mute[1]", "[0].cron", "[2].name"];
        assert_eq!(paths, all);
    }
}
