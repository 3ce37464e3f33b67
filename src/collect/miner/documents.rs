//! The envelope of cgminer's API and its relatives': status, code and sections; one document per reply, or several in the
//! combined form.

mod text;

use serde_json::Value;

use super::repair;
use super::values::{Fields, clean};
use crate::collect::command::CommandError;
use crate::collect::{ParseError, Reply};

/// "No devices": the answer of a miner whose boards are all gone, and no failure of the poll.
const NO_DEVICES: f64 = 10.0;
/// "Access denied".
const DENIED: f64 = 45.0;
/// Most notes, and most names of sections, that are told of one poll: a hostile reply could hold thousands.
const MAX_REMARKS: usize = 16;
/// Most sections beside the usual ones that are kept of one poll; the richest firmware sends a dozen.
const MAX_SECTIONS: usize = 64;
/// A refusal is shorter than this; what is longer need not be read twice.
const LONGEST_REFUSAL: usize = 512;

/// Everything one poll brought, sorted by section.
#[derive(Debug, Default)]
pub struct Sections {
    /// `SUMMARY`
    pub summary: Option<Value>,
    /// `POOLS`
    pub pools: Vec<Value>,
    /// `DEVS`
    pub devs: Vec<Value>,
    /// `VERSION`
    pub version: Option<Value>,
    /// `COIN`
    pub coin: Option<Value>,
    /// Everything else, by the name of its section, in the order in which it came.
    pub others: Vec<(String, Vec<Value>)>,
    /// The device's clock when it answered, in seconds since the epoch.
    pub when: Option<f64>,
    /// Program and version, as the envelope says them.
    pub description: String,
    /// What a person should know: repairs, refusals.
    pub notes: Vec<String>,
    refusal: Option<ParseError>,
}

impl Sections {
    /// Reads all replies of a poll; what cannot be read is kept as a note, and as the refusal of [`Self::refused`].
    pub fn read(replies: &[Reply]) -> Self {
        let mut sections = Sections::default();
        for reply in replies {
            if let Err(error) = sections.add_reply(reply) {
                sections.refuse(error);
            }
        }
        sections.notes.truncate(MAX_REMARKS);
        sections
    }

    /// Whether anything was measured: a summary, pools or devices.
    pub fn measured(&self) -> bool {
        self.summary.is_some() || self.coin.is_some() || !self.pools.is_empty() || !self.devs.is_empty()
    }

    /// The entries of a section that has no field of its own; of several with one name, the first.
    pub fn list(&self, name: &str) -> &[Value] {
        self.others.iter().find(|(known, _)| known == name).map_or(&[], |(_, items)| items)
    }

    /// Why there is nothing to read in the replies, for the caller who found that: the refusal that says most, or that
    /// none of the sections called `wanted` is there.
    pub fn refused(self, replies: &[Reply], wanted: &str) -> ParseError {
        let request = replies.first().map(|reply| reply.request.clone()).unwrap_or_default();
        let found: Vec<&str> = self.others.iter().map(|(name, _)| &**name).take(MAX_REMARKS).collect();
        let only = if found.is_empty() { "" } else { ", only " };
        let reason = format!("no {wanted} in it{only}{}", found.join(", "));
        self.refusal.unwrap_or(ParseError::Malformed { request, reason })
    }

    /// Keeps the first refusal in case nothing else can be read; a denial says more than any other.
    fn refuse(&mut self, error: ParseError) {
        self.notes.push(error.to_string());
        if self.refusal.is_none() || matches!(error, ParseError::Denied { .. }) {
            self.refusal = Some(error);
        }
    }

    fn add_reply(&mut self, reply: &Reply) -> Result<(), ParseError> {
        let malformed = |reason: String| ParseError::Malformed { request: reply.request.clone(), reason };
        let root = match text::read(&reply.body) {
            Some(root) => root,
            None => {
                let repaired = repair::read(&reply.body).map_err(|error| malformed(error.to_string()))?;
                self.notes.extend(repaired.notes.iter().map(|note| format!("{}: {note}", reply.request)));
                repaired.value
            }
        };
        let Value::Object(map) = root else { return Err(malformed("not a JSON object".to_string())) };
        // The combined form: each command's name over a list with that command's whole document.
        let is_document = |value: &Value| value.get(0).is_some_and(|inner| inner.get("STATUS").is_some());
        if map.contains_key("STATUS") || !map.values().any(is_document) {
            return self.add_document(&reply.request, Value::Object(map));
        }
        for (command, inner) in map {
            let Value::Array(inner) = inner else { continue };
            let request = format!("{} ({command})", reply.request);
            for document in inner {
                if let Err(error) = self.add_document(&request, document) {
                    self.refuse(error);
                }
            }
        }
        Ok(())
    }

