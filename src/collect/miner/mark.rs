//! How a family is recognised from the answers to a few cheap questions that change nothing and need no login. Each
//! family says so beside its row in `KINDS`; [`MARKS`] is the table. Recognising is pure: same answers, same kinds.

use serde_json::Value;

use super::repair;
use super::{antminer, auradine, avalon, axeos, braiins, cgminer, elphapex, epic, futurebit, goldshell, hammer};
use super::{iceriver, innosilicon, luxos, marathon, mskminer, proto, sealminer, vnish, whatsminer, xmrig};
use crate::collect::Reply;

/// A protocol that devices wait on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// cgminer's TCP API.
    Rpc,
    /// The web interface.
    Http,
    /// JSON with its length in front of it.
    Framed,
}

/// Which of several kinds that fit is meant: the higher one. Firmware that replaces the maker's keeps some of its
/// answers, and nearly everything speaks cgminer's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A program that runs on many machines.
    Program,
    /// The maker's own firmware.
    Stock,
    /// Firmware of somebody else on a maker's machine.
    Firmware,
}

/// The marks of one kind.
#[derive(Clone, Copy)]
pub struct Mark {
    /// Name in `KINDS`.
    pub kind: &'static str,
    /// Against other kinds that fit.
    pub rank: Rank,
    /// The protocol that the kind polls by.
    pub door: Door,
    /// The port that the kind polls unless its target's address says another.
    pub port: u16,
    /// Whether an answer bears the mark.
    pub bears: fn(&Clue) -> bool,
}

/// One answer, as marks look at it. Everything in it is the device's word.
#[derive(Clone, Debug, PartialEq)]
pub struct Clue {
    /// Through which door it came.
    pub door: Door,
    /// And by which port.
    pub port: u16,
    /// HTTP status.
    pub status: Option<u16>,
    /// `WWW-Authenticate` and `Location`, where a web interface refuses or sends elsewhere.
    pub headers: String,
    text: String,
    document: Value,
}

impl Clue {
    /// Reads an answer; what is no JSON, even repaired, is looked at as text.
    pub fn new(door: Door, port: u16, reply: &Reply, headers: String) -> Self {
        let document = repair::read(&reply.body).map(|read| read.value).unwrap_or_default();
        let text = if document.is_null() { String::from_utf8_lossy(&reply.body).into_owned() } else { String::new() };
        Clue { door, port, status: reply.status, headers, text, document }
    }

    /// What stands at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.document.pointer(pointer)
    }

    /// Whether something stands at each of these pointers.
    pub fn holds(&self, pointers: &[&str]) -> bool {
        pointers.iter().all(|pointer| self.at(pointer).is_some())
    }

    /// The text at a JSON pointer; empty where there is none.
    pub fn word(&self, pointer: &str) -> &str {
        self.at(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether a page that is no JSON holds `words`.
    pub fn page_says(&self, words: &str) -> bool {
        self.text.contains(words)
    }

    /// Whether the web interface asks for a password in the name of `realm`.
    pub fn asks_as(&self, realm: &str) -> bool {
        self.status == Some(401) && self.headers.contains(&format!("realm=\"{realm}"))
    }

    /// The model as the `version` of Bitmain's and kindred firmware names it.
    pub fn model_begins(&self, maker: &str) -> bool {
        self.word("/VERSION/0/Type").starts_with(maker)
    }

    /// Whether what `version` of cgminer's API and its relatives tells of the program holds `name`, in whatever case.
    pub fn names_itself(&self, name: &str) -> bool {
        let parts = ["/VERSION/0", "/STATUS/0"].into_iter().filter_map(|at| self.at(at)?.as_object());
        let mut texts = parts.flat_map(|part| part.values()).filter_map(Value::as_str);
        texts.any(|text| text.to_ascii_lowercase().contains(name))
    }

    /// Whether it is HTTP that answered where another protocol was spoken.
    pub fn is_http(&self) -> bool {
        self.text.starts_with("HTTP/")
    }
}

/// All marks. Of two that bear the same rank, the first is preferred.
pub const MARKS: &[Mark] = &[
    axeos::MARK,
    braiins::MARK_GRAPHQL,
    braiins::MARK,
    braiins::MARK_RPC,
    vnish::MARK,
    luxos::MARK,
    mskminer::MARK,
    marathon::MARK,
    epic::MARK,
    antminer::MARK,
    whatsminer::MARK_V3,
    whatsminer::MARK,
    avalon::MARK,
    auradine::MARK,
    elphapex::MARK,
    hammer::MARK,
    sealminer::MARK,
    goldshell::MARK,
    proto::MARK,
    iceriver::MARK,
    innosilicon::MARK,
    futurebit::MARK,
    xmrig::MARK,
    cgminer::MARK,
];

/// The kinds whose marks these answers bear, the best first, and nothing of a lower rank than the best: a device whose
/// own kind does not answer now must not be taken for something else.
pub fn recognise(clues: &[Clue]) -> Vec<&'static Mark> {
    recognise_where(clues, |_, _| true)
}

