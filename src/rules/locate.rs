//! Finds the line of a node in a YAML text.
//!
//! A deserialised YAML value has forgotten where it stood. Instead of guessing lines by searching the text, the
//! deserializer itself walks to the node and is refused there: it then reports the place. One walk per problem, over
//! a file of at most [`super::file::MAX_FILE`] bytes and at most [`super::file::MAX_PROBLEMS`] problems.

use std::fmt;

use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::Error;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

/// One step of the way to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Writes a path as people read it: `groups[0].rules[2].expr`.
pub(super) fn display(path: &[Step]) -> String {
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

/// Which part of the node is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    Key,
    Value,
    Text,
}

/// Line and column, from 1, of the value at `path`.
pub(super) fn value(text: &str, path: &[Step]) -> Option<(usize, usize)> {
    place(text, path, Goal::Value)
}

/// Line and column, from 1, of the key that ends `path`.
pub(super) fn key(text: &str, path: &[Step]) -> Option<(usize, usize)> {
    place(text, path, Goal::Key)
}

/// The scalar at `path` as it was written, before YAML made a number or a boolean of it.
pub(super) fn scalar(text: &str, path: &[Step]) -> Option<String> {
    let document = serde_yaml::Deserializer::from_str(text).next()?;
    Walk { path, goal: Goal::Text }.deserialize(document).ok().flatten()
}

fn place(text: &str, path: &[Step], goal: Goal) -> Option<(usize, usize)> {
    let document = serde_yaml::Deserializer::from_str(text).next()?;
    let location = Walk { path, goal }.deserialize(document).err()?.location()?;
    Some((location.line(), location.column()))
}

/// Walks along `path`; what it brings back is the text of the scalar at its end.
#[derive(Clone, Copy)]
struct Walk<'p> {
    path: &'p [Step],
    goal: Goal,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match (self.path.is_empty(), self.goal) {
            (true, Goal::Text) => deserializer.deserialize_str(Written).map(Some),
            (true, _) => deserializer.deserialize_any(Refuse).map(|()| None),
            (false, _) => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node on the way")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let Some((Step::Index(wanted), rest)) = self.path.split_first() else { return Ok(None) };
        for _ in 0..*wanted {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = items.next_element_seed(Walk { path: rest, ..self })?.flatten();
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let Some((Step::Key(wanted), rest)) = self.path.split_first() else { return Ok(None) };
        let refuse = self.goal == Goal::Key && rest.is_empty();
        let mut found = None;
        while let Some(hit) = entries.next_key_seed(KeyIs { wanted, refuse })? {
            if hit {
                found = entries.next_value_seed(Walk { path: rest, ..self })?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares a key, and refuses the wanted one where its own place is asked for.
struct KeyIs<'p> {
    wanted: &'p str,
    refuse: bool,
}

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        if self.refuse && key == self.wanted { Err(E::custom("here")) } else { Ok(key == self.wanted) }
    }
}

/// A scalar's text.
struct Written;

impl Visitor<'_> for Written {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_string())
    }
}

/// Accepts nothing, so that the deserializer says where it stands.
struct Refuse;

impl Visitor<'_> for Refuse {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---\n# note\na:\n  - b: 1.50\n    c: {d: e}\n  - b: |\n      x\n      y\nz:\n";

    fn path(steps: &[&str]) -> Vec<Step> {
        steps.iter().map(|s| s.parse().map_or_else(|_| Step::Key((*s).to_string()), Step::Index)).collect()
    }

    #[test]
    fn finds_keys_and_values() {
        assert_eq!(value(TEXT, &path(&["a", "0", "b"])), Some((4, 8)));
        assert_eq!(key(TEXT, &path(&["a", "0", "c"])), Some((5, 5)));
        assert_eq!(value(TEXT, &path(&["a", "0", "c", "d"])), Some((5, 12)));
        assert_eq!(value(TEXT, &path(&["a", "1", "b"])), Some((6, 8)));
        assert_eq!(key(TEXT, &path(&["z"])).map(|(line, _)| line), Some(9));
        assert_eq!(value(TEXT, &path(&["a", "7"])), None);
        assert_eq!(display(&path(&["a", "0", "b"])), "a[0].b");
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(scalar(TEXT, &path(&["a", "0", "b"])).as_deref(), Some("1.50"));
    }
}
