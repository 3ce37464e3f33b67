//! From the bytes of a request to series, each judged by itself: what is wrong with one does not spoil its neighbours.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::fields::{Field, Fields};
use super::histogram::{HistogramError, from_histogram};
use super::message::{Histogram, MetadataV1, MetadataV2, Sample, tag};
use super::{Caps, Message, WireError, type_of};
use crate::model::labels::METRIC_NAME;
use crate::model::{FloatHistogram, Labels, MetricType, Point, Starts};

/// What one request holds.
#[derive(Debug, Default, PartialEq)]
pub struct Pushed {
    /// In the order of the request. One series may come more than once.
    pub series: Vec<SeriesIn>,
    /// What 1.0 says of metric families beside its series.
    pub metadata: Vec<MetadataIn>,
    /// Exemplars, which are not kept.
    pub exemplars: usize,
}

/// One series of a request.
#[derive(Debug, PartialEq)]
pub struct SeriesIn {
    /// Its labels, or why nothing of it can be taken.
    pub labels: Result<Labels, LabelsError>,
    /// What 2.0 says of its family.
    pub metadata: Option<MetadataIn>,
    /// Samples; stale markers included.
    pub samples: Vec<Point>,
    /// Native histograms with their times.
    pub histograms: Vec<(i64, Result<Arc<FloatHistogram>, HistogramError>)>,
    /// Since when they count, where 2.0 says so.
    pub starts: Starts,
}

/// What is said of a metric family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataIn {
    /// Its name; empty where it is that of the series.
    pub family: String,
    /// Its type.
    pub kind: MetricType,
    /// Its help text.
    pub help: String,
    /// Its unit.
    pub unit: String,
}

/// Why a series is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum LabelsError {
    /// No metric name.
    #[error("a series has no metric name (__name__)")]
    NoMetricName,
    /// A label without a name.
    #[error("a label has an empty name")]
    EmptyName,
    /// One label twice.
    #[error("a label name is repeated")]
    Repeated,
    /// Not a text.
    #[error("a label is not UTF-8")]
    NotText,
    /// More labels, or longer ones, than a series may have.
    #[error("a series has too many labels, or too long ones")]
    TooLong,
    /// A reference that leads nowhere.
    #[error("a label refers to a symbol that is not in the table")]
    Reference,
}

/// Reads a decompressed request.
///
/// # Errors
/// [`WireError`] when it is no such message, or more than the caps allow; it was not built then.
pub fn read(body: &Bytes, message: Message, caps: &Caps) -> Result<Pushed, WireError> {
    let mut reader =
        Reader { body, message, caps, symbols: Vec::new(), used: Used::default(), found: Pushed::default() };
    reader.request()?;
    Ok(reader.found)
}

/// What of the caps is used up.
#[derive(Default)]
struct Used {
    samples: usize,
    label_bytes: usize,
    histogram_bytes: usize,
}

/// Name and value of a label, not yet known to be texts.
type Pair<'a> = (&'a [u8], &'a [u8]);

struct Reader<'a> {
    body: &'a Bytes,
    message: Message,
    caps: &'a Caps,
    symbols: Vec<&'a [u8]>,
    used: Used,
    found: Pushed,
}

fn within(count: usize, what: &'static str, limit: usize) -> Result<(), WireError> {
    if count > limit { Err(WireError::TooMuch { what, limit }) } else { Ok(()) }
}

impl<'a> Reader<'a> {
    fn bad(&self, reason: &'static str) -> WireError {
        WireError::Protobuf { message: self.message.name(), reason }
    }

