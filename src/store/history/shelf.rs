//! The partitions of a folder: opened when they are needed, packed when they are over, removed when they are too old,
//! set aside when they are damaged.
//!
//! ```text
//! history/
//!   1763683200000/        a partition, by the time at which it was begun
//!     META                its figures, and whether it is packed: read without opening it, and a witness of what it held
//!   packing.1763683200000/    being packed
//!   packed.1763683200000/     packed, about to take the place of the other
//!   aside.1763683200000/  damaged; at most three
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::catalogue::Meta;
use super::partition::Partition;
use super::{HistoryError, HistoryStats, SetAside};
use crate::store::state::database::EngineError;
use crate::store::state::folder::{free_bytes, remove_dir, replace_file, size_of, sync_dir};

/// Memory for sled's cache of one partition. sled takes two to four times as much.
const CACHE_BYTES: u64 = 4 << 20;
/// Partitions that stay open although nobody reads them.
const KEPT_OPEN: usize = 6;
/// Damaged partitions that are kept.
const KEPT_ASIDE: usize = 3;

/// What stands in META.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Witness {
    packed: bool,
    meta: Meta,
}

/// One partition, as far as it is known without opening it.
#[derive(Default)]
struct Volume {
    witness: Witness,
    open: Weak<Partition>,
    bytes: u64,
}

impl Volume {
    fn meta(&self) -> Meta {
        self.open.upgrade().map_or(self.witness.meta, |partition| partition.meta())
    }
}

const META: &str = "META";

fn testify(folder: &Path, witness: &Witness) -> Result<(), HistoryError> {
    replace_file(&folder.join(META), &serde_json::to_vec(witness).unwrap_or_default()).map_err(io(folder))
}

#[derive(Default)]
struct Volumes {
    /// By the time at which they were begun, milliseconds since the epoch.
    all: BTreeMap<i64, Volume>,
    /// The partitions that were used last, the latest at the end.
    used: Vec<Arc<Partition>>,
    aside: Vec<SetAside>,
}

/// All partitions of a folder.
pub(super) struct Shelf {
    path: PathBuf,
    volumes: Mutex<Volumes>,
    stats: Arc<HistoryStats>,
}

fn io<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> HistoryError {
    let path = path.to_path_buf();
    move |error| HistoryError::Failed { path, reason: error.to_string() }
}

impl Shelf {
    pub fn open(path: &Path, stats: Arc<HistoryStats>) -> Result<Self, HistoryError> {
        std::fs::create_dir_all(path).map_err(io(path))?;
        let mut all = BTreeMap::new();
        let names: Vec<String> = std::fs::read_dir(path)
            .map_err(io(path))?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        for name in &names {
            // The swap was begun: everything is there and durable.
            if let Some(number) = name.strip_prefix("packed.") {
                remove_dir(&path.join(number)).map_err(io(path))?;
                std::fs::rename(path.join(name), path.join(number)).map_err(io(path))?;
            } else if name.starts_with("packing.") {
                remove_dir(&path.join(name)).map_err(io(path))?;
            }
        }
        for name in names.iter().map(|name| name.strip_prefix("packed.").unwrap_or(name)) {
            if let Ok(number) = name.parse::<i64>() {
                let text = std::fs::read(path.join(name).join(META)).ok();
                let witness = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
                let bytes = size_of(&path.join(name));
                all.insert(number, Volume { witness, bytes, ..Volume::default() });
            }
        }
        let volumes = Mutex::new(Volumes { all, ..Volumes::default() });
        let shelf = Shelf { path: path.to_path_buf(), volumes, stats };
        shelf.refresh();
        Ok(shelf)
    }

