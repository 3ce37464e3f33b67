//! The history's own task: saves what is new in the window every few minutes and at the end, and tends what is on disk.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::figures::raise;
use super::shared::Shared;
use crate::config::Config;
use crate::rules::Engine;
use crate::schedule::poll::unix_millis;
use crate::store::{History, HistoryError, HistoryOptions, Samples};

/// How often old partitions are looked at.
const TEND_EVERY: Duration = Duration::from_secs(60);

/// A restart that takes no longer leaves no gap that rules would have to warm up for: it is shorter than the look-back of
/// a query, and than a few polls.
const SHORT_GAP: Duration = Duration::from_secs(60);

/// With a history, what rules reach back for beyond this is read from the disk.
const LONGEST_IN_MEMORY: Duration = Duration::from_secs(6 * 3600);

/// Points kept beyond what the rules reach back for, so that one late evaluation still finds its range covered.
const WINDOW_MARGIN: Duration = Duration::from_secs(60);

/// How long points must be kept in memory for an engine.
pub(super) fn window(engine: &Engine, config: &Config) -> Duration {
    let needed = engine.window() + WINDOW_MARGIN;
    let history = &config.file.history;
    if !history.enabled {
        return needed;
    }
    // What is not saved yet must still be there when one save came late.
    needed.min(LONGEST_IN_MEMORY).max(history.flush_interval * 2 + WINDOW_MARGIN)
}

/// Opens the history of a configuration; a daemon polls and alerts without one, too. Says what is wrong.
pub(super) async fn open(config: &Config) -> (Option<Arc<History>>, Option<String>) {
    let settings = &config.file.history;
    if !settings.enabled {
        return (None, None);
    }
    let options = HistoryOptions {
        retention: settings.retention,
        max_bytes: settings.max_bytes,
        reserve_bytes: settings.reserve_bytes,
        matchers: config.history_match.clone(),
        ..HistoryOptions::new(config.file.storage.path.join("history"))
    };
    match tokio::task::spawn_blocking(move || History::open(options)).await {
        Ok(Ok(history)) => (Some(Arc::new(history)), None),
        Ok(Err(error)) => {
            tracing::error!(%error, "no history is kept");
            (None, Some(format!("No history is kept: {error}")))
        }
        Err(error) => (None, Some(format!("No history is kept: {error}"))),
    }
}

/// Since when there are samples without a gap, those of the history included.
pub(super) async fn covered_since(samples: &Samples) -> i64 {
    let (samples, now) = (samples.clone(), unix_millis());
    let since = move || samples.history().and_then(|history| history.covered_since(now, SHORT_GAP));
    tokio::task::spawn_blocking(since).await.ok().flatten().unwrap_or(now)
}

/// Saves and tends until `stop`, and saves once more then.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::join!(keep(shared.clone(), stop.clone()), tend(shared, stop));
}

async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    let Some(history) = shared.samples.history().cloned() else { return stop.cancelled().await };
    let every = shared.config.get().file.history.flush_interval;
    // The first one comes soon, so that what does not work is known.
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + every.min(SHORT_GAP), every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => save(&shared, &history).await,
        }
    }
    history.stop();
    save(&shared, &history).await;
}

async fn save(shared: &Arc<Shared>, history: &Arc<History>) {
    let (recent, saving) = (shared.recent.clone(), history.clone());
    let outcome = tokio::task::spawn_blocking(move || saving.save(&recent, unix_millis())).await;
    match outcome {
        Ok(outcome) => tell(shared, history, "history", outcome.map(drop)),
        Err(error) => tracing::error!(%error, "the history was not saved"),
    }
}

/// Removes and packs partitions until `stop`.
async fn tend(shared: Arc<Shared>, stop: CancellationToken) {
    let Some(history) = shared.samples.history().cloned() else { return stop.cancelled().await };
    let mut tick = tokio::time::interval(TEND_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => {
                let tending = history.clone();
                match tokio::task::spawn_blocking(move || tending.tend(unix_millis())).await {
                    Ok(outcome) => tell(&shared, &history, "history upkeep", outcome),
                    Err(error) => tracing::error!(%error, "the history was not looked after"),
                }
            }
        }
    }
}

/// Puts an outcome, and what was set aside, on the status page; a failure is logged once.
fn tell(shared: &Shared, history: &History, subject: &'static str, outcome: Result<(), HistoryError>) {
    let notice = outcome.err().map(|error| format!("The history is not written: {error}"));
    if shared.notice(subject, notice.clone())
        && let Some(notice) = notice
    {
        tracing::error!("{notice}");
    }
    let aside = history.set_aside();
    let about = aside.last().map(|last| {
        let (path, reason) = (last.path.display(), &last.reason);
        format!("{} damaged part(s) of the history were set aside; the last one is {path}: {reason}", aside.len())
    });
    shared.notice("damaged history", about);
}

/// Brings the history's figures into our own metrics.
pub(super) fn refresh(shared: &Shared) {
    let Some(history) = shared.samples.history() else { return };
    let (stats, metrics, none) = (history.stats(), &shared.telemetry.history, Vec::new());
    let chunk_bytes = stats.chunk_bytes.load(Relaxed) as f64;
    let gauges = [
        (&metrics.bytes, stats.bytes.load(Relaxed) as f64),
        (&metrics.chunk_bytes, chunk_bytes),
        (&metrics.samples, stats.samples.load(Relaxed) as f64),
        (&metrics.chunks, stats.chunks.load(Relaxed) as f64),
        (&metrics.partitions, stats.partitions.load(Relaxed) as f64),
        (&metrics.series, stats.series.load(Relaxed) as f64),
        (&metrics.saved_until, stats.saved_until.load(Relaxed) as f64 / 1000.0),
    ];
    for (gauge, value) in gauges {
        gauge.get_or_create(&none).set(value);
    }
    raise(&metrics.saved_samples.get_or_create(&none), stats.samples_total.load(Relaxed));
    raise(&metrics.errors.get_or_create(&none), stats.errors_total.load(Relaxed));
}
