//! Samples as JSON, letter by letter as Prometheus writes them.
//!
//! Written straight into the text: an answer may hold a million points, and a tree of JSON values would hold each in some
//! hundred bytes.

use std::fmt::Write;

use crate::model::{FloatHistogram, Labels, Point, Series};
use crate::query::{Value, VectorSample, populated_buckets};

/// A JSON text.
pub(super) fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // As Go does, so that an answer may stand inside a page.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Seconds with milliseconds only where there are any.
pub(super) fn time(out: &mut String, millis: i64) {
    let (sign, size) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
    let _ = match size % 1000 {
        0 => write!(out, "{sign}{}", size / 1000),
        rest => write!(out, "{sign}{}.{rest:03}", size / 1000),
    };
}

/// A number as Go's `strconv` writes it in the shortest way: with an exponent below 1e-6 and from 1e21 on.
pub(super) fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_string(),
        f64::NEG_INFINITY => "-Inf".to_string(),
        value if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) && !value.is_nan() => exponential(value),
        value => value.to_string(),
    }
}

/// A number as Go's `strconv` writes it with an exponent of at least two digits: the value of an alert.
pub(super) fn exponential(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, size) = exponent.strip_prefix('-').map_or(('+', exponent), |size| ('-', size));
            format!("{digits}e{sign}{size:0>2}")
        }
        None if value == f64::INFINITY => "+Inf".to_string(),
        None if value == f64::NEG_INFINITY => "-Inf".to_string(),
        None => text,
    }
}

/// A label set.
pub(super) fn labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        text(out, name);
        out.push(':');
        text(out, value);
    }
    out.push('}');
}

fn point(out: &mut String, at: i64, value: f64) {
    out.push('[');
    time(out, at);
    out.push(',');
    quoted(out, value);
    out.push(']');
}

fn quoted(out: &mut String, value: f64) {
    out.push('"');
    out.push_str(&number(value));
    out.push('"');
}

/// A native histogram at a time: its buckets as `[rule, lower, upper, count]`, the rule saying which bounds belong to it.
fn histogram(out: &mut String, at: i64, histogram: &FloatHistogram) {
    out.push('[');
    time(out, at);
    out.push_str(",{\"count\":");
    quoted(out, histogram.count);
    out.push_str(",\"sum\":");
    quoted(out, histogram.sum);
    let buckets = populated_buckets(histogram);
    if !buckets.is_empty() {
        out.push_str(",\"buckets\":");
        list(out, &buckets, |out, bucket| {
            let _ = write!(out, "[{}", bucket.rule());
            for value in [bucket.lower, bucket.upper, bucket.count] {
                out.push(',');
                quoted(out, value);
            }
            out.push(']');
        });
    }
    out.push_str("}]");
}

/// A list, its elements written by `each`.
pub(super) fn list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut String, T)) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(']');
}

fn sample(out: &mut String, sample: &VectorSample) {
    out.push_str("{\"metric\":");
    labels(out, &sample.labels);
    match &sample.h {
        None => {
            out.push_str(",\"value\":");
            point(out, sample.t, sample.v);
        }
        Some(distribution) => {
            out.push_str(",\"histogram\":");
            histogram(out, sample.t, distribution);
        }
    }
    out.push('}');
}

fn series(out: &mut String, series: &Series) {
    out.push_str("{\"metric\":");
    labels(out, &series.labels);
    // As in Prometheus, a list that would be empty is not there.
    if !series.points.is_empty() {
        out.push_str(",\"values\":");
        list(out, &series.points, |out, Point { t, v }| point(out, *t, *v));
    }
    if !series.histograms.is_empty() {
        out.push_str(",\"histograms\":");
        list(out, &series.histograms, |out, (t, distribution)| histogram(out, *t, distribution));
    }
    out.push('}');
}

/// `resultType` and `result` of a query.
pub(super) fn value(out: &mut String, value: &Value) {
    match value {
        Value::Scalar(Point { t, v }) => {
            out.push_str("\"resultType\":\"scalar\",\"result\":");
            point(out, *t, *v);
        }
        Value::String(said, at) => {
            out.push_str("\"resultType\":\"string\",\"result\":[");
            time(out, *at);
            out.push(',');
            text(out, said);
            out.push(']');
        }
        Value::Vector(samples) => {
            out.push_str("\"resultType\":\"vector\",\"result\":");
            list(out, samples, sample);
        }
        Value::Matrix(all) => {
            out.push_str("\"resultType\":\"matrix\",\"result\":");
            list(out, all, series);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::{Buckets, Span};

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (0.000001, "0.000001"),
            (-1e300, "-1e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, written) in cases {
            assert_eq!(number(value), written);
        }
        let cases = [(1.0, "1e+00"), (0.0, "0e+00"), (12.5, "1.25e+01"), (f64::NAN, "NaN"), (f64::INFINITY, "+Inf")];
        for (value, written) in cases {
            assert_eq!(exponential(value), written);
        }
    }

    #[test]
    fn times_have_milliseconds_only_where_there_are_any() {
        for (millis, written) in [(0, "0"), (1_435_781_430_781, "1435781430.781"), (1500, "1.500"), (-20, "-0.020")] {
            let mut out = String::new();
            time(&mut out, millis);
            assert_eq!(out, written);
        }
    }

    #[test]
    fn histograms_are_written_as_prometheus_writes_them() {
        let distribution = FloatHistogram {
            schema: 0,
            zero_threshold: 0.5,
            zero_count: 1.0,
            count: 4.0,
            sum: 18.4,
            positive: Buckets { spans: vec![Span { offset: 0, length: 2 }], counts: vec![1.0, 0.0] },
            negative: Buckets { spans: vec![Span { offset: 0, length: 1 }], counts: vec![2.0] },
            ..FloatHistogram::default()
        };
        let series =
            Series { histograms: vec![(1500, distribution.into())], ..Series::floats(Labels::empty(), Vec::new()) };
        let mut out = String::new();
        value(&mut out, &Value::Matrix(vec![series]));
        let want = r#""resultType":"matrix","result":[{"metric":{},"histograms":[[1.500,{"count":"4","sum":"18.4","buckets":[[1,"-1","-0.5","2"],[3,"-0.5","0.5","1"],[0,"0.5","1","1"]]}]]}]"#;
        assert_eq!(out, want);
    }

    #[test]
    fn texts_read_back() {
        for said in ["plain", "\"\\\u{1}\n<b>&\u{2028}", "ünï 🪔"] {
            let mut out = String::new();
            text(&mut out, said);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), said);
            assert!(!out.contains('<'));
        }
    }
}
