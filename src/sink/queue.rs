//! What waits to be sent, on disk: segment files of records, the oldest dropped when they grow too many.
//!
//! A record is `length, CRC-32C, samples` (little-endian, 4 bytes each) and its payload. Records are appended and never
//! changed; a torn tail is cut at the next start. The position beside them says what was acknowledged and which records
//! are under way: after a crash the same request is sent once more, with the same records and no others, because a
//! receiver that has it already refuses the whole request.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::position::{Marks, Position};

/// Bytes before a payload.
const HEAD: usize = 12;
/// A record is one request at most.
const MAX_RECORD: usize = 16 << 20;
/// The queue is given up in this many parts when it is full, and a file has at least this many bytes.
const SEGMENTS: u64 = 16;
const LEAST_SEGMENT: u64 = 64 << 10;

/// What cannot be done with a queue.
#[derive(Debug, thiserror::Error)]
#[error("the queue {path}: cannot {operation}: {source}")]
pub struct QueueError {
    /// Operation that failed.
    pub operation: &'static str,
    /// File or folder.
    pub path: String,
    /// Cause.
    pub source: io::Error,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> QueueError {
    let path = path.display().to_string();
    move |source| QueueError { operation, path, source }
}

/// Records on disk, first in, first out.
pub struct Queue {
    folder: PathBuf,
    max_bytes: AtomicU64,
    inner: Mutex<Inner>,
    /// Beside the lock: whoever holds that may wait for the disk.
    depth: [AtomicU64; 2],
}

struct Inner {
    /// At least one; the last is written to.
    segments: VecDeque<Segment>,
    writer: File,
    marks: Marks,
}

struct Segment {
    number: u64,
    bytes: u64,
    /// Samples in it that are not acknowledged.
    samples: u64,
}

/// Records that go out in one request.
#[derive(Debug)]
pub struct Batch {
    /// Payloads in order.
    pub records: Vec<Vec<u8>>,
    /// Samples in all of them.
    pub samples: u64,
    /// Where the next begins.
    end: Position,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Samples.
    pub samples: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.records"))
}

impl Queue {
    /// Opens the queue of a folder, which is made if there is none, and cuts off what a crash left half written.
    ///
    /// # Errors
    /// [`QueueError`] when the folder cannot be used.
    pub fn open(folder: &Path, max_bytes: u64) -> Result<Queue, QueueError> {
        std::fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
        let mut numbers: Vec<u64> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed("list", folder))? {
            let name = entry.map_err(failed("list", folder))?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".records")?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        let first = Position { segment: numbers.first().copied().unwrap_or(0), offset: 0 };
        let mut marks = Marks::read(folder).unwrap_or(Marks { done: first, under_way: None });
        marks.done = marks.done.max(first);
        let mut segments = VecDeque::new();
        for number in numbers {
            let path = segment_path(folder, number);
            if number < marks.done.segment {
                std::fs::remove_file(&path).map_err(failed("remove", &path))?;
                continue;
            }
            let segment = scan(&path, number, marks.done)?;
            if number == marks.done.segment {
                // The end may be gone with the power; what is appended there is new.
                marks.done.offset = marks.done.offset.min(segment.bytes);
            }
            segments.push_back(segment);
        }
        // A position beyond what is there: the files were lost with the power, and their numbers must not come again.
        let next = marks.done.segment.max(segments.back().map_or(0, |last: &Segment| last.number));
        if segments.is_empty() {
            marks = Marks { done: Position { segment: next + 1, offset: 0 }, under_way: None };
            segments.push_back(Segment { number: next + 1, bytes: 0, samples: 0 });
        }
        let last = segments.back().map_or(next + 1, |last| last.number);
        let writer = append_to(folder, last)?;
        let inner = Inner { segments, writer, marks };
        let depth = [inner.samples(), inner.bytes()].map(AtomicU64::new);
        let max_bytes = AtomicU64::new(max_bytes);
        Ok(Queue { folder: folder.to_path_buf(), max_bytes, inner: Mutex::new(inner), depth })
    }

    /// What it may hold from the next record on.
    pub fn limit(&self, max_bytes: u64) {
        self.max_bytes.store(max_bytes, Relaxed);
    }

