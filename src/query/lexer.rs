//! Text → tokens. Every token knows its bytes, so that every later error can point at them.

use crate::model::duration;

use super::error::{QueryError, Span};

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword, as written; keywords are recognised by the parser, because most are also legal names.
    Word(String),
    /// A number.
    Number(f64),
    /// A duration, in milliseconds; as a number it counts seconds.
    Duration(f64),
    /// A string without its quotes.
    String(String),
    /// Punctuation and operators.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// A token and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lexeme {
    pub token: Token,
    pub span: Span,
}

/// Longest first, so that `=~` is not read as `=` and `~`.
const SIGNS: [&str; 26] = [
    "</", ">/", "==", "!=", "=~", "!~", "<=", ">=", "+", "-", "*", "/", "%", "^", "<", ">", "=", "(", ")", "{", "}",
    "[", "]", ",", "@", ":",
];

/// Splits a query into tokens; the last one is [`Token::End`].
pub(super) fn lex(text: &str) -> Result<Vec<Lexeme>, QueryError> {
    let mut lexer = Lexer { text, at: 0, brackets: 0 };
    let mut lexemes = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let token = lexer.next()?;
        let end = token == Token::End;
        lexemes.push(Lexeme { token, span: Span::new(start, lexer.at) });
        if end {
            return Ok(lexemes);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Inside `[…]` a colon separates range and step; elsewhere it belongs to a name.
    brackets: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            let comment = if trimmed.starts_with('#') { trimmed.find('\n').unwrap_or(trimmed.len()) } else { 0 };
            let skipped = rest.len() - trimmed.len() + comment;
            if skipped == 0 {
                return;
            }
            self.at += skipped;
        }
    }

    fn next(&mut self) -> Result<Token, QueryError> {
        let mut chars = self.rest().chars();
        let Some(first) = chars.next() else {
            return Ok(Token::End);
        };
        let second = chars.next().unwrap_or(' ');
        let colon_is_name = self.brackets == 0;
        match first {
            '"' | '\'' | '`' => self.string(first),
            '0'..='9' => self.number(),
            '.' if second.is_ascii_digit() => self.number(),
            c if c.is_ascii_alphabetic() || c == '_' || (c == ':' && colon_is_name) => {
                let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || (c == ':' && colon_is_name);
                let length = self.rest().find(|c| !name(c)).unwrap_or(self.rest().len());
                let word = self.rest()[..length].to_string();
                self.at += length;
                Ok(Token::Word(word))
            }
            _ => self.sign(first),
        }
    }

    fn sign(&mut self, first: char) -> Result<Token, QueryError> {
        let Some(sign) = SIGNS.into_iter().find(|sign| self.rest().starts_with(sign)) else {
            let span = Span::new(self.at, self.at + first.len_utf8());
            let error = QueryError::syntax(format!("unexpected character {first:?}"), span);
            return Err(match first {
                '!' => error.hint("write != or !~; the logical operators are and, or, unless"),
                '&' => error.hint("write and"),
                '|' => error.hint("write or"),
                '“' | '”' | '‘' | '’' => error.hint("use plain quotes"),
                _ => error,
            });
        };
        match sign {
            "[" => self.brackets += 1,
            "]" => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        self.at += sign.len();
        Ok(Token::Sign(sign))
    }

    fn number(&mut self) -> Result<Token, QueryError> {
        let rest = self.rest();
        let length = number_length(rest);
        let written = rest[..length].to_string();
        let span = Span::new(self.at, self.at + length);
        self.at += length;
        if let Some(number) = parse_number(&written) {
            return Ok(Token::Number(number));
        }
        match duration::parse_duration(&written) {
            Ok(duration) => Ok(Token::Duration(duration.as_millis() as f64)),
            Err(_) => Err(QueryError::syntax(format!("{written:?} is neither a number nor a duration"), span)
                .hint("durations are written 30s, 5m, 1h30m or 1d, the largest unit first")),
        }
    }

    fn string(&mut self, quote: char) -> Result<Token, QueryError> {
        let start = self.at;
        let mut bytes = Vec::new();
        let mut chars = self.rest().char_indices().skip(1);
        let open = |end| QueryError::syntax("the string is not closed", Span::new(start, end));
        let length = loop {
            let Some((at, c)) = chars.next() else {
                return Err(open(self.text.len()));
            };
            if c == quote {
                break at + 1;
            }
            match c {
                '\n' if quote != '`' => return Err(open(start + at)),
                '\\' if quote != '`' => {
                    let consumed = unescape(&self.text[start + at..], quote, &mut bytes)
                        .ok_or_else(|| QueryError::syntax("unknown escape", Span::new(start + at, start + at + 2)))?;
                    let rest = &self.text[start + at..start + at + consumed];
                    for _ in 1..rest.chars().count() {
                        chars.next();
                    }
                }
                _ => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        };
        self.at = start + length;
        let written = &self.text[start..self.at];
        String::from_utf8(bytes).map(Token::String).map_err(|_| {
            // Labels are UTF-8 here, so such a string could match or name nothing.
            QueryError::syntax(
                format!("{written} is not UTF-8: invalid label name {written}"),
                Span::new(start, self.at),
            )
        })
    }
}

/// Reads one escape at the start of `text` (which begins with a backslash) and returns its length in bytes.
fn unescape(text: &str, quote: char, out: &mut Vec<u8>) -> Option<usize> {
    let kind = text[1..].chars().next()?;
    let simple = match kind {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        c if c == quote => Some(c as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Some(2);
    }
    let (digits_at, length, radix) = match kind {
        'x' => (2, 2, 16),
        'u' => (2, 4, 16),
        'U' => (2, 8, 16),
        '0'..='7' => (1, 3, 8),
        _ => return None,
    };
    let digits = text.get(digits_at..digits_at + length)?;
    let code = u32::from_str_radix(digits, radix).ok()?;
    if matches!(kind, 'u' | 'U') {
        out.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.push(u8::try_from(code).ok()?);
    }
    Some(digits_at + length)
}

/// How many bytes belong to the number or duration at the start of `text`, wrong letters included: they make the
/// error name the whole word.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let mut length = 0;
    while let Some(byte) = bytes.get(length) {
        let sign_of_exponent = matches!(byte, b'+' | b'-')
            && !hex
            && length > 0
            && matches!(bytes[length - 1], b'e' | b'E')
            && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || sign_of_exponent) {
            break;
        }
        length += 1;
    }
    length
}

