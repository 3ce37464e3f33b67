//! Alerts that others send: Alertmanager's webhook (version 4) and Grafana's (unified, and the older one of its
//! dashboards). Pure but for reading secrets: bytes and a time come in, a [`Batch`] goes out, and the [`Board`] says what
//! fires.
//!
//! Whatever is posted is hostile: it is capped in size, count and depth, unknown fields are skipped, and nothing of it
//! is more than text later. What is deliberately absent: the HTTP surface, and the store.

mod access;
mod board;
mod read;

use std::time::Duration;

pub use access::{Access, AccessError, Hmac, Presented};
pub use board::{Board, Change, Posted};
pub use read::{Batch, Incoming, ReadError, Status, read};

/// Largest body, in bytes. Alertmanager cuts by `max_alerts`, Grafana likewise.
pub const MAX_BODY: usize = 1 << 20;

/// Who may send alerts, and how long they are believed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How Alertmanager proves itself; without it, nothing is taken from one.
    pub alertmanager: Option<Access>,
    /// How Grafana proves itself; without it, nothing is taken from one.
    pub grafana: Option<Access>,
    /// An alert that nobody has repeated or resolved for so long no longer counts as firing. Longer than the sender's
    /// `repeat_interval` (4h by default).
    #[serde(with = "crate::model::duration::serde_text")]
    #[schemars(schema_with = "crate::model::duration::schema")]
    pub expire: Duration,
    /// Most alerts that are kept; a webhook that brings more is answered 503.
    pub max_alerts: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { alertmanager: None, grafana: None, expire: Duration::from_secs(5 * 3600), max_alerts: 10_000 }
    }
}

impl Settings {
    /// What is wrong with the settings: path below `webhooks`, and what to do.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.expire < Duration::from_secs(60) {
            problems.push(("expire", "less than 1m is shorter than any repetition; write for example 5h".to_string()));
        }
        if self.max_alerts == 0 {
            problems.push(("max_alerts", "0 would refuse every alert; leave the senders out instead".to_string()));
        }
        problems
    }

    /// How a sender proves itself.
    pub fn access(&self, sender: Sender) -> Option<&Access> {
        match sender {
            Sender::Alertmanager => self.alertmanager.as_ref(),
            Sender::Grafana => self.grafana.as_ref(),
        }
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// Prometheus' Alertmanager.
    Alertmanager,
    /// Grafana.
    Grafana,
}

impl Sender {
    /// All senders.
    pub const ALL: [Sender; 2] = [Sender::Alertmanager, Sender::Grafana];

    /// The word in paths, labels and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Sender::Alertmanager => "alertmanager",
            Sender::Grafana => "grafana",
        }
    }
}
