//! Saving records from a damaged database, and building a new one from records.
//!
//! Three sources, together: what sled still reads (forward, in reverse, and by the keys of the last export), what
//! stands in the bare bytes of its files, and the last export. For each key the highest revision wins; a deletion that
//! is known from a meta record or from the export's silence counts as one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::dump::{self, DumpError, Entry};
use super::engine::{Engine, EngineError};
use super::folder::Folder;
use super::ladder::Expected;
use super::record::{self, Carved, LONGEST, Meta};
use super::txn::Effect;
use super::writer::after;
use super::{OpenError, Versioned};

/// Revisions that are left out after a repair: those given out after the last mark must never be given out again,
/// or an old claim could pass for a new one.
pub(super) const REVISION_GAP: u64 = 1 << 20;
/// How much of a file is searched at once.
const WINDOW: usize = 4 << 20;
/// Changes in one batch while a database is built.
const BATCH: usize = 512;

/// What a search found.
pub(super) struct Found {
    pub records: BTreeMap<String, Versioned>,
    /// Highest revision seen anywhere.
    pub revision: u64,
    pub id: Option<[u8; 16]>,
    /// How many records came from the database rather than from the export.
    pub salvaged: usize,
    pub export: Option<PathBuf>,
    pub messages: Vec<String>,
}

/// Versions of keys as they turn up; `None` is a deletion.
#[derive(Default)]
struct Sightings {
    latest: BTreeMap<String, (u64, Option<Versioned>)>,
    revision: u64,
    id: Option<[u8; 16]>,
}

impl Sightings {
    fn see(&mut self, key: String, revision: u64, value: Option<Versioned>) {
        self.revision = self.revision.max(revision);
        let known = self.latest.entry(key).or_insert((0, None));
        // A deletion and a put of one revision cannot be of the same key.
        if revision > known.0 {
            *known = (revision, value);
        }
    }

    fn carved(&mut self, carved: Carved) {
        match carved {
            Carved::Record(record) => self.see(record.key, record.value.mod_rev, Some(record.value)),
            Carved::Meta(meta) => {
                self.revision = self.revision.max(meta.revision);
                self.id = Some(meta.id);
                for key in meta.deleted {
                    self.see(key, meta.revision, None);
                }
            }
        }
    }

    fn records(&self) -> usize {
        self.latest.values().filter(|(_, value)| value.is_some()).count()
    }
}

/// Searches the expected database and the exports of the folder.
pub(super) fn search(folder: &Folder, expected: &Expected, cache_bytes: u64) -> Found {
    let place = folder.database(expected.generation);
    let (mut messages, mut seen) = (Vec::new(), Sightings::default());
    let export = last_export(folder, &mut messages);
    if place.join("db").is_file() {
        // The copy from before the first try, and what sled left: it overwrites all that follows the damage.
        let found = folder.as_found(expected.generation);
        for file in files(&found).into_iter().chain(files(&place)) {
            if let Err(error) = carve_file(&file, &mut |carved| seen.carved(carved)) {
                messages.push(format!("{} can be read in part only: {error}", file.display()));
            }
        }
        let carved = seen.records();
        let known = export.iter().flat_map(|(_, _, records)| records.keys());
        let read = ask_sled(&place, cache_bytes, known, &mut seen, &mut messages);
        messages.push(format!("salvage: sled reads {read} records, {carved} stand in the bytes of its files"));
    }
    merge(seen, export, messages)
}

/// The newest export that is whole, with its records.
type Export = (PathBuf, u64, BTreeMap<String, Versioned>);

fn last_export(folder: &Folder, messages: &mut Vec<String>) -> Option<Export> {
    for path in dump::exports(&folder.exports()) {
        let mut records = BTreeMap::new();
        match dump::read_file(&path, &mut |entry| take(&mut records, entry)) {
            Ok(summary) => return Some((path, summary.revision, records)),
            Err(error) => messages.push(error.to_string()),
        }
    }
    None
}

fn take(records: &mut BTreeMap<String, Versioned>, entry: Entry) -> Result<(), DumpError> {
    match entry {
        Entry::Put(record) => records.insert(record.key, record.value),
        Entry::Delete { key, .. } => records.remove(&key),
    };
    Ok(())
}

