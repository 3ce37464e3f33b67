//! History: samples beyond the recent window, on disk, in partitions of about a day.
//!
//! Every few minutes what is new in the window is written and made durable; a kill or a power cut loses at most what came
//! since. When a day is over its partition is packed anew: long chunks, no space between. Retention removes whole
//! partitions. Nothing here may be called on a thread of the runtime: it reads and writes files.

mod catalogue;
mod chunk;
mod partition;
mod shelf;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::recent::Recent;
use super::save::Cut;
use super::state::database::EngineError;
use super::state::folder::free_bytes;
use crate::model::{Matcher, Series, SourceError};
pub(super) use chunk::Row;
pub(super) use partition::Entry;
use shelf::Shelf;

/// How a history is kept.
#[derive(Clone, Debug)]
pub struct HistoryOptions {
    /// Its folder.
    pub path: PathBuf,
    /// Samples older than this go.
    pub retention: Duration,
    /// The oldest go when all of it takes more.
    pub max_bytes: u64,
    /// Nothing is written while less than this is free on the disk: the state needs its space.
    pub reserve_bytes: u64,
    /// Only series that satisfy all of these are kept.
    pub matchers: Vec<Matcher>,
    /// After this a new partition is begun.
    pub partition: Duration,
}

impl HistoryOptions {
    /// The defaults, in a folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        HistoryOptions {
            path: path.into(),
            retention: Duration::from_secs(30 * 86_400),
            max_bytes: 8 << 30,
            reserve_bytes: 512 << 20,
            matchers: Vec::new(),
            partition: Duration::from_secs(86_400),
        }
    }
}

/// Why the history could not be written or read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistoryError {
    /// Too little free space; nothing was written, and the samples stay in the window as long as that reaches.
    #[error("{}: {free} bytes are free on the disk, history needs {needed}; free space there, writing resumes by itself", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Bytes that must be free.
        needed: u64,
    },
    /// The disk or the database failed.
    #[error("{}: {reason}", path.display())]
    Failed {
        /// The folder or the partition.
        path: PathBuf,
        /// Cause.
        reason: String,
    },
}

/// Figures of a history; all but the gauges only rise.
#[derive(Debug, Default)]
pub struct HistoryStats {
    /// Samples written.
    pub samples_total: AtomicU64,
    /// Failed writes and damaged chunks and partitions that were met.
    pub errors_total: AtomicU64,
    /// Gauge: bytes on the disk.
    pub bytes: AtomicU64,
    /// Gauge: bytes of chunks; compressed samples and nothing else.
    pub chunk_bytes: AtomicU64,
    /// Gauge: partitions.
    pub partitions: AtomicU64,
    /// Gauge: samples that are held.
    pub samples: AtomicU64,
    /// Gauge: chunks that are held.
    pub chunks: AtomicU64,
    /// Gauge: series of the partition that is being written.
    pub series: AtomicU64,
    /// Gauge: milliseconds since the epoch up to which the history is on the disk; 0 before the first write.
    pub saved_until: AtomicU64,
}

/// What has to be looked at by a person: a partition that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is kept.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The samples of the past. Cheap to share in an `Arc`; dropping it closes its databases.
pub struct History {
    options: HistoryOptions,
    shelf: Shelf,
    stats: Arc<HistoryStats>,
    /// One writer at a time; since when nothing is missing.
    writing: Mutex<Option<i64>>,
    stopping: AtomicBool,
}

