//! Samples in the window and on disk: 10,000 series of one hour at 15 s (1,000 targets): bytes a sample, and how long it
//! takes to find them, beside the blocks that Prometheus' own promtool makes of the same samples.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a bench prints, and may panic")]

mod common;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use davylamp::model::{Family, Labels, Matcher, Observation, Reading, Source, Target, TargetId};
use davylamp::query;
use davylamp::store::{History, HistoryOptions, Limits, Recent};

static HEAT: Family = Family::gauge("bench_temperature_celsius", "Heat", &["sensor"]);
static SHARES: Family = Family::counter("bench_shares_total", "Shares", &["pool"]);
static HASHRATE: Family = Family::gauge("bench_hashrate_hashes_per_second", "Hashes", &["board"]);
static FAN: Family = Family::gauge("bench_fan_speed_rpm", "Fan", &["fan"]);
static FREQUENCY: Family = Family::gauge("bench_frequency_hertz", "A setting", &["board"]);

const TARGETS: usize = 1000;
/// Of each target: two of each family.
const SERIES: usize = 10;
const POLLS: i64 = 240;
const START: i64 = 1_700_000_000_000;
const RUNS: usize = 5;

/// Numbers without a pattern, the same every time.
fn noise(target: usize, poll: i64, series: usize) -> f64 {
    let mut x = (target as u64) << 40 ^ (poll as u64) << 8 ^ series as u64;
    for _ in 0..3 {
        x = (x ^ x >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (x >> 40) as f64 / (1_u64 << 24) as f64
}

/// What a miner says: temperatures to a tenth, hashrates that jump, counters, fans in steps, settings.
fn reading(target: usize, poll: i64) -> Reading {
    let mut reading = Reading::default();
    for index in 0..2_usize {
        let (word, noise) = (index.to_string(), |series: usize| noise(target, poll, series * 2 + index));
        let heat = (600.0 + (poll as f64 / 9.0).sin() * 40.0 + noise(0) * 12.0).round() / 10.0;
        reading.put(&HEAT, &[("sensor", &word)], heat);
        reading.put(&SHARES, &[("pool", &word)], (poll * 3 + (noise(1) * 3.0) as i64) as f64);
        reading.put(&HASHRATE, &[("board", &word)], (1.2e4 + noise(2) * 400.0).round() * 1e8);
        reading.put(&FAN, &[("fan", &word)], 4200.0 + ((poll / 20) % 4) as f64 * 30.0);
        reading.put(&FREQUENCY, &[("board", &word)], 5.25e8);
    }
    reading
}

fn at(target: usize, poll: i64) -> i64 {
    START + poll * 15_000 + (noise(target, poll, 99) * 6.0) as i64
}

fn declare(recent: &Recent) {
    for target in 0..TARGETS {
        let id: TargetId = format!("rig-{target:04}").into();
        let labels = Labels::new([("site", format!("site{}", target % 10))]);
        let (interval, timeout) = (Duration::from_secs(15), Duration::from_secs(15));
        let (kind, address, options) = ("bench".into(), String::new(), serde_json::Value::Null);
        recent.declare(&Target { id, kind, address, interval, timeout, cron: None, labels, options }, "miner");
    }
}

fn poll(recent: &Recent, poll: i64) {
    for target in 0..TARGETS {
        let (id, outcome) = (format!("rig-{target:04}").into(), Ok(reading(target, poll)));
        let (at, took) = (at(target, poll), Duration::ZERO);
        recent.observe(&Observation { target: id, at, took, outcome }, &[]);
    }
}

/// The same samples as OpenMetrics with times, for promtool.
fn openmetrics(path: &Path) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let families =
        [(&HEAT, "gauge"), (&SHARES, "counter"), (&HASHRATE, "gauge"), (&FAN, "gauge"), (&FREQUENCY, "gauge")];
    for (family, kind) in families {
        writeln!(file, "# TYPE {} {kind}", family.name.trim_end_matches("_total")).unwrap();
        for target in 0..TARGETS {
            for poll in 0..POLLS {
                for sample in reading(target, poll).samples.iter().filter(|sample| sample.family.name == family.name) {
                    let (name, value) = sample.labels.iter().next().unwrap();
                    let labels = format!("{name}=\"{value}\",miner=\"rig-{target:04}\",site=\"site{}\"", target % 10);
                    let t = at(target, poll) as f64 / 1000.0;
                    writeln!(file, "{}{{{labels}}} {} {t:.3}", family.name, sample.value).unwrap();
                }
            }
        }
    }
    writeln!(file, "# EOF").unwrap();
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}

fn prometheus(folder: &Path) -> Option<u64> {
    let (input, output) = (folder.join("samples.om"), folder.join("blocks"));
    openmetrics(&input);
    let done =
        Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).args([&input, &output]).output();
    match done {
        Ok(done) if done.status.success() => Some(size(&output)),
        other => {
            eprintln!("SKIPPED: promtool made no blocks: {other:?}");
            None
        }
    }
}

