//! kill -9 in a loop: a child polls, saves and says what it saved, and is killed at a random moment. Nothing that it said
//! may be missing, and what is there is right. `DAVYLAMP_KILL_CYCLES` sets the number of cycles (60).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use davylamp::store::{History, HistoryOptions};

const FOLDER: &str = "DAVYLAMP_KILL_HISTORY";
const FROM: &str = "DAVYLAMP_KILL_FROM";
/// Polls between two saves.
const POLLS: i64 = 20;

fn options(folder: &Path) -> HistoryOptions {
    // Short partitions, so that packing is killed too.
    HistoryOptions { partition: Duration::from_secs(1800), ..super::options(folder) }
}

/// Not a test of its own: the body of the child, started by the one below.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let from: i64 = std::env::var(FROM).unwrap().parse().unwrap();
    let history = History::open(options(Path::new(&folder))).unwrap();
    let window = super::recent(Duration::from_secs(600));
    println!("ready");
    for n in from.. {
        ["m1", "m2"].iter().for_each(|id| super::poll(&window, id, n));
        if n % POLLS == POLLS - 1 {
            let now = super::START + n * 15_000;
            history.save(&window, now).unwrap();
            std::io::stdout().write_all(format!("saved {n}\n").as_bytes()).unwrap();
            history.tend(now).unwrap();
        }
    }
}

/// Runs the child, kills it after `after`, and gives the last poll that it said to have saved.
fn run_and_kill(folder: &Path, from: i64, after: Duration) -> Option<i64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // `ready` comes after the test harness's own words.
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with("ready")));
    let reader = std::thread::spawn(move || {
        let saved = |line: String| line.strip_prefix("saved ").and_then(|n| n.parse().ok());
        lines.map_while(Result::ok).filter_map(saved).last()
    });
    let begun = Instant::now();
    while begun.elapsed() < after {
        std::thread::park_timeout(after.saturating_sub(begun.elapsed()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// Without stale markers: a window that has just begun knows no series that could end.
fn values(all: super::Shown) -> super::Shown {
    let stale = davylamp::model::series::STALE_NAN_BITS;
    let keep = |points: Vec<(i64, u64)>| points.into_iter().filter(|(_, bits)| *bits != stale).collect();
    all.into_iter().map(|(labels, points, histograms)| (labels, keep(points), histograms)).collect()
}

#[test]
fn nothing_that_was_saved_is_lost_by_kill_9() {
    let cycles: u64 = std::env::var("DAVYLAMP_KILL_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let folder = tempfile::tempdir().unwrap();
    let (mut from, mut saves, mut random) = (0, 0, 0x9e37_79b9_7f4a_7c15_u64);
    for cycle in 0..cycles {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let last = run_and_kill(folder.path(), from, Duration::from_micros((random >> 33) % 150_000));
        let Some(last) = last else { continue };
        saves += (last - from) / POLLS + 1;
        from = last + 1;
        let history = History::open(options(folder.path())).unwrap();
        assert_eq!(history.set_aside(), [], "cycle {cycle}");
        let found = history.select(&[], i64::MIN, super::START + last * 15_000 + 100, 100_000_000).unwrap();
        let want = super::everything(from);
        assert_eq!(values(super::shown(&found)), values(super::all(&*want)), "cycle {cycle}, up to poll {last}");
        assert_eq!(history.set_aside(), [], "cycle {cycle}");
    }
    println!("{cycles} kills, {saves} saves, none lost");
    assert!(saves > cycles as i64 / 2, "the child saved next to nothing: {saves} in {cycles} cycles");
}
