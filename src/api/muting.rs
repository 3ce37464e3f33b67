//! What the HTTP surface is told of silences, and asks for: the daemon's side of `/api/v2`.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::model::Labels;
use crate::silence::{Draft, SilenceError, Silences};

/// What the API stands on; implemented by the daemon.
pub trait Muting: Send + Sync {
    /// Now, milliseconds since the epoch.
    fn clock(&self) -> i64;
    /// All silences.
    fn silences(&self) -> Arc<Silences>;
    /// Makes or changes a silence; the answer is its id, and it is durable by then.
    fn set_silence(&self, draft: Draft) -> BoxFuture<'_, Result<String, SilenceFault>>;
    /// Ends a silence; it is durable by then.
    fn expire_silence(&self, id: String) -> BoxFuture<'_, Result<(), SilenceFault>>;
    /// The alerts that fire.
    fn firing(&self) -> Vec<FiringAlert>;
    /// Names of all receivers.
    fn receivers(&self) -> Vec<String>;
}

/// Why a silence was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SilenceFault {
    /// The client's mistake.
    #[error(transparent)]
    Refused(#[from] SilenceError),
    /// Ours.
    #[error("{0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An alert that fires, as Alertmanager would show it.
#[derive(Clone, Debug, Default)]
pub struct FiringAlert {
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// Since when it fires, milliseconds since the epoch.
    pub starts_at: i64,
    /// When its rule last looked.
    pub updated_at: i64,
    /// Where to look at its expression.
    pub generator_url: String,
    /// Ids of silences that mute it.
    pub silenced_by: Vec<String>,
    /// Names of open windows that mute it.
    pub muted_by: Vec<String>,
    /// Who is told of it.
    pub receivers: Vec<String>,
}
