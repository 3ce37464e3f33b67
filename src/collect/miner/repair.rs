//! JSON as miners really send it. A sound reply is read as it is; another one is first rewritten, and what had to be
//! repaired is told. One pass with a stack of its own: nesting cannot overflow ours, and the size is the caller's cap.
//!
//! Known repairs: `}{` without a comma, commas before a closing bracket, `nan` and `inf`, raw control characters and
//! escapes that JSON does not have in strings, NULs and noise behind the end, a reply cut off in the middle.

use serde_json::Value;

/// Deepest nesting that is read; the deepest known reply has six levels.
const MAX_DEPTH: usize = 64;

/// A reply and what was wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Repaired {
    /// The document.
    pub value: Value,
    /// What was repaired, each kind once, for a person to read.
    pub notes: Vec<&'static str>,
}

/// Why a reply cannot be read even with repairs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepairError {
    /// Nothing in it.
    #[error("the reply is empty")]
    Empty,
    /// Does not begin as an object.
    #[error("not JSON: it begins with {0:?}")]
    NotJson(String),
    /// A bomb of brackets.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A closing bracket that closes nothing.
    #[error("a {found:?} at byte {at} closes nothing that is open")]
    Mismatch {
        /// The bracket.
        found: char,
        /// Where it stands.
        at: usize,
    },
    /// Still not JSON after the known repairs.
    #[error("not JSON, even repaired: {0}")]
    Beyond(String),
}

/// Reads `body`, repairing it where it has to be.
///
/// # Errors
/// [`RepairError`] when what is left cannot be trusted.
pub fn read(body: &[u8]) -> Result<Repaired, RepairError> {
    let end = body.iter().rposition(|byte| *byte != 0 && !byte.is_ascii_whitespace()).map_or(0, |last| last + 1);
    let body = &body[..end];
    if body.is_empty() {
        return Err(RepairError::Empty);
    }
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(Repaired { value, notes: Vec::new() });
    }
    let text = String::from_utf8_lossy(body);
    let begin = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\0' || c == '\u{feff}');
    if !begin.starts_with('{') {
        return Err(RepairError::NotJson(begin.chars().take(24).collect()));
    }
    let mut writer = Writer::new(begin);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        writer.note("bytes that are not UTF-8 were replaced");
    }
    writer.run()?;
    let value = serde_json::from_str(&writer.out).map_err(|error| RepairError::Beyond(error.to_string()))?;
    Ok(Repaired { value, notes: writer.notes })
}

/// What was written last, outside of strings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// An opening bracket.
    Open,
    /// A comma, held back until it is known that something follows.
    Comma,
    /// A colon.
    Colon,
    /// The end of a value or of a key.
    Value,
}

struct Writer<'a> {
    text: &'a str,
    at: usize,
    out: String,
    open: Vec<char>,
    last: Last,
    /// Length of `out` and depth at the last place where nothing is half said.
    safe: (usize, usize),
    notes: Vec<&'static str>,
}

impl<'a> Writer<'a> {
    fn new(text: &'a str) -> Self {
        let out = String::with_capacity(text.len() + 16);
        Writer { text, at: 0, out, open: Vec::new(), last: Last::Open, safe: (0, 0), notes: Vec::new() }
    }

    fn note(&mut self, note: &'static str) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn run(&mut self) -> Result<(), RepairError> {
        while let Some(c) = self.text[self.at..].chars().next() {
            let start = self.at;
            self.at += c.len_utf8();
            match c {
                '{' | '[' => self.open(c)?,
                '}' | ']' => {
                    self.close(c, start)?;
                    if self.open.is_empty() {
                        if !self.text[self.at..].trim_matches(['\0', ' ', '\r', '\n', '\t']).is_empty() {
                            self.note("text behind the end was left out");
                        }
                        return Ok(());
                    }
                }
                ',' => self.comma(),
                ':' => {
                    self.out.push(':');
                    self.last = Last::Colon;
                }
                '"' => {
                    self.before_value();
                    if !self.string() {
                        break;
                    }
                    self.last = Last::Value;
                }
                _ if c.is_whitespace() => {}
                _ if c.is_control() => self.note("control characters between values were left out"),
                _ => {
                    self.before_value();
                    if !self.word(start) {
                        break;
                    }
                    self.last = Last::Value;
                }
            }
        }
        self.cut_off();
        Ok(())
    }

