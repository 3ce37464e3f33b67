//! What every back end of the state must do. A new one is added as one more test at the end.

use std::sync::Arc;
use std::time::Duration;

use davylamp::store::state::fault::{Fault, FaultyState};
use davylamp::store::state::{
    Compare, MAX_OPS, MAX_VALUE, MemoryState, Op, SledState, StateStore, StoreError, Txn, WatchEvent,
};

/// The suite. The store must be empty; its keys are left behind.
pub async fn conformance(store: Arc<dyn StateStore>) {
    revisions_and_compares(&*store).await;
    branches_are_all_or_nothing(&*store).await;
    limits(&*store).await;
    pages(&*store).await;
    watches(&*store).await;
    leases(&*store).await;
    concurrent_counters(store.clone()).await;
    export_and_import(&*store).await;
}

async fn revisions_and_compares(store: &dyn StateStore) {
    assert_eq!(store.get("a").await.unwrap(), None);
    let first = store.txn(Txn::create("a", "1")).await.unwrap().or_conflict().unwrap();
    assert_eq!(store.txn(Txn::create("a", "2")).await.unwrap().or_conflict(), Err(StoreError::Conflict));
    let found = store.get("a").await.unwrap().unwrap();
    assert_eq!((found.value.as_slice(), found.create_rev, found.mod_rev), (b"1".as_slice(), first, first));
    let second = store.txn(Txn::replace("a", first, "2")).await.unwrap().or_conflict().unwrap();
    assert!(second > first);
    assert!(!store.txn(Txn::replace("a", first, "3")).await.unwrap().succeeded);
    let found = store.get("a").await.unwrap().unwrap();
    assert_eq!((found.value.as_slice(), found.create_rev, found.mod_rev), (b"2".as_slice(), first, second));
    for (compare, holds) in [
        (Compare::Exists("a".into()), true),
        (Compare::Exists("b".into()), false),
        (Compare::Missing("b".into()), true),
        (Compare::CreateRev("a".into(), first), true),
        (Compare::CreateRev("a".into(), second), false),
        (Compare::ModRev("b".into(), 0), false),
        (Compare::Value("a".into(), b"2".to_vec()), true),
        (Compare::Value("a".into(), b"22".to_vec()), false),
    ] {
        let done = store.txn(Txn::default().when(compare.clone())).await.unwrap();
        assert_eq!((done.succeeded, done.revision), (holds, second), "{compare:?}");
    }
    store.txn(Txn::delete("a")).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
    let again = store.txn(Txn::put("a", "")).await.unwrap().revision;
    assert_eq!(store.get("a").await.unwrap().unwrap().create_rev, again);
    assert_eq!(store.txn(Txn::delete("never-there")).await.unwrap().revision, again, "nothing changed");
}

async fn branches_are_all_or_nothing(store: &dyn StateStore) {
    let both = Txn {
        compares: vec![Compare::Exists("a".into()), Compare::Exists("no".into())],
        then: vec![Op::Put { key: "x".into(), value: b"then".to_vec() }],
        otherwise: vec![
            Op::Put { key: "y".into(), value: b"1".to_vec() },
            Op::Put { key: "y".into(), value: b"2".to_vec() },
            Op::Delete { key: "a".into() },
        ],
    };
    let done = store.txn(both).await.unwrap();
    assert!(!done.succeeded);
    assert_eq!(store.get("x").await.unwrap(), None);
    assert_eq!(store.get("a").await.unwrap(), None);
    let y = store.get("y").await.unwrap().unwrap();
    assert_eq!((y.value.as_slice(), y.mod_rev), (b"2".as_slice(), done.revision));
}

async fn limits(store: &dyn StateStore) {
    store.txn(Txn::put("big", vec![7; MAX_VALUE])).await.unwrap();
    assert_eq!(store.get("big").await.unwrap().unwrap().value.len(), MAX_VALUE);
    let refused = store.txn(Txn::put("bigger", vec![7; MAX_VALUE + 1])).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    let many = |count: usize| Txn {
        then: (0..count).map(|n| Op::Put { key: format!("many/{n:04}"), value: vec![1] }).collect(),
        ..Txn::default()
    };
    store.txn(many(MAX_OPS)).await.unwrap();
    assert!(matches!(store.txn(many(MAX_OPS + 1)).await, Err(StoreError::TooLarge { .. })));
    assert!(matches!(store.txn(Txn::put("", "x")).await, Err(StoreError::TooLarge { .. })));
    assert!(matches!(store.get(&"k".repeat(2000)).await, Err(StoreError::TooLarge { .. })));
}

