//! The MANIFEST beside the database: what must be in it, so that an empty or older one is not taken for it.

use std::path::Path;

use super::OpenError;
use super::folder;
use super::record::SCHEMA;

/// What the database must at least be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub id: [u8; 16],
    pub generation: u64,
    /// High-water mark: the database was durable at this revision.
    pub revision: u64,
    /// How many keys it held then; only for messages.
    pub keys: u64,
}

/// Why a MANIFEST is not usable.
#[derive(Debug)]
pub(super) enum ManifestError {
    Newer(u32),
    Bad(String),
}

impl Manifest {
    /// Reads the file; `Ok(None)` if there is none.
    pub fn read(path: &Path) -> Result<Option<Manifest>, ManifestError> {
        match std::fs::read(path) {
            Ok(bytes) if bytes.len() <= 4096 => parse(&bytes).map(Some),
            Ok(_) => Err(ManifestError::Bad("it is larger than 4 KiB".into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ManifestError::Bad(format!("it cannot be read: {error}"))),
        }
    }

    /// Writes the file; durable when it returns.
    pub fn write(&self, path: &Path) -> Result<(), OpenError> {
        let body = format!(
            "davylamp-state {SCHEMA}\nid {}\ngeneration {}\nrevision {}\nkeys {}\n",
            hex(&self.id),
            self.generation,
            self.revision,
            self.keys
        );
        let crc = crc32c::crc32c(body.as_bytes());
        folder::replace_file(path, format!("{body}crc32c {crc:08x}\n").as_bytes())
    }
}

fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let bad = |what: &str| ManifestError::Bad(what.to_string());
    let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not text"))?;
    let (body, crc) = text.rsplit_once("crc32c ").ok_or_else(|| bad("it has no checksum"))?;
    if u32::from_str_radix(crc.trim_end(), 16).ok() != Some(crc32c::crc32c(body.as_bytes())) {
        return Err(bad("its checksum is wrong"));
    }
    let field = |name: &str| body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let number = |name: &str| field(name).and_then(|text| text.parse().ok()).ok_or_else(|| bad(name));
    let schema: u64 = number("davylamp-state")?;
    if schema != u64::from(SCHEMA) {
        return Err(ManifestError::Newer(u32::try_from(schema).unwrap_or(u32::MAX)));
    }
    Ok(Manifest {
        id: field("id").and_then(unhex).ok_or_else(|| bad("id"))?,
        generation: number("generation")?,
        revision: number("revision")?,
        keys: number("keys")?,
    })
}

/// A store's id as text.
pub(super) fn hex(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// The id from its text.
pub(super) fn unhex(text: &str) -> Option<[u8; 16]> {
    if text.len() == 32 { u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes) } else { None }
}

/// An id that no other store has. The keys of the standard library's hash maps come from the system's random source.
pub(super) fn new_id() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(std::time::SystemTime::now());
    ((u128::from(half()) << 64) | u128::from(half())).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("MANIFEST");
        let manifest = Manifest { id: new_id(), generation: 3, revision: 99, keys: 7 };
        manifest.write(&path).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), Some(manifest.clone()));
        let bytes = std::fs::read(&path).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // A flip in the case of a hexadecimal digit or in the last line end changes nothing that is said.
            assert!(parse(&bad).map_or(true, |found| found == manifest), "bit {bit}");
        }
        assert!(matches!(parse(&bytes[..bytes.len() / 2]), Err(ManifestError::Bad(_))));
        assert_ne!(new_id(), new_id());
    }
}
