//! From a tree to a type, with every mistake at once and in words.
//!
//! serde stops at the first mistake. Here the faulty node is taken out or replaced and the tree is read again, until it
//! can be read; what is wrong below a node that was faulty already is not said a second time.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use serde_path_to_error::Segment;

use super::lines::{Step, display};
use crate::model::words;

/// Mistakes reported of one tree; one with more is the wrong file.
pub const MAX_MISTAKES: usize = 100;

/// A mistake in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as people read it; empty for the root.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The node that is not as it was written any more: whatever is found there or below is no mistake of the user's.
    pub broken: String,
}

/// Reads a tree. With mistakes, the value is a makeshift in which the rest can still be checked; `None` when not even
/// that can be made.
pub fn read<T: DeserializeOwned>(mut tree: Value) -> (Option<T>, Vec<Mistake>) {
    let mut mistakes: Vec<Mistake> = Vec::new();
    let mut repairs = 0;
    let mut tried: Option<(Vec<Step>, usize)> = None;
    loop {
        let error = match serde_path_to_error::deserialize(&tree) {
            Ok(value) => return (Some(value), mistakes),
            Err(error) => error,
        };
        repairs += 1;
        let message = error.inner().to_string();
        let mut path = steps(&tree, error.path());
        let at = display(&path);
        let missing = field(&message, "missing field ");
        let unknown = field(&message, "unknown field ");
        if let Some(name) = missing.or(unknown)
            && path.last() != Some(&Step::Key(name.to_string()))
        {
            path.push(Step::Key(name.to_string()));
        }
        let broken = display(&path);
        // What a mapping says once a key of it was taken out is our own doing.
        let own = |before: &Mistake| {
            let within = missing.is_none() && unknown.is_none() && is_below(&before.broken, &broken);
            is_below(&broken, &before.broken) || within
        };
        if !mistakes.iter().any(own) {
            let message = match path.last() {
                Some(Step::Key(key)) if message.contains(" variant `") && names_a_secret(key) => NO_SECRET.to_string(),
                _ => in_words(&message),
            };
            let path = if missing.is_some() { at } else { broken.clone() };
            mistakes.push(Mistake { path, message, broken });
        }
        if mistakes.len() > MAX_MISTAKES {
            let message = format!("more than {MAX_MISTAKES} mistakes; the rest is not shown");
            mistakes.truncate(MAX_MISTAKES);
            mistakes.push(Mistake { path: String::new(), message, broken: String::new() });
            return (None, mistakes);
        }
        let attempt = match &tried {
            // A key that is missing has been taken out, by the user or by us: next is the first makeshift.
            _ if missing.is_some() => 1,
            Some((before, attempt)) if *before == path => attempt + 1,
            _ => 0,
        };
        let repaired = repairs < 10 * MAX_MISTAKES && repair(&mut tree, &path, attempt, first_variant(&message));
        if !repaired {
            return (None, mistakes);
        }
        tried = Some((path, attempt));
    }
}

/// Whether `path` is `parent` or lies below it.
pub fn is_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| parent.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The way to a mistake, as far as serde told it and the tree has it.
fn steps(tree: &Value, path: &serde_path_to_error::Path) -> Vec<Step> {
    let mut node = Some(tree);
    let mut steps = Vec::new();
    for segment in path.iter() {
        let step = match segment {
            Segment::Seq { index } => Step::Index(*index),
            Segment::Map { key } => Step::Key(key.clone()),
            // A variant is a key only where it holds something; as a bare word it is the node itself.
            Segment::Enum { variant } if node.is_some_and(|node| node.get(variant).is_some()) => {
                Step::Key(variant.clone())
            }
            Segment::Enum { .. } | Segment::Unknown => break,
        };
        node = node.and_then(|node| match &step {
            Step::Index(index) => node.get(index),
            Step::Key(key) => node.get(key),
        });
        steps.push(step);
    }
    steps
}

/// Takes the node at `path` out, or puts something of another shape or a right word there; says whether there is any
/// hope left.
fn repair(tree: &mut Value, path: &[Step], attempt: usize, word: Option<&str>) -> bool {
    let makeshifts = [json!(""), json!([]), json!({}), json!(1), json!("1s"), json!(false)];
    let Some((last, parents)) = path.split_last() else {
        return makeshift(tree, &makeshifts[2..3], attempt);
    };
    let parent = parents.iter().try_fold(tree, |node, step| match step {
        Step::Index(index) => node.get_mut(index),
        Step::Key(key) => node.get_mut(key),
    });
    match (parent, last) {
        (Some(parent), _) if word.is_some() => {
            let node = match last {
                Step::Index(index) => parent.get_mut(index),
                Step::Key(key) => parent.get_mut(key),
            };
            node.is_some_and(|node| makeshift(node, &[json!(word)], 0))
        }
        (Some(Value::Object(object)), Step::Key(key)) => {
            let Some(attempt) = attempt.checked_sub(1) else { return object.remove(key).is_some() };
            makeshift(object.entry(key.clone()).or_insert(Value::Null), &makeshifts, attempt)
        }
        (Some(Value::Array(items)), Step::Index(index)) => {
            items.get_mut(*index).is_some_and(|node| makeshift(node, &makeshifts, attempt))
        }
        _ => false,
    }
}

fn makeshift(node: &mut Value, makeshifts: &[Value], attempt: usize) -> bool {
    makeshifts.get(attempt).is_some_and(|value| {
        *node = value.clone();
        true
    })
}

