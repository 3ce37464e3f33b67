//! Reads Prometheus rule files: strict, and every mistake at once.
//!
//! Accepts what Prometheus 3's own reader accepts. A file is first read into a plain YAML value; shapes, names and
//! meanings are checked there, each problem with its path, and the path finds the line (`locate.rs`).

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_yaml::Value;

use super::locate;
use super::locate::Lines;
use super::locate::Step;
use super::node::Node;
use super::rule::RuleGroup;

/// Largest rule file that is read, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;
/// Problems reported of one file; a file with more is the wrong file.
pub const MAX_PROBLEMS: usize = 100;

/// Brackets that may be open at once. The YAML scanner looks through all open ones at every word: a file of a million
/// would keep it busy for hours.
const MAX_OPEN: usize = 5_000;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted, as Prometheus accepts it, but it hardly says what was meant.
    Warning,
}

/// One mistake in a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// Line from 1, where known.
    pub line: Option<usize>,
    /// Place in the document: `groups[0].rules[2].expr`; empty for the whole file.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Error or warning.
    pub severity: Severity,
}

/// `file:line: path: message`, and `warning: ` in front of the message of a warning.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        let warning = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, "{warning}{}", self.message)
    }
}

/// What came of one file.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// The file, as it was named.
    pub file: String,
    /// Rules that were read without an error.
    pub rules: usize,
    /// In the order of the file.
    pub problems: Vec<Problem>,
}

/// What came of all files: the groups to evaluate, if there is no error, and what to tell the operator.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Groups of all files; rules with errors are missing, so use them only when [`Report::has_errors`] says no.
    pub groups: Vec<RuleGroup>,
    /// One entry per file, in the order given.
    pub files: Vec<FileReport>,
}

impl Report {
    /// Whether any file must be refused.
    pub fn has_errors(&self) -> bool {
        self.problems().any(|problem| problem.severity == Severity::Error)
    }

    /// All problems of all files.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.files.iter().flat_map(|file| &file.problems)
    }

    /// Rules in all files.
    pub fn rules(&self) -> usize {
        self.files.iter().map(|file| file.rules).sum()
    }
}

/// As `promtool check rules` prints it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "Checking {}", file.file)?;
            let failed = file.problems.iter().any(|problem| problem.severity == Severity::Error);
            for problem in &file.problems {
                writeln!(f, "  {problem}")?;
            }
            match failed {
                true => writeln!(f, "  FAILED")?,
                false => writeln!(f, "  SUCCESS: {} rules found", file.rules)?,
            }
        }
        Ok(())
    }
}

/// Reads rule files from disk. Never fails as a whole: an unreadable file is a problem like any other.
pub fn check_files<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Report {
    let mut report = Report::default();
    let mut seen = HashSet::new();
    for path in paths {
        let path = path.as_ref();
        let file = path.display().to_string();
        if !seen.insert(path.to_path_buf()) {
            let problem = Problem::of_file(&file, "the file is listed twice; its rules would be evaluated twice");
            report.files.push(FileReport { file, rules: 0, problems: vec![problem] });
            continue;
        }
        match read_capped(path) {
            Ok(text) => report.add(&file, &text),
            Err(message) => {
                let problems = vec![Problem::of_file(&file, &message.to_string())];
                report.files.push(FileReport { file, rules: 0, problems });
            }
        }
    }
    report.warn_of_duplicates();
    report
}

/// Reads one rule file from its text; `file` is its name in messages and in the rules' keys.
pub fn check_text(file: &str, text: &str) -> Report {
    let mut report = Report::default();
    report.add(file, text);
    report.warn_of_duplicates();
    report
}

/// Why a file has no text.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("is larger than {MAX_FILE} bytes; split it")]
    TooLarge,
    #[error("is not UTF-8 text")]
    NotText,
}

fn read_capped(path: &Path) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(ReadError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| ReadError::NotText)
}

impl Problem {
    fn of_file(file: &str, message: &str) -> Self {
        let (file, message) = (file.to_string(), message.to_string());
        Problem { file, line: None, path: String::new(), message, severity: Severity::Error }
    }
}

impl Report {
    fn add(&mut self, file: &str, text: &str) {
        let mut reader = Reader { file, text, lines: Lines::default(), problems: Vec::new() };
        let groups = reader.document();
        let rules = groups.iter().map(|group| group.rules.len()).sum();
        let mut problems = reader.problems;
        problems.sort_by_key(|problem| problem.line);
        if problems.len() > MAX_PROBLEMS {
            problems.truncate(MAX_PROBLEMS);
            problems.push(Problem::of_file(file, &format!("more than {MAX_PROBLEMS} problems; the rest is not shown")));
        }
        self.files.push(FileReport { file: file.to_string(), rules, problems });
        self.groups.extend(groups);
    }

