//! From series to the bytes of a request, in either message.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::histogram::to_histogram;
use super::message::{Histogram, Label, MetadataV1, MetadataV2, RequestV1, RequestV2, Sample, SeriesV1, SeriesV2};
use super::{Message, number_of};
use crate::model::{FamilyRef, FloatHistogram, Labels, Point, Starts};

/// One series to be written.
#[derive(Clone, Debug)]
pub struct SeriesOut {
    /// Complete, with the metric name.
    pub labels: Labels,
    /// What 2.0 is told of it.
    pub family: FamilyRef,
    /// In the order of their times.
    pub samples: Vec<Point>,
    /// In the order of their times.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
    /// Since when they count; 2.0 is told.
    pub starts: Starts,
}

/// Writes series as one message, not compressed.
pub fn write(message: Message, series: &[SeriesOut]) -> Vec<u8> {
    match message {
        Message::V1 => RequestV1 {
            series: series.iter().map(|series| v1(&series.labels, &series.samples, &series.histograms)).collect(),
            metadata: Vec::new(),
        }
        .encode_to_vec(),
        Message::V2 => {
            let mut symbols = Symbols::default();
            symbols.index("");
            // A series holds samples or histograms, never both.
            let series = series.iter().flat_map(|series| v2(series, &mut symbols)).collect();
            RequestV2 { symbols: symbols.texts, series }.encode_to_vec()
        }
    }
}

/// Writes what 1.0 says of families beside its series, not compressed.
pub fn write_metadata<'a>(families: impl IntoIterator<Item = &'a FamilyRef>) -> Vec<u8> {
    let metadata = families.into_iter().map(|family| MetadataV1 {
        kind: number_of(family.kind),
        family: bytes(&family.name),
        help: bytes(&family.help),
        unit: Bytes::new(),
    });
    RequestV1 { series: Vec::new(), metadata: metadata.collect() }.encode_to_vec()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn samples(points: &[Point], starts: &Starts) -> Vec<Sample> {
    let sample = |point: &Point| Sample { value: point.v, timestamp: point.t, start_timestamp: starts.at(point.t) };
    points.iter().map(sample).collect()
}

/// A series of 1.0.
pub(super) fn v1(labels: &Labels, points: &[Point], histograms: &[(i64, Arc<FloatHistogram>)]) -> SeriesV1 {
    let label = |(name, value): (&str, &str)| Label { name: bytes(name), value: bytes(value) };
    let histograms = histograms.iter().map(|(t, histogram)| to_histogram(*t, histogram)).collect();
    SeriesV1 { labels: labels.iter().map(label).collect(), samples: samples(points, &Starts::default()), histograms }
}

fn v2(series: &SeriesOut, symbols: &mut Symbols) -> impl Iterator<Item = SeriesV2> + use<> {
    let labels: Vec<u32> =
        series.labels.iter().flat_map(|(name, value)| [symbols.index(name), symbols.index(value)]).collect();
    let metadata =
        MetadataV2 { kind: number_of(series.family.kind), help: symbols.index(&series.family.help), unit: 0 };
    let samples = samples(&series.samples, &series.starts);
    let histogram = |(t, histogram): &(i64, Arc<FloatHistogram>)| Histogram {
        start_timestamp: series.starts.at(*t),
        ..to_histogram(*t, histogram)
    };
    let histograms: Vec<_> = series.histograms.iter().map(histogram).collect();
    let of = move |samples, histograms| SeriesV2 {
        labels: labels.clone(),
        samples,
        histograms,
        metadata: Some(metadata),
        created_timestamp: 0,
    };
    let floats = (!samples.is_empty()).then(|| of(samples, Vec::new()));
    let natives = (!histograms.is_empty()).then(|| of(Vec::new(), histograms));
    floats.into_iter().chain(natives)
}

/// The table of texts, each once.
#[derive(Default)]
struct Symbols {
    texts: Vec<String>,
    known: HashMap<String, u32>,
}

impl Symbols {
    fn index(&mut self, text: &str) -> u32 {
        if let Some(index) = self.known.get(text) {
            return *index;
        }
        let index = self.texts.len() as u32;
        self.texts.push(text.to_string());
        self.known.insert(text.to_string(), index);
        index
    }
}
