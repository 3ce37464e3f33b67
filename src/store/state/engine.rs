//! The records of the state in their database, each checked when it is read.

use std::path::Path;

pub(super) use super::database::EngineError;
use super::database::{Database, guarded};
use super::record;
use super::record::{Meta, Record};
use super::txn::Effect;

const META_KEY: &[u8] = b"m";
const DATA: u8 = b'd';
/// An open database.
pub(super) struct Engine(Database);

fn data_key(key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(DATA);
    out.extend_from_slice(key.as_bytes());
    out
}

impl Engine {
    /// Opens or makes the database in `folder`.
    pub fn open(folder: &Path, cache_bytes: u64) -> Result<Engine, EngineError> {
        Database::open(folder, cache_bytes).map(Engine)
    }

    /// The record of `key`.
    pub fn get(&self, key: &str) -> Result<Option<Record>, EngineError> {
        let Some(bytes) = guarded(|| self.0.db.get(data_key(key)))? else { return Ok(None) };
        let record = record::decode(&bytes).filter(|record| record.key == key);
        record.map(Some).ok_or_else(|| EngineError::Damaged(format!("the record of {key:?} fails its checksum")))
    }

    /// The meta record; an error if there is none.
    pub fn meta(&self) -> Result<Meta, EngineError> {
        let bytes = guarded(|| self.0.db.get(META_KEY))?;
        let bytes = bytes.ok_or_else(|| EngineError::Damaged("the database is empty".into()))?;
        Meta::decode(&bytes).ok_or_else(|| EngineError::Damaged("the meta record fails its checksum".into()))
    }

    /// Makes changes and the meta record, all or nothing. Not durable before [`Engine::sync`].
    pub fn apply(&self, effects: &[Effect], meta: &Meta) -> Result<(), EngineError> {
        let mut batch = sled::Batch::default();
        for effect in effects {
            match &effect.after {
                Some(value) => batch.insert(data_key(&effect.key), record::encode(&effect.key, value)),
                None => batch.remove(data_key(&effect.key)),
            }
        }
        batch.insert(META_KEY, meta.encode());
        guarded(|| self.0.db.apply_batch(batch))
    }

    /// Makes everything that was applied survive a power cut.
    pub fn sync(&self) -> Result<(), EngineError> {
        self.0.sync()
    }

    /// The records whose keys begin with `prefix`, in order of keys, those after `after` only; or in reverse.
    pub fn scan(&self, prefix: &str, after: Option<&str>, reverse: bool) -> Scan {
        let start = data_key(after.unwrap_or(prefix));
        let iter = match prefix.is_empty() && after.is_none() {
            true => self.0.db.range(start..vec![DATA + 1]),
            false => self.0.db.range(start..),
        };
        Scan { iter, prefix: data_key(prefix), skip: after.map(data_key), last: None, reverse }
    }

    /// Reads everything: each record sound, none missing, none stale.
    pub fn check(&self) -> Result<(Meta, u64), EngineError> {
        let meta = self.meta()?;
        let (mut keys, mut digest, mut bytes) = (0_u64, 0_u64, 0_u64);
        for record in self.scan("", None, false) {
            let record = record?;
            let encoded = record::encode(&record.key, &record.value);
            keys += 1;
            digest = digest.wrapping_add(record::checksum(&encoded));
            bytes += encoded.len() as u64;
        }
        if keys != meta.keys {
            return Err(EngineError::Damaged(format!("{keys} records are there, {} should be", meta.keys)));
        }
        if digest != meta.digest {
            return Err(EngineError::Damaged("a record is older than it should be".into()));
        }
        Ok((meta, bytes))
    }

    /// Bytes on the disk.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// Closes the database.
    pub fn close(self) {
        self.0.close();
    }
}

/// Records in order. Ends at the first error, and at a key out of order: a damaged tree can lead in circles.
pub(super) struct Scan {
    iter: sled::Iter,
    prefix: Vec<u8>,
    skip: Option<Vec<u8>>,
    last: Option<Vec<u8>>,
    reverse: bool,
}

impl Iterator for Scan {
    type Item = Result<Record, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let iter = &mut self.iter;
            let reverse = self.reverse;
            let step = guarded(|| if reverse { iter.next_back() } else { iter.next() }.transpose());
            let (key, value) = match step {
                Ok(Some(pair)) => pair,
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            };
            if !key.starts_with(&self.prefix) {
                return None;
            }
            if self.skip.as_deref() == Some(&key) {
                continue;
            }
            let ordered = self.last.as_deref().is_none_or(|last| if reverse { *key < *last } else { *key > *last });
            self.last = Some(key.to_vec());
            if !ordered {
                return Some(Err(EngineError::Damaged("the keys are out of order".into())));
            }
            let record = record::decode(&value).filter(|record| record.key.as_bytes() == &key[1..]);
            let shown = || String::from_utf8_lossy(&key[1..]).into_owned();
            return Some(
                record.ok_or_else(|| EngineError::Damaged(format!("the record of {:?} fails its checksum", shown()))),
            );
        }
    }
}