/// Takes out every key that says nothing (`labels:` with all of its entries commented out): it is as if it were absent.
/// Below a key named in `except` nothing is touched.
pub fn without_nulls(tree: Value, except: &str) -> Value {
    match tree {
        Value::Object(object) => {
            let said = object.into_iter().filter(|(_, value)| !value.is_null());
            let kept = said.map(|(key, value)| match key == except {
                true => (key, value),
                false => (key, without_nulls(value, except)),
            });
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| without_nulls(item, except)).collect()),
        scalar => scalar,
    }
}

/// Said in place of a message that would quote what might be a secret.
const NO_SECRET: &str = "a secret never stands here; write which kind it is and where it stands, for example \
                         bearer: {file: /path}";

fn names_a_secret(key: &str) -> bool {
    ["credential", "token", "password", "secret", "bearer"].iter().any(|word| key.contains(word))
}

/// The first right word that serde names in place of an unknown one.
fn first_variant(message: &str) -> Option<&str> {
    field(message, "unknown variant ")?;
    message.split('`').nth(3)
}

/// The word in backticks after `start`.
fn field<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.strip_prefix('`')?.split('`').next()
}

/// serde's message without the words of Rust.
pub fn in_words(message: &str) -> String {
    if let Some(name) = field(message, "missing field ") {
        return format!("{name:?} is missing");
    }
    for (start, what) in [("unknown field ", "unknown key"), ("unknown variant ", "unknown word")] {
        if let Some(word) = field(message, start) {
            let known = message[start.len() + word.len() + 2..].split('`').skip(1).step_by(2);
            return format!("{what} {word:?}; {}", words::hint(word, known));
        }
    }
    if message == "invalid socket address syntax" {
        return format!("must be {}", wanted_in_words("socket address"));
    }
    let types = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = types.iter().find_map(|start| message.strip_prefix(start));
    match rest.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((length, wanted)) if length.parse::<usize>().is_ok() => {
            format!("must be {}, but is a list of {length}", wanted_in_words(wanted))
        }
        Some((found, wanted)) => format!("must be {}, but is {}", wanted_in_words(wanted), found_in_words(found)),
        None => message.to_string(),
    }
}

fn found_in_words(found: &str) -> String {
    match found {
        "map" => "a mapping (key: value)".to_string(),
        "sequence" => "a list".to_string(),
        "null" | "unit value" | "Option value" => "empty".to_string(),
        other => {
            for (start, what) in [("integer ", "the number "), ("floating point ", "the number "), ("boolean ", "")] {
                if let Some(value) = other.strip_prefix(start) {
                    return format!("{what}{}", value.trim_matches('`'));
                }
            }
            match other.strip_prefix("string ") {
                Some(text) => format!("the text {text}"),
                None => other.to_string(),
            }
        }
    }
}

fn wanted_in_words(wanted: &str) -> String {
    let words = match wanted {
        "a string" | "str" | "string or map" => "text",
        "path string" => "a path",
        "socket address" => "an IP address and a port, for example 127.0.0.1:9940",
        "map with a single key" => "one word, or a mapping with one key",
        "a boolean" => "true or false",
        "a map" => "a mapping (key: value)",
        "a sequence" => "a list ([a, b], or lines that begin with -)",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        other if other.starts_with("struct ") || other.starts_with("internally tagged enum ") => {
            "a mapping (key: value)"
        }
        other if other.starts_with("enum ") => "a word",
        other => other,
    };
    words.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        name: String,
        kind: Kind,
        items: Vec<u32>,
        #[serde(default)]
        flag: bool,
        #[serde(default)]
        labels: BTreeMap<String, String>,
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        #[default]
        Gauge,
        Counter,
    }

    fn shown(tree: Value) -> Vec<String> {
        let (_, mistakes) = read::<Vec<Inner>>(tree);
        mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).collect()
    }

    #[test]
    fn every_mistake_is_found_once_and_told_in_words() {
        let tree = json!([
            {"name": 5, "kind": "gaug", "items": [1, "x", -2], "flg": 1, "labels": {"rack": 1}},
            7,
            {"kind": {}, "items": {}, "flag": "yes", "name": null, "entirely": 1, "labels": []},
            {"name": "x", "kind": "counter", "items": []},
        ]);
        assert_eq!(
            shown(tree),
            [
                "[0].flg: unknown key \"flg\"; did you mean \"flag\"?",
                "[0].items[1]: must be a whole number, 0 or more, but is the text \"x\"",
                "[0].items[2]: must be a whole number, 0 or more, but is the number -2",
                "[0].kind: unknown word \"gaug\"; did you mean \"gauge\"?",
                "[0].labels.rack: must be text, but is the number 1",
                "[0].name: must be text, but is the number 5",
                "[1]: must be a mapping (key: value), but is the number 7",
                "[2].entirely: unknown key \"entirely\"; known are name, kind, items, flag, labels",
                "[2].flag: must be true or false, but is the text \"yes\"",
                "[2].items: must be a list ([a, b], or lines that begin with -), but is a mapping (key: value)",
                "[2].kind: must be one word, or a mapping with one key, but is a mapping (key: value)",
                "[2].labels: must be a mapping (key: value), but is a list",
                "[2].name: must be text, but is empty",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_said_of_its_parent_and_a_flood_is_cut() {
        assert_eq!(shown(json!([{"name": "x", "kind": "gauge"}])), ["[0]: \"items\" is missing"]);
        let flood = shown(json!(vec![7; 500]));
        assert_eq!(flood.len(), MAX_MISTAKES + 1);
        assert!(flood[MAX_MISTAKES].contains("more than 100 mistakes"));
    }

    #[test]
    fn keys_that_say_nothing_are_absent() {
        let tree = json!({"a": null, "b": {"c": null, "options": {"d": null}}, "e": [null]});
        assert_eq!(without_nulls(tree, "options"), json!({"b": {"options": {"d": null}}, "e": [null]}));
    }
}
