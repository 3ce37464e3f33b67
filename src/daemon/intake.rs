//! From the scheduler's channel into the recent window, and our own metrics by the same road.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::keep::Keeper;
use super::offenders::LIMITS;
use super::shared::Shared;
use super::world::View;
use crate::collect::prometheus::text::{TextLimits, read_text};
use crate::model::{Observation, TargetId};
use crate::schedule::Polled;
use crate::schedule::poll::unix_millis;

/// How often our own metrics become samples that rules can read. A scrape brings them up to date by itself.
const SELF_INTERVAL: Duration = Duration::from_secs(15);

/// The block of our own metrics. No target's id can hold a slash.
pub(super) const SELF: &str = "/davylamp";

/// What we say ourselves may be long: names of groups and ids of targets are the owner's.
const UNLIMITED: TextLimits =
    TextLimits { max_samples: usize::MAX, max_labels: usize::MAX, max_name: usize::MAX, max_value: usize::MAX };

/// Takes in observations until every sender is gone.
pub(super) async fn intake(shared: Arc<Shared>, keeper: Keeper, mut polled: mpsc::Receiver<Polled>) {
    for limit in LIMITS {
        // From 0 on, so that `increase()` sees the first hit.
        shared.telemetry.limit_hits.get_or_create(&vec![("limit", limit.to_string())]).inc_by(0);
    }
    while let Some(Polled { observation, mut about }) = polled.recv().await {
        shared.see_awake(&keeper, &observation).await;
        about.extend(shared.judge(&observation));
        let (taken, kept) = shared.observe(&observation, &about);
        shared.sink.offer(kept).await;
        for (limit, surplus) in LIMITS.into_iter().zip([taken.over_target_limit, taken.over_total_limit]) {
            shared.over_limit(limit, &observation.target, surplus);
        }
        let changed = shared.targets(|targets| {
            // A target that a reload removed while it was being polled is not brought back.
            let state = targets.get_mut(&observation.target)?;
            state.enter(&observation).then(|| state.clone())
        });
        if let Some(state) = changed {
            shared.identified.notify_one();
            keeper.target(&observation.target, &state);
        }
        shared.telemetry.queue_depth.get_or_create(&vec![("queue", "observations".into())]).set(polled.len() as f64);
    }
}

/// Takes our own metrics in, now and then: rules read them, whether anybody scrapes us or not.
pub(super) async fn watch_ourselves(view: Arc<View>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SELF_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => view.observe_ourselves(),
        }
    }
}

/// Reads our own metrics into the window.
pub(super) fn observe_ourselves(shared: &Shared) {
    let telemetry = &shared.telemetry;
    for (kind, count) in shared.recent.series_by_kind() {
        telemetry.series.get_or_create(&vec![("kind", kind)]).set(count as f64);
    }
    let outcome = read_text(telemetry.encode().as_bytes(), &UNLIMITED);
    match outcome {
        Ok(reading) => {
            let target: TargetId = SELF.into();
            // Scrapes within one second share a point: who scrapes in a loop must not fill the window.
            let at = unix_millis() / 1000 * 1000;
            let observation = Observation { target, at, took: Duration::ZERO, outcome: Ok(reading) };
            let (_, kept) = shared.observe(&observation, &[]);
            shared.sink.offer_if_idle(kept);
        }
        Err(error) => tracing::error!(%error, "cannot read our own metrics"),
    }
}
