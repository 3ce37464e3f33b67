//! How a sender proves itself: bearer token, basic credentials, or a timestamped HMAC over the body as Grafana signs it.
//! All comparisons take the same time, right or wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::secret::{SecretError, SecretRef};

/// How far a signature's time may be from ours, in seconds: longer, and a recorded request could be sent again at leisure.
const MAX_SKEW: i64 = 300;

/// One way to prove oneself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Access {
    /// `Authorization: Bearer …`
    Bearer(SecretRef),
    /// `Authorization: Basic …`
    Basic {
        /// User name, not secret.
        username: String,
        /// Password.
        password: SecretRef,
    },
    /// A signature of time and body.
    Hmac(Hmac),
}

/// HMAC-SHA256 over `timestamp:body`, in hexadecimal digits; Grafana's headers by default.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hmac {
    /// The shared secret.
    pub secret: SecretRef,
    /// Header of the signature.
    #[serde(default = "signature")]
    pub signature_header: String,
    /// Header of the time, in seconds since the epoch. Grafana sends it only when its name is set there.
    #[serde(default = "timestamp")]
    pub timestamp_header: String,
}

fn signature() -> String {
    "X-Grafana-Alerting-Signature".to_string()
}

fn timestamp() -> String {
    "X-Grafana-Alerting-Timestamp".to_string()
}

/// What a request presents.
pub struct Presented<'a> {
    /// A header's value by its name.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// The body.
    pub body: &'a [u8],
    /// Now, seconds since the epoch.
    pub now: i64,
}

/// Why a request is not believed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Our own secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Our own secret is empty.
    #[error("the configured secret is empty")]
    Empty,
    /// It presents nothing, or the wrong thing.
    #[error("{0}")]
    Denied(&'static str),
}

impl Access {
    /// Checks a request.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn check(&self, request: &Presented<'_>) -> Result<(), AccessError> {
        let authorization = (request.header)("authorization").unwrap_or_default();
        match self {
            Access::Bearer(reference) => {
                let given = authorization.strip_prefix("Bearer ").unwrap_or_default();
                same(given.as_bytes(), read(reference)?.as_bytes(), "send the token: Authorization: Bearer …")
            }
            Access::Basic { username, password } => {
                let given = STANDARD.decode(authorization.strip_prefix("Basic ").unwrap_or_default().trim());
                let expected = format!("{username}:{}", read(password)?);
                same(
                    &given.unwrap_or_default(),
                    expected.as_bytes(),
                    "send user name and password: Authorization: Basic …",
                )
            }
            Access::Hmac(hmac) => hmac.check(request),
        }
    }
}

impl Hmac {
    fn check(&self, request: &Presented<'_>) -> Result<(), AccessError> {
        let secret = read(&self.secret)?;
        let time = (request.header)(&self.timestamp_header)
            .ok_or(AccessError::Denied("the header with the time of the signature is missing"))?;
        let at: i64 =
            time.parse().map_err(|_| AccessError::Denied("the time of the signature is no number of seconds"))?;
        let signature = (request.header)(&self.signature_header).unwrap_or_default();
        let mut mac = hmac::Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| AccessError::Empty)?;
        mac.update(time.as_bytes());
        mac.update(b":");
        mac.update(request.body);
        let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let given = signature.trim_start_matches("sha256=").to_ascii_lowercase();
        same(given.as_bytes(), expected.as_bytes(), "the signature is not the one of this body")?;
        if at.abs_diff(request.now) > MAX_SKEW.unsigned_abs() {
            return Err(AccessError::Denied("the signature is older or newer than five minutes"));
        }
        Ok(())
    }
}

fn read(reference: &SecretRef) -> Result<String, AccessError> {
    let secret = reference.read()?;
    if secret.expose().is_empty() { Err(AccessError::Empty) } else { Ok(secret.expose().to_string()) }
}

fn same(given: &[u8], expected: &[u8], otherwise: &'static str) -> Result<(), AccessError> {
    if given.ct_eq(expected).into() { Ok(()) } else { Err(AccessError::Denied(otherwise)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn ask(access: &Access, headers: &[(&str, &str)], body: &[u8]) -> Result<(), AccessError> {
        let headers: HashMap<String, String> =
            headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_string())).collect();
        let header = |name: &str| headers.get(&name.to_ascii_lowercase()).cloned();
        access.check(&Presented { header: &header, body, now: 1_000_000 })
    }

    fn secret(text: &str) -> (tempfile::NamedTempFile, SecretRef) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let reference = SecretRef::File(file.path().to_path_buf());
        (file, reference)
    }

    #[test]
    fn bearer_and_basic() {
        let (_file, reference) = secret("s3cret\n");
        let bearer = Access::Bearer(reference.clone());
        assert!(ask(&bearer, &[("Authorization", "Bearer s3cret")], b"").is_ok());
        for wrong in ["Bearer s3cre", "Bearer ", "Basic s3cret", ""] {
            assert!(matches!(ask(&bearer, &[("Authorization", wrong)], b""), Err(AccessError::Denied(_))), "{wrong}");
        }
        let basic = Access::Basic { username: "am".into(), password: reference };
        assert!(ask(&basic, &[("authorization", "Basic YW06czNjcmV0")], b"").is_ok());
        assert!(ask(&basic, &[("authorization", "Basic YW06czNjcmV")], b"").is_err());
        let (_file, empty) = secret("\n");
        assert!(matches!(ask(&Access::Bearer(empty), &[("Authorization", "Bearer ")], b""), Err(AccessError::Empty)));
    }

    #[test]
    fn signatures_are_of_one_body_and_one_time() {
        let (_file, reference) = secret("key");
        let access =
            Access::Hmac(Hmac { secret: reference, signature_header: signature(), timestamp_header: timestamp() });
        // printf '1000000:body' | openssl dgst -sha256 -hmac key
        let signed = "c7db6d25a01eb6c922c539b6c382cf81bc33f5fec4da0007667a39de694d538f";
        let headers = |time: &'static str, signature: &'static str| {
            [("X-Grafana-Alerting-Timestamp", time), ("X-Grafana-Alerting-Signature", signature)]
        };
        assert!(ask(&access, &headers("1000000", signed), b"body").is_ok());
        assert!(ask(&access, &headers("1000000", signed), b"bodi").is_err());
        assert!(ask(&access, &headers("1000001", signed), b"body").is_err(), "the time is signed too");
        assert!(ask(&access, &headers("x", signed), b"body").is_err());
        assert!(ask(&access, &headers("1000000", "")[..1], b"body").is_err());
        let old = "e1b4a5923e3ad3fc035e3a80ecc4da55b783cc995cfef1c7387eec29244818f5";
        let error = ask(&access, &headers("999000", old), b"body").unwrap_err().to_string();
        assert!(error.contains("five minutes"), "{error}");
    }
}