    /// Writes the comma that was held back, or the one that is missing.
    fn before_value(&mut self) {
        match self.last {
            Last::Comma => self.out.push(','),
            Last::Value => {
                self.note("a comma was missing");
                self.out.push(',');
            }
            Last::Open | Last::Colon => {}
        }
    }

    fn open(&mut self, bracket: char) -> Result<(), RepairError> {
        if self.open.len() == MAX_DEPTH {
            return Err(RepairError::TooDeep);
        }
        self.before_value();
        self.out.push(bracket);
        self.open.push(bracket);
        self.last = Last::Open;
        self.safe = (self.out.len(), self.open.len());
        Ok(())
    }

    fn close(&mut self, bracket: char, at: usize) -> Result<(), RepairError> {
        match (self.open.pop(), bracket) {
            (Some('{'), '}') | (Some('['), ']') => {}
            _ => return Err(RepairError::Mismatch { found: bracket, at }),
        }
        if self.last == Last::Comma {
            self.note("a comma before a closing bracket was left out");
        }
        self.out.push(bracket);
        self.last = Last::Value;
        self.safe = (self.out.len(), self.open.len());
        Ok(())
    }

    /// A comma is a safe place, and is written only when something follows it.
    fn comma(&mut self) {
        if self.last == Last::Value {
            self.safe = (self.out.len(), self.open.len());
            self.last = Last::Comma;
        } else {
            self.note("a comma without a value was left out");
        }
    }

