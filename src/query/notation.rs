//! Series as Prometheus' tests write them: `up{job="a"} 1 0+10x5 _ stale {{schema:0 count:4 buckets:[1 2 1]}}x3`.
//!
//! Source of the grammar: <https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series>.

use std::sync::Arc;

use crate::model::histogram::{Buckets, FloatHistogram, ResetHint, Span};
use crate::model::series::stale_nan;
use crate::model::{Labels, MatchOp};

use super::ast::Node;
use super::native::Sum;

/// Values that one series may have: a mistyped `x1000000000` must not take all memory.
pub const MAX_VALUES: usize = 1_000_000;

/// What stands at one time of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `_`: no sample.
    Gap,
    /// A number, or the stale marker.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// A text is no series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    /// The name and labels are wrong.
    #[error("{0:?} is no series: write a metric name, labels in braces, or both, as in up{{job=\"a\"}}")]
    Metric(String),
    /// A word is no value.
    #[error(
        "{0:?} is no value: write a number, _, stale, or a histogram in double braces, each with an optional repetition as in 1x5 or 0+10x5"
    )]
    Value(String),
    /// A histogram is wrong inside.
    #[error("{text:?} is no histogram: {message}")]
    Histogram {
        /// As written.
        text: String,
        /// What is wrong.
        message: String,
    },
    /// Too many values.
    #[error("the series has more than {MAX_VALUES} values")]
    TooLong,
}

/// Reads a whole line: name, labels and values.
///
/// # Errors
/// [`NotationError`] for whatever is wrong first.
pub fn series(line: &str) -> Result<(Labels, Vec<Item>), NotationError> {
    let line = line.trim();
    let end = metric_end(line).ok_or_else(|| NotationError::Metric(line.to_string()))?;
    Ok((metric(&line[..end])?, values(&line[end..])?))
}

/// Where name and labels end. Blanks may stand between the two; `{{` begins a histogram.
fn metric_end(line: &str) -> Option<usize> {
    let name = line.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(line.len());
    let rest = line[name..].trim_start();
    if !rest.starts_with('{') || rest.starts_with("{{") {
        return Some(name);
    }
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in line.char_indices().skip_while(|(at, _)| *at < line.len() - rest.len()) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if c == '}' => return Some(at + 1),
            None => {}
        }
    }
    None
}

/// Reads a name with labels, as in `up{job="a"}`; `{}` is the empty set.
///
/// # Errors
/// [`NotationError::Metric`] when it is anything else.
pub fn metric(text: &str) -> Result<Labels, NotationError> {
    let refused = || NotationError::Metric(text.to_string());
    let bare = text.trim();
    let body = bare.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if body.is_some_and(|body| body.trim().is_empty()) {
        return Ok(Labels::empty());
    }
    // A set of nothing but empty values is no selector; with a name in front it is, and means the same.
    let probe = if body.is_some() { format!("{{__probe__=\"1\",{}", &bare[1..]) } else { bare.to_string() };
    let Ok(Node::Vector(selector)) = super::parse(&probe).map(|expr| expr.node) else { return Err(refused()) };
    if selector.shift.at.is_some() || selector.shift.offset.is_some() {
        return Err(refused());
    }
    let mut labels = Vec::with_capacity(selector.matchers.len());
    for matcher in selector.matchers.into_iter().filter(|matcher| matcher.name != "__probe__") {
        if matcher.op != MatchOp::Equal {
            return Err(refused());
        }
        labels.push((matcher.name, matcher.value));
    }
    Ok(Labels::new(labels))
}

/// Reads the values of a series.
///
/// # Errors
/// [`NotationError`] at the first word that is no value, and when there are more than [`MAX_VALUES`].
pub fn values(text: &str) -> Result<Vec<Item>, NotationError> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = word_end(rest);
        let (word, tail) = rest.split_at(end);
        expand(word, &mut all)?;
        rest = tail.trim_start();
    }
    Ok(all)
}

/// A word ends at a blank that stands outside of a histogram.
fn word_end(text: &str) -> usize {
    let mut from = 0;
    loop {
        let blank = text[from..].find(char::is_whitespace).map_or(text.len(), |at| from + at);
        let Some(open) = text[from..blank].find("{{").map(|at| from + at) else { return blank };
        let Some(close) = text[open..].find("}}") else { return text.len() };
        from = open + close + 2;
    }
}

