//! A letter in a service's own form, and its way there: over HTTP or SMTP, and what an answer means.

use std::time::Duration;

use url::Url;

use crate::collect::http::{Call, Caller};
use crate::model::PollFailure;
use crate::secret::SecretError;

/// A letter, written for one service.
pub enum Parcel<'a> {
    /// Over HTTP.
    Http(HttpParcel<'a>),
    /// Over SMTP.
    Mail(Box<super::receiver::email::Mail>),
}

/// A POST. No `Debug`: URL, headers and body may hold a token.
pub struct HttpParcel<'a> {
    /// Through which door.
    pub caller: &'a Caller,
    /// Where to.
    pub url: Url,
    /// Headers beside the content type, which is JSON.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Why a letter did not arrive. Holds no secret, and nothing of the letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It may arrive when it is sent again.
    #[error("{reason}")]
    Retry {
        /// What happened.
        reason: String,
        /// How long the service asks to wait.
        after: Option<Duration>,
    },
    /// Sending it again as it is does not help.
    #[error("{reason}")]
    Refused {
        /// What happened.
        reason: String,
    },
}

impl Fault {
    /// One that a later try may heal.
    pub fn retry(reason: impl std::fmt::Display) -> Self {
        Fault::Retry { reason: reason.to_string(), after: None }
    }

    /// One that no try heals.
    pub fn refused(reason: impl std::fmt::Display) -> Self {
        Fault::Refused { reason: reason.to_string() }
    }
}

/// A secret that cannot be read may be there in a minute: it is being rotated.
impl From<SecretError> for Fault {
    fn from(error: SecretError) -> Self {
        Fault::retry(error)
    }
}

/// A transport that failed may work the next time; an address that may not be talked to, never.
impl From<PollFailure> for Fault {
    fn from(failure: PollFailure) -> Self {
        match failure.reason {
            crate::model::FailureReason::Denied => Fault::Refused { reason: failure.detail },
            _ => Fault::Retry { reason: failure.detail, after: failure.retry_after },
        }
    }
}

impl Parcel<'_> {
    /// Sends it once.
    ///
    /// # Errors
    /// [`Fault`], which says whether another try may help.
    pub async fn send(self) -> Result<(), Fault> {
        match self {
            Parcel::Mail(mail) => mail.send().await,
            Parcel::Http(parcel) => {
                let mut headers = vec![("content-type", "application/json".to_string())];
                headers.extend(parcel.headers);
                let call = Call { method: "POST", url: &parcel.url, headers: &headers, body: Some(parcel.body) };
                let answer = parcel.caller.call(call).await?;
                verdict(answer.status, answer.retry_after(), &answer.body)
            }
        }
    }
}

/// What a status means: too many requests and the service's own failures pass, everything else is our mistake.
fn verdict(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Result<(), Fault> {
    match status {
        200..=299 => Ok(()),
        429 => Err(Fault::Retry {
            reason: "HTTP 429: too many requests".to_string(),
            after: retry_after.or_else(|| said_in_body(body)),
        }),
        408 | 425 | 500..=599 => Err(Fault::Retry { reason: format!("HTTP {status}"), after: retry_after }),
        300..=399 => Err(Fault::refused(format!("HTTP {status}: redirects are not followed"))),
        401 | 403 | 404 => Err(Fault::refused(format!("HTTP {status}: check URL and credential"))),
        status => Err(Fault::refused(format!("HTTP {status}"))),
    }
}

/// Telegram and Discord say it in JSON: `parameters.retry_after`, `retry_after`, in seconds.
fn said_in_body(body: &[u8]) -> Option<Duration> {
    let said: serde_json::Value = serde_json::from_slice(body).ok()?;
    let seconds = said.pointer("/parameters/retry_after").or(said.get("retry_after"))?.as_f64()?;
    Duration::try_from_secs_f64(seconds).ok().map(|wait| wait.min(Duration::from_secs(3600)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_is_repeated_only_where_it_helps() {
        let again = |status| matches!(verdict(status, None, b""), Err(Fault::Retry { .. }));
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(again(status), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 405, 410, 413, 422] {
            assert!(!again(status) && verdict(status, None, b"").is_err(), "{status}");
        }
        assert!(verdict(200, None, b"").is_ok() && verdict(202, None, b"").is_ok());
    }

    #[test]
    fn the_time_to_wait_is_believed_in_all_its_forms() {
        let wait =
            |header: Option<u64>, body: &str| match verdict(429, header.map(Duration::from_secs), body.as_bytes()) {
                Err(Fault::Retry { after, .. }) => after,
                other => panic!("{other:?}"),
            };
        assert_eq!(wait(Some(7), ""), Some(Duration::from_secs(7)));
        assert_eq!(wait(None, r#"{"ok":false,"parameters":{"retry_after":5}}"#), Some(Duration::from_secs(5)));
        assert_eq!(wait(None, r#"{"retry_after":0.5}"#), Some(Duration::from_millis(500)));
        assert_eq!(wait(None, r#"{"retry_after":-1}"#), None);
        assert_eq!(wait(None, r#"{"retry_after":1e12}"#), Some(Duration::from_secs(3600)));
    }
}
