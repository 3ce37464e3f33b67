//! Cuts a template into texts and actions, and actions into tokens.

use super::TemplateError;

/// Text, or the tokens of one action.
#[derive(Debug)]
pub(super) enum Item {
    Text(String),
    Action { at: usize, tokens: Vec<Token> },
}

/// One token, its byte offset, and whether blanks stand before it (`.a.b` is one operand, `.a .b` are two).
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub at: usize,
    pub spaced: bool,
    pub kind: TokenKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Word(String),
    /// `.name`
    Field(String),
    /// `$` or `$name`
    Variable(String),
    Dot,
    Text(String),
    Int(i64),
    Float(f64),
    Pipe,
    Open,
    Close,
    Declare,
    Assign,
    Comma,
}

/// Cuts `text` into items. Comments vanish.
pub(super) fn items(text: &str) -> Result<Vec<Item>, TemplateError> {
    let mut items = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    loop {
        let start = text[at..].find("{{").map(|found| at + found);
        let raw = &text[at..start.unwrap_or(text.len())];
        let mut piece = if trim_next { raw.trim_start_matches(BLANKS) } else { raw };
        let Some(start) = start else {
            push_text(&mut items, piece);
            return Ok(items);
        };
        let mut inside = start + 2;
        let rest = &text[inside..];
        if rest.starts_with('-') && rest[1..].starts_with(BLANKS) {
            piece = piece.trim_end_matches(BLANKS);
            inside += 1;
        }
        push_text(&mut items, piece);
        let body = text[inside..].trim_start_matches(BLANKS);
        let end = if body.starts_with("/*") {
            comment(text, text.len() - body.len())?
        } else {
            let (tokens, end) = Lexer { text, at: inside }.tokens(start)?;
            items.push(Item::Action { at: start, tokens });
            end
        };
        trim_next = end.trims;
        at = end.at;
    }
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

fn push_text(items: &mut Vec<Item>, text: &str) {
    if !text.is_empty() {
        items.push(Item::Text(text.to_string()));
    }
}

/// Where an action ends, and whether the text behind it is trimmed.
struct End {
    at: usize,
    trims: bool,
}

/// The end of a comment that starts at `open`.
fn comment(text: &str, open: usize) -> Result<End, TemplateError> {
    let close = text[open..].find("*/").ok_or_else(|| TemplateError::new(text, open, "the comment is not closed"))?;
    let at = open + close + 2;
    end_of_action(text, at).ok_or_else(|| TemplateError::new(text, at, "a comment must end right before its }}"))
}

/// `}}`, or blanks and `-}}`, at `at`.
fn end_of_action(text: &str, at: usize) -> Option<End> {
    let rest = &text[at..];
    if rest.starts_with("}}") {
        return Some(End { at: at + 2, trims: false });
    }
    let bare = rest.trim_start_matches(BLANKS);
    let skipped = rest.len() - bare.len();
    (skipped > 0 && bare.starts_with("-}}")).then(|| End { at: at + skipped + 3, trims: true })
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, at: usize, message: impl Into<String>) -> TemplateError {
        TemplateError::new(self.text, at, message)
    }

    /// All tokens up to the end of the action that began at `start`.
    fn tokens(mut self, start: usize) -> Result<(Vec<Token>, End), TemplateError> {
        let mut tokens = Vec::new();
        loop {
            if let Some(end) = end_of_action(self.text, self.at) {
                return Ok((tokens, end));
            }
            let bare = self.rest().trim_start_matches(BLANKS).len();
            let at = self.text.len() - bare;
            let spaced = at > self.at;
            self.at = at;
            if let Some(end) = end_of_action(self.text, at) {
                return Ok((tokens, end));
            }
            if self.rest().is_empty() {
                return Err(self.error(start, "the action is not closed: }} is missing"));
            }
            let kind = self.token()?;
            tokens.push(Token { at, spaced, kind });
        }
    }

    fn token(&mut self) -> Result<TokenKind, TemplateError> {
        let at = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Err(self.error(at, "the action is not closed")) };
        let second = rest[first.len_utf8()..].chars().next();
        let simple = match first {
            '|' => Some(TokenKind::Pipe),
            '(' => Some(TokenKind::Open),
            ')' => Some(TokenKind::Close),
            ',' => Some(TokenKind::Comma),
            '=' => Some(TokenKind::Assign),
            _ => None,
        };
        if let Some(kind) = simple {
            self.at += 1;
            return Ok(kind);
        }
        match first {
            ':' if second == Some('=') => {
                self.at += 2;
                Ok(TokenKind::Declare)
            }
            '"' => self.quoted(),
            '`' => self.raw(),
            '\'' => self.character(),
            '$' => {
                self.at += 1;
                let name = self.word();
                Ok(TokenKind::Variable(format!("${name}")))
            }
            '.' if second.is_none_or(|c| !c.is_ascii_digit()) => {
                self.at += 1;
                let name = self.word();
                Ok(if name.is_empty() { TokenKind::Dot } else { TokenKind::Field(name) })
            }
            c if c.is_ascii_digit() || matches!(c, '.' | '+' | '-') => self.number(),
            c if c.is_alphabetic() || c == '_' => Ok(TokenKind::Word(self.word())),
            c => Err(self.error(at, format!("unexpected {c:?} in an action"))),
        }
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = rest[..end].to_string();
        self.at += end;
        word
    }

    fn raw(&mut self) -> Result<TokenKind, TemplateError> {
        let at = self.at;
        let body = &self.rest()[1..];
        let end = body.find('`').ok_or_else(|| self.error(at, "the raw string is not closed"))?;
        let text = body[..end].replace('\r', "");
        self.at += end + 2;
        Ok(TokenKind::Text(text))
    }

    fn quoted(&mut self) -> Result<TokenKind, TemplateError> {
        let at = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            let Some(c) = self.rest().chars().next().filter(|c| *c != '\n') else {
                return Err(self.error(at, "the string is not closed"));
            };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(TokenKind::Text(text));
                }
                '\\' => text.push(self.escape()?),
                c => {
                    text.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn character(&mut self) -> Result<TokenKind, TemplateError> {
        let at = self.at;
        self.at += 1;
        let c = match self.rest().chars().next() {
            Some('\\') => self.escape()?,
            Some(c) if c != '\'' && c != '\n' => {
                self.at += c.len_utf8();
                c
            }
            _ => return Err(self.error(at, "a character constant holds exactly one character")),
        };
        if !self.rest().starts_with('\'') {
            return Err(self.error(at, "a character constant holds exactly one character"));
        }
        self.at += 1;
        Ok(TokenKind::Int(i64::from(u32::from(c))))
    }

    /// One escape of a Go string, the lexer standing on its backslash.
    fn escape(&mut self) -> Result<char, TemplateError> {
        let at = self.at;
        let kind = self.rest()[1..].chars().next();
        let simple = match kind {
            Some('n') => Some('\n'),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('v') => Some('\u{b}'),
            Some(c @ ('\\' | '"' | '\'')) => Some(c),
            _ => None,
        };
        if let Some(c) = simple {
            self.at += 2;
            return Ok(c);
        }
        let (skip, digits, radix) = match kind {
            Some('x') => (2, 2, 16),
            Some('u') => (2, 4, 16),
            Some('U') => (2, 8, 16),
            Some('0'..='7') => (1, 3, 8),
            _ => return Err(self.error(at, "unknown escape in a string")),
        };
        let code = self.rest().get(skip..skip + digits).and_then(|text| u32::from_str_radix(text, radix).ok());
        let c = code.and_then(char::from_u32).ok_or_else(|| self.error(at, "bad escape in a string"))?;
        self.at += skip + digits;
        Ok(c)
    }

    fn number(&mut self) -> Result<TokenKind, TemplateError> {
        let at = self.at;
        let rest = self.rest();
        let mut end =
            rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '+' | '-')).unwrap_or(rest.len());
        // A sign belongs to a number only in front or right behind an exponent.
        let sign = |i: usize, c: char| i > 0 && matches!(c, '+' | '-') && !rest[..i].ends_with(['e', 'E', 'p', 'P']);
        if let Some((i, _)) = rest[..end].char_indices().find(|(i, c)| sign(*i, *c)) {
            end = i;
        }
        let written = &rest[..end];
        let plain = written.replace('_', "");
        let (negative, digits) = match plain.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
        };
        let lower = digits.to_ascii_lowercase();
        let magnitude = ["0x", "0o", "0b"].iter().zip([16, 8, 2]).find_map(|(prefix, radix)| {
            lower.strip_prefix(prefix).map(|digits| i64::from_str_radix(digits, radix).ok())
        });
        let octal = || (lower.len() > 1 && lower.starts_with('0')).then(|| i64::from_str_radix(&lower, 8).ok());
        let integer = magnitude.or_else(octal).unwrap_or_else(|| digits.parse().ok());
        let kind = match integer {
            Some(n) => Some(TokenKind::Int(if negative { -n } else { n })),
            // "inf" and "nan" are words of Rust's float grammar, not of Go's.
            None if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => None,
            None => plain.parse().ok().map(TokenKind::Float),
        };
        let kind = kind.ok_or_else(|| self.error(at, format!("bad number {written:?}")))?;
        self.at += end;
        Ok(kind)
    }
}
