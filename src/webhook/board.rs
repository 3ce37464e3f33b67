//! The alerts that others say are firing, by sender and fingerprint; pure. What changes is planned first and applied
//! when it is on disk.

use std::collections::BTreeMap;
use std::time::Duration;

use super::read::{Batch, Incoming, Status};
use super::{Sender, Settings};
use crate::model::{Alert, AlertState, Labels, Transition};

/// Fewest milliseconds for which an alert is believed, whatever its `endsAt` says: less, and nobody would look at it.
const LEAST_BELIEVED: i64 = 60_000;

/// One alert of somebody else's.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Posted {
    /// Who sent it.
    pub sender: Sender,
    /// The alert, in the words of our own.
    pub alert: Alert,
    /// From when on it is no longer believed, milliseconds since the epoch.
    pub expires_at: i64,
    /// Whether the last change has been told to those who act.
    #[serde(skip)]
    pub told: bool,
}

impl Posted {
    /// Its name in records: sender and Alertmanager's own fingerprint.
    pub fn key(&self) -> String {
        key(self.sender, &self.alert.labels)
    }
}

fn key(sender: Sender, labels: &Labels) -> String {
    format!("{}/{:016x}", sender.as_str(), labels.fingerprint())
}

/// What is to be written, and then applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// New and changed alerts.
    pub put: Vec<Posted>,
    /// How many of them began to fire.
    pub fired: usize,
    /// How many of them are over.
    pub resolved: usize,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Board {
    alerts: BTreeMap<String, Posted>,
}

impl Board {
    /// A board from records. What they say is told again: the one that heard it may be gone.
    pub fn new(records: impl IntoIterator<Item = Posted>) -> Board {
        Board { alerts: records.into_iter().map(|posted| (posted.key(), posted)).collect() }
    }

    /// What a batch changes; `None` when there are too many alerts.
    pub fn plan(&self, sender: Sender, batch: &Batch, settings: &Settings, now: i64) -> Option<Change> {
        let mut change = Change::default();
        let mut new = 0;
        let mut named: Vec<String> = Vec::new();
        for incoming in &batch.alerts {
            let key = key(sender, &incoming.labels);
            let known = self.alerts.get(&key).filter(|known| known.alert.state == AlertState::Firing);
            match (incoming.status, known) {
                (Status::Firing, known) => {
                    new += usize::from(!self.alerts.contains_key(&key));
                    change.fired += usize::from(known.is_none());
                    change.put.push(firing(sender, incoming, known, settings.expire, now));
                }
                (Status::Resolved, Some(known)) => {
                    change.resolved += 1;
                    change.put.push(resolved(known, true, now));
                }
                // Nobody acted on it.
                (Status::Resolved, None) => {}
            }
            named.push(key);
        }
        if let Some(whole) = &batch.whole {
            let of_rule = |known: &&Posted| {
                known.sender == sender
                    && known.alert.state == AlertState::Firing
                    && whole.iter().all(|(name, value)| known.alert.labels.get(name) == Some(value))
            };
            for known in self.alerts.values().filter(of_rule).filter(|known| !named.contains(&known.key())) {
                change.resolved += 1;
                change.put.push(resolved(known, true, now));
            }
        }
        (self.alerts.len() + new <= settings.max_alerts).then_some(change)
    }

    /// What is no longer believed: not resolved, only unknown.
    pub fn expired(&self, now: i64) -> Change {
        let over =
            self.alerts.values().filter(|known| known.alert.state == AlertState::Firing && known.expires_at <= now);
        let put: Vec<Posted> = over.map(|known| resolved(known, false, now)).collect();
        Change { resolved: put.len(), fired: 0, put }
    }

    /// Enters a change that is on disk.
    pub fn apply(&mut self, change: Change) {
        for posted in change.put {
            let key = posted.key();
            // A repetition changes nothing that would have to be told again.
            let same = self.alerts.get(&key).is_some_and(|known| known.told && known.alert.state == posted.alert.state);
            self.alerts.insert(key, Posted { told: same, ..posted });
        }
    }

