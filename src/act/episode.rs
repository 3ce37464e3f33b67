//! The unit of idempotency: one trouble of one target, from its first alert until all of its alerts are provably over.
//!
//! `startsAt` would be no key: it moves when Prometheus restarts, and Alertmanager merges it. An episode opens at the
//! first alert and closes only when the expression of every one of its alerts was false *with data*. An alert that
//! vanished for want of data keeps it open, so a target that merely fell silent is not repaired a second time.

use std::collections::BTreeMap;

use crate::model::{Alert, Labels};

/// Most alerts that one episode keeps track of; more of them do not open another.
const MAX_ALERTS: usize = 256;
/// Most changes of state that are remembered, over all episodes of a target.
const MAX_CHANGES: usize = 64;
/// Largest label or annotation of the alert that an episode keeps, in bytes, and the most of them.
const MAX_TEXT: usize = 1024;
const MAX_PAIRS: usize = 64;

/// The current or last episode of a binding and a target. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Episode {
    /// [`crate::act::run::SCHEMA`].
    pub schema: u32,
    /// Which binding.
    pub binding: String,
    /// Which inventory host.
    pub target: String,
    /// When it opened: its identity, larger than that of any episode before.
    pub opened_at: i64,
    /// When it closed; `None` while it is open.
    pub closed_at: Option<i64>,
    /// Alerts that are not provably over, and when they fired last.
    pub alerts: BTreeMap<String, i64>,
    /// When episodes of this binding and target opened and closed, newest last; it outlives the episode.
    #[serde(default)]
    pub changes: Vec<i64>,
    /// The alert that opened it, for steps that follow when nothing fires any more for want of data.
    #[serde(default)]
    pub alert: Option<Box<Alert>>,
    /// Somebody was told that no step is left, or that a person has to look.
    #[serde(default)]
    pub told: bool,
}

/// What identifies an alert within an episode.
pub fn alert_key(alert: &Alert) -> String {
    format!("{:016x} {}", alert.labels.fingerprint(), alert.rule)
}

impl Episode {
    /// The key in the ledger.
    pub fn key(&self) -> String {
        format!("episode/{}/{}", self.binding, self.target)
    }

    /// The episode that a firing alert belongs to, given the last one of this binding and target: the same while it is
    /// open; the same again when the target was worked on so recently that its cooldown is not over (`cooling`),
    /// because then the repair did not hold, and the next step follows; otherwise a new one.
    pub fn of(last: Option<&Episode>, binding: &str, target: &str, alert: &Alert, now: i64, cooling: bool) -> Episode {
        let mut episode = match last {
            Some(last) if last.closed_at.is_none() => last.clone(),
            Some(last) if cooling => Episode { closed_at: None, told: false, ..last.clone() },
            _ => Episode {
                schema: crate::act::run::SCHEMA,
                binding: binding.to_string(),
                target: target.to_string(),
                // The clock may have gone back; an identity may not come again.
                opened_at: last.map_or(now, |last| now.max(last.opened_at + 1)),
                closed_at: None,
                alerts: BTreeMap::new(),
                changes: last.map_or_else(Vec::new, |last| last.changes.clone()),
                alert: Some(Box::new(short(alert))),
                told: false,
            },
        };
        if last.is_none_or(|last| last.closed_at.is_some()) {
            episode.changed(now);
        }
        let key = alert_key(alert);
        let fired = alert.fired_at.unwrap_or(alert.active_at);
        if episode.alerts.len() < MAX_ALERTS || episode.alerts.contains_key(&key) {
            episode.alerts.insert(key, fired);
        }
        episode
    }

    /// Takes note of a resolve. Only a positive one counts, and only if the alert has not fired again since: the same
    /// resolve may be told twice around a restart.
    pub fn resolve(&mut self, alert: &Alert, at: i64, positive: bool) {
        let key = alert_key(alert);
        if positive && self.alerts.get(&key).is_some_and(|fired| *fired <= at) {
            self.alerts.remove(&key);
            self.close_if_over(at);
        }
    }

    /// Forgets alerts of rules that no longer exist: nobody will ever say that they are over.
    pub fn keep_rules(&mut self, exists: impl Fn(&str) -> bool, now: i64) {
        self.alerts.retain(|key, _| key.split_once(' ').is_some_and(|(_, rule)| exists(rule)));
        self.close_if_over(now);
    }

    /// Closes it because a person says so.
    pub fn close(&mut self, at: i64) {
        self.alerts.clear();
        self.close_if_over(at);
    }

    fn close_if_over(&mut self, at: i64) {
        if self.alerts.is_empty() && self.closed_at.is_none() {
            self.closed_at = Some(at);
            self.changed(at);
        }
    }

    fn changed(&mut self, at: i64) {
        self.changes.push(at);
        let surplus = self.changes.len().saturating_sub(MAX_CHANGES);
        self.changes.drain(..surplus);
    }
}

/// An alert that fits into a record, whatever its texts are.
fn short(alert: &Alert) -> Alert {
    let trim = |labels: &Labels| {
        let pairs = labels.iter().filter(|(name, value)| name.len() <= MAX_TEXT && value.len() <= MAX_TEXT);
        Labels::new(pairs.take(MAX_PAIRS))
    };
    Alert { labels: trim(&alert.labels), annotations: trim(&alert.annotations), ..alert.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AlertState;

    fn alert(name: &str, fired_at: i64) -> Alert {
        Alert {
            rule: format!("f;g;{name}").into(),
            labels: Labels::new([("alertname", name)]),
            annotations: Labels::empty(),
            state: AlertState::Firing,
            value: 1.0,
            active_at: fired_at,
            fired_at: Some(fired_at),
            resolved_at: None,
            keep_firing_since: None,
            resolved_with_data: false,
            last_seen_at: fired_at,
        }
    }

    #[test]
    fn closes_only_when_every_alert_is_provably_over() {
        let (hot, slow) = (alert("hot", 100), alert("slow", 110));
        let first = Episode::of(None, "b", "t", &hot, 100, false);
        let mut both = Episode::of(Some(&first), "b", "t", &slow, 110, false);
        assert_eq!(both.opened_at, 100);
        both.resolve(&hot, 120, false);
        both.resolve(&slow, 120, true);
        assert_eq!(both.closed_at, None, "no data is no proof");
        both.resolve(&hot, 90, true);
        assert_eq!(both.closed_at, None, "a resolve from before the alert");
        both.resolve(&hot, 130, true);
        assert_eq!((both.closed_at, both.changes.as_slice()), (Some(130), [100, 130].as_slice()));

        assert_eq!(Episode::of(Some(&both), "b", "t", &hot, 140, true).opened_at, 100, "within the cooldown: the same");
        assert_eq!(Episode::of(Some(&both), "b", "t", &hot, 140, false).opened_at, 140);
        assert_eq!(Episode::of(Some(&both), "b", "t", &hot, 50, false).opened_at, 101, "the clock went back");
    }

    #[test]
    fn a_removed_rule_does_not_keep_it_open() {
        let mut episode = Episode::of(None, "b", "t", &alert("hot", 1), 1, false);
        episode.keep_rules(|rule| rule == "f;g;hot", 5);
        assert_eq!(episode.closed_at, None);
        episode.keep_rules(|_| false, 6);
        assert_eq!(episode.closed_at, Some(6));
    }
}