    /// Copies a string up to its end; `false` where the text ends first.
    fn string(&mut self) -> bool {
        self.out.push('"');
        while let Some(c) = self.text[self.at..].chars().next() {
            self.at += c.len_utf8();
            match c {
                '"' => {
                    self.out.push('"');
                    return true;
                }
                '\\' => self.escape(),
                _ if c < ' ' => {
                    self.note("control characters in a text were escaped");
                    self.out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                _ => self.out.push(c),
            }
        }
        false
    }

    /// Copies an escape that JSON has; of another one only the character.
    fn escape(&mut self) {
        let rest = &self.text[self.at..];
        let Some(c) = rest.chars().next() else { return };
        let hex = rest.get(1..5).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if matches!(c, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') || (c == 'u' && hex) {
            self.out.push('\\');
            self.out.push(c);
            self.at += c.len_utf8();
        } else {
            // Whatever follows is read as plain text by the caller's loop.
            self.note("an escape that JSON does not have was undone");
        }
    }

    /// A bare word: number, `true`, `nan`, …; `false` where the text ends with it, because it may be half a number.
    fn word(&mut self, start: usize) -> bool {
        let rest = &self.text[start..];
        let ends =
            |c: char| matches!(c, ',' | ':' | '{' | '}' | '[' | ']' | '"') || c.is_whitespace() || c.is_control();
        let Some(length) = rest.find(ends) else { return false };
        let word = &rest[..length];
        self.at = start + length;
        if serde_json::from_str::<Value>(word).is_ok() {
            self.out.push_str(word);
            return true;
        }
        match word.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.note("a number in another notation was rewritten");
                self.out.push_str(&number.to_string());
            }
            Ok(_) => {
                self.note("nan or inf was read as no value");
                self.out.push_str("null");
            }
            Err(_) => {
                self.note("a bare word was read as text");
                self.out.push_str(&Value::from(word).to_string());
            }
        }
        true
    }

    /// The text ended too early: go back to where nothing was half said, and close what is open.
    fn cut_off(&mut self) {
        self.note("the reply was cut off; its unfinished end was left out");
        let (length, depth) = self.safe;
        self.out.truncate(length);
        for bracket in self.open.iter().take(depth).rev() {
            self.out.push(if *bracket == '{' { '}' } else { ']' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reads(text: &str, expected: &Value, notes: &[&str]) {
        let repaired = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(&repaired.value, expected, "{text}");
        assert_eq!(repaired.notes, notes, "{text}");
    }

    #[test]
    fn a_sound_reply_is_left_alone() {
        reads("{\"a\":[1,\"}{\",null]}\0", &json!({"a": [1, "}{", null]}), &[]);
        reads("{\"a\":1}\0\0\r\n\0", &json!({"a": 1}), &[]);
    }

    #[test]
    fn every_known_fault_is_repaired_and_told() {
        reads(r#"{"a":[{"b":1}{"b":2}]}"#, &json!({"a": [{"b": 1}, {"b": 2}]}), &["a comma was missing"]);
        reads(r#"{"a":1 "b":2}"#, &json!({"a": 1, "b": 2}), &["a comma was missing"]);
        reads(r#"{"a":[1,2,],}"#, &json!({"a": [1, 2]}), &["a comma before a closing bracket was left out"]);
        reads(r#"{,"a":[1,,2]}"#, &json!({"a": [1, 2]}), &["a comma without a value was left out"]);
        reads(
            r#"{"a":nan,"b":-inf,"c":NaN}"#,
            &json!({"a": null, "b": null, "c": null}),
            &["nan or inf was read as no value"],
        );
        reads("{\"a\":\"x\ny\"}", &json!({"a": "x\ny"}), &["control characters in a text were escaped"]);
        reads(r#"{"a":"\'20\x"}"#, &json!({"a": "'20x"}), &["an escape that JSON does not have was undone"]);
        reads(
            r#"{"a":+5,"b":.5,"c":007}"#,
            &json!({"a": 5, "b": 0.5, "c": 7}),
            &["a number in another notation was rewritten"],
        );
        reads(r#"{"a":12%}"#, &json!({"a": "12%"}), &["a bare word was read as text"]);
        reads("{\"a\":1}\0{\"b\":2}", &json!({"a": 1}), &["text behind the end was left out"]);
        reads("{\"a\"\0:1}", &json!({"a": 1}), &["control characters between values were left out"]);
    }

    #[test]
    fn a_cut_reply_keeps_only_what_is_whole() {
        let note = &["the reply was cut off; its unfinished end was left out"];
        reads(r#"{"a":1,"b":[{"c":2,"d":12"#, &json!({"a": 1, "b": [{"c": 2}]}), note);
        reads(r#"{"a":1,"b":"unfini"#, &json!({"a": 1}), note);
        reads(r#"{"a":1,"b""#, &json!({"a": 1}), note);
        reads(r#"{"a":[{"b":1},"#, &json!({"a": [{"b": 1}]}), note);
        reads(r#"{"a":"x\"#, &json!({}), note);
    }

    #[test]
    fn bombs_and_garbage_are_refused() {
        assert_eq!(read(b"\0\0 \n"), Err(RepairError::Empty));
        assert!(matches!(read(b"HTTP/1.1 400 Bad Request"), Err(RepairError::NotJson(_))));
        assert!(matches!(read(&[0xff, 0xfe, 0x80]), Err(RepairError::NotJson(_))));
        let bomb = "{\"a\":".repeat(200_000);
        assert_eq!(read(bomb.as_bytes()), Err(RepairError::TooDeep));
        assert!(matches!(read(format!("{{\"a\":{}", "[".repeat(200_000)).as_bytes()), Err(RepairError::TooDeep)));
        assert!(matches!(read(b"{\"a\":[1}"), Err(RepairError::Mismatch { found: '}', at: 7 })));
        assert!(matches!(read(b"{\"a\" \"b\"}"), Err(RepairError::Beyond(_))));
    }

    proptest::proptest! {
        /// Whatever a device sends, the reader answers and does not panic; what it accepts is an object.
        #[test]
        fn nothing_panics(text in "\\PC{0,200}", tail in "[\\[\\]{}\",:\\\\\u{0}-\u{1f}a1.-]{0,80}") {
            for body in [text.clone(), format!("{{{tail}"), format!("{{\"{tail}{text}"), format!("{{\"a\":[{tail}")] {
                if let Ok(repaired) = read(body.as_bytes()) {
                    proptest::prop_assert!(!repaired.notes.is_empty() || serde_json::from_str::<Value>(body.trim_matches(['\0', ' ', '\t', '\r', '\n'])).is_ok());
                }
            }
        }

        /// Cutting a sound reply anywhere loses its end and nothing else.
        #[test]
        fn a_cut_never_invents(cut in 1_usize..60) {
            let whole = r#"{"a":[{"b":1234,"c":"5678"},{"d":[9,10]}],"e":{"f":false}}"#;
            let cut = &whole[..cut.min(whole.len())];
            let repaired = read(cut.as_bytes()).map(|repaired| repaired.value.to_string()).unwrap_or_default();
            let words = |text: &str| -> Vec<String> {
                text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_string).collect()
            };
            let known = words(whole);
            proptest::prop_assert!(words(&repaired).iter().all(|word| known.contains(word)), "{repaired}");
        }
    }
}
