//! YAML for Ansible with text that nobody may believe.
//!
//! A template in an extra var or an inventory value (`{{ lookup('pipe', '…') }}`) runs on the control host in every
//! version of ansible-core. The tag `!unsafe` forbids it, for keys as well as for values. So every piece of text is
//! written by this emitter, as a double-quoted ASCII scalar behind that tag; there is no way to write it without.

use std::collections::BTreeMap;

use crate::model::{Alert, Labels};

/// Most pairs of a map that are handed on.
const MAX_PAIRS: usize = 128;
/// Longest text, in characters.
const MAX_TEXT: usize = 4096;
/// Longest key, in bytes as written: YAML readers refuse keys of more than 1024 characters.
const MAX_KEY: usize = 1000;

/// A YAML value. Text is always untrusted.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Absent.
    Null,
    /// A whole number.
    Int(i64),
    /// A number, made by [`Value::number`].
    Float(f64),
    /// Untrusted text.
    Text(String),
    /// A map.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Untrusted text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// A number. NaN and the infinities become text: JSON has none, neither between Ansible's processes nor on the way
    /// to a runner.
    pub fn number(number: f64) -> Value {
        if number.is_finite() { Value::Float(number) } else { Value::text(number.to_string()) }
    }

    /// A map from pairs.
    pub fn map<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    fn labels(labels: &Labels) -> Value {
        Value::map(labels.iter().map(|(name, value)| (name, Value::text(value))))
    }
}

/// Facts about a run that its playbook may want to know.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The binding's name.
    pub binding: &'a str,
    /// The inventory host.
    pub target: &'a str,
    /// `check` or `auto`.
    pub mode: &'a str,
}

/// What a playbook sees as the one extra variable `davylamp`: `davylamp.target`, `davylamp.alert.labels.miner`, …
/// One fixed name on top, because `ansible_connection` on top would take over the connection.
pub fn of_alert(about: About<'_>, alert: &Alert) -> Value {
    Value::map([
        ("run", Value::text(about.run)),
        ("binding", Value::text(about.binding)),
        ("target", Value::text(about.target)),
        ("mode", Value::text(about.mode)),
        (
            "alert",
            Value::map([
                ("name", Value::text(alert.labels.get("alertname").unwrap_or_default())),
                ("rule", Value::text(alert.rule.as_ref())),
                ("labels", Value::labels(&alert.labels)),
                ("annotations", Value::labels(&alert.annotations)),
                ("value", Value::number(alert.value)),
                ("active_at_ms", Value::Int(alert.active_at)),
                ("fired_at_ms", alert.fired_at.map_or(Value::Null, Value::Int)),
            ]),
        ),
    ])
}

/// Writes a document of one mapping, `name: value`. The name is ours.
pub fn document(name: &str, value: &Value) -> String {
    let mut text = String::from("---\n");
    text.push_str(&scalar(name));
    text.push(':');
    emit(&mut text, value, 1);
    text
}

fn emit(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str(" null\n"),
        Value::Int(number) => out.push_str(&format!(" {number}\n")),
        // `{:?}` writes a point or an exponent, so that it stays a number with a fraction.
        Value::Float(number) if number.is_finite() && number.abs() < 1e15 && number.abs() >= 1e-4 || *number == 0.0 => {
            out.push_str(&format!(" {number:?}\n"));
        }
        Value::Float(number) => out.push_str(&format!(" {}\n", float(*number))),
        Value::Text(text) => out.push_str(&format!(" !unsafe {}\n", scalar(text))),
        Value::Map(map) if map.is_empty() => out.push_str(" {}\n"),
        Value::Map(map) => {
            out.push('\n');
            let written = map.iter().map(|(key, value)| (scalar(key), value)).filter(|(key, _)| key.len() <= MAX_KEY);
            for (key, value) in written.take(MAX_PAIRS) {
                out.push_str(&"  ".repeat(depth));
                out.push_str(&format!("!unsafe {key}:"));
                emit(out, value, depth + 1);
            }
        }
    }
}

/// Floats as YAML 1.1 reads them: an exponent needs a point and a sign.
fn float(number: f64) -> String {
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// A double-quoted ASCII scalar: whatever is not plain ASCII is escaped, so no reader can disagree about line ends,
/// byte order marks or characters it does not allow.
fn scalar(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().take(MAX_TEXT) {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            _ if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a document back, insisting that every text and every key of an inner map is tagged.
    fn read(value: &serde_yaml::Value) -> Value {
        match value {
            serde_yaml::Value::Null => Value::Null,
            serde_yaml::Value::Number(n) if n.is_i64() => Value::Int(n.as_i64().unwrap()),
            serde_yaml::Value::Number(n) => Value::Float(n.as_f64().unwrap()),
            serde_yaml::Value::Tagged(tagged) => {
                assert_eq!(tagged.tag, "unsafe");
                Value::text(tagged.value.as_str().unwrap())
            }
            serde_yaml::Value::Mapping(map) => Value::map(map.iter().map(|(key, value)| {
                let Value::Text(key) = read(key) else { panic!("a key without a tag") };
                (key, read(value))
            })),
            other => panic!("not written by us: {other:?}"),
        }
    }

    fn round_trip(value: &Value) -> Value {
        let text = document("davylamp", value);
        assert!(text.is_ascii());
        let document: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        read(&document["davylamp"])
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out_as_tagged_text(pairs in proptest::collection::btree_map(".{0,40}", ".{0,80}", 0..8), n: f64) {
            let map = Value::map(pairs.into_iter().map(|(key, value)| (key, Value::text(value))));
            let value = Value::map([("labels", map), ("n", Value::Int(-3)), ("none", Value::Null)]);
            prop_assert_eq!(round_trip(&value), value);
            if n.is_finite() {
                prop_assert_eq!(round_trip(&Value::map([("n", Value::Float(n))])), Value::map([("n", Value::Float(n))]));
            }
        }
    }

    #[test]
    fn is_bounded() {
        let value =
            Value::map([("k".repeat(2000), Value::text("dropped")), ("v".into(), Value::text("é".repeat(9000)))]);
        let Value::Map(read) = round_trip(&value) else { panic!() };
        assert_eq!(read, BTreeMap::from([("v".to_string(), Value::text("é".repeat(MAX_TEXT)))]));
        assert_eq!(round_trip(&Value::map([("n", Value::number(f64::NAN))])), Value::map([("n", Value::text("NaN"))]));
    }
}
