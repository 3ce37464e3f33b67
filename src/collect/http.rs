//! HTTP: the only way out over HTTP for everything that polls. Timeouts, body caps before and after decompression,
//! address rules against request forgery, no redirects, credentials by reference.

use std::io::Read;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue,
};
use url::Url;

use crate::model::{FailureReason, PollFailure};
use crate::secret::SecretRef;

mod caller;
mod digest;
mod endpoint;
mod guard;
mod site;
mod tls;

pub use caller::{Call, Caller};
pub use digest::Digest;
pub use endpoint::{CREDENTIAL_DOC, GZIP_DOC, KEEP_ALIVE_DOC, NETWORK_DOC, TLS_DOC};
pub use endpoint::{Endpoint, Settings, checked_url};
pub use guard::{Network, address_allowed};
pub use site::{Ask, Site};
pub use tls::TlsOptions;

use guard::{Forbidden, GuardedResolver, check_literal_address};

/// Body cap where a kind names none: forty times the largest reply of a miner that was recorded.
pub const DEFAULT_MAX_BODY: usize = 2 * 1024 * 1024;

/// Longest `Retry-After` that is believed: a hostile or broken answer must not silence a target for ever.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// Whether the connection is kept for the next poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// One short connection: for devices whose small web server dies under load.
    Close,
    /// Kept open: cheaper for both sides.
    Alive,
}

/// How to prove who we are. Secrets stand elsewhere; they are read at each use.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Credential {
    /// `Authorization: Bearer …`
    Bearer(SecretRef),
    /// `Authorization: Basic …`
    #[serde(rename_all = "snake_case")]
    Basic {
        /// User name, not secret.
        username: String,
        /// Password.
        password: SecretRef,
    },
    /// Any header.
    Header {
        /// Header name.
        name: String,
        /// Header value.
        value: SecretRef,
    },
}

/// One request, complete.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: reqwest::Method,
    /// Where to. User and password in it are refused by the configuration check.
    pub url: &'a Url,
    /// Extra headers.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// Credential, if any.
    pub credential: Option<&'a Credential>,
    /// Body, for methods that have one.
    pub body: Option<Vec<u8>>,
    /// Largest body, in bytes, as sent and after decompression.
    pub max_body: usize,
    /// Longest time for the whole exchange.
    pub timeout: Duration,
    /// Which addresses are allowed.
    pub network: Network,
    /// Whether to keep the connection.
    pub keep: Keep,
}

impl<'a> Request<'a> {
    /// A GET to a machine of the owner's network over one short connection, with the default cap.
    pub fn get(url: &'a Url, timeout: Duration) -> Self {
        Request {
            method: reqwest::Method::GET,
            url,
            headers: &[],
            credential: None,
            body: None,
            max_body: DEFAULT_MAX_BODY,
            timeout,
            network: Network::Lan,
            keep: Keep::Close,
        }
    }

    /// A POST, otherwise as [`Request::get`].
    pub fn post(url: &'a Url, body: Vec<u8>, timeout: Duration) -> Self {
        Request { method: reqwest::Method::POST, body: Some(body), ..Request::get(url, timeout) }
    }
}

/// An answer: status, headers, capped body.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Headers as sent.
    pub headers: HeaderMap,
    /// Body, decompressed.
    pub body: Bytes,
}

impl Answer {
    /// The answer if its status is a success, else the failure that the status means.
    ///
    /// # Errors
    /// `Denied` for 401, 403 and redirects (which are not followed), `RateLimited` for 429 and for 503 with
    /// `Retry-After`, `Malformed` for every other status.
    pub fn success(self) -> Result<Self, PollFailure> {
        let retry_after = self.retry_after();
        let failure = |reason, text: String| Err(PollFailure { retry_after, ..PollFailure::new(reason, text) });
        match self.status {
            200..=299 => Ok(self),
            300..=399 => {
                let place = self.headers.get("location").and_then(|v| v.to_str().ok()).unwrap_or("nowhere");
                failure(
                    FailureReason::Denied,
                    format!("HTTP {} redirects to {place}; redirects are not followed", self.status),
                )
            }
            401 | 403 => failure(FailureReason::Denied, format!("HTTP {}: check the credential", self.status)),
            429 => failure(FailureReason::RateLimited, "HTTP 429: too many requests".to_string()),
            503 if retry_after.is_some() => {
                failure(FailureReason::RateLimited, "HTTP 503 with Retry-After".to_string())
            }
            status => failure(FailureReason::Malformed, format!("HTTP {status}")),
        }
    }

