//! The functions that templates may call: one row each.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use crate::model::duration::parse_duration;
use crate::model::words;

use super::MAX_OUTPUT;
use super::Scope;
use super::humanize;
use super::printf;
use super::text;
use super::value::IncomparableError;
use super::value::Value;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CallError(pub String);

impl From<IncomparableError> for CallError {
    fn from(error: IncomparableError) -> Self {
        CallError(error.to_string())
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, CallError> {
    Err(CallError(message.into()))
}

type Call = fn(&[Value], &Scope<'_>) -> Result<Value, CallError>;

/// One function: name, fewest and most arguments, what it does.
pub(super) struct Function {
    name: &'static str,
    least: usize,
    most: usize,
    call: Call,
}

const ANY: usize = usize::MAX;

const fn row(name: &'static str, least: usize, most: usize, call: Call) -> Function {
    Function { name, least, most, call }
}

/// All of them. `and` and `or` stand here for their names; they decide before their arguments are evaluated, and so
/// live where arguments are evaluated.
const FUNCTIONS: &[Function] = &[
    row("query", 1, 1, |a, scope| query(string(a, 0)?, scope)),
    row("first", 1, 1, |a, _| match list(a, 0)? {
        [] => refuse("called on a vector with no elements"),
        [first, ..] => Ok(first.clone()),
    }),
    row("value", 1, 1, |a, _| sample(a, 0).map(|(_, v)| Value::Float(v))),
    row("label", 2, 2, |a, _| {
        let (labels, _) = sample(a, 1)?;
        Ok(Value::text(labels.get(string(a, 0)?).unwrap_or_default()))
    }),
    row("strvalue", 1, 1, |a, _| sample(a, 0).map(|(l, _)| Value::text(l.get("__value__").unwrap_or_default()))),
    row("sortByLabel", 2, 2, |a, _| sort_by_label(string(a, 0)?, list(a, 1)?)),
    row("args", 0, ANY, |a, _| {
        let named = a.iter().enumerate().map(|(i, value)| (format!("arg{i}"), value.clone()));
        Ok(Value::Map(Arc::new(named.collect::<BTreeMap<_, _>>())))
    }),
    row("humanize", 1, 1, |a, _| number(a, 0).map(|v| Value::text(humanize::humanize(v)))),
    row("humanize1024", 1, 1, |a, _| number(a, 0).map(|v| Value::text(humanize::humanize1024(v)))),
    row("humanizeDuration", 1, 1, |a, _| number(a, 0).map(|v| Value::text(humanize::duration(v)))),
    row("humanizePercentage", 1, 1, |a, _| number(a, 0).map(|v| Value::text(humanize::percentage(v)))),
    row("humanizeTimestamp", 1, 1, |a, _| {
        let v = number(a, 0)?;
        let text = if v.is_finite() { Value::Time(nanos(v)?) } else { Value::Float(v) };
        Ok(Value::text(text.print()))
    }),
    row("toTime", 1, 1, |a, _| number(a, 0).and_then(nanos).map(Value::Time)),
    row("toDuration", 1, 1, |a, _| number(a, 0).and_then(nanos).map(Value::Duration)),
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit a double for 280,000 years")]
    row("now", 0, 0, |_, scope| Ok(Value::Float(scope.at as f64 / 1000.0))),
    row("parseDuration", 1, 1, |a, _| match parse_duration(string(a, 0)?) {
        Ok(duration) => Ok(Value::Float(duration.as_secs_f64())),
        Err(error) => refuse(error.to_string()),
    }),
    row("title", 1, 1, |a, _| string(a, 0).map(|t| Value::text(text::title(t)))),
    row("toUpper", 1, 1, |a, _| string(a, 0).map(|t| Value::text(t.to_uppercase()))),
    row("toLower", 1, 1, |a, _| string(a, 0).map(|t| Value::text(t.to_lowercase()))),
    row("match", 2, 2, |a, _| Ok(Value::Bool(regex(string(a, 0)?)?.is_match(string(a, 1)?)))),
    row("reReplaceAll", 3, 3, |a, _| replace_all(string(a, 0)?, string(a, 1)?, string(a, 2)?)),
    row("stripPort", 1, 1, |a, _| string(a, 0).map(|t| Value::text(text::strip_port(t)))),
    row("stripDomain", 1, 1, |a, _| string(a, 0).map(|t| Value::text(text::strip_domain(t)))),
    row("urlQueryEscape", 1, 1, |a, _| string(a, 0).map(|t| Value::text(text::query_escape(t)))),
    row("graphLink", 1, 1, |a, _| string(a, 0).map(|t| link(t, 0))),
    row("tableLink", 1, 1, |a, _| string(a, 0).map(|t| link(t, 1))),
    row("safeHtml", 1, 1, |a, _| string(a, 0).map(Value::text)),
    row("pathPrefix", 0, 0, |_, scope| {
        let url = url::Url::parse(scope.external_url);
        Ok(Value::text(url.map(|url| url.path().trim_end_matches('/').to_string()).unwrap_or_default()))
    }),
    row("externalURL", 0, 0, |_, scope| Ok(Value::text(scope.external_url))),
    row("printf", 1, ANY, |a, _| Ok(Value::text(printf::printf(string(a, 0)?, &a[1..])))),
    row("print", 0, ANY, |a, _| Ok(Value::text(printf::print(a)))),
    row("println", 0, ANY, |a, _| Ok(Value::text(printf::println(a)))),
    row("html", 1, ANY, |a, _| Ok(Value::text(text::html(&printf::print(a))))),
    row("js", 1, ANY, |a, _| Ok(Value::text(text::js(&printf::print(a))))),
    row("slice", 1, 4, |a, _| slice(&a[0], &a[1..])),
    row("urlquery", 1, ANY, |a, _| Ok(Value::text(text::query_escape(&printf::print(a))))),
    row("len", 1, 1, |a, _| length(&a[0])),
    row("index", 1, ANY, |a, _| a[1..].iter().try_fold(a[0].clone(), |value, key| index(&value, key))),
    row("not", 1, 1, |a, _| Ok(Value::Bool(!a[0].is_true()))),
    row("and", 1, ANY, |a, _| Ok(a[0].clone())),
    row("or", 1, ANY, |a, _| Ok(a[0].clone())),
    row("eq", 2, ANY, |a, _| {
        for other in &a[1..] {
            if a[0].equals(other)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
    row("ne", 2, 2, |a, _| Ok(Value::Bool(!a[0].equals(&a[1])?))),
    row("lt", 2, 2, |a, _| Ok(Value::Bool(a[0].compare(&a[1])?.is_some_and(|order| order.is_lt())))),
    row("le", 2, 2, |a, _| Ok(Value::Bool(a[0].compare(&a[1])?.is_some_and(|order| order.is_le())))),
    row("gt", 2, 2, |a, _| Ok(Value::Bool(a[0].compare(&a[1])?.is_some_and(|order| order.is_gt())))),
    row("ge", 2, 2, |a, _| Ok(Value::Bool(a[0].compare(&a[1])?.is_some_and(|order| order.is_ge())))),
];

/// The row of `name`.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// `; did you mean "…"?` when a known name is near.
pub(super) fn nearest_hint(name: &str) -> String {
    let near = words::nearest(name, FUNCTIONS.iter().map(|function| function.name));
    near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// Calls `name` after checking the number of arguments.
pub(super) fn call(name: &str, arguments: &[Value], scope: &Scope<'_>) -> Result<Value, CallError> {
    let Some(function) = find(name) else { return refuse("is not defined") };
    if arguments.len() < function.least || arguments.len() > function.most {
        let wanted = match (function.least, function.most) {
            (least, ANY) => format!("at least {least}"),
            (least, _) => least.to_string(),
        };
        return refuse(format!("wants {wanted} arguments and got {}", arguments.len()));
    }
    (function.call)(arguments, scope)
}

fn wrong(arguments: &[Value], i: usize, wanted: &str) -> CallError {
    let got = arguments.get(i).map_or("nothing", Value::type_name);
    CallError(format!("argument {} is {got}, not {wanted}", i + 1))
}

fn string(arguments: &[Value], i: usize) -> Result<&str, CallError> {
    match arguments.get(i) {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(wrong(arguments, i, "a string")),
    }
}

fn list(arguments: &[Value], i: usize) -> Result<&[Value], CallError> {
    match arguments.get(i) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(wrong(arguments, i, "a query result")),
    }
}

fn sample(arguments: &[Value], i: usize) -> Result<(&crate::model::Labels, f64), CallError> {
    match arguments.get(i) {
        Some(Value::Sample(labels, value)) => Ok((labels, *value)),
        _ => Err(wrong(arguments, i, "a sample")),
    }
}

/// A number, or a text that is one: as Prometheus converts for `humanize` and its relatives.
fn number(arguments: &[Value], i: usize) -> Result<f64, CallError> {
    match arguments.get(i) {
        Some(Value::Float(v)) => Ok(*v),
        #[allow(clippy::cast_precision_loss, reason = "Go's own conversion")]
        Some(Value::Int(n)) => Ok(*n as f64),
        #[allow(clippy::cast_precision_loss, reason = "Go's own conversion")]
        Some(Value::Duration(n)) => Ok(*n as f64 / 1e9),
        Some(Value::Text(text)) => text.parse().map_err(|_| CallError(format!("{text:?} is not a number"))),
        _ => Err(wrong(arguments, i, "a number")),
    }
}

/// Seconds to nanoseconds, refused where they do not fit.
#[allow(clippy::cast_possible_truncation, reason = "checked to lie inside i64")]
fn nanos(seconds: f64) -> Result<i64, CallError> {
    let nanos = seconds * 1e9;
    if nanos.is_finite() && nanos.abs() < 9.2e18 {
        Ok(nanos as i64)
    } else {
        refuse(format!("{seconds} is out of range"))
    }
}

fn query(expression: &str, scope: &Scope<'_>) -> Result<Value, CallError> {
    let vector = scope.lookup.query(expression).map_err(|error| CallError(error.to_string()))?;
    Ok(Value::List(vector.into_iter().map(|(labels, value)| Value::Sample(labels, value)).collect()))
}

fn sort_by_label(name: &str, list: &[Value]) -> Result<Value, CallError> {
    let key = |value: &Value| match value {
        Value::Sample(labels, _) => labels.get(name).unwrap_or_default().to_string(),
        _ => String::new(),
    };
    let mut sorted = list.to_vec();
    sorted.sort_by_cached_key(key);
    Ok(Value::List(sorted.into()))
}

fn regex(pattern: &str) -> Result<Regex, CallError> {
    let built = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build();
    built.or_else(|_| refuse(format!("bad regular expression {pattern:?}")))
}

/// Writes piece by piece, because a replacement at every position can blow a text up beyond any limit.
fn replace_all(pattern: &str, replacement: &str, text: &str) -> Result<Value, CallError> {
    let regex = regex(pattern)?;
    let (mut output, mut last) = (String::new(), 0);
    for captures in regex.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        output.push_str(&text[last..whole.start()]);
        captures.expand(replacement, &mut output);
        last = whole.end();
        if output.len() > MAX_OUTPUT {
            return refuse(format!("the text is longer than {MAX_OUTPUT} bytes"));
        }
    }
    output.push_str(&text[last..]);
    Ok(Value::text(output))
}

fn link(expression: &str, tab: u8) -> Value {
    Value::text(format!("/graph?g0.expr={}&g0.tab={tab}", text::query_escape(expression)))
}

fn length(value: &Value) -> Result<Value, CallError> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Labels(labels) => labels.len(),
        Value::Map(map) => map.len(),
        Value::List(list) => list.len(),
        other => return refuse(format!("{} has no length", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// Go's `slice x from to`: a part of a text (in bytes) or of a list. A third index is the capacity, which has no meaning
/// here beyond its order.
fn slice(value: &Value, indices: &[Value]) -> Result<Value, CallError> {
    let length = match value {
        Value::Text(text) if indices.len() < 3 => text.len(),
        Value::List(list) => list.len(),
        other => return refuse(format!("cannot slice {} so", other.type_name())),
    };
    let mut bounds = Vec::with_capacity(3);
    for index in indices {
        match index {
            Value::Int(n) if usize::try_from(*n).is_ok_and(|n| n <= length) => {
                bounds.push(usize::try_from(*n).unwrap_or(0));
            }
            Value::Int(n) => return refuse(format!("index {n} is out of range")),
            other => return refuse(format!("cannot slice with {}", other.type_name())),
        }
    }
    if !bounds.is_sorted() {
        return refuse("the indices do not rise");
    }
    let (from, to) = (bounds.first().copied().unwrap_or(0), bounds.get(1).copied().unwrap_or(length));
    match value {
        Value::List(list) => Ok(Value::List(list[from..to].into())),
        Value::Text(text) => match text.get(from..to) {
            Some(part) => Ok(Value::text(part)),
            None => refuse("the cut goes through a character"),
        },
        _ => refuse("cannot slice this"),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value, CallError> {
    match (value, key) {
        (Value::Labels(labels), Value::Text(key)) => Ok(Value::text(labels.get(key).unwrap_or_default())),
        (Value::Map(map), Value::Text(key)) => Ok(map.get(key.as_ref()).cloned().unwrap_or(Value::Nil)),
        (Value::List(list), Value::Int(i)) => {
            let element = usize::try_from(*i).ok().and_then(|i| list.get(i));
            element.cloned().ok_or_else(|| CallError(format!("index {i} is out of range")))
        }
        (value, key) => refuse(format!("cannot index {} with {}", value.type_name(), key.type_name())),
    }
}