    /// Two rules of one name and labels: allowed by Prometheus, reported by promtool. Their alerts are told apart by
    /// nobody, and their series collide.
    fn warn_of_duplicates(&mut self) {
        let mut first: HashMap<(&str, String), String> = HashMap::new();
        let mut found = Vec::new();
        for group in &self.groups {
            for rule in &group.rules {
                let place = format!("{}{}", group.file, rule.line.map(|line| format!(":{line}")).unwrap_or_default());
                match first.entry((&rule.name, rule.labels.to_string())) {
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        entry.insert(place);
                    }
                    std::collections::hash_map::Entry::Occupied(entry) => {
                        let message = format!(
                            "rule {:?} has the same name and labels as the one at {}; tell them apart by a label",
                            rule.name,
                            entry.get()
                        );
                        let path = format!("group {:?}", group.name);
                        let (file, line) = (group.file.clone(), rule.line);
                        found.push(Problem { file, line, path, message, severity: Severity::Warning });
                    }
                }
            }
        }
        for problem in found {
            if let Some(report) = self.files.iter_mut().find(|report| report.file == problem.file) {
                report.problems.push(problem);
            }
        }
    }
}

/// Reads one file and collects its problems.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) lines: Lines,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// An error at the value of `path`.
    pub(super) fn error(&mut self, path: &[Step], message: impl Into<String>) {
        let line = self.lines.nearest(path);
        self.push(path, line, Severity::Error, message.into());
    }

    /// An error at the key that ends `path`.
    pub(super) fn error_at_key(&mut self, path: &[Step], message: impl Into<String>) {
        let line = self.lines.key(path).map(|(line, _)| line).or_else(|| self.lines.nearest(path));
        self.push(path, line, Severity::Error, message.into());
    }

    pub(super) fn error_at_line(&mut self, path: &[Step], line: Option<usize>, message: impl Into<String>) {
        self.push(path, line, Severity::Error, message.into());
    }

    pub(super) fn warn(&mut self, path: &[Step], message: impl Into<String>) {
        let line = self.lines.key(path).map(|(line, _)| line).or_else(|| self.lines.nearest(path));
        self.push(path, line, Severity::Warning, message.into());
    }

    fn push(&mut self, path: &[Step], line: Option<usize>, severity: Severity, message: String) {
        // One more than is shown, so that the cut is noticed.
        if self.problems.len() <= MAX_PROBLEMS {
            let path = locate::display(path);
            self.problems.push(Problem { file: self.file.to_string(), line, path, message, severity });
        }
    }

    /// A scalar as it was written.
    pub(super) fn written(&self, path: &[Step]) -> Option<String> {
        self.lines.written(path).map(str::to_string)
    }

    fn document(&mut self) -> Vec<RuleGroup> {
        if open_brackets(self.text) > MAX_OPEN {
            let message = format!("more than {MAX_OPEN} brackets are opened and not closed");
            self.push(&[], None, Severity::Error, message);
            return Vec::new();
        }
        let mut documents = serde_yaml::Deserializer::from_str(self.text);
        let Some(document) = documents.next() else { return Vec::new() };
        let mut value = match Value::deserialize(document) {
            Ok(value) => value,
            Err(error) => {
                self.push(&[], error.location().map(|at| at.line()), Severity::Error, yaml_message(&error));
                return Vec::new();
            }
        };
        self.lines = Lines::of(self.text, &value);
        if documents.any(|next| !Value::deserialize(next).is_ok_and(|value| value.is_null())) {
            let message = "a second YAML document: its rules would be ignored; put all groups into one document";
            self.push(&[], None, Severity::Error, message.to_string());
        }
        if let Err(error) = value.apply_merge() {
            self.push(&[], None, Severity::Error, yaml_message(&error));
            return Vec::new();
        }
        let node = Node { value: &value, path: Vec::new() };
        let Some(fields) = node.fields(self, &["groups"]) else { return Vec::new() };
        let Some(groups) = fields.get("groups").and_then(|groups| groups.items(self)) else { return Vec::new() };
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let groups = groups.iter().enumerate().filter_map(|(index, group)| {
            let read = super::check::group(self, group)?;
            if let Some(first) = names.insert(read.name.clone(), index).filter(|_| !read.name.is_empty()) {
                let message = format!("group name {:?} is already taken by groups[{first}]", read.name);
                self.error(&group.child("name").path, message);
            }
            Some(read)
        });
        groups.collect()
    }
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

/// The YAML reader's own message without the place, which is reported apart.
fn yaml_message(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let place = error.location().map(|at| format!(" at line {} column {}", at.line(), at.column()));
    match place.and_then(|place| text.strip_suffix(&place).map(str::to_string)) {
        Some(text) => text,
        None => text,
    }
}
