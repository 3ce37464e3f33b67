//! One machine and many paths: what a device with a web interface of its own needs. The address rules, TLS settings and
//! caps are those of the machine; a credential is never sent anywhere else, because redirects are not followed.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use tokio::time::Instant;
use url::Url;

use super::tls::TlsClient;
use super::{Answer, Credential, Keep, Network, Request, TlsOptions, send, send_with};
use crate::collect::OptionError;
use crate::model::{FailureReason, PollFailure};

/// A machine that is asked over HTTP.
pub struct Site {
    base: Url,
    /// Few machines have it; a place for it in each would cost a hundred bytes.
    tls: Option<Box<TlsClient>>,
    keep: Keep,
    max_body: usize,
}

/// One request to a [`Site`].
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// Path with its query.
    pub path: &'a str,
    /// Extra headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Credential.
    pub credential: Option<&'a Credential>,
    /// Body.
    pub body: Option<&'a [u8]>,
}

impl<'a> Ask<'a> {
    /// A plain GET.
    pub fn get(path: &'a str) -> Self {
        Ask { method: "GET", path, headers: &[], credential: None, body: None }
    }

    /// A POST with a JSON body.
    pub fn post_json(path: &'a str, body: &'a [u8]) -> Self {
        Ask {
            method: "POST",
            path,
            headers: &[("content-type", "application/json")],
            credential: None,
            body: Some(body),
        }
    }
}

impl Site {
    /// Reads `host`, `host:port`, `http://…` or `https://…` without a path. With `tls` settings, https is the default.
    ///
    /// # Errors
    /// [`OptionError`] at `address` or below `options.tls`.
    pub fn open(
        address: &str,
        default_port: u16,
        tls: Option<TlsOptions>,
        keep: Keep,
        max_body: usize,
    ) -> Result<Self, OptionError> {
        let scheme = match address.split_once("://") {
            Some((scheme, _)) => scheme,
            None if tls.is_some() => "https",
            None => "http",
        };
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        let wrong = |what: &str| {
            // What stands in front of an @ may be a password.
            let shown = rest.rsplit('@').next().unwrap_or_default();
            OptionError::new("address", format!("{shown:?} {what}; write a host, host:port or https://host:port"))
        };
        if !matches!(scheme, "http" | "https") {
            return Err(wrong(&format!("begins with {scheme}://, which is not http or https")));
        }
        let base = Url::parse(&format!("{scheme}://{rest}"));
        let base = base.map_err(|error| wrong(&format!("is no address: {error}")))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("holds a user or password"));
        }
        if !matches!(base.path(), "" | "/") || base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("holds a path"));
        }
        if let Some(tls) = &tls {
            if scheme != "https" {
                return Err(OptionError::new("options.tls", "the address is http: write https"));
            }
            tls.check("options.tls")?;
        }
        let mut base = base;
        // The parser drops the port that is its scheme's default, whatever ours is.
        let default = if scheme == "https" && default_port == 80 { 443 } else { default_port };
        let spelled = rest.trim_end_matches('/').rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !spelled && base.set_port(Some(default)).is_err() {
            return Err(OptionError::new("address", "takes no port"));
        }
        let tls = tls.map(|tls| Box::new(TlsClient::new(tls)));
        Ok(Site { base, tls, keep, max_body })
    }

    /// Host and port.
    pub fn place(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        format!("{host}:{}", self.base.port_or_known_default().unwrap_or_default())
    }

    /// Sends a request and returns the answer, whatever its status.
    ///
    /// # Errors
    /// A [`PollFailure`] for everything that kept an answer from arriving whole before `deadline`.
    pub async fn send(&self, ask: Ask<'_>, deadline: Instant) -> Result<Answer, PollFailure> {
        let bug = |what: String| PollFailure::new(FailureReason::Bug, what);
        let malformed = |what: String| PollFailure::new(FailureReason::Malformed, what);
        // A query may hold a password.
        let shown = ask.path.split('?').next().unwrap_or_default();
        let url = self.base.join(ask.path).map_err(|error| bug(format!("{shown:?}: {error}")))?;
        // Joining "//other/" would leave this machine.
        if url.host() != self.base.host() || url.port() != self.base.port() {
            return Err(bug(format!("{shown:?} is no path of this machine")));
        }
        let mut headers = Vec::with_capacity(ask.headers.len());
        for (name, value) in ask.headers {
            let name = HeaderName::try_from(*name).map_err(|error| bug(format!("{name:?}: {error}")))?;
            // A token that a device gave us may hold anything.
            let text = || format!("the value for {name} holds a character that no header may");
            let mut value = HeaderValue::try_from(*value).map_err(|_| malformed(text()))?;
            value.set_sensitive(true);
            headers.push((name, value));
        }
        let method = reqwest::Method::try_from(ask.method).map_err(|error| bug(error.to_string()))?;
        let timeout = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let request = Request {
            method,
            headers: &headers,
            credential: ask.credential,
            body: ask.body.map(<[u8]>::to_vec),
            max_body: self.max_body,
            network: Network::Lan,
            keep: self.keep,
            ..Request::get(&url, timeout)
        };
        match &self.tls {
            None => send(request).await,
            Some(tls) => send_with(&tls.get(Network::Lan, self.keep).await?, request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(address: &str, port: u16, tls: bool) -> Result<String, OptionError> {
        let tls = tls.then(TlsOptions::default);
        Site::open(address, port, tls, Keep::Close, 1000).map(|site| format!("{} {}", site.base.scheme(), site.place()))
    }

    #[test]
    fn an_address_may_say_its_scheme_and_port() {
        for (address, port, tls, expected) in [
            ("10.0.0.5", 80, false, "http 10.0.0.5:80"),
            ("10.0.0.5", 4028, false, "http 10.0.0.5:4028"),
            ("10.0.0.5:80", 4028, false, "http 10.0.0.5:80"),
            ("10.0.0.5", 80, true, "https 10.0.0.5:443"),
            ("https://rig.lan", 80, false, "https rig.lan:443"),
            ("https://rig.lan:8443/", 80, true, "https rig.lan:8443"),
            ("[fd00::1]:81", 80, false, "http [fd00::1]:81"),
        ] {
            assert_eq!(open(address, port, tls).unwrap(), expected, "{address}");
        }
        for (address, tls, part) in [
            ("http://rig", true, "write https"),
            ("rig/api", false, "holds a path"),
            ("root:x@rig", false, "user or password"),
            ("ftp://rig", false, "not http or https"),
        ] {
            let error = open(address, 80, tls).unwrap_err();
            assert!(error.to_string().contains(part), "{address}: {error}");
        }
    }

    #[tokio::test]
    async fn a_path_cannot_lead_to_another_machine() {
        let site = Site::open("127.0.0.1:9", 80, None, Keep::Close, 1000).unwrap();
        let answer = site.send(Ask::get("//192.0.2.1/"), Instant::now() + Duration::from_secs(1)).await;
        assert_eq!(answer.unwrap_err().reason, FailureReason::Bug);
    }
}
