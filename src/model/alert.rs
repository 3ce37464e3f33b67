//! Alerts and their changes of state.

use std::sync::Arc;

use super::labels::Labels;

/// Where an alert stands. Inactive alerts do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The expression holds, but not yet for as long as `for` says.
    Pending,
    /// The expression holds long enough, or `keep_firing_for` keeps it so.
    Firing,
    /// It held, and no longer does.
    Resolved,
}

impl AlertState {
    /// The label value in `ALERTS`.
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
            AlertState::Resolved => "resolved",
        }
    }
}

/// One alert of one rule: one label set. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Alert {
    /// `file;group;name`-like key of the rule it comes from, unique and stable across restarts.
    pub rule: Arc<str>,
    /// Labels with `alertname`, templates expanded.
    pub labels: Labels,
    /// Annotations, templates expanded.
    pub annotations: Labels,
    /// Current state.
    pub state: AlertState,
    /// The expression's last value; NaN when there is none.
    #[serde(deserialize_with = "nan_for_null")]
    pub value: f64,
    /// When the expression began to hold.
    pub active_at: i64,
    /// When it began to fire.
    pub fired_at: Option<i64>,
    /// When it resolved.
    pub resolved_at: Option<i64>,
    /// Since when the expression no longer holds while `keep_firing_for` keeps the alert firing.
    pub keep_firing_since: Option<i64>,
    /// Whether it resolved *with data*; kept with it, so that a resolve that a crash kept from being heard is told again.
    #[serde(default)]
    pub resolved_with_data: bool,
    /// When the expression was last seen to hold.
    pub last_seen_at: i64,
}

impl Alert {
    /// An alert of a rule that nobody remembers any more: resolved, and all of its rule's series count for it.
    pub fn forgotten(rule: Arc<str>, labels: Labels, at: i64) -> Alert {
        Alert {
            rule,
            labels,
            annotations: Labels::empty(),
            state: AlertState::Resolved,
            value: 0.0,
            active_at: at,
            fired_at: Some(at),
            resolved_at: Some(at),
            keep_firing_since: None,
            resolved_with_data: false,
            last_seen_at: at,
        }
    }
}

/// JSON has no NaN and writes null: an alert that is kept with it must be readable again.
fn nan_for_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(<Option<f64> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// An alert changed state: the only message between rules and action.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The state before; `None` for a new alert.
    pub from: Option<AlertState>,
    /// The alert as it is now; `alert.state` is the new state.
    pub alert: Alert,
    /// When the rule was evaluated, milliseconds since the epoch.
    pub at: i64,
    /// True when the expression is false *with data*: for a resolve that automation may believe.
    pub positive: bool,
    /// True when the rule's range is not yet covered by samples: shown, but nothing for automation to act on.
    pub warming_up: bool,
}