async fn pages(store: &dyn StateStore) {
    for (key, value) in [("p/", "0"), ("p/ä", "1"), ("p0", "no"), ("o", "no")] {
        store.txn(Txn::put(key, value)).await.unwrap();
    }
    let whole = store.list("p/", 0, None).await.unwrap();
    assert_eq!(whole.entries.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["p/", "p/ä"]);
    assert_eq!(whole.next, None);
    let (mut keys, mut cursor, mut calls) = (Vec::new(), None, 0);
    loop {
        let page = store.list("many/", 50, cursor).await.unwrap();
        assert!(page.entries.len() <= 50 && page.revision > 0);
        keys.extend(page.entries.into_iter().map(|(key, _)| key));
        calls += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((keys.len(), calls), (MAX_OPS, 3));
    assert!(keys.is_sorted() && keys[0] == "many/0000");
    assert!(store.list("nothing/", 10, None).await.unwrap().entries.is_empty());
}

async fn watches(store: &dyn StateStore) {
    let mut live = store.watch("w/", 0).await.unwrap();
    let first = store.txn(Txn::put("w/1", "a")).await.unwrap().revision;
    store.txn(Txn::put("elsewhere", "b")).await.unwrap();
    let last = store.txn(Txn::delete("w/1")).await.unwrap().revision;
    let mut late = store.watch("w/", first).await.unwrap();
    for watch in [&mut live, &mut late] {
        for (revision, value) in [(first, Some(b"a".to_vec())), (last, None)] {
            let Some(WatchEvent::Changes(set)) = watch.next().await else { panic!("a change at {revision}") };
            let change = set.below("w/").next().unwrap();
            assert_eq!(set.revision, revision);
            assert_eq!((change.key.as_str(), change.value.clone().map(|found| found.value)), ("w/1", value));
        }
    }
    let nothing = tokio::time::timeout(Duration::from_millis(20), live.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

async fn leases(store: &dyn StateStore) {
    let lease = store.lease(Duration::from_secs(60)).await.unwrap();
    let held = |id| Txn::put("claim", "mine").when(Compare::Held(id));
    assert!(store.txn(held(lease.id)).await.unwrap().succeeded);
    assert!(lease.renew().await.unwrap() > std::time::Instant::now());
    let next = store.lease(Duration::from_millis(30)).await.unwrap();
    assert!(next.epoch > lease.epoch);
    let id = lease.id;
    lease.revoke().await.unwrap();
    assert_eq!(store.txn(held(id)).await, Err(StoreError::Fenced));
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(store.txn(held(next.id)).await, Err(StoreError::Fenced), "its time was over");
    assert_eq!(next.renew().await, Err(StoreError::Fenced), "it never comes back");
    let dropped = store.lease(Duration::from_secs(60)).await.unwrap().id;
    assert_eq!(store.txn(held(dropped)).await, Err(StoreError::Fenced), "it was dropped");
}

/// Many compare-and-swap loops on one key: each increment counts once.
async fn concurrent_counters(store: Arc<dyn StateStore>) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..25 {
                loop {
                    let txn = match store.get("counter").await.unwrap() {
                        None => Txn::create("counter", "1"),
                        Some(found) => {
                            let count: u64 = String::from_utf8(found.value).unwrap().parse().unwrap();
                            Txn::replace("counter", found.mod_rev, (count + 1).to_string())
                        }
                    };
                    if store.txn(txn).await.unwrap().succeeded {
                        break;
                    }
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(store.get("counter").await.unwrap().unwrap().value, b"200");
}

async fn export_and_import(store: &dyn StateStore) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let summary = store.export(Box::new(file.reopen().unwrap())).await.unwrap();
    assert!(summary.lines > MAX_OPS as u64);
    let copy = MemoryState::new();
    copy.import(Box::new(file.reopen().unwrap())).await.unwrap();
    for prefix in ["", "many/", "big"] {
        let (ours, theirs) = (store.list(prefix, 0, None).await.unwrap(), copy.list(prefix, 0, None).await.unwrap());
        let values = |page: davylamp::store::state::Page| -> Vec<(String, Vec<u8>)> {
            page.entries.into_iter().map(|(key, found)| (key, found.value)).collect()
        };
        assert_eq!(values(ours), values(theirs));
    }
    store.txn(Txn::delete("counter")).await.unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    let torn = store.import(Box::new(std::io::Cursor::new(bytes[..bytes.len() - 20].to_vec()))).await;
    assert!(matches!(torn, Err(StoreError::Corrupt { .. })), "{torn:?}");
    assert_eq!(store.get("counter").await.unwrap(), None, "a torn export changes nothing");
    store.import(Box::new(std::io::Cursor::new(bytes))).await.unwrap();
    assert_eq!(store.get("counter").await.unwrap().unwrap().value, b"200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() {
    conformance(Arc::new(MemoryState::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sled_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let (store, report) = SledState::open(super::options(&folder.path().join("state"))).unwrap();
    assert!(!report.is_alarming(), "{report}");
    let store = Arc::new(store);
    conformance(store.clone()).await;
    let before = store.list("", 0, None).await.unwrap();
    store.close();
    assert!(matches!(store.txn(Txn::put("a", "b")).await, Err(StoreError::Unavailable { .. })));
    drop(store);
    let (store, report) = SledState::open(super::options(&folder.path().join("state"))).unwrap();
    assert!(!report.is_alarming() && report.messages.is_empty(), "{report}");
    assert_eq!(store.list("", 0, None).await.unwrap(), before);
    let mut early = store.watch("", 1).await.unwrap();
    assert!(matches!(early.next().await, Some(WatchEvent::Compacted { .. })), "the log ended with the process");
}

#[tokio::test]
async fn a_store_can_be_told_to_fail() {
    let inner = Arc::new(MemoryState::new());
    let faulty = FaultyState::new(inner.clone(), |nth| match nth {
        0 => Fault::Made,
        1 => Fault::Lost,
        2 => Fault::Refused(StoreError::Unavailable { reason: "as told".into() }),
        _ => Fault::None,
    });
    for (key, made) in [("made", true), ("lost", false), ("refused", false), ("through", true)] {
        let result = faulty.txn(Txn::put(key, "x")).await;
        assert_eq!(result.is_ok(), key == "through", "{result:?}");
        assert_eq!(inner.get(key).await.unwrap().is_some(), made, "{key}");
    }
}
