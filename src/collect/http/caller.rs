//! A service that is called again and again with requests that differ: what we send alerts and messages through.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::tls::TlsClient;
use super::{Answer, Credential, Keep, Network, Request, TlsOptions, send, send_with};
use crate::model::{FailureReason, PollFailure};

/// Largest answer that is read unless [`Caller::reading`] says more: most services say a line or two.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// What all calls of one service have in common.
pub struct Caller {
    credential: Option<Credential>,
    tls: Option<TlsClient>,
    network: Network,
    timeout: Duration,
    max_answer: usize,
}

/// One call.
pub struct Call<'a> {
    /// `GET`, `POST`.
    pub method: &'static str,
    /// Where to. May hold a token: it is in no error's text.
    pub url: &'a Url,
    /// Headers of this call.
    pub headers: &'a [(&'static str, String)],
    /// Body, if it has one.
    pub body: Option<Vec<u8>>,
}

impl Caller {
    /// A caller; no I/O.
    pub fn new(credential: Option<Credential>, tls: Option<TlsOptions>, network: Network, timeout: Duration) -> Self {
        Caller { credential, tls: tls.map(TlsClient::new), network, timeout, max_answer: MAX_ANSWER }
    }

    /// The same, with answers of up to so many bytes.
    pub fn reading(self, max_answer: usize) -> Self {
        Caller { max_answer, ..self }
    }

    /// Sends one request. A status of failure is an answer.
    ///
    /// # Errors
    /// A [`PollFailure`] for everything that kept an answer from arriving whole.
    pub async fn call(&self, call: Call<'_>) -> Result<Answer, PollFailure> {
        let bug = |text: &str| PollFailure::new(FailureReason::Bug, text);
        let mut headers = Vec::new();
        for (name, value) in call.headers {
            let mut value = HeaderValue::try_from(value).map_err(|_| bug("a header holds what no header may"))?;
            value.set_sensitive(true);
            headers.push((HeaderName::from_static(name), value));
        }
        let request = Request {
            method: reqwest::Method::try_from(call.method).map_err(|_| bug("not a method of HTTP"))?,
            url: call.url,
            headers: &headers,
            credential: self.credential.as_ref(),
            body: call.body,
            max_body: self.max_answer,
            timeout: self.timeout,
            network: self.network,
            keep: Keep::Alive,
        };
        match &self.tls {
            None => send(request).await,
            Some(tls) => send_with(&tls.get(self.network, Keep::Alive).await?, request).await,
        }
    }
}
