//! Logical exports: JSON lines, zstd-compressed, with a last line that proves that nothing is missing.
//!
//! `{"line":"header",…}`, then `put` and `delete` lines to be applied in order (a store that is written to while it is
//! exported appends what changed), then `{"line":"end",…}` with the count and the crc32c of all lines before it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::folder::sync_dir;
use super::manifest::hex;
use super::record::Record;
use super::txn::{MAX_OPS, MAX_REQUEST, MAX_VALUE, check_key};
use super::{Op, OpenError, StateStore, StoreError, Txn, Versioned};

/// Schema of the format.
const SCHEMA: u32 = 1;
/// Longest line: a value of control characters takes six bytes each.
const MAX_LINE: u64 = MAX_VALUE as u64 * 6 + 16 * 1024;
/// zstd's own default; JSON of this kind shrinks to a fifth.
const LEVEL: i32 = 3;

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpSummary {
    /// Lines that put or delete a key.
    pub lines: u64,
    /// The revision that it shows.
    pub revision: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Header {
        schema: u32,
        id: String,
    },
    Put {
        key: String,
        create_rev: u64,
        mod_rev: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
    Delete {
        key: String,
        mod_rev: u64,
    },
    End {
        lines: u64,
        revision: u64,
        crc32c: u32,
    },
}

/// One line to apply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Put(Record),
    Delete { key: String, mod_rev: u64 },
}

/// Why an export cannot be written or used; `reason` names the line.
#[derive(Debug, thiserror::Error)]
pub(super) enum DumpError {
    #[error("cannot write the export: {0}")]
    Write(#[source] std::io::Error),
    #[error("{0}")]
    Bad(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DumpError> for StoreError {
    fn from(error: DumpError) -> Self {
        match error {
            DumpError::Store(inner) => inner,
            DumpError::Bad(reason) => StoreError::Corrupt { path: PathBuf::from("export"), reason },
            DumpError::Write(_) => StoreError::Unavailable { reason: error.to_string() },
        }
    }
}

/// Writes an export.
pub(super) struct Writer<W: Write> {
    out: zstd::stream::write::Encoder<'static, W>,
    lines: u64,
    crc: u32,
}

impl<W: Write> Writer<W> {
    pub fn begin(out: W, id: &[u8; 16]) -> Result<Self, DumpError> {
        let mut out = zstd::stream::write::Encoder::new(out, LEVEL).map_err(DumpError::Write)?;
        out.include_checksum(true).map_err(DumpError::Write)?;
        let mut writer = Writer { out, lines: 0, crc: 0 };
        writer.line(&Line::Header { schema: SCHEMA, id: hex(id) })?;
        Ok(writer)
    }

    fn line(&mut self, line: &Line) -> Result<(), DumpError> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| DumpError::Bad(error.to_string()))?;
        bytes.push(b'\n');
        self.crc = crc32c::crc32c_append(self.crc, &bytes);
        self.out.write_all(&bytes).map_err(DumpError::Write)
    }

    pub fn put(&mut self, key: &str, value: &Versioned) -> Result<(), DumpError> {
        let (text, base64) = match std::str::from_utf8(&value.value) {
            Ok(text) => (Some(text.to_string()), None),
            Err(_) => (None, Some(STANDARD.encode(&value.value))),
        };
        let (create_rev, mod_rev) = (value.create_rev, value.mod_rev);
        self.lines += 1;
        self.line(&Line::Put { key: key.to_string(), create_rev, mod_rev, text, base64 })
    }

    pub fn delete(&mut self, key: &str, mod_rev: u64) -> Result<(), DumpError> {
        self.lines += 1;
        self.line(&Line::Delete { key: key.to_string(), mod_rev })
    }

    /// Writes the last line. The caller makes the file durable.
    pub fn finish(mut self, revision: u64) -> Result<DumpSummary, DumpError> {
        let lines = self.lines;
        self.line(&Line::End { lines, revision, crc32c: self.crc })?;
        self.out.finish().and_then(|mut out| out.flush()).map_err(DumpError::Write)?;
        Ok(DumpSummary { lines, revision })
    }
}

/// Reads an export, line by line. Nothing of it may be relied on before this returns: only then it is complete.
pub(super) fn read(
    from: impl Read,
    sink: &mut dyn FnMut(Entry) -> Result<(), DumpError>,
) -> Result<DumpSummary, DumpError> {
    let bad = |number: u64, what: &str| DumpError::Bad(format!("line {number}: {what}"));
    let decoder = zstd::stream::read::Decoder::new(from).map_err(|error| bad(1, &error.to_string()))?;
    let mut input = BufReader::new(decoder);
    let (mut number, mut lines, mut crc) = (0_u64, 0_u64, 0_u32);
    let mut bytes = Vec::new();
    loop {
        number += 1;
        bytes.clear();
        let count = (&mut input).take(MAX_LINE).read_until(b'\n', &mut bytes);
        count.map_err(|error| bad(number, &format!("truncated or damaged: {error}")))?;
        if !bytes.ends_with(b"\n") {
            return Err(bad(number, "it is truncated: the last line, with the checksum, is missing"));
        }
        let line: Line = serde_json::from_slice(&bytes).map_err(|error| bad(number, &error.to_string()))?;
        match (number, line) {
            (1, Line::Header { schema: SCHEMA, .. }) => {}
            (1, Line::Header { schema, .. }) => {
                return Err(bad(1, &format!("schema {schema} is not known here: use a newer davylamp")));
            }
            (1, _) | (_, Line::Header { .. }) => return Err(bad(number, "the header must be the first line")),
            (_, Line::End { lines: said, revision, crc32c }) => {
                if said != lines || crc32c != crc {
                    return Err(bad(number, "count or checksum do not fit what stands before"));
                }
                // zstd checks its own last bytes only when they are asked for.
                let rest = input.fill_buf().map_err(|error| bad(number, &format!("truncated or damaged: {error}")))?;
                return match rest.is_empty() {
                    true => Ok(DumpSummary { lines, revision }),
                    false => Err(bad(number + 1, "nothing may follow the last line")),
                };
            }
            (_, line) => {
                lines += 1;
                sink(entry(line, number)?)?;
            }
        }
        crc = crc32c::crc32c_append(crc, &bytes);
    }
}

fn entry(line: Line, number: u64) -> Result<Entry, DumpError> {
    let bad = |what: &dyn std::fmt::Display| DumpError::Bad(format!("line {number}: {what}"));
    match line {
        Line::Put { key, create_rev, mod_rev, text, base64 } => {
            check_key(&key).map_err(|error| bad(&error))?;
            let value = match (text, base64) {
                (Some(text), None) => text.into_bytes(),
                (None, Some(coded)) => STANDARD.decode(coded).map_err(|error| bad(&error))?,
                _ => return Err(bad(&"a put needs either text or base64")),
            };
            if value.len() > MAX_VALUE {
                return Err(bad(&format!("the value of {key} is larger than {MAX_VALUE} bytes")));
            }
            Ok(Entry::Put(Record { key, value: Versioned { value, create_rev, mod_rev } }))
        }
        Line::Delete { key, mod_rev } => {
            check_key(&key).map_err(|error| bad(&error))?;
            Ok(Entry::Delete { key, mod_rev })
        }
        Line::Header { .. } | Line::End { .. } => Err(bad(&"not an entry")),
    }
}

/// Runs blocking work on a thread of its own, for any runtime.
pub(super) async fn on_thread<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, DumpError> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("state-dump".into()).spawn(move || {
        // A caller that went away wants no answer.
        let _ = sender.send(work());
    });
    thread.map_err(|error| StoreError::Unavailable { reason: format!("cannot start a thread: {error}") })?;
    match receiver.await {
        Ok(result) => result.map_err(StoreError::from),
        Err(_) => Err(StoreError::Unavailable { reason: "the export thread ended early".into() }),
    }
}