    /// `Retry-After`, in seconds or as a date; a date is measured from the answer's own `Date`, so that no clock is
    /// needed and a wrong one on either side does no harm.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = |name: &str| self.headers.get(name)?.to_str().ok().map(str::trim);
        let date = |name: &str| chrono::DateTime::parse_from_rfc2822(text(name)?).ok();
        let wait = match text("retry-after")?.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => (date("retry-after")? - date("date")?).to_std().ok()?,
        };
        Some(wait.min(MAX_RETRY_AFTER))
    }
}

/// Sends a request and reads the whole answer within its limits.
///
/// # Errors
/// A [`PollFailure`] for everything that kept an answer from arriving whole; a status of failure is an answer.
pub async fn send(request: Request<'_>) -> Result<Answer, PollFailure> {
    let client = client(request.network, request.keep)?;
    send_with(client, request).await
}

/// [`send`] over a client of the caller's own (one with its own TLS settings, made by [`build_client`]).
///
/// # Errors
/// As [`send`].
pub async fn send_with(client: &reqwest::Client, request: Request<'_>) -> Result<Answer, PollFailure> {
    check_literal_address(request.url)?;
    let deadline = tokio::time::Instant::now() + request.timeout;
    let max_body = request.max_body;
    let exchange = async {
        let built = build(client, request)?;
        let response = client.execute(built).await.map_err(|error| failure(&error))?;
        read(response, max_body).await
    };
    tokio::time::timeout_at(deadline, exchange)
        .await
        .unwrap_or_else(|_| Err(PollFailure::new(FailureReason::Timeout, "no complete answer in time")))
}

fn build(client: &reqwest::Client, request: Request<'_>) -> Result<reqwest::Request, PollFailure> {
    let mut builder = client.request(request.method, request.url.clone());
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    if request.keep == Keep::Close {
        builder = builder.header(CONNECTION, "close");
    }
    if let Some(credential) = request.credential {
        let (name, value) = header_of(credential)?;
        builder = builder.header(name, value);
    }
    if let Some(body) = request.body {
        builder = builder.body(body);
    }
    builder.build().map_err(|error| failure(&error))
}

fn header_of(credential: &Credential) -> Result<(HeaderName, HeaderValue), PollFailure> {
    use base64::Engine;
    let denied = |text: String| PollFailure::new(FailureReason::Denied, text);
    let read = |secret: &SecretRef| secret.read().map_err(|error| denied(error.to_string()));
    let (name, text) = match credential {
        Credential::Bearer(secret) => (AUTHORIZATION, format!("Bearer {}", read(secret)?.expose())),
        Credential::Basic { username, password } => {
            let pair = format!("{username}:{}", read(password)?.expose());
            (AUTHORIZATION, format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
        }
        Credential::Header { name, value } => {
            let name =
                HeaderName::try_from(name.as_str()).map_err(|_| denied(format!("{name:?} is not a header name")))?;
            (name, read(value)?.expose().to_string())
        }
    };
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| denied("the secret holds a character that no header may hold".into()))?;
    value.set_sensitive(true);
    Ok((name, value))
}

async fn read(mut response: reqwest::Response, max_body: usize) -> Result<Answer, PollFailure> {
    let too_large = || PollFailure::new(FailureReason::TooLarge, format!("the answer is larger than {max_body} bytes"));
    let declared = response.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > max_body as u64) {
        return Err(too_large());
    }
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > max_body {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    let body = match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => body.freeze(),
        Some(b"gzip" | b"x-gzip") => gunzip(&body, max_body)?,
        // Prometheus' remote protocols say so of their messages; whoever reads one undoes it, under a cap of its own.
        Some(b"snappy") => body.freeze(),
        Some(other) => {
            let text = format!("content encoding {:?} was not asked for", String::from_utf8_lossy(other));
            return Err(PollFailure::new(FailureReason::Malformed, text));
        }
    };
    Ok(Answer { status, headers, body })
}