    fn note(&self, inner: &Inner) {
        self.depth[0].store(inner.samples(), Relaxed);
        self.depth[1].store(inner.bytes(), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record; it is durable after [`Queue::sync`]. Says how many older samples had to be dropped for it.
    ///
    /// # Errors
    /// [`QueueError`] when it cannot be written; then nothing of it is kept.
    pub fn append(&self, payload: &[u8], samples: u32) -> Result<u64, QueueError> {
        let mut inner = self.lock();
        let path = |inner: &Inner| segment_path(&self.folder, inner.last().number);
        if payload.len() > MAX_RECORD {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "the record is larger than 16 MiB");
            return Err(failed("append", &path(&inner))(cause));
        }
        let size = (HEAD + payload.len()) as u64;
        let segment_bytes = (self.max_bytes.load(Relaxed) / SEGMENTS).max(LEAST_SEGMENT);
        if inner.last().bytes > 0 && inner.last().bytes + size > segment_bytes {
            self.rotate(&mut inner)?;
        }
        let dropped = self.make_room(&mut inner, size)?;
        let mut record = Vec::with_capacity(HEAD + payload.len());
        record.extend((payload.len() as u32).to_le_bytes());
        record.extend(crc32c::crc32c(payload).to_le_bytes());
        record.extend(samples.to_le_bytes());
        record.extend(payload);
        if let Err(error) = inner.writer.write_all(&record) {
            // Half a record would hide everything behind it.
            let _ = inner.writer.set_len(inner.last().bytes);
            return Err(failed("append", &path(&inner))(error));
        }
        if let Some(last) = inner.segments.back_mut() {
            last.bytes += size;
            last.samples += u64::from(samples);
        }
        self.note(&inner);
        Ok(dropped)
    }

    fn rotate(&self, inner: &mut Inner) -> Result<(), QueueError> {
        let number = inner.last().number;
        inner.writer.sync_data().map_err(failed("sync", &segment_path(&self.folder, number)))?;
        inner.writer = append_to(&self.folder, number + 1)?;
        inner.segments.push_back(Segment { number: number + 1, bytes: 0, samples: 0 });
        Ok(())
    }

    fn make_room(&self, inner: &mut Inner, size: u64) -> Result<u64, QueueError> {
        let mut dropped = 0;
        while inner.segments.len() > 1 && inner.bytes() + size > self.max_bytes.load(Relaxed) {
            dropped += inner.segments.pop_front().map_or(0, |oldest| oldest.samples);
            let front = inner.segments.front().map_or(0, |front| front.number);
            inner.marks.begin_at(Position { segment: front, offset: 0 });
            self.tidy(inner)?;
        }
        Ok(dropped)
    }

    /// Writes the marks, then removes the files before them.
    fn tidy(&self, inner: &Inner) -> Result<(), QueueError> {
        inner.marks.write(&self.folder).map_err(failed("write the position of", &self.folder))?;
        let front = inner.segments.front().map_or(0, |front| front.number);
        // Those that were dropped now; older ones are gone already.
        for number in (0..front).rev() {
            match std::fs::remove_file(segment_path(&self.folder, number)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(failed("remove", &segment_path(&self.folder, number))(error)),
            }
        }
        Ok(())
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// [`QueueError`] when the disk does not take it.
    pub fn sync(&self) -> Result<(), QueueError> {
        let (writer, number) = {
            let inner = self.lock();
            (inner.writer.try_clone(), inner.last().number)
        };
        let path = segment_path(&self.folder, number);
        writer.and_then(|writer| writer.sync_data()).map_err(failed("sync", &path))
    }

    /// The next records, up to `most` samples but at least one record; those that were under way when the process ended
    /// come once more, alone. `None` when nothing waits. That they are under way is durable when this returns.
    ///
    /// # Errors
    /// [`QueueError`] when they cannot be read, or the position not written.
    pub fn next(&self, most: u64) -> Result<Option<Batch>, QueueError> {
        let mut inner = self.lock();
        let mut batch = Batch { records: Vec::new(), samples: 0, end: inner.marks.done };
        while inner.marks.under_way.is_none_or(|end| batch.end < end) {
            let Some((record, samples, end)) = self.record(&inner, batch.end)? else { break };
            if inner.marks.under_way.is_none() && !batch.records.is_empty() && batch.samples + samples > most {
                break;
            }
            batch.records.push(record);
            batch.samples += samples;
            batch.end = end;
        }
        if batch.records.is_empty() {
            return Ok(None);
        }
        if inner.marks.under_way != Some(batch.end) {
            inner.marks.under_way = Some(batch.end);
            inner.marks.write(&self.folder).map_err(failed("write the position of", &self.folder))?;
        }
        Ok(Some(batch))
    }

    /// The record at a position, its samples, and where the next one begins.
    fn record(&self, inner: &Inner, mut at: Position) -> Result<Option<(Vec<u8>, u64, Position)>, QueueError> {
        loop {
            let Some(segment) = inner.segments.iter().find(|segment| segment.number >= at.segment) else {
                return Ok(None);
            };
            if segment.number > at.segment {
                at = Position { segment: segment.number, offset: 0 };
            }
            if at.offset < segment.bytes {
                let path = segment_path(&self.folder, at.segment);
                let read = || {
                    let mut file = File::open(&path)?;
                    file.seek(SeekFrom::Start(at.offset))?;
                    read_record(&mut file)
                };
                let Some((payload, samples)) = read().map_err(failed("read", &path))? else {
                    let cause = io::Error::new(io::ErrorKind::InvalidData, "a record is damaged");
                    return Err(failed("read", &path)(cause));
                };
                let offset = at.offset + (HEAD + payload.len()) as u64;
                return Ok(Some((payload, u64::from(samples), Position { offset, ..at })));
            }
            at = Position { segment: at.segment + 1, offset: 0 };
        }
    }

    /// Forgets a batch: it was acknowledged, or will never be.
    ///
    /// # Errors
    /// [`QueueError`] when the position cannot be written; in memory it has moved on.
    pub fn done(&self, batch: &Batch) -> Result<(), QueueError> {
        let mut inner = self.lock();
        inner.forget(batch);
        self.note(&inner);
        self.tidy(&inner)
    }

    /// Gives up the file that cannot be read. Says how many samples went with it.
    ///
    /// # Errors
    /// [`QueueError`] when no new file can be begun.
    pub fn skip_damaged(&self) -> Result<u64, QueueError> {
        let mut inner = self.lock();
        if inner.segments.len() == 1 {
            self.rotate(&mut inner)?;
        }
        let lost = inner.segments.pop_front().map_or(0, |oldest| oldest.samples);
        let front = inner.segments.front().map_or(0, |front| front.number);
        inner.marks.begin_at(Position { segment: front, offset: 0 });
        self.note(&inner);
        self.tidy(&inner)?;
        Ok(lost)
    }

    /// What waits.
    pub fn depth(&self) -> Depth {
        Depth { samples: self.depth[0].load(Relaxed), bytes: self.depth[1].load(Relaxed) }
    }
}

impl Inner {
    fn last(&self) -> &Segment {
        // There is always one; the front is the same where there is only one.
        &self.segments[self.segments.len() - 1]
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn samples(&self) -> u64 {
        self.segments.iter().map(|segment| segment.samples).sum()
    }

    fn forget(&mut self, batch: &Batch) {
        if batch.end <= self.marks.done {
            return;
        }
        let mut left = batch.samples;
        for segment in self.segments.iter_mut().filter(|segment| segment.number <= batch.end.segment) {
            let taken = left.min(segment.samples);
            segment.samples -= taken;
            left -= taken;
        }
        self.marks = Marks { done: batch.end, under_way: None };
        while self.segments.len() > 1 && self.segments[0].number < batch.end.segment {
            self.segments.pop_front();
        }
    }
}

fn append_to(folder: &Path, number: u64) -> Result<File, QueueError> {
    let path = segment_path(folder, number);
    let opened = OpenOptions::new().append(true).create(true).open(&path).map_err(failed("open", &path))?;
    // Or the file itself may be gone with the power.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))?;
    Ok(opened)
}

/// Counts the whole records of a file and cuts off what follows them.
fn scan(path: &Path, number: u64, done: Position) -> Result<Segment, QueueError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))?;
    let mut reader = io::BufReader::new(&file);
    let mut segment = Segment { number, bytes: 0, samples: 0 };
    while let Some((payload, samples)) = read_record(&mut reader).map_err(failed("read", path))? {
        if (Position { segment: number, offset: segment.bytes }) >= done {
            segment.samples += u64::from(samples);
        }
        segment.bytes += (HEAD + payload.len()) as u64;
    }
    let length = file.metadata().map_err(failed("read", path))?.len();
    if length > segment.bytes {
        tracing::warn!(file = %path.display(), bytes = length - segment.bytes, "cutting off an unfinished record");
        file.set_len(segment.bytes).map_err(failed("cut", path))?;
    }
    Ok(segment)
}

