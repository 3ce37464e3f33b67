//! How records stand in the database: self-describing and checksummed, so that they can be found in its bare bytes
//! when sled itself can no longer read it.
//!
//! A record is `"dlr" schema crc32c create mod key-length value-length key value`; the meta record, written in every
//! transaction, is `"dlm" schema crc32c length id generation revision keys digest deleted-keys`. Little endian; the
//! checksum covers all that follows it. The deleted keys are there for salvage only: they keep a key that was deleted
//! from being brought back.

use super::Versioned;
use super::txn::{MAX_KEY, MAX_OPS, MAX_VALUE};

/// Schema of records, and of the whole folder.
pub(super) const SCHEMA: u8 = 1;
const RECORD: [u8; 4] = [b'd', b'l', b'r', SCHEMA];
const META: [u8; 4] = [b'd', b'l', b'm', SCHEMA];
/// Magic, checksum, two revisions, two lengths.
const RECORD_HEADER: usize = 4 + 4 + 8 + 8 + 2 + 4;
/// Magic, checksum, length.
const META_HEADER: usize = 4 + 4 + 4;
const META_FIXED: usize = 16 + 4 * 8 + 2;
/// Longest encoded record or meta record: how far a window over a file must overlap the one before.
pub(super) const LONGEST: usize = RECORD_HEADER + MAX_KEY + MAX_VALUE;

/// A key with its value, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub key: String,
    pub value: Versioned,
}

/// The sentinel and the counters of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Which store this is; the MANIFEST says the same.
    pub id: [u8; 16],
    /// Which of its folders.
    pub generation: u64,
    /// The last revision.
    pub revision: u64,
    /// How many keys there are.
    pub keys: u64,
    /// The wrapping sum of the checksums of all records: finds a record that is lost or stale, though each is sound.
    pub digest: u64,
    /// Keys that the last transaction deleted.
    pub deleted: Vec<String>,
}

/// Something found in bare bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Carved {
    Record(Record),
    Meta(Meta),
}

/// Encodes a record.
pub(super) fn encode(key: &str, value: &Versioned) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_HEADER + key.len() + value.value.len());
    out.extend_from_slice(&RECORD);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&value.create_rev.to_le_bytes());
    out.extend_from_slice(&value.mod_rev.to_le_bytes());
    // Both lengths were checked against MAX_KEY and MAX_VALUE, which fit.
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(value.value.len() as u32).to_le_bytes());
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(&value.value);
    seal(out)
}

fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The checksum of an encoded record: its part of [`Meta::digest`].
pub(super) fn checksum(encoded: &[u8]) -> u64 {
    number::<4>(encoded, 4).map_or(0, |bytes| u64::from(u32::from_le_bytes(bytes)))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u64::from_le_bytes)
}

/// The sealed part of `bytes` (which may be longer) if it begins with a sound record.
fn record_at(bytes: &[u8]) -> Option<(Record, usize)> {
    if !bytes.starts_with(&RECORD) {
        return None;
    }
    let key_length = usize::from(u16::from_le_bytes(number(bytes, 24)?));
    let value_length = usize::try_from(u32::from_le_bytes(number(bytes, 26)?)).ok()?;
    if key_length > MAX_KEY || value_length > MAX_VALUE {
        return None;
    }
    let length = RECORD_HEADER + key_length + value_length;
    let whole = sound(bytes, length)?;
    let key = std::str::from_utf8(&whole[RECORD_HEADER..RECORD_HEADER + key_length]).ok()?.to_string();
    let value = Versioned {
        value: whole[RECORD_HEADER + key_length..].to_vec(),
        create_rev: u64_at(whole, 8)?,
        mod_rev: u64_at(whole, 16)?,
    };
    Some((Record { key, value }, length))
}

fn sound(bytes: &[u8], length: usize) -> Option<&[u8]> {
    let whole = bytes.get(..length)?;
    (crc32c::crc32c(&whole[8..]) == u32::from_le_bytes(number(whole, 4)?)).then_some(whole)
}