/// Appends what a word says.
fn expand(word: &str, all: &mut Vec<Item>) -> Result<(), NotationError> {
    let refused = || NotationError::Value(word.to_string());
    let (head, times) = match word.rsplit_once('x') {
        // Within a histogram an x belongs to a word.
        Some((head, times)) if !times.ends_with('}') => (head, Some(times.parse::<usize>().map_err(|_| refused())?)),
        _ => (word, None),
    };
    // `_x3` are three gaps, `1x3` is a one and three more.
    let count = times.map_or(1, |times| if head == "_" { times } else { times.saturating_add(1) });
    if count > MAX_VALUES - all.len() {
        return Err(NotationError::TooLong);
    }
    let item = match head {
        "_" => Item::Gap,
        "stale" => Item::Float(stale_nan()),
        _ if head.starts_with("{{") => return histograms(head, count, all),
        _ => {
            let cut = step_at(head).unwrap_or(head.len());
            let (first, step) = head.split_at(cut);
            let mut value = first.parse::<f64>().map_err(|_| refused())?;
            let step = match (step, times) {
                ("", _) => 0.0,
                (step, Some(_)) => step.parse().map_err(|_| refused())?,
                (_, None) => return Err(refused()),
            };
            for _ in 0..count {
                all.push(Item::Float(value));
                // Step by step, so that rounding is that of Prometheus.
                value += step;
            }
            return Ok(());
        }
    };
    all.extend(std::iter::repeat_n(item, count));
    Ok(())
}

/// Appends `count` times what `{{…}}`, `{{…}}+{{…}}` or `{{…}}-{{…}}` says.
fn histograms(head: &str, count: usize, all: &mut Vec<Item>) -> Result<(), NotationError> {
    let end = head.find("}}").map_or(head.len(), |at| at + 2);
    let (first, step) = head.split_at(end);
    let first = histogram(first)?;
    let (sign, step) = match (step.strip_prefix('+'), step.strip_prefix('-')) {
        (Some(step), _) => (1.0, histogram(step)?),
        (_, Some(step)) => (-1.0, histogram(step)?),
        _ if step.is_empty() => {
            all.extend(std::iter::repeat_n(Item::Histogram(Arc::new(first)), count));
            return Ok(());
        }
        _ => return Err(NotationError::Value(head.to_string())),
    };
    let mut sum = Sum::of(&first);
    for _ in 0..count {
        all.push(Item::Histogram(Arc::new(sum.clone().finish())));
        sum.add(&step, sign).map_err(|_| NotationError::Histogram {
            text: head.to_string(),
            message: "exponential and custom buckets cannot be added".into(),
        })?;
    }
    Ok(())
}

/// Where the step of `1+2x3` begins; the sign of an exponent or of the first number does not count.
fn step_at(head: &str) -> Option<usize> {
    let bytes = head.as_bytes();
    (1..bytes.len()).find(|at| matches!(bytes[*at], b'+' | b'-') && !matches!(bytes[at - 1], b'e' | b'E' | b'+' | b'-'))
}

