//! Small helpers for PromQL text: quoting, and which metrics an expression names.

/// A PromQL string literal with exactly this value. Quotes and backslashes cannot end it early.
pub(super) fn quote(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// Words of an expression outside of string literals that could be metric names, without a histogram's suffix.
pub(super) fn metric_names(expr: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    outside_quotes(expr).flat_map(move |part| part.split(move |c| !is_word(c))).filter(|word| word.contains('_')).map(
        |word| {
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix));
            histogram.unwrap_or(word)
        },
    )
}

/// The parts of an expression that lie outside of its string literals.
fn outside_quotes(expr: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(expr);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(start) = text.find(['"', '\'', '`']) else {
            rest = None;
            return Some(text);
        };
        let (quote, body) = (text.as_bytes()[start], &text[start + 1..]);
        rest = end_of_literal(body, quote).map(|end| &body[end..]);
        Some(&text[..start])
    })
}

/// Where the literal that began before `body` is over: the index behind its closing quote.
fn end_of_literal(body: &str, quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in body.bytes().enumerate() {
        match byte {
            b if b == quote && !escaped => return Some(index + 1),
            b'\\' if !escaped && quote != b'`' => escaped = true,
            _ => escaped = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(quote(r#"a"} or up{x="\"#), r#""a\"} or up{x=\"\\""#);
        assert_eq!(quote("{{ $labels.x }}\n$miner"), "\"{{ $labels.x }}\\n$miner\"");
    }

    #[test]
    fn finds_metrics_and_not_words_in_quotes() {
        let expr =
            r#"label_replace(sum by (le) (rate(a_seconds_bucket{x="no_t\"his_"}[5m])), "b_c", '$1', `d_e`, "") / f_g"#;
        let names: Vec<&str> = metric_names(expr).collect();
        assert_eq!(names, ["label_replace", "a_seconds", "f_g"]);
        assert_eq!(metric_names("x_y{a=\"open").count(), 1, "an open literal ends the search");
    }
}
