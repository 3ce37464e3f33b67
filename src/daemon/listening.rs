//! Listens to the devices that `device_logs` names, those that were found and adopted included; a reload, a search and a
//! person's word begin and end by difference.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::world::View;
use crate::api::device_log::DeviceLog;
use crate::config::Config;
use crate::listen::{DeviceLogs, Ear, Heard, Line, Ring, Scribe};
use crate::model::{Target, TargetId};
use crate::schedule::poll::unix_millis;

/// How long the last lines may take to their files at shutdown.
const LAST_LINES: Duration = Duration::from_secs(5);

/// What was heard, by target. Written by the listening part.
#[derive(Default)]
pub(super) struct Logs(Mutex<BTreeMap<TargetId, Heard>>);

/// Who is listened to.
struct Listeners {
    shared: Arc<Shared>,
    scribe: Scribe,
    /// The section that they listen by.
    section: DeviceLogs,
    ears: JoinSet<TargetId>,
    /// Ears by target, and what ends each.
    running: BTreeMap<TargetId, (Arc<Target>, CancellationToken)>,
}

/// Listens until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut configs = shared.config.follow();
    let (scribe, work) = Scribe::new();
    let writing = tokio::task::spawn_blocking(work);
    let section = configs.borrow().file.device_logs.clone();
    let mut listeners = Listeners { shared, scribe, section, ears: JoinSet::new(), running: BTreeMap::new() };
    loop {
        let config = configs.borrow_and_update().clone();
        listeners.follow(&config).await;
        tokio::select! {
            () = stop.cancelled() => break,
            changed = configs.changed() => if changed.is_err() { stop.cancelled().await },
        }
        if stop.is_cancelled() {
            break;
        }
    }
    drop(listeners);
    if tokio::time::timeout(LAST_LINES, writing).await.is_err() {
        tracing::warn!("the disk is too slow for the last lines of device logs");
    }
}

impl Listeners {
    /// An ear for each device that is to be listened to; what was heard of it before stays.
    async fn follow(&mut self, config: &Config) {
        let plan = &config.device_logs;
        let wanted: BTreeMap<TargetId, Arc<Target>> = config
            .jobs
            .iter()
            .filter(|job| plan.wants(&job.target))
            .map(|job| (job.target.id.clone(), job.target.clone()))
            .collect();
        let same = self.section == config.file.device_logs;
        self.section = config.file.device_logs.clone();
        let mut going = 0_usize;
        for (target, stop) in self.running.values() {
            if !same || wanted.get(&target.id) != Some(target) {
                stop.cancel();
                going += 1;
            }
        }
        // Before the next one begins: both say under one name whether a connection stands.
        while going > 0 {
            match self.ears.join_next().await {
                Some(Ok(id)) => {
                    going -= usize::from(self.running.remove(&id).is_some_and(|(_, stop)| stop.is_cancelled()));
                }
                Some(Err(_)) => {}
                None => break,
            }
        }
        let mut logs = self.shared.logs.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|id, _| wanted.contains_key(id));
        let plan = Arc::new(plan.clone());
        for (id, target) in wanted {
            let heard = logs.entry(id.clone()).or_insert_with(|| Arc::new(Mutex::new(Ring::new(plan.lines)))).clone();
            heard.lock().unwrap_or_else(PoisonError::into_inner).resize(plan.lines);
            if self.running.contains_key(&id) {
                continue;
            }
            let stop = CancellationToken::new();
            self.running.insert(id.clone(), (target.clone(), stop.clone()));
            let (plan, scribe, telemetry) = (plan.clone(), self.scribe.clone(), self.shared.telemetry.clone());
            let ear = Ear { target, heard, plan, scribe, telemetry, clock: unix_millis };
            let panics = self.shared.telemetry.panics.clone();
            self.ears.spawn(async move {
                if AssertUnwindSafe(ear.listen(stop)).catch_unwind().await.is_err() {
                    panics.get_or_create(&vec![("task", "device log".to_string())]).inc();
                    tracing::error!(target = %id, "a panic while a device was listened to; please report it");
                }
                id
            });
        }
    }
}

impl DeviceLog for View {
    fn lines(&self, target: &str, after: u64, most: usize) -> Option<Vec<Line>> {
        let logs = self.shared.logs.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = logs.get(target)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(heard.after(after, most))
    }
}
