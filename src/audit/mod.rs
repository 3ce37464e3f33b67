//! The audit log: what was done, by whom, why, and what came of it, in a chain that shows tampering. Pure.
//!
//! A record is one line with a digest and one line of JSON. The JSON holds the record's number and the digest of the one
//! before, and the digest is that of the JSON: to change, remove or reorder a record in the middle is to break the chain.
//! Who can write the whole database can still write another whole chain; against that, the head (number and digest) is
//! logged and exported, and [`Verifier::anchor`] checks a log against such a head from elsewhere.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Most faults that are reported; the rest is counted.
const MAX_FAULTS: usize = 20;
/// Longest JSON of a record, in bytes, below what the state takes. What is longer loses its facts, and says so.
const MAX_RECORD: usize = 200 * 1024;
/// The digest before the first record.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// What a record is called that says up to where the log was cut.
pub const CHECKPOINT: &str = "audit.checkpoint";

/// What is to be recorded.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// When, milliseconds since the epoch.
    pub at: i64,
    /// Who: `davylamp`, or a person's or client's own words.
    pub who: String,
    /// What: `run.claimed`, `api.write`, …
    pub what: String,
    /// To what: a run, a path.
    pub subject: String,
    /// Everything else.
    pub facts: Value,
}

/// The number and digest of a record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Link {
    /// Number, from 1.
    pub seq: u64,
    /// Digest, hexadecimal.
    pub hash: String,
}

