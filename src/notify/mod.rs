//! Who is told of alerts: Alertmanagers, and receivers of our own (mail, chat, pager) where there is none.
//!
//! ```text
//!            ┌─► alertmanager::Fleet ─► POST /api/v2/alerts of every one
//! Notice[] ──┤
//!            └─► Dispatcher (routes, groups, log) ─► Letter ─► receiver ─► Parcel ─► the world
//!                                        Outbox ─────┘
//! ```
//!
//! Level-triggered, as the acting room is: every second it is asked anew what fires and who knows of it. So nothing that a
//! crash or an outage swallowed is lost, the newest state wins, and there is no queue of stale messages. Invariants:
//! [`Dispatcher`] and the receivers' `render` are pure; what was sent is durable before it counts as sent; text of alerts is
//! hostile and is escaped for each target by its own file; an URL with a token is a secret.

pub mod alertmanager;
pub mod check;
pub mod dispatch;
pub mod letter;
pub mod outbox;
pub mod parcel;
pub mod receiver;
pub mod route;
pub mod service;
pub mod settings;

use std::sync::Arc;
use std::time::Duration;

use crate::model::Labels;
use crate::silence::Silences;

pub use check::Checked;
pub use letter::Message;
pub use outbox::{Outbox, OutboxError};

/// An alert as receivers are told of it. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Labels with `alertname`.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: i64,
    /// When it resolved; `None` while it fires.
    pub resolved_at: Option<i64>,
    /// Where to look at its expression.
    pub generator_url: String,
    /// How often its rule is evaluated.
    pub interval: Duration,
}

impl Notice {
    /// `firing` or `resolved`.
    pub fn status(&self) -> &'static str {
        if self.resolved_at.is_some() { "resolved" } else { "firing" }
    }
}

/// The daemon's knowledge, asked every second. Calls must be quick: they read shared state, no disk.
pub trait World: Send + Sync {
    /// Wall clock, milliseconds since the epoch.
    fn now(&self) -> i64;
    /// Alerts that fire, and those that resolved lately.
    fn notices(&self) -> Arc<Vec<Notice>>;
    /// Whether an alert with these labels is silenced, or muted by an open window.
    fn muted(&self, labels: &Labels) -> bool;
    /// Whether the maintenance window of this name is open.
    fn window_open(&self, name: &str) -> bool;
    /// Whom to tell, as it is configured at this moment.
    fn checked(&self) -> Arc<Checked>;
    /// Takes note of silences that Alertmanagers hold.
    fn heard(&self, silences: Silences);
}
