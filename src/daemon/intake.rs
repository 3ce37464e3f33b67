//! From the scheduler's channel into the recent window, and our own metrics by the same road.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::keep::Keeper;
use super::shared::Shared;
use crate::collect::prometheus::text::{TextLimits, read_text};
use crate::model::{Observation, TargetId};
use crate::schedule::Polled;
use crate::schedule::poll::unix_millis;

/// How often our own metrics become samples that rules can read. A scrape brings them up to date by itself.
const SELF_INTERVAL: Duration = Duration::from_secs(15);

/// The block of our own metrics. No target's id can hold a slash.
pub(super) const SELF: &str = "/davylamp";

/// Takes in observations until every sender is gone.
pub(super) async fn intake(shared: Arc<Shared>, keeper: Keeper, mut polled: mpsc::Receiver<Polled>) {
    while let Some(Polled { observation, about }) = polled.recv().await {
        let taken = shared.recent.observe(&observation, &about);
        for (limit, surplus) in [("series_per_target", taken.over_target_limit), ("series", taken.over_total_limit)] {
            if surplus > 0 {
                shared.telemetry.count_limit(limit);
                let text = format!(
                    "target {} brings more series than limits.{limit} allows: {surplus} samples of its last poll were dropped",
                    observation.target
                );
                shared.notice(limit, Some(text));
            }
        }
        let changed = shared.targets(|targets| {
            // A target that a reload removed while it was being polled is not brought back.
            let state = targets.get_mut(&observation.target)?;
            state.enter(&observation).then(|| state.clone())
        });
        if let Some(state) = changed {
            keeper.target(&observation.target, &state);
        }
        shared.telemetry.queue_depth.get_or_create(&vec![("queue", "observations".into())]).set(polled.len() as f64);
    }
}

/// Takes our own metrics in, now and then.
pub(super) async fn watch_ourselves(shared: Arc<Shared>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SELF_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => observe_ourselves(&shared),
        }
    }
}

/// Reads our own metrics into the window.
pub(super) fn observe_ourselves(shared: &Shared) {
    let telemetry = &shared.telemetry;
    for (kind, count) in shared.recent.series_by_kind() {
        telemetry.series.get_or_create(&vec![("kind", kind)]).set(count as f64);
    }
    let outcome = read_text(telemetry.encode().as_bytes(), &TextLimits::default());
    match outcome {
        Ok(reading) => {
            let target: TargetId = SELF.into();
            let observation = Observation { target, at: unix_millis(), took: Duration::ZERO, outcome: Ok(reading) };
            shared.recent.observe(&observation, &[]);
        }
        Err(error) => tracing::error!(%error, "cannot read our own metrics"),
    }
}
