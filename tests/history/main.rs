//! The history from outside: what the window had is found on disk, bit by bit; kill -9, damage and a full disk cost what
//! is promised and no more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)] // tests

mod damage;
mod kill;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use davylamp::model::{
    Family, FamilyRef, FloatHistogram, Labels, Matcher, Observation, Point, Reading, Series, Source, Target, TargetId,
};
use davylamp::store::{Arrival, Arrived, History, HistoryOptions, Limits, Recent, Samples};
use proptest::prelude::*;

static HEAT: Family = Family::gauge("heat_celsius", "Heat", &["sensor"]);
static SHARES: Family = Family::counter("shares_total", "Shares", &[]);

/// A Tuesday of 2023.
pub const START: i64 = 1_700_000_000_000;

/// Options for tests: a full disk is a test of its own.
pub fn options(path: &Path) -> HistoryOptions {
    HistoryOptions { reserve_bytes: 0, ..HistoryOptions::new(path) }
}

/// A window that knows two targets and somebody who pushes.
pub fn recent(window: Duration) -> Arc<Recent> {
    let recent = Recent::new(window, Limits::default());
    for id in ["m1", "m2"] {
        let target = Target {
            id: id.into(),
            kind: "axeos".into(),
            address: String::new(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            cron: None,
            labels: Labels::new([("site", "home")]),
            options: serde_json::Value::Null,
        };
        recent.declare(&target, "miner");
    }
    recent.declare_pushed(&"/push".into(), "remote_write");
    recent.begin(START);
    Arc::new(recent)
}

/// Polls a target: what it says depends on the number of the poll only. Now and then a poll fails.
pub fn poll(recent: &Recent, id: &str, n: i64) {
    let mut reading = Reading::default();
    reading.put(&HEAT, &[("sensor", "chip")], 50.0 + (n * 7919 % 101) as f64 / 10.0);
    if n % 5 != 3 {
        reading.put(&HEAT, &[("sensor", "board")], 1.0 / (n + 1) as f64);
    }
    reading.put(&SHARES, &[], (n / 4) as f64);
    let failed = davylamp::model::PollFailure::new(davylamp::model::FailureReason::Timeout, "");
    let outcome = if n % 17 == 11 { Err(failed) } else { Ok(reading) };
    let at = START + n * 15_000 + n * 13 % 7;
    recent.observe(&Observation { target: id.into(), at, took: Duration::ZERO, outcome }, &[]);
}

/// Pushes points of one series; says how many were kept.
pub fn push(recent: &Recent, name: &str, points: &[(i64, f64)], now: i64) -> usize {
    let labels = Labels::new([("__name__", name), ("job", "agent")]);
    let points: Vec<_> =
        points.iter().map(|(t, v)| (FamilyRef::from(&HEAT), labels.clone(), Point { t: *t, v: *v })).collect();
    recent.append_points(&"/push".into(), &points, now).kept
}

/// Pushes one point with its start timestamp.
fn push_since(recent: &Recent, name: &str, (t, v): (i64, f64), start: i64) {
    let labels = Labels::new([("__name__", name), ("job", "agent")]);
    let arrival = Arrival { family: (&SHARES).into(), labels, t, value: Arrived::Float(v), start };
    assert_eq!(recent.append_arrivals(&"/push".into(), &[arrival], t).kept, 1);
}

/// Labels (and the start timestamps of points), points as times and bits, number of histograms.
pub type Shown = Vec<(String, Vec<(i64, u64)>, usize)>;

/// Comparable although NaNs are not equal to themselves.
pub fn shown(series: &[Series]) -> Shown {
    let points = |series: &Series| series.points.iter().map(|p| (p.t, p.v.to_bits())).collect();
    let starts = |series: &Series| match series.starts.is_empty() {
        true => String::new(),
        false => format!("{:?}", series.points.iter().map(|p| series.starts.at(p.t)).collect::<Vec<_>>()),
    };
    series.iter().map(|one| (format!("{}{}", one.labels, starts(one)), points(one), one.histograms.len())).collect()
}

/// All that a source has.
pub fn all(source: &dyn Source) -> Shown {
    shown(&source.select(&[], i64::MIN, i64::MAX).unwrap())
}

/// What a window that forgets nothing has of the same polls.
pub fn everything(polls: i64) -> Arc<Recent> {
    let all = recent(Duration::from_secs(365 * 86_400));
    (0..polls).for_each(|n| ["m1", "m2"].iter().for_each(|id| poll(&all, id, n)));
    all
}

#[test]
fn what_the_window_forgets_is_found_on_disk_while_it_is_written_after_it_is_packed_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(3600);
    let open = || Arc::new(History::open(HistoryOptions { partition: day, ..options(folder.path()) }).unwrap());
    let history = open();
    let window = recent(Duration::from_secs(600));
    let polls = 1000;
    for n in 0..polls {
        ["m1", "m2"].iter().for_each(|id| poll(&window, id, n));
        if n % 20 == 19 {
            let now = START + n * 15_000;
            assert!(history.save(&window, now).unwrap() > 0);
            if n % 100 == 99 {
                history.tend(now).unwrap();
            }
        }
    }
    let want = all(&*everything(polls));
    let samples = Samples::new(window.clone(), Some(history.clone()));
    assert_eq!(all(&samples), want, "window and history, merged");
    assert_ne!(all(&*window), want, "the window alone has less");
    let stats = history.stats();
    use std::sync::atomic::Ordering::Relaxed;
    assert_eq!(stats.samples_total.load(Relaxed), want.iter().map(|(_, points, _)| points.len() as u64).sum::<u64>());
    assert_eq!(stats.errors_total.load(Relaxed), 0);
    assert!(stats.partitions.load(Relaxed) >= 4);
    let witness = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("META")).unwrap();
    let packed = std::fs::read_dir(folder.path()).unwrap().flatten().map(witness);
    assert!(packed.filter(|text| text.contains("\"packed\":true")).count() >= 2);
    drop((samples, history));

    let history = open();
    let empty = recent(Duration::from_secs(600));
    empty.begin(START + polls * 15_000);
    let samples = Samples::new(empty, Some(history.clone()));
    assert_eq!(all(&samples), want, "after a restart the history alone has everything");
    let (start, end) = (START + 200 * 15_000, START + 300 * 15_000);
    let matchers = [Matcher::equal("__name__", "heat_celsius"), Matcher::equal("miner", "m2")];
    let part = shown(&samples.select(&matchers, start, end).unwrap());
    let fits = |labels: &str| labels.starts_with("heat_celsius") && labels.contains("m2");
    let cut = |points: &[(i64, u64)]| points.iter().copied().filter(|(t, _)| (start..=end).contains(t)).collect();
    let want: Vec<(String, Vec<_>, usize)> =
        want.iter().filter(|(l, ..)| fits(l)).map(|(l, points, n)| (l.clone(), cut(points), *n)).collect();
    assert_eq!((part.len(), &part), (2, &want));
    assert_eq!(samples.series(&matchers, start, end).unwrap().len(), 2);
    // The gap is what a restart takes; longer ones end what rules may rely on.
    let now = START + (polls - 1) * 15_000;
    assert_eq!(history.covered_since(now + 30_000, Duration::from_secs(60)), Some(START));
    assert_eq!(history.covered_since(now + 90_000, Duration::from_secs(60)), None);
}

