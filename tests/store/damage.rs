//! Damage of every sort: each is refused or salvaged with words that say what to do; never a panic, never silently
//! empty, never a wrong value.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use davylamp::store::state::{
    OpenError, OpenOptions, OpenReport, Rung, SledState, StateStore, StoreError, Txn, compact, export, import, verify,
};

/// Damaged files in the sweep.
const CASES: u64 = 48;

type Records = BTreeMap<String, Vec<u8>>;

fn value(n: u64, round: u64) -> Vec<u8> {
    let mut out = format!("{{\"n\":{n},\"round\":{round}}}").into_bytes();
    out.resize(100 + (n % 5 * 150) as usize, b' ');
    out
}

fn write(store: &SledState, keys: u64, round: u64, records: &mut Records) {
    super::block_on(async {
        for n in 0..keys {
            let key = format!("target/{n:04}");
            store.txn(Txn::put(&*key, value(n, round))).await.unwrap();
            records.insert(key, value(n, round));
        }
    });
}

fn all(store: &SledState) -> Result<Records, StoreError> {
    super::block_on(async {
        let (mut out, mut cursor) = (Records::new(), None);
        loop {
            let page = store.list("", 0, cursor).await?;
            out.extend(page.entries.into_iter().map(|(key, found)| (key, found.value)));
            cursor = page.next;
            if cursor.is_none() {
                return Ok(out);
            }
        }
    })
}

fn fast(path: &Path) -> OpenOptions {
    OpenOptions { group_commit: std::time::Duration::ZERO, ..super::options(path) }
}

/// A folder with 400 keys, written twice, some deleted, one large; closed. With an export of the first round if asked.
fn made(path: &Path, with_export: bool) -> Records {
    let mut records = Records::new();
    let (store, report) = SledState::open(fast(path)).unwrap();
    assert_eq!(report.rung, Rung::Created);
    write(&store, 400, 1, &mut records);
    if with_export {
        store.export_now().unwrap();
    }
    write(&store, 300, 2, &mut records);
    super::block_on(async {
        for n in 390..400 {
            let key = format!("target/{n:04}");
            store.txn(Txn::delete(&*key)).await.unwrap();
            records.remove(&key);
        }
        store.txn(Txn::put("large", vec![9; 200_000])).await.unwrap();
        records.insert("large".into(), vec![9; 200_000]);
    });
    store.close();
    records
}

fn database(path: &Path) -> PathBuf {
    let found = std::fs::read_dir(path).unwrap().flatten().map(|entry| entry.path());
    found.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("db.")).max().unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Opens a damaged folder and holds it to the promise. Returns what became of it, and how many keys are missing.
fn judge(path: &Path, whole: &Records, what: &str) -> (Option<OpenReport>, usize) {
    match SledState::open(fast(path)) {
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("davylamp state import") || text.contains("--force-empty"), "{what}: {text}");
            assert!(text.contains(&path.display().to_string()), "{what}: {text}");
            (None, whole.len())
        }
        Ok((store, report)) => {
            let found = all(&store).unwrap_or_else(|error| panic!("{what}: opened, then {error}"));
            let missing = whole.keys().filter(|key| !found.contains_key(*key)).count();
            let stale = whole.iter().filter(|(key, value)| found.get(*key).is_some_and(|got| got != *value)).count();
            for (key, got) in &found {
                assert!(got == &[9; 200_000] || got.starts_with(b"{\"n\":"), "{what}: {key} is rubbish");
            }
            if found != *whole {
                assert!(report.is_alarming(), "{what}: {missing} missing, {stale} stale, silently: {report}");
                assert!(!report.messages.is_empty(), "{what}");
            }
            assert!(!found.is_empty() || report.rung == Rung::ForcedEmpty, "{what}: silently empty");
            super::block_on(store.txn(Txn::put("after", "repair"))).unwrap();
            store.close();
            // Repaired means repaired: the next start finds nothing to say.
            let (again, calm) = SledState::open(fast(path)).unwrap();
            assert_eq!(calm.rung, Rung::Opened, "{what}: {calm}");
            assert_eq!(super::block_on(again.get("after")).unwrap().unwrap().value, b"repair");
            (Some(report), missing + stale)
        }
    }
}

