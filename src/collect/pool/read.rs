//! The documents of a pool, told apart by what they hold, and what a pool says instead of one.

use serde_json::Value;

use super::account::Account;
use super::families;
use super::fetch::{AT, FAILED};
use crate::collect::cloud::document;
use crate::collect::miner::values::Fields;
use crate::collect::{ParseError, Reply};
use crate::model::Reading;

/// What a pool's documents mean: fills the account, and says whether there was anything of one.
pub type Reader = fn(&Documents, &mut Account) -> bool;

/// The documents that are known at present.
pub struct Documents(Vec<Value>);

impl Documents {
    /// The first document that holds an object or list called `key`, or what is found below `path` of it.
    pub fn with(&self, path: &[&str], key: &str) -> Option<Fields<'_>> {
        self.0.iter().find_map(|page| {
            let inner = path.iter().try_fold(page, |value, key| value.get(*key))?;
            Fields::of(inner).filter(|fields| fields.get(&[key]).is_some())
        })
    }
}

/// Reads what was given in the polls so far, of an account whose amounts are of this coin.
///
/// # Errors
/// [`ParseError`] for a document that is none, for a refusal, and where nothing is told of an account.
pub fn parse(replies: &[Reply], reader: Reader, coin: &str) -> Result<Reading, ParseError> {
    let mut reading = Reading::default();
    let mut pages = Vec::new();
    for reply in replies {
        let text = || String::from_utf8_lossy(&reply.body);
        if let Some(name) = reply.request.strip_suffix(AT) {
            let at: f64 = text().trim().parse().unwrap_or(f64::NAN);
            reading.put(&families::DATA, &[("document", name)], at);
            let failed = replies.iter().any(|reply| reply.request.strip_suffix(FAILED) == Some(name));
            if !failed {
                reading.put(&families::UP, &[("document", name)], 1.0);
            }
        } else if let Some(name) = reply.request.strip_suffix(FAILED) {
            reading.put(&families::UP, &[("document", name)], 0.0);
            reading.notes.push(format!("{name}: {}", text()));
        } else {
            pages.push(page(reply)?);
        }
    }
    let mut account = Account::default();
    if !reader(&Documents(pages), &mut account) {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        return Err(ParseError::Malformed { request, reason: "nothing of an account is in it".to_string() });
    }
    account.put(&mut reading, coin);
    Ok(reading)
}

/// One document, unless the pool says in it why there is none.
///
/// # Errors
/// [`ParseError`] for what is no document, and for a refusal.
pub fn page(reply: &Reply) -> Result<Value, ParseError> {
    let request = || reply.request.clone();
    let malformed = |reason: String| ParseError::Malformed { request: request(), reason };
    let value = document(reply)?;
    let Some(fields) = Fields::of(&value) else { return Err(malformed("not a JSON object".to_string())) };
    let code = fields.nonzero("code");
    let said = fields.text_of(&["detail", "error", "message", "msg"]);
    match said {
        Some(reason) if reason.to_ascii_lowercase().contains("auth") => {
            Err(ParseError::Denied { request: request(), reason })
        }
        Some(reason) if code.is_some() || fields.0.len() == 1 => Err(malformed(format!("the pool says: {reason}"))),
        None if code.is_some() => Err(malformed(format!("the pool says code {}", code.unwrap_or_default()))),
        _ => Ok(value),
    }
}
