//! Self-metrics of the searches for miners.

use super::{Counters, Gauges, List};

/// What searching comes to.
#[derive(Clone)]
pub struct DiscoveryMetrics {
    /// Devices by state: pending, adopted, removed.
    pub devices: Gauges,
    /// Searches that ended.
    pub searches: Counters,
    /// Addresses that were asked.
    pub addresses: Counters,
    /// What was noticed, by event: new, moved, kind, adopted, nameless, conflict, held.
    pub events: Counters,
    /// When the last search ended.
    pub last: Gauges,
    /// How long it took.
    pub last_duration: Gauges,
}

impl DiscoveryMetrics {
    pub(super) fn register(list: &mut List) -> Self {
        DiscoveryMetrics {
            devices: list.gauge("davylamp_discovery_devices", "Devices that were found, by what was decided"),
            searches: list.counter("davylamp_discovery_searches", "Searches for miners that ended"),
            addresses: list.counter("davylamp_discovery_addresses", "Addresses that were asked"),
            events: list.counter("davylamp_discovery_events", "What searches noticed, by event"),
            last: list.gauge(
                "davylamp_discovery_last_search_timestamp_seconds",
                "When the last search ended, seconds since the epoch",
            ),
            last_duration: list
                .gauge("davylamp_discovery_last_search_duration_seconds", "How long the last search took"),
        }
    }
}
