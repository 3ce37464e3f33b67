//! Both messages there and back, and what hostile senders make of them.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::histogram::{Buckets, CUSTOM_BUCKETS, ResetHint, Span};
use crate::model::series::stale_nan;
use crate::model::{Family, FloatHistogram, Labels, Point, Starts};

static HEAT: Family = Family::gauge("heat_celsius", "How hot it is", &[]);

fn native() -> FloatHistogram {
    FloatHistogram {
        reset_hint: ResetHint::NoReset,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 7.0,
        sum: 12.5,
        positive: Buckets {
            spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
            counts: vec![1.0, 3.0, 1.0],
        },
        negative: Buckets { spans: vec![Span { offset: 0, length: 1 }], counts: vec![1.0] },
        custom_values: Vec::new(),
    }
}

fn custom() -> FloatHistogram {
    let positive = Buckets { spans: vec![Span { offset: 1, length: 2 }], counts: vec![4.0, 5.0] };
    FloatHistogram { schema: CUSTOM_BUCKETS, count: 9.0, positive, custom_values: vec![0.5, 2.0], ..Default::default() }
}

fn some_series() -> Vec<SeriesOut> {
    let series = |name: &str, samples: Vec<Point>, histograms: Vec<FloatHistogram>| SeriesOut {
        labels: Labels::new([("__name__", "heat_celsius"), ("miner", name), ("ort", "Köln")]),
        family: (&HEAT).into(),
        samples,
        histograms: histograms.into_iter().zip(5..).map(|(histogram, t)| (t, Arc::new(histogram))).collect(),
        starts: Starts::default(),
    };
    let points = vec![Point { t: 1, v: 1.5 }, Point { t: 2, v: -0.0 }];
    vec![series("a", points, vec![]), series("b", vec![], vec![native(), custom()])]
}

fn read_of(message: Message, body: Vec<u8>) -> Result<Pushed, WireError> {
    super::read(&Bytes::from(body), message, &Caps::STANDARD)
}

#[test]
fn both_messages_come_back_as_they_went() {
    for message in [Message::V1, Message::V2] {
        let sent = some_series();
        let pushed = read_of(message, write(message, &sent)).unwrap();
        assert_eq!(pushed.series.len(), 2);
        for (out, back) in sent.iter().zip(&pushed.series) {
            assert_eq!(back.labels.as_ref(), Ok(&out.labels));
            assert_eq!(back.samples, out.samples);
            let histograms: Vec<_> = back.histograms.iter().map(|(t, h)| (*t, h.clone().unwrap())).collect();
            assert_eq!(histograms, out.histograms);
            let said = back.metadata.as_ref().map(|said| (said.kind, said.help.as_str()));
            assert_eq!(said, (message == Message::V2).then_some((MetricType::Gauge, "How hot it is")));
        }
    }
    let stale = [SeriesOut { samples: vec![Point { t: 9, v: stale_nan() }], ..some_series().remove(0) }];
    let back = read_of(Message::V2, write(Message::V2, &stale)).unwrap();
    assert!(crate::model::series::is_stale(back.series[0].samples[0].v), "the marker's bits survive");
    let said = read_of(Message::V1, write_metadata([&(&HEAT).into()])).unwrap();
    assert_eq!((said.metadata[0].family.as_str(), said.metadata[0].kind), ("heat_celsius", MetricType::Gauge));
}

#[test]
fn content_types_are_those_of_the_specification() {
    let of = Message::of_content_type;
    assert_eq!(of("application/x-protobuf"), Some(Message::V1));
    assert_eq!(of("application/x-protobuf;proto=prometheus.WriteRequest"), Some(Message::V1));
    assert_eq!(of("Application/X-Protobuf; charset=x; proto=\"io.prometheus.write.v2.Request\""), Some(Message::V2));
    for other in ["", "application/json", "application/x-protobuf;proto=io.prometheus.write.v3.Request", "a;b"] {
        assert_eq!(of(other), None, "{other}");
    }
    for message in [Message::V1, Message::V2] {
        assert_eq!(of(message.content_type()), Some(message));
    }
}

