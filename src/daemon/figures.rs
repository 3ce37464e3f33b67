//! Figures that the store and the acting room keep as plain numbers, brought into our own metrics.

use std::sync::atomic::Ordering::Relaxed;

use crate::act::book::Book;
use crate::store::state::{COMMIT_BUCKETS, Stats};
use crate::telemetry::{Count, Telemetry};

/// Brings all of them up to date.
pub(super) fn refresh(telemetry: &Telemetry, stats: &Stats, book: &Book) {
    let none = Vec::new();
    telemetry.store_bytes.get_or_create(&none).set(stats.bytes_on_disk.load(Relaxed) as f64);
    telemetry.store_healthy.get_or_create(&none).set(f64::from(u8::from(stats.writable.load(Relaxed))));
    raise(&telemetry.store_errors.get_or_create(&none), stats.errors_total.load(Relaxed));
    let seconds = stats.commit_nanos_total.load(Relaxed) as f64 / 1e9;
    let bounds = COMMIT_BUCKETS.iter().copied().chain([f64::INFINITY]);
    let counts = stats.commit_buckets.iter().map(|count| count.load(Relaxed));
    telemetry.store_commit_duration.set(seconds, bounds.zip(counts));
    let metrics = book.metrics();
    for (result, count) in metrics.runs {
        raise(&telemetry.runs.get_or_create(&vec![("result", result.to_string())]), count);
    }
    for (reason, count) in metrics.suppressed {
        raise(&telemetry.run_suppressions.get_or_create(&vec![("reason", reason.to_string())]), count);
    }
    telemetry.runs_running.get_or_create(&none).set(metrics.running as f64);
    telemetry.runs_waiting_approval.get_or_create(&none).set(metrics.waiting_approval as f64);
    telemetry.runs_verifying.get_or_create(&none).set(metrics.verifying as f64);
    raise(&telemetry.episodes_exhausted.get_or_create(&none), metrics.exhausted);
    raise(&telemetry.run_record_failures.get_or_create(&none), metrics.ledger_failures);
    telemetry.queue_depth.get_or_create(&vec![("queue", "runs".into())]).set(metrics.queued as f64);
}

/// Brings a counter up to a total that is counted elsewhere.
pub(super) fn raise(counter: &Count, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