/// Decompresses with the cap on what comes *out*: a gzip bomb ends at the cap.
fn gunzip(body: &[u8], max_body: usize) -> Result<Bytes, PollFailure> {
    let mut plain = Vec::new();
    let limit = max_body as u64 + 1;
    let result = flate2::read::MultiGzDecoder::new(body).take(limit).read_to_end(&mut plain);
    result.map_err(|error| PollFailure::new(FailureReason::Malformed, format!("bad gzip: {error}")))?;
    if plain.len() > max_body {
        let text = format!("the answer is larger than {max_body} bytes after decompression");
        return Err(PollFailure::new(FailureReason::TooLarge, text));
    }
    Ok(plain.into())
}

/// A client with house rules; TLS settings can be added by `adjust`.
///
/// # Errors
/// `Bug` when the TLS backend cannot start.
pub fn build_client(
    network: Network,
    keep: Keep,
    adjust: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, PollFailure> {
    let idle = match keep {
        Keep::Close => 0,
        Keep::Alive => 1,
    };
    let builder = reqwest::Client::builder()
        .user_agent(concat!("davylamp/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .http1_max_headers(100)
        .pool_max_idle_per_host(idle)
        .dns_resolver(GuardedResolver(network));
    adjust(builder).build().map_err(|error| PollFailure::new(FailureReason::Bug, format!("cannot set up TLS: {error}")))
}

/// One client per combination for the whole process: a client of its own costs a target 148 kB.
fn client(network: Network, keep: Keep) -> Result<&'static reqwest::Client, PollFailure> {
    static CLIENTS: [OnceLock<reqwest::Client>; 4] = [const { OnceLock::new() }; 4];
    let slot = &CLIENTS[usize::from(network == Network::Public) * 2 + usize::from(keep == Keep::Alive)];
    if slot.get().is_none() {
        // Two threads may both build one; the first to finish wins and the other is dropped.
        let _ = slot.set(build_client(network, keep, |builder| builder)?);
    }
    slot.get().ok_or_else(|| PollFailure::new(FailureReason::Bug, "no HTTP client"))
}

/// The reason behind a transport error, with the whole chain of causes as its text and no URL (it may hold a token).
fn failure(error: &reqwest::Error) -> PollFailure {
    let mut causes = Vec::new();
    let mut reason = if error.is_timeout() { FailureReason::Timeout } else { FailureReason::Unreachable };
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if cause.is::<Forbidden>() {
            reason = FailureReason::Denied;
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            reason = FailureReason::Malformed;
        }
        causes.push(cause.to_string());
        next = cause.source();
    }
    let text = if causes.is_empty() {
        error.to_string().split(" for url").next().unwrap_or_default().into()
    } else {
        causes.join(": ")
    };
    PollFailure::new(reason, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let wait = |pairs: &[(&'static str, &'static str)]| {
            let headers =
                pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
            Answer { status: 429, headers, body: Bytes::new() }.success().unwrap_err().retry_after
        };
        let (date, later) = (("date", "Wed, 21 Oct 2015 07:28:00 GMT"), "Wed, 21 Oct 2015 07:29:30 GMT");
        assert_eq!(wait(&[("retry-after", "120")]), Some(Duration::from_secs(120)));
        assert_eq!(wait(&[("retry-after", later), date]), Some(Duration::from_secs(90)));
        assert_eq!(wait(&[("retry-after", "99999999999")]), Some(MAX_RETRY_AFTER));
        for useless in ["soon", "-1", later] {
            assert_eq!(wait(&[("retry-after", useless)]), None, "{useless}");
        }
    }

    #[test]
    fn a_gzip_bomb_ends_at_the_cap() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![0_u8; 1 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert_eq!(gunzip(&bomb, 1000).unwrap_err().reason, FailureReason::TooLarge);
        assert_eq!(gunzip(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        assert_eq!(gunzip(b"nonsense", 1000).unwrap_err().reason, FailureReason::Malformed);
    }
}
