//! Snappy's block format. Its length is declared at its head, so a bomb is refused before a byte is unpacked.

use bytes::Bytes;

use super::{Caps, WireError};

/// A body as it is sent.
pub type Compressed = Vec<u8>;

/// Unpacks a body.
///
/// # Errors
/// [`WireError::TooMuch`] by the length as sent and as declared, [`WireError::Snappy`] for anything that is no block.
pub fn decompress(body: &[u8], caps: &Caps) -> Result<Bytes, WireError> {
    if body.len() > caps.compressed {
        return Err(WireError::TooMuch { what: "bytes", limit: caps.compressed });
    }
    if snap::raw::decompress_len(body)? > caps.decompressed {
        return Err(WireError::TooMuch { what: "bytes after decompression", limit: caps.decompressed });
    }
    Ok(snap::raw::Decoder::new().decompress_vec(body)?.into())
}

/// Packs a body.
///
/// # Errors
/// [`WireError::Snappy`] for more than 4 GiB.
pub fn compress(body: &[u8]) -> Result<Compressed, WireError> {
    Ok(snap::raw::Encoder::new().compress_vec(body)?)
}