#[test]
fn start_timestamps_come_back_in_2_0_and_are_left_out_of_1_0() {
    use prost::Message as _;
    let mut sent = some_series();
    sent[0].starts.push(2, -70);
    sent[1].starts.push(5, 1);
    sent[1].starts.push(6, 5);
    let said = |message: Message| {
        let pushed = read_of(message, write(message, &sent)).unwrap();
        pushed.series.into_iter().map(|series| series.starts).collect::<Vec<_>>()
    };
    assert_eq!(said(Message::V2), [sent[0].starts.clone(), sent[1].starts.clone()]);
    assert_eq!(said(Message::V1), [Starts::default(), Starts::default()]);
    // Drafts of 2.0 said it once for the series.
    let symbols: Vec<String> = ["", "__name__", "up"].map(String::from).into();
    let samples = [3, 4].map(|timestamp| message::Sample { timestamp, ..Default::default() }).into();
    let series = message::SeriesV2 { labels: vec![1, 2], samples, created_timestamp: 2, ..Default::default() };
    let body = message::RequestV2 { symbols, series: vec![series] }.encode_to_vec();
    let starts = read_of(Message::V2, body).unwrap().series.remove(0).starts;
    assert_eq!([starts.at(3), starts.at(4)], [2, 2]);
}

#[test]
fn each_series_is_judged_by_itself() {
    use message::{Label, RequestV1, RequestV2, Sample, SeriesV1, SeriesV2};
    use prost::Message as _;
    let label = |name: &'static [u8], value: &'static [u8]| Label {
        name: Bytes::from_static(name),
        value: Bytes::from_static(value),
    };
    let samples = vec![Sample { value: 1.0, timestamp: 1, start_timestamp: 0 }];
    let series = |labels: Vec<Label>| SeriesV1 { labels, samples: samples.clone(), histograms: vec![] };
    let name = || label(b"__name__", b"up");
    let cases = [
        (vec![name()], Ok("up")),
        // vmagent does not sort unless told to.
        (vec![label(b"job", b"x"), name()], Ok("up{job=\"x\"}")),
        (vec![name(), label(b"empty", b"")], Ok("up")),
        (vec![label(b"job", b"x")], Err(LabelsError::NoMetricName)),
        (vec![label(b"", b"x"), name()], Err(LabelsError::EmptyName)),
        (vec![name(), label(b"a", b"1"), label(b"a", b"2")], Err(LabelsError::Repeated)),
        (vec![name(), label(b"a", b"\xff")], Err(LabelsError::NotText)),
        (vec![label(b"x", b"1"); 65], Err(LabelsError::TooLong)),
    ];
    let request =
        RequestV1 { series: cases.iter().map(|(labels, _)| series(labels.clone())).collect(), metadata: vec![] };
    let pushed = read_of(Message::V1, request.encode_to_vec()).unwrap();
    for (back, (_, wanted)) in pushed.series.iter().zip(&cases) {
        assert_eq!(back.labels.clone().map(|labels| labels.to_string()), wanted.map(String::from));
    }
    let symbols: Vec<String> = ["", "__name__", "up"].map(String::from).into();
    let of = |labels: Vec<u32>| SeriesV2 { labels, samples: samples.clone(), ..SeriesV2::default() };
    let series = vec![of(vec![1, 2]), of(vec![1, 3]), of(vec![1]), of(vec![u32::MAX, 2])];
    let pushed = read_of(Message::V2, RequestV2 { symbols: symbols.clone(), series: series.clone() }.encode_to_vec());
    let outcomes: Vec<_> = pushed.unwrap().series.into_iter().map(|series| series.labels.err()).collect();
    assert_eq!(
        outcomes,
        [None, Some(LabelsError::Reference), Some(LabelsError::Reference), Some(LabelsError::Reference)]
    );
    let unnamed = RequestV2 { symbols: symbols[1..].to_vec(), series };
    assert!(matches!(read_of(Message::V2, unnamed.encode_to_vec()), Err(WireError::Protobuf { .. })));
    // The other message is not taken for an empty one of this sort.
    let other = read_of(Message::V1, write(Message::V2, &some_series())).unwrap();
    assert_eq!(other.series.len(), 0);
}