/// Puts an export into an open store, by transactions; nothing unless it is complete.
pub(super) async fn import_into(
    store: &dyn StateStore,
    mut from: Box<dyn Read + Send>,
) -> Result<DumpSummary, StoreError> {
    // Two batches are on their way at most, each within the limits of one transaction.
    let (batches, ready) = mpsc::channel::<Txn>(2);
    let reader = on_thread(move || {
        // A stream cannot be read twice, so that it waits in an unnamed file until it proved complete.
        let mut spool = tempfile::tempfile().map_err(DumpError::Write)?;
        std::io::copy(&mut from, &mut spool).map_err(DumpError::Write)?;
        spool.rewind().map_err(DumpError::Write)?;
        read(&spool, &mut |_| Ok(()))?;
        spool.rewind().map_err(DumpError::Write)?;
        send_batches(&spool, &batches)
    });
    let writer = async move {
        // Owned here: when a transaction fails, the channel closes and ends the reader.
        let mut ready = ready;
        while let Some(txn) = ready.recv().await {
            store.txn(txn).await?;
        }
        Ok::<(), StoreError>(())
    };
    let (summary, written) = futures_util::future::join(reader, writer).await;
    written?;
    summary
}

fn send_batches(spool: &File, batches: &mpsc::Sender<Txn>) -> Result<DumpSummary, DumpError> {
    let mut txn = Txn::default();
    let send = |txn: &mut Txn| {
        let gone = |_| DumpError::Store(StoreError::Unavailable { reason: "the import was stopped".into() });
        batches.blocking_send(std::mem::take(txn)).map_err(gone)
    };
    let summary = read(spool, &mut |entry| {
        let op = match entry {
            Entry::Put(record) => Op::Put { key: record.key, value: record.value.value },
            Entry::Delete { key, .. } => Op::Delete { key },
        };
        let size = match &op {
            Op::Put { key, value } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        };
        if txn.then.len() == MAX_OPS || txn.bytes() + size > MAX_REQUEST {
            send(&mut txn)?;
        }
        txn.then.push(op);
        Ok(())
    })?;
    if !txn.then.is_empty() {
        send(&mut txn)?;
    }
    Ok(summary)
}

