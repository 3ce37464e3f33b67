//! Compression of answers, for who asks for it.

use std::io::Write;

use axum::http::{HeaderMap, header};

/// Whether the client takes gzip.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
        (name == "gzip" || name == "*") && !refused
    })
}

/// Level 1: a page of metrics shrinks to a fifteenth already, and somebody waits for it.
pub(super) fn compress(page: &[u8]) -> std::io::Result<Vec<u8>> {
    let packed = Vec::with_capacity(page.len() / 10);
    let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    encoder.write_all(page)?;
    encoder.finish()
}

/// What fits into one packet is not worth it.
const LEAST: usize = 1400;

/// Compressed, if that pays.
pub(super) fn compress_if_large(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < LEAST { None } else { compress(body).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_only_for_those_who_ask() {
        let wanted = |accept: &str| wanted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, accept.parse().unwrap())]));
        assert!(wanted("gzip") && wanted("deflate, gzip;q=0.5") && wanted("*"));
        assert!(!wanted("") && !wanted("identity") && !wanted("gzip;q=0"));
        assert_eq!(compress_if_large(b"short"), None);
        assert!(compress_if_large(&[b' '; 10_000]).unwrap().len() < 200);
    }
}