/// Reads `{{schema:0 sum:5 count:4 buckets:[1 2 1]}}`.
///
/// # Errors
/// [`NotationError::Histogram`] naming the word that is wrong.
pub fn histogram(text: &str) -> Result<FloatHistogram, NotationError> {
    let refused = |message: String| NotationError::Histogram { text: text.to_string(), message };
    let inner = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let Some(mut rest) = inner.filter(|inner| !inner.contains("{{")).map(str::trim) else {
        return Err(refused("it must stand alone in double braces".into()));
    };
    let mut read = FloatHistogram::default();
    let (mut offset, mut n_offset, mut buckets, mut n_buckets) = (0, 0, Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (key, tail) = rest.split_once(':').ok_or_else(|| refused(format!("{rest:?} has no value")))?;
        let end = match tail.starts_with('[') {
            true => tail.find(']').map(|at| at + 1).ok_or_else(|| refused("a list is not closed".into()))?,
            false => tail.find(char::is_whitespace).unwrap_or(tail.len()),
        };
        let value = &tail[..end];
        let wrong = || refused(format!("{key}:{value} is not what {key} can be"));
        let float = || value.parse::<f64>().map_err(|_| wrong());
        let list = || {
            let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(wrong)?;
            inner.split_whitespace().map(|word| word.parse().map_err(|_| wrong())).collect::<Result<Vec<f64>, _>>()
        };
        match key {
            "schema" => read.schema = value.parse().map_err(|_| wrong())?,
            "sum" => read.sum = float()?,
            "count" => read.count = float()?,
            "z_bucket" => read.zero_count = float()?,
            "z_bucket_w" => read.zero_threshold = float()?,
            "custom_values" => read.custom_values = list()?,
            "buckets" => buckets = list()?,
            "n_buckets" => n_buckets = list()?,
            "offset" => offset = value.parse().map_err(|_| wrong())?,
            "n_offset" => n_offset = value.parse().map_err(|_| wrong())?,
            "counter_reset_hint" => read.reset_hint = hint(value).ok_or_else(wrong)?,
            _ => {
                let known = "schema sum count z_bucket z_bucket_w custom_values buckets n_buckets offset n_offset \
                             counter_reset_hint";
                let near = crate::model::words::hint(key, known.split_whitespace());
                return Err(refused(format!("unknown word {key:?}; {near}")));
            }
        }
        rest = tail[end..].trim_start();
    }
    (read.positive, read.negative) = (run(offset, buckets), run(n_offset, n_buckets));
    Ok(read)
}

fn hint(word: &str) -> Option<ResetHint> {
    Some(match word {
        "unknown" => ResetHint::Unknown,
        "reset" => ResetHint::Reset,
        "not_reset" => ResetHint::NoReset,
        "gauge" => ResetHint::Gauge,
        _ => return None,
    })
}

/// One run of buckets.
fn run(offset: i32, counts: Vec<f64>) -> Buckets {
    match u32::try_from(counts.len()) {
        Ok(length) if length > 0 => Buckets { spans: vec![Span { offset, length }], counts },
        _ => Buckets::default(),
    }
}

/// Writes a histogram so that [`histogram`] reads it back: one run of buckets on each side, without the empty ones at its
/// ends. Two histograms that are written alike say the same.
pub fn written(histogram: &FloatHistogram) -> String {
    let h = histogram;
    let mut words = vec![format!("schema:{}", h.schema)];
    for (word, value) in
        [("count", h.count), ("sum", h.sum), ("z_bucket", h.zero_count), ("z_bucket_w", h.zero_threshold)]
    {
        if value != 0.0 {
            words.push(format!("{word}:{}", super::format_value(value)));
        }
    }
    let list = |values: &[f64]| values.iter().map(|v| super::format_value(*v)).collect::<Vec<_>>().join(" ");
    if !h.custom_values.is_empty() {
        words.push(format!("custom_values:[{}]", list(&h.custom_values)));
    }
    for (side, prefix) in [(&h.positive, ""), (&h.negative, "n_")] {
        let (offset, counts) = one_run(side);
        if offset != 0 {
            words.push(format!("{prefix}offset:{offset}"));
        }
        if !counts.is_empty() {
            words.push(format!("{prefix}buckets:[{}]", list(&counts)));
        }
    }
    match h.reset_hint {
        ResetHint::Unknown => {}
        ResetHint::Reset => words.push("counter_reset_hint:reset".into()),
        ResetHint::NoReset => words.push("counter_reset_hint:not_reset".into()),
        ResetHint::Gauge => words.push("counter_reset_hint:gauge".into()),
    }
    format!("{{{{{}}}}}", words.join(" "))
}

