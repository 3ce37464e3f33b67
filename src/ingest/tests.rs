//! What is answered to senders, right and wrong.

use std::time::Duration;

use super::*;
use crate::model::{Family, FloatHistogram, Matcher, MetricType, Point, Source, Starts};
use crate::store::Limits;
use crate::wire::{SeriesOut, compress, write, write_metadata};

static ANY: Family = Family::counter("http_requests_total", "Requests", &[]);
const NOW: i64 = 1_700_000_000_000;

fn intake(series_per_target: usize) -> Intake {
    let limits = Limits { series_per_target, ..Limits::default() };
    let recent = Arc::new(Recent::new(Duration::from_secs(600), limits));
    Intake::new(RemoteWriteIn::default(), recent, Telemetry::new())
}

fn series(labels: &[(&str, &str)], points: &[(i64, f64)]) -> SeriesOut {
    SeriesOut {
        labels: Labels::new(labels.iter().copied().chain([("__name__", "http_requests_total")])),
        family: (&ANY).into(),
        samples: points.iter().map(|(t, v)| Point { t: NOW + t, v: *v }).collect(),
        histograms: Vec::new(),
        starts: Starts::default(),
    }
}

fn request(message: Message, body: &[u8]) -> Request {
    Request {
        content_type: Some(message.content_type().to_string()),
        content_encoding: Some("snappy".to_string()),
        body: compress(body).unwrap().into(),
    }
}

fn push(intake: &Intake, message: Message, series: &[SeriesOut]) -> Answer {
    intake.receive(&request(message, &write(message, series)), NOW)
}

#[test]
fn what_is_right_is_kept_and_answered_with_204() {
    for message in [Message::V1, Message::V2] {
        let intake = intake(100);
        let mut pushed =
            vec![series(&[("job", "a")], &[(-2000, 1.0), (-1000, 2.0)]), series(&[("job", "b")], &[(0, 3.0)])];
        pushed[1].histograms =
            vec![(NOW + 1, Arc::new(FloatHistogram { count: 2.0, zero_count: 2.0, ..Default::default() }))];
        let answer = push(&intake, message, &pushed);
        assert_eq!((answer.status, answer.message.as_str()), (204, ""), "{message:?}");
        assert_eq!(answer.written, (message == Message::V2).then_some([3, 1, 0]));
        let all = intake.recent.select(&[Matcher::equal("__name__", "http_requests_total")], 0, i64::MAX).unwrap();
        assert_eq!(all.iter().map(|s| (s.points.len(), s.histograms.len())).collect::<Vec<_>>(), [(2, 0), (1, 1)]);
        // A sender that is not sure repeats itself.
        let again = push(&intake, message, &[series(&[("job", "a")], &[(-1000, 2.0)])]);
        assert_eq!(again.status, 204);
    }
}

#[test]
fn start_timestamps_are_kept_with_their_samples() {
    let intake = intake(100);
    let mut pushed = [series(&[("job", "a")], &[(-3000, 5.0), (-2000, 6.0), (-1000, 7.0)])];
    pushed[0].starts.push(NOW - 2000, NOW - 9000);
    pushed[0].starts.push(NOW - 1000, NOW - 1500);
    assert_eq!(push(&intake, Message::V2, &pushed).status, 204);
    let select = |from: i64| intake.recent.select(&[Matcher::equal("job", "a")], from, NOW).unwrap().remove(0).starts;
    let known = |from: i64| [-3000, -2000, -1000].map(|t| select(from).at(NOW + t));
    assert_eq!(known(0), [0, NOW - 9000, NOW - 1500]);
    assert_eq!(known(NOW - 1000)[2], NOW - 1500);
}

