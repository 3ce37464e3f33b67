//! One configured URL with everything that belongs to it. The credential cannot leave it: it is bound to this URL,
//! nobody else can read it, and redirects are not followed.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderName, HeaderValue};
use url::Url;

use super::tls::TlsClient;
use super::{Answer, Credential, Keep, Network, Request, TlsOptions, send, send_with};
use crate::collect::{OptionDoc, OptionError, Reply};
use crate::model::PollFailure;

/// `credential`, for the option table of a kind.
pub const CREDENTIAL_DOC: OptionDoc = OptionDoc {
    name: "credential",
    help: "bearer: SECRET | basic: {username, password: SECRET} | header: {name, value: SECRET}",
};
/// `tls`, for the option table of a kind.
pub const TLS_DOC: OptionDoc =
    OptionDoc { name: "tls", help: "for https: ca_file, cert_file, key_file, insecure_skip_verify" };
/// `network`, for the option table of a kind.
pub const NETWORK_DOC: OptionDoc = OptionDoc {
    name: "network",
    help: "lan: private addresses are right; public: they are refused. Default: public for https to a name with a dot \
           that does not end in .local, .lan, .home.arpa, .internal or .localhost, else lan",
};
/// `gzip`, for the option table of a kind.
pub const GZIP_DOC: OptionDoc =
    OptionDoc { name: "gzip", help: "whether to ask for a compressed answer; default true" };
/// `keep_alive`, for the option table of a kind.
pub const KEEP_ALIVE_DOC: OptionDoc =
    OptionDoc { name: "keep_alive", help: "whether to keep the connection between polls; default true" };

/// What the options of a kind say about its request.
#[derive(Debug)]
pub struct Settings {
    /// `GET`, `POST`, …
    pub method: String,
    /// Extra headers; none of those that the client or the credential sets.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub body: Option<String>,
    /// Credential.
    pub credential: Option<Credential>,
    /// TLS settings, for https.
    pub tls: Option<TlsOptions>,
    /// Which addresses are allowed; guessed from the URL if absent.
    pub network: Option<Network>,
    /// Whether to keep the connection.
    pub keep: Keep,
    /// Whether to ask for a compressed answer.
    pub gzip: bool,
    /// Largest body, in bytes, as sent and after decompression.
    pub max_body: usize,
    /// Longest time for the whole exchange.
    pub timeout: Duration,
}

/// A checked request that can be sent again and again.
pub struct Endpoint {
    url: Url,
    method: reqwest::Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<String>,
    credential: Option<Credential>,
    tls: Option<TlsClient>,
    network: Network,
    keep: Keep,
    max_body: usize,
    timeout: Duration,
}