/// Decodes exactly one record.
pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    record_at(bytes).filter(|(_, length)| *length == bytes.len()).map(|(record, _)| record)
}

impl Meta {
    /// Encodes the meta record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(META_HEADER + META_FIXED);
        out.extend_from_slice(&META);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.id);
        for number in [self.generation, self.revision, self.keys, self.digest] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        // A transaction holds at most MAX_OPS deletions.
        out.extend_from_slice(&(self.deleted.len() as u16).to_le_bytes());
        for key in &self.deleted {
            out.extend_from_slice(&(key.len() as u16).to_le_bytes());
            out.extend_from_slice(key.as_bytes());
        }
        let length = (out.len() - META_HEADER) as u32;
        out[8..12].copy_from_slice(&length.to_le_bytes());
        seal(out)
    }

    /// Decodes exactly one meta record.
    pub fn decode(bytes: &[u8]) -> Option<Meta> {
        meta_at(bytes).filter(|(_, length)| *length == bytes.len()).map(|(meta, _)| meta)
    }
}

fn meta_at(bytes: &[u8]) -> Option<(Meta, usize)> {
    if !bytes.starts_with(&META) {
        return None;
    }
    let length = usize::try_from(u32::from_le_bytes(number(bytes, 8)?)).ok()?;
    if !(META_FIXED..=META_FIXED + MAX_OPS * (MAX_KEY + 2)).contains(&length) {
        return None;
    }
    let whole = sound(bytes, META_HEADER + length)?;
    let mut at = META_HEADER + META_FIXED;
    let mut deleted = Vec::new();
    for _ in 0..u16::from_le_bytes(number(whole, at - 2)?) {
        let end = at + 2 + usize::from(u16::from_le_bytes(number(whole, at)?));
        deleted.push(std::str::from_utf8(whole.get(at + 2..end)?).ok()?.to_string());
        at = end;
    }
    let meta = Meta {
        id: number(whole, 12)?,
        generation: u64_at(whole, 28)?,
        revision: u64_at(whole, 36)?,
        keys: u64_at(whole, 44)?,
        digest: u64_at(whole, 52)?,
        deleted,
    };
    Some((meta, META_HEADER + length))
}

/// Finds every sound record and meta record that begins in the first `limit` bytes of `bytes`.
pub(super) fn carve(bytes: &[u8], limit: usize, sink: &mut dyn FnMut(Carved)) {
    let mut at = 0;
    while at < limit.min(bytes.len()) {
        let rest = &bytes[at..];
        let found = match rest.get(..4) {
            Some(magic) if magic == RECORD => record_at(rest).map(|(record, length)| (Carved::Record(record), length)),
            Some(magic) if magic == META => meta_at(rest).map(|(meta, length)| (Carved::Meta(meta), length)),
            _ => None,
        };
        match found {
            Some((carved, length)) => {
                sink(carved);
                at += length;
            }
            None => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (String, Versioned) {
        ("target/bitaxe-1".into(), Versioned { value: vec![7; 300], create_rev: 5, mod_rev: 9 })
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_found() {
        let (key, value) = sample();
        let bytes = encode(&key, &value);
        assert_eq!(decode(&bytes), Some(Record { key, value }));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None, "bit {bit}");
        }
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn records_are_found_in_the_midst_of_rubbish() {
        let (key, value) = sample();
        let meta = Meta { id: [3; 16], generation: 1, revision: 9, keys: 1, digest: 2, deleted: vec!["gone".into()] };
        let mut bytes = b"rubbish dlr\x01 and dlm".to_vec();
        bytes.extend(encode(&key, &value));
        bytes.extend(b"dl");
        bytes.extend(meta.encode());
        let mut found = Vec::new();
        carve(&bytes, bytes.len(), &mut |carved| found.push(carved));
        assert_eq!(found, vec![Carved::Record(Record { key, value }), Carved::Meta(meta)]);
    }
}
