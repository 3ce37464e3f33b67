//! What the running parts share: snapshots that one part writes and the others read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use super::devices::Busy;
use super::explain::Desk;
use super::kept::Kept;
use super::listening::Logs;
use super::offenders::Offenders;
use super::paused::Paused;
use crate::api::curtailments::CurtailmentRow;
use crate::api::prometheus::Group;
use crate::config::Config;
use crate::ingest::Intake;
use crate::model::{Alert, Identity, Observation, TargetId};
use crate::silence::Silences;
use crate::sink::Sink;
use crate::store::{Recent, Samples};
use crate::telemetry::Telemetry;

/// Shared by all parts of one daemon. Each field has one writer, named beside it.
pub(super) struct Shared {
    pub(super) telemetry: Arc<Telemetry>,
    /// Written by intake and the rules.
    pub(super) recent: Arc<Recent>,
    /// The window and the history. Read it within `spawn_blocking` only.
    pub(super) samples: Samples,
    /// Where samples are sent on to.
    pub(super) sink: Sink,
    /// Takes in what others push, and knows what they say of it.
    pub(super) intake: Arc<Intake>,
    /// Seconds since the epoch.
    pub(super) started: i64,
    /// Written by the control task.
    pub(super) config: Snapshot<Config>,
    /// Written by intake.
    pub(super) targets: Mutex<BTreeMap<TargetId, TargetState>>,
    /// All alerts, those that resolved lately included. Written by the rules.
    pub(super) alerts: Snapshot<Vec<Alert>>,
    /// Alerts of others that fire. Written by the inbox of webhooks.
    pub(super) posted: Snapshot<Vec<Alert>>,
    /// What is known about each rule. Written by the rules.
    pub(super) rules: Snapshot<BTreeMap<String, RuleNote>>,
    /// Written by the keeper of silences.
    pub(super) silences: Snapshot<Silences>,
    /// Rule groups as `/api/v1/rules` shows them. Written by the rules.
    pub(super) groups: Snapshot<Vec<Group>>,
    /// Silences of Alertmanagers, where `respect_silences` says so. Written by the notifying part.
    pub(super) heard_silences: Snapshot<Silences>,
    /// What a person must know, by subject. Written by whoever sees it.
    pub(super) notices: Mutex<BTreeMap<&'static str, String>>,
    /// Written by whoever appends samples.
    pub(super) offenders: Offenders,
    /// Written by intake.
    pub(super) kept: Kept,
    /// What devices said by themselves. Written by the listening part.
    pub(super) logs: Logs,
    /// Questions about rules, answered by the rules' task.
    pub(super) desk: Desk,
    /// Written by the curtailer.
    pub(super) curtailed: Snapshot<Vec<CurtailmentRow>>,
    /// A target has said for the first time, or anew, who it is. Rung by intake.
    pub(super) identified: Notify,
    /// Devices that something is at work on.
    pub(super) busy: Busy,
    /// Devices that we paused. Written by whoever pauses and wakes them, and by intake.
    pub(super) paused: Paused,
}

/// A value that is replaced as a whole.
pub(super) struct Snapshot<T>(watch::Sender<Arc<T>>);

impl<T> Snapshot<T> {
    pub(super) fn new(value: Arc<T>) -> Self {
        Snapshot(watch::Sender::new(value))
    }

    pub(super) fn get(&self) -> Arc<T> {
        self.0.borrow().clone()
    }

    pub(super) fn set(&self, value: Arc<T>) {
        self.0.send_replace(value);
    }

    /// Tells of each new value.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<T>> {
        self.0.subscribe()
    }
}

/// What the last polls of a target said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TargetState {
    pub(super) up: Option<bool>,
    /// Since when it is so, milliseconds since the epoch.
    pub(super) since: i64,
    pub(super) identity: Identity,
    /// Milliseconds since the epoch.
    pub(super) polled: Option<i64>,
    pub(super) took_ms: f64,
    pub(super) samples: usize,
    pub(super) detail: String,
}

impl TargetState {
    /// Enters an observation; says whether something changed that is worth keeping across restarts.
    pub(super) fn enter(&mut self, observation: &Observation) -> bool {
        let up = observation.outcome.is_ok();
        self.polled = Some(observation.at);
        self.took_ms = observation.took.as_secs_f64() * 1000.0;
        let mut changed = self.up != Some(up);
        if changed {
            self.since = observation.at;
        }
        self.up = Some(up);
        match &observation.outcome {
            Ok(reading) => {
                self.samples = reading.samples.len();
                self.detail = reading.notes.join("; ");
                if let Some(identity) = reading.identity.as_ref().filter(|identity| **identity != self.identity) {
                    self.identity = identity.clone();
                    changed = true;
                }
            }
            Err(failure) => {
                self.samples = 0;
                self.detail = failure.to_string();
            }
        }
        changed
    }
}

/// What the rules task says of a rule to the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RuleNote {
    pub(super) name: String,
    pub(super) warming_up: bool,
    /// As written.
    pub(super) expr: String,
    /// How often it is evaluated.
    pub(super) interval: std::time::Duration,
    /// Whether it reads what targets measure, not only whether they answer.
    pub(super) needs_values: bool,
    /// For the status page; empty when there is nothing to say.
    pub(super) remark: String,
}

impl Shared {
    pub(super) fn new(config: Arc<Config>, samples: Samples, telemetry: Arc<Telemetry>, started: i64) -> Self {
        let (recent, ingest) = (samples.recent().clone(), config.file.ingest.remote_write.clone());
        Shared {
            intake: Arc::new(Intake::new(ingest, recent.clone(), telemetry.clone())),
            telemetry,
            recent,
            samples,
            sink: Sink::default(),
            started,
            config: Snapshot::new(config),
            targets: Mutex::default(),
            alerts: Snapshot::new(Arc::default()),
            posted: Snapshot::new(Arc::default()),
            rules: Snapshot::new(Arc::default()),
            silences: Snapshot::new(Arc::default()),
            groups: Snapshot::new(Arc::default()),
            heard_silences: Snapshot::new(Arc::default()),
            notices: Mutex::default(),
            offenders: Offenders::default(),
            kept: Kept::default(),
            logs: Logs::default(),
            desk: Desk::default(),
            curtailed: Snapshot::new(Arc::default()),
            identified: Notify::new(),
            busy: Busy::default(),
            paused: Paused::default(),
        }
    }

    /// Reads or changes the target states; nothing is awaited within.
    pub(super) fn targets<T>(&self, work: impl FnOnce(&mut BTreeMap<TargetId, TargetState>) -> T) -> T {
        work(&mut self.targets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets or clears what a person must know about a subject. Says whether that is new.
    pub(super) fn notice(&self, subject: &'static str, text: Option<String>) -> bool {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match text.clone() {
            Some(text) => notices.insert(subject, text),
            None => notices.remove(subject),
        };
        before != text
    }

    pub(super) fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
