//! Knows the line of every node of a YAML text.
//!
//! A deserialised YAML value has forgotten where it stood, and the deserializer tells a place only in an error. So the
//! text is walked a second time beside the value, every scalar is refused on purpose, and the place is read from the
//! refusal. A refused scalar is consumed all the same, so one walk finds every line; searching the text for words
//! instead would guess wrong in block texts, comments and repeated keys.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::Error;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_yaml::Value;

/// One step of the way to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A key of a mapping.
    Key(String),
    /// An index of a list, from 0.
    Index(usize),
}

/// Writes a path as people read it: `groups[0].rules[2].expr`.
pub fn display(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
        }
    }
    text
}

/// Line and column, from 1.
pub type Place = (usize, usize);

/// What is known of one node.
#[derive(Clone, Debug, Default)]
struct Entry {
    key: Option<Place>,
    value: Option<Place>,
    /// A scalar as it was written, before YAML made a number or a boolean of it.
    written: Option<String>,
}

/// The places of all nodes of a document.
#[derive(Clone, Debug, Default)]
pub struct Lines(HashMap<Vec<Step>, Entry>);

impl Lines {
    /// Walks `text`, of which `value` is the first document, unchanged.
    pub fn of(text: &str, value: &Value) -> Self {
        let lines = RefCell::new(Lines::default());
        if let Some(document) = serde_yaml::Deserializer::from_str(text).next() {
            // A walk that fails half-way leaves later nodes without lines, which costs a line number and no more.
            let _ = Walk { value, path: Vec::new(), lines: &lines }.deserialize(document);
        }
        lines.into_inner()
    }

    /// Where the value at `path` begins.
    pub fn value(&self, path: &[Step]) -> Option<Place> {
        self.0.get(path)?.value
    }

    /// Where the key that ends `path` stands.
    pub fn key(&self, path: &[Step]) -> Option<Place> {
        self.0.get(path)?.key
    }

    /// The scalar at `path` as it was written, there or where it was merged from.
    pub fn written(&self, path: &[Step]) -> Option<&str> {
        let merged = || {
            let (last, parent) = path.split_last()?;
            let merged: Vec<Step> = parent.iter().cloned().chain([Step::Key("<<".to_string()), last.clone()]).collect();
            self.0.get(&merged)
        };
        self.0.get(path).or_else(merged)?.written.as_deref()
    }

    /// The line of every node by its path as it is displayed, the key's where there is one.
    pub(super) fn by_path(&self) -> HashMap<String, usize> {
        let line = |entry: &Entry| entry.key.or(entry.value).map(|(line, _)| line);
        self.0.iter().filter_map(|(path, entry)| Some((display(path), line(entry)?))).collect()
    }

    /// The line of a node, or of the nearest node above it that has one (merged keys stand elsewhere).
    pub fn nearest(&self, path: &[Step]) -> Option<usize> {
        let known = |end: usize| self.value(&path[..end]).or_else(|| self.key(&path[..end]));
        (0..=path.len()).rev().find_map(known).map(|(line, _)| line)
    }
}

/// The place at the end of a refusal's message: `… at line 3 column 5`.
fn place(message: &str) -> Option<Place> {
    let told = || {
        let (rest, column) = message.rsplit_once(" column ")?;
        let (_, line) = rest.rsplit_once(" line ")?;
        Some((line.parse().ok()?, column.parse().ok()?))
    };
    // The reader leaves the place out where it is the very beginning.
    told().or(Some((1, 1)))
}

/// Walks one node, knowing its shape from the value.
struct Walk<'a> {
    value: &'a Value,
    path: Vec<Step>,
    lines: &'a RefCell<Lines>,
}

impl<'a> Walk<'a> {
    fn child(&self, step: Step, value: &'a Value) -> Walk<'a> {
        let mut path = self.path.clone();
        path.push(step);
        Walk { value, path, lines: self.lines }
    }

    fn note(&self, change: impl FnOnce(&mut Entry)) {
        change(self.lines.borrow_mut().0.entry(self.path.clone()).or_default());
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.value {
            Value::Sequence(_) => deserializer.deserialize_seq(self),
            Value::Mapping(_) => deserializer.deserialize_map(self),
            Value::Tagged(_) => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ()),
            scalar => {
                let mut written = None;
                if let Err(error) = deserializer.deserialize_str(Refuse(&mut written)) {
                    let found = place(&error.to_string());
                    let typed = matches!(scalar, Value::Bool(_) | Value::Number(_));
                    self.note(|entry| (entry.value, entry.written) = (found, written.filter(|_| typed)));
                }
                Ok(())
            }
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or a mapping")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for (index, value) in self.value.as_sequence().into_iter().flatten().enumerate() {
            let child = self.child(Step::Index(index), value);
            items.next_element_seed(child)?;
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        for (index, (key, value)) in self.value.as_mapping().into_iter().flatten().enumerate() {
            let Some(name) = key_text(key) else {
                entries.next_entry::<IgnoredAny, IgnoredAny>()?;
                continue;
            };
            let child = self.child(Step::Key(name), value);
            if let Err(error) = entries.next_key_seed(RefuseKey) {
                let found = place(&error.to_string());
                child.note(|entry| entry.key = found);
                if index == 0 {
                    self.note(|entry| entry.value = found);
                }
            }
            entries.next_value_seed(child)?;
        }
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// A mapping key that can be a field's name.
pub fn key_text(key: &Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

/// Keeps a scalar's text and refuses it.
struct Refuse<'a>(&'a mut Option<String>);

impl Visitor<'_> for Refuse<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        *self.0 = Some(text.to_string());
        Err(E::custom("here"))
    }
}

/// Refuses a key.
struct RefuseKey;

impl<'de> DeserializeSeed<'de> for RefuseKey {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(Refuse(&mut None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---\n# note\na:\n  - b: 1.50\n    c: {d: e}\n  - b: |\n      x\n      y\n    f: &x [p, q]\n    g: *x\n    ? [h]\n    : i\nz:\n";

    fn path(steps: &[&str]) -> Vec<Step> {
        steps.iter().map(|s| s.parse().map_or_else(|_| Step::Key((*s).to_string()), Step::Index)).collect()
    }

    #[test]
    fn finds_keys_and_values() {
        let lines = Lines::of(TEXT, &serde_yaml::from_str(TEXT).unwrap());
        assert_eq!(lines.value(&path(&["a", "0", "b"])), Some((4, 8)));
        assert_eq!(lines.key(&path(&["a", "0", "c"])), Some((5, 5)));
        assert_eq!(lines.value(&path(&["a", "0", "c", "d"])), Some((5, 12)));
        assert_eq!(lines.value(&path(&["a", "1"])), Some((6, 5)));
        assert_eq!(lines.value(&path(&["a", "1", "b"])), Some((6, 8)));
        assert_eq!(lines.value(&path(&["a", "1", "f", "1"])), Some((9, 15)));
        assert_eq!(lines.key(&path(&["a", "1", "g"])), Some((10, 5)));
        assert_eq!(lines.key(&path(&["z"])), Some((13, 1)));
        assert_eq!(lines.nearest(&path(&["a", "1", "f", "7"])), Some(9));
        assert_eq!(lines.value(&path(&["a", "7"])), None);
        assert_eq!(display(&path(&["a", "0", "b"])), "a[0].b");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let lines = Lines::of(TEXT, &serde_yaml::from_str(TEXT).unwrap());
        assert_eq!(lines.written(&path(&["a", "0", "b"])), Some("1.50"));
    }
}
