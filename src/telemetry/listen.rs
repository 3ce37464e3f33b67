//! Self-metrics of device logs.

use super::{Counters, Gauges, List};

/// What is heard of devices, by `target`.
pub struct ListenMetrics {
    /// Whether a connection stands.
    pub connected: Gauges,
    /// Lines that came.
    pub lines: Counters,
    /// Lines that were not kept, by reason.
    pub dropped: Counters,
    /// Lines in which a pattern was found, by `counter`.
    pub matches: Counters,
}

impl ListenMetrics {
    pub(super) fn new(list: &mut List) -> Self {
        ListenMetrics {
            connected: list.gauge("davylamp_device_log_connected", "1 while a device is listened to"),
            lines: list.counter("davylamp_device_log_lines", "Lines that a device said"),
            dropped: list.counter(
                "davylamp_device_log_lines_dropped",
                "Lines or messages of a device that were too many (budget), or that the disk was too slow for (disk)",
            ),
            matches: list.counter("davylamp_device_log_matches", "Lines of a device in which a pattern was found"),
        }
    }
}
