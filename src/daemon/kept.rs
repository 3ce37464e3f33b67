//! Keeps what the last polls showed of drift: devices against their presets, judged as observations come in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::shared::Shared;
use super::world::View;
use crate::api::DriftRow;
use crate::api::drift::{DeviceDrift, Drifts};
use crate::collect::command::{APPLY_PRESET, Call, Value};
use crate::config::Config;
use crate::model::{Observation, Sample, Target, TargetId};
use crate::preset::Judgement;

/// Judgements by target. Written by intake.
#[derive(Default)]
pub(super) struct Kept(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// The configuration that the rest was made with.
    config: Option<Arc<Config>>,
    targets: BTreeMap<TargetId, Arc<Target>>,
    judged: BTreeMap<TargetId, Judgement>,
}

impl Shared {
    /// Compares what a poll showed with the device's preset: samples for the window. After a failed poll nothing is
    /// known, and nothing is said.
    pub(super) fn judge(&self, observation: &Observation) -> Vec<Sample> {
        let config = self.config.get();
        let mut book = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !book.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, &config)) {
            let of = |target: &Arc<Target>| (target.id.clone(), target.clone());
            let targets = config.jobs.iter().map(|job| of(&job.target)).collect();
            *book = Book { config: Some(config.clone()), targets, judged: BTreeMap::new() };
        }
        let reading = observation.outcome.as_ref().ok().filter(|_| !config.presets.is_empty());
        let Some((reading, target)) = reading.zip(book.targets.get(&observation.target).cloned()) else {
            book.judged.remove(&observation.target);
            return Vec::new();
        };
        let identity = reading.identity.clone().unwrap_or_default();
        let judgement = config.presets.judge(&target, &identity, &reading.settings);
        let samples = judgement.samples(&target);
        match judgement.is_empty() {
            true => book.judged.remove(&observation.target),
            false => book.judged.insert(observation.target.clone(), judgement),
        };
        samples
    }

    /// Puts into a command who is expected to take it, and the device's preset if it needs that. A device that was never
    /// polled has said nothing that a preset could be chosen by.
    pub(super) fn complete(&self, target: &Target, call: &mut Call) {
        let jobs = &self.config.get().jobs;
        call.known = jobs.iter().find(|job| job.target.id == target.id).map(|job| job.collector.clone());
        if call.command.name == APPLY_PRESET {
            let identity = self.targets(|targets| targets.get(&target.id).map(|state| state.identity.clone()));
            let config = self.config.get();
            let preset = identity.and_then(|identity| config.presets.of(target, &identity).cloned());
            call.value = preset.map_or(Value::None, Value::of_preset);
        }
    }

    fn judgements(&self) -> BTreeMap<TargetId, Judgement> {
        self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).judged.clone()
    }

    /// What is not as it should be, for the status page.
    pub(super) fn drift_rows(&self) -> Vec<DriftRow> {
        let mut rows = Vec::new();
        for (id, judgement) in self.judgements() {
            rows.extend(judgement.rows().filter(|row| row.wrong).map(|row| DriftRow {
                target: id.to_string(),
                preset: judgement.preset.clone().unwrap_or_default(),
                setting: row.setting,
                wanted: row.wanted,
                found: row.found,
            }));
        }
        rows
    }
}

impl Drifts for View {
    fn drifts(&self) -> Vec<DeviceDrift> {
        let device = |(id, judgement): (TargetId, Judgement)| DeviceDrift { target: id.to_string(), judgement };
        self.shared.judgements().into_iter().map(device).collect()
    }
}
