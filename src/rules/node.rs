//! A YAML value that knows its path: asks for shapes, and reports where they are wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_yaml::Value;

use crate::model::duration::parse_duration;
use crate::model::words;
use crate::yaml::lines::Step;
use crate::yaml::lines::key_text;

use super::file::Reader;

/// A value and the way to it.
#[derive(Clone)]
pub(super) struct Node<'v> {
    pub value: &'v Value,
    pub path: Vec<Step>,
}

impl<'v> Node<'v> {
    fn at(&self, step: Step, value: &'v Value) -> Node<'v> {
        let mut path = self.path.clone();
        path.push(step);
        Node { value, path }
    }

    /// A field's node, whether it is there or not; for its path.
    pub(super) fn child(&self, name: &str) -> Node<'v> {
        self.at(Step::Key(name.to_string()), self.value.get(name).unwrap_or(&Value::Null))
    }

    /// The fields of a mapping. Unknown ones are reported with the nearest known word; nulls are left out.
    pub(super) fn fields(&self, reader: &mut Reader<'_>, known: &[&str]) -> Option<BTreeMap<String, Node<'v>>> {
        let all = self.entries(reader)?;
        for (name, node) in &all {
            if !known.contains(&name.as_str()) {
                reader.error_at_key(&node.path, format!("unknown field {name:?}; {}", words::hint(name, known)));
            }
        }
        Some(all.into_iter().filter(|(_, node)| !node.value.is_null()).collect())
    }

    /// The entries of a mapping with text keys; null is an empty mapping, as in Go.
    fn entries(&self, reader: &mut Reader<'_>) -> Option<BTreeMap<String, Node<'v>>> {
        match self.value {
            Value::Null => Some(BTreeMap::new()),
            Value::Mapping(mapping) => {
                let mut entries = BTreeMap::new();
                for (key, value) in mapping {
                    let Some(name) = key_text(key) else {
                        reader.error(&self.path, "keys must be plain words");
                        return None;
                    };
                    entries.insert(name.clone(), self.at(Step::Key(name), value));
                }
                Some(entries)
            }
            other => {
                reader.error(&self.path, format!("must be a mapping, but is {}", shape(other)));
                None
            }
        }
    }

    /// The items of a list; null is an empty list, as in Go.
    pub(super) fn items(&self, reader: &mut Reader<'_>) -> Option<Vec<Node<'v>>> {
        match self.value {
            Value::Null => Some(Vec::new()),
            Value::Sequence(items) => {
                Some(items.iter().enumerate().map(|(index, value)| self.at(Step::Index(index), value)).collect())
            }
            other => {
                reader.error(&self.path, format!("must be a list, but is {}", shape(other)));
                None
            }
        }
    }

    /// A scalar's text, as it was written: `1.50` stays `1.50`.
    pub(super) fn text(&self, reader: &mut Reader<'_>) -> Option<String> {
        match self.value {
            Value::Null => Some(String::new()),
            Value::String(text) => Some(text.clone()),
            Value::Bool(b) => Some(reader.written(&self.path).unwrap_or_else(|| b.to_string())),
            Value::Number(n) => Some(reader.written(&self.path).unwrap_or_else(|| n.to_string())),
            other => {
                reader.error(&self.path, format!("must be text, but is {}", shape(other)));
                None
            }
        }
    }

    /// A Prometheus duration.
    pub(super) fn duration(&self, reader: &mut Reader<'_>) -> Option<Duration> {
        match parse_duration(&self.text(reader)?) {
            Ok(duration) => Some(duration),
            Err(error) => {
                reader.error(&self.path, error.to_string());
                None
            }
        }
    }

    /// A whole number; below zero counts as zero, as Prometheus takes it.
    pub(super) fn count(&self, reader: &mut Reader<'_>) -> Option<usize> {
        match self.value.as_i64() {
            Some(n) => Some(usize::try_from(n).unwrap_or(0)),
            None => {
                reader.error(&self.path, format!("must be a whole number, but is {}", shape(self.value)));
                None
            }
        }
    }

    /// A mapping of texts.
    pub(super) fn texts(&self, reader: &mut Reader<'_>) -> Option<BTreeMap<String, (String, Node<'v>)>> {
        let mut texts = BTreeMap::new();
        for (name, node) in self.entries(reader)? {
            if let Some(text) = node.text(reader) {
                texts.insert(name, (text, node));
            }
        }
        Some(texts)
    }
}

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a value with a YAML tag",
    }
}