/// The next record and its samples; `None` at the end and for what is no whole record.
fn read_record(from: &mut impl Read) -> io::Result<Option<(Vec<u8>, u32)>> {
    let mut head = [0; HEAD];
    if !filled(from, &mut head)? {
        return Ok(None);
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, sum, samples) = (word(0) as usize, word(4), word(8));
    if length > MAX_RECORD {
        return Ok(None);
    }
    let mut payload = vec![0; length];
    let whole = filled(from, &mut payload)? && crc32c::crc32c(&payload) == sum;
    Ok(whole.then_some((payload, samples)))
}

fn filled(from: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u32) -> Vec<u8> {
        n.to_le_bytes().repeat(1000)
    }

    fn append(queue: &Queue, records: std::ops::Range<u32>) {
        records.for_each(|n| assert_eq!(queue.append(&record(n), 10).unwrap(), 0));
    }

    /// Everything that is read from now on, one record a request.
    fn rest(queue: &Queue) -> Vec<u32> {
        let mut found = Vec::new();
        while let Some(batch) = queue.next(1).unwrap() {
            found.extend(batch.records.iter().map(|r| u32::from_le_bytes([r[0], r[1], r[2], r[3]])));
            queue.done(&batch).unwrap();
        }
        found
    }

    #[test]
    fn comes_out_as_it_went_in_across_restarts_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = 0;
        for round in 0..4 {
            let queue = Queue::open(folder.path(), 1 << 20).unwrap();
            for n in round * 50..round * 50 + 50 {
                assert_eq!(queue.append(&record(n), 10).unwrap(), 0);
            }
            for _ in 0..40 {
                let batch = queue.next(1).unwrap().unwrap();
                assert_eq!((batch.records.len(), batch.samples), (1, 10));
                assert_eq!(batch.records[0], record(expected));
                expected += 1;
                queue.done(&batch).unwrap();
            }
        }
        let queue = Queue::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(queue.depth().samples, 400);
        assert_eq!(rest(&queue), (160..200).collect::<Vec<_>>());
        assert_eq!(queue.depth().samples, 0);
        assert!(queue.next(1).unwrap().is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "the last file, and the position");
    }

    #[test]
    fn what_was_under_way_comes_again_alone_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path(), 1 << 20).unwrap();
        append(&queue, 0..3);
        let first = queue.next(20).unwrap().unwrap();
        assert_eq!(first.records.len(), 2);
        drop(queue);
        let queue = Queue::open(folder.path(), 1 << 20).unwrap();
        append(&queue, 3..9);
        let again = queue.next(1000).unwrap().unwrap();
        assert_eq!(again.records, first.records);
        queue.done(&again).unwrap();
        assert_eq!(queue.next(1000).unwrap().unwrap().records.len(), 7);
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_says_how_many() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path(), 1 << 20).unwrap();
        let under_way = {
            queue.append(&record(0), 10).unwrap();
            queue.next(1).unwrap().unwrap()
        };
        let dropped: u64 = (1..1000).map(|n| queue.append(&record(n), 10).unwrap()).sum();
        let depth = queue.depth();
        assert!(depth.bytes <= 1 << 20, "{depth:?}");
        assert_eq!(dropped + depth.samples, 10_000);
        // It comes back late; what it named is gone, and nothing else goes with it.
        queue.done(&under_way).unwrap();
        assert_eq!(queue.depth(), depth);
        let left = rest(&queue);
        assert_eq!(left.len() as u64 * 10, depth.samples);
        assert!(left.is_sorted() && left.last() == Some(&999));
    }

    #[test]
    fn a_torn_tail_is_cut_and_a_damaged_file_can_be_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = segment_path(folder.path(), 1);
        let queue = Queue::open(folder.path(), 1 << 20).unwrap();
        append(&queue, 0..3);
        drop(queue);
        let length = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 5).unwrap();
        let queue = Queue::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(queue.depth().samples, 20);
        queue.append(&record(7), 10).unwrap();
        // Under our feet, while it is open.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(queue.next(1).is_err());
        assert_eq!(queue.skip_damaged().unwrap(), 30);
        queue.append(&record(8), 10).unwrap();
        assert_eq!(rest(&queue), [8]);
    }
}
