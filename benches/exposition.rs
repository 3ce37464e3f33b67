//! The page of many series: time, memory and peak, beside a copy of the same bytes and beside prometheus-client.
//!
//! `DAVYLAMP_BENCH_SERIES` sets the number of series (100,000). Each subject runs in a process of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and may panic")]

mod common;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use common::{Child, Process};
use davylamp::model::{Family, FamilyRef, Labels, MetricType, Observation, Reading, Suffix, Target, TargetId};
use davylamp::store::{Format, Limits, Recent};
use prometheus_client::metrics::family::Family as PeerFamily;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Twenty families with five sensors each.
const FAMILIES: usize = 20;
const SENSORS: usize = 5;
const SERIES_PER_TARGET: usize = FAMILIES * SENSORS;
const RUNS: usize = 21;
/// Ten minutes at 15 s.
const POLLS: usize = 40;

fn main() {
    match common::role().as_str() {
        "davylamp" => davylamp(),
        "peer" => peer(),
        _ => report(),
    }
}

fn targets() -> usize {
    common::option("DAVYLAMP_BENCH_SERIES", 100_000) / SERIES_PER_TARGET
}

/// Half of the values are integers, half are not; one in four changes from poll to poll.
fn value(target: usize, series: usize, poll: usize) -> f64 {
    let step = if series.is_multiple_of(4) { poll } else { 0 };
    let base = (target * 31 + series * 7 + step) % 4096;
    if series.is_multiple_of(2) { base as f64 } else { base as f64 / 16.0 + 0.3 }
}

fn name(family: usize) -> String {
    format!("bench_temperature_{family:02}_celsius")
}

fn families() -> Vec<FamilyRef> {
    let family = |index| {
        let family = Family::read(name(index), MetricType::Gauge, "What a sensor says");
        FamilyRef::Shared(Arc::new(Family { labels: &["sensor"], ..family }))
    };
    (0..FAMILIES).map(family).collect()
}

fn observation(families: &[FamilyRef], target: usize, poll: usize) -> Observation {
    let mut reading = Reading::default();
    for series in 0..SERIES_PER_TARGET {
        // Labels are built at each poll, as parsers do.
        let labels = Labels::new([("sensor", format!("chip{}", series % SENSORS))]);
        let family = families[series / SENSORS].clone();
        reading.put_labels(family, Suffix::None, labels, value(target, series, poll));
    }
    let at = 1_700_000_000_000 + poll as i64 * 15_000;
    Observation { target: id(target), at, took: Duration::ZERO, outcome: Ok(reading) }
}

fn id(target: usize) -> TargetId {
    format!("rig-{target:05}").into()
}

fn declare(recent: &Recent, target: usize) {
    let target = Target {
        id: id(target),
        kind: "bench".into(),
        address: String::new(),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(15),
        cron: None,
        labels: Labels::new([("site", "north")]),
        options: serde_json::Value::Null,
    };
    recent.declare(&target, "miner");
}

