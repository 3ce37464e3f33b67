//! What the notifying room is told of the world, and where its log stands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::shared::{RuleNote, Shared};
use crate::config::Config;
use crate::model::{Alert, AlertState, Labels};
use crate::notify::service::{Log, LogError, Stored};
use crate::notify::{Checked, Notice, World};
use crate::schedule::poll::unix_millis;
use crate::silence::Silences;
use crate::store::state::{MAX_OPS, MAX_REQUEST, Op, StateStore, StoreError, Txn};

/// Where the notification log stands in the state.
const PREFIX: &str = "notify/";

/// The world as the notifying room sees it.
pub(super) struct Ears {
    shared: Arc<Shared>,
    /// The alerts that the notices were made of: made anew only when these change.
    made: Mutex<Option<Made>>,
}

type Made = (Arc<Vec<Alert>>, Arc<Vec<Notice>>);

impl Ears {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Ears { shared, made: Mutex::default() }
    }
}

impl World for Ears {
    fn now(&self) -> i64 {
        unix_millis()
    }

    fn notices(&self) -> Arc<Vec<Notice>> {
        let alerts = self.shared.alerts.get();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, notices)) = &*made
            && Arc::ptr_eq(of, &alerts)
        {
            return notices.clone();
        }
        let notices = Arc::new(notices(&alerts, &self.shared.rules.get(), &self.shared.config.get()));
        *made = Some((alerts, notices.clone()));
        notices
    }

    fn muted(&self, labels: &Labels) -> bool {
        self.shared.muted_by(labels, unix_millis()).is_some()
    }

    fn window_open(&self, name: &str) -> bool {
        self.shared.config.get().windows.is_open(name, unix_millis())
    }

    fn checked(&self) -> Arc<Checked> {
        self.shared.config.get().notify.clone()
    }

    fn heard(&self, silences: Silences) {
        self.shared.heard_silences.set(Arc::new(silences));
    }
}

/// Firing and lately resolved alerts. Receivers know an alert by its labels alone: of two rules that say the same, the one
/// that fires is told, and of two that fire the one that has done so for longer.
pub(super) fn notices(alerts: &[Alert], rules: &BTreeMap<String, RuleNote>, config: &Config) -> Vec<Notice> {
    let external_url = &config.notify.external_url;
    let mut found: BTreeMap<Labels, Notice> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert.state != AlertState::Pending) {
        let note = rules.get(&*alert.rule);
        let notice = Notice {
            // As in Prometheus, an alert's own labels win.
            labels: Labels::new(config.external_labels.iter().chain(alert.labels.iter())),
            annotations: alert.annotations.clone(),
            starts_at: alert.fired_at.unwrap_or(alert.active_at),
            resolved_at: if alert.state == AlertState::Resolved { alert.resolved_at } else { None },
            generator_url: note.map_or(String::new(), |note| generator_url(external_url, &note.expr)),
            interval: note.map_or(Duration::ZERO, |note| note.interval),
        };
        let order = |notice: &Notice| (notice.resolved_at.is_some(), notice.starts_at);
        match found.get(&notice.labels) {
            Some(other) if order(other) <= order(&notice) => {}
            _ => drop(found.insert(notice.labels.clone(), notice)),
        }
    }
    let mut notices: Vec<Notice> = found.into_values().collect();
    notices.sort_by_key(|notice| notice.starts_at);
    notices
}

/// As Prometheus writes it; empty where `server.external_url` is not set.
fn generator_url(external_url: &str, expression: &str) -> String {
    if external_url.is_empty() {
        return String::new();
    }
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("g0.expr", expression)
        .append_pair("g0.tab", "1")
        .finish();
    format!("{external_url}/graph?{query}")
}

/// The notification log in the state.
pub(super) struct StateLog(pub(super) Arc<dyn StateStore>);

fn failed(operation: &'static str, source: StoreError) -> LogError {
    LogError { operation, source: Box::new(source) }
}

impl Log for StateLog {
    fn load(&self) -> BoxFuture<'_, Result<Vec<Stored<Vec<u8>>>, LogError>> {
        async {
            let (mut records, mut cursor) = (Vec::new(), None);
            loop {
                let page = self.0.list(PREFIX, 0, cursor).await.map_err(|error| failed("read", error))?;
                let found = page.entries.into_iter();
                records.extend(found.map(|(key, versioned)| (key[PREFIX.len()..].to_string(), versioned.value)));
                cursor = page.next;
                if cursor.is_none() {
                    return Ok(records);
                }
            }
        }
        .boxed()
    }

    fn write(&self, records: Vec<Stored<Option<Vec<u8>>>>) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            let (mut then, mut bytes) = (Vec::new(), 0);
            for (key, value) in records {
                let key = format!("{PREFIX}{key}");
                let op =
                    value.map_or_else(|| Op::Delete { key: key.clone() }, |value| Op::Put { key: key.clone(), value });
                let size = key.len() + if let Op::Put { value, .. } = &op { value.len() } else { 0 };
                if then.len() == MAX_OPS || bytes + size > MAX_REQUEST {
                    let txn = Txn { then: std::mem::take(&mut then), ..Txn::default() };
                    self.0.txn(txn).await.map_err(|error| failed("write", error))?;
                    bytes = 0;
                }
                bytes += size;
                then.push(op);
            }
            if then.is_empty() {
                return Ok(());
            }
            self.0.txn(Txn { then, ..Txn::default() }).await.map(drop).map_err(|error| failed("write", error))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(rule: &str, state: AlertState, fired_at: i64) -> Alert {
        Alert {
            rule: rule.into(),
            labels: Labels::new([("alertname", "Hot")]),
            annotations: Labels::empty(),
            state,
            value: 1.0,
            active_at: 1,
            fired_at: Some(fired_at),
            resolved_at: (state == AlertState::Resolved).then_some(9),
            keep_firing_since: None,
            resolved_with_data: false,
            last_seen_at: 1,
        }
    }

    #[test]
    fn pending_is_never_told_and_equal_labels_are_one_alert() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("davylamp.yml");
        std::fs::write(&path, "rules: {external_labels: {site: a}}").unwrap();
        let config = Config::load(&path).unwrap();
        let tell = |alerts: &[Alert]| {
            notices(alerts, &BTreeMap::new(), &config).iter().map(|n| (n.starts_at, n.status())).collect::<Vec<_>>()
        };
        assert!(tell(&[alert("a", AlertState::Pending, 1)]).is_empty());
        let labels = notices(&[alert("a", AlertState::Firing, 1)], &BTreeMap::new(), &config)[0].labels.clone();
        assert_eq!(labels.get("site"), Some("a"));
        assert_eq!(tell(&[alert("a", AlertState::Resolved, 2), alert("b", AlertState::Firing, 5)]), [(5, "firing")]);
        assert_eq!(tell(&[alert("a", AlertState::Firing, 5), alert("b", AlertState::Firing, 2)]), [(2, "firing")]);
    }

    #[test]
    fn the_link_is_prometheus() {
        assert_eq!(generator_url("http://lamp:9940", "a > 1"), "http://lamp:9940/graph?g0.expr=a+%3E+1&g0.tab=1");
        assert_eq!(generator_url("", "a"), "");
    }
}
