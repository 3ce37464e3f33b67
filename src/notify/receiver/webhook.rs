//! Webhooks with Alertmanager's payload (version 4), signed: `X-Davylamp-Signature: v1=HEX` is the HMAC-SHA256 of
//! `TIMESTAMP.BODY`, where `X-Davylamp-Timestamp` is in seconds since the epoch. A receiver that checks both, and refuses
//! old timestamps, cannot be told a thing twice by a third party.

use std::fmt::Write;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Service, bytes, url_at};
use crate::collect::http::Caller;
use crate::notify::letter::Letter;
use crate::notify::parcel::{Fault, HttpParcel, Parcel};
use crate::notify::settings::Place;
use crate::secret::SecretRef;

/// A webhook.
pub struct Webhook {
    /// Through which door.
    pub caller: Caller,
    /// Where to.
    pub url: Place,
    /// Key of the signature.
    pub secret: Option<SecretRef>,
}

impl Service for Webhook {
    fn render(&self, letter: &Letter) -> Result<Parcel<'_>, Fault> {
        let (url, body) = (url_at(&self.url)?, bytes(&letter.payload));
        let mut headers = Vec::new();
        if let Some(secret) = &self.secret {
            let timestamp = (letter.at / 1000).to_string();
            headers.push(("x-davylamp-signature", signature(secret.read()?.expose(), &timestamp, &body)?));
            headers.push(("x-davylamp-timestamp", timestamp));
        }
        Ok(Parcel::Http(HttpParcel { caller: &self.caller, url, headers, body }))
    }
}

fn signature(key: &str, timestamp: &str, body: &[u8]) -> Result<String, Fault> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(Fault::refused)?;
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut text = "v1=".to_string();
    for byte in mac.finalize().into_bytes() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
