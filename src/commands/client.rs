//! The command line's way to a running daemon: its own address and token, from the configuration.

use std::time::Duration;

use anyhow::{Context, bail};
use davylamp::collect::http::{Answer, Credential, Request, send};
use davylamp::config::Config;
use davylamp::model::FailureReason;
use serde::de::DeserializeOwned;
use url::Url;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Asks a running daemon.
pub struct Client {
    base: Url,
    credential: Option<Credential>,
}

impl Client {
    /// The daemon of a configuration, or the one at `DAVYLAMP_URL`. One that listens everywhere is asked on loopback.
    pub fn of(config: &Config) -> anyhow::Result<Client> {
        let credential = config.file.server.token.clone().map(Credential::Bearer);
        if let Ok(url) = std::env::var("DAVYLAMP_URL") {
            return Ok(Client { base: Url::parse(&url).context("DAVYLAMP_URL")?, credential });
        }
        let mut address = config.file.server.listen;
        if address.ip().is_unspecified() {
            let loopback = if address.is_ipv4() { "127.0.0.1" } else { "::1" };
            address.set_ip(loopback.parse()?);
        }
        Ok(Client { base: Url::parse(&format!("http://{address}"))?, credential })
    }

    /// Reads something; `None` when no daemon listens.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        let url = self.base.join(path)?;
        match self.ask(Request::get(&url, TIMEOUT)).await? {
            Some(answer) => {
                Ok(Some(serde_json::from_slice(&answer.body).context("the daemon answered something else")?))
            }
            None => Ok(None),
        }
    }

    async fn ask(&self, request: Request<'_>) -> anyhow::Result<Option<Answer>> {
        let request = Request { credential: self.credential.as_ref(), max_body: MAX_ANSWER, ..request };
        let answer = match send(request).await {
            Ok(answer) => answer,
            Err(failure) if failure.reason == FailureReason::Unreachable => return Ok(None),
            Err(failure) => bail!("{}: {failure}", self.base),
        };
        if (200..300).contains(&answer.status) {
            return Ok(Some(answer));
        }
        // Our errors are problem JSON.
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        bail!("{}", problem["detail"].as_str().unwrap_or("the daemon refused without a word"))
    }
}
