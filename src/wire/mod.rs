//! Prometheus remote write, as it goes over the wire: the protobuf messages of 1.0 and 2.0, compressed with snappy; and
//! remote read.
//!
//! Spoken both ways: `ingest` reads it, `sink` writes it. Sources: the specifications at
//! <https://prometheus.io/docs/specs/prw/remote_write_spec/> and `…/remote_write_spec_2_0/`, and the `.proto` files that
//! they name. A request comes from outside, so nothing is built from it before it has been counted: an empty message takes
//! two bytes on the wire and a hundred in memory.

mod body;
mod fields;
mod histogram;
pub mod message;
mod read;
mod remote_read;
mod write;

pub use body::{Compressed, compress, decompress};
pub use histogram::{HistogramError, from_histogram, to_histogram};
pub use read::{LabelsError, MetadataIn, Pushed, SeriesIn, read};
pub use remote_read::{
    MOST_BYTES as MOST_READ_BYTES, ReadQuery, read_queries, read_result, write_read_query, write_read_results,
};
pub use write::{SeriesOut, write, write_metadata};

use crate::model::MetricType;

/// Which of the two messages a request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, schemars::JsonSchema)]
pub enum Message {
    /// `prometheus.WriteRequest` of remote write 1.0.
    #[default]
    #[serde(rename = "prometheus.WriteRequest")]
    V1,
    /// `io.prometheus.write.v2.Request` of remote write 2.0.
    #[serde(rename = "io.prometheus.write.v2.Request")]
    V2,
}

/// The one media type.
const MEDIA_TYPE: &str = "application/x-protobuf";

impl Message {
    /// Its full protobuf name.
    pub const fn name(self) -> &'static str {
        match self {
            Message::V1 => "prometheus.WriteRequest",
            Message::V2 => "io.prometheus.write.v2.Request",
        }
    }

    /// `Content-Type` for sending it.
    pub const fn content_type(self) -> &'static str {
        match self {
            // Without the parameter, for receivers that know 1.0 only.
            Message::V1 => MEDIA_TYPE,
            Message::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// `X-Prometheus-Remote-Write-Version` for sending it.
    pub const fn version(self) -> &'static str {
        match self {
            Message::V1 => "0.1.0",
            Message::V2 => "2.0.0",
        }
    }

    /// The message that a `Content-Type` names; `None` for one that is not spoken here.
    pub fn of_content_type(text: &str) -> Option<Message> {
        let mut parts = text.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(MEDIA_TYPE) {
            return None;
        }
        let mut message = Message::V1;
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            if name.trim().eq_ignore_ascii_case("proto") {
                let value = value.trim().trim_matches('"');
                message = [Message::V1, Message::V2].into_iter().find(|message| message.name() == value)?;
            }
        }
        Some(message)
    }
}

/// Prefix of the response headers of 2.0 that count what was written: `-Samples-Written` and so on.
pub const WRITTEN_HEADERS: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

/// How much one request may hold. Every count is checked before anything is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of the body as sent.
    pub compressed: usize,
    /// Bytes after decompression.
    pub decompressed: usize,
    /// Series.
    pub series: usize,
    /// Samples and histograms.
    pub samples: usize,
    /// Labels of one series.
    pub labels: usize,
    /// Bytes of the labels of one series.
    pub label_bytes: usize,
    /// Bytes of the labels of all series: in 2.0 a thousand series can name one long text.
    pub all_label_bytes: usize,
    /// Texts in the table of symbols of 2.0, and entries of metadata of 1.0.
    pub symbols: usize,
    /// Bytes of all native histograms.
    pub histogram_bytes: usize,
    /// Buckets of one histogram.
    pub buckets: usize,
}

impl Caps {
    /// Ten times what Prometheus sends in one request; built, it stays within some 40 MiB however it is packed.
    pub const STANDARD: Caps = Caps {
        compressed: 4 << 20,
        decompressed: 8 << 20,
        series: 50_000,
        samples: 100_000,
        labels: 64,
        label_bytes: 16 << 10,
        all_label_bytes: 8 << 20,
        symbols: 100_000,
        histogram_bytes: 2 << 20,
        buckets: 1_000,
    };

    /// For what we wrote ourselves.
    pub fn unlimited() -> Self {
        const MOST: usize = usize::MAX;
        Caps {
            compressed: MOST,
            decompressed: MOST,
            series: MOST,
            samples: MOST,
            labels: MOST - 1,
            label_bytes: MOST,
            all_label_bytes: MOST,
            symbols: MOST,
            histogram_bytes: MOST,
            buckets: MOST,
        }
    }
}

/// The family that a series belongs to: the series of a histogram or summary have an ending of their own.
pub fn family_name(series: &str, kind: MetricType) -> &str {
    if !matches!(kind, MetricType::Histogram | MetricType::Summary) {
        return series;
    }
    ["_bucket", "_sum", "_count"].iter().find_map(|ending| series.strip_suffix(ending)).unwrap_or(series)
}

/// Why a request cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Larger than allowed.
    #[error("the request has more {what} than the {limit} allowed in one; send smaller requests")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The cap.
        limit: usize,
    },
    /// Not snappy's block format.
    #[error("the body is not snappy in block format: {0}")]
    Snappy(#[from] snap::Error),
    /// Not the protobuf message that it says to be.
    #[error("the body is not a protobuf message {message}: {reason}")]
    Protobuf {
        /// The message that was expected.
        message: &'static str,
        /// What does not fit.
        reason: &'static str,
    },
}

/// Numbers of metric types, the same in both messages.
const TYPES: [(i32, MetricType); 5] = [
    (1, MetricType::Counter),
    (2, MetricType::Gauge),
    (3, MetricType::Histogram),
    (5, MetricType::Summary),
    (6, MetricType::Info),
];

/// What a number says; gauge histograms and state sets have no word here.
fn type_of(number: i32) -> MetricType {
    TYPES.iter().find(|(known, _)| *known == number).map_or(MetricType::Unknown, |(_, kind)| *kind)
}

fn number_of(kind: MetricType) -> i32 {
    TYPES.iter().find(|(_, known)| *known == kind).map_or(0, |(number, _)| *number)
}

#[cfg(test)]
mod tests;