fn sizes(folder: &Path, window: f64, fresh: [f64; 2], packed: [f64; 2]) {
    let samples = (TARGETS * SERIES) as f64 * POLLS as f64;
    let each = |bytes: f64| format!("{:.2} B", bytes / samples);
    let mut rows = vec![
        vec!["window, in memory (labels included)".into(), each(window), String::new()],
        vec!["history, as it is written every 5 min".into(), each(fresh[0]), each(fresh[1])],
        vec!["history, packed after a day".into(), each(packed[0]), each(packed[1])],
    ];
    if let Some(bytes) = prometheus(folder) {
        rows.push(vec!["Prometheus' blocks of the same samples".into(), each(bytes as f64), String::new()]);
    }
    let title = format!("{} series × 1 h at 15 s", TARGETS * SERIES);
    common::table(&title, &["", "a sample, all in", "chunks alone"], &rows);
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let samples = (TARGETS * SERIES) as f64 * POLLS as f64;
    let before = common::Process::me().resident();
    let recent = Arc::new(Recent::new(Duration::from_secs(3700), Limits::default()));
    declare(&recent);
    poll(&recent, 0);
    let known = common::Process::me().resident() - before;
    let options = HistoryOptions { reserve_bytes: 0, ..HistoryOptions::new(folder.path().join("history")) };
    let history = History::open(options.clone()).unwrap();
    let mut saving = Duration::ZERO;
    for n in 1..POLLS {
        poll(&recent, n);
        // Every five minutes.
        if n % 20 == 19 {
            let begun = common::thread_cpu();
            history.save(&recent, START + n * 15_000).unwrap();
            saving += common::thread_cpu() - begun;
        }
    }
    let window = common::Process::me().resident() - before;
    let stats = history.stats();
    let load = |figure: &std::sync::atomic::AtomicU64| figure.load(std::sync::atomic::Ordering::Relaxed) as f64;
    let (fresh, fresh_chunks) = (load(&stats.bytes), load(&stats.chunk_bytes));
    let one = [Matcher::equal("__name__", "bench_shares_total"), Matcher::equal("miner", "rig-0500")];
    let family = [Matcher::equal("__name__", "bench_temperature_celsius"), Matcher::equal("sensor", "1")];
    let (end, late) = (START + POLLS * 15_000, START + (POLLS - 20) * 15_000);
    let times = |select: &dyn Fn(&[Matcher], i64) -> usize| {
        assert_eq!((select(&one, START), select(&family, START)), (2, TARGETS));
        let cases = [(&one[..], late), (&one[..], START), (&family[..], late), (&family[..], START)];
        cases.map(|(matchers, from)| common::millis(common::median(RUNS, || select(matchers, from))))
    };
    let memory = times(&|matchers, from| recent.select(matchers, from, end).unwrap().len());
    let disk = times(&|matchers, from| history.select(matchers, from, end, usize::MAX).unwrap().len());
    drop(history);
    // A day later the partition is packed.
    let history = History::open(options).unwrap();
    let later = Recent::new(Duration::from_secs(3700), Limits::default());
    declare(&later);
    history.save(&later, END_OF_DAY).unwrap();
    let begun = common::thread_cpu();
    history.tend(END_OF_DAY).unwrap();
    let packing = common::thread_cpu() - begun;
    let stats = history.stats();
    let (packed, packed_chunks) = (load(&stats.bytes), load(&stats.chunk_bytes));
    let packed_disk = times(&|matchers, from| history.select(matchers, from, end, usize::MAX).unwrap().len());
    sizes(folder.path(), window as f64, [fresh, fresh_chunks], [packed, packed_chunks]);
    println!(
        "\nA series costs {:.0} B in memory with one sample. Saving took {:.2} µs a sample, packing {:.2} µs.",
        known as f64 / (TARGETS * SERIES) as f64,
        saving.as_secs_f64() * 1e6 / samples,
        packing.as_secs_f64() * 1e6 / samples
    );
    let row = |name: &str, times: [String; 4]| [vec![name.to_string()], times.to_vec()].concat();
    let rows = [row("window", memory), row("history, fresh", disk), row("history, packed", packed_disk)];
    let header = ["select, CPU", "2 series, 5 min", "2 series, 1 h", "1,000 series, 5 min", "1,000 series, 1 h"];
    common::table("Finding them", &header, &rows);
    questions(&recent, folder.path());
}

/// The same questions to the window and to a Prometheus over the same samples: CPU an answer, Prometheus' with its HTTP.
fn questions(recent: &Recent, folder: &Path) {
    let (start, end) = (START + 10 * 60_000, START + 59 * 60_000);
    let peer = common::peer::Peer::start(&folder.join("blocks"));
    let mut rows = Vec::new();
    for text in [
        r#"bench_temperature_celsius{miner="rig-0500"}"#,
        r#"sum(rate(bench_shares_total{miner="rig-0500"}[5m]))"#,
        "sum(bench_hashrate_hashes_per_second)",
        "avg by (site) (rate(bench_shares_total[5m]))",
        "topk(5, bench_temperature_celsius)",
    ] {
        let expr = query::parse(text).unwrap();
        let limits = query::Limits::default();
        let instant = common::median(RUNS, || query::instant(&expr, recent, end, &limits).unwrap());
        let range = common::median(RUNS, || query::range(&expr, recent, start, end, 60_000, &limits).unwrap());
        let mut row = vec![format!("`{text}`"), common::millis(instant), common::millis(range)];
        let asked = url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let theirs = peer.as_ref().map(|peer| {
            let span = format!("start={}&end={}&step=60", start / 1000, end / 1000);
            let instant = peer.cpu(&format!("/api/v1/query?query={asked}&time={}", end / 1000), 20);
            [instant, peer.cpu(&format!("/api/v1/query_range?query={asked}&{span}"), 10)]
        });
        row.extend(theirs.map_or(["-".into(), "-".into()], |both| both.map(common::millis)));
        rows.push(row);
    }
    let header = ["CPU an answer", "instant", "range, 50 steps", "Prometheus: instant", "range"];
    common::table("Questions over one hour of 10,000 series", &header, &rows);
}

const END_OF_DAY: i64 = START + 2 * 86_400_000;
