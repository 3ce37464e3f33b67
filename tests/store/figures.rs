//! Figures of the state on the disk at hand: printed, never asserted. `cargo test --test store figures -- --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use davylamp::store::state::{Op, OpenOptions, SledState, StateStore, Txn, compact, verify};

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[test]
fn figures() {
    let folder = tempfile::tempdir().unwrap();
    let record = || vec![b'x'; 212];
    for (name, group_commit) in [("no pacing", Duration::ZERO), ("paced at 2 ms", Duration::from_millis(2))] {
        let path = folder.path().join(name.replace(' ', "-"));
        let options = OpenOptions { group_commit, ..super::options(&path) };
        let (store, _) = SledState::open(options.clone()).unwrap();
        let store = Arc::new(store);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut took = Vec::new();
            let begun = Instant::now();
            let mut revision = store.txn(Txn::put("cas", record())).await.unwrap().revision;
            for _ in 0..400 {
                let one = Instant::now();
                revision = store.txn(Txn::replace("cas", revision, record())).await.unwrap().or_conflict().unwrap();
                took.push(one.elapsed());
            }
            let single = 400.0 / begun.elapsed().as_secs_f64();
            took.sort_unstable();
            let begun = Instant::now();
            for batch in 0..50 {
                let put = |n| Op::Put { key: format!("b/{}", batch * 100 + n), value: record() };
                store.txn(Txn { then: (0..100).map(put).collect(), ..Txn::default() }).await.unwrap();
            }
            let batched = 5000.0 / begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for task in 0..64 {
                let store = store.clone();
                tasks.spawn(async move {
                    for n in 0..40 {
                        store.txn(Txn::put(format!("t/{task}/{n}"), vec![b'x'; 212])).await.unwrap();
                    }
                });
            }
            while tasks.join_next().await.is_some() {}
            let concurrent = 64.0 * 40.0 / begun.elapsed().as_secs_f64();
            println!(
                "{name}: {single:.0} single durable txn/s; CAS p50 {:?} p99 {:?}; {batched:.0} records/s in batches of \
                 100; {concurrent:.0} txn/s from 64 callers",
                percentile(&took, 50),
                percentile(&took, 99)
            );
            lone_writes(name, &store).await;
        });
        drop(runtime);
        drop(store);
        let (store, report) = SledState::open(options).unwrap();
        let disk = store.stats().bytes_on_disk.load(std::sync::atomic::Ordering::Relaxed);
        drop(store);
        let packed = compact(&path).unwrap();
        let records = verify(&path).unwrap().record_bytes;
        println!(
            "{name}: opened {} keys in {:?}; {disk} bytes on the disk, {} packed, {records} of records",
            report.keys, report.took, packed.after
        );
    }
}

/// Lone writes, as claims are: 10 ms apart.
async fn lone_writes(name: &str, store: &SledState) {
    let mut lone = Vec::new();
    for n in 0..60 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let one = Instant::now();
        store.txn(Txn::put(format!("lone/{n}"), vec![b'x'; 212])).await.unwrap();
        lone.push(one.elapsed());
    }
    lone.sort_unstable();
    println!("{name}: lone writes p50 {:?} p99 {:?}", percentile(&lone, 50), percentile(&lone, 99));
}