impl History {
    /// Takes the folder. Databases are opened when they are needed, so that this is quick.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(options: HistoryOptions) -> Result<Self, HistoryError> {
        let stats = Arc::new(HistoryStats::default());
        let shelf = Shelf::open(&options.path, stats.clone())?;
        Ok(History { options, shelf, stats, writing: Mutex::default(), stopping: AtomicBool::new(false) })
    }

    /// Figures; the same for the life of the history.
    pub fn stats(&self) -> Arc<HistoryStats> {
        self.stats.clone()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.options.path
    }

    /// Partitions that were found damaged and set aside since the start.
    pub fn set_aside(&self) -> Vec<SetAside> {
        self.shelf.set_aside()
    }

    /// Since when nothing is missing up to now, if a gap shorter than `gap` does not count: the past that rules may rely
    /// on after a restart.
    pub fn covered_since(&self, now: i64, gap: Duration) -> Option<i64> {
        let gap = i64::try_from(gap.as_millis()).unwrap_or(i64::MAX);
        let mut since = None;
        let mut spans = self.shelf.covered();
        spans.sort_by_key(|(_, end)| -*end);
        for (start, end) in spans {
            if end.saturating_add(gap) < since.unwrap_or(now) {
                break;
            }
            since = Some(since.unwrap_or(now).min(start));
        }
        since.map(|since| since.max(self.shelf.oldest().unwrap_or(since)))
    }

    /// Writes what is new in the window and makes it durable. Says how many samples that were.
    ///
    /// # Errors
    /// [`HistoryError`]; what was not written is tried again with the next call, as long as the window holds it.
    pub fn save(&self, recent: &Recent, now: i64) -> Result<u64, HistoryError> {
        let mut since = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.try_save(recent, now, &mut since);
        // Series that wait for a disk that takes nothing must not fill the memory.
        recent.keep_unsaved(outcome.is_ok());
        match &outcome {
            Ok(samples) => {
                self.stats.samples_total.fetch_add(*samples, Ordering::Relaxed);
                self.stats.saved_until.store(u64::try_from(now).unwrap_or(0), Ordering::Relaxed);
            }
            Err(_) => {
                self.stats.errors_total.fetch_add(1, Ordering::Relaxed);
                *since = None;
            }
        }
        outcome
    }

    fn try_save(&self, recent: &Recent, now: i64, since: &mut Option<i64>) -> Result<u64, HistoryError> {
        let free = free_bytes(&self.options.path);
        if free < self.options.reserve_bytes {
            let (path, needed) = (self.options.path.clone(), self.options.reserve_bytes);
            return Err(HistoryError::Full { path, free, needed });
        }
        let largest = self.options.max_bytes / LARGEST_PART;
        let partition = self.shelf.current(now, self.options.partition, largest)?;
        let failed = |error: EngineError| {
            self.shelf.failed(&partition, &error);
            HistoryError::Failed { path: partition.path.clone(), reason: error.to_string() }
        };
        let mut marks = Vec::new();
        let mut samples = 0;
        let leavers = recent.take_leavers();
        let blocks = recent.ids().into_iter().filter_map(|id| recent.unsaved(&id));
        for Cut { mark, mut entries } in leavers.into_iter().chain(blocks) {
            entries.retain(|entry| self.keeps(entry));
            samples += entries.iter().map(|entry| entry.row.len() as u64).sum::<u64>();
            if !entries.is_empty() {
                partition.write(entries).map_err(failed)?;
            }
            marks.push(mark);
        }
        // What was not saved before is in the window, as far as that is complete.
        let begun = *since.get_or_insert_with(|| recent.complete_since().min(now));
        partition.cover(begun, now).map_err(failed)?;
        partition.sync().map_err(failed)?;
        self.shelf.saved(&partition)?;
        recent.mark_saved(&marks);
        self.shelf.refresh();
        self.stats.series.store(partition.series() as u64, Ordering::Relaxed);
        Ok(samples)
    }

    fn keeps(&self, entry: &Entry) -> bool {
        self.options.matchers.iter().all(|matcher| {
            let value = entry.own.get(&matcher.name).or_else(|| entry.stamp.get(&matcher.name));
            matcher.matches_value(value.unwrap_or_default())
        })
    }

    /// Removes what is too old or too much, and packs one partition that is over. Takes as long as packing does; ends
    /// soon after [`History::stop`].
    ///
    /// # Errors
    /// [`HistoryError`]; nothing is lost by it.
    pub fn tend(&self, now: i64) -> Result<(), HistoryError> {
        let oldest = now.saturating_sub(i64::try_from(self.options.retention.as_millis()).unwrap_or(i64::MAX));
        self.shelf.retain(oldest, self.options.max_bytes)?;
        let outcome = self.shelf.pack_one(self.options.reserve_bytes, &|| self.stopping.load(Ordering::Relaxed));
        self.shelf.refresh();
        outcome
    }

    /// Lets [`History::tend`] end soon.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// All series that satisfy every matcher, with their samples of `start..=end`, sorted by labels. Partitions that
    /// turn out to be damaged are set aside, loudly, and left out.
    ///
    /// # Errors
    /// When there are more than `limit` samples, or a folder cannot be read.
    pub fn select(&self, matchers: &[Matcher], start: i64, end: i64, limit: usize) -> Result<Vec<Series>, SourceError> {
        let mut found = std::collections::BTreeMap::new();
        let mut loaded = 0;
        for number in self.shelf.touching(start, end) {
            let Some(partition) = self.shelf.get(number)? else { continue };
            let mut faults = 0;
            for (group, owns) in partition.matching(matchers) {
                let rows = match partition.collect(group, &owns, (start, end), limit - loaded, &mut faults) {
                    Ok(Some(rows)) => rows,
                    Ok(None) => return Err(SourceError::TooManySamples { limit }),
                    Err(error) => {
                        self.shelf.failed(&partition, &error);
                        break;
                    }
                };
                for row in rows {
                    loaded += row.len();
                    let labels = partition.labels(group, row.own);
                    let Row { points, histograms, starts, .. } = row;
                    let known: &mut Series =
                        found.entry(labels.clone()).or_insert_with(|| Series::floats(labels.clone(), Vec::new()));
                    super::samples::append(known, Series { labels, points, histograms, starts });
                }
                if loaded > limit {
                    return Err(SourceError::TooManySamples { limit });
                }
            }
            self.stats.errors_total.fetch_add(faults, Ordering::Relaxed);
        }
        Ok(found.into_values().filter(|series| !(series.points.is_empty() && series.histograms.is_empty())).collect())
    }

    /// The label sets of all series that satisfy every matcher and may have a sample in `start..=end`, to within a
    /// partition, sorted.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn series(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<crate::model::Labels>, SourceError> {
        let mut found = std::collections::BTreeSet::new();
        for number in self.shelf.touching(start, end) {
            let Some(partition) = self.shelf.get(number)? else { continue };
            for (group, owns) in partition.matching(matchers) {
                found.extend(owns.into_iter().map(|own| partition.labels(group, own)));
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// A partition is over, too, when it takes this part of what all may take: what is removed goes in such parts.
const LARGEST_PART: u64 = 4;

impl From<HistoryError> for SourceError {
    fn from(error: HistoryError) -> Self {
        SourceError::Storage(error.to_string())
    }
}