    fn add_document(&mut self, request: &str, document: Value) -> Result<(), ParseError> {
        let status = Status::of(&document);
        self.when = self.when.or(status.when);
        if self.description.is_empty() {
            self.description = status.description;
        }
        let Value::Object(map) = document else { return Ok(()) };
        for (name, value) in map {
            let Value::Array(items) = value else { continue };
            // bfgminer lists the details of devices under the same name as their state.
            let details = items.iter().any(|item| item.get("DEVDETAILS").is_some());
            match name.as_str() {
                "SUMMARY" => self.summary = items.into_iter().next(),
                "VERSION" => self.version = items.into_iter().next(),
                "COIN" => self.coin = items.into_iter().next(),
                "POOLS" => self.pools = items,
                "DEVS" if !details => self.devs = items,
                "STATUS" => {}
                "DEVS" => self.others.push(("DEVDETAILS".to_string(), items)),
                _ if self.others.len() < MAX_SECTIONS => self.others.push((name, items)),
                _ => {}
            }
        }
        let request = request.to_string();
        match status.code {
            _ if !status.refused => Ok(()),
            Some(NO_DEVICES) => {
                self.notes.push(format!("{request}: {}", status.message));
                self.others.push((format!("{:?}", status.message), Vec::new()));
                Ok(())
            }
            Some(DENIED) => Err(ParseError::Denied { request, reason: status.message }),
            code => {
                let reason = format!("refused with code {}: {}", code.unwrap_or_default(), status.message);
                Err(ParseError::Malformed { request, reason })
            }
        }
    }
}

/// The head of a document.
#[derive(Default)]
struct Status {
    refused: bool,
    code: Option<f64>,
    when: Option<f64>,
    message: String,
    description: String,
}

impl Status {
    /// A list with one object in cgminer, an object in some relatives, the document itself in others.
    fn of(document: &Value) -> Self {
        let head = match document.get("STATUS") {
            Some(Value::Array(list)) => list.first(),
            Some(Value::Object(_)) => document.get("STATUS"),
            _ => Some(document),
        };
        let Some(head) = head.and_then(Fields::of) else { return Status::default() };
        let text = |key: &str| head.text(key).unwrap_or_default();
        Status {
            refused: matches!(text("STATUS").as_str(), "E" | "F"),
            code: head.number("Code"),
            when: head.number("When").filter(|when| *when > 1.2e9),
            message: text("Msg"),
            description: text("Description"),
        }
    }
}

/// What the answer to a command that changes something says: nothing against it, or why not.
///
/// # Errors
/// A refusal, in the program's words; `Unknown` for an answer that cannot be read, because it may have been cut off after
/// the command was done.
pub fn taken(body: &[u8]) -> Result<(), CommandError> {
    let unclear = |error| CommandError::Unknown(format!("its answer cannot be read: {error}"));
    let status = Status::of(&repair::read(body).map_err(unclear)?.value);
    let why = || format!("the device refused: code {}: {}", status.code.unwrap_or_default(), clean(&status.message));
    if status.refused { Err(CommandError::Refused(why())) } else { Ok(()) }
}

/// What the head of a document says: `Summary`, `Unavailable`.
pub fn message(body: &[u8]) -> Option<String> {
    Some(Status::of(&repair::read(body).ok()?.value).message)
}

/// Whether a reply to the combined request is a refusal that the single commands may not meet. Access that is denied
/// to one is denied to all.
pub fn is_refused(body: &[u8]) -> bool {
    if body.len() > LONGEST_REFUSAL {
        return false;
    }
    let Ok(repaired) = repair::read(body) else { return false };
    let status = Status::of(&repaired.value);
    status.refused && status.code != Some(DENIED)
}
