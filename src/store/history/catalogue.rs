//! The catalogue of a partition: which labels there are, and which series.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::chunk::{seal, unseal};
use crate::model::Labels;
use crate::store::codec::{put_varint, take_varint};
use crate::store::state::database::{Changes, Database, EngineError, Pair};

/// What is in a partition, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Meta {
    /// Samples that were written; what was written twice counts twice.
    pub samples: u64,
    pub chunks: u64,
    /// Bytes of chunks.
    pub bytes: u64,
    /// Times of the oldest and the newest sample, milliseconds since the epoch.
    pub range: Option<(i64, i64)>,
    /// Milliseconds of the longest chunk: so far before a time a chunk that touches it may begin.
    pub longest: i64,
}

/// Which labels there are, in memory.
#[derive(Default)]
pub(super) struct Catalogue {
    pub groups: Vec<Labels>,
    group_numbers: HashMap<Labels, u32>,
    pub owns: Vec<Labels>,
    own_numbers: HashMap<Labels, u32>,
    /// Of each group, the numbers of own labels of its series, sorted.
    pub pairs: Vec<Vec<u32>>,
    /// Of each group, its records of pairs.
    records: Vec<u32>,
    pub meta: Meta,
}

/// A record that is not what was written.
pub(super) fn damaged(path: &Path, what: &str) -> EngineError {
    EngineError::Damaged(format!("{}: {what} fails its checksum", path.display()))
}

/// A key of numbers.
pub(super) fn key(sort: u8, parts: &[u32]) -> Vec<u8> {
    let mut key = vec![sort];
    parts.iter().for_each(|part| key.extend_from_slice(&part.to_be_bytes()));
    key
}

/// A value with its checksum.
pub(super) fn sealed(value: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend_from_slice(value);
    seal(&mut out);
    out
}

impl Catalogue {
    /// The number of a group's labels, which are entered if they are new.
    pub fn group(&mut self, labels: &Labels, changes: &mut Changes) -> u32 {
        if let Some(number) = self.group_numbers.get(labels) {
            return *number;
        }
        let number = self.groups.len() as u32;
        changes.put(&key(b'g', &[number]), sealed(&serde_json::to_vec(labels).unwrap_or_default()));
        self.add_group(labels.clone());
        number
    }

    fn add_group(&mut self, labels: Labels) {
        self.group_numbers.insert(labels.clone(), self.groups.len() as u32);
        self.groups.push(labels);
        self.pairs.push(Vec::new());
        self.records.push(0);
    }

    /// The number of own labels, which are entered if they are new.
    pub fn own(&mut self, labels: &Labels, changes: &mut Changes) -> u32 {
        if let Some(number) = self.own_numbers.get(labels) {
            return *number;
        }
        let number = self.owns.len() as u32;
        changes.put(&key(b'o', &[number]), sealed(&serde_json::to_vec(labels).unwrap_or_default()));
        self.own_numbers.insert(labels.clone(), number);
        self.owns.push(labels.clone());
        number
    }

    /// Enters which own labels series of a group have.
    pub fn pair(&mut self, group: u32, owns: impl Iterator<Item = u32>, changes: &mut Changes) {
        let known = &self.pairs[group as usize];
        let new: BTreeSet<u32> = owns.filter(|own| known.binary_search(own).is_err()).collect();
        let new: Vec<u32> = new.into_iter().collect();
        for part in new.chunks(PAIRS_PER_RECORD) {
            let mut value = Vec::new();
            part.iter().for_each(|own| put_varint(&mut value, (*own).into()));
            let record = &mut self.records[group as usize];
            changes.put(&key(b'p', &[group, *record]), sealed(&value));
            *record += 1;
        }
        if !new.is_empty() {
            let pairs = &mut self.pairs[group as usize];
            pairs.extend(new);
            pairs.sort_unstable();
        }
    }
}

/// Bounds a record of pairs to a few KiB.
const PAIRS_PER_RECORD: usize = 1000;

/// Hands out what stands under keys that begin with `sort`; stops with `Ok(None)` when `take` does.
pub(super) fn each<T>(
    database: &Database,
    sort: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Option<T>,
) -> Result<Option<()>, EngineError> {
    let mut from = sort.to_vec();
    while let Some((key, value)) = database.first(&from)? {
        if !key.starts_with(sort) {
            break;
        }
        if take(&key, &value).is_none() {
            return Ok(None);
        }
        from = key;
        from.push(0);
    }
    Ok(Some(()))
}

/// Reads the catalogue of a database.
pub(super) fn read_catalogue(database: &Database, path: &Path) -> Result<Catalogue, EngineError> {
    let mut catalogue = Catalogue::default();
    let labels = |value: &[u8]| serde_json::from_slice::<Labels>(unseal(value)?).ok();
    each(database, b"g", |_, value| {
        catalogue.add_group(labels(value)?);
        Some(())
    })?
    .ok_or_else(|| damaged(path, "a group"))?;
    each(database, b"o", |_, value| {
        let labels = labels(value)?;
        catalogue.own_numbers.insert(labels.clone(), catalogue.owns.len() as u32);
        catalogue.owns.push(labels);
        Some(())
    })?
    .ok_or_else(|| damaged(path, "a label set"))?;
    each(database, b"p", |key, value| {
        let group = u32::from_be_bytes(key.get(1..5)?.try_into().ok()?) as usize;
        let mut rest = unseal(value)?;
        let pairs = catalogue.pairs.get_mut(group)?;
        while !rest.is_empty() {
            pairs.push(u32::try_from(take_varint(&mut rest)?).ok()?);
        }
        pairs.sort_unstable();
        catalogue.records[group] += 1;
        Some(())
    })?
    .ok_or_else(|| damaged(path, "a list of series"))?;
    let found: Option<Pair> = database.first(b"m")?.filter(|(key, _)| key == b"m");
    match found {
        Some((_, value)) => {
            let meta = unseal(&value).and_then(|value| serde_json::from_slice(value).ok());
            catalogue.meta = meta.ok_or_else(|| damaged(path, "the record of figures"))?;
        }
        None if catalogue.groups.is_empty() => {}
        // Every write brings one: without it something was lost.
        None => return Err(EngineError::Damaged(format!("{}: the record of figures is missing", path.display()))),
    }
    Ok(catalogue)
}
