//! Secrets: referenced in the configuration, read when they are used, never shown.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// Largest secret that is read, in bytes: a reference that points at a disk image is a mistake.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Where a secret stands. The configuration holds only this, never the secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretRef {
    /// A file; trailing line ends are cut. Read at each use, so that a rotated secret is picked up.
    File(PathBuf),
    /// An environment variable of the daemon.
    Env(String),
    /// A systemd credential (`LoadCredential=`), by its name.
    Credential(String),
}

/// A value that must not be shown: `Debug`, `Display` and `Serialize` all say `<redacted>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret could not be read. Never holds any part of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file or credential could not be read.
    #[error("cannot read the secret {path}: {source}")]
    Read {
        /// Full path that was tried.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// The file is too large to be a secret, or not UTF-8.
    #[error("the secret {path} is larger than 64 KiB or not UTF-8 text")]
    NotText {
        /// Full path that was read.
        path: String,
    },
    /// The environment variable is not set.
    #[error("the environment variable {name} that should hold a secret is not set")]
    NoVariable {
        /// Name of the variable.
        name: String,
    },
    /// A credential was asked for, but the process was not started with any.
    #[error(
        "the credential {name} needs systemd: CREDENTIALS_DIRECTORY is not set (LoadCredential={name}:/path in the unit)"
    )]
    NoCredentials {
        /// Name of the credential.
        name: String,
    },
    /// A credential's name would leave the credentials' folder.
    #[error("{name:?} is not a credential name: it may not be empty, hold a slash or begin with a dot")]
    BadName {
        /// As written.
        name: String,
    },
}

/// By hand, because serde would quote a secret that was written in place of its reference.
impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReferenceVisitor)
    }
}

struct ReferenceVisitor;

const REFERENCE: &str = "{file: /path}, {env: NAME} or {credential: NAME}";

impl<'de> Visitor<'de> for ReferenceVisitor {
    type Value = SecretRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a reference to a secret: {REFERENCE}")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SecretRef, E> {
        Err(E::custom(format!("a secret never stands here; write where it stands: {REFERENCE}")))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretRef, E> {
        self.visit_str("")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<SecretRef, E> {
        self.visit_str("")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SecretRef, E> {
        self.visit_str("")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretRef, A::Error> {
        let wrong = || A::Error::custom(format!("write one place of the secret: {REFERENCE}"));
        let place = map.next_key::<String>()?.ok_or_else(wrong)?;
        let reference = match place.as_str() {
            "file" => SecretRef::File(map.next_value()?),
            "env" => SecretRef::Env(map.next_value()?),
            "credential" => SecretRef::Credential(map.next_value()?),
            other => return Err(A::Error::unknown_field(other, &["file", "env", "credential"])),
        };
        if map.next_key::<String>()?.is_some() {
            return Err(wrong());
        }
        Ok(reference)
    }
}

impl SecretRef {
    /// Reads the secret now.
    ///
    /// # Errors
    /// [`SecretError`]; its text names the place, never the content.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            SecretRef::File(path) => read_file(path),
            SecretRef::Env(name) => {
                std::env::var(name).map(Secret).map_err(|_| SecretError::NoVariable { name: name.clone() })
            }
            SecretRef::Credential(name) => {
                if name.is_empty() || name.contains('/') || name.starts_with('.') {
                    return Err(SecretError::BadName { name: name.clone() });
                }
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
                let folder = folder.ok_or_else(|| SecretError::NoCredentials { name: name.clone() })?;
                read_file(&PathBuf::from(folder).join(name))
            }
        }
    }
}

fn read_file(path: &std::path::Path) -> Result<Secret, SecretError> {
    let shown = path.display().to_string();
    let failed = |source| SecretError::Read { path: shown.clone(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= MAX_SECRET_BYTES);
    let text = text.ok_or_else(|| SecretError::NotText { path: shown.clone() })?;
    Ok(Secret(text.trim_end_matches(['\r', '\n']).to_string()))
}

impl Secret {
    /// Wraps a value that must not be shown.
    pub fn new(value: impl Into<String>) -> Self {
        Secret(value.into())
    }

    /// The secret itself. Every call is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

const REDACTED: &str = "<redacted>";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_from_a_file_without_its_line_end_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = SecretRef::File(path).read().unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap()),
            "<redacted> <redacted> \"<redacted>\""
        );
    }

    #[test]
    fn says_where_it_looked() {
        let missing = SecretRef::Env("DAVYLAMP_NO_SUCH_VARIABLE".into()).read().unwrap_err();
        assert!(missing.to_string().contains("DAVYLAMP_NO_SUCH_VARIABLE"), "{missing}");
        let bad = SecretRef::Credential("../shadow".into()).read().unwrap_err();
        assert!(matches!(bad, SecretError::BadName { .. }));
    }
}
