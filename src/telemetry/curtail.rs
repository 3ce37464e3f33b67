//! The self-metrics of curtailments.

use super::{Counters, Gauges, List};

/// What is curtailed, and what came of the devices that were told.
pub struct CurtailmentMetrics {
    /// Devices that a curtailment has changed and will bring back.
    pub targets: Gauges,
    /// What came of devices that were to be curtailed or brought back.
    pub actions: Counters,
}

impl CurtailmentMetrics {
    pub(super) fn new(list: &mut List) -> Self {
        CurtailmentMetrics {
            targets: list
                .gauge("davylamp_curtailed_targets", "Devices that a curtailment has changed and will bring back"),
            actions: list.counter(
                "davylamp_curtailment_actions",
                "What came of devices that were to be curtailed or brought back",
            ),
        }
    }
}
