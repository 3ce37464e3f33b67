//! What the daemon sends on: remote write, fed by polls, rules and our own metrics.

use std::sync::Arc;

use super::{DaemonError, Shared};
use crate::config::Config;
use crate::model::{Observation, Sample};
use crate::sink::{self, Prepared, Receiver, Sink, Valve, Work};
use crate::store::Kept;
use crate::store::recent::Taken;
use crate::telemetry::Telemetry;

/// Below the folder of the state.
const FOLDER: &str = "remote_write";

/// Opens the queues of all receivers of a configuration.
pub(super) fn open(config: &Config, telemetry: &Telemetry) -> Result<(Sink, Valve, Work), DaemonError> {
    Ok(sink::open(receivers(config), &config.file.storage.path.join(FOLDER), telemetry)?)
}

/// Opens what the receivers of a new configuration need; `None` where they are those of before.
pub(super) async fn prepare(valve: &Arc<Valve>, before: &Config, config: &Config) -> Result<Option<Prepared>, String> {
    if before.file.remote_write == config.file.remote_write {
        return Ok(None);
    }
    let (valve, receivers) = (valve.clone(), receivers(config));
    let opened = tokio::task::spawn_blocking(move || valve.prepare(receivers)).await;
    let opened = opened.map_err(|error| error.to_string())?;
    opened.map(Some).map_err(|error| format!("remote_write: {error}"))
}

/// The configuration was checked, so each of them is right.
fn receivers(config: &Config) -> Vec<Receiver> {
    config.file.remote_write.iter().filter_map(|entry| sink::check(entry).ok()).collect()
}

impl Shared {
    /// Takes an observation in; says what became of it, and what is to be offered to the sink.
    pub(super) fn observe(&self, observation: &Observation, about: &[Sample]) -> (Taken, Vec<Kept>) {
        let mut kept = Vec::new();
        let wanted = self.sink.is_wanted().then_some(&mut kept);
        let taken = self.recent.observe_into(observation, about, wanted);
        (taken, kept)
    }
}
