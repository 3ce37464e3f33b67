//! YAML files, read strictly: capped, with the line of every key, and mistakes that name file, line and path.
//!
//! serde's own errors know a line only for the first mistake of a document. Here the document is read as a tree once,
//! a light scan of its text remembers on which line each path stands, and every section is then checked by itself, so
//! that all mistakes come out in one go.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

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
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

/// A file that is YAML, as a tree.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The tree; mappings have unique keys.
    pub value: serde_yaml::Value,
    lines: HashMap<String, usize>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// One [`Problem`]: not readable, too large, not UTF-8, or not YAML (with its line).
    pub fn read(file: &Path) -> Result<Self, Problem> {
        let problem = |message: String| Problem { file: file.into(), line: None, path: String::new(), message };
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(file).and_then(|f| f.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes));
        opened.map_err(|error| problem(format!("cannot read the file: {error}")))?;
        if bytes.len() > MAX_BYTES {
            return Err(problem(format!("the file is larger than {MAX_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|error| problem(format!("the file is not UTF-8: {error}")))?;
        Document::parse(file, &text)
    }

    /// Reads text as if it stood in `file`.
    ///
    /// # Errors
    /// One [`Problem`] with its line when the text is not YAML or names a key twice.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Problem> {
        let value = serde_yaml::from_str(text).map_err(|error| {
            let line = error.location().map(|place| place.line());
            let message = error.to_string();
            let cut = message.find(" at line ").unwrap_or(message.len());
            Problem { file: file.into(), line, path: String::new(), message: message[..cut].to_string() }
        })?;
        Ok(Document { file: file.into(), value, lines: lines(text) })
    }

    /// The line on which `path` stands, or the nearest of its parents that is known.
    pub fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// A mistake at a path of this document.
    pub fn problem(&self, path: impl Into<String>, message: impl Into<String>) -> Problem {
        let path = path.into();
        Problem { file: self.file.clone(), line: self.line(&path), path, message: message.into() }
    }
}

/// The word of `known` that is nearest to `word`, if any is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.75).then_some(best.1)
}

/// `; did you mean "x"?` or nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// What is open at some point of the scan: a mapping (the path of its current key) or a sequence (its own path).
struct Frame {
    indent: usize,
    path: String,
    /// Items seen so far; `None` for a mapping.
    items: Option<usize>,
}

/// On which line each path of a block-style document stands. Keys inside of flow collections (`{a: 1}`) are not
/// listed; their parent's line is near enough.
fn lines(text: &str) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    let mut stack: Vec<Frame> = Vec::new();
    let mut literal: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        let mut indent = line.len() - rest.len();
        if rest.is_empty() || literal.is_some_and(|parent| indent > parent) {
            continue;
        }
        literal = None;
        if rest.starts_with('#') || rest.starts_with("---") {
            continue;
        }
        while let Some(item) = rest.strip_prefix("- ").or(if rest == "-" { Some("") } else { None }) {
            enter_item(&mut stack, indent);
            found.insert(current(&stack), number + 1);
            let inner = item.trim_start();
            indent += rest.len() - inner.len();
            rest = inner;
        }
        let Some((key, value)) = split_key(rest) else { continue };
        enter_key(&mut stack, indent, key);
        found.entry(current(&stack)).or_insert(number + 1);
        if value.starts_with(['|', '>']) {
            literal = Some(indent);
        }
    }
    found
}

fn current(stack: &[Frame]) -> String {
    stack.last().map(|frame| frame.path.clone()).unwrap_or_default()
}

fn enter_item(stack: &mut Vec<Frame>, indent: usize) {
    while stack.last().is_some_and(|frame| frame.indent > indent) {
        stack.pop();
    }
    let continues = stack.last().is_some_and(|frame| frame.indent == indent && frame.items.is_some());
    if !continues {
        // A sequence may stand at the indent of the key that it belongs to.
        stack.push(Frame { indent, path: String::new(), items: Some(0) });
    }
    let parent = stack.len().checked_sub(2).and_then(|index| stack.get(index)).map(|frame| frame.path.clone());
    if let Some(frame) = stack.last_mut() {
        let index = frame.items.unwrap_or(0);
        frame.path = format!("{}[{index}]", parent.unwrap_or_default());
        frame.items = Some(index + 1);
    }
}

fn enter_key(stack: &mut Vec<Frame>, indent: usize, key: &str) {
    while stack.last().is_some_and(|frame| frame.indent > indent || (frame.indent == indent && frame.items.is_some())) {
        stack.pop();
    }
    if stack.last().is_some_and(|frame| frame.indent == indent) {
        stack.pop();
    }
    let path = match stack.last() {
        Some(parent) if !parent.path.is_empty() => format!("{}.{key}", parent.path),
        _ => key.to_string(),
    };
    stack.push(Frame { indent, path, items: None });
}

/// Splits `key: value` and `"key": value`.
fn split_key(text: &str) -> Option<(&str, &str)> {
    let (key, rest) = match text.chars().next()? {
        quote @ ('"' | '\'') => text[1..].split_once(quote)?,
        '{' | '[' | '&' | '*' | '!' | '%' | '?' => return None,
        _ => {
            let end = text.find(": ").or_else(|| text.trim_end().ends_with(':').then(|| text.trim_end().len() - 1))?;
            (text[..end].trim_end(), &text[end..])
        }
    };
    Some((key, rest.trim_start().strip_prefix(':')?.trim()))
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
        assert_eq!(shown("a: 1\nb: [1\n"), "x.yml:3: did not find expected ',' or ']'".to_string());
        let twice = shown("a: 1\nb: 2\na: 3\n");
        assert!(twice.starts_with("x.yml:") && twice.contains("duplicate entry with key \"a\""), "{twice}");
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n";
        assert!(shown(bomb).contains("repetition limit"), "{}", shown(bomb));
    }

    #[test]
    fn near_words_are_offered() {
        assert_eq!(did_you_mean("intervall", ["interval", "timeout"]), "; did you mean \"interval\"?");
        assert_eq!(did_you_mean("zzz", ["interval", "timeout"]), "");
    }
}
