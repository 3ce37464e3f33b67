//! Listens to the devices that `device_logs` names; a reload begins and ends by difference.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::world::View;
use crate::api::device_log::DeviceLog;
use crate::config::Config;
use crate::listen::{Ear, Heard, Line, Ring};
use crate::model::TargetId;
use crate::schedule::poll::unix_millis;

/// What was heard, by target. Written by the listening part.
#[derive(Default)]
pub(super) struct Logs(Mutex<BTreeMap<TargetId, Heard>>);

/// Listens until `stop`.
pub(super) async fn run(shared: Arc<Shared>, mut configs: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
    loop {
        let config = configs.borrow_and_update().clone();
        let round = stop.child_token();
        let mut ears = begin(&shared, &config, &round);
        tokio::select! {
            () = stop.cancelled() => {}
            changed = configs.changed() => if changed.is_err() { stop.cancelled().await },
        }
        round.cancel();
        while ears.join_next().await.is_some() {}
        if stop.is_cancelled() {
            return;
        }
    }
}

/// An ear for each device that is to be listened to; what was heard of it before stays.
fn begin(shared: &Arc<Shared>, config: &Config, stop: &CancellationToken) -> JoinSet<()> {
    let mut ears = JoinSet::new();
    let mut logs = shared.logs.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut before = std::mem::take(&mut *logs);
    let plan = Arc::new(config.device_logs.clone());
    for job in config.jobs.iter().filter(|job| plan.wants(&job.target)) {
        let id = job.target.id.clone();
        let heard = before.remove(&id).unwrap_or_else(|| Arc::new(Mutex::new(Ring::new(plan.lines))));
        logs.insert(id, heard.clone());
        let (target, plan, telemetry) = (job.target.clone(), plan.clone(), shared.telemetry.clone());
        ears.spawn(Ear { target, heard, plan, telemetry, clock: unix_millis }.listen(stop.clone()));
    }
    ears
}

impl DeviceLog for View {
    fn lines(&self, target: &str, after: u64, most: usize) -> Option<Vec<Line>> {
        let logs = self.shared.logs.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = logs.get(target)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(heard.after(after, most))
    }
}
