//! A partition: about a day of history in a database of its own. What is old goes with its whole folder, and damage
//! stays within.
//!
//! ```text
//! g GROUP              labels that a group of series has in common: those of one target
//! o OWN                labels that one series of a group has for itself; a thousand targets share them
//! p GROUP N            which own labels series of the group have
//! c GROUP START OWN    a chunk of samples: from OWN on, from START on
//! r START              a time without a gap: from START to the value
//! m                    figures
//! ```
//!
//! Numbers are big-endian, so that keys stand in order; every value has a checksum.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::catalogue::{Catalogue, Meta, damaged, each, key, read_catalogue, sealed};
use super::chunk::{self, Builder, Row, unseal};
use crate::model::{Labels, Matcher};
use crate::store::state::database::{Changes, Database, EngineError};

/// A series that is to be written.
pub(in crate::store) struct Entry {
    /// Labels that it shares with others.
    pub stamp: Labels,
    /// Its own.
    pub own: Labels,
    /// Its samples.
    pub row: Row,
}

/// A database with its catalogue.
pub(super) struct Partition {
    pub path: PathBuf,
    database: Option<Database>,
    catalogue: RwLock<Catalogue>,
}

fn chunk_key(group: u32, start: i64, own: u32) -> Vec<u8> {
    let mut key = key(b'c', &[group]);
    // In order across zero.
    key.extend_from_slice(&(start as u64 ^ 1 << 63).to_be_bytes());
    key.extend_from_slice(&own.to_be_bytes());
    key
}

/// Group and start of a chunk's key.
fn chunk_of(key: &[u8]) -> Option<(u32, i64)> {
    let rest = key.strip_prefix(b"c").filter(|rest| rest.len() == 16)?;
    let group = u32::from_be_bytes(rest[..4].try_into().ok()?);
    let start = u64::from_be_bytes(rest[4..12].try_into().ok()?);
    Some((group, (start ^ 1 << 63) as i64))
}

