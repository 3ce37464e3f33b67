//! The commands on a folder that no daemon uses: verify, export, import, compact.

use std::path::{Path, PathBuf};

use super::dump::{self, DumpError, DumpSummary, Entry};
use super::engine::{Engine, EngineError};
use super::folder::{self, Folder};
use super::ladder::{Expected, expected, open_sound};
use super::manifest::{Manifest, hex, new_id};
use super::record::Meta;
use super::salvage::{self, BuildError, REVISION_GAP};
use super::{OpenError, StoreError};

/// sled's cache for commands.
const CACHE: u64 = 32 << 20;

/// What [`verify`] found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// The folder.
    pub path: PathBuf,
    /// The database.
    pub database: PathBuf,
    /// Which store it is.
    pub id: String,
    /// Last revision.
    pub revision: u64,
    /// Keys.
    pub keys: u64,
    /// Bytes of all records.
    pub record_bytes: u64,
    /// Bytes on the disk.
    pub disk_bytes: u64,
    /// The newest whole export and its revision.
    pub export: Option<(PathBuf, u64)>,
    /// What is wrong; empty if the database is sound.
    pub problems: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl std::fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}", self.database.display(), if self.is_sound() { "sound" } else { "DAMAGED" })?;
        for problem in &self.problems {
            writeln!(f, "  {problem}")?;
        }
        if !self.id.is_empty() {
            let (id, revision, keys) = (&self.id, self.revision, self.keys);
            writeln!(f, "  store {id}, revision {revision}, {keys} keys, {} bytes of records", self.record_bytes)?;
        }
        writeln!(f, "  {} bytes on the disk", self.disk_bytes)?;
        match &self.export {
            Some((path, revision)) => writeln!(f, "  last whole export: {}, revision {revision}", path.display())?,
            None => writeln!(f, "  no whole export in {}", self.path.join("exports").display())?,
        }
        if !self.is_sound() {
            let path = self.path.display();
            writeln!(f, "  the next start of the daemon salvages what it can and keeps this database;")?;
            writeln!(f, "  copy {path} away first, or put an export back with `davylamp state import EXPORT {path}`")?;
        }
        Ok(())
    }
}

