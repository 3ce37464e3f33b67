//! Label matchers, in the notation that Prometheus and Alertmanager share: `name="value"`, `!=`, `=~`, `!~`.

use std::fmt;

use regex::Regex;

use super::labels::Labels;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends
    Regex,
    /// `!~`, anchored at both ends
    NotRegex,
}

impl MatchOp {
    /// The operator as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// One condition on one label. An absent label is the same as an empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Label name.
    pub name: String,
    /// Comparison.
    pub op: MatchOp,
    /// The value or pattern as written.
    pub value: String,
    regex: Option<Regex>,
}

/// Why a matcher could not be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MatcherError {
    /// The pattern is not a regular expression.
    #[error("bad regular expression {pattern:?}: {reason}")]
    BadRegex {
        /// As written.
        pattern: String,
        /// From the regular-expression crate, last line.
        reason: String,
    },
    /// Not of the form `name="value"`.
    #[error("{text:?} is not a matcher: write name=\"value\", name!=\"value\", name=~\"pattern\" or name!~\"pattern\"")]
    Syntax {
        /// As written.
        text: String,
    },
}

/// Compiled patterns may not grow beyond this: patterns come from rule files and query strings.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

impl Matcher {
    /// Builds a matcher, compiling the pattern of a regex one.
    ///
    /// # Errors
    /// [`MatcherError::BadRegex`] when the pattern does not compile.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, MatcherError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(anchored(&value)?),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Matcher { name: name.into(), op, value, regex })
    }

    /// A matcher for the equality `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Reads `name="value"` as Alertmanager writes it; the quotes may be left out.
    ///
    /// # Errors
    /// [`MatcherError`] when the text has no operator, no label name, or a bad pattern.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let syntax = || MatcherError::Syntax { text: text.to_string() };
        let at = text.find(['=', '!']).ok_or_else(syntax)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (op, value) =
            [(MatchOp::Regex, "=~"), (MatchOp::NotRegex, "!~"), (MatchOp::NotEqual, "!="), (MatchOp::Equal, "=")]
                .into_iter()
                .find_map(|(op, written)| rest.strip_prefix(written).map(|value| (op, value.trim())))
                .ok_or_else(syntax)?;
        if !is_label_name(name) {
            return Err(syntax());
        }
        let value =
            if value.starts_with('"') { serde_json::from_str(value).map_err(|_| syntax())? } else { value.to_string() };
        Matcher::new(name, op, value)
    }

    /// Whether a label value (empty for an absent label) satisfies the matcher.
    pub fn matches_value(&self, value: &str) -> bool {
        let hit = match &self.regex {
            Some(regex) => regex.is_match(value),
            None => self.value == value,
        };
        hit == matches!(self.op, MatchOp::Equal | MatchOp::Regex)
    }

    /// Whether a label set satisfies the matcher.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.name).unwrap_or_default())
    }
}

/// Compiles a pattern the way Prometheus does: anchored at both ends, `.` matching newlines too.
///
/// # Errors
/// [`MatcherError::BadRegex`] when the pattern does not compile.
pub fn anchored(pattern: &str) -> Result<Regex, MatcherError> {
    regex::RegexBuilder::new(&format!("^(?s:{pattern})$")).size_limit(REGEX_SIZE_LIMIT).build().map_err(|error| {
        let reason = error.to_string().lines().last().unwrap_or_default().trim().to_string();
        MatcherError::BadRegex { pattern: pattern.to_string(), reason }
    })
}

/// Whether `name` can be a label name in Prometheus' classic alphabet.
pub fn is_label_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether `name` can be a metric name in Prometheus' classic alphabet.
pub fn is_metric_name(name: &str) -> bool {
    let mut chars = name.chars();
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    chars.next().is_some_and(first) && chars.all(|c| first(c) || c.is_ascii_digit())
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_alertmanager_notation() {
        let labels = Labels::new([("severity", "warning"), ("alertname", "Hot")]);
        let hit = |text: &str| Matcher::parse(text).map(|m| m.matches(&labels));
        assert_eq!(hit("severity=~\"warning|critical\""), Ok(true));
        assert_eq!(hit("severity=~warn"), Ok(false), "patterns are anchored");
        assert_eq!(hit("alertname != Cold"), Ok(true));
        assert_eq!(hit("absent=\"\""), Ok(true));
        assert_eq!(hit("alertname!~H.*"), Ok(false));
    }

    #[test]
    fn refuses_what_is_no_matcher() {
        for text in ["", "alertname", "=x", "a b=c", "a=\"x"] {
            assert!(matches!(Matcher::parse(text), Err(MatcherError::Syntax { .. })), "{text}");
        }
        assert!(matches!(Matcher::parse("a=~\"(\""), Err(MatcherError::BadRegex { .. })));
    }
}
