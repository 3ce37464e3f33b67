//! TLS of one target: its own authority, our client certificate. Words as in an exporter's `tls_config`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use tokio::io::AsyncReadExt;

use super::{Keep, Network, build_client};
use crate::collect::OptionError;
use crate::model::{FailureReason, PollFailure};

/// Largest certificate or key file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// How to verify the other side, and what to show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsOptions {
    /// Trust only the authorities of this PEM file instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate that we show, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
    /// Do not verify the certificate at all: whoever stands in between can read and change everything.
    pub insecure_skip_verify: bool,
}

impl TlsOptions {
    /// Checks what can be checked without reading files.
    ///
    /// # Errors
    /// [`OptionError`] below `path` for a certificate without its key, or the other way round.
    pub fn check(&self, path: &str) -> Result<(), OptionError> {
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => Err(OptionError::new(format!("{path}.key_file"), "is missing: cert_file needs its key")),
            (None, Some(_)) => {
                Err(OptionError::new(format!("{path}.cert_file"), "is missing: key_file needs its certificate"))
            }
            _ => Ok(()),
        }
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten().map(PathBuf::as_path)
    }
}

type Stamp = (SystemTime, u64);

/// A client with the TLS settings of one target, built at the first poll and again when one of its files changes, so
/// that a renewed certificate needs no restart.
pub(super) struct TlsClient {
    options: TlsOptions,
    built: Mutex<Option<(Vec<Stamp>, reqwest::Client)>>,
}

impl TlsClient {
    pub(super) fn new(options: TlsOptions) -> Self {
        TlsClient { options, built: Mutex::new(None) }
    }

    /// The client; a failure names the file.
    pub(super) async fn get(&self, network: Network, keep: Keep) -> Result<reqwest::Client, PollFailure> {
        let mut stamps = Vec::new();
        for path in self.options.files() {
            let metadata = tokio::fs::metadata(path).await;
            let stamp = metadata.and_then(|file| Ok((file.modified()?, file.len())));
            stamps.push(stamp.map_err(|error| bad_file(path, &error))?);
        }
        if let Ok(built) = self.built.lock()
            && let Some((before, client)) = &*built
            && *before == stamps
        {
            return Ok(client.clone());
        }
        let client = self.build(network, keep).await?;
        if let Ok(mut built) = self.built.lock() {
            *built = Some((stamps, client.clone()));
        }
        Ok(client)
    }

    async fn build(&self, network: Network, keep: Keep) -> Result<reqwest::Client, PollFailure> {
        let mut authorities = None;
        if let Some(path) = &self.options.ca_file {
            let found = reqwest::Certificate::from_pem_bundle(&read(path).await?);
            let found = found.ok().filter(|found| !found.is_empty());
            authorities = Some(found.ok_or_else(|| bad_file(path, &"it holds no PEM certificate"))?);
        }
        let mut identity = None;
        if let (Some(cert), Some(key)) = (&self.options.cert_file, &self.options.key_file) {
            let mut pem = read(cert).await?;
            pem.push(b'\n');
            pem.extend(read(key).await?);
            let found = reqwest::Identity::from_pem(&pem);
            identity = Some(found.map_err(|_| bad_file(cert, &"it and its key_file hold no PEM certificate and key"))?);
        }
        let insecure = self.options.insecure_skip_verify;
        build_client(network, keep, |mut builder| {
            if let Some(authorities) = authorities {
                builder = builder.tls_certs_only(authorities);
            }
            if let Some(identity) = identity {
                builder = builder.identity(identity);
            }
            builder.tls_danger_accept_invalid_certs(insecure)
        })
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, PollFailure> {
    let work = async {
        let mut bytes = Vec::new();
        tokio::fs::File::open(path).await?.take(MAX_FILE + 1).read_to_end(&mut bytes).await?;
        if bytes.len() as u64 > MAX_FILE { Err(io::Error::other("larger than 1 MiB")) } else { Ok(bytes) }
    };
    work.await.map_err(|error| bad_file(path, &error))
}

/// Ours, not the target's: but the poll cannot be made, for the same reason as with a missing secret.
fn bad_file(path: &Path, cause: &dyn std::fmt::Display) -> PollFailure {
    PollFailure::new(FailureReason::Denied, format!("cannot use the TLS file {}: {cause}", path.display()))
}