/// Flips, zeroed pages and truncations at many places, with sled's snapshot and without.
#[test]
fn a_damaged_file_is_salvaged_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, exported) = (folder.path().join("plain"), folder.path().join("exported"));
    let whole = [made(&plain, false), made(&exported, true)];
    let length = std::fs::metadata(database(&plain).join("db")).unwrap().len();
    let (mut refused, mut lost, mut sound, mut rungs) = (0, 0, 0, BTreeMap::<String, usize>::new());
    let mut random = 7_u64;
    for case in 0..CASES {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (random >> 20) % length;
        let with_export = case % 3 == 0;
        let path = folder.path().join("case");
        copy(if with_export { &exported } else { &plain }, &path);
        let place = database(&path);
        let db = File::options().read(true).write(true).open(place.join("db")).unwrap();
        let what = match case % 4 {
            0 | 1 => {
                let mut byte = [0];
                let _ = db.read_at(&mut byte, at);
                db.write_at(&[byte[0] ^ (1 << (random % 8))], at).unwrap();
                format!("case {case}: a bit flipped at {at}")
            }
            2 => {
                db.write_at(&[0; 4096], at / 4096 * 4096).unwrap();
                format!("case {case}: a page zeroed at {at}")
            }
            _ => {
                db.set_len(at).unwrap();
                format!("case {case}: cut to {at} bytes")
            }
        };
        if case % 2 == 1 {
            for entry in std::fs::read_dir(&place).unwrap().flatten() {
                if entry.file_name().to_string_lossy().starts_with("snap.") {
                    std::fs::remove_file(entry.path()).unwrap();
                }
            }
        }
        let (report, missing) = judge(&path, &whole[usize::from(with_export)], &what);
        // A flipped bit costs one record at most, a page those that stood on it; what was cut off is gone.
        let most = [1, 1, 30, whole[0].len()][(case % 4) as usize];
        assert!(missing <= most, "{what}: {missing} lost; {report:?}");
        lost += missing;
        match report {
            None => refused += 1,
            Some(report) => {
                sound += usize::from(missing == 0);
                *rungs.entry(format!("{:?}", report.rung)).or_default() += 1;
            }
        }
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::remove_file(folder.path().join("case.witness")).unwrap();
    }
    println!(
        "{CASES} damaged files: {sound} without a loss, {rungs:?}, {refused} refused, {lost} of {} records lost or older",
        CASES * 391
    );
    assert!(sound as u64 > CASES / 2, "salvage saves too little: only {sound} without a loss");
}

/// What a power cut leaves of a file that was being written: any prefix, later pages zeroed.
#[test]
fn a_file_cut_while_it_was_written_is_opened_or_salvaged() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let whole = made(&source, true);
    let length = std::fs::metadata(database(&source).join("db")).unwrap().len();
    for step in 1..12_u64 {
        let path = folder.path().join(format!("cut{step}"));
        copy(&source, &path);
        let place = database(&path);
        let db = File::options().write(true).open(place.join("db")).unwrap();
        let at = length * step / 12;
        db.set_len(at).unwrap();
        db.set_len(length).unwrap();
        let (report, _) = judge(&path, &whole, &format!("zeroes from {at} on"));
        assert!(report.is_some(), "there is an export, so that nothing need be refused");
    }
}

