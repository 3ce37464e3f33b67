//! The values that a template computes with, and how Go prints and compares them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::Labels;

use super::format;

/// One value. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Go's nil, and what a missing key of an `args` map gives.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// `$labels`: a missing key is the empty text.
    Labels(Labels),
    /// What `args` gives.
    Map(Arc<BTreeMap<String, Value>>),
    List(Arc<[Value]>),
    /// One element of a query result: `.Labels`, `.Value`.
    Sample(Labels, f64),
    /// A month or a weekday: a number that prints as its name.
    Named(i64, &'static str),
    /// Nanoseconds since the epoch.
    Time(i64),
    /// Nanoseconds.
    Duration(i64),
}

impl Value {
    pub(super) fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    /// Go's name of the type, as its error messages and `%T` say it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Named(..) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Labels(_) => "map[string]string",
            Value::Map(_) => "map[string]interface {}",
            Value::List(_) => "template.queryResult",
            Value::Sample(..) => "*template.sample",
            Value::Time(_) => "*time.Time",
            Value::Duration(_) => "*time.Duration",
        }
    }

    /// Whether `if` takes its first branch: not zero and not empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(n) | Value::Named(n, _) => *n != 0,
            Value::Float(v) => *v != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Labels(labels) => !labels.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Sample(..) | Value::Time(_) | Value::Duration(_) => true,
        }
    }

    /// As Go's `%v` prints it.
    pub(super) fn print(&self) -> String {
        match self {
            Value::Nil => "<nil>".to_string(),
            Value::Bool(b) => b.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Named(_, name) => (*name).to_string(),
            Value::Float(v) => format::shortest(*v),
            Value::Text(text) => text.to_string(),
            Value::Labels(labels) => joined("map[", labels.iter().map(|(name, value)| format!("{name}:{value}")), "]"),
            Value::Map(map) => joined("map[", map.iter().map(|(name, value)| format!("{name}:{}", value.print())), "]"),
            Value::List(list) => joined("[", list.iter().map(Value::print), "]"),
            Value::Sample(labels, value) => {
                format!("&{{{} {}}}", Value::Labels(labels.clone()).print(), format::shortest(*value))
            }
            Value::Time(nanos) => format::time(*nanos),
            Value::Duration(nanos) => format::duration(*nanos),
        }
    }

    /// Go's order of two values: only of one basic type.
    pub(super) fn compare(&self, other: &Value) -> Result<Option<Ordering>, IncomparableError> {
        match (self, other) {
            (Value::Int(a) | Value::Named(a, _), Value::Int(b) | Value::Named(b, _)) => Ok(Some(a.cmp(b))),
            (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
            (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
            _ => Err(self.incomparable(other)),
        }
    }

    /// Go's `eq`.
    pub(super) fn equals(&self, other: &Value) -> Result<bool, IncomparableError> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            (Value::Nil, Value::Nil) => Ok(true),
            (Value::Nil, _) | (_, Value::Nil) => Ok(false),
            _ => self.compare(other).map(|order| order == Some(Ordering::Equal)),
        }
    }

    fn incomparable(&self, other: &Value) -> IncomparableError {
        IncomparableError { left: self.type_name(), right: other.type_name() }
    }
}

fn joined(open: &str, parts: impl Iterator<Item = String>, close: &str) -> String {
    format!("{open}{}{close}", parts.collect::<Vec<_>>().join(" "))
}

/// Two values of types that Go does not compare.
#[derive(Debug, thiserror::Error)]
#[error("cannot compare {left} with {right}{}", if matches!((*left, *right), ("int", "float64") | ("float64", "int")) {
    ": write the number with a point, as in 5.0"
} else {
    ""
})]
pub(super) struct IncomparableError {
    left: &'static str,
    right: &'static str,
}
