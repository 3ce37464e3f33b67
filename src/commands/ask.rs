//! Asks a running daemon over HTTP: where it is and what its token is stand in its own configuration.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, bail};
use serde_json::Value;
use url::Url;

use super::{load, small_runtime};
use crate::args::tell::DaemonArgs;
use davylamp::collect::http::{Call, Caller, Credential, Network, checked_url};
use davylamp::model::{FailureReason, PollFailure, Series};
use davylamp::secret::SecretRef;
use davylamp::wire::{self, ReadQuery};

/// Longest time for one request: longer than the daemon gives a query.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(130);

/// Largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Samples of one answer, and its bytes after decompression: more than a daemon sends.
const MOST_SAMPLES: usize = 2_000_000;
const MOST_BYTES: usize = 128 << 20;

/// Why no samples came.
pub struct Refused {
    /// In words.
    pub text: String,
    /// A shorter time might help.
    pub too_much: bool,
    /// Nobody is there.
    pub silent: bool,
}

/// A daemon that can be asked.
pub struct Daemon {
    base: Url,
    caller: Caller,
}

impl Daemon {
    /// From the command line, or from the configuration. A URL alone does not need a configuration.
    pub fn find(args: &DaemonArgs) -> anyhow::Result<Self> {
        let alone = args.url.is_some() && (args.token_file.is_some() || !args.config.exists());
        let config = if alone { None } else { Some(load(&args.config)?) };
        let server = config.as_ref().map(|config| &config.file.server);
        let base = match (&args.url, server) {
            (None, Some(server)) => {
                let mut address = server.listen;
                if address.ip().is_unspecified() {
                    let v4 = address.is_ipv4();
                    address.set_ip(if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
                }
                format!("http://{address}")
            }
            (url, _) => url.clone().unwrap_or_default(),
        };
        let token = args.token_file.clone().map(SecretRef::File);
        let token = token.or(server.and_then(|server| server.token.clone()));
        let base = checked_url(&base, "--url").map_err(|error| anyhow::anyhow!("--url: {}", error.message))?;
        let caller = Caller::new(token.map(Credential::Bearer), None, Network::Lan, TIMEOUT).reading(MAX_ANSWER);
        Ok(Daemon { base, caller })
    }

    /// Whether anybody is there at all, whatever they would say.
    pub fn is_silent(&self) -> bool {
        let heard = small_runtime().map(|runtime| runtime.block_on(self.call("GET", "/-/healthy", None)));
        matches!(heard, Ok(Ok(Err(failure))) if failure.reason == FailureReason::Unreachable)
    }

    /// Where it is, or would be.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// One request; the answer as JSON, null where there is none.
    pub fn ask(&self, method: &'static str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let said = small_runtime()?.block_on(self.call(method, path, body));
        said?.map_err(|silence| anyhow::anyhow!("{} does not answer: {silence}", self.base))
    }

    /// As [`Daemon::ask`], for one who waits among other things: within, why nobody answers.
    pub async fn call(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Result<Value, PollFailure>> {
        let url = Url::parse(&format!("{}{path}", self.base.as_str().trim_end_matches('/')))?;
        let headers = [("content-type", "application/json".to_string())];
        let call = Call { method, url: &url, headers: &headers, body: body.map(|body| body.to_string().into_bytes()) };
        let answer = match self.caller.call(call).await {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if !(200..=299).contains(&answer.status) {
            let detail =
                said.as_str().or(said["detail"].as_str()).or(said["error"].as_str()).unwrap_or("it does not say why");
            bail!("HTTP {}: {detail}", answer.status);
        }
        Ok(Ok(said))
    }

    /// Raw samples by remote read.
    ///
    /// # Errors
    /// [`Refused`], with whether a shorter time might help.
    pub fn samples(&self, query: &ReadQuery) -> Result<Vec<Series>, Refused> {
        let refused = |text: String| Refused { text, too_much: false, silent: false };
        let url = Url::parse(&format!("{}/api/v1/read", self.base.as_str().trim_end_matches('/')))
            .map_err(|error| refused(error.to_string()))?;
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")]
            .map(|(name, value)| (name, value.to_string()));
        let body = wire::compress(&wire::write_read_query(query)).map_err(|error| refused(error.to_string()))?;
        let runtime = small_runtime().map_err(|error| refused(error.to_string()))?;
        let call = Call { method: "POST", url: &url, headers: &headers, body: Some(body) };
        let answer = runtime.block_on(self.caller.call(call)).map_err(|failure| Refused {
            text: format!("{} does not answer: {failure}", self.base),
            too_much: matches!(failure.reason, FailureReason::TooLarge | FailureReason::Timeout),
            silent: failure.reason == FailureReason::Unreachable,
        })?;
        if answer.status != 200 {
            let text = String::from_utf8_lossy(&answer.body).chars().take(500).collect::<String>();
            let text = format!("{}: HTTP {}: {text}", self.base, answer.status);
            return Err(Refused { text, too_much: matches!(answer.status, 422 | 503), silent: false });
        }
        let caps = wire::Caps { samples: MOST_SAMPLES, decompressed: MOST_BYTES, ..wire::Caps::unlimited() };
        let read = wire::decompress(&answer.body, &caps).and_then(|body| wire::read_result(&body, &caps));
        read.map_err(|error| refused(format!("{}: {error}", self.base)))
    }

    /// As [`Daemon::ask`], read into a type.
    pub fn read<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let said = self.ask("GET", path, None)?;
        serde_json::from_value(said).with_context(|| format!("{}{path} says something else", self.base))
    }
}