impl Default for Link {
    fn default() -> Self {
        Link { seq: 0, hash: GENESIS.to_string() }
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl std::str::FromStr for Link {
    type Err = String;

    /// Reads `SEQ:HASH`, as it is logged.
    fn from_str(text: &str) -> Result<Link, String> {
        let wrong = || format!("{text:?} is no head of the audit log: write SEQ:HASH as the log shows it");
        let (seq, hash) = text.split_once(':').ok_or_else(wrong)?;
        let good = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let seq = seq.parse().ok().filter(|_| good).ok_or_else(wrong)?;
        Ok(Link { seq, hash: hash.to_ascii_lowercase() })
    }
}

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Number.
    pub seq: u64,
    /// Digest of the record before.
    pub prev: String,
    /// What was recorded.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Chains an entry to the record before. The new link, and the record's text.
pub fn seal(before: &Link, mut entry: Entry) -> (Link, String) {
    let seq = before.seq + 1;
    let mut json = text(seq, before, &entry);
    if json.len() > MAX_RECORD {
        entry.facts = serde_json::json!({"left_out": "the facts are larger than a record may be"});
        json = text(seq, before, &entry);
    }
    let hash = digest(json.as_bytes());
    let record = format!("{hash}\n{json}");
    (Link { seq, hash }, record)
}

fn text(seq: u64, before: &Link, entry: &Entry) -> String {
    // Text, numbers and JSON: this always becomes JSON.
    serde_json::to_string(&Record { seq, prev: before.hash.clone(), entry: entry.clone() }).unwrap_or_default()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a record without checking it.
pub fn parse(record: &str) -> Option<Record> {
    serde_json::from_str(record.split_once('\n')?.1).ok()
}

/// Reads a log record by record and finds what is wrong with it.
#[derive(Debug)]
pub struct Verifier {
    before: Link,
    /// Whether the log begins where it was cut, and nothing has confirmed yet that it was.
    cut: Option<Link>,
    records: u64,
    faults: Vec<String>,
    more: u64,
    anchors: Vec<Link>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Records that were read.
    pub records: u64,
    /// The last of them.
    pub head: Link,
    /// What is wrong, at most twenty.
    pub faults: Vec<String>,
    /// Faults that are not in the list.
    pub more: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl Verifier {
    /// A log that begins after `cut`, if anything was ever removed from it.
    pub fn new(cut: Option<Link>) -> Self {
        let before = cut.clone().unwrap_or_default();
        Verifier { before, cut, records: 0, faults: Vec::new(), more: 0, anchors: Vec::new() }
    }

    /// A head that was seen elsewhere and that the log must hold.
    pub fn anchor(&mut self, head: Link) {
        self.anchors.push(head);
    }

    fn fault(&mut self, text: String) {
        if self.faults.len() < MAX_FAULTS { self.faults.push(text) } else { self.more += 1 }
    }

    /// The next record, which stands under this number.
    pub fn take(&mut self, seq: u64, record: &str) {
        self.records += 1;
        let Some((hash, json)) = record.split_once('\n') else {
            return self.fault(format!("record {seq} is not one"));
        };
        if digest(json.as_bytes()) != hash {
            self.fault(format!("record {seq} was changed: its digest is another"));
        }
        match parse(record) {
            None => self.fault(format!("record {seq} cannot be read")),
            Some(found) => {
                if found.seq != seq {
                    self.fault(format!("record {seq} says that it is number {}: records were reordered", found.seq));
                }
                if seq != self.before.seq + 1 {
                    self.fault(format!("records {} to {} are missing", self.before.seq + 1, seq.saturating_sub(1)));
                } else if found.prev != self.before.hash {
                    self.fault(format!("record {seq} does not follow the one before it"));
                }
                let says = found.entry.what == CHECKPOINT;
                if says && serde_json::from_value(found.entry.facts).ok().as_ref() == self.cut.as_ref() {
                    self.cut = None;
                }
            }
        }
        self.before = Link { seq, hash: hash.to_string() };
        let wrong = self.anchors.iter().any(|anchor| anchor.seq == seq && anchor.hash != hash);
        if wrong {
            self.fault(format!("record {seq} is not the one that was seen elsewhere: the log was written anew"));
        }
        self.anchors.retain(|anchor| anchor.seq != seq);
    }

    /// The end of the log, whose head is said to be this.
    pub fn finish(mut self, head: &Link) -> Verdict {
        if self.before != *head {
            let (seq, last) = (head.seq, self.before.seq);
            self.fault(format!("the log ends with record {last}, and its head is record {seq}: the end was cut off"));
        }
        if let Some(cut) = self.cut.take() {
            self.fault(format!("the beginning up to record {} is gone, and no record says so", cut.seq));
        }
        for anchor in std::mem::take(&mut self.anchors) {
            if anchor.seq > self.before.seq {
                self.fault(format!("record {} was seen elsewhere and is missing: the end was cut off", anchor.seq));
            }
        }
        Verdict { records: self.records, head: self.before, faults: self.faults, more: self.more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(count: u64) -> (Vec<(u64, String)>, Link) {
        let (mut head, mut records) = (Link::default(), Vec::new());
        for number in 0..count {
            let facts = serde_json::json!({"n": number, "text": "a\nb"});
            let what = "run.claimed".to_string();
            let entry = Entry { at: 5, who: "davylamp".into(), what, subject: "run".into(), facts };
            let (link, record) = seal(&head, entry);
            records.push((link.seq, record));
            head = link;
        }
        (records, head)
    }

    fn faults(records: &[(u64, String)], head: &Link, anchor: Option<&Link>) -> Vec<String> {
        let mut verifier = Verifier::new(None);
        anchor.cloned().into_iter().for_each(|anchor| verifier.anchor(anchor));
        records.iter().for_each(|(seq, record)| verifier.take(*seq, record));
        verifier.finish(head).faults
    }

    #[test]
    fn a_whole_log_is_sound_and_every_change_of_it_is_not() {
        let (records, head) = log(10);
        assert_eq!(faults(&records, &head, Some(&head)), [""; 0]);
        assert_eq!(head.to_string().parse::<Link>().unwrap(), head);
        let mut changed = records.clone();
        changed[4].1 = changed[4].1.replace("\"n\":4", "\"n\":5");
        assert!(faults(&changed, &head, None)[0].contains("record 5 was changed"));
        // With its digest made right, the next one no longer follows.
        let json = changed[4].1.split_once('\n').unwrap().1.to_string();
        changed[4].1 = format!("{}\n{json}", digest(json.as_bytes()));
        assert!(faults(&changed, &head, None)[0].contains("record 6 does not follow"));
        let mut missing = records.clone();
        missing.remove(3);
        assert!(faults(&missing, &head, None)[0].contains("records 4 to 4 are missing"));
        let mut swapped = records.clone();
        (swapped[2].1, swapped[3].1) = (records[3].1.clone(), records[2].1.clone());
        assert!(faults(&swapped, &head, None)[0].contains("reordered"));
        let mut renumbered: Vec<_> =
            records.iter().enumerate().filter(|(n, _)| *n != 3).map(|(_, r)| r.clone()).collect();
        (1..).zip(&mut renumbered).for_each(|(seq, record)| record.0 = seq);
        assert!(!faults(&renumbered, &head, None).is_empty());
        assert!(faults(&records[..9], &head, None)[0].contains("the end was cut off"));
        assert!(faults(&records[2..], &head, None)[0].contains("records 1 to 2 are missing"));
        // Cut with its head: only a head from elsewhere knows.
        let (short, short_head) = log(9);
        assert_eq!(faults(&short, &short_head, None), [""; 0]);
        assert!(faults(&short, &short_head, Some(&head))[0].contains("record 10 was seen elsewhere"));
        let other = Link { seq: 3, hash: head.hash.clone() };
        assert!(faults(&records, &head, Some(&other))[0].contains("written anew"));
    }

    #[test]
    fn a_beginning_may_be_cut_if_the_log_says_so() {
        let (mut records, head) = log(10);
        let cut = Link { seq: 4, hash: records[3].1.split_once('\n').unwrap().0.to_string() };
        let facts = serde_json::to_value(&cut).unwrap();
        let entry = Entry { at: 6, who: "davylamp".into(), what: CHECKPOINT.into(), subject: String::new(), facts };
        let (after, record) = seal(&head, entry);
        let check = |records: &[(u64, String)], head: &Link| {
            let mut verifier = Verifier::new(Some(cut.clone()));
            records.iter().for_each(|(seq, record)| verifier.take(*seq, record));
            verifier.finish(head).faults
        };
        assert!(check(&records[4..], &head)[0].contains("no record says so"));
        records.push((after.seq, record));
        assert_eq!(check(&records[4..], &after), [""; 0]);
        assert!(check(&records[5..], &after)[0].contains("records 5 to 5 are missing"));
    }

    #[test]
    fn what_is_too_large_loses_its_facts_only() {
        let facts = serde_json::json!({"text": "x".repeat(MAX_RECORD)});
        let entry = Entry { at: 1, who: "w".into(), what: "run.failed".into(), subject: "s".into(), facts };
        let (_, record) = seal(&Link::default(), entry);
        assert!(record.len() < 1000 && record.contains("left_out") && parse(&record).is_some());
    }
}
