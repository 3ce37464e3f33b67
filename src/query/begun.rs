//! What start timestamps tell a rate of a counter: that it was reset although it did not fall, that it was zero inside
//! of the window before its first sample, and that two samples count the same time twice.
//!
//! Rules as in Prometheus 3.14 (`start_timestamps.test`). A start timestamp that is not before its own sample, and one
//! that is not known, say nothing.

use crate::model::Starts;

use super::annotation::Remarks;
use super::window::Window;

/// Whether a counter began anew between neighbours that stand at `before` and `t`.
pub(super) fn is_reset(starts: &Starts, before: i64, t: i64) -> bool {
    if starts.is_empty() {
        return false;
    }
    let (previous, start) = (starts.at(before), starts.at(t));
    if start == 0 || start >= t || start < before {
        return false;
    }
    // A delta begins where the one before ends. So does the second sample of a counter of which nobody knows when it
    // began; the first one says so by having no start timestamp, or its own time.
    start > before || (previous != 0 && previous < before)
}

/// When the counter was zero, if that was inside of the window: the first sample at `first` says so.
pub(super) fn zero_inside(window: &Window, first: i64) -> Option<i64> {
    let start = window.starts.at(first);
    (start != 0 && start > window.start && start < first).then_some(start)
}

/// Warns when a sample began before the one before it stood, but not together with it.
pub(super) fn check_overlaps(window: &Window, times: impl Iterator<Item = i64>, remarks: &mut Remarks) {
    if window.starts.is_empty() {
        return;
    }
    let mut before: Option<(i64, i64)> = None;
    for t in times {
        let start = window.starts.at(t);
        if before.is_some_and(|(at, known)| start != 0 && start < at && start != known) {
            let name = window.name;
            return remarks.warn(format!(
                "sample has start time that overlaps with previous sample timestamp for metric {name:?}"
            ));
        }
        before = Some((t, start));
    }
}
