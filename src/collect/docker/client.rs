//! The connection to one engine: unix socket, TCP, TCP with TLS; kept open between polls; every body capped.
//!
//! The requests go through the house's own HTTP door, not through bollard's client: that one opens a connection for
//! every call (ten times the CPU on our side), reads bodies without a cap and gives no raw bytes to save.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use crate::collect::http::{self, Keep, Network, Request};
use crate::collect::{OptionError, Reply};
use crate::model::{FailureReason, PollFailure};

/// Where Docker listens when nothing was configured.
pub(super) const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
/// Largest certificate or key file, in bytes.
const MAX_PEM: u64 = 1 << 20;

/// How to prove who we are, and whom to believe. PEM files; they are read again after a failed poll, so that renewed
/// ones are picked up.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsFiles {
    /// The authority that signed the engine's certificate; no other is believed.
    pub ca_file: PathBuf,
    /// Our certificate.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Unix(PathBuf),
    Tcp,
    Tls(TlsFiles),
}

/// One question to the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// `/v1.41`, or empty for the engine's own newest version.
    pub version: &'a str,
    /// Path below the version; it names the reply.
    pub path: &'a str,
    /// Query parameters.
    pub query: &'a [(&'a str, &'a str)],
    /// Largest body, in bytes.
    pub max_body: usize,
    /// Longest time for the whole answer.
    pub timeout: Duration,
}

/// A client of one engine.
pub(super) struct Client {
    place: Place,
    base: Url,
    // Built at the first poll: TLS reads files, and `open` does no I/O.
    connected: Mutex<Option<reqwest::Client>>,
}

impl Client {
    /// Reads an address: `unix:///path`, `tcp://host:port`; empty for the default socket.
    pub(super) fn open(address: &str, tls: Option<&TlsFiles>) -> Result<Self, OptionError> {
        let address = if address.is_empty() { DEFAULT_ADDRESS } else { address };
        let (place, base) = if let Some(path) = address.strip_prefix("unix://") {
            if tls.is_some() {
                return Err(OptionError::new("options.tls", "belongs to tcp://host:2376; a unix socket has no TLS"));
            }
            if !path.starts_with('/') {
                return Err(bad_address(address, "the path of a unix socket begins with a slash, so there are three"));
            }
            (Place::Unix(path.into()), "http://localhost/".to_string())
        } else if let Some(host) = address.strip_prefix("tcp://") {
            let (scheme, port) = if tls.is_some() { ("https", 2376) } else { ("http", 2375) };
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let host = host.trim_end_matches('/');
            let text = if has_port { format!("{scheme}://{host}/") } else { format!("{scheme}://{host}:{port}/") };
            (tls.map_or(Place::Tcp, |files| Place::Tls(files.clone())), text)
        } else {
            return Err(bad_address(address, "write unix:///var/run/docker.sock or tcp://host:2375"));
        };
        let base = Url::parse(&base).map_err(|error| bad_address(address, &error.to_string()))?;
        if base.path() != "/" || base.query().is_some() || !base.username().is_empty() || base.password().is_some() {
            return Err(bad_address(address, "only a host and a port belong after tcp://"));
        }
        Ok(Client { place, base, connected: Mutex::new(None) })
    }

    /// Sends one GET. A refusal by status is a reply too.
    pub(super) async fn get(&self, ask: Ask<'_>) -> Result<Reply, PollFailure> {
        self.send(reqwest::Method::GET, ask).await
    }

    /// Sends one POST without a body, likewise.
    pub(super) async fn post(&self, ask: Ask<'_>) -> Result<Reply, PollFailure> {
        self.send(reqwest::Method::POST, ask).await
    }