/// [`recognise`], where `expects` says whether a kind may be recognised by an answer that came from there.
pub fn recognise_where(clues: &[Clue], expects: impl Fn(&Mark, &Clue) -> bool) -> Vec<&'static Mark> {
    let bears = |mark: &Mark| clues.iter().any(|clue| expects(mark, clue) && (mark.bears)(clue));
    let mut fitting: Vec<&Mark> = MARKS.iter().filter(|mark| bears(mark)).collect();
    let best = fitting.iter().map(|mark| mark.rank).max();
    fitting.retain(|mark| Some(mark.rank) == best);
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clue(door: Door, status: Option<u16>, headers: &str, body: &str) -> Clue {
        let reply = Reply { status, ..Reply::new("x", body.as_bytes().to_vec()) };
        Clue::new(door, 80, &reply, headers.to_string())
    }

    fn kinds(clues: &[Clue]) -> Vec<&'static str> {
        recognise(clues).iter().map(|mark| mark.kind).collect()
    }

    #[test]
    fn firmware_that_replaces_the_makers_wins() {
        let stock = r#"{"STATUS":[{}],"VERSION":[{"API":"3.1","Type":"Antminer S19","Miner":"x"}]}"#;
        let stock = clue(Door::Rpc, None, "", stock);
        let vnish = clue(Door::Http, Some(200), "", r#"{"fw_name":"Vnish","fw_version":"1.2.6"}"#);
        let plain = clue(Door::Rpc, None, "", r#"{"STATUS":[{}],"VERSION":[{"API":"3.7","CGMiner":"4.11.1"}]}"#);
        assert_eq!(kinds(&[stock.clone(), vnish]), ["vnish"]);
        assert_eq!(kinds(&[stock]), ["antminer"]);
        assert_eq!(kinds(&[plain]), ["cgminer"]);
        let luxos = r#"{"STATUS":[{}],"VERSION":[{"API":"3.7","Type":"Antminer S19k Pro","LUXminer":"2025.4"}]}"#;
        assert_eq!(kinds(&[clue(Door::Rpc, None, "", luxos)]), ["luxos"]);
    }

    #[test]
    fn a_closed_web_interface_names_its_maker() {
        let closed = |realm: &str| clue(Door::Http, Some(401), &format!("Digest realm=\"{realm}\", nonce=\"1\" "), "");
        assert_eq!(kinds(&[closed("antMiner Configuration")]), ["antminer"]);
        assert_eq!(kinds(&[closed("blackMiner Configuration")]), ["hammer"]);
        assert_eq!(kinds(&[closed("blockMiner Configuration")]), ["elphapex"]);
        assert_eq!(kinds(&[closed("Router")]), [""; 0]);
        let open = clue(Door::Http, Some(200), "Digest realm=\"antMiner Configuration\" ", "");
        assert_eq!(kinds(&[open]), [""; 0], "only where a password is asked for");
    }

    #[test]
    fn strangers_are_nothing() {
        for body in
            ["", "<html><title>Router</title></html>", "{}", "[1,2]", "null", "{\"version\":\"1\"}", "HTTP/1.1 400"]
        {
            assert_eq!(kinds(&[clue(Door::Http, Some(200), "", body)]), [""; 0], "{body}");
        }
    }
}