/// Level 1, as `/metrics` does.
fn gzip(page: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(page).unwrap();
    encoder.finish().unwrap()
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Says: bytes of the page; seconds of the copy, the first page, text, OpenMetrics, gzip; bytes after one poll, with
/// the layout, after the whole window; peak of one scrape in bytes.
fn davylamp() {
    let families = families();
    let before = Process::me().resident();
    let recent = Recent::new(Duration::from_secs(600), Limits::default());
    for target in 0..targets() {
        declare(&recent, target);
        recent.observe(&observation(&families, target, 0), &[]);
    }
    let stored = Process::me().resident() - before;
    let start = common::thread_cpu();
    drop(recent.page(Format::Text, None));
    let first = common::thread_cpu() - start;
    let laid_out = Process::me().resident() - before;
    common::forget_peak();
    let resident = Process::me().resident();
    let page = recent.page(Format::Text, None);
    let peak = Process::me().peak() - resident;
    let mut buffer = Vec::with_capacity(page.len());
    let copy = common::median(RUNS, || {
        buffer.clear();
        buffer.extend_from_slice(std::hint::black_box(&page));
    });
    let text = common::median(RUNS, || recent.page(Format::Text, None));
    let open_metrics = common::median(RUNS, || recent.page(Format::OpenMetrics, None));
    let gzip = common::median(RUNS, || gzip(&page));
    let bytes = page.len();
    drop((page, buffer));
    let resident = Process::me().resident();
    for poll in 1..POLLS {
        for target in 0..targets() {
            recent.observe(&observation(&families, target, poll), &[]);
        }
    }
    let window = Process::me().resident().saturating_sub(resident);
    let [copy, first, text, open_metrics, gzip] = [copy, first, text, open_metrics, gzip].map(seconds);
    let [stored, laid_out, window, peak] = [stored, laid_out, stored + window, peak].map(|bytes| bytes as f64);
    common::say(&[bytes as f64, copy, first, text, open_metrics, gzip, stored, laid_out, window, peak]);
}

/// Says: bytes of the page; seconds of a page; bytes of memory; peak of one scrape in bytes.
fn peer() {
    let before = Process::me().resident();
    let mut registry = Registry::default();
    for family in 0..FAMILIES {
        let metric = PeerFamily::<Vec<(String, String)>, Gauge<f64, AtomicU64>>::default();
        registry.register(name(family), "What a sensor says", metric.clone());
        for target in 0..targets() {
            for sensor in 0..SENSORS {
                let labels = [("miner", &*id(target)), ("sensor", &format!("chip{sensor}")), ("site", "north")];
                let labels = labels.map(|(name, value)| (name.to_string(), value.to_string()));
                metric.get_or_create(&labels.to_vec()).set(value(target, family * SENSORS + sensor, 0));
            }
        }
    }
    let stored = Process::me().resident() - before;
    let page = || {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        page
    };
    common::forget_peak();
    let resident = Process::me().resident();
    let bytes = page().len();
    let peak = Process::me().peak() - resident;
    let time = common::median(RUNS, page);
    common::say(&[bytes as f64, seconds(time), stored as f64, peak as f64]);
}

fn report() {
    let series = (targets() * SERIES_PER_TARGET) as f64;
    let ours = Child::start("davylamp").numbers();
    let [bytes, copy, first, text, open_metrics, gzip, stored, laid_out, window, peak] = ours[..] else {
        unreachable!("the child says ten numbers")
    };
    let peer = Child::start("peer").numbers();
    let [_, peer_time, peer_stored, peer_peak] = peer[..] else { unreachable!("the child says four numbers") };
    let time = |name: &str, time: f64, limit: &str| {
        let time_text = common::millis(Duration::from_secs_f64(time));
        vec![name.to_string(), time_text, format!("{:.1}", time / copy), limit.to_string()]
    };
    common::table(
        &format!("A page of {series} series ({:.1} MB, {:.0} B a series)", bytes / 1e6, bytes / series),
        &["", "CPU", "× copy", "to reach at 100,000"],
        &[
            time("copy of the same bytes into a reused buffer", copy, ""),
            time("page, text 0.0.4", text, "3 ms, 5 ×"),
            time("page, OpenMetrics", open_metrics, "3 ms, 5 ×"),
            time("gzip level 1 of the page", gzip, ""),
            time("first page after a series came or went", first, ""),
            time("prometheus-client 0.25, OpenMetrics", peer_time, ""),
        ],
    );
    let memory = |name: &str, bytes: f64, limit: &str| {
        vec![name.to_string(), format!("{:.0} B", bytes / series), format!("{:.1} MB", bytes / 1e6), limit.to_string()]
    };
    common::table(
        "Memory",
        &["", "a series", "in all", "to reach"],
        &[
            memory("recent window after one poll", stored, ""),
            memory("recent window of 40 polls, every fourth value changing", window, ""),
            memory("prepared page", laid_out - stored, "100 B"),
            memory("one scrape, peak beyond that", peak, ""),
            memory("prometheus-client 0.25", peer_stored, ""),
            memory("prometheus-client 0.25, one scrape, peak beyond that", peer_peak, ""),
        ],
    );
}
