//! Opening a state folder whatever happened to it, and saying so.
//!
//! The rungs: open; set sled's snapshot aside and open again; salvage what can be found into a new database; restore
//! the last export; begin empty, only if the operator said so. A database is taken only if its sentinel names this
//! store and generation, it has at least the revision of the MANIFEST, and every record is there and sound.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::OpenError;
use super::ballast::Ballast;
use super::dump;
use super::engine::{Engine, EngineError};
use super::folder::{self, Folder};
use super::manifest::{Manifest, ManifestError, hex, new_id, unhex};
use super::record::{Meta, SCHEMA};
use super::report::{OpenOptions, OpenReport, Rung};
use super::salvage;
use super::upkeep::REOPEN_BYTES;

/// An open folder.
pub(super) struct Opened {
    pub engine: Engine,
    pub meta: Meta,
    pub folder: Folder,
    pub report: OpenReport,
    /// The ballast was given back and does not stand again.
    pub ballast_owed: bool,
}

/// The database that a folder should hold.
pub(super) struct Expected {
    pub manifest: Option<Manifest>,
    pub generation: u64,
    /// What is wrong with the MANIFEST.
    pub fault: Option<String>,
}

/// Reads the MANIFEST; without one, the newest database is expected. `None`: nothing was ever here.
pub(super) fn expected(folder: &Folder) -> Result<Option<Expected>, OpenError> {
    let newest = folder.numbered("db.").last().copied();
    let path = folder.manifest();
    match Manifest::read(&path) {
        Ok(Some(manifest)) => {
            Ok(Some(Expected { generation: manifest.generation, manifest: Some(manifest), fault: None }))
        }
        Ok(None) if newest.is_none() && dump::exports(&folder.exports()).is_empty() => Ok(None),
        Ok(None) => {
            let fault = Some(format!("{} is missing", path.display()));
            Ok(Some(Expected { manifest: None, generation: newest.unwrap_or(0), fault }))
        }
        Err(ManifestError::Bad(reason)) => {
            let fault = Some(format!("{}: {reason}", path.display()));
            Ok(Some(Expected { manifest: None, generation: newest.unwrap_or(0), fault }))
        }
        Err(ManifestError::Newer(found)) => Err(OpenError::Newer { path, found, known: u32::from(SCHEMA) }),
    }
}

/// Opens the database in `place` if it is all that it should be. Also gives the bytes of its records.
pub(super) fn open_sound(place: &Path, expected: &Expected, cache: u64) -> Result<(Engine, Meta, u64), EngineError> {
    if !place.join("db").is_file() {
        // sled would make an empty one without a word.
        return Err(EngineError::Damaged("the file `db` is missing".into()));
    }
    let engine = Engine::open(place, cache)?;
    let checked = engine.check().and_then(|(meta, bytes)| fits(&meta, expected).map(|()| (meta, bytes)));
    match checked {
        Ok((meta, bytes)) => Ok((engine, meta, bytes)),
        Err(error) => {
            engine.close();
            Err(error)
        }
    }
}

fn fits(meta: &Meta, expected: &Expected) -> Result<(), EngineError> {
    let fault = |reason: String| Err(EngineError::Damaged(reason));
    if meta.generation != expected.generation {
        return fault(format!("it is a copy of generation {}", meta.generation));
    }
    match &expected.manifest {
        Some(manifest) if manifest.id != meta.id => fault(format!("it belongs to another store, {}", hex(&meta.id))),
        Some(manifest) if meta.revision < manifest.revision => fault(format!(
            "it is older than it should be: revision {}, and the MANIFEST says {}",
            meta.revision, manifest.revision
        )),
        _ => Ok(()),
    }
}

/// Opens the folder of `options` by the ladder.
pub(super) fn climb(options: &OpenOptions) -> Result<Opened, OpenError> {
    let begun = Instant::now();
    let folder = Folder::claim(&options.path, true)?;
    let ballast = Ballast::new(folder.path(), options.ballast_bytes);
    // Before sled hits the end of the disk: it leaves half a snapshot behind.
    let tight = folder::free_bytes(folder.path()) < options.reserve_bytes.max(REOPEN_BYTES);
    let mut released = tight && ballast.release();
    for unfinished in folder.numbered("building.") {
        folder::remove_dir(&folder.building(unfinished))?;
    }
    let mut climb = Climb { folder, options, messages: Vec::new(), kept_aside: None };
    let (engine, meta, rung) = match climb.attempt() {
        Err(OpenError::Full { .. }) if ballast.release() => {
            released = true;
            climb.attempt()?
        }
        other => other?,
    };
    climb.settle(&meta)?;
    // Left by a repair or a packing that was killed right after it named the new database.
    for generation in climb.folder.numbered("db.").into_iter().filter(|other| *other != meta.generation) {
        climb.folder.set_aside(generation)?;
    }
    for generation in climb.folder.numbered("as-found.") {
        folder::remove_dir(&climb.folder.as_found(generation))?;
    }
    let ballast_owed = !ballast.restore(options.reserve_bytes.saturating_mul(2)) && released;
    let Climb { folder, messages, kept_aside, .. } = climb;
    let report = OpenReport {
        path: options.path.clone(),
        rung,
        id: hex(&meta.id),
        revision: meta.revision,
        keys: meta.keys,
        messages,
        kept_aside,
        took: begun.elapsed(),
    };
    Ok(Opened { engine, meta, folder, report, ballast_owed })
}