#[test]
fn a_partial_write_keeps_what_is_right_and_says_what_was_not() {
    let intake = intake(2);
    let pushed = [
        series(&[("job", "a")], &[(-1000, 1.0), (-2000, 1.0), (-1000, 9.0)]),
        series(&[("job", "a"), ("n", "2")], &[(-700_000, 1.0), (700_000, 1.0), (0, 1.0)]),
        series(&[("job", "a"), ("n", "3")], &[(0, 1.0)]),
        series(&[("job", "other")], &[(0, 1.0)]),
        SeriesOut { labels: Labels::new([("job", "nameless")]), ..series(&[], &[(0, 1.0)]) },
    ];
    let answer = push(&intake, Message::V2, &pushed);
    assert_eq!((answer.status, answer.written), (400, Some([3, 0, 0])));
    for words in [
        "6 samples refused, 3 written",
        "1 invalid_labels",
        "1 out_of_order",
        "1 conflict",
        "1 too_old",
        "1 in_future",
        "1 series_per_target",
        "/push/a",
    ] {
        assert!(answer.message.contains(words), "{words}: {}", answer.message);
    }
    assert!(answer.room.contains(&("/push/a".into(), "series_per_target", 1)));
    assert!(answer.room.contains(&("/push/other".into(), "series_per_target", 0)), "one does not fill another's room");
    assert_eq!(push(&intake, Message::V1, &pushed).written, None, "1.0 knows no such headers");
}

#[test]
fn other_formats_are_told_so() {
    let intake = intake(10);
    let good = request(Message::V2, &write(Message::V2, &[series(&[], &[(0, 1.0)])]));
    let status = |request: &Request| intake.receive(request, NOW).status;
    let typed = |text: &str| Request { content_type: Some(text.to_string()), ..good.clone() };
    assert_eq!(status(&typed("application/json")), 415);
    assert_eq!(status(&typed("application/x-protobuf;proto=io.prometheus.write.v3.Request")), 415);
    assert_eq!(status(&Request { content_encoding: Some("zstd".into()), ..good.clone() }), 415);
    let broken = intake.receive(&Request { body: Bytes::from_static(b"\x05junk"), ..good.clone() }, NOW);
    assert_eq!((broken.status, broken.written), (400, Some([0, 0, 0])));
    assert_eq!(status(&request(Message::V1, &[0x0a; 99])), 400);
    let bomb = Request { body: compress(&vec![0; 32 << 20]).unwrap().into(), ..good };
    assert_eq!(status(&bomb), 413);
}

#[test]
fn what_is_said_of_families_is_kept() {
    let intake = intake(10);
    push(&intake, Message::V2, &[series(&[], &[(0, 1.0)])]);
    let first = &intake.families()[0];
    assert_eq!(
        (first.name.as_ref(), first.kind, first.help.as_ref()),
        ("http_requests_total", MetricType::Counter, "Requests")
    );
    let latency = Family { kind: MetricType::Histogram, ..Family::gauge("latency_seconds", "How long", &[]) };
    intake.receive(&request(Message::V1, &write_metadata([&Arc::new(latency).into()])), NOW);
    let mut known = intake.known.lock().unwrap();
    let family = known.catalog.family(&Labels::new([("__name__", "latency_seconds_bucket")]), None);
    assert_eq!((family.name.as_ref(), family.kind), ("latency_seconds", MetricType::Histogram));
}

#[test]
fn senders_are_bounded_and_idle_ones_make_room() {
    let intake = intake(10);
    let many: Vec<SeriesOut> =
        (0..senders::MOST + 1).map(|n| series(&[("job", &format!("job{n}"))], &[(0, 1.0)])).collect();
    let answer = push(&intake, Message::V2, &many);
    assert_eq!((answer.status, answer.written), (400, Some([senders::MOST as u64, 0, 0])));
    assert!(answer.message.contains("1000 senders already"), "{}", answer.message);
    let later = NOW + 3_600_001;
    let one = [SeriesOut { samples: vec![Point { t: later, v: 1.0 }], ..series(&[("job", "new")], &[]) }];
    assert_eq!(intake.receive(&request(Message::V2, &write(Message::V2, &one)), later).status, 204);
    assert_eq!(intake.recent.series_by_kind(), [("remote_write".to_string(), 1)]);
}