    fn lock(&self) -> MutexGuard<'_, Volumes> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, number: i64) -> PathBuf {
        self.path.join(number.to_string())
    }

    pub fn set_aside(&self) -> Vec<SetAside> {
        self.lock().aside.clone()
    }

    /// The partition of a number, opened; `None` if it is gone, or damaged and therefore set aside.
    pub fn get(&self, number: i64) -> Result<Option<Arc<Partition>>, HistoryError> {
        let mut volumes = self.lock();
        let Some(volume) = volumes.all.get(&number) else { return Ok(None) };
        if let Some(partition) = volume.open.upgrade() {
            volumes.use_now(&partition);
            return Ok(Some(partition));
        }
        let (path, expected) = (self.folder(number), volume.witness.meta.samples);
        // sled opens a file that lost its head as an empty one.
        let opened = Partition::open(&path, CACHE_BYTES).and_then(|partition| match partition.meta().samples {
            found if found < expected => {
                let reason = format!("{}: {found} samples are there, {expected} should be", path.display());
                Err(EngineError::Damaged(reason))
            }
            _ => Ok(partition),
        });
        match opened {
            Ok(partition) => {
                let partition = Arc::new(partition);
                if let Some(volume) = volumes.all.get_mut(&number) {
                    volume.open = Arc::downgrade(&partition);
                }
                volumes.use_now(&partition);
                Ok(Some(partition))
            }
            Err(EngineError::Damaged(reason)) => {
                self.put_aside(&mut volumes, number, reason);
                Ok(None)
            }
            Err(error) => Err(io(&path)(error)),
        }
    }

    /// The partition to write into: the newest, or a new one when that has lasted long enough or is large enough.
    pub fn current(&self, now: i64, lasts: Duration, largest: u64) -> Result<Arc<Partition>, HistoryError> {
        let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        let newest =
            self.lock().all.last_key_value().map(|(number, volume)| (*number, volume.witness.packed, volume.bytes));
        if let Some((number, packed, bytes)) = newest
            && !packed
            && now < number.saturating_add(lasts)
            && bytes < largest
            && let Some(partition) = self.get(number)?
        {
            return Ok(partition);
        }
        let number = newest.map_or(now, |(number, ..)| now.max(number + 1));
        self.lock().all.insert(number, Volume::default());
        let partition = self.get(number)?;
        sync_dir(&self.path).map_err(io(&self.path))?;
        let reason = "a partition that was begun just now cannot be opened".to_string();
        partition.ok_or(HistoryError::Failed { path: self.path.clone(), reason })
    }

    /// Writes down what a partition holds, once that is durable.
    pub fn saved(&self, partition: &Partition) -> Result<(), HistoryError> {
        testify(&partition.path, &Witness { packed: false, meta: partition.meta() })
    }

    /// Says that a partition failed: a damaged one is set aside, any other is opened anew.
    pub fn failed(&self, partition: &Arc<Partition>, error: &EngineError) {
        let mut volumes = self.lock();
        let number = volumes.all.iter().find(|(_, volume)| volume.open.ptr_eq(&Arc::downgrade(partition)));
        let Some(number) = number.map(|(number, _)| *number) else { return };
        volumes.used.retain(|used| !Arc::ptr_eq(used, partition));
        match error {
            EngineError::Damaged(reason) => self.put_aside(&mut volumes, number, reason.clone()),
            _ => {
                if let Some(volume) = volumes.all.get_mut(&number) {
                    volume.open = Weak::new();
                }
            }
        }
    }

    fn put_aside(&self, volumes: &mut Volumes, number: i64, reason: String) {
        let (from, to) = (self.folder(number), self.path.join(format!("aside.{number}")));
        volumes.all.remove(&number);
        let moved = remove_dir(&to).map_err(|error| error.to_string());
        let moved = moved.and_then(|()| std::fs::rename(&from, &to).map_err(|error| error.to_string()));
        let kept = if moved.is_ok() { &to } else { &from };
        let path = kept.display();
        tracing::error!(%path, reason, "a partition of the history is damaged; it is set aside, and its samples are missing");
        self.stats.errors_total.fetch_add(1, Ordering::Relaxed);
        volumes.aside.push(SetAside { path: kept.clone(), reason });
        let mut old: Vec<PathBuf> = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("aside.")))
            .collect();
        old.sort();
        for path in &old[..old.len().saturating_sub(KEPT_ASIDE)] {
            // It is counted against the disk's space only; the next one tries again.
            let _ = remove_dir(path);
        }
    }

    /// The partitions that may hold something of a range of time, oldest first.
    pub fn touching(&self, start: i64, end: i64) -> Vec<i64> {
        let volumes = self.lock();
        let touches = |volume: &Volume| match volume.meta().range {
            Some((first, last)) => first <= end && last >= start,
            // Not opened yet.
            None => !volume.witness.packed,
        };
        volumes.all.iter().filter(|(_, volume)| touches(volume)).map(|(number, _)| *number).collect()
    }

    /// The time of the oldest sample that is known of.
    pub fn oldest(&self) -> Option<i64> {
        self.lock().all.values().filter_map(|volume| volume.meta().range).map(|(first, _)| first).min()
    }

    /// Times of which nothing is missing, of the two newest partitions.
    pub fn covered(&self) -> Vec<(i64, i64)> {
        let numbers: Vec<i64> = self.lock().all.keys().rev().take(2).copied().collect();
        let mut spans = Vec::new();
        for number in numbers {
            match self.get(number) {
                Ok(Some(partition)) => match partition.covered() {
                    Ok(found) => spans.extend(found),
                    Err(error) => self.failed(&partition, &error),
                },
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot read what the history covers"),
            }
        }
        spans
    }

    /// Removes partitions whose samples all are older than `oldest`, then the oldest until the rest takes no more than
    /// `most`; never the newest.
    pub fn retain(&self, oldest: i64, most: u64) -> Result<(), HistoryError> {
        let mut volumes = self.lock();
        let newest = volumes.all.last_key_value().map(|(number, _)| *number);
        let mut total: u64 = volumes.all.values().map(|volume| volume.bytes).sum();
        let numbers: Vec<i64> = volumes.all.keys().copied().filter(|number| Some(*number) != newest).collect();
        for number in numbers {
            let Some(volume) = volumes.all.get(&number) else { continue };
            let old = volume.meta().range.is_some_and(|(_, last)| last < oldest);
            if !old && total <= most {
                continue;
            }
            total = total.saturating_sub(volume.bytes);
            let (open, path) = (volume.open.upgrade(), self.folder(number));
            volumes.all.remove(&number);
            volumes.used.retain(|used| open.as_ref().is_none_or(|open| !Arc::ptr_eq(used, open)));
            remove_dir(&path).map_err(io(&path))?;
            tracing::info!(path = %path.display(), old, "a partition of the history was removed");
        }
        Ok(())
    }

    /// Packs the oldest partition that is over and not packed yet, if there is room for it.
    pub fn pack_one(&self, reserve: u64, stop: &dyn Fn() -> bool) -> Result<(), HistoryError> {
        let next = {
            let volumes = self.lock();
            let newest = volumes.all.last_key_value().map(|(number, _)| *number);
            let over = volumes.all.iter().find(|(number, volume)| !volume.witness.packed && Some(**number) != newest);
            over.map(|(number, volume)| (*number, volume.bytes))
        };
        let Some((number, bytes)) = next else { return Ok(()) };
        if free_bytes(&self.path) < reserve.saturating_add(bytes) {
            return Ok(());
        }
        let Some(partition) = self.get(number)? else { return Ok(()) };
        let (packing, packed) =
            (self.path.join(format!("packing.{number}")), self.path.join(format!("packed.{number}")));
        remove_dir(&packing).map_err(io(&packing))?;
        let meta = match partition.pack(&packing, CACHE_BYTES, stop) {
            Ok(Some(meta)) => meta,
            Ok(None) => return remove_dir(&packing).map_err(io(&packing)),
            Err(error) => {
                self.failed(&partition, &error);
                return Err(io(&partition.path)(error));
            }
        };
        let witness = Witness { packed: true, meta };
        testify(&packing, &witness)?;
        let mut volumes = self.lock();
        volumes.used.retain(|used| !Arc::ptr_eq(used, &partition));
        let place = self.folder(number);
        std::fs::rename(&packing, &packed).map_err(io(&packing))?;
        sync_dir(&self.path).map_err(io(&self.path))?;
        remove_dir(&place).map_err(io(&place))?;
        std::fs::rename(&packed, &place).map_err(io(&packed))?;
        let bytes = size_of(&place);
        volumes.all.insert(number, Volume { witness, bytes, ..Volume::default() });
        tracing::info!(path = %place.display(), samples = meta.samples, bytes, "a partition of the history was packed");
        Ok(())
    }

    /// Brings sizes and figures up to date.
    pub fn refresh(&self) {
        let mut volumes = self.lock();
        for volume in volumes.all.values_mut() {
            if let Some(partition) = volume.open.upgrade() {
                volume.bytes = partition.size();
                volume.witness.meta = partition.meta();
            }
        }
        let sum = |figure: fn(&Volume) -> u64| volumes.all.values().map(figure).sum::<u64>();
        self.stats.bytes.store(sum(|volume| volume.bytes), Ordering::Relaxed);
        self.stats.samples.store(sum(|volume| volume.meta().samples), Ordering::Relaxed);
        self.stats.chunk_bytes.store(sum(|volume| volume.meta().bytes), Ordering::Relaxed);
        self.stats.chunks.store(sum(|volume| volume.meta().chunks), Ordering::Relaxed);
        self.stats.partitions.store(volumes.all.len() as u64, Ordering::Relaxed);
    }
}

impl Volumes {
    fn use_now(&mut self, partition: &Arc<Partition>) {
        self.used.retain(|used| !Arc::ptr_eq(used, partition));
        self.used.push(partition.clone());
        if self.used.len() > KEPT_OPEN {
            self.used.remove(0);
        }
    }
}
