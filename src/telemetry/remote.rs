//! Self-metrics of remote write, both ways. Names as near to Prometheus' as ours can be.

use super::{Counters, Gauges, List};

/// What is sent on, by `remote_name`.
#[derive(Clone)]
pub struct RemoteWriteOut {
    /// Samples that wait.
    pub pending: Gauges,
    /// Bytes of the queue on disk.
    pub pending_bytes: Gauges,
    /// Samples that were acknowledged.
    pub samples: Counters,
    /// Samples that the receiver refused for good.
    pub failed: Counters,
    /// Samples that were not sent, by reason.
    pub dropped: Counters,
    /// Samples that were sent again.
    pub retried: Counters,
    /// Bytes of all requests, compressed.
    pub bytes: Counters,
    /// Highest timestamp that came in.
    pub highest: Gauges,
    /// Highest timestamp that was acknowledged.
    pub highest_sent: Gauges,
}

/// What others push to us.
#[derive(Clone)]
pub struct RemoteWriteIn {
    /// Requests by message and status.
    pub requests: Counters,
    /// Samples that were kept, by type.
    pub samples: Counters,
    /// Samples that were refused, by reason.
    pub rejected: Counters,
    /// Exemplars, which are not kept.
    pub exemplars: Counters,
}

impl RemoteWriteOut {
    pub(super) fn register(list: &mut List) -> Self {
        RemoteWriteOut {
            pending: list.gauge("davylamp_remote_write_samples_pending", "Samples that wait to be sent"),
            pending_bytes: list.gauge("davylamp_remote_write_queue_bytes", "Bytes of the queue on disk"),
            samples: list.counter("davylamp_remote_write_samples", "Samples that the receiver acknowledged"),
            failed: list.counter("davylamp_remote_write_samples_failed", "Samples that the receiver refused for good"),
            dropped: list.counter("davylamp_remote_write_samples_dropped", "Samples that were not sent, by reason"),
            retried: list.counter("davylamp_remote_write_samples_retried", "Samples that were sent again"),
            bytes: list.counter("davylamp_remote_write_bytes", "Bytes of requests that were sent, compressed"),
            highest: list.gauge(
                "davylamp_remote_write_highest_timestamp_in_seconds",
                "Highest timestamp of a sample in the queue or sent, seconds since the epoch",
            ),
            highest_sent: list.gauge(
                "davylamp_remote_write_queue_highest_sent_timestamp_seconds",
                "Highest timestamp of a sample that the receiver acknowledged, seconds since the epoch",
            ),
        }
    }
}

impl RemoteWriteIn {
    pub(super) fn register(list: &mut List) -> Self {
        RemoteWriteIn {
            requests: list.counter("davylamp_remote_write_received_requests", "Pushed requests, by message and status"),
            samples: list.counter("davylamp_remote_write_received_samples", "Pushed samples that were kept, by type"),
            rejected: list.counter(
                "davylamp_remote_write_received_samples_rejected",
                "Pushed samples that were refused, by reason",
            ),
            exemplars: list.counter("davylamp_remote_write_received_exemplars", "Pushed exemplars, which are not kept"),
        }
    }
}
