//! Device logs on disk: one file per device, named by the configuration's id and nothing else, turned over by size.
//! One thread of its own writes them all: a slow disk costs lines, which are counted, and keeps no device waiting.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::settings::Files;
use crate::model::TargetId;

/// Messages that wait to be written. Their bytes are what bounds them.
const QUEUE: usize = 4096;
/// Bytes that wait to be written.
const QUEUE_BYTES: usize = 4 << 20;

/// Lines of one message on their way to a file.
struct Entry {
    target: TargetId,
    files: Files,
    at: i64,
    lines: Vec<String>,
    _room: OwnedSemaphorePermit,
}

/// Where lines are handed in for the files. Cheap to clone; with the last one the thread ends.
#[derive(Clone)]
pub struct Scribe {
    entries: mpsc::Sender<Entry>,
    room: Arc<Semaphore>,
}

impl Scribe {
    /// A scribe, and the work that it hands its lines to, for a thread that may block.
    pub fn new() -> (Scribe, impl FnOnce() + Send + 'static) {
        let (entries, mut handed) = mpsc::channel(QUEUE);
        let work = move || {
            let mut failing = BTreeSet::new();
            while let Some(entry) = handed.blocking_recv() {
                write(entry, &mut failing);
            }
        };
        (Scribe { entries, room: Arc::new(Semaphore::new(QUEUE_BYTES)) }, work)
    }

    /// Hands in lines. Says whether there was room for them.
    pub(super) fn hand(&self, files: &Files, target: &TargetId, at: i64, lines: &[String]) -> bool {
        let bytes: usize = lines.iter().map(String::len).sum();
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().try_acquire_many_owned(wanted) else { return false };
        let (target, files, lines) = (target.clone(), files.clone(), lines.to_vec());
        self.entries.try_send(Entry { target, files, at, lines, _room: room }).is_ok()
    }
}

/// Writes; what fails is told once until it works again.
fn write(entry: Entry, failing: &mut BTreeSet<TargetId>) {
    let Entry { target, files, at, lines, .. } = entry;
    match LogFile::open(&files, &target).append(at, &lines) {
        Ok(()) => {
            if failing.remove(&target) {
                tracing::info!(%target, "a device log is written to its file again");
            }
        }
        Err(error) => {
            if failing.insert(target.clone()) {
                tracing::warn!(%target, %error, "a device log is not written to its file");
            }
        }
    }
}

/// The file of one device.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
}

/// The name of a target's file: letters, digits, `-`, `_` and inner dots stay, all else becomes `%XX`. Ids of targets
/// differ, so their files do.
pub fn file_name(id: &str) -> String {
    let mut name = String::new();
    for (place, byte) in id.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && place > 0);
        match plain {
            true => name.push(char::from(byte)),
            false => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name.push_str(".log");
    name
}

impl LogFile {
    /// The file of a target; it is made with its first line.
    pub fn open(files: &Files, id: &str) -> LogFile {
        LogFile { path: files.folder.join(file_name(id)), max_bytes: files.max_bytes, keep: files.keep }
    }

    /// Adds lines with their time.
    pub fn append(&mut self, at: i64, lines: &[String]) -> std::io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for line in lines {
            text.push_str(&format!("{}.{:03} {line}\n", at / 1000, at % 1000));
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let size = std::fs::metadata(&self.path).map_or(0, |about| about.len());
        if size > 0 && size + text.len() as u64 > self.max_bytes {
            self.turn_over()?;
        }
        std::fs::File::options().append(true).create(true).open(&self.path)?.write_all(text.as_bytes())
    }

    /// `a.log` becomes `a.log.1`, that `a.log.2`, and so on; the oldest one goes.
    fn turn_over(&self) -> std::io::Result<()> {
        let numbered = |number: u32| match number {
            0 => self.path.clone(),
            _ => Path::new(&format!("{}.{number}", self.path.display())).to_path_buf(),
        };
        for number in (0..self.keep).rev() {
            match std::fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.keep == 0 {
            std::fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_leaves_the_folder() {
        assert_eq!(file_name("garage-1.a"), "garage-1.a.log");
        assert_eq!(file_name("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd.log");
        assert_eq!(file_name(".bashrc\0ä"), "%2Ebashrc%00%C3%A4.log");
        assert_ne!(file_name("a b"), file_name("a%20b"));
    }

    #[test]
    fn a_disk_that_stands_still_costs_lines_and_little_memory() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { folder: folder.path().into(), max_bytes: 1 << 30, keep: 0 };
        let (scribe, work) = Scribe::new();
        let lines = vec!["x".repeat(1000)];
        let hand = || scribe.hand(&files, &"m1".into(), 0, &lines);
        let taken = (0..20_000).take_while(|_| hand()).count();
        assert!((1..=QUEUE).contains(&taken), "{taken}");
        let large = vec!["x".repeat(QUEUE_BYTES / 2)];
        assert!(!scribe.hand(&files, &"m1".into(), 0, &large), "bytes are counted");
        drop(scribe);
        work();
        let written = std::fs::read_to_string(folder.path().join("m1.log")).unwrap();
        assert_eq!(written.lines().count(), taken, "what was taken is written");
    }

    #[test]
    fn files_are_turned_over_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { folder: folder.path().join("logs"), max_bytes: 40, keep: 2 };
        let mut file = LogFile::open(&files, "m1");
        for number in 0..6 {
            file.append(1_500, &[format!("line {number} with some text")]).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(files.folder.join(name)).unwrap();
        assert_eq!(read("m1.log"), "1.500 line 5 with some text\n");
        assert_eq!(read("m1.log.2"), "1.500 line 3 with some text\n");
        assert_eq!(std::fs::read_dir(&files.folder).unwrap().count(), 3);
    }
}