impl Partition {
    /// Opens or makes one.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, EngineError> {
        let database = Database::open(path, cache_bytes)?;
        let catalogue = read_catalogue(&database, path)?;
        Ok(Partition { path: path.to_path_buf(), database: Some(database), catalogue: RwLock::new(catalogue) })
    }

    fn database(&self) -> Result<&Database, EngineError> {
        // Only while it is dropped.
        self.database.as_ref().ok_or_else(|| EngineError::Io("closed".to_string()))
    }

    pub fn meta(&self) -> Meta {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner).meta
    }

    pub fn series(&self) -> usize {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner).pairs.iter().map(Vec::len).sum()
    }

    /// Writes samples, all or none. Not durable before [`Partition::sync`].
    pub fn write(&self, entries: Vec<Entry>) -> Result<(), EngineError> {
        let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Changes::default();
        let mut meta = catalogue.meta;
        let mut groups: BTreeMap<u32, Vec<Row>> = BTreeMap::new();
        for entry in entries {
            let group = catalogue.group(&entry.stamp, &mut changes);
            let own = catalogue.own(&entry.own, &mut changes);
            groups.entry(group).or_default().push(Row { own, ..entry.row });
        }
        for (group, mut rows) in groups {
            rows.sort_by_key(|row| row.own);
            catalogue.pair(group, rows.iter().map(|row| row.own), &mut changes);
            put_rows(group, rows, &mut changes, &mut meta);
        }
        changes.put(b"m", sealed(&serde_json::to_vec(&meta).unwrap_or_default()));
        self.database()?.apply(changes)?;
        catalogue.meta = meta;
        Ok(())
    }

    /// Says that from `start` to `end` nothing is missing.
    pub fn cover(&self, start: i64, end: i64) -> Result<(), EngineError> {
        let mut changes = Changes::default();
        let mut key = vec![b'r'];
        key.extend_from_slice(&(start as u64 ^ 1 << 63).to_be_bytes());
        changes.put(&key, sealed(&end.to_be_bytes()));
        self.database()?.apply(changes)
    }

    /// The times of which nothing is missing, oldest first.
    pub fn covered(&self) -> Result<Vec<(i64, i64)>, EngineError> {
        let mut spans = Vec::new();
        each(self.database()?, b"r", |key, value| {
            let start = key[1..].try_into().map(u64::from_be_bytes).ok()?;
            let end = unseal(value)?.try_into().map(i64::from_be_bytes).ok()?;
            spans.push(((start ^ 1 << 63) as i64, end));
            Some(())
        })?
        .ok_or_else(|| damaged(&self.path, "a span"))?;
        Ok(spans)
    }

    pub fn sync(&self) -> Result<(), EngineError> {
        self.database()?.sync()
    }

    /// Bytes on the disk.
    pub fn size(&self) -> u64 {
        self.database.as_ref().map_or(0, Database::size)
    }

    /// The series that satisfy every matcher: by group, the numbers of their own labels.
    pub fn matching(&self, matchers: &[Matcher]) -> Vec<(u32, Vec<u32>)> {
        let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
        let says = |matcher: &Matcher, labels: &Labels| labels.get(&matcher.name).map(|v| matcher.matches_value(v));
        // Of each own labels, the matchers that they leave open.
        let open: Vec<Option<Vec<&Matcher>>> = catalogue
            .owns
            .iter()
            .map(|own| {
                let said: Vec<_> = matchers.iter().map(|matcher| (matcher, says(matcher, own))).collect();
                let fails = said.iter().any(|(_, said)| *said == Some(false));
                (!fails).then(|| said.into_iter().filter(|(_, said)| said.is_none()).map(|(m, _)| m).collect())
            })
            .collect();
        let mut found = Vec::new();
        for ((stamp, pairs), group) in catalogue.groups.iter().zip(&catalogue.pairs).zip(0..) {
            let fits = |own: &&u32| {
                let open = open.get(**own as usize).and_then(Option::as_ref);
                open.is_some_and(|open| {
                    open.iter().all(|matcher| says(matcher, stamp).unwrap_or_else(|| matcher.matches_value("")))
                })
            };
            let owns: Vec<u32> = pairs.iter().filter(fits).copied().collect();
            if !owns.is_empty() {
                found.push((group, owns));
            }
        }
        found
    }

    /// The complete labels of a series.
    pub fn labels(&self, group: u32, own: u32) -> Labels {
        let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
        let part = |list: &[Labels], number: u32| list.get(number as usize).cloned().unwrap_or_default();
        part(&catalogue.groups, group).merge(&part(&catalogue.owns, own))
    }

    /// What is held of some series of a group (`wanted` is sorted) in a range of time. `faults` counts chunks that are
    /// damaged and left out. Stops, and gives `None`, when there are more than `limit` samples.
    pub fn collect(
        &self,
        group: u32,
        wanted: &[u32],
        (start, end): (i64, i64),
        limit: usize,
        faults: &mut u64,
    ) -> Result<Option<Vec<Row>>, EngineError> {
        let database = self.database()?;
        let mut rows: BTreeMap<u32, Row> = BTreeMap::new();
        let mut loaded = 0;
        let mut from = chunk_key(group, start.saturating_sub(self.meta().longest), 0);
        // A start of chunks after the other; in each, only those that hold what is wanted.
        while let Some((key, _)) = database.first(&from)? {
            let Some((_, at)) = chunk_of(&key).filter(|(of, at)| *of == group && *at <= end) else { break };
            let mut left = wanted;
            while let Some(own) = left.first() {
                let found = database.last(&chunk_key(group, at, *own))?;
                let found = found.filter(|(key, _)| chunk_of(key) == Some((group, at)));
                let next = match &found {
                    // No chunk that begins at or before it: the next chunk may hold a later one.
                    None => {
                        let next = database.first(&chunk_key(group, at, *own))?;
                        next.filter(|(key, _)| chunk_of(key) == Some((group, at))).and_then(|(key, _)| first_of(&key))
                    }
                    Some((key, value)) => {
                        let is_wanted = |own| left.binary_search(&own).is_ok();
                        match chunk::read(value, is_wanted, start, end) {
                            Some((last, found)) => {
                                loaded += found.iter().map(Row::len).sum::<usize>();
                                found.into_iter().for_each(|row| join(&mut rows, row));
                                last.checked_add(1).map(|next| next.max(own + 1))
                            }
                            None => {
                                *faults += 1;
                                tracing::error!(path = %self.path.display(), ?key, "a chunk of history is damaged");
                                own.checked_add(1)
                            }
                        }
                    }
                };
                if loaded > limit {
                    return Ok(None);
                }
                let Some(next) = next else { break };
                left = &left[left.partition_point(|own| *own < next)..];
            }
            let Some(next) = at.checked_add(1) else { break };
            from = chunk_key(group, next, 0);
        }
        Ok(Some(rows.into_values().map(tidy).collect()))
    }

    /// Writes everything anew into an empty folder, in chunks as long as they may be.
    pub fn pack(&self, into: &Path, cache_bytes: u64, stop: &dyn Fn() -> bool) -> Result<Option<Meta>, EngineError> {
        let fresh = Database::open(into, cache_bytes)?;
        let outcome = self.pack_into(&fresh, stop);
        fresh.close();
        outcome
    }

    fn pack_into(&self, fresh: &Database, stop: &dyn Fn() -> bool) -> Result<Option<Meta>, EngineError> {
        for sort in [b"g", b"o", b"p", b"r"] {
            let mut outcome = Ok(());
            each(self.database()?, sort, |key, value| {
                let mut changes = Changes::default();
                changes.put(key, value.to_vec());
                outcome = fresh.apply(changes);
                outcome.is_ok().then_some(())
            })?;
            outcome?;
        }
        let all = self.catalogue.read().unwrap_or_else(PoisonError::into_inner).pairs.clone();
        let mut meta = Meta::default();
        let mut faults = 0;
        for (pairs, group) in all.iter().zip(0..) {
            // A few series at a time: a day of a thousand would be gigabytes.
            for wanted in pairs.chunks(PACKED_TOGETHER) {
                if stop() {
                    return Ok(None);
                }
                let rows = self.collect(group, wanted, (i64::MIN, i64::MAX), usize::MAX, &mut faults)?;
                let mut changes = Changes::default();
                put_rows(group, rows.unwrap_or_default(), &mut changes, &mut meta);
                fresh.apply(changes)?;
            }
        }
        let mut changes = Changes::default();
        changes.put(b"m", sealed(&serde_json::to_vec(&meta).unwrap_or_default()));
        fresh.apply(changes)?;
        fresh.sync()?;
        Ok(Some(meta))
    }
}