fn merge(seen: Sightings, export: Option<Export>, mut messages: Vec<String>) -> Found {
    let mut found = Found {
        records: BTreeMap::new(),
        revision: seen.revision,
        id: seen.id,
        salvaged: 0,
        export: None,
        messages: Vec::new(),
    };
    let mut exported_at = 0;
    if let Some((path, revision, records)) = export {
        messages.push(format!("the export {} gives {} records of revision {revision}", path.display(), records.len()));
        found.revision = found.revision.max(revision);
        found.export = Some(path);
        found.records = records;
        exported_at = revision;
    }
    for (key, (revision, value)) in seen.latest {
        // At its revision the export is complete: what it does not hold was deleted, what it holds is the same.
        if revision <= exported_at {
            continue;
        }
        match value {
            Some(value) => {
                found.salvaged += 1;
                found.records.insert(key, value);
            }
            None => {
                found.records.remove(&key);
            }
        }
    }
    found.messages = messages;
    found
}

fn files(place: &Path) -> Vec<PathBuf> {
    let blobs = std::fs::read_dir(place.join("blobs")).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(place.join("db")).chain(blobs).filter(|path| path.is_file()).collect()
}

fn carve_file(path: &Path, sink: &mut dyn FnMut(Carved)) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(WINDOW + LONGEST);
    loop {
        let wanted = (WINDOW + LONGEST).saturating_sub(buffer.len());
        let count = (&mut file).take(wanted as u64).read_to_end(&mut buffer)?;
        let last = count < wanted;
        let limit = if last { buffer.len() } else { WINDOW };
        record::carve(&buffer, limit, sink);
        if last {
            return Ok(());
        }
        buffer.drain(..WINDOW);
    }
}

/// Takes what sled still reads. Every step may fail, and the next one is tried all the same.
fn ask_sled<'a>(
    place: &Path,
    cache_bytes: u64,
    known: impl Iterator<Item = &'a String>,
    seen: &mut Sightings,
    messages: &mut Vec<String>,
) -> usize {
    let engine = match Engine::open(place, cache_bytes) {
        Ok(engine) => engine,
        Err(error) => {
            messages.push(format!("salvage: sled cannot open it: {error}"));
            return 0;
        }
    };
    if let Ok(meta) = engine.meta() {
        seen.carved(Carved::Meta(meta));
    }
    let mut read = BTreeMap::new();
    for reverse in [false, true] {
        let mut faults = 0;
        for record in engine.scan("", None, reverse) {
            match record {
                Ok(record) => {
                    read.insert(record.key, record.value);
                }
                Err(EngineError::Damaged(_)) if faults < 1000 => faults += 1,
                Err(_) => break,
            }
        }
    }
    for key in known {
        if let Ok(Some(record)) = engine.get(key) {
            read.insert(record.key, record.value);
        }
    }
    engine.close();
    let count = read.len();
    for (key, value) in read {
        seen.see(key, value.mod_rev, Some(value));
    }
    count
}

/// Why a database could not be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Folder(#[from] OpenError),
}

/// Fills a new database.
pub(super) struct Builder {
    engine: Engine,
    meta: Meta,
    batch: BTreeMap<String, Effect>,
}

impl Builder {
    /// Puts or deletes (`None`) a record with the revisions that it has.
    pub fn put(&mut self, key: &str, after: Option<Versioned>) -> Result<(), EngineError> {
        if let Some(effect) = self.batch.get_mut(key) {
            effect.after = after;
        } else {
            let before = self.engine.get(key)?.map(|record| record.value);
            self.batch.insert(key.to_string(), Effect { key: key.to_string(), before, after });
        }
        if self.batch.len() >= BATCH { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), EngineError> {
        let effects: Vec<Effect> = std::mem::take(&mut self.batch).into_values().collect();
        let mut meta = after(&self.meta, self.meta.revision, &effects);
        // Nothing is deleted that anyone could bring back, and a long list would not fit.
        meta.deleted.clear();
        self.engine.apply(&effects, &meta)?;
        self.meta = meta;
        Ok(())
    }
}

/// Builds the database of `meta.generation` beside the others, proves it, and gives it its name. The MANIFEST is the
/// caller's.
pub(super) fn build(
    folder: &Folder,
    meta: Meta,
    cache_bytes: u64,
    fill: impl FnOnce(&mut Builder) -> Result<(), EngineError>,
) -> Result<Meta, BuildError> {
    let generation = meta.generation;
    let place = folder.building(generation);
    super::folder::remove_dir(&place)?;
    std::fs::create_dir_all(&place).map_err(OpenError::io("cannot create", &place))?;
    let mut builder = Builder { engine: Engine::open(&place, cache_bytes)?, meta, batch: BTreeMap::new() };
    let filled = fill(&mut builder).and_then(|()| builder.write()).and_then(|()| builder.engine.sync());
    let checked = filled.and_then(|()| builder.engine.check());
    let Builder { engine, .. } = builder;
    engine.close();
    let (meta, _) = checked?;
    super::folder::sync_tree(&place)?;
    folder.finish(generation)?;
    Ok(meta)
}
