//! YAML files, read strictly: capped, with the line of every node, and mistakes that name file, line and path.
//!
//! [`Document`] is a file as a tree that knows its lines. [`read`](read::read) turns a tree into a type and reports
//! every mistake in words, where serde stops at the first and speaks of Rust types.

pub mod lines;
pub mod read;

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_yaml::Value;

use lines::Lines;

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Brackets that may be open at once. The YAML scanner looks through all open ones at every word: a file of a million
/// would keep it busy for hours.
const MAX_OPEN: usize = 5_000;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted, but it hardly says what was meant.
    Warning,
}

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line, counted from 1, where known.
    pub line: Option<usize>,
    /// Path in the document, for example `targets[2].interval`; empty for the document itself.
    pub path: String,
    /// The offending words and what to do.
    pub message: String,
    /// Error or warning.
    pub severity: Severity,
}

impl Problem {
    /// An error that concerns a file as a whole.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        let (file, message) = (file.to_path_buf(), message.into());
        Problem { file, line: None, path: String::new(), message, severity: Severity::Error }
    }
}

/// `file:line: path: message`, and `warning: ` in front of the message of a warning.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        let warning = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, " {warning}{}", self.message)
    }
}

/// A file that is YAML, as a tree.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, as it was named.
    pub file: PathBuf,
    /// As it was read.
    pub text: String,
    /// The tree; mappings have unique keys, merge keys (`<<`) are applied. Null when the file holds nothing.
    pub value: Value,
    /// Where its nodes stand.
    pub lines: Lines,
    by_path: HashMap<String, usize>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// One [`Problem`]: not readable, too large, not UTF-8, or not YAML (with its line).
    pub fn read(file: &Path) -> Result<Self, Problem> {
        Document::parse(file, &text(file)?)
    }

    /// Reads text as if it stood in `file`.
    ///
    /// # Errors
    /// One [`Problem`] with its line when the text is not YAML, names a key twice, or holds a second document.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Problem> {
        if open_brackets(text) > MAX_OPEN {
            return Err(Problem::of_file(file, format!("more than {MAX_OPEN} brackets are opened and not closed")));
        }
        let mut documents = serde_yaml::Deserializer::from_str(text);
        let mut value = match documents.next().map(Value::deserialize) {
            Some(value) => value.map_err(|error| not_yaml(file, text, &error))?,
            None => Value::Null,
        };
        if documents.any(|next| !Value::deserialize(next).is_ok_and(|value| value.is_null())) {
            let message = "a second YAML document (after ---) would be ignored; put everything into one";
            return Err(Problem::of_file(file, message));
        }
        let lines = Lines::of(text, &value);
        value.apply_merge().map_err(|error| not_yaml(file, text, &error))?;
        Ok(Document { file: file.into(), text: text.to_string(), value, by_path: lines.by_path(), lines })
    }

    /// The line on which `path` stands, or the nearest of its parents that is known.
    pub fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.by_path.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// A mistake at a path of this document.
    pub fn problem(&self, path: impl Into<String>, message: impl Into<String>) -> Problem {
        let path = path.into();
        Problem { line: self.line(&path), path, ..Problem::of_file(&self.file, message) }
    }
}

fn text(file: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).and_then(|f| f.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes));
    opened.map_err(|error| Problem::of_file(file, format!("cannot be read: {}", reason(&error))))?;
    if bytes.len() > MAX_BYTES {
        return Err(Problem::of_file(file, format!("is larger than {MAX_BYTES} bytes; split it")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Problem { line: Some(line), ..Problem::of_file(file, "is not UTF-8 text") }
    })
}

/// A system's message without its number: `No such file or directory`.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// The most brackets open at once, those in texts and comments counted too: only the order of magnitude matters.
fn open_brackets(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        most = most.max(open);
    }
    most
}

/// The YAML reader's message in words, its place apart.
fn not_yaml(file: &Path, text: &str, error: &serde_yaml::Error) -> Problem {
    let (mut message, location) = (error.to_string(), error.location());
    let mut line = location.as_ref().map(|at| at.line());
    if let Some(at) = &location {
        let place = format!(" at line {} column {}", at.line(), at.column());
        message = message.replacen(&place, "", 1);
    }
    if let Some((before, key)) = message.split_once("duplicate entry with key ") {
        let written = key.trim_matches('"');
        line = location.and_then(|at| second(text, written, at.line(), at.column())).or(line);
        message = format!("{before}the key {key} stands twice; keep one");
    } else if message.contains("repetition limit exceeded") {
        message = "aliases (*name) repeat so much that the file would not fit into memory; write it out".to_string();
    } else if message.contains("recursion limit exceeded") {
        message = "is nested too deeply".to_string();
    } else if line
        .and_then(|line| text.lines().nth(line - 1))
        .is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'))
    {
        message.push_str("; indent with spaces, not with tabs");
    }
    Problem { line, ..Problem::of_file(file, message.trim_end()) }
}

/// The line on which `key` stands for the second time in the block mapping that begins at `line` and `column`.
fn second(text: &str, key: &str, line: usize, column: usize) -> Option<usize> {
    let numbered = text.lines().enumerate().skip(line - 1);
    let of_mapping = numbered.filter_map(|(index, line)| Some((index, line.get(column - 1..)?)));
    let same = of_mapping.filter(|(_, rest)| {
        let rest = rest.trim_start_matches(['"', '\'']).strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
    });
    same.map(|(index, _)| index + 1).nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# comment
server:
  listen: 127.0.0.1:9940

targets:
- id: a
  labels: {site: home}
- id: b
  options:
    values:
      - path: $.x
        name: y
      -
        path: $.z
    note: |
      path: not a key
    \"quoted key\": 1
rules:
  files:
    - one.yml
    - two.yml
";

    #[test]
    fn every_path_has_its_line() {
        let document = Document::parse(Path::new("x.yml"), TEXT).unwrap();
        for (path, line) in [
            ("server", 2),
            ("server.listen", 3),
            ("targets", 5),
            ("targets[0]", 6),
            ("targets[0].id", 6),
            ("targets[0].labels.site", 7),
            ("targets[1].id", 8),
            ("targets[1].options.values[0].name", 12),
            ("targets[1].options.values[1].path", 14),
            ("targets[1].options.note", 15),
            ("targets[1].options.quoted key", 17),
            ("rules.files[1]", 21),
        ] {
            assert_eq!(document.line(path), Some(line), "{path}");
        }
        assert_eq!(document.line("nowhere"), None);
    }

    #[test]
    fn mistakes_name_their_place() {
        let shown = |text: &str| Document::parse(Path::new("x.yml"), text).unwrap_err().to_string();
        assert_eq!(
            shown("a: 1\nb: [1\n"),
            "x.yml:3: did not find expected ',' or ']', while parsing a flow sequence at line 2 column 4"
        );
        let twice = shown("a: 1\nb: 2\na: 3\n");
        assert!(twice.starts_with("x.yml:") && twice.contains("the key \"a\" stands twice"), "{twice}");
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n";
        assert!(shown(bomb).contains("aliases"), "{}", shown(bomb));
    }
}
