//! Where the time of one poll goes, behind the socket: reading, accounting, storing, each on one thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use davylamp::collect::{self, Collector, Reply};
use davylamp::demo::{DeviceSpec, Fleet, Model};
use davylamp::model::{Labels, Observation, Reading, Target};
use davylamp::schedule::about::About;
use davylamp::store::{Limits, Recent};

use crate::common;

/// Polls of one run, and runs.
const POLLS: usize = 200;
const RUNS: usize = 11;
/// Polls over the socket, of which the mean is told; what is asked seldom was asked before.
const FETCHES: u32 = 20;

pub fn report() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), davylamp::demo::PASSWORD).unwrap();
    let models = Model::ALL;
    let specs = models.iter().map(|model| DeviceSpec::new(format!("{model:?}"), *model)).collect();
    let fleet = runtime.block_on(Fleet::start(specs, 1)).unwrap();
    let row = |device: &davylamp::demo::DeviceHandle| {
        let kind = collect::kind(device.kind()).unwrap();
        let target = Target {
            id: device.id().into(),
            kind: kind.name.into(),
            address: device.address().to_string(),
            interval: crate::INTERVAL,
            timeout: Duration::from_secs(4),
            cron: None,
            labels: Labels::new([("site", "bench")]),
            options: device.options(password.path()),
        };
        let collector = (kind.open)(&target).unwrap();
        let replies = runtime.block_on(collector.fetch()).unwrap();
        let asked = device.requests();
        let start = Instant::now();
        (0..FETCHES).for_each(|_| drop(runtime.block_on(collector.fetch()).unwrap()));
        let whole = (device.requests() - asked, start.elapsed() / FETCHES);
        let mut cells = stages(&target, kind.subject, &*collector, &replies);
        cells.splice(1..1, [format!("{:.1}", whole.0 as f64 / f64::from(FETCHES)), common::micros(whole.1)]);
        cells
    };
    let rows: Vec<_> = fleet.devices().iter().map(row).collect();
    let header = [
        "model",
        "requests",
        "over the socket",
        "replies",
        "samples",
        "bare JSON",
        "parse",
        "`about`",
        "store",
        "store, full window",
    ];
    common::table("One poll, by family: time over the socket, the device's included; behind it CPU", &header, &rows);
}

fn each(mut work: impl FnMut()) -> Duration {
    common::median(RUNS, || (0..POLLS).for_each(|_| work())) / POLLS as u32
}

fn stages(target: &Target, subject: &'static str, collector: &dyn Collector, replies: &[Reply]) -> Vec<String> {
    let bytes: usize = replies.iter().map(|reply| reply.body.len()).sum();
    let reading = collector.parse(replies).unwrap();
    let json = each(|| {
        for reply in replies {
            let body = reply.body.strip_suffix(b"\0").unwrap_or(&reply.body);
            std::hint::black_box(serde_json::from_slice::<serde_json::Value>(body).is_ok());
        }
    });
    let parse = each(|| drop(std::hint::black_box(collector.parse(replies))));
    let mut account = About::new(target);
    let seen = observation(target, &reading, 0);
    let about = each(|| drop(std::hint::black_box(account.enter(&seen))));
    let [store, full] = [Duration::from_secs(1), Duration::from_secs(600)].map(|window| {
        let recent = Recent::new(window, Limits::default());
        recent.declare(target, subject);
        let mut polls = 0;
        let about = account.enter(&seen);
        each(|| {
            polls += 1;
            recent.observe(&observation(target, &reading, polls), &about);
        })
    });
    let copying = each(|| drop(std::hint::black_box(observation(target, &reading, 1))));
    let [store, full] = [store, full].map(|store| store.saturating_sub(copying));
    let words = [target.id.to_string(), format!("{bytes} B"), reading.samples.len().to_string()];
    words.into_iter().chain([json, parse, about, store, full].map(common::micros)).collect()
}

/// The reading number `poll`: every fourth value has drifted.
fn observation(target: &Target, reading: &Reading, poll: i64) -> Observation {
    let mut reading = reading.clone();
    for sample in reading.samples.iter_mut().step_by(4) {
        sample.value += poll as f64;
    }
    let at = 1_700_000_000_000 + poll * 5_000;
    Observation { target: Arc::clone(&target.id), at, took: Duration::ZERO, outcome: Ok(reading) }
}
