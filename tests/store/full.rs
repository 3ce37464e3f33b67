//! A full disk, on a small tmpfs (skipped, loudly, where mounting is not permitted): nothing acknowledged is lost,
//! reads go on, the message says what to do, and writing resumes by itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use davylamp::store::state::{OpenOptions, SledState, StateStore, StoreError, Txn};

/// A small file system, unmounted at the end.
struct Tmpfs(PathBuf, #[allow(dead_code)] tempfile::TempDir);

impl Tmpfs {
    fn mount(mebibytes: u64) -> Option<Tmpfs> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={mebibytes}m");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "davylamp-test"]).arg(&path).output();
        match done {
            Ok(output) if output.status.success() => Some(Tmpfs(path, folder)),
            other => {
                eprintln!("SKIPPED: a tmpfs cannot be mounted here (root is needed): {other:?}");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        if !std::thread::panicking() {
            assert!(done.unwrap().success(), "the tmpfs is still in use");
        }
    }
}

fn value(n: u64) -> Vec<u8> {
    let mut out = format!("{n}:").into_bytes();
    out.resize(3000, b'.');
    out
}

/// Writes until the store refuses; the number of acknowledged writes.
async fn fill(store: &SledState, from: u64) -> (u64, StoreError) {
    for n in from.. {
        if let Err(error) = store.txn(Txn::put(format!("k/{n:06}"), value(n))).await {
            return (n, error);
        }
        assert!(n < 100_000, "the disk does not get full");
    }
    unreachable!()
}

async fn all_there(store: &SledState, count: u64, what: &str) {
    for n in 0..count {
        let found =
            store.get(&format!("k/{n:06}")).await.unwrap_or_else(|error| panic!("{what}: reads stopped: {error}"));
        assert_eq!(found.unwrap_or_else(|| panic!("{what}: write {n} of {count} is lost")).value, value(n));
    }
}

fn run(name: &str, reserve_bytes: u64, ballast_bytes: u64, filler_bytes: u64) {
    let Some(disk) = Tmpfs::mount(40) else { return };
    let path = disk.0.join("state");
    let options =
        || OpenOptions { reserve_bytes, ballast_bytes, group_commit: Duration::ZERO, ..super::options(&path) };
    let filler = disk.0.join("somebody-elses-file");
    std::fs::write(&filler, vec![1; filler_bytes as usize]).unwrap();
    super::block_on(async {
        let (store, _) = SledState::open(options()).unwrap();
        assert_eq!(disk.0.join("state/ballast").exists(), ballast_bytes > 0);
        let (count, error) = fill(&store, 0).await;
        assert!(count > 50, "{name}: {count}");
        assert!(matches!(error, StoreError::Full { .. }), "{name}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()) && text.contains("free space"), "{name}: {text}");
        all_there(&store, count, name).await;
        assert_eq!(store.get(&format!("k/{count:06}")).await.unwrap(), None, "{name}: refused, and yet there");
        assert!(!store.stats().writable.load(Ordering::Relaxed) || reserve_bytes == 0);
        assert!(store.stats().last_error().is_some());
        drop(store);

        // The disk is as full as it gets: opening must work all the same, and lose nothing.
        hog(&disk.0.join("hog"));
        let (store, report) = SledState::open(options()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!report.is_alarming(), "{name}: {report}");
        all_there(&store, count, name).await;
        std::fs::remove_file(&filler).unwrap();
        std::fs::remove_file(disk.0.join("hog")).unwrap();
        resumes(&store, count, name).await;
        drop(store);
        let (store, report) = SledState::open(options()).unwrap();
        assert!(!report.is_alarming(), "{name}: {report}");
        all_there(&store, count + 1, name).await;
    });
}

/// Takes all the space that is left.
fn hog(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

async fn resumes(store: &SledState, n: u64, name: &str) {
    let begun = Instant::now();
    loop {
        match store.txn(Txn::put(format!("k/{n:06}"), value(n))).await {
            Ok(_) => return,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{name}: does not resume: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_full_disk_is_seen_before_it_hurts() {
    run("reserve", 4 << 20, 4 << 20, 20 << 20);
}

/// Without the reserve sled itself runs into the end of the disk, in the midst of a write.
#[test]
fn a_write_that_hits_the_end_of_the_disk_is_undone() {
    run("ballast", 0, 6 << 20, 20 << 20);
}

/// Without a ballast sled cannot be reopened while the disk stays full. Nothing that was acknowledged is denied then:
/// a read gives the value, or, rarely, says that the disk is full, since sled finishes a page split while it reads.
#[test]
fn without_a_ballast_nothing_acknowledged_is_denied() {
    let Some(disk) = Tmpfs::mount(24) else { return };
    let path = disk.0.join("state");
    let options = OpenOptions { reserve_bytes: 0, group_commit: Duration::ZERO, ..super::options(&path) };
    super::block_on(async {
        let (store, _) = SledState::open(options.clone()).unwrap();
        let (count, error) = fill(&store, 0).await;
        assert!(matches!(error, StoreError::OutcomeUnknown | StoreError::Full { .. }), "{error:?}");
        hog(&disk.0.join("hog"));
        let mut read = 0;
        for n in 0..count {
            assert!(store.txn(Txn::put("more", "x")).await.is_err());
            match store.get(&format!("k/{n:06}")).await {
                Ok(found) => {
                    assert_eq!(found.expect("an acknowledged write is denied").value, value(n));
                    read += 1;
                }
                Err(error) => assert!(matches!(error, StoreError::Full { .. }), "{error:?}"),
            }
        }
        assert!(read * 2 > count, "only {read} of {count} reads went on");
        std::fs::remove_file(disk.0.join("hog")).unwrap();
        let grown = Command::new("mount").args(["-o", "remount,size=48m"]).arg(&disk.0).status().unwrap();
        assert!(grown.success());
        resumes(&store, count, "when space is freed").await;
        all_there(&store, count + 1, "when space is freed").await;
    });
}