    /// Two walks: symbols may stand behind the series that use them.
    fn request(&mut self) -> Result<(), WireError> {
        let (series_tag, other_tag) = match self.message {
            Message::V1 => (tag::V1_SERIES, tag::V1_METADATA),
            Message::V2 => (tag::V2_SERIES, tag::V2_SYMBOLS),
        };
        let (mut series, mut others) = (0, 0);
        for field in Fields::of(self.body, self.message.name()) {
            let (tag, field) = field?;
            match field {
                Field::Bytes(..) if tag == series_tag => series += 1,
                Field::Bytes(_, text) if tag == other_tag => {
                    others += 1;
                    within(others, "symbols or metadata", self.caps.symbols)?;
                    if self.message == Message::V2 {
                        self.symbols.push(text);
                    }
                }
                _ if tag == series_tag || tag == other_tag => return Err(self.bad("a field is of another type")),
                _ => {}
            }
        }
        within(series, "series", self.caps.series)?;
        if self.message == Message::V2 && series > 0 && self.symbols.first().is_none_or(|first| !first.is_empty()) {
            return Err(self.bad("its first symbol is not the empty text"));
        }
        self.found.series.reserve_exact(series);
        for field in Fields::of(self.body, self.message.name()) {
            match field? {
                (tag, Field::Bytes(_, inner)) if tag == series_tag => {
                    let series = self.series(inner)?;
                    self.found.series.push(series);
                }
                (tag::V1_METADATA, Field::Bytes(at, inner)) if self.message == Message::V1 => {
                    let said = MetadataV1::decode(self.body.slice(at..at + inner.len()));
                    let said = said.map_err(|_| self.bad("its metadata cannot be read"))?;
                    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                    let (family, help, unit) = (text(&said.family), text(&said.help), text(&said.unit));
                    self.found.metadata.push(MetadataIn { family, kind: type_of(said.kind), help, unit });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn series(&mut self, inner: &'a [u8]) -> Result<SeriesIn, WireError> {
        let (histograms_tag, exemplars_tag) = match self.message {
            Message::V1 => (tag::V1_HISTOGRAMS, tag::V1_EXEMPLARS),
            Message::V2 => (tag::V2_HISTOGRAMS, tag::V2_EXEMPLARS),
        };
        let mut labels: Vec<Pair<'a>> = Vec::new();
        let mut refs: Vec<u32> = Vec::new();
        let mut series = SeriesIn {
            labels: Err(LabelsError::NoMetricName),
            metadata: None,
            samples: Vec::new(),
            histograms: Vec::new(),
            starts: Starts::default(),
        };
        let mut created = 0;
        // More than a series may have of either sort is wrong in any case; no more is built.
        let surplus = self.caps.labels + 1;
        for field in Fields::of(inner, self.message.name()) {
            match field? {
                (tag::LABELS, Field::Bytes(_, label)) if self.message == Message::V1 => {
                    labels.extend((labels.len() < surplus).then(|| pair(label)).transpose()?);
                }
                (tag::LABELS, Field::Bytes(_, packed)) => self.packed(packed, surplus.saturating_mul(2), &mut refs)?,
                (tag::LABELS, Field::Number(index)) if refs.len() < surplus.saturating_mul(2) => {
                    refs.push(u32::try_from(index).unwrap_or(u32::MAX));
                }
                (tag::SAMPLES, Field::Bytes(_, sample)) => {
                    self.used.samples += 1;
                    within(self.used.samples, "samples", self.caps.samples)?;
                    let sample = Sample::decode(sample).map_err(|_| self.bad("a sample cannot be read"))?;
                    series.samples.push(Point { t: sample.timestamp, v: sample.value });
                    series.starts.push(sample.timestamp, sample.start_timestamp);
                }
                (6, Field::Number(number)) if self.message == Message::V2 => created = number as i64, // two's complement
                (5, Field::Bytes(_, said)) if self.message == Message::V2 => {
                    let said = MetadataV2::decode(said).map_err(|_| self.bad("its metadata cannot be read"))?;
                    series.metadata = self.metadata(said);
                }
                (tag, Field::Bytes(_, histogram)) if tag == histograms_tag => {
                    self.used.samples += 1;
                    self.used.histogram_bytes += histogram.len();
                    within(self.used.samples, "samples", self.caps.samples)?;
                    within(self.used.histogram_bytes, "bytes of histograms", self.caps.histogram_bytes)?;
                    let wire = Histogram::decode(histogram).map_err(|_| self.bad("a histogram cannot be read"))?;
                    series.histograms.push((wire.timestamp, from_histogram(&wire, self.caps).map(Arc::new)));
                    series.starts.push(wire.timestamp, wire.start_timestamp);
                }
                (tag, Field::Bytes(..)) if tag == exemplars_tag => self.found.exemplars += 1,
                _ => {}
            }
        }
        if series.starts.is_empty() {
            series.starts.push(i64::MIN, created);
        }
        series.labels = match self.message {
            Message::V1 => Ok(labels),
            Message::V2 => self.resolve(&refs),
        }
        .and_then(|labels| self.labels(labels));
        self.used.label_bytes += series.labels.as_ref().map_or(0, bytes_of);
        within(self.used.label_bytes, "bytes of labels", self.caps.all_label_bytes)?;
        Ok(series)
    }

    /// Numbers that stand side by side; no more than `most` are kept.
    fn packed(&self, mut packed: &[u8], most: usize, into: &mut Vec<u32>) -> Result<(), WireError> {
        while !packed.is_empty() {
            let number = prost::encoding::decode_varint(&mut packed).map_err(|_| self.bad("a number does not end"))?;
            if into.len() < most {
                into.push(u32::try_from(number).unwrap_or(u32::MAX));
            }
        }
        Ok(())
    }

    fn resolve(&self, refs: &[u32]) -> Result<Vec<Pair<'a>>, LabelsError> {
        let symbol = |index: u32| self.symbols.get(index as usize).copied().ok_or(LabelsError::Reference);
        let (pairs, rest) = refs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(LabelsError::Reference);
        }
        pairs.iter().map(|[name, value]| Ok((symbol(*name)?, symbol(*value)?))).collect()
    }

    /// Sorted labels are what the specification asks for; unsorted ones are sorted here, since not every sender does.
    fn labels(&self, mut pairs: Vec<Pair<'_>>) -> Result<Labels, LabelsError> {
        let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if pairs.len() > self.caps.labels || bytes > self.caps.label_bytes {
            return Err(LabelsError::TooLong);
        }
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_by_key(|pair| pair.0);
        }
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(LabelsError::Repeated);
        }
        if pairs.first().is_some_and(|(name, _)| name.is_empty()) {
            return Err(LabelsError::EmptyName);
        }
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| LabelsError::NotText);
        let pairs = pairs.into_iter().map(|(name, value)| Ok((text(name)?, text(value)?)));
        let labels = Labels::new(pairs.collect::<Result<Vec<_>, _>>()?);
        if labels.get(METRIC_NAME).is_none() { Err(LabelsError::NoMetricName) } else { Ok(labels) }
    }

    /// `None` where nothing is said; a reference that leads nowhere says nothing.
    fn metadata(&self, said: MetadataV2) -> Option<MetadataIn> {
        let text = |index: u32| {
            let symbol = self.symbols.get(index as usize).copied().unwrap_or_default();
            String::from_utf8_lossy(symbol).into_owned()
        };
        let kind = type_of(said.kind);
        let found = MetadataIn { family: String::new(), kind, help: text(said.help), unit: text(said.unit) };
        (kind != MetricType::Unknown || !found.help.is_empty() || !found.unit.is_empty()).then_some(found)
    }
}

fn bytes_of(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Name and value of a label of 1.0.
fn pair(label: &[u8]) -> Result<Pair<'_>, WireError> {
    let (mut name, mut value) = (&label[..0], &label[..0]);
    for field in Fields::of(label, Message::V1.name()) {
        match field? {
            (1, Field::Bytes(_, text)) => name = text,
            (2, Field::Bytes(_, text)) => value = text,
            _ => {}
        }
    }
    Ok((name, value))
}