#[test]
fn a_sender_that_was_cut_off_catches_up_and_the_last_minutes_of_a_removed_target_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let history = Arc::new(History::open(options(folder.path())).unwrap());
    let window = recent(Duration::from_secs(600));
    let now = START + 7_200_000;
    assert_eq!(push(&window, "old", &[(START + 1000, 1.0)], now), 0, "without a history that is too old");
    history.save(&window, now).unwrap();
    let backlog: Vec<(i64, f64)> = (0..400).map(|n| (START + 1000 + n * 15_000, n as f64)).collect();
    for part in backlog.chunks(30) {
        assert_eq!(push(&window, "old", part, now), part.len());
    }
    poll(&window, "m1", 480);
    window.forget(&"m1".into());
    let id = TargetId::from("/push");
    let labels = Labels::new([("__name__", "latency")]);
    let histogram = |t: i64| {
        let one = FloatHistogram { count: t as f64, ..FloatHistogram::default() };
        (FamilyRef::from(&HEAT), labels.clone(), t, Arc::new(one))
    };
    window.append_histograms(&id, &[histogram(now - 1000), histogram(now)], now);
    history.save(&window, now).unwrap();
    let found = history.select(&[], i64::MIN, i64::MAX, 10_000).unwrap();
    let names: Vec<_> = found.iter().map(|series| series.labels.name().unwrap().to_string()).collect();
    assert_eq!(names, ["heat_celsius", "heat_celsius", "latency", "old", "shares_total"]);
    assert_eq!(
        found[2].histograms.iter().map(|(t, h)| (*t, h.count)).collect::<Vec<_>>(),
        [(now - 1000, (now - 1000) as f64), (now, now as f64)]
    );
    assert_eq!(found[3].points.len(), 400);
    // What is saved need not wait in memory any longer.
    push(&window, "new", &[(now + 1000, 1.0)], now + 1000);
    assert!(window.select(&[Matcher::equal("__name__", "old")], 0, now - 700_000).unwrap().is_empty());
    assert!(matches!(
        history.select(&[], 0, i64::MAX, 100),
        Err(davylamp::model::SourceError::TooManySamples { limit: 100 })
    ));
}