/// Numbers as Go reads them: decimal, hexadecimal, octal with a leading zero, underscores between digits.
fn parse_number(text: &str) -> Option<f64> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    if text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        return None;
    }
    if let Some(hex) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().map(|number| number as f64);
    }
    if plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        return u64::from_str_radix(&plain, 8).ok().map(|number| number as f64);
    }
    // Rust would read "infinity" too, but a number starts with a digit or a dot here.
    plain.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        lex(text).unwrap().into_iter().map(|lexeme| lexeme.token).collect()
    }

    #[test]
    fn numbers_durations_and_strings() {
        let numbers = [("0x1f", 31.0), ("017", 15.0), ("1e-3", 0.001), (".5", 0.5), ("1_000", 1000.0), ("5.", 5.0)];
        for (text, number) in numbers {
            assert_eq!(tokens(text), [Token::Number(number), Token::End], "{text}");
        }
        assert_eq!(tokens("1h30m"), [Token::Duration(5_400_000.0), Token::End]);
        assert_eq!(tokens(r#""a\n\x41\u00e9\"'""#), [Token::String("a\nAé\"'".into()), Token::End]);
        assert_eq!(tokens(r"`a\n`"), [Token::String("a\\n".into()), Token::End]);
    }

    #[test]
    fn a_colon_separates_only_in_brackets() {
        assert_eq!(tokens("a:b"), [Token::Word("a:b".into()), Token::End]);
        assert_eq!(tokens("[5m:1m]")[1..4], [Token::Duration(300_000.0), Token::Sign(":"), Token::Duration(60_000.0)]);
    }

    #[test]
    fn mistakes_are_placed() {
        for (text, start, end) in [("up + 5mx", 5, 8), ("a & b", 2, 3), ("x{a=\"b", 4, 6), ("\"\\q\"", 1, 3)] {
            assert_eq!(lex(text).unwrap_err().span, Some(Span::new(start, end)), "{text}");
        }
    }
}