    /// What fires.
    pub fn firing(&self) -> Vec<Alert> {
        let firing = self.alerts.values().filter(|posted| posted.alert.state == AlertState::Firing);
        firing.map(|posted| posted.alert.clone()).collect()
    }

    /// What has to be told, with the key for [`Board::told`].
    pub fn untold(&self) -> Vec<(String, Transition)> {
        let untold = self.alerts.iter().filter(|(_, posted)| !posted.told);
        untold.map(|(key, posted)| (key.clone(), transition(&posted.alert))).collect()
    }

    /// Notes that a state was told. Not of an alert that changed meanwhile: that has to be told too.
    pub fn told(&mut self, key: &str, state: AlertState) {
        if let Some(posted) = self.alerts.get_mut(key).filter(|posted| posted.alert.state == state) {
            posted.told = true;
        }
    }

    /// What is over and was told, by key.
    pub fn over(&self) -> Vec<(String, Posted)> {
        let over = self.alerts.iter().filter(|(key, _)| self.is_over(key));
        over.map(|(key, posted)| (key.clone(), posted.clone())).collect()
    }

    /// Whether this one is over and was told.
    pub fn is_over(&self, key: &str) -> bool {
        self.alerts.get(key).is_some_and(|posted| posted.told && posted.alert.state == AlertState::Resolved)
    }

    /// Lets something be told once more.
    pub fn again(&mut self, key: &str) {
        if let Some(posted) = self.alerts.get_mut(key) {
            posted.told = false;
        }
    }

    /// Forgets an alert whose record was removed.
    pub fn forget(&mut self, key: &str) {
        self.alerts.remove(key);
    }
}

fn firing(sender: Sender, incoming: &Incoming, known: Option<&Posted>, expire: Duration, now: i64) -> Posted {
    let expire = i64::try_from(expire.as_millis()).unwrap_or(i64::MAX);
    let began = known.map_or(incoming.starts_at.unwrap_or(now).min(now), |known| known.alert.active_at);
    let alert = Alert {
        rule: format!("webhook:{}:{}", sender.as_str(), incoming.labels.get("alertname").unwrap_or_default()).into(),
        labels: incoming.labels.clone(),
        annotations: incoming.annotations.clone(),
        state: AlertState::Firing,
        value: incoming.value,
        active_at: began,
        fired_at: Some(began),
        resolved_at: None,
        keep_firing_since: None,
        resolved_with_data: false,
        last_seen_at: now,
    };
    let until = incoming.ends_at.unwrap_or(now.saturating_add(expire)).max(now + LEAST_BELIEVED);
    Posted { sender, alert, expires_at: until.min(now.saturating_add(expire)), told: false }
}

fn resolved(known: &Posted, positive: bool, now: i64) -> Posted {
    let alert = Alert {
        state: AlertState::Resolved,
        resolved_at: Some(now),
        resolved_with_data: positive,
        ..known.alert.clone()
    };
    Posted { alert, told: false, ..known.clone() }
}

