//! Damage: files that are truncated, zeroed or rubbish never keep the history from opening, nor from being written; what
//! is lost is said, and stays within its partition. A full disk stops the history and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use davylamp::store::{History, HistoryError, HistoryOptions};

fn options(folder: &Path) -> HistoryOptions {
    HistoryOptions { partition: Duration::from_secs(1800), ..super::options(folder) }
}

/// A history of 600 polls in several partitions; the first ones are packed.
fn made(folder: &Path) -> usize {
    let history = History::open(options(folder)).unwrap();
    let window = super::recent(Duration::from_secs(600));
    for n in 0..600 {
        ["m1", "m2"].iter().for_each(|id| super::poll(&window, id, n));
        if n % 20 == 19 {
            history.save(&window, super::START + n * 15_000).unwrap();
        }
    }
    for _ in 0..2 {
        history.tend(super::START + 600 * 15_000).unwrap();
    }
    count(&history)
}

fn count(history: &History) -> usize {
    let found = history.select(&[], i64::MIN, i64::MAX, 1_000_000).unwrap();
    found.iter().map(|series| series.points.len()).sum()
}

/// The partitions' files, oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("db"))
        .filter(|file| file.is_file() && !file.to_string_lossy().contains("aside"))
        .collect();
    found.sort();
    found
}

fn spoil(name: &str, spoil: impl Fn(&mut Vec<u8>)) {
    for which in [0, usize::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let all = made(folder.path());
        let files = files(folder.path());
        assert!(files.len() > 3, "{files:?}");
        let file = &files[which.min(files.len() - 1)];
        let mut bytes = std::fs::read(file).unwrap();
        spoil(&mut bytes);
        std::fs::write(file, &bytes).unwrap();
        // sled's snapshot would hide some of it.
        for entry in std::fs::read_dir(file.parent().unwrap()).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        let history = History::open(options(folder.path())).unwrap();
        let left = count(&history);
        assert!(left < all && left * 2 > all, "{name}: {left} of {all} samples are left");
        let told = history.set_aside().len() as u64 + history.stats().errors_total.load(Ordering::Relaxed);
        assert!(told > 0, "{name}: {} samples went without a word", all - left);
        // It goes on being written.
        let window = super::recent(Duration::from_secs(600));
        (600..620).for_each(|n| super::poll(&window, "m1", n));
        let saved = history.save(&window, super::START + 620 * 15_000).unwrap();
        assert_eq!(count(&history), left + saved as usize, "{name}");
        history.tend(super::START + 620 * 15_000).unwrap();
        drop(history);
        let history = History::open(options(folder.path())).unwrap();
        assert_eq!(count(&history), left + saved as usize, "{name}: after another start");
    }
}

#[test]
fn rubbish() {
    spoil("rubbish", |bytes| bytes.iter_mut().zip(0_u64..).for_each(|(byte, n)| *byte = ((n * 7919) >> 3) as u8));
}

#[test]
fn zeroed_pages() {
    spoil("zeroed", |bytes| {
        bytes[1000..].fill(0);
    });
}

#[test]
fn a_truncated_file() {
    spoil("truncated", |bytes| bytes.truncate(1000));
}

#[test]
fn what_a_killed_packing_left_is_put_right() {
    let folder = tempfile::tempdir().unwrap();
    let all = made(folder.path());
    let first = files(folder.path())[0].parent().unwrap().to_path_buf();
    let number = first.file_name().unwrap().to_string_lossy().into_owned();
    // Killed right before the last rename, and in the midst of another packing.
    std::fs::rename(&first, folder.path().join(format!("packed.{number}"))).unwrap();
    std::fs::create_dir(folder.path().join("packing.17")).unwrap();
    std::fs::write(folder.path().join("packing.17/db"), "half").unwrap();
    let history = History::open(options(folder.path())).unwrap();
    assert_eq!(count(&history), all);
    assert!(first.is_dir() && !folder.path().join("packing.17").exists());
}

#[test]
fn a_full_disk_stops_the_history_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=32m", "davylamp-test"]).arg(&disk).output();
    if !mount.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a tmpfs cannot be mounted here (root is needed): {mount:?}");
        return;
    }
    let outcome = std::panic::catch_unwind(|| fill(&disk));
    let unmounted = Command::new("umount").arg(&disk).status().unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert!(unmounted.success(), "the tmpfs is still in use");
}

fn fill(disk: &Path) {
    let path = disk.join("history");
    let history = History::open(HistoryOptions { reserve_bytes: 4 << 20, ..options(&path) }).unwrap();
    let window = super::recent(Duration::from_secs(600));
    let polls = |from: i64, to: i64| (from..to).for_each(|n| super::poll(&window, "m1", n));
    polls(0, 20);
    history.save(&window, super::START + 300_000).unwrap();
    let hog = disk.join("hog");
    let free = rustix::fs::statvfs(disk).unwrap();
    std::fs::write(&hog, vec![1; (free.f_bavail * free.f_frsize - (3 << 20)) as usize]).unwrap();
    polls(20, 40);
    let error = history.save(&window, super::START + 600_000).unwrap_err();
    assert!(matches!(error, HistoryError::Full { .. }), "{error}");
    assert!(error.to_string().contains("free space there"), "{error}");
    let half =
        |polls| super::all(&*super::everything(polls)).iter().map(|(_, points, _)| points.len()).sum::<usize>() / 2;
    assert_eq!(count(&history), half(20), "reads go on");
    std::fs::remove_file(&hog).unwrap();
    polls(40, 50);
    history.save(&window, super::START + 750_000).unwrap();
    assert_eq!(count(&history), half(50), "what waited in the window was written");
}
