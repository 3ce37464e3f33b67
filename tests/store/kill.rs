//! kill -9 in a loop: a child writes and reports what was acknowledged, and is killed at a random moment. Nothing
//! acknowledged may be missing, nothing torn. `DAVYLAMP_KILL_CYCLES` sets the number of cycles (200).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use davylamp::store::state::{Op, SledState, StateStore, Txn};

const FOLDER: &str = "DAVYLAMP_KILL_FOLDER";
const START: &str = "DAVYLAMP_KILL_START";
/// Keys are written over and over, so that sled's cleaning of old segments is killed too.
const KEYS: u64 = 300;
const WRITERS: u64 = 4;

/// The value of the n-th write of a key pair; its length varies, now and then it is a blob.
fn value(n: u64) -> Vec<u8> {
    let length = if n.is_multiple_of(97) { 200_000 } else { 20 + (n * 37 % 700) as usize };
    let mut out = format!("{n}:").into_bytes();
    out.resize(length, (n % 251) as u8);
    out
}

fn number(value: &[u8]) -> u64 {
    let end = value.iter().position(|byte| *byte == b':').expect("a torn value");
    let n = std::str::from_utf8(&value[..end]).unwrap().parse().unwrap();
    assert_eq!(value, self::value(n), "a torn value");
    n
}

/// Not a test of its own: the body of the child, started by the one below.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let start: u64 = std::env::var(START).unwrap().parse().unwrap();
    let (store, _) = SledState::open(super::options(Path::new(&folder))).unwrap();
    let store = Arc::new(store);
    println!("ready");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            tasks.spawn(async move {
                for n in (start + writer..).step_by(WRITERS as usize) {
                    // Two keys in one transaction: after a crash both or neither. Each writer has keys of its own.
                    let key = (n % KEYS) / WRITERS * WRITERS + writer;
                    let put = |side: &str| Op::Put { key: format!("{side}/{key}"), value: value(n) };
                    let txn = Txn { then: vec![put("left"), put("right")], ..Txn::default() };
                    let done = store.txn(txn).await.unwrap();
                    // One write call each, so that a line is whole.
                    std::io::stdout().write_all(format!("ack {key} {n} {}\n", done.revision).as_bytes()).unwrap();
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    });
}

/// Starts the child, kills it after `after` from its first acknowledgement on, and returns what it acknowledged.
fn run_and_kill(folder: &Path, start: u64, after: Duration) -> Vec<(u64, u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(START, start.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    // `ready` comes after the test harness's own words.
    for line in lines.by_ref() {
        if line.unwrap().ends_with("ready") {
            break;
        }
    }
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let words: Vec<u64> = line.split(' ').skip(1).filter_map(|word| word.parse().ok()).collect();
            if let (true, [key, n, revision]) = (line.starts_with("ack "), words.as_slice()) {
                acknowledged.push((*key, *n, *revision));
            }
        }
        acknowledged
    });
    let begun = Instant::now();
    while begun.elapsed() < after {
        std::thread::park_timeout(after - begun.elapsed().min(after));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let cycles: u64 = std::env::var("DAVYLAMP_KILL_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state");
    let (mut known, mut start, mut total, mut last_revision) = (BTreeMap::<u64, u64>::new(), 0, 0, 0);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for cycle in 0..cycles {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let acknowledged = run_and_kill(&place, start, Duration::from_micros((random >> 33) % 80_000));
        total += acknowledged.len();
        for (key, n, revision) in acknowledged {
            let newest = known.entry(key).or_default();
            *newest = n.max(*newest);
            start = start.max(n + 1);
            last_revision = last_revision.max(revision);
        }
        let (store, report) = SledState::open(super::options(&place)).unwrap();
        let odd = report.messages.iter().any(|message| !message.starts_with("packed anew"));
        assert!(!report.is_alarming() && !odd, "cycle {cycle}: {report}");
        assert!(report.revision >= last_revision, "cycle {cycle}: revision {last_revision} is lost");
        super::block_on(async {
            for (key, newest) in &mut known {
                let left = store.get(&format!("left/{key}")).await.unwrap().expect("an acknowledged key is gone");
                let right = store.get(&format!("right/{key}")).await.unwrap().expect("an acknowledged key is gone");
                assert_eq!(left, right, "cycle {cycle}: half a transaction");
                let n = number(&left.value);
                assert!(n >= *newest, "cycle {cycle}: write {newest} of key {key} is lost, {n} is there");
                // An unacknowledged write may have happened; it then counts as the newest.
                *newest = n;
                start = start.max(n + 1);
            }
        });
    }
    println!("{cycles} kills, {total} acknowledged transactions, none lost");
    assert!(total as u64 > cycles, "the child wrote next to nothing: {total} in {cycles} cycles");
}