/// All buckets from the first to the last that is not empty, and the index of the first. A gap too wide to be written
/// out ends the list.
fn one_run(side: &Buckets) -> (i32, Vec<f64>) {
    const WIDEST: i64 = 10_000;
    let (mut index, mut first, mut counts) = (0_i64, 0_i64, Vec::new());
    let mut rest = side.counts.iter();
    for span in &side.spans {
        index += i64::from(span.offset);
        for count in rest.by_ref().take(span.length as usize) {
            if *count != 0.0 {
                first = if counts.is_empty() { index } else { first };
                if index - first > WIDEST {
                    break;
                }
                counts.resize(usize::try_from(index - first).unwrap_or(0), 0.0);
                counts.push(*count);
            }
            index += 1;
        }
    }
    (i32::try_from(first).unwrap_or(0), counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(text: &str) -> Vec<Option<f64>> {
        let value = |item: Item| match item {
            Item::Float(v) => Some(v),
            _ => None,
        };
        values(text).unwrap().into_iter().map(value).collect()
    }

    #[test]
    fn values_repeat_and_step() {
        assert_eq!(floats("1 2x2 0+1x2 _ _x2 -2+1x1"), {
            let numbers = [1.0, 2.0, 2.0, 2.0, 0.0, 1.0, 2.0].map(Some);
            [&numbers[..], &[None; 3], &[-2.0, -1.0].map(Some)].concat()
        });
        assert_eq!(
            floats("1e3 1e-3+1e-3x1 Inf -Inf 5-1x1"),
            [1e3, 1e-3, 2e-3, f64::INFINITY, -f64::INFINITY, 5.0, 4.0].map(Some)
        );
        assert!(crate::model::series::is_stale(floats("stale")[0].unwrap()) && floats("NaN")[0].unwrap().is_nan());
        assert_eq!(floats(" "), []);
    }

    #[test]
    fn names_and_labels() {
        let (labels, items) = series("up {job=\"a}\", b='c'}  1").unwrap();
        assert_eq!(labels.to_string(), "up{b=\"c\", job=\"a}\"}");
        assert_eq!(items, [Item::Float(1.0)]);
        assert_eq!(series("{} 1").unwrap().0, Labels::empty());
        assert_eq!(metric("{a=\"\"}").unwrap(), Labels::empty());
        assert_eq!(metric("{__name__=\"x\",a=\"1\"}").unwrap(), metric("x{a=\"1\"}").unwrap());
        for bad in ["up{a=~\"x\"}", "up{", "up offset 5m", "sum(up)", "1"] {
            assert!(metric(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn histograms() {
        let items =
            values("{{schema:1 count:3 sum:2.5 z_bucket:1 z_bucket_w:0.1 buckets:[1 0] offset:-2 n_buckets:[1]}}x1 _")
                .unwrap();
        assert_eq!(items.len(), 3);
        let Item::Histogram(read) = &items[1] else { panic!("{items:?}") };
        assert_eq!((read.schema, read.count, read.sum, read.zero_count, read.zero_threshold), (1, 3.0, 2.5, 1.0, 0.1));
        assert_eq!(read.positive, Buckets { spans: vec![Span { offset: -2, length: 2 }], counts: vec![1.0, 0.0] });
        assert_eq!(read.negative.counts, [1.0]);
        let rising = values("{{schema:0 count:1 buckets:[1]}}+{{schema:1 count:1 buckets:[0 1]}}x2").unwrap();
        let Item::Histogram(last) = &rising[2] else { panic!("{rising:?}") };
        assert_eq!((last.schema, last.count, last.positive.counts.clone()), (0, 3.0, vec![1.0, 2.0]));
        assert!(values("{{}}+{{schema:-53}}x1").is_err() && values("{{}}*{{}}x1").is_err());
        let custom = histogram("{{schema:-53 custom_values:[5 10] counter_reset_hint:gauge}}").unwrap();
        assert_eq!((custom.custom_values, custom.reset_hint), (vec![5.0, 10.0], ResetHint::Gauge));
        let text = "{{schema:0 count:4 sum:-1.5 custom_values:[1 2] offset:2 buckets:[1 0 2] n_buckets:[1] counter_reset_hint:gauge}}";
        assert_eq!(written(&histogram(text).unwrap()), text);
        assert_eq!(
            written(&histogram("{{buckets:[0 0 1 0] offset:-1}}").unwrap()),
            "{{schema:0 offset:1 buckets:[1]}}"
        );
        let wrong = histogram("{{buckts:[1]}}").unwrap_err().to_string();
        assert!(wrong.ends_with("unknown word \"buckts\"; did you mean \"buckets\"?"), "{wrong}");
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        for bad in
            ["1x", "x3", "1+2", "1+-2x3", "a", "1xa", "_1", "1 2y3", "{{schema:x}}", "{{", "{{sum:1", "1x99999999999"]
        {
            assert!(values(bad).is_err(), "{bad}");
        }
        assert_eq!(values("1x9999999"), Err(NotationError::TooLong));
    }
}