#[test]
fn retention_by_time_and_by_size_removes_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let options = HistoryOptions { partition: hour, retention: hour * 5, ..options(folder.path()) };
    let history = History::open(options.clone()).unwrap();
    let window = recent(Duration::from_secs(600));
    let polls = 240 * 10;
    for n in 0..polls {
        poll(&window, "m1", n);
        if n % 20 == 19 {
            history.save(&window, START + n * 15_000).unwrap();
        }
    }
    let now = START + polls * 15_000;
    let oldest = |history: &History| history.select(&[], 0, i64::MAX, 1_000_000).unwrap()[0].points[0].t;
    assert!(oldest(&history) < START + 600_000);
    for _ in 0..12 {
        history.tend(now).unwrap();
    }
    let kept = now - oldest(&history);
    assert!((4 * 3_600_000..=6 * 3_600_000 + 600_000).contains(&kept), "{kept}");
    drop(history);
    let history = History::open(HistoryOptions { max_bytes: 1, ..options }).unwrap();
    history.tend(now).unwrap();
    let kept = now - oldest(&history);
    assert!(kept <= 3_600_000 + 600_000, "only the partition that is being written is left: {kept}");
}

#[test]
fn only_what_matches_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let matchers = vec![Matcher::parse("__name__=~\"heat.*\"").unwrap(), Matcher::parse("miner!=\"m2\"").unwrap()];
    let history = History::open(HistoryOptions { matchers, ..options(folder.path()) }).unwrap();
    let window = everything(20);
    history.save(&window, START + 300_000).unwrap();
    let found = history.series(&[], i64::MIN, i64::MAX).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|labels| labels.get("miner") == Some("m1") && labels.name() == Some("heat_celsius")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is appended and whenever it is saved: window and history together have what a window without end has.
    #[test]
    fn history_and_window_are_one(
        steps in prop::collection::vec((0_u8..3, 1_i64..40_000, any::<u64>()), 1..120),
        saves in prop::collection::btree_set(0_usize..120, 0..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let partition = Duration::from_secs(900);
        let history = Arc::new(History::open(HistoryOptions { partition, ..options(folder.path()) }).unwrap());
        let (window, endless) = (recent(Duration::from_secs(60)), recent(Duration::from_secs(86_400 * 365)));
        history.save(&window, START).unwrap();
        let mut now = START;
        for (index, (series, step, bits)) in steps.iter().enumerate() {
            now += step;
            let name = ["a", "b", "c"][usize::from(*series)];
            // NaNs whose bits say "absent" in the window's columns never come from a parser.
            let value = f64::from_bits(if *bits == 0x7ff0_0000_0000_0003 { 0 } else { *bits });
            // Counters, deltas, and those of which nobody knows.
            let start = [0, START - 1, now - step][(bits % 7 / 3) as usize];
            for recent in [&window, &endless] {
                push_since(recent, name, (now, value), start);
            }
            if saves.contains(&index) {
                history.save(&window, now).unwrap();
                history.tend(now).unwrap();
            }
        }
        let samples = Samples::new(window, Some(history));
        prop_assert_eq!(all(&samples), all(&*endless));
    }
}
