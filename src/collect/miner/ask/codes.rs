//! The doors of AxeOS and its relatives: a password in front of everything or of what changes something, and one-time codes
//! in front of what changes something.
//!
//! The codes are those of every authenticator app: RFC 6238 with HMAC-SHA-1, six digits, steps of 30 seconds. A code opens
//! a session, whose token goes with each message, because a device takes each code once. Sources: `otp/doc.md` of the
//! NerdQAxe firmware, `http_auth.c` of ESP-Miner.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use tokio::time::Instant;

use super::super::options::Options;
use crate::collect::http::{Answer, Ask, Credential, Site};
use crate::model::{FailureReason, PollFailure};
use crate::secret::{Secret, SecretRef};

/// Where a session is opened: the path of today, and that of 1.1.
const SESSIONS: [&str; 2] = ["/api/otp/session", "/api/v2/otp/session"];
/// How long a session is asked for, in milliseconds: longer than any command may take.
const SESSION_MILLIS: &str = "130000";
/// Longest token that is kept, in bytes; a real one has 73.
const MAX_TOKEN: usize = 256;
/// Length of a step in seconds.
const STEP: u64 = 30;
/// Shortest key, in bytes: with less, any text would do as one.
const LEAST_KEY: usize = 10;

/// What such a device is shown.
pub struct Codes {
    credential: Option<Credential>,
    source: Source,
    token: Mutex<Option<Secret>>,
}

/// Where codes come from.
enum Source {
    Nowhere,
    /// The secret that an authenticator app has read off the display.
    Seed(SecretRef),
    /// By hand.
    Given(Secret),
}

impl Codes {
    /// What the options of a target hold; a code that was given by hand comes first.
    pub fn new(options: &Options, given: Option<&Secret>) -> Self {
        // The firmware ignores the name.
        let username = options.username.clone().unwrap_or_else(|| "admin".to_string());
        let credential = options.password.clone().map(|password| Credential::Basic { username, password });
        let source = match (given, &options.otp) {
            (Some(code), _) => Source::Given(code.clone()),
            (None, Some(seed)) => Source::Seed(seed.clone()),
            (None, None) => Source::Nowhere,
        };
        Codes { credential, source, token: Mutex::default() }
    }

    /// Sends a request with what opens its door.
    ///
    /// # Errors
    /// As [`Site::send`]; `Denied`, with what to do about it, when the device refuses us.
    pub async fn send(&self, site: &Site, ask: Ask<'_>, deadline: Instant) -> Result<Answer, PollFailure> {
        let token = if ask.method == "GET" { None } else { self.session(site, deadline).await? };
        let mut headers = ask.headers.to_vec();
        headers.extend(token.as_ref().map(|token| ("x-otp-session", token.expose())));
        let answer = self.attempt(site, Ask { headers: &headers, ..ask }, deadline).await?;
        if answer.status == 401 { Err(denied(self.refusal(&answer))) } else { Ok(answer) }
    }

    async fn attempt(&self, site: &Site, ask: Ask<'_>, deadline: Instant) -> Result<Answer, PollFailure> {
        site.send(Ask { credential: self.credential.as_ref(), ..ask }, deadline).await
    }