#[test]
fn impossible_histograms_are_refused() {
    let refused = |change: fn(&mut FloatHistogram), start: FloatHistogram| {
        let mut histogram = start;
        change(&mut histogram);
        from_histogram(&to_histogram(1, &histogram), &Caps::STANDARD).err()
    };
    assert_eq!(refused(|_| {}, native()), None);
    assert_eq!(refused(|h| h.schema = 9, native()), Some(HistogramError::Schema));
    assert_eq!(refused(|h| h.positive.spans[0].length = 3, native()), Some(HistogramError::Spans));
    assert_eq!(refused(|h| h.positive.spans[1].offset = -1, native()), Some(HistogramError::Spans));
    assert_eq!(refused(|h| h.positive.spans[0].offset = i32::MAX, native()), Some(HistogramError::Spans));
    assert_eq!(refused(|h| h.negative.counts[0] = -1.0, native()), Some(HistogramError::Counts));
    assert_eq!(refused(|h| h.custom_values = vec![1.0], native()), Some(HistogramError::Custom));
    assert_eq!(refused(|h| h.custom_values = vec![2.0, 1.0], custom()), Some(HistogramError::Custom));
    assert_eq!(refused(|h| h.custom_values = vec![1.0], custom()), Some(HistogramError::Custom));
    let mut integer = to_histogram(1, &native());
    integer.count = Some(message::Count::Int(4));
    integer.positive_deltas = vec![1, 2, -2];
    integer.negative_deltas = vec![1];
    assert_eq!(from_histogram(&integer, &Caps::STANDARD), Err(HistogramError::Sum));
    integer.count = Some(message::Count::Int(7));
    assert_eq!(from_histogram(&integer, &Caps::STANDARD), Ok(native()), "integers by their differences");
    integer.positive_deltas = vec![i64::MAX, 1, 0];
    assert_eq!(from_histogram(&integer, &Caps::STANDARD), Err(HistogramError::Counts));
}

#[test]
fn bombs_are_refused_before_they_are_built() {
    let caps = Caps::STANDARD;
    let bomb = compress(&vec![0; 64 << 20]).unwrap();
    assert!(bomb.len() < caps.compressed, "it passes the first gate: {}", bomb.len());
    assert!(matches!(decompress(&bomb, &caps), Err(WireError::TooMuch { .. })));
    // Declares four gigabytes and holds nothing.
    assert!(decompress(b"\xff\xff\xff\xff\x0f", &caps).is_err());
    assert!(decompress(b"", &caps).is_err() && decompress(b"nonsense", &caps).is_err());
    // Two bytes on the wire, a hundred in memory.
    for (message, head) in [(Message::V1, 0x0a), (Message::V1, 0x1a), (Message::V2, 0x22), (Message::V2, 0x2a)] {
        let many = [head, 0].repeat(1 << 20);
        assert!(matches!(read_of(message, many), Err(WireError::TooMuch { .. })), "{message:?} {head}");
    }
    for inner in [[0x12, 0], [0x22, 0]] {
        let mut body = vec![0x0a, 0x80, 0x80, 0x40];
        body.extend(inner.repeat(1 << 19));
        assert!(matches!(read_of(Message::V1, body), Err(WireError::TooMuch { .. })));
    }
    // A thousand series that all name one text of 16 kB.
    let symbols = vec![String::new(), "__name__".into(), "x".repeat(16_000)];
    let series = vec![message::SeriesV2 { labels: vec![1, 2], ..Default::default() }; 1000];
    let body = prost::Message::encode_to_vec(&message::RequestV2 { symbols, series });
    let refused = read_of(Message::V2, body);
    assert_eq!(refused, Err(WireError::TooMuch { what: "bytes of labels", limit: caps.all_label_bytes }));
}

proptest! {
    #[test]
    fn nothing_that_is_sent_makes_it_panic(
        first in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let message = if first { Message::V1 } else { Message::V2 };
        for mut body in [write(message, &some_series()), noise] {
            for (at, byte) in &flips {
                if !body.is_empty() {
                    let at = at.index(body.len());
                    body[at] ^= byte;
                }
            }
            let _ = decompress(&body, &Caps::STANDARD);
            let _ = read_of(message, body.clone());
            let packed = compress(&body).unwrap();
            prop_assert_eq!(&decompress(&packed, &Caps::STANDARD).unwrap()[..], &body[..]);
            let _ = decompress(&packed[..cut.index(packed.len())], &Caps::STANDARD);
            body.truncate(cut.index(body.len() + 1));
            let _ = read_of(message, body);
        }
    }
}