struct Climb<'a> {
    folder: Folder,
    options: &'a OpenOptions,
    messages: Vec<String>,
    kept_aside: Option<PathBuf>,
}

impl Climb<'_> {
    fn attempt(&mut self) -> Result<(Engine, Meta, Rung), OpenError> {
        let Some(expected) = expected(&self.folder)? else { return self.first_start() };
        self.messages.extend(expected.fault.clone());
        let place = self.folder.database(expected.generation);
        let rung = if expected.manifest.is_some() { Rung::Opened } else { Rung::ManifestRebuilt };
        if let Err(error) = self.folder.keep_as_found(expected.generation) {
            self.messages.push(format!("no copy was made before opening: {error}"));
        }
        let mut reason = match open_sound(&place, &expected, self.options.cache_bytes) {
            Ok((engine, meta, bytes)) => return self.shrunk(engine, meta, bytes, &expected, rung),
            Err(error) => self.damage(&place, error)?,
        };
        if set_snapshots_aside(&place)? {
            match open_sound(&place, &expected, self.options.cache_bytes) {
                Ok((engine, meta, _)) => {
                    self.messages.push(format!("its snapshot is kept in {}", place.join("snapshots-aside").display()));
                    return Ok((engine, meta, Rung::SnapshotSetAside));
                }
                Err(error) => {
                    let again = self.damage(&place, error)?;
                    reason = format!("{reason}; without its snapshot: {again}");
                }
            }
        }
        self.repair(&place, &expected, reason)
    }

    /// Notes damage; other failures end the climb, since a lower rung would not help.
    fn damage(&mut self, place: &Path, error: EngineError) -> Result<String, OpenError> {
        match error {
            EngineError::Damaged(reason) => {
                self.messages.push(format!("{}: {reason}", place.display()));
                Ok(reason)
            }
            EngineError::Full => Err(self.full()),
            EngineError::Io(reason) => Err(OpenError::io("cannot open", place)(std::io::Error::other(reason))),
        }
    }

    fn full(&self) -> OpenError {
        OpenError::Full { path: self.folder.path().to_path_buf(), needed: self.options.reserve_bytes.max(8 << 20) }
    }

    fn first_start(&mut self) -> Result<(Engine, Meta, Rung), OpenError> {
        let witness = self.folder.witness();
        if !witness.exists() {
            return self.empty(new_id(), 1, 0, Rung::Created);
        }
        if !self.options.force_empty {
            return Err(OpenError::Vanished { path: self.folder.path().to_path_buf(), witness });
        }
        self.messages.push(format!("{} says that a database lived here", witness.display()));
        let id = std::fs::read_to_string(&witness).ok().and_then(|text| unhex(text.trim()));
        self.empty(id.unwrap_or_else(new_id), 1, 0, Rung::ForcedEmpty)
    }

    fn empty(
        &mut self,
        id: [u8; 16],
        generation: u64,
        revision: u64,
        rung: Rung,
    ) -> Result<(Engine, Meta, Rung), OpenError> {
        let meta = Meta { id, generation, revision, keys: 0, digest: 0, deleted: Vec::new() };
        self.rebuilt(meta, |_| Ok(()), rung)
    }

    /// Builds the next database and makes it the current one.
    fn rebuilt(
        &mut self,
        meta: Meta,
        fill: impl FnOnce(&mut salvage::Builder) -> Result<(), EngineError>,
        rung: Rung,
    ) -> Result<(Engine, Meta, Rung), OpenError> {
        let built =
            salvage::build(&self.folder, meta, self.options.cache_bytes, fill).map_err(|error| self.no(error))?;
        let place = self.folder.database(built.generation);
        let engine = Engine::open(&place, self.options.cache_bytes).map_err(|error| self.no(error.into()))?;
        Ok((engine, built, rung))
    }

    fn no(&self, error: salvage::BuildError) -> OpenError {
        match error {
            salvage::BuildError::Engine(EngineError::Full) => self.full(),
            salvage::BuildError::Engine(other) => {
                OpenError::io("cannot build a database in", self.folder.path())(std::io::Error::other(other))
            }
            salvage::BuildError::Folder(error) => error,
        }
    }

    /// The lower rungs.
    fn repair(&mut self, place: &Path, expected: &Expected, reason: String) -> Result<(Engine, Meta, Rung), OpenError> {
        let found = salvage::search(&self.folder, expected, self.options.cache_bytes);
        self.messages.extend(found.messages.iter().cloned());
        let next =
            self.folder.numbered("db.").last().map_or(expected.generation, |last| expected.generation.max(*last)) + 1;
        let mark = expected.manifest.as_ref().map_or(0, |manifest| manifest.revision);
        let revision = found.revision.max(mark) + salvage::REVISION_GAP;
        let id = expected.manifest.as_ref().map(|manifest| manifest.id).or(found.id).unwrap_or_else(new_id);
        let rung = match (found.salvaged > 0, found.export.is_some(), self.options.force_empty) {
            (true, _, _) => Rung::Salvaged,
            (false, true, _) => Rung::RestoredFromExport,
            (false, false, true) => Rung::ForcedEmpty,
            (false, false, false) => {
                let path = self.folder.path().to_path_buf();
                return Err(OpenError::Lost { path, database: place.to_path_buf(), reason });
            }
        };
        let meta = Meta { id, generation: next, revision, keys: 0, digest: 0, deleted: Vec::new() };
        let records = found.records;
        let opened = self.rebuilt(
            meta,
            |builder| records.iter().try_for_each(|(key, value)| builder.put(key, Some(value.clone()))),
            rung,
        )?;
        if let Some(manifest) = &expected.manifest {
            let had = format!("{} keys were there at revision {}", manifest.keys, manifest.revision);
            self.messages.push(format!("{} keys are there now, {had}", opened.1.keys));
        }
        // The MANIFEST must name the new database before the old one goes away.
        self.settle(&opened.1)?;
        self.kept_aside = self.folder.set_aside(expected.generation)?;
        Ok(opened)
    }

    /// Copies a sound database into a smaller one if it holds far more than its records need.
    fn shrunk(
        &mut self,
        engine: Engine,
        meta: Meta,
        bytes: u64,
        expected: &Expected,
        rung: Rung,
    ) -> Result<(Engine, Meta, Rung), OpenError> {
        let size = engine.size();
        let room = folder::free_bytes(self.folder.path()) > size.saturating_add(self.options.reserve_bytes);
        if size < self.options.compact_above || size < bytes.saturating_mul(6) || !room {
            return Ok((engine, meta, rung));
        }
        let opened = self.rebuilt(
            Meta { generation: meta.generation + 1, keys: 0, digest: 0, deleted: Vec::new(), ..meta },
            |builder| {
                let scanned = engine.scan("", None, false);
                scanned.into_iter().try_for_each(|record| {
                    let record = record?;
                    builder.put(&record.key, Some(record.value))
                })
            },
            rung,
        )?;
        engine.close();
        self.settle(&opened.1)?;
        folder::remove_dir(&self.folder.database(expected.generation))?;
        self.messages.push(format!("packed anew: {size} bytes before, {} now", opened.0.size()));
        Ok(opened)
    }

    /// Writes MANIFEST and witness.
    fn settle(&self, meta: &Meta) -> Result<(), OpenError> {
        let path = self.folder.manifest();
        let (id, generation, revision, keys) = (meta.id, meta.generation, meta.revision, meta.keys);
        let manifest = Manifest { id, generation, revision, keys };
        let witness = self.folder.witness();
        if !witness.exists() {
            // Beside the folder may be foreign ground where nothing may be written.
            let _ = std::fs::write(&witness, format!("{}\n", hex(&meta.id)));
        }
        if matches!(Manifest::read(&path), Ok(Some(present)) if present == manifest) {
            return Ok(());
        }
        match manifest.write(&path) {
            Err(OpenError::Io { source, .. }) if super::error::is_full(&source) => Err(self.full()),
            other => other,
        }
    }
}

/// Moves sled's snapshots out of its way; false if there was none.
fn set_snapshots_aside(place: &Path) -> Result<bool, OpenError> {
    let aside = place.join("snapshots-aside");
    let mut moved = false;
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            std::fs::create_dir_all(&aside).map_err(OpenError::io("cannot create", &aside))?;
            let to = aside.join(entry.file_name());
            std::fs::rename(entry.path(), &to).map_err(OpenError::io("cannot rename", &entry.path()))?;
            moved = true;
        }
    }
    Ok(moved)
}
