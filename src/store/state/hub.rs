//! The bounded log of recent changes, and those who watch it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::{StoreError, Versioned};

/// Most transactions that are kept for those who watch from an earlier revision.
const KEPT_SETS: usize = 4096;
/// Most bytes that are kept for them.
const KEPT_BYTES: usize = 8 * 1024 * 1024;
/// Transactions that one reader may be behind. When it is further behind it gets [`WatchEvent::Compacted`]: a slow
/// reader must neither stop the writer nor take memory without end. Holds a whole replay of the kept log.
const CHANNEL: usize = KEPT_SETS + 1024;
/// Most readers at once.
const MAX_WATCHERS: usize = 256;

/// One key that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Key.
    pub key: String,
    /// New value; `None` when the key was deleted.
    pub value: Option<Versioned>,
}

/// All that one transaction changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    /// Its revision.
    pub revision: u64,
    /// The keys; for a watch, not only those below its prefix (see [`ChangeSet::below`]).
    pub changes: Vec<Change>,
}

impl ChangeSet {
    /// The changes of keys that begin with `prefix`.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Change> {
        self.changes.iter().filter(move |change| change.key.starts_with(prefix))
    }

    fn bytes(&self) -> usize {
        let one = |change: &Change| change.key.len() + 64 + change.value.as_ref().map_or(0, |found| found.value.len());
        self.changes.iter().map(one).sum()
    }
}

/// What a watch brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// One transaction that touched the prefix. Shared: a value exists once however many watch it.
    Changes(Arc<ChangeSet>),
    /// Changes were missed: list again, then watch from the revision after that of the list. The watch is over.
    Compacted {
        /// The first revision that could still be watched from.
        oldest: u64,
    },
}

/// A bounded stream of changes.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<WatchEvent>,
    lagged: Arc<AtomicBool>,
    hub: Hub,
    over: bool,
}

impl Watch {
    /// The next event; `None` when the store is closed or after `Compacted`. Safe to cancel.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        if self.over {
            return None;
        }
        let event = match self.events.recv().await {
            Some(event) => Some(event),
            None if self.lagged.load(Ordering::Acquire) => {
                Some(WatchEvent::Compacted { oldest: self.hub.locked().oldest() })
            }
            None => None,
        };
        self.over = !matches!(event, Some(WatchEvent::Changes(_)));
        event
    }
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    sender: mpsc::Sender<WatchEvent>,
    lagged: Arc<AtomicBool>,
}

/// The log and the watchers of one store. A clone is the same hub.
#[derive(Clone, Debug)]
pub(super) struct Hub(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// The revision before the first that the log can hold.
    floor: u64,
    log: VecDeque<Arc<ChangeSet>>,
    bytes: usize,
    watchers: Vec<Watcher>,
    closed: bool,
}

impl Inner {
    fn oldest(&self) -> u64 {
        self.floor + 1
    }
}