/// The state's folder, and with it the history in it, kept from every other process until this is dropped.
pub struct Hold(#[allow(dead_code, reason = "it is held, not used")] Folder);

/// Takes a state's folder without opening anything in it.
///
/// # Errors
/// [`OpenError`] if the folder is in use or absent.
pub fn hold(path: &Path) -> Result<Hold, OpenError> {
    Folder::claim(path, false).map(Hold)
}

/// Reads every record and every checksum, of a copy: opening a damaged database may change it.
///
/// # Errors
/// [`OpenError`] if the folder is in use, absent, or cannot be read; damage is in the report.
pub fn verify(path: &Path) -> Result<VerifyReport, OpenError> {
    let folder = Folder::claim(path, false)?;
    let Some(expected) = expected(&folder)? else { return Err(OpenError::Absent { path: path.to_path_buf() }) };
    let database = folder.database(expected.generation);
    let mut report = VerifyReport {
        path: path.to_path_buf(),
        database: database.clone(),
        id: String::new(),
        revision: 0,
        keys: 0,
        record_bytes: 0,
        disk_bytes: folder::size_of(&database),
        export: None,
        problems: expected.fault.clone().into_iter().collect(),
    };
    let copy = folder.path().join("verify.copy");
    let checked = folder::copy_tree(&database, &copy).map(|()| open_sound(&copy, &expected, CACHE));
    match checked {
        Ok(Ok((engine, meta, bytes))) => {
            engine.close();
            (report.id, report.revision, report.keys) = (hex(&meta.id), meta.revision, meta.keys);
            report.record_bytes = bytes;
        }
        Ok(Err(error)) => report.problems.push(error.to_string()),
        Err(error) => {
            folder::remove_dir(&copy)?;
            return Err(error);
        }
    }
    folder::remove_dir(&copy)?;
    for export in dump::exports(&folder.exports()) {
        match dump::read_file(&export, &mut |_| Ok(())) {
            Ok(summary) => {
                report.export = Some((export, summary.revision));
                break;
            }
            Err(error) => report.problems.push(error.to_string()),
        }
    }
    Ok(report)
}

/// A sound database, opened for a command.
fn open(path: &Path) -> Result<(Folder, Expected, Engine, Meta), OpenError> {
    let folder = Folder::claim(path, false)?;
    let Some(expected) = expected(&folder)? else { return Err(OpenError::Absent { path: path.to_path_buf() }) };
    let database = folder.database(expected.generation);
    match open_sound(&database, &expected, CACHE) {
        Ok((engine, meta, _)) => Ok((folder, expected, engine, meta)),
        Err(error) => Err(OpenError::Damaged { database, reason: error.to_string() }),
    }
}

/// Writes all records of the folder at `path` to `out`.
///
/// # Errors
/// [`OpenError`]; a file of the name `out` is always whole.
pub fn export(path: &Path, out: &Path) -> Result<DumpSummary, OpenError> {
    let (_folder, _, engine, meta) = open(path)?;
    let written = dump::write_file(out, |file| {
        let mut writer = dump::Writer::begin(file, &meta.id)?;
        for record in engine.scan("", None, false) {
            let damaged = |error: EngineError| StoreError::Corrupt { path: path.into(), reason: error.to_string() };
            let record = record.map_err(damaged)?;
            writer.put(&record.key, &record.value)?;
        }
        writer.finish(meta.revision)
    });
    engine.close();
    written
}

/// Makes the folder at `into` hold exactly what the export `from` holds. What was there is set aside, and the
/// revisions go on above it. Gives the summary and where the old database is kept.
///
/// # Errors
/// [`OpenError`]; unless the export is whole, nothing is changed.
pub fn import(from: &Path, into: &Path) -> Result<(DumpSummary, Option<PathBuf>), OpenError> {
    // Once for the proof, since a folder is made only for a whole export; once more for the records.
    let summary = dump::read_file(from, &mut |_| Ok(()))?;
    let folder = Folder::claim(into, true)?;
    let old = expected(&folder)?;
    let manifest = old.as_ref().and_then(|old| old.manifest.clone());
    let mark = manifest.as_ref().map_or(0, |manifest| manifest.revision);
    let generation =
        folder.numbered("db.").last().copied().max(old.as_ref().map(|old| old.generation)).unwrap_or(0) + 1;
    let meta = Meta {
        id: manifest.as_ref().map_or_else(new_id, |manifest| manifest.id),
        generation,
        revision: summary.revision.max(mark) + REVISION_GAP,
        keys: 0,
        digest: 0,
        deleted: Vec::new(),
    };
    let mut failed = None;
    let built = salvage::build(&folder, meta, CACHE, |builder| {
        let read = dump::read_file(from, &mut |entry| {
            let put = match entry {
                Entry::Put(record) => builder.put(&record.key, Some(record.value)),
                Entry::Delete { key, .. } => builder.put(&key, None),
            };
            put.map_err(|error| DumpError::Store(StoreError::Unavailable { reason: error.to_string() }))
        });
        read.map(|_| ()).map_err(|error| {
            let reason = error.to_string();
            failed = Some(error);
            EngineError::Io(reason)
        })
    });
    let built = built.map_err(|error| failed.unwrap_or_else(|| build_error(into, error)))?;
    install(&folder, &built)?;
    let aside = old.map_or(Ok(None), |old| folder.set_aside(old.generation))?;
    Ok((summary, aside))
}

fn build_error(path: &Path, error: BuildError) -> OpenError {
    match error {
        BuildError::Folder(error) => error,
        BuildError::Engine(EngineError::Full) => OpenError::Full { path: path.to_path_buf(), needed: 64 << 20 },
        BuildError::Engine(error) => OpenError::io("cannot build a database in", path)(std::io::Error::other(error)),
    }
}

/// Names the database of `meta` in the MANIFEST.
fn install(folder: &Folder, meta: &Meta) -> Result<(), OpenError> {
    let (id, generation, revision, keys) = (meta.id, meta.generation, meta.revision, meta.keys);
    Manifest { id, generation, revision, keys }.write(&folder.manifest())
}

/// What [`compact`] saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes on the disk before.
    pub before: u64,
    /// And after.
    pub after: u64,
}

/// Copies the records into a new database, which sled packs tightly, and removes the old one.
///
/// # Errors
/// [`OpenError`]; the old database stays unless the new one is proved.
pub fn compact(path: &Path) -> Result<CompactReport, OpenError> {
    let (folder, expected, engine, meta) = open(path)?;
    let before = engine.size();
    let next = Meta { generation: meta.generation + 1, keys: 0, digest: 0, deleted: Vec::new(), ..meta };
    let built = salvage::build(&folder, next, CACHE, |builder| {
        engine.scan("", None, false).try_for_each(|record| {
            let record = record?;
            builder.put(&record.key, Some(record.value))
        })
    });
    engine.close();
    let built = built.map_err(|error| build_error(path, error))?;
    install(&folder, &built)?;
    folder::remove_dir(&folder.database(expected.generation))?;
    Ok(CompactReport { before, after: folder::size_of(&folder.database(built.generation)) })
}