/// Series that are packed at a time.
const PACKED_TOGETHER: usize = 64;

impl Drop for Partition {
    fn drop(&mut self) {
        if let Some(database) = self.database.take() {
            database.close();
        }
    }
}

fn first_of(key: &[u8]) -> Option<u32> {
    key.get(13..17)?.try_into().map(u32::from_be_bytes).ok()
}

fn join(rows: &mut BTreeMap<u32, Row>, row: Row) {
    let known = rows.entry(row.own).or_insert_with(|| Row { own: row.own, ..Row::default() });
    if let Some((first, _)) = row.span() {
        known.starts.follow(first, &row.starts);
    }
    known.points.extend(row.points);
    known.histograms.extend(row.histograms);
}

/// Puts samples in order, of two at one time the one that was found last; chunks overlap after a clock was set back, and
/// after a failed write was repeated.
fn tidy(mut row: Row) -> Row {
    if !row.points.is_sorted_by(|a, b| a.t < b.t) {
        row.points.reverse();
        row.points.sort_by_key(|point| point.t);
        row.points.dedup_by_key(|point| point.t);
    }
    if !row.histograms.is_sorted_by(|a, b| a.0 < b.0) {
        row.histograms.reverse();
        row.histograms.sort_by_key(|(t, _)| *t);
        row.histograms.dedup_by_key(|(t, _)| *t);
    }
    row
}

/// Above this, rows are cut in two: a chunk is read as a whole.
const MOST_WEIGHT: usize = 8192;
/// A histogram weighs as much as so many numbers.
const HISTOGRAM_WEIGHT: usize = 64;

/// Writes rows (sorted by number) of a group as chunks.
fn put_rows(group: u32, rows: Vec<Row>, changes: &mut Changes, meta: &mut Meta) {
    let spans: Vec<_> = rows.iter().filter_map(Row::span).collect();
    let Some(start) = spans.iter().map(|(start, _)| *start).min() else { return };
    let end = spans.iter().map(|(_, end)| *end).max().unwrap_or(start);
    let weight = |row: &Row| row.points.len() + row.histograms.len() * HISTOGRAM_WEIGHT;
    if end > start && rows.iter().map(weight).max() > Some(MOST_WEIGHT) {
        let middle = start.midpoint(end);
        let late = rows.iter().map(|row| Row {
            own: row.own,
            points: row.points[row.points.partition_point(|point| point.t <= middle)..].to_vec(),
            histograms: row.histograms[row.histograms.partition_point(|(t, _)| *t <= middle)..].to_vec(),
            starts: row.starts.cut(middle.saturating_add(1), i64::MAX),
        });
        let late = late.collect();
        let early = rows.into_iter().map(|mut row| {
            row.points.truncate(row.points.partition_point(|point| point.t <= middle));
            row.histograms.truncate(row.histograms.partition_point(|(t, _)| *t <= middle));
            row.starts.forget_from(middle.saturating_add(1));
            row
        });
        put_rows(group, early.collect(), changes, meta);
        return put_rows(group, late, changes, meta);
    }
    let mut builder = Builder::default();
    let mut put = |builder: &mut Builder| {
        if let Some((first, bytes)) = builder.finish() {
            meta.chunks += 1;
            meta.bytes += bytes.len() as u64;
            changes.put(&chunk_key(group, start, first), bytes);
        }
    };
    for row in &rows {
        builder.add(row);
        if builder.is_full() {
            put(&mut builder);
        }
    }
    put(&mut builder);
    meta.samples += rows.iter().map(|row| row.len() as u64).sum::<u64>();
    meta.longest = meta.longest.max(end.saturating_sub(start));
    meta.range = Some(meta.range.map_or((start, end), |(first, last)| (first.min(start), last.max(end))));
}