impl Hub {
    /// A hub whose log begins after `revision`.
    pub fn new(revision: u64) -> Self {
        let inner = Inner { floor: revision, log: VecDeque::new(), bytes: 0, watchers: Vec::new(), closed: false };
        Hub(Arc::new(Mutex::new(inner)))
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a committed transaction on.
    pub fn publish(&self, set: ChangeSet) {
        let set = Arc::new(set);
        let mut inner = self.locked();
        inner.bytes += set.bytes();
        inner.log.push_back(set.clone());
        while inner.log.len() > KEPT_SETS || inner.bytes > KEPT_BYTES {
            let Some(dropped) = inner.log.pop_front() else { break };
            inner.bytes -= dropped.bytes();
            inner.floor = dropped.revision;
        }
        inner.watchers.retain(|watcher| {
            if set.below(&watcher.prefix).next().is_none() {
                return !watcher.sender.is_closed();
            }
            match watcher.sender.try_send(WatchEvent::Changes(set.clone())) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    watcher.lagged.store(true, Ordering::Release);
                    false
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
    }

    /// Begins a watch; see [`super::StateStore::watch`].
    pub fn watch(&self, prefix: &str, from_rev: u64) -> Result<Watch, StoreError> {
        let (sender, events) = mpsc::channel(CHANNEL);
        let lagged = Arc::new(AtomicBool::new(false));
        let watch = Watch { events, lagged: lagged.clone(), hub: self.clone(), over: false };
        let mut inner = self.locked();
        if inner.closed {
            return Err(StoreError::Unavailable { reason: "the store is closed".into() });
        }
        inner.watchers.retain(|watcher| !watcher.sender.is_closed());
        if inner.watchers.len() >= MAX_WATCHERS {
            return Err(StoreError::Unavailable { reason: format!("{MAX_WATCHERS} watches are open already") });
        }
        if from_rev > 0 && from_rev < inner.oldest() {
            lagged.store(true, Ordering::Release);
            return Ok(watch);
        }
        if from_rev > 0 {
            let kept = inner.log.iter().filter(|set| set.revision >= from_rev && set.below(prefix).next().is_some());
            for set in kept {
                // Cannot be full: the channel holds more than the log.
                let _ = sender.try_send(WatchEvent::Changes(set.clone()));
            }
        }
        inner.watchers.push(Watcher { prefix: prefix.to_string(), sender, lagged });
        Ok(watch)
    }

    /// The changes after `revision`, or `None` if some are no longer kept.
    pub fn since(&self, revision: u64) -> Option<Vec<Arc<ChangeSet>>> {
        let inner = self.locked();
        (revision >= inner.floor).then(|| inner.log.iter().filter(|set| set.revision > revision).cloned().collect())
    }

    /// Forgets the log: what changed up to `revision` is not known in detail. Everyone who watches is told.
    pub fn skip_to(&self, revision: u64) {
        let mut inner = self.locked();
        inner.floor = revision;
        inner.log.clear();
        inner.bytes = 0;
        for watcher in inner.watchers.drain(..) {
            watcher.lagged.store(true, Ordering::Release);
        }
    }

    /// Ends all watches.
    pub fn close(&self) {
        let mut inner = self.locked();
        inner.closed = true;
        inner.watchers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(revision: u64, size: usize) -> ChangeSet {
        let value = Versioned { value: vec![0; size], create_rev: revision, mod_rev: revision };
        ChangeSet { revision, changes: vec![Change { key: format!("a/{revision}"), value: Some(value) }] }
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_and_costs_nothing_more() {
        let hub = Hub::new(0);
        let mut slow = hub.watch("a/", 0).unwrap();
        for revision in 1..=(CHANNEL as u64 + 10) {
            hub.publish(set(revision, 1));
        }
        let mut seen = 0;
        loop {
            match slow.next().await {
                Some(WatchEvent::Changes(_)) => seen += 1,
                Some(WatchEvent::Compacted { oldest }) => {
                    assert_eq!(oldest, CHANNEL as u64 + 10 - KEPT_SETS as u64 + 1);
                    break;
                }
                None => panic!("the end came without a word"),
            }
        }
        assert_eq!(seen, CHANNEL);
        assert_eq!(slow.next().await, None);
    }

    #[tokio::test]
    async fn a_gap_in_the_log_is_told() {
        let hub = Hub::new(0);
        let mut watch = hub.watch("", 0).unwrap();
        hub.publish(set(1, 1));
        hub.skip_to(5);
        assert!(matches!(watch.next().await, Some(WatchEvent::Changes(_))));
        assert_eq!(watch.next().await, Some(WatchEvent::Compacted { oldest: 6 }));
        assert!(hub.since(1).is_none() && hub.since(5).is_some());
    }

    #[tokio::test]
    async fn the_log_is_bounded_in_bytes_and_says_what_it_lost() {
        let hub = Hub::new(10);
        for revision in 11..=60 {
            hub.publish(set(revision, 256 * 1024));
        }
        let mut early = hub.watch("", 11).unwrap();
        let Some(WatchEvent::Compacted { oldest }) = early.next().await else { panic!("revision 11 is gone") };
        assert!(oldest > 25 && hub.since(oldest - 1).is_some() && hub.since(oldest - 2).is_none());
        let mut late = hub.watch("a/6", oldest).unwrap();
        assert!(matches!(late.next().await, Some(WatchEvent::Changes(set)) if set.revision == 60));
    }
}
