//! What a receiver is told, before it is written in any service's own way. Texts are hostile: they come from devices.

use serde_json::json;

use super::Notice;
use crate::model::Labels;
use crate::rules::template::{Data, Template};
use crate::silence::rfc3339;

/// Alerts that a text lists; the rest is counted. A payload for machines has its own limit.
const LISTED: usize = 20;
/// Longest line of a default text, in characters.
const LINE: usize = 400;
/// Most alerts in a payload.
pub const MOST_ALERTS: usize = 1000;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// At least one alert fires.
    Firing,
    /// All is well again.
    Resolved,
    /// Not about alerts: a message of automation.
    Note,
}

impl Status {
    /// The word in payloads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
            Status::Note => "note",
        }
    }
}

/// A message that is about no alert group: a step of automation, an approval to be given, a test.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// One line.
    pub title: String,
    /// Some lines.
    pub text: String,
    /// `critical`, `warning`, `info`, …; for services that know levels.
    #[serde(default)]
    pub severity: String,
    /// What one may do: words and URL.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// Messages of one key are about one thing: a pager shows them as one. Empty for one of its own.
    #[serde(default)]
    pub key: String,
}

/// What is told, complete.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Name of the receiver.
    pub receiver: String,
    /// One line.
    pub title: String,
    /// Some lines.
    pub text: String,
    /// How it stands.
    pub status: Status,
    /// The highest of the alerts' `severity` labels.
    pub severity: String,
    /// Stable for one group: deduplicates and threads.
    pub key: String,
    /// Where to look; empty when `server.external_url` is not set.
    pub link: String,
    /// What one may do: words and URL.
    pub links: Vec<(String, String)>,
    /// Alertmanager's webhook payload, version 4.
    pub payload: serde_json::Value,
    /// When it was written, milliseconds since the epoch.
    pub at: i64,
}

/// A group of alerts as it is told of.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// Name of the receiver.
    pub receiver: &'a str,
    /// Alertmanager's key of the group.
    pub key: &'a str,
    /// Labels that make the group.
    pub labels: &'a Labels,
    /// Firing and resolved alerts.
    pub alerts: &'a [Notice],
    /// `server.external_url`.
    pub external_url: &'a str,
    /// Most alerts in the payload.
    pub max_alerts: usize,
    /// Now, milliseconds since the epoch.
    pub at: i64,
}

/// The templates of a receiver; `None` for the defaults.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    /// Of the title.
    pub title: Option<Template>,
    /// Of the text.
    pub text: Option<Template>,
}

impl Letter {
    /// The letter about a group. A template that fails is replaced by the default, with the reason below it: an alert
    /// that is not told of because of a template would be worse than an ugly one.
    pub fn of_group(group: &Group<'_>, templates: &Templates) -> Letter {
        let firing = group.alerts.iter().filter(|alert| alert.resolved_at.is_none()).count();
        let status = if firing > 0 { Status::Firing } else { Status::Resolved };
        let payload = payload(group, status);
        let mut faults = String::new();
        let mut expand = |template: &Option<Template>, default: String| match template {
            None => default,
            Some(template) => match template.expand_data(data(group, status), group.external_url, group.at) {
                Ok(text) => text,
                Err(error) => {
                    faults.push_str(&format!("\n(the receiver's template failed: {error})"));
                    default
                }
            },
        };
        let title = expand(&templates.title, title(group, status, firing));
        let mut text = expand(&templates.text, text(group));
        text.push_str(&faults);
        let severities = group.alerts.iter().filter_map(|alert| alert.labels.get("severity"));
        let severity = severities.max_by_key(|word| rank(word)).unwrap_or_default().to_string();
        Letter {
            receiver: group.receiver.to_string(),
            title: one_line(&title),
            text,
            status,
            severity,
            key: group.key.to_string(),
            link: group.external_url.to_string(),
            links: Vec::new(),
            payload,
            at: group.at,
        }
    }

    /// The letter about a message. `id` is its key where it has none.
    pub fn of_message(message: &Message, receiver: &str, external_url: &str, id: &str, at: i64) -> Letter {
        let key = if message.key.is_empty() { id.to_string() } else { message.key.clone() };
        let links: Vec<_> = message.links.iter().map(|(text, url)| json!({"text": text, "url": url})).collect();
        let payload = json!({
            "version": "4", "groupKey": key, "truncatedAlerts": 0, "status": "note", "receiver": receiver,
            "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": external_url, "alerts": [],
            "message": {"title": message.title, "text": message.text, "severity": message.severity, "links": links},
        });
        Letter {
            receiver: receiver.to_string(),
            title: one_line(&message.title),
            text: message.text.clone(),
            status: Status::Note,
            severity: message.severity.clone(),
            key,
            link: external_url.to_string(),
            links: message.links.clone(),
            payload,
            at,
        }
    }

    /// Title, text and links as plain text, for services that know no more.
    pub fn body(&self) -> String {
        let links: String = self.links.iter().map(|(text, url)| format!("\n{text}: {url}")).collect();
        format!("{}{links}", self.text.trim_end())
    }
}

