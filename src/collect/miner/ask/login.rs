//! Logins that give a token: asked for once, kept, and asked for again when the device refuses it.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::collect::http::{Answer, Ask, Site};
use crate::model::{FailureReason, PollFailure};
use crate::secret::SecretRef;

/// Longest token that is kept, in bytes.
const MAX_TOKEN: usize = 4096;

/// How a family logs in.
#[derive(Clone, Copy)]
pub struct Flow {
    /// The request, from user and password.
    pub request: fn(&str, &str) -> LoginRequest,
    /// The token in the answer; `None` when there is none in it.
    pub token: fn(&Answer) -> Option<String>,
    /// The header that carries the token, and what stands in front of it (`Bearer `).
    pub header: (&'static str, &'static str),
    /// Whether an answer says that the token is no longer good.
    pub refuses: fn(&Answer) -> bool,
}

/// For devices that refuse with a status.
pub const BY_STATUS: fn(&Answer) -> bool = |answer| matches!(answer.status, 401 | 403);

/// The cookies that an answer sets, as they are sent back; `None` where it sets none.
pub fn cookies(answer: &Answer) -> Option<String> {
    let set = answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    let pairs: Vec<&str> = set.filter_map(|cookie| cookie.split(';').next()).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

/// A login request.
pub struct LoginRequest {
    /// `GET`, `POST`.
    pub method: &'static str,
    /// Path with its query.
    pub path: String,
    /// `content-type`, where there is a body.
    pub content: &'static str,
    /// Body.
    pub body: Option<String>,
}

/// A user of a device that wants a token.
pub struct Login {
    flow: Flow,
    username: String,
    password: SecretRef,
    token: Mutex<Option<String>>,
}

impl Login {
    /// A user, where the password stands, and how the family logs in.
    pub fn new(flow: Flow, username: impl Into<String>, password: SecretRef) -> Self {
        Login { flow, username: username.into(), password, token: Mutex::default() }
    }

    /// Sends a request with the token, logging in first where there is none, and once more if it is refused.
    ///
    /// # Errors
    /// As [`Site::send`]; `Denied` when the login is refused or the password cannot be read.
    pub async fn send(&self, site: &Site, ask: Ask<'_>, deadline: Instant) -> Result<Answer, PollFailure> {
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = &kept {
            let answer = self.attempt(site, ask, token, deadline).await?;
            if !(self.flow.refuses)(&answer) {
                return Ok(answer);
            }
        }
        let token = self.log_in(site, deadline).await?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        self.attempt(site, ask, &token, deadline).await
    }

    async fn attempt(&self, site: &Site, ask: Ask<'_>, token: &str, by: Instant) -> Result<Answer, PollFailure> {
        let (name, prefix) = self.flow.header;
        let value = format!("{prefix}{token}");
        let mut headers = ask.headers.to_vec();
        headers.push((name, &value));
        site.send(Ask { headers: &headers, ..ask }, by).await
    }

    async fn log_in(&self, site: &Site, deadline: Instant) -> Result<String, PollFailure> {
        let denied = |text: String| PollFailure::new(FailureReason::Denied, text);
        let password = self.password.read().map_err(|error| denied(error.to_string()))?;
        let request = (self.flow.request)(&self.username, password.expose());
        let headers = [("content-type", request.content)];
        let ask = Ask {
            method: request.method,
            path: &request.path,
            headers: if request.body.is_some() { &headers } else { &[] },
            credential: None,
            body: request.body.as_deref().map(str::as_bytes),
        };
        let answer = site.send(ask, deadline).await?;
        if matches!(answer.status, 400 | 401 | 403) {
            return Err(denied(format!(
                "the device refused the login (HTTP {}): check username and password",
                answer.status
            )));
        }
        let token = (self.flow.token)(&answer).filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN);
        // A login form sends on to the first page, with a cookie.
        let answer = match (&token, answer.status) {
            (None, 300..=399 | 429) => answer.success()?,
            _ => answer,
        };
        token.ok_or_else(|| {
            // Some refuse with status 200 and a reason; what is no answer of theirs at all is no refusal either.
            let answered = answer.status < 500 && serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok();
            let reason = if answered { FailureReason::Denied } else { FailureReason::Malformed };
            PollFailure::new(reason, format!("the device gave no token (HTTP {})", answer.status))
        })
    }
}
