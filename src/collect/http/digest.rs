//! HTTP Digest access authentication (RFC 7616, and RFC 2069 for old firmware): MD5 and SHA-256, `qop=auth` or none.
//!
//! The password never crosses the network, but MD5 of it does: on a network that others listen to, TLS is the answer.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use md5::{Digest as _, Md5};
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use sha2::Sha256;
use tokio::time::Instant;

use super::Answer;
use super::site::{Ask, Site};
use crate::model::{FailureReason, PollFailure};
use crate::secret::SecretRef;

/// Longest challenge that is read, in bytes.
const MAX_CHALLENGE: usize = 4096;

/// A user of a device with digest authentication. The device's challenge is kept, so that one request in many, not
/// every second one, is answered with 401.
pub struct Digest {
    username: String,
    password: SecretRef,
    kept: Mutex<Option<(Challenge, u32)>>,
}

impl Digest {
    /// A user and where the password stands.
    pub fn new(username: impl Into<String>, password: SecretRef) -> Self {
        Digest { username: username.into(), password, kept: Mutex::default() }
    }

    /// Sends a request, answering the challenge if there is one.
    ///
    /// # Errors
    /// As [`Site::send`]; `Denied` when the password cannot be read.
    pub async fn send(&self, site: &Site, ask: Ask<'_>, deadline: Instant) -> Result<Answer, PollFailure> {
        let known = self.next();
        let answer = self.attempt(site, ask, known.as_ref(), deadline).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let headers = answer.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges = headers.filter_map(|value| Challenge::read(value.to_str().ok()?));
        let Some(challenge) = challenges.max_by_key(|challenge| challenge.sha256) else { return Ok(answer) };
        // The same nonce again is no news: the password is wrong.
        if known.as_ref().is_some_and(|(before, _)| before.nonce == challenge.nonce) {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Ok(answer);
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((challenge, 0));
        self.attempt(site, ask, self.next().as_ref(), deadline).await
    }

    /// The kept challenge with the next count of its nonce.
    fn next(&self) -> Option<(Challenge, u32)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (challenge, count) = kept.as_mut()?;
        *count = count.wrapping_add(1);
        Some((challenge.clone(), *count))
    }

    async fn attempt(
        &self,
        site: &Site,
        ask: Ask<'_>,
        known: Option<&(Challenge, u32)>,
        deadline: Instant,
    ) -> Result<Answer, PollFailure> {
        let Some((challenge, count)) = known else { return site.send(ask, deadline).await };
        let password =
            self.password.read().map_err(|error| PollFailure::new(FailureReason::Denied, error.to_string()))?;
        let cnonce = format!("{:016x}", RandomState::new().hash_one(count));
        let user = (&*self.username, password.expose());
        let text = challenge.authorization(user, ask.method, ask.path, &cnonce, *count);
        let mut headers = ask.headers.to_vec();
        headers.push((AUTHORIZATION.as_str(), &*text));
        site.send(Ask { headers: &headers, ..ask }, deadline).await
    }
}

/// What a server asks for in `WWW-Authenticate: Digest …`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// The word of the algorithm as the server wrote it.
    algorithm: Option<String>,
    sha256: bool,
    /// Whether `qop=auth` is offered; without it the old form is used.
    qop: bool,
}

impl Challenge {
    /// Reads the header's value; `None` for other schemes and for algorithms that are not known.
    fn read(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") || rest.len() > MAX_CHALLENGE {
            return None;
        }
        let parts = parameters(rest);
        let part = |name: &str| parts.get(name).cloned();
        let algorithm = part("algorithm");
        let sha256 = match algorithm.as_deref().map(str::to_ascii_uppercase).as_deref() {
            None | Some("MD5") => false,
            Some("SHA-256") => true,
            Some(_) => return None,
        };
        let qop = match part("qop") {
            None => false,
            Some(list) if list.split(',').any(|word| word.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
        };
        Some(Challenge { realm: part("realm")?, nonce: part("nonce")?, opaque: part("opaque"), algorithm, sha256, qop })
    }

    fn hash(&self, text: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.sha256 { hex(&Sha256::digest(text)) } else { hex(&Md5::digest(text)) }
    }

    /// The value of `Authorization`.
    fn authorization(&self, user: (&str, &str), method: &str, uri: &str, cnonce: &str, count: u32) -> String {
        let Challenge { realm, nonce, .. } = self;
        let (name, password) = user;
        let who = self.hash(&format!("{name}:{realm}:{password}"));
        let what = self.hash(&format!("{method}:{uri}"));
        let response = if self.qop {
            self.hash(&format!("{who}:{nonce}:{count:08x}:{cnonce}:auth:{what}"))
        } else {
            self.hash(&format!("{who}:{nonce}:{what}"))
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{response}\"",
            quoted(name),
            quoted(realm),
            quoted(nonce)
        );
        if let Some(algorithm) = &self.algorithm {
            text.push_str(&format!(", algorithm={algorithm}"));
        }
        if let Some(opaque) = &self.opaque {
            text.push_str(&format!(", opaque=\"{}\"", quoted(opaque)));
        }
        if self.qop {
            text.push_str(&format!(", qop=auth, nc={count:08x}, cnonce=\"{cnonce}\""));
        }
        text
    }
}

/// `name=value` and `name="value"`, parted by commas; names in lower case.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let after = after.trim_start();
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_string(), &after[end..])
            }
        };
        parts.entry(name).or_insert(value);
        rest = behind;
    }
    parts
}

/// The text up to the closing quote, and what follows it.
fn quoted_string(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &text[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616, section 3.9.1.
    const RFC: &str = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=ALG, \
                       nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                       opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    #[test]
    fn answers_as_the_standard_says() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = Challenge::read(&RFC.replace("ALG", algorithm)).unwrap();
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let user = ("Mufasa", "Circle of Life");
            let text = challenge.authorization(user, "GET", "/dir/index.html", cnonce, 1);
            assert!(text.contains(&format!("response=\"{response}\"")), "{text}");
            assert!(text.contains("nc=00000001"), "{text}");
        }
    }

    #[test]
    fn old_firmware_offers_no_qop() {
        let challenge = Challenge::read("Digest realm=\"antMiner Configuration\",nonce=\"5f\", domain=\"/\"").unwrap();
        let text = challenge.authorization(("root", "root"), "GET", "/cgi-bin/stats.cgi", "c", 1);
        // md5(md5("root:antMiner Configuration:root"):5f:md5("GET:/cgi-bin/stats.cgi"))
        let inner = format!(
            "{}:5f:{}",
            challenge.hash("root:antMiner Configuration:root"),
            challenge.hash("GET:/cgi-bin/stats.cgi")
        );
        assert!(text.contains(&format!("response=\"{}\"", challenge.hash(&inner))), "{text}");
        assert!(!text.contains("cnonce"), "{text}");
    }

    #[test]
    fn other_schemes_and_algorithms_are_left_alone() {
        for text in ["Basic realm=\"x\"", "Digest realm=\"x\", nonce=\"y\", algorithm=SHA-512-256", "Digest", ""] {
            assert_eq!(Challenge::read(text), None, "{text}");
        }
        assert_eq!(Challenge::read("Digest realm=\"a \\\"b\\\"\", nonce=x").unwrap().realm, "a \"b\"");
    }
}
