//! From the body of a webhook to alerts.
//!
//! Sources: Alertmanager's documented webhook payload, version 4; Grafana's documented payload of its webhook contact
//! point, which has the same shape; and the payload of Grafana's alerting before version 9 (`ruleName`, `state`,
//! `evalMatches`). Unknown fields are skipped, an unknown status is refused: to guess would be to act on a guess.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{MAX_BODY, Sender};
use crate::model::Labels;
use crate::model::matcher::is_label_name;

/// Most alerts of one request.
const MAX_ALERTS: usize = 1000;
/// Most labels, and annotations, of an alert; longest name and value, in bytes.
const MAX_LABELS: usize = 64;
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 1024;
const MAX_ANNOTATION: usize = 4096;
/// Most bytes of all labels, and of all annotations: with every byte escaped, the record of an alert stays below the
/// 256 KiB that the state takes.
const MAX_BYTES: usize = 16 * 1024;
/// Deepest nesting of what is posted.
const MAX_DEPTH: usize = 32;

/// Whether an alert fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Firing,
    /// It no longer does, and the sender has seen that.
    Resolved,
}

/// One alert that was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// What the sender says of it.
    pub status: Status,
    /// Labels, `alertname` among them.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// When it began to fire, milliseconds since the epoch.
    pub starts_at: Option<i64>,
    /// Until when it is to be believed; only while it fires.
    pub ends_at: Option<i64>,
    /// Its value, where the sender says one.
    pub value: f64,
}

/// What one request says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Alerts in order.
    pub alerts: Vec<Incoming>,
    /// All alerts with these labels that are not in `alerts` are over: an older Grafana names a whole rule at once.
    pub whole: Option<Labels>,
    /// Alerts that the sender left out for want of space. They fire, and nobody here knows of them.
    pub truncated: u64,
    /// Why alerts were left out here.
    pub left_out: Vec<String>,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too large.
    #[error("a webhook has at most {MAX_BODY} bytes")]
    TooLarge,
    /// Nested too deep.
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Not the JSON of a webhook.
    #[error("not the JSON of this webhook: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version.
    #[error("version {0:?} of Alertmanager's webhook is not known; 4 is")]
    Version(String),
    /// Another status.
    #[error("the status {0:?} is not known; firing and resolved are")]
    Status(String),
    /// Another state.
    #[error("the state {0:?} is not known; alerting, ok, no_data, pending and paused are")]
    State(String),
    /// Too many.
    #[error("more than {MAX_ALERTS} alerts at once; set max_alerts at the sender")]
    TooMany,
}

/// Reads a body.
///
/// # Errors
/// [`ReadError`].
pub fn read(sender: Sender, body: &[u8]) -> Result<Batch, ReadError> {
    if body.len() > MAX_BODY {
        return Err(ReadError::TooLarge);
    }
    if depth(body) > MAX_DEPTH {
        return Err(ReadError::TooDeep);
    }
    match sender {
        Sender::Alertmanager => {
            let payload: Payload = serde_json::from_slice(body)?;
            if payload.version != "4" {
                return Err(ReadError::Version(payload.version.chars().take(20).collect()));
            }
            payload.batch()
        }
        Sender::Grafana => match serde_json::from_slice(body)? {
            Grafana::Unified(payload) => payload.batch(),
            Grafana::Legacy(legacy) => legacy.batch(),
        },
    }
}

