//! One sample line of Prometheus text 0.0.4 or OpenMetrics 1.0, cut into its parts without copying them.

use std::borrow::Cow;

use super::text::TextLimits;
use crate::model::matcher::{is_label_name, is_metric_name};

/// A sample line. Its labels stand in the buffer that was handed to [`read`].
pub(super) struct Line<'a> {
    /// Metric name; `None` when it, or the name of a label, is UTF-8 beyond the classic alphabet.
    pub name: Option<&'a str>,
    /// The value, NaN and infinities included.
    pub value: f64,
    /// Whether a timestamp followed.
    pub timestamp: bool,
    /// Whether an exemplar followed.
    pub exemplar: bool,
}

/// Label names and unescaped values, in the order of the page.
pub(super) type Pairs<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// What is wrong with a line.
#[derive(Debug, PartialEq)]
pub(super) enum LineError {
    /// Not of the format; where (a byte offset from zero) and what should have stood there.
    Syntax(usize, &'static str),
    /// A label name stands twice.
    Twice(String),
    /// Beyond a limit, in words.
    Limit(String),
}

/// Reads a sample line (trimmed, not empty, no comment) and leaves its labels in `labels`.
pub(super) fn read<'a>(text: &'a str, limits: &TextLimits, labels: &mut Pairs<'a>) -> Result<Line<'a>, LineError> {
    labels.clear();
    let mut cursor = Cursor { text, at: 0 };
    let mut name = Name::Absent;
    if cursor.peek() != Some(b'{') {
        let word = cursor.word(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':');
        if !is_metric_name(word) {
            return Err(LineError::Syntax(0, "a metric name"));
        }
        name = Name::Legal(word);
    }
    let blank = cursor.blanks();
    if cursor.peek() == Some(b'{') {
        cursor.labels(limits, labels, &mut name)?;
        cursor.blanks();
    } else if !blank {
        return Err(cursor.expected("a blank or `{` after the metric name"));
    }
    let value = cursor.number("a number as the value")?;
    let timestamp = cursor.blanks() && cursor.peek().is_some_and(|byte| byte != b'#');
    if timestamp {
        cursor.number("a timestamp or the end of the line")?;
        cursor.blanks();
    }
    let exemplar = cursor.peek() == Some(b'#');
    if !exemplar && cursor.peek().is_some() {
        return Err(cursor.expected("the end of the line"));
    }
    let name = match name {
        Name::Legal(name) if name.len() > limits.max_name => return Err(limits.name_too_long(name)),
        Name::Legal(name) => Some(name),
        Name::Illegal => None,
        Name::Absent => return Err(LineError::Syntax(0, "a metric name")),
    };
    Ok(Line { name, value, timestamp, exemplar })
}

/// Reads a quoted name (`"my.metric"`) or a bare word at the start of `text`; returns it and the rest.
pub(super) fn read_name(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut cursor = Cursor { text, at: 0 };
    let name = match cursor.peek()? {
        b'"' => cursor.quoted().ok()?,
        _ => Cow::Borrowed(cursor.word(|byte| byte != b' ' && byte != b'\t')),
    };
    cursor.blanks();
    Some((name, &text[cursor.at..]))
}

/// What is known about the metric name so far.
enum Name<'a> {
    Absent,
    Legal(&'a str),
    Illegal,
}

/// A place in a line. `at` always stands on a character boundary: it only steps over ASCII bytes and whole strings.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expected(&self, what: &'static str) -> LineError {
        LineError::Syntax(self.at, what)
    }

    /// Takes the longest run of bytes that satisfy `is`. A run ends before an ASCII byte or takes whole characters.
    fn word(&mut self, is: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(|byte| !is(byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn blanks(&mut self) -> bool {
        !self.word(|byte| byte == b' ' || byte == b'\t').is_empty()
    }

    fn number(&mut self, what: &'static str) -> Result<f64, LineError> {
        let start = self.at;
        let word = self.word(|byte| byte != b' ' && byte != b'\t');
        word.parse().map_err(|_| LineError::Syntax(start, what))
    }

    fn labels(&mut self, limits: &TextLimits, labels: &mut Pairs<'a>, metric: &mut Name<'a>) -> Result<(), LineError> {
        self.at += 1;
        loop {
            self.blanks();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(());
            }
            let quoted = self.peek() == Some(b'"');
            let name = if quoted {
                self.quoted()?
            } else {
                Cow::Borrowed(self.word(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
            };
            self.blanks();
            if quoted && self.peek() != Some(b'=') {
                if !matches!(metric, Name::Absent) {
                    return Err(self.expected("`=` after a label name"));
                }
                *metric = legal(name, is_metric_name);
            } else {
                self.label(quoted, name, limits, labels, metric)?;
            }
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err(self.expected("`,` or `}` after a label")),
            }
        }
    }

    fn label(
        &mut self,
        quoted: bool,
        name: Cow<'a, str>,
        limits: &TextLimits,
        labels: &mut Pairs<'a>,
        metric: &mut Name<'a>,
    ) -> Result<(), LineError> {
        if !quoted && !is_label_name(&name) {
            return Err(self.expected("a label name"));
        }
        if self.peek() != Some(b'=') {
            return Err(self.expected("`=` after a label name"));
        }
        self.at += 1;
        self.blanks();
        if self.peek() != Some(b'"') {
            return Err(self.expected("a label value in double quotes"));
        }
        let value = self.quoted()?;
        if name.len() > limits.max_name {
            return Err(limits.name_too_long(&name));
        }
        if value.len() > limits.max_value {
            return Err(LineError::Limit(format!(
                "the value of label {name} has {} bytes, more than {}",
                value.len(),
                limits.max_value
            )));
        }
        if labels.len() == limits.max_labels {
            return Err(LineError::Limit(format!("a sample has more than {} labels", limits.max_labels)));
        }
        // The name of a metric is no label here: it would break the series' own.
        if name == crate::model::labels::METRIC_NAME || labels.iter().any(|(other, _)| *other == name) {
            return Err(LineError::Twice(name.into_owned()));
        }
        match legal(name, is_label_name) {
            Name::Legal(name) => labels.push((name, value)),
            // The whole sample goes: without this label it could be mistaken for another series.
            _ => *metric = Name::Illegal,
        }
        Ok(())
    }

    /// Reads a string in double quotes with the escapes `\\`, `\"` and `\n`; other backslashes stand for themselves.
    fn quoted(&mut self) -> Result<Cow<'a, str>, LineError> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let (mut end, mut escaped) = (start, false);
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                }
                Some(_) => end += 1,
                None => return Err(LineError::Syntax(bytes.len(), "a closing double quote")),
            }
        }
        self.at = end + 1;
        let raw = &self.text[start..end];
        Ok(if escaped { Cow::Owned(unescape(raw, true)) } else { Cow::Borrowed(raw) })
    }
}

