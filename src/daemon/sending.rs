//! What the daemon sends on: remote write, fed by polls, rules and our own metrics.

use super::{DaemonError, Shared};
use crate::config::Config;
use crate::model::{Observation, Sample};
use crate::sink::{self, Receiver, Sink, Work};
use crate::store::Kept;
use crate::store::recent::Taken;
use crate::telemetry::Telemetry;

/// Below the folder of the state.
const FOLDER: &str = "remote_write";

/// Opens the queues of all receivers of a configuration.
pub(super) fn open(config: &Config, telemetry: &Telemetry) -> Result<(Sink, Option<Work>), DaemonError> {
    // The configuration was checked, so each of them is right.
    let receivers: Vec<Receiver> =
        config.file.remote_write.iter().filter_map(|entry| sink::check(entry).ok()).collect();
    Ok(sink::open(receivers, &config.file.storage.path.join(FOLDER), telemetry)?)
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