/// How grave a severity is; words that nobody knows come between `info` and `warning`.
pub fn rank(severity: &str) -> u8 {
    match severity {
        "critical" | "page" | "emergency" => 4,
        "error" | "major" => 3,
        "warning" | "minor" => 2,
        "info" | "none" | "" => 0,
        _ => 1,
    }
}

/// A text cut to so many characters, with an ellipsis in place of the rest.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_string(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A text without line ends and other control characters.
pub fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Labels that all alerts share.
fn common(alerts: &[Notice], of: impl Fn(&Notice) -> &Labels) -> Labels {
    let Some((first, rest)) = alerts.split_first() else { return Labels::empty() };
    let shared = |(name, value): &(&str, &str)| rest.iter().all(|alert| of(alert).get(name) == Some(value));
    Labels::new(of(first).iter().filter(shared))
}

fn title(group: &Group<'_>, status: Status, firing: usize) -> String {
    let shared = common(group.alerts, |alert| &alert.labels);
    let name = group.labels.get("alertname").or(shared.get("alertname")).unwrap_or("alerts");
    let rest: Vec<&str> =
        group.labels.iter().filter(|(name, _)| *name != "alertname").map(|(_, value)| value).collect();
    let count = if status == Status::Firing { format!(":{firing}") } else { String::new() };
    let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(" ")) };
    cut(&format!("[{}{count}] {name}{rest}", status.as_str().to_uppercase()), LINE)
}

fn text(group: &Group<'_>) -> String {
    let mut lines = Vec::new();
    for alert in group.alerts.iter().take(LISTED) {
        let note = |name| alert.annotations.get(name).filter(|text| !text.is_empty());
        let labels = || alert.labels.filter(|name| group.labels.get(name).is_none() && name != "alertname").to_string();
        let said = note("summary").or(note("description")).or(note("message")).map_or_else(labels, String::from);
        let resolved = if alert.resolved_at.is_some() { "resolved: " } else { "" };
        lines.push(cut(&format!("• {resolved}{}", one_line(&said)), LINE));
        if let Some(url) = note("runbook_url") {
            lines.push(cut(&format!("  {}", one_line(url)), LINE));
        }
    }
    if group.alerts.len() > LISTED {
        lines.push(format!("… and {} more", group.alerts.len() - LISTED));
    }
    lines.join("\n")
}

/// Go's zero time, which Alertmanager writes for the end of an alert that fires.
const NO_END: &str = "0001-01-01T00:00:00Z";

fn payload(group: &Group<'_>, status: Status) -> serde_json::Value {
    let most = if group.max_alerts == 0 { MOST_ALERTS } else { group.max_alerts.min(MOST_ALERTS) };
    let alert = |alert: &Notice| {
        json!({
            "status": alert.status(),
            "labels": alert.labels,
            "annotations": alert.annotations,
            "startsAt": rfc3339(alert.starts_at),
            "endsAt": alert.resolved_at.map_or(NO_END.to_string(), rfc3339),
            "generatorURL": alert.generator_url,
            "fingerprint": format!("{:016x}", alert.labels.fingerprint()),
        })
    };
    json!({
        "version": "4",
        "groupKey": group.key,
        "truncatedAlerts": group.alerts.len().saturating_sub(most),
        "status": status.as_str(),
        "receiver": group.receiver,
        "groupLabels": group.labels,
        "commonLabels": common(group.alerts, |alert| &alert.labels),
        "commonAnnotations": common(group.alerts, |alert| &alert.annotations),
        "externalURL": group.external_url,
        "alerts": group.alerts.iter().take(most).map(alert).collect::<Vec<_>>(),
    })
}

/// Alertmanager's template data.
fn data(group: &Group<'_>, status: Status) -> Data {
    let text = |text: &str| Data::Text(text.to_string());
    let alert = |alert: &Notice| {
        Data::Map(vec![
            ("Status", text(alert.status())),
            ("Labels", Data::Labels(alert.labels.clone())),
            ("Annotations", Data::Labels(alert.annotations.clone())),
            ("StartsAt", Data::Time(alert.starts_at)),
            ("EndsAt", Data::Time(alert.resolved_at.unwrap_or_default())),
            ("GeneratorURL", text(&alert.generator_url)),
            ("Fingerprint", Data::Text(format!("{:016x}", alert.labels.fingerprint()))),
        ])
    };
    Data::Map(vec![
        ("Receiver", text(group.receiver)),
        ("Status", text(status.as_str())),
        ("Alerts", Data::List(group.alerts.iter().take(MOST_ALERTS).map(alert).collect())),
        ("GroupLabels", Data::Labels(group.labels.clone())),
        ("CommonLabels", Data::Labels(common(group.alerts, |alert| &alert.labels))),
        ("CommonAnnotations", Data::Labels(common(group.alerts, |alert| &alert.annotations))),
        ("ExternalURL", text(group.external_url)),
    ])
}