#[test]
fn what_is_deleted_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let whole = made(&source, false);
    let deleted = |name: &str, act: &dyn Fn(&Path)| {
        let path = folder.path().join(name);
        copy(&source, &path);
        std::fs::copy(folder.path().join("source.witness"), folder.path().join(format!("{name}.witness"))).unwrap();
        act(&path);
        (path.clone(), judge(&path, &whole, name))
    };
    let gone = |path: &Path| std::fs::remove_file(database(path).join("db")).unwrap();
    let (path, (report, _)) = deleted("db", &gone);
    assert!(report.is_none(), "without the file only the operator may begin anew");
    let forced = OpenOptions { force_empty: true, ..fast(&path) };
    let (store, report) = SledState::open(forced).unwrap();
    assert_eq!(report.rung, Rung::ForcedEmpty);
    assert!(report.kept_aside.as_ref().unwrap().is_dir(), "{report}");
    assert!(report.revision > 1_000_000, "no revision is given out twice");
    drop(store);
    let zeroed = |path: &Path| {
        let db = database(path).join("db");
        let length = std::fs::metadata(&db).unwrap().len();
        for blob in std::fs::read_dir(database(path).join("blobs")).unwrap().flatten() {
            std::fs::remove_file(blob.path()).unwrap();
        }
        std::fs::write(db, vec![0; length as usize]).unwrap();
    };
    assert!(deleted("zeroed", &zeroed).1.0.is_none());
    let tree = |path: &Path| std::fs::remove_dir_all(database(path)).unwrap();
    assert!(deleted("tree", &tree).1.0.is_none());
    let everything = |path: &Path| std::fs::remove_dir_all(path).unwrap();
    assert!(deleted("everything", &everything).1.0.is_none(), "the witness beside the folder remembers");
    let manifest = |path: &Path| std::fs::remove_file(path.join("MANIFEST")).unwrap();
    let (report, missing) = deleted("manifest", &manifest).1;
    assert_eq!((report.unwrap().rung, missing), (Rung::ManifestRebuilt, 0));
    let torn = |path: &Path| std::fs::write(path.join("MANIFEST"), "davylamp-state 1\nid").unwrap();
    let (report, missing) = deleted("torn", &torn).1;
    assert_eq!((report.unwrap().rung, missing), (Rung::ManifestRebuilt, 0));
    let snapshot = |path: &Path| {
        for entry in std::fs::read_dir(database(path)).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                std::fs::write(entry.path(), vec![0xaa; 500]).unwrap();
            }
        }
    };
    let (report, missing) = deleted("snapshot", &snapshot).1;
    assert_eq!((report.unwrap().rung, missing), (Rung::SnapshotSetAside, 0));
}

#[test]
fn an_older_copy_of_the_database_is_not_taken_for_the_current_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut whole = made(&path, false);
    let old = folder.path().join("old");
    copy(&database(&path), &old);
    let (store, _) = SledState::open(fast(&path)).unwrap();
    write(&store, 50, 3, &mut whole);
    store.close();
    let place = database(&path);
    std::fs::remove_dir_all(&place).unwrap();
    copy(&old, &place);
    let problems = verify(&path).unwrap();
    assert!(problems.to_string().contains("older than it should be"), "{problems}");
    let (report, missing) = judge(&path, &whole, "rolled back");
    let report = report.unwrap();
    assert_eq!((report.rung, missing), (Rung::Salvaged, 50));
    assert!(report.to_string().contains("older than it should be"), "{report}");
}

#[test]
fn the_last_export_is_restored_when_all_else_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    made(&path, true);
    std::fs::remove_dir_all(database(&path)).unwrap();
    // A newer export that is torn is passed over.
    std::fs::write(path.join("exports/state-00000000000000099999.jsonl.zst"), b"torn").unwrap();
    let (store, report) = SledState::open(fast(&path)).unwrap();
    assert_eq!(report.rung, Rung::RestoredFromExport);
    assert!(report.to_string().contains("state-00000000000000099999"), "{report}");
    let found = all(&store).unwrap();
    assert_eq!(found.len(), 400);
    assert_eq!(found["target/0000"], value(0, 1));
}