    async fn send(&self, method: reqwest::Method, ask: Ask<'_>) -> Result<Reply, PollFailure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", ask.version, ask.path));
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(ask.query);
        }
        let client = self.connected()?;
        let named = format!("{method} {}", ask.path);
        let request = Request { method, max_body: ask.max_body, keep: Keep::Alive, ..Request::get(&url, ask.timeout) };
        let answer = http::send_with(&client, request).await.map_err(|failure| self.explained(failure))?;
        Ok(Reply { request: named, status: Some(answer.status), body: answer.body })
    }

    /// As [`Client::get`], where there is no poll without the reply: a refusal is a failure, in the engine's words.
    pub(super) async fn need(&self, ask: Ask<'_>) -> Result<Reply, PollFailure> {
        let reply = self.get(ask).await?;
        let reason = match reply.status {
            Some(200..=299) => return Ok(reply),
            Some(401 | 403) => FailureReason::Denied,
            Some(429) => FailureReason::RateLimited,
            _ => FailureReason::Malformed,
        };
        let status = reply.status.unwrap_or_default();
        let words = String::from_utf8_lossy(&reply.body);
        Err(PollFailure::new(reason, format!("{}: HTTP {status}: {}", reply.request, words.trim())))
    }

    /// Forgets the connections: after a failure the files of TLS may have been renewed.
    pub(super) fn disconnect(&self) {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn connected(&self) -> Result<reqwest::Client, PollFailure> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*connected {
            return Ok(client.clone());
        }
        let tls = match &self.place {
            Place::Tls(files) => Some(read_tls(files)?),
            Place::Unix(_) | Place::Tcp => None,
        };
        let client = http::build_client(Network::Lan, Keep::Alive, |builder| {
            // As many as were open at once; how many that is, the poll decides.
            let builder = builder.pool_max_idle_per_host(usize::MAX);
            match (&self.place, tls) {
                (Place::Unix(path), _) => builder.unix_socket(path.as_path()),
                (_, Some((authorities, identity))) => builder.tls_certs_only(authorities).identity(identity),
                (_, None) => builder,
            }
        })?;
        *connected = Some(client.clone());
        Ok(client)
    }

    /// The commonest mistakes, with what to do.
    fn explained(&self, failure: PollFailure) -> PollFailure {
        let Place::Unix(path) = &self.place else { return failure };
        let path = path.display();
        if failure.detail.contains("Permission denied") {
            let text = format!("no permission to open {path}: add the daemon's user to the socket's group (docker)");
            return PollFailure::new(FailureReason::Denied, text);
        }
        if failure.detail.contains("No such file") {
            return PollFailure::new(
                FailureReason::Unreachable,
                format!("{path} does not exist: is the engine running?"),
            );
        }
        failure
    }
}

fn bad_address(address: &str, what: &str) -> OptionError {
    OptionError::new("address", format!("{address:?} is no address of an engine: {what}"))
}

fn read_tls(files: &TlsFiles) -> Result<(Vec<reqwest::Certificate>, reqwest::Identity), PollFailure> {
    let refuse = |path: &Path, what: &str| {
        PollFailure::new(FailureReason::Denied, format!("cannot use the TLS file {}: {what}", path.display()))
    };
    let read = |path: &Path| -> Result<Vec<u8>, PollFailure> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(|error| refuse(path, &error.to_string()))?;
        file.take(MAX_PEM).read_to_end(&mut bytes).map_err(|error| refuse(path, &error.to_string()))?;
        Ok(bytes)
    };
    let authorities = reqwest::Certificate::from_pem_bundle(&read(&files.ca_file)?).unwrap_or_default();
    if authorities.is_empty() {
        return Err(refuse(&files.ca_file, "it holds no PEM certificate"));
    }
    let mut pair = read(&files.cert_file)?;
    pair.push(b'\n');
    pair.extend(read(&files.key_file)?);
    let identity = reqwest::Identity::from_pem(&pair)
        .map_err(|_| refuse(&files.cert_file, "it and its key_file hold no PEM certificate and key"))?;
    Ok((authorities, identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls() -> TlsFiles {
        TlsFiles { ca_file: "/no/ca.pem".into(), cert_file: "/no/cert.pem".into(), key_file: "/no/key.pem".into() }
    }

    #[test]
    fn reads_the_addresses_that_docker_knows() {
        let open =
            |address: &str, tls| Client::open(address, tls).map(|client| (client.place, client.base.to_string()));
        let unix = |path: &str| Ok((Place::Unix(path.into()), "http://localhost/".to_string()));
        assert_eq!(open("", None), unix("/var/run/docker.sock"));
        assert_eq!(open("unix:///run/podman/podman.sock", None), unix("/run/podman/podman.sock"));
        assert_eq!(open("tcp://nas", None), Ok((Place::Tcp, "http://nas:2375/".into())));
        assert_eq!(open("tcp://[::1]:99", None), Ok((Place::Tcp, "http://[::1]:99/".into())));
        assert_eq!(open("tcp://nas", Some(&tls())), Ok((Place::Tls(tls()), "https://nas:2376/".into())));
    }

    #[test]
    fn refuses_other_addresses_and_says_why() {
        for (address, tls, words) in [
            ("/var/run/docker.sock", None, "write unix:///var/run/docker.sock or tcp://host:2375"),
            ("unix://docker.sock", None, "three"),
            ("tcp://host:2375/v1.41", None, "only a host and a port"),
            ("tcp://me:secret@host:2375", None, "only a host and a port"),
            ("tcp://", None, "empty host"),
            ("ssh://host", None, "tcp://host:2375"),
            ("unix:///run/docker.sock", Some(&tls()), "no TLS"),
        ] {
            let error = Client::open(address, tls).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{address}: {error}");
        }
    }

    #[test]
    fn a_missing_certificate_is_named() {
        let client = Client::open("tcp://127.0.0.1:1", Some(&tls())).unwrap();
        let failure = client.connected().unwrap_err();
        assert_eq!(failure.reason, FailureReason::Denied);
        assert!(failure.detail.contains("/no/ca.pem"), "{failure}");
    }
}