    /// The token of a session; `None` without a code, and where the device knows none or does not ask for them.
    async fn session(&self, site: &Site, deadline: Instant) -> Result<Option<Secret>, PollFailure> {
        if let Some(token) = &*self.token.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Some(token.clone()));
        }
        let codes = self.codes()?;
        for path in SESSIONS {
            let mut refused = false;
            for code in &codes {
                let headers =
                    [("x-totp", code.expose()), ("x-otp-session-ttl", SESSION_MILLIS), ("content-length", "0")];
                let ask = Ask { method: "POST", headers: &headers, ..Ask::get(path) };
                let answer = self.attempt(site, ask, deadline).await?;
                match answer.status {
                    200 => {
                        let token = token(&answer).ok_or_else(|| denied("it gave no session for the code".into()))?;
                        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
                        return Ok(Some(token));
                    }
                    401 if said(&answer).contains("totp") => refused = true,
                    401 => return Err(denied(self.refusal(&answer))),
                    // No such path, or codes are switched off.
                    _ => break,
                }
            }
            if refused {
                return Err(denied(WRONG_CODE.to_string()));
            }
        }
        Ok(None)
    }

    /// The codes to try: that of now, and its neighbours, which a device takes too and which may still be unused.
    fn codes(&self) -> Result<Vec<Secret>, PollFailure> {
        match &self.source {
            Source::Nowhere => Ok(Vec::new()),
            Source::Given(code) => Ok(vec![code.clone()]),
            Source::Seed(seed) => {
                let text = seed.read().map_err(|error| denied(error.to_string()))?;
                let key = key(text.expose()).ok_or_else(|| denied(NO_SEED.to_string()))?;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) / STEP;
                Ok([now, now + 1, now.saturating_sub(1)].map(|step| code(&key, step)).to_vec())
            }
        }
    }

    /// What an answer of 401 means, and what to do about it.
    fn refusal(&self, answer: &Answer) -> String {
        let said = said(answer);
        let text = match (&self.credential, &self.source) {
            _ if said.contains("blocked") => "after too many wrong one-time codes it takes none for five minutes",
            (_, Source::Nowhere) if said.contains("otp") => {
                "the device wants a one-time code: name its secret in options.otp, or give the code that its app shows with --code"
            }
            _ if said.contains("otp") => "the device does not take the session that the one-time code opened",
            (None, _) if said.contains("authrequired") || answer.headers.contains_key("www-authenticate") => {
                "the device wants its password: options.password is missing"
            }
            (Some(_), _) => "options.password (or options.username) is not what it wants",
            (None, _) => {
                "check the credential; AxeOS without a password refuses callers from outside 10/8, 172.16/12 and 192.168/16"
            }
        };
        format!("HTTP 401: {text}")
    }
}

const WRONG_CODE: &str = "the device refused the one-time code: it takes each code once, its clock may differ from this machine's, \
                          or the secret is another device's";
const NO_SEED: &str =
    "options.otp is no secret of one-time codes: base32 text (letters and 2 to 7), or otpauth://… as a whole";

fn denied(text: String) -> PollFailure {
    PollFailure::new(FailureReason::Denied, text)
}

/// The beginning of what it said, in lower case.
fn said(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body[..answer.body.len().min(256)]).to_lowercase()
}

fn token(answer: &Answer) -> Option<Secret> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let token = body.get("token")?.as_str()?;
    (!token.is_empty() && token.len() <= MAX_TOKEN).then(|| Secret::new(token))
}

/// The key in base32 text or in an `otpauth://` address, as a device shows it.
fn key(text: &str) -> Option<Vec<u8>> {
    let address = text.trim().strip_prefix("otpauth://").map(|rest| rest.split_once('?').unwrap_or_default().1);
    let text = match address {
        Some(query) => query.split('&').find_map(|part| part.strip_prefix("secret="))?,
        None => text,
    };
    let (mut key, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for byte in text.bytes().filter(|byte| !matches!(byte, b' ' | b'-' | b'=')) {
        let value = match byte.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        (bits, held) = ((bits << 5 | u32::from(value)) & 0xfff, held + 5);
        if held >= 8 {
            held -= 8;
            key.push((bits >> held) as u8);
        }
    }
    (LEAST_KEY..=64).contains(&key.len()).then_some(key)
}

/// The code of a step.
fn code(key: &[u8], step: u64) -> Secret {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag.last().copied().unwrap_or_default() & 0xf);
    let four = tag.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
    Secret::new(format!("{:06}", (four & 0x7fff_ffff) % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six of its eight digits.
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(b"12345678901234567890", seconds / STEP).expose(), expected, "{seconds}");
        }
    }

    #[test]
    fn a_secret_is_read_as_people_have_it() {
        let expected = Some(b"12345678901234567890".to_vec());
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            " gezd gnbv gy3t qojq-gezd gnbv gy3t qojq== ",
            "otpauth://totp/NerdQAxe%2B%2B:rig?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=NerdQAxe%2B%2B",
        ] {
            assert_eq!(key(text), expected, "{text}");
        }
        for text in ["", "123456", "GEZDGNBV", "otpauth://totp/rig", "GEZDGNBVGY3TQOJQ0", &"A".repeat(200)] {
            assert_eq!(key(text), None, "{text}");
        }
    }
}