/// Headers that are the client's, and those that carry secrets: these belong under `credential`, by reference.
const CLIENT_HEADERS: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade"];
const SECRET_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Reads a URL of the configuration; `option` is where it stands.
///
/// # Errors
/// [`OptionError`] for everything but http and https, for a user or password, and for a fragment. Never quotes the
/// password.
pub fn checked_url(text: &str, option: &str) -> Result<Url, OptionError> {
    let fault = |message: String| OptionError::new(option, message);
    let url = Url::parse(text).map_err(|error| fault(format!("not a URL ({error}): write http://host:port/path")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(fault(format!("{:?} is not http or https", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault(
            "holds a user or password: write them under options.credential, the password by reference".into(),
        ));
    }
    if url.fragment().is_some() {
        return Err(fault("holds a #fragment, which is never sent".into()));
    }
    Ok(url)
}

impl Endpoint {
    /// Checks the settings of a request to `url` (from [`checked_url`]); no I/O.
    ///
    /// # Errors
    /// [`OptionError`] below `options`.
    pub fn open(url: Url, settings: Settings) -> Result<Self, OptionError> {
        let network = settings.network.unwrap_or_else(|| Network::guess(&url));
        check_credential(&url, network, settings.credential.as_ref())?;
        if let Some(tls) = &settings.tls {
            if url.scheme() != "https" {
                return Err(OptionError::new("options.tls", "the URL is http: write https"));
            }
            tls.check("options.tls")?;
        }
        let method = settings.method.to_ascii_uppercase();
        let method = match method.as_str() {
            "GET" | "POST" | "PUT" | "HEAD" if settings.body.is_none() => method,
            "POST" | "PUT" => method,
            "GET" | "HEAD" => return Err(OptionError::new("options.body", format!("{method} has no body: use POST"))),
            _ => return Err(OptionError::new("options.method", format!("{method:?} is not GET, HEAD, POST or PUT"))),
        };
        let method = reqwest::Method::try_from(method.as_str())
            .map_err(|_| OptionError::new("options.method", "not a method of HTTP"))?;
        let mut headers = Vec::new();
        for (name, value) in &settings.headers {
            headers.push(checked_header(name, value)?);
        }
        if settings.gzip {
            headers.push((ACCEPT_ENCODING, HeaderValue::from_static("gzip")));
        }
        if settings.max_body == 0 {
            return Err(OptionError::new("options.max_body", "is 0 bytes: no answer would fit"));
        }
        let Settings { body, credential, tls, keep, max_body, timeout, .. } = settings;
        let tls = tls.map(TlsClient::new);
        Ok(Endpoint { url, method, headers, body, credential, tls, network, keep, max_body, timeout })
    }

    /// Sends the request and returns the body of a successful answer. The reply is named by method and path: a query
    /// may hold a key.
    ///
    /// # Errors
    /// A [`PollFailure`], also for every status that is no success.
    pub async fn ask(&self) -> Result<Reply, PollFailure> {
        let body = self.body.clone().map(String::into_bytes);
        let answer = self.exchange(&self.headers, body).await?.success()?;
        let request = format!("{} {}", self.method, self.url.path());
        Ok(Reply { request, status: Some(answer.status), body: answer.body })
    }

    /// Sends this body with headers of the caller's own beside the configured ones. Every status is an answer.
    ///
    /// # Errors
    /// A [`PollFailure`] for everything that kept an answer from arriving whole.
    pub async fn post(&self, own: &[(&'static str, &'static str)], body: Vec<u8>) -> Result<Answer, PollFailure> {
        let own = own.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers: Vec<_> = self.headers.iter().cloned().chain(own).collect();
        self.exchange(&headers, Some(body)).await
    }

    async fn exchange(
        &self,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, PollFailure> {
        let request = Request {
            method: self.method.clone(),
            url: &self.url,
            headers,
            credential: self.credential.as_ref(),
            body,
            max_body: self.max_body,
            timeout: self.timeout,
            network: self.network,
            keep: self.keep,
        };
        match &self.tls {
            None => send(request).await,
            Some(tls) => send_with(&tls.get(self.network, self.keep).await?, request).await,
        }
    }
}

fn checked_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), OptionError> {
    let fault = |message: &str| OptionError::new(format!("options.headers.{name}"), message);
    let header = HeaderName::try_from(name).map_err(|_| fault("is not a header name"))?;
    if SECRET_HEADERS.contains(&header.as_str()) {
        return Err(fault("may hold a secret: write it under options.credential, by reference"));
    }
    if CLIENT_HEADERS.contains(&header.as_str()) {
        return Err(fault("is set by davylamp itself"));
    }
    let value = HeaderValue::try_from(value).map_err(|_| fault("its value holds a character that no header may"))?;
    Ok((header, value))
}

fn check_credential(url: &Url, network: Network, credential: Option<&Credential>) -> Result<(), OptionError> {
    let Some(credential) = credential else { return Ok(()) };
    if let Credential::Header { name, .. } = credential
        && HeaderName::try_from(name.as_str()).is_err()
    {
        return Err(OptionError::new("options.credential.header.name", format!("{name:?} is not a header name")));
    }
    if network == Network::Public && url.scheme() == "http" {
        let text = "would cross the internet in clear: write https, or `network: lan` for a machine of your own";
        return Err(OptionError::new("options.credential", text));
    }
    Ok(())
}