/// Writes an export to `path`: under another name first, durable, then renamed, so that a file of that name is whole.
pub(super) fn write_file(
    path: &Path,
    dump: impl FnOnce(BufWriter<&File>) -> Result<DumpSummary, DumpError>,
) -> Result<DumpSummary, OpenError> {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let written = (|| {
        let file = File::create(&fresh).map_err(OpenError::io("cannot create", &fresh))?;
        let summary = dump(BufWriter::new(&file)).map_err(|error| match error {
            DumpError::Write(source) => OpenError::io("cannot write", path)(source),
            other => OpenError::Store(other.into()),
        })?;
        file.sync_all().map_err(OpenError::io("cannot sync", &fresh))?;
        std::fs::rename(&fresh, path).map_err(OpenError::io("cannot rename", &fresh))?;
        sync_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(summary)
    })();
    if written.is_err() {
        // Half an export only takes space.
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

/// Writes an export into `folder`, named by its revision, and removes all but the newest `keep`.
pub(super) fn write_export(
    folder: &Path,
    keep: usize,
    dump: impl FnOnce(BufWriter<&File>) -> Result<DumpSummary, DumpError>,
) -> Result<(PathBuf, DumpSummary), OpenError> {
    std::fs::create_dir_all(folder).map_err(OpenError::io("cannot create", folder))?;
    let path = folder.join("next.jsonl.zst");
    let summary = write_file(&path, dump)?;
    let named = folder.join(format!("state-{:020}.jsonl.zst", summary.revision));
    std::fs::rename(&path, &named).map_err(OpenError::io("cannot rename", &path))?;
    sync_dir(folder)?;
    for old in exports(folder).into_iter().skip(keep) {
        std::fs::remove_file(&old).map_err(OpenError::io("cannot remove", &old))?;
    }
    Ok((named, summary))
}

/// The exports in `folder`, the newest first.
pub(super) fn exports(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("state-") && name.ends_with(".jsonl.zst")
    };
    let mut found: Vec<PathBuf> = entries.filter(named).collect();
    // The revision in the name has leading zeros, so that names sort as revisions do.
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}

/// Reads the export at `path`.
pub(super) fn read_file(
    path: &Path,
    sink: &mut dyn FnMut(Entry) -> Result<(), DumpError>,
) -> Result<DumpSummary, OpenError> {
    let file = File::open(path).map_err(OpenError::io("cannot open", path))?;
    read(file, sink).map_err(|error| match error {
        DumpError::Bad(reason) => OpenError::BadExport { path: path.to_path_buf(), reason },
        DumpError::Write(source) => OpenError::io("cannot write what was read from", path)(source),
        DumpError::Store(error) => OpenError::Store(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes, &[1; 16]).unwrap();
        for n in 0..50_u64 {
            let value = if n % 2 == 0 { format!("{{\"n\":{n}}}").into_bytes() } else { vec![0xff, n as u8] };
            writer.put(&format!("k/{n}"), &Versioned { value, create_rev: n, mod_rev: n + 1 }).unwrap();
        }
        writer.delete("k/7", 60).unwrap();
        assert_eq!(writer.finish(60).unwrap(), DumpSummary { lines: 51, revision: 60 });
        bytes
    }

    #[test]
    fn what_was_written_is_read_back() {
        let mut entries = Vec::new();
        let summary = read(sample().as_slice(), &mut |entry| {
            entries.push(entry);
            Ok(())
        });
        assert_eq!(summary.unwrap().lines, 51);
        let Entry::Put(odd) = &entries[1] else { panic!("a put") };
        assert_eq!((odd.key.as_str(), odd.value.value.as_slice()), ("k/1", [0xff, 1].as_slice()));
        assert_eq!(entries[50], Entry::Delete { key: "k/7".into(), mod_rev: 60 });
    }

    #[test]
    fn every_truncation_and_every_missing_line_is_refused() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length], &mut |_| Ok(())).is_err(), "{length} of {} bytes", bytes.len());
        }
        let text = zstd::decode_all(bytes.as_slice()).unwrap();
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        for missing in 0..lines.len() {
            let less: Vec<u8> =
                lines.iter().enumerate().filter(|(n, _)| *n != missing).flat_map(|(_, l)| l.to_vec()).collect();
            let packed = zstd::encode_all(less.as_slice(), 1).unwrap();
            let error = read(packed.as_slice(), &mut |_| Ok(())).unwrap_err();
            assert!(error.to_string().starts_with("line "), "{error}");
        }
    }
}