fn transition(alert: &Alert) -> Transition {
    let over = alert.state == AlertState::Resolved;
    Transition {
        from: over.then_some(AlertState::Firing),
        at: alert.resolved_at.unwrap_or(alert.last_seen_at),
        positive: alert.resolved_with_data,
        alert: alert.clone(),
        warming_up: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(status: Status, miner: &str) -> Incoming {
        let labels = Labels::new([("alertname", "Hot"), ("miner", miner)]);
        Incoming { status, labels, annotations: Labels::empty(), starts_at: Some(5), ends_at: None, value: 1.0 }
    }

    fn say(board: &mut Board, batch: &Batch, now: i64) -> Change {
        let change = board.plan(Sender::Grafana, batch, &Settings::default(), now).unwrap();
        board.apply(change.clone());
        change
    }

    fn tell(board: &mut Board) -> Vec<(AlertState, bool)> {
        let told = board.untold();
        for (key, transition) in &told {
            board.told(key, transition.alert.state);
        }
        for (key, _) in board.over() {
            board.forget(&key);
        }
        told.into_iter().map(|(_, transition)| (transition.alert.state, transition.positive)).collect()
    }

    #[test]
    fn what_changes_while_it_is_told_is_told_too() {
        let mut board = Board::default();
        say(&mut board, &Batch { alerts: vec![incoming(Status::Firing, "m1")], ..Batch::default() }, 1000);
        let (key, before) = board.untold().remove(0);
        say(&mut board, &Batch { alerts: vec![incoming(Status::Resolved, "m1")], ..Batch::default() }, 2000);
        board.told(&key, before.alert.state);
        assert_eq!(tell(&mut board), [(AlertState::Resolved, true)]);
    }

    #[test]
    fn repetitions_are_told_once_and_resolves_are_positive() {
        let mut board = Board::default();
        let fire = Batch { alerts: vec![incoming(Status::Firing, "m1")], ..Batch::default() };
        for time in 0..50 {
            assert_eq!(say(&mut board, &fire, 1000 + time).fired, usize::from(time == 0));
            assert_eq!(tell(&mut board), if time == 0 { vec![(AlertState::Firing, false)] } else { vec![] });
        }
        assert_eq!(board.firing()[0].active_at, 5);
        assert!(board.firing()[0].rule.starts_with("webhook:grafana:"));
        let over = Batch {
            alerts: vec![incoming(Status::Resolved, "m1"), incoming(Status::Resolved, "m2")],
            ..Batch::default()
        };
        assert_eq!(say(&mut board, &over, 2000).resolved, 1);
        assert!(board.firing().is_empty());
        assert_eq!(tell(&mut board), [(AlertState::Resolved, true)]);
        assert!(board.untold().is_empty() && board.alerts.is_empty());
    }

    #[test]
    fn what_nobody_repeats_is_over_but_not_well() {
        let mut board = Board::default();
        let mut ending = incoming(Status::Firing, "m1");
        ending.ends_at = Some(500_000);
        say(&mut board, &Batch { alerts: vec![ending, incoming(Status::Firing, "m2")], ..Batch::default() }, 1000);
        tell(&mut board);
        assert_eq!(board.expired(499_999), Change::default());
        let change = board.expired(500_000);
        assert_eq!(change.resolved, 1);
        board.apply(change);
        assert_eq!(tell(&mut board), [(AlertState::Resolved, false)]);
        assert_eq!(board.expired(1000 + 5 * 3_600_000).resolved, 1);
        // A new process tells what is on record again.
        let again = Board::new(board.alerts.values().cloned().map(|posted| Posted { told: false, ..posted }));
        assert_eq!(again.untold().len(), 1);
    }

    #[test]
    fn a_rule_named_as_a_whole_resolves_what_it_no_longer_names() {
        let mut board = Board::default();
        let whole = Some(Labels::new([("alertname", "Hot")]));
        let both = vec![incoming(Status::Firing, "m1"), incoming(Status::Firing, "m2")];
        say(&mut board, &Batch { alerts: both, whole: whole.clone(), ..Batch::default() }, 1);
        let one = vec![incoming(Status::Firing, "m2")];
        assert_eq!(say(&mut board, &Batch { alerts: one, whole: whole.clone(), ..Batch::default() }, 2).resolved, 1);
        assert_eq!(say(&mut board, &Batch { whole, ..Batch::default() }, 3).resolved, 1);
        assert!(board.firing().is_empty());
        let few = Settings { max_alerts: 1, ..Settings::default() };
        let two = vec![incoming(Status::Firing, "m3"), incoming(Status::Firing, "m4")];
        assert!(board.plan(Sender::Grafana, &Batch { alerts: two, ..Batch::default() }, &few, 4).is_none());
    }
}