/// Deepest nesting, brackets within strings left out.
fn depth(body: &[u8]) -> usize {
    let (mut deepest, mut now, mut within, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within => escaped = true,
            b'"' => within = !within,
            b'{' | b'[' if !within => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' if !within => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The two shapes of Grafana are told apart by their fields.
#[derive(Deserialize)]
#[serde(untagged)]
enum Grafana {
    Unified(Payload),
    Legacy(Legacy),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    #[serde(default)]
    version: String,
    #[serde(default)]
    truncated_alerts: u64,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: String,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    starts_at: Option<String>,
    #[serde(default)]
    ends_at: Option<String>,
    /// Grafana's: values by the name of the query.
    #[serde(default)]
    values: Option<BTreeMap<String, Option<f64>>>,
}

impl Payload {
    fn batch(self) -> Result<Batch, ReadError> {
        if self.alerts.len() > MAX_ALERTS {
            return Err(ReadError::TooMany);
        }
        let mut batch = Batch { truncated: self.truncated_alerts, ..Batch::default() };
        for alert in self.alerts {
            let status = match alert.status.as_str() {
                "firing" => Status::Firing,
                "resolved" => Status::Resolved,
                other => return Err(ReadError::Status(other.chars().take(20).collect())),
            };
            let values = alert.values.unwrap_or_default();
            let incoming = Incoming {
                status,
                labels: match labels(&alert.labels) {
                    Ok(labels) => labels,
                    Err(why) => {
                        batch.left_out.push(why);
                        continue;
                    }
                },
                annotations: annotations(alert.annotations.unwrap_or_default()),
                starts_at: alert.starts_at.as_deref().and_then(time),
                ends_at: alert.ends_at.as_deref().and_then(time).filter(|_| status == Status::Firing),
                value: values.values().flatten().next().copied().unwrap_or(f64::NAN),
            };
            batch.alerts.push(incoming);
        }
        Ok(batch)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Legacy {
    rule_name: String,
    state: String,
    #[serde(default)]
    rule_url: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    eval_matches: Option<Vec<Match>>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Match {
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
}

impl Legacy {
    fn batch(self) -> Result<Batch, ReadError> {
        let rule = Labels::new([("alertname", cut(&self.rule_name, MAX_VALUE))]);
        let mut batch = Batch { whole: Some(rule), ..Batch::default() };
        match self.state.as_str() {
            "alerting" => {}
            "ok" => return Ok(batch),
            // Neither says that anything is well.
            "no_data" | "pending" | "paused" => return Ok(Batch::default()),
            other => return Err(ReadError::State(other.chars().take(20).collect())),
        }
        let mut matches = self.eval_matches.unwrap_or_default();
        if matches.len() > MAX_ALERTS {
            return Err(ReadError::TooMany);
        }
        if matches.is_empty() {
            matches.push(Match { value: None, tags: None });
        }
        let texts = [("message", &self.message), ("rule_url", &self.rule_url)];
        let annotations = Labels::new(texts.map(|(name, text)| (name, cut(text, MAX_ANNOTATION))));
        for found in matches {
            let mut all = self.tags.clone().unwrap_or_default();
            all.extend(found.tags.unwrap_or_default());
            all.insert("alertname".to_string(), self.rule_name.clone());
            match labels(&all) {
                Ok(labels) => batch.alerts.push(Incoming {
                    status: Status::Firing,
                    labels,
                    annotations: annotations.clone(),
                    starts_at: None,
                    ends_at: None,
                    value: found.value.unwrap_or(f64::NAN),
                }),
                Err(why) => batch.left_out.push(why),
            }
        }
        Ok(batch)
    }
}

/// Labels are an alert's identity, so none is cut: an alert with impossible ones is left out.
fn labels(pairs: &BTreeMap<String, String>) -> Result<Labels, String> {
    let fault = if pairs.is_empty() {
        Some("an alert without labels".to_string())
    } else if pairs.len() > MAX_LABELS {
        Some(format!("an alert with more than {MAX_LABELS} labels"))
    } else if pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_BYTES {
        Some(format!("an alert with more than {MAX_BYTES} bytes of labels"))
    } else {
        let bad = |(name, value): &(&String, &String)| {
            name.len() > MAX_NAME || value.len() > MAX_VALUE || name.starts_with("__") || name.is_empty()
        };
        pairs.iter().find(bad).map(|(name, _)| format!("an alert with an impossible label {:?}", cut(name, 40)))
    };
    fault.map_or_else(|| Ok(Labels::new(pairs)), Err)
}

fn annotations(pairs: BTreeMap<String, String>) -> Labels {
    let named = pairs.into_iter().filter(|(name, _)| name.len() <= MAX_NAME && is_label_name(name));
    let mut left = MAX_BYTES;
    let cut = named.take(MAX_LABELS).map(|(name, value)| (name, cut(&value, MAX_ANNOTATION)));
    Labels::new(cut.take_while(|(name, value)| {
        let fits = left >= name.len() + value.len();
        left = left.saturating_sub(name.len() + value.len());
        fits
    }))
}

/// The beginning of a text that fits into so many bytes.
fn cut(text: &str, bytes: usize) -> String {
    text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= bytes).map(|(_, c)| c).collect()
}

/// RFC 3339 to milliseconds. The year 1 is how Go writes "never".
fn time(text: &str) -> Option<i64> {
    let at = chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
    (at > 0).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERTMANAGER: &str = r#"{"version":"4","groupKey":"{}:{}","truncatedAlerts":7,"status":"firing","receiver":"lamp",
        "groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://am","future":{"x":[1]},
        "alerts":[
        {"status":"firing","labels":{"alertname":"Hot","miner":"m1","empty":""},"annotations":{"summary":"so hot"},
         "startsAt":"2026-01-02T03:04:05.678+01:00","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"x"},
        {"status":"resolved","labels":{"alertname":"Hot","miner":"m2"},"startsAt":"2026-01-02T03:04:05Z",
         "endsAt":"2026-01-02T03:10:05Z"},
        {"status":"firing","labels":{"__name__":"x"}}]}"#;

    #[test]
    fn alertmanager() {
        let batch = read(Sender::Alertmanager, ALERTMANAGER.as_bytes()).unwrap();
        assert_eq!((batch.alerts.len(), batch.truncated, batch.left_out.len()), (2, 7, 1));
        let first = &batch.alerts[0];
        assert_eq!((first.status, first.ends_at, first.starts_at), (Status::Firing, None, Some(1_767_319_445_678)));
        assert_eq!(first.labels, Labels::new([("alertname", "Hot"), ("miner", "m1")]));
        assert_eq!(batch.alerts[1].status, Status::Resolved);
        let refuse = |from: &str, to: &str| {
            read(Sender::Alertmanager, ALERTMANAGER.replace(from, to).as_bytes()).unwrap_err().to_string()
        };
        assert!(refuse("\"4\"", "\"5\"").contains("version \"5\""));
        assert!(refuse("\"resolved\"", "\"suppressed\"").contains("status \"suppressed\""));
        assert!(refuse("\"alerts\"", "\"alarms\"").contains("missing field `alerts`"));
        let deep = format!("{{\"version\":\"4\",\"alerts\":[],\"x\":{}{}}}", "[".repeat(40), "]".repeat(40));
        assert!(matches!(read(Sender::Alertmanager, deep.as_bytes()), Err(ReadError::TooDeep)));
        let text = "{\"version\":\"4\",\"alerts\":[],\"x\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[ \\\" {{\"}";
        assert_eq!(read(Sender::Alertmanager, text.as_bytes()).unwrap(), Batch::default());
        let large = vec![b' '; MAX_BODY + 1];
        assert!(matches!(read(Sender::Alertmanager, &large), Err(ReadError::TooLarge)));
    }

    #[test]
    fn grafana_of_both_ages() {
        let unified = r#"{"receiver":"lamp","status":"firing","orgId":1,"alerts":[{"status":"firing",
            "labels":{"alertname":"Hot","grafana_folder":"Mine"},"annotations":{},"startsAt":"2026-01-02T03:04:05Z",
            "endsAt":"0001-01-01T00:00:00Z","values":{"B":44.5,"C":1},"valueString":"[ var='B' ]","fingerprint":"c"}],
            "groupLabels":{},"version":"1","groupKey":"{}","truncatedAlerts":0,"title":"t","state":"alerting","message":"m"}"#;
        let batch = read(Sender::Grafana, unified.as_bytes()).unwrap();
        assert_eq!((batch.alerts.len(), batch.alerts[0].value, &batch.whole), (1, 44.5, &None));
        let legacy = r#"{"dashboardId":1,"evalMatches":[{"value":1,"metric":"rate","tags":{"miner":"m1"}},{"value":2,"tags":null}],
            "imageUrl":"","message":"Hashrate","orgId":0,"panelId":2,"ruleId":3,"ruleName":"Low","ruleUrl":"http://g",
            "state":"STATE","tags":{"site":"cellar"},"title":"[Alerting] Low"}"#;
        let say = |state: &str| read(Sender::Grafana, legacy.replace("STATE", state).as_bytes());
        let batch = say("alerting").unwrap();
        assert_eq!(batch.alerts.len(), 2);
        assert_eq!(batch.alerts[0].labels, Labels::new([("alertname", "Low"), ("miner", "m1"), ("site", "cellar")]));
        let over = say("ok").unwrap();
        assert_eq!((over.alerts.len(), over.whole), (0, Some(Labels::new([("alertname", "Low")]))));
        assert_eq!(say("no_data").unwrap(), Batch::default(), "no data is not well");
        assert!(matches!(say("exploded"), Err(ReadError::State(_))));
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes: Vec<u8>, text in "[\\[\\]{}\":,a-z0-9 ]{0,200}") {
            for sender in Sender::ALL {
                let _ = read(sender, &bytes);
                let _ = read(sender, text.as_bytes());
            }
        }
    }
}
