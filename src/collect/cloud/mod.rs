//! HTTP APIs: the kind whose values the configuration declares, and what every provider shares.

use serde_json::Value;

use super::{ParseError, Reply};

pub mod convert;
pub mod declare;
pub mod http_json;
pub mod mapping;

/// Containers (objects and arrays) and all values that a document may hold: one-member objects cost 90 times their
/// text in memory, so the cap on bytes alone would let 2 MiB become 180.
const MAX_CONTAINERS: usize = 30_000;
const MAX_VALUES: usize = 250_000;

/// The JSON of a reply, of which neither a byte nor a bracket is trusted.
///
/// # Errors
/// [`ParseError`] for what is no JSON, or more of it than may be kept in memory.
pub fn document(reply: &Reply) -> Result<Value, ParseError> {
    let (containers, values) = weigh(&reply.body);
    if containers > MAX_CONTAINERS || values > MAX_VALUES {
        let reason = format!("the document has more than {MAX_CONTAINERS} objects and arrays or {MAX_VALUES} values");
        return Err(ParseError::TooLarge { request: reply.request.clone(), reason });
    }
    serde_json::from_slice(&reply.body).map_err(|error| {
        let html = reply.body.trim_ascii_start().starts_with(b"<");
        let hint = if html { "; this is HTML or XML, check the URL" } else { "" };
        ParseError::Malformed { request: reply.request.clone(), reason: format!("not JSON: {error}{hint}") }
    })
}

/// Counts opening brackets and commas outside of strings. Right for JSON; for anything else the parser will refuse.
fn weigh(body: &[u8]) -> (usize, usize) {
    let (mut containers, mut values, mut in_string, mut escaped) = (0, 0, false, false);
    for byte in body {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => containers += 1,
            (false, b',') => values += 1,
            _ => {}
        }
    }
    (containers, values)
}