#[test]
fn a_second_process_is_told_who_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let (store, _) = SledState::open(fast(&path)).unwrap();
    for refused in [SledState::open(fast(&path)).map(|_| ()), verify(&path).map(|_| ()), compact(&path).map(|_| ())] {
        let Err(OpenError::Held { pid, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(pid, std::process::id().to_string());
    }
    drop(store);
    assert!(verify(&path).unwrap().is_sound());
}

#[test]
fn commands_verify_export_import_and_compact() {
    let folder = tempfile::tempdir().unwrap();
    let (path, dump) = (folder.path().join("state"), folder.path().join("dump.jsonl.zst"));
    assert!(matches!(verify(&path), Err(OpenError::Absent { .. })));
    assert!(!path.exists(), "a question makes no folder");
    let mut whole = made(&path, false);
    let report = verify(&path).unwrap();
    assert!(report.is_sound() && report.keys == 391, "{report}");
    export(&path, &dump).unwrap();
    let (store, _) = SledState::open(fast(&path)).unwrap();
    for round in 10..20 {
        write(&store, 391, round, &mut whole);
    }
    drop(store);
    let report = compact(&path).unwrap();
    assert!(report.after < report.before, "{report:?}");
    let (store, calm) = SledState::open(fast(&path)).unwrap();
    assert_eq!(calm.rung, Rung::Opened);
    assert_eq!(all(&store).unwrap(), whole);
    let before = calm.revision;
    drop(store);

    let bytes = std::fs::read(&dump).unwrap();
    let torn = folder.path().join("torn");
    std::fs::write(&torn, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let refused = import(&torn, &path).unwrap_err();
    assert!(matches!(refused, OpenError::BadExport { .. }), "{refused}");
    let (_, aside) = import(&dump, &path).unwrap();
    assert!(aside.unwrap().is_dir(), "the old database is kept");
    let (store, calm) = SledState::open(fast(&path)).unwrap();
    assert_eq!(calm.rung, Rung::Opened, "{calm}");
    assert!(calm.revision > before, "revisions never go back");
    let found = all(&store).unwrap();
    assert_eq!((found.len(), &found["target/0000"]), (391, &value(0, 2)));
    drop(store);
    let elsewhere = folder.path().join("elsewhere/state");
    import(&dump, &elsewhere).unwrap();
    assert!(verify(&elsewhere).unwrap().is_sound());
}

/// Exports are consistent although transactions go on, and only the newest few stay.
#[test]
fn an_export_shows_one_revision_while_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let (store, _) = SledState::open(OpenOptions { exports_kept: 3, ..fast(&path) }).unwrap();
    write(&store, 1500, 0, &mut Records::new());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            super::block_on(async {
                let mut n = 0_u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // The first and the last page must tell the same.
                    let txn = Txn {
                        then: ["a", "z"].map(|key| Txn::put(key, n.to_string()).then.remove(0)).into(),
                        ..Txn::default()
                    };
                    store.txn(txn).await.unwrap();
                    n += 1;
                }
            });
        });
        for _ in 0..6 {
            let (file, _) = store.export_now().unwrap();
            let copy = davylamp::store::state::MemoryState::new();
            super::block_on(async {
                copy.import(Box::new(File::open(&file).unwrap())).await.unwrap();
                let (a, z) = (copy.get("a").await.unwrap(), copy.get("z").await.unwrap());
                assert_eq!(a.map(|found| found.value), z.map(|found| found.value));
            });
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(std::fs::read_dir(path.join("exports")).unwrap().count(), 3);
}

/// sled never gives space back: a database that holds far more than its records is packed when it is opened.
#[test]
fn a_bloated_database_is_packed_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut whole = Records::new();
    let small = OpenOptions { compact_above: 1 << 20, ..fast(&path) };
    let (store, _) = SledState::open(fast(&path)).unwrap();
    for round in 0..12 {
        write(&store, 300, round, &mut whole);
    }
    store.close();
    let revision = super::block_on(async { store.list("", 1, None).await }).map_or(0, |page| page.revision);
    assert_eq!(revision, 0, "a closed store answers nothing");
    drop(store);
    let before = verify(&path).unwrap();
    assert!(before.disk_bytes > 6 * before.record_bytes, "{before}");
    let (store, report) = SledState::open(small.clone()).unwrap();
    assert_eq!((report.rung, report.revision), (Rung::Opened, before.revision));
    assert!(report.messages[0].starts_with("packed anew"), "{report}");
    assert_eq!(all(&store).unwrap(), whole);
    drop(store);
    let after = verify(&path).unwrap();
    println!("packed: {} bytes before, {} now, {} of records", before.disk_bytes, after.disk_bytes, after.record_bytes);
    assert!(after.is_sound() && after.disk_bytes < before.disk_bytes, "{after}");
}
