//! A person's word: who may let a run go, by name or by a one-time link.
//!
//! A link holds 32 random bytes; only their digest is kept, it is compared in constant time, and it is forgotten with
//! the first decision. Looking at a link changes nothing: mail scanners follow links.

use std::io::Read;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of a token.
const TOKEN: usize = 32;

/// The approval of a run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Approval {
    /// When it is too late, milliseconds since the epoch.
    pub expires_at: i64,
    /// When somebody was told that it is wanted.
    pub asked_at: Option<i64>,
    /// Digest of the token in the links, hexadecimal; gone once it was used.
    token_sha256: Option<String>,
    /// Who decided, in their own words.
    pub by: Option<String>,
    /// When.
    pub decided_at: Option<i64>,
    /// What they decided.
    pub decision: Option<Decision>,
}

/// What a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may run.
    Approve,
    /// It may not.
    Reject,
}

impl Approval {
    /// An approval that is wanted until a time.
    pub fn wanted(expires_at: i64) -> Approval {
        Approval { expires_at, asked_at: None, token_sha256: None, by: None, decided_at: None, decision: None }
    }

    /// Makes a new token, which replaces the one before, and returns it. It is nowhere else.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new_token(&mut self) -> std::io::Result<String> {
        let mut bytes = [0_u8; TOKEN];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.token_sha256 = Some(digest(&token));
        Ok(token)
    }

    /// Whether a token is the one that was handed out, unused and in time.
    pub fn accepts(&self, token: &str, now: i64) -> bool {
        let Some(kept) = self.token_sha256.as_ref().filter(|_| self.decision.is_none() && now < self.expires_at) else {
            return false;
        };
        // Digests have one length, so neither the comparison's time nor its end says anything about the token.
        digest(token).as_bytes().ct_eq(kept.as_bytes()).into()
    }

    /// Notes a decision. The token is used up by it.
    pub fn decide(&mut self, decision: Decision, by: &str, now: i64) {
        self.token_sha256 = None;
        (self.by, self.decided_at, self.decision) = (Some(by.to_string()), Some(now), Some(decision));
    }

    /// Takes the links out of force.
    pub fn forget_token(&mut self) {
        self.token_sha256 = None;
    }

    /// In words.
    pub fn describe(&self) -> String {
        match (self.decision, &self.by, self.decided_at) {
            (Some(Decision::Approve), Some(by), Some(at)) => format!("by {by:?} at {at}"),
            (Some(Decision::Reject), Some(by), Some(at)) => format!("refused by {by:?} at {at}"),
            _ => format!("wanted until {}", self.expires_at),
        }
    }
}

fn digest(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_works_once_in_time_and_is_not_kept() {
        let mut approval = Approval::wanted(100);
        assert!(!approval.accepts("", 1), "none was handed out");
        let first = approval.new_token().unwrap();
        let token = approval.new_token().unwrap();
        assert_eq!(token.len(), 2 * TOKEN);
        assert!(!serde_json::to_string(&approval).unwrap().contains(&token));
        assert!(approval.accepts(&token, 99) && !approval.accepts(&token, 100));
        assert!(!approval.accepts(&first, 1) && !approval.accepts(&token[1..], 1) && !approval.accepts("", 1));
        approval.decide(Decision::Approve, "ops", 5);
        assert!(!approval.accepts(&token, 6), "used");
        assert_eq!(approval.describe(), "by \"ops\" at 5");
    }
}