fn legal<'a>(name: Cow<'a, str>, is: fn(&str) -> bool) -> Name<'a> {
    match name {
        Cow::Borrowed(name) if is(name) => Name::Legal(name),
        // A name that had escapes holds a quote, a backslash or a line end: none is in the classic alphabet.
        _ => Name::Illegal,
    }
}

/// Resolves `\\`, `\n` and, where quotes are escaped, `\"`. Everything else stays as written, as Prometheus keeps it.
pub(super) fn unescape(raw: &str, quotes: bool) -> String {
    let mut plain = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        let resolved = match (c, chars.peek()) {
            ('\\', Some('\\')) => Some('\\'),
            ('\\', Some('n')) => Some('\n'),
            ('\\', Some('"')) if quotes => Some('"'),
            _ => None,
        };
        if resolved.is_some() {
            chars.next();
        }
        plain.push(resolved.unwrap_or(c));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (Option<String>, Vec<(String, String)>, f64, bool, bool);

    fn parts(text: &str) -> Result<Parts, LineError> {
        let mut labels = Vec::new();
        let line = read(text, &TextLimits::default(), &mut labels)?;
        let labels = labels.into_iter().map(|(n, v)| (n.to_string(), v.into_owned())).collect();
        Ok((line.name.map(str::to_string), labels, line.value, line.timestamp, line.exemplar))
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    #[test]
    fn reads_every_part_of_a_line() {
        let name = |text: &str| Some(text.to_string());
        assert_eq!(parts("up 1"), Ok((name("up"), vec![], 1.0, false, false)));
        assert_eq!(parts("up{} +Inf 1395066363000"), Ok((name("up"), vec![], f64::INFINITY, true, false)));
        assert_eq!(
            parts("a:b { x = \"1\" , y=\"\\\"\\\\\\n\\q\", }\t-2.5e3"),
            Ok((name("a:b"), pairs(&[("x", "1"), ("y", "\"\\\n\\q")]), -2500.0, false, false))
        );
        assert_eq!(
            parts("x_bucket{le=\"0.1\"} 8 1.5 # {id=\"a\"} 0.05 1.4"),
            Ok((name("x_bucket"), pairs(&[("le", "0.1")]), 8.0, true, true))
        );
        assert_eq!(parts("x_total 8 # {} 1"), Ok((name("x_total"), vec![], 8.0, false, true)));
        assert!(parts("x NaN").unwrap().2.is_nan());
    }

    #[test]
    fn quoted_names_are_kept_only_where_they_are_legal() {
        assert_eq!(parts("{\"up\",a=\"1\"} 1").unwrap().0.as_deref(), Some("up"));
        assert_eq!(parts("{\"my.metric\",a=\"1\"} 1").unwrap().0, None);
        assert_eq!(parts("up{\"my.label\"=\"x\"} 1").unwrap().0, None);
        assert_eq!(parts("up{\"label\"=\"x\"} 1").unwrap().1, pairs(&[("label", "x")]));
    }

    #[test]
    fn says_where_a_line_is_wrong() {
        for (text, at, expected) in [
            ("<html>", 0, "a metric name"),
            ("{a=\"1\"} 1", 0, "a metric name"),
            ("up", 2, "a blank or `{` after the metric name"),
            ("up.x 1", 2, "a blank or `{` after the metric name"),
            ("up one", 3, "a number as the value"),
            ("up 1 2 3", 7, "the end of the line"),
            ("up{a} 1", 4, "`=` after a label name"),
            ("up{a=1} 1", 5, "a label value in double quotes"),
            ("up{a=\"1} 1", 10, "a closing double quote"),
            ("up{a=\"1\\", 8, "a closing double quote"),
            ("up{a=\"1\" b=\"2\"} 1", 9, "`,` or `}` after a label"),
            ("up{\"x\"} 1", 6, "`=` after a label name"),
            ("{\"a\":1}", 4, "`,` or `}` after a label"),
        ] {
            assert_eq!(parts(text), Err(LineError::Syntax(at, expected)), "{text}");
        }
        assert_eq!(parts("up{a=\"1\",a=\"2\"} 1"), Err(LineError::Twice("a".into())));
        assert_eq!(parts("up{__name__=\"x\"} 1"), Err(LineError::Twice("__name__".into())));
    }
}
