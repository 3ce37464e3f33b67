//! The self-metrics of the history.

use super::{Counters, Gauges, List};

/// Figures of the samples on disk.
pub struct HistoryMetrics {
    /// Bytes on the disk.
    pub bytes: Gauges,
    /// Bytes of the chunks in it.
    pub chunk_bytes: Gauges,
    /// Samples that are held.
    pub samples: Gauges,
    /// Chunks that are held.
    pub chunks: Gauges,
    /// Partitions.
    pub partitions: Gauges,
    /// Series of the partition that is being written.
    pub series: Gauges,
    /// Up to when it is on the disk.
    pub saved_until: Gauges,
    /// Samples written.
    pub saved_samples: Counters,
    /// What went wrong.
    pub errors: Counters,
}

impl HistoryMetrics {
    pub(super) fn new(list: &mut List) -> Self {
        HistoryMetrics {
            bytes: list.gauge("davylamp_history_bytes", "Bytes of the history on disk"),
            chunk_bytes: list.gauge("davylamp_history_chunk_bytes", "Bytes of the samples in the history, compressed"),
            samples: list.gauge("davylamp_history_samples", "Samples in the history"),
            chunks: list.gauge("davylamp_history_chunks", "Chunks of samples in the history"),
            partitions: list.gauge("davylamp_history_partitions", "Partitions of the history, about one a day"),
            series: list.gauge("davylamp_history_series", "Series of the partition that is being written"),
            saved_until: list.gauge(
                "davylamp_history_saved_timestamp_seconds",
                "Up to when samples are on the disk, seconds since the epoch",
            ),
            saved_samples: list.counter("davylamp_history_saved_samples", "Samples written to the history"),
            errors: list.counter("davylamp_history_errors", "Failed writes and damaged parts of the history"),
        }
    }
}
