//! The ledger of a test: in memory, broken when the test says so, and read along by the scene.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::file::Trouble;
use super::scene::Stage;
use crate::act::ledger::{Ledger, LedgerEntry, LedgerError};

/// Records in memory.
pub(super) struct Memory {
    stage: Arc<Stage>,
    records: Mutex<BTreeMap<String, (u64, Vec<u8>)>>,
}

impl Memory {
    pub(super) fn new(stage: Arc<Stage>) -> Memory {
        Memory { stage, records: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (u64, Vec<u8>)>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, key: String, value: Option<Vec<u8>>, expected: u64) -> Result<u64, LedgerError> {
        let mut records = self.lock();
        if records.get(&key).map_or(0, |(revision, _)| *revision) != expected {
            return Err(LedgerError::Conflict { key });
        }
        let mut scene = self.stage.lock();
        if scene.troubled(Trouble::StateBroken) {
            let source = "the test says that it is broken".into();
            return Err(LedgerError::Unavailable { operation: "write", key, source });
        }
        let Some(value) = value else {
            records.remove(&key);
            return Ok(0);
        };
        if let Some(run) = key.strip_prefix("run/").and_then(|_| serde_json::from_slice(&value).ok()) {
            scene.wrote(run);
        }
        records.insert(key, (expected + 1, value));
        Ok(expected + 1)
    }
}

impl Ledger for Memory {
    fn load(&self) -> BoxFuture<'_, Result<Vec<LedgerEntry>, LedgerError>> {
        let entries = self.lock().clone().into_iter();
        let entries = entries.map(|(key, (revision, value))| LedgerEntry { key, value, revision }).collect();
        std::future::ready(Ok(entries)).boxed()
    }

    fn put(&self, key: String, value: Vec<u8>, expected: u64) -> BoxFuture<'_, Result<u64, LedgerError>> {
        std::future::ready(self.change(key, Some(value), expected)).boxed()
    }

    fn delete(&self, key: String, expected: u64) -> BoxFuture<'_, Result<(), LedgerError>> {
        std::future::ready(self.change(key, None, expected).map(drop)).boxed()
    }
}
