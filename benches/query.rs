//! PromQL over the recent window: 10,000 series of one hour at 15 s, at one time and over the hour.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and may panic")]

mod common;

use std::time::Duration;

use davylamp::model::{Family, Labels, Observation, Reading, Target, TargetId};
use davylamp::query::{self, Value};
use davylamp::store::{Limits, Recent};

static HEAT: Family = Family::gauge("bench_temperature_celsius", "Heat", &["sensor"]);
static SHARES: Family = Family::counter("bench_shares_total", "Shares", &["pool"]);

const TARGETS: usize = 1000;
/// Of each of the two families.
const SERIES_PER_FAMILY: usize = 5;
const POLLS: i64 = 240;
const STEP: i64 = 15_000;
const RUNS: usize = 5;

const QUERIES: [&str; 4] = [
    "bench_temperature_celsius > 79",
    "sum by (site) (rate(bench_shares_total[5m]))",
    "topk(5, avg_over_time(bench_temperature_celsius[10m]))",
    "bench_shares_total{miner=\"rig-0500\"}",
];

fn fill(recent: &Recent) {
    for target in 0..TARGETS {
        let id: TargetId = format!("rig-{target:04}").into();
        let target_of = Target {
            id: id.clone(),
            kind: "bench".into(),
            address: String::new(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(15),
            cron: None,
            labels: Labels::new([("site", format!("site{}", target % 10))]),
            options: serde_json::Value::Null,
        };
        recent.declare(&target_of, "miner");
        for poll in 0..POLLS {
            let mut reading = Reading::default();
            for index in 0..SERIES_PER_FAMILY {
                let word = index.to_string();
                let heat = 60.0 + ((target * 7 + index + poll as usize) % 200) as f64 / 10.0;
                reading.put(&HEAT, &[("sensor", &word)], heat);
                reading.put(&SHARES, &[("pool", &word)], (poll * (index as i64 + 1)) as f64);
            }
            let (at, took) = (poll * STEP, Duration::ZERO);
            recent.observe(&Observation { target: id.clone(), at, took, outcome: Ok(reading) }, &[]);
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Vector(samples) => samples.len(),
        Value::Matrix(series) => series.len(),
        _ => 1,
    }
}

fn main() {
    let before = common::Process::me().resident();
    let recent = Recent::new(Duration::from_secs(3600), Limits::default());
    fill(&recent);
    let bytes = common::Process::me().resident() - before;
    let (limits, end) = (query::Limits::default(), (POLLS - 1) * STEP);
    let row = |text: &&str| {
        let expr = query::parse(text).unwrap();
        let at = || query::instant(&expr, &recent, end, &limits).unwrap().value;
        let over = || query::range(&expr, &recent, 0, end, 60_000, &limits).unwrap().value;
        let series = size(&over()).to_string();
        let [at, over] = [common::median(RUNS, at), common::median(RUNS, over)].map(common::millis);
        vec![format!("`{text}`"), series, at, over]
    };
    let rows: Vec<_> = QUERIES.iter().map(row).collect();
    let points = TARGETS * SERIES_PER_FAMILY * 2 * POLLS as usize;
    common::table(
        &format!(
            "{} series × 1 h at 15 s, {:.1} B a sample",
            TARGETS * SERIES_PER_FAMILY * 2,
            bytes as f64 / points as f64
        ),
        &["query", "series", "CPU, instant", "CPU, range of 1 h in steps of 60 s"],
        &rows,
    );
}
