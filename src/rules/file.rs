//! Reads Prometheus rule files: strict, and every mistake at once.
//!
//! Accepts what Prometheus 3's own reader accepts. A file is first read into a plain YAML value; shapes, names and
//! meanings are checked there, each problem with its path, and the path finds the line ([`crate::yaml::lines`]).

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;

use crate::yaml::Document;
use crate::yaml::Problem;
use crate::yaml::Severity;
use crate::yaml::lines;
use crate::yaml::lines::Lines;
use crate::yaml::lines::Step;

use super::node::Node;
use super::rule::RuleGroup;

/// Problems reported of one file; a file with more is the wrong file.
pub const MAX_PROBLEMS: usize = 100;

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
            let problem = Problem::of_file(path, "the file is listed twice; its rules would be evaluated twice");
            report.files.push(FileReport { file, rules: 0, problems: vec![problem] });
            continue;
        }
        report.add(&file, Document::read(path));
    }
    report.warn_of_duplicates();
    report
}

/// Reads one rule file from its text; `file` is its name in messages and in the rules' keys.
pub fn check_text(file: &str, text: &str) -> Report {
    let mut report = Report::default();
    report.add(file, Document::parse(Path::new(file), text));
    report.warn_of_duplicates();
    report
}

impl Report {
    fn add(&mut self, file: &str, document: Result<Document, Problem>) {
        let document = match document {
            Ok(document) => document,
            Err(problem) => {
                self.files.push(FileReport { file: file.to_string(), rules: 0, problems: vec![problem] });
                return;
            }
        };
        let mut reader = Reader::new(file, &document);
        let groups = reader.groups(&Node { value: &document.value, path: Vec::new() }).unwrap_or_default();
        let rules = groups.iter().map(|group| group.rules.len()).sum();
        let problems = reader.into_problems();
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
                        let (file, line) = (PathBuf::from(&group.file), rule.line);
                        found.push(Problem { file, line, path, message, severity: Severity::Warning });
                    }
                }
            }
        }
        for problem in found {
            if let Some(report) = self.files.iter_mut().find(|report| Path::new(&report.file) == problem.file) {
                report.problems.push(problem);
            }
        }
    }
}

/// Reads one file and collects its problems.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) lines: &'a Lines,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, document: &'a Document) -> Self {
        Reader { file, text: &document.text, lines: &document.lines, problems: Vec::new() }
    }

    /// What was found, by line.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems;
        problems.sort_by_key(|problem| problem.line);
        if problems.len() > MAX_PROBLEMS {
            problems.truncate(MAX_PROBLEMS);
            let message = format!("more than {MAX_PROBLEMS} problems; the rest is not shown");
            problems.push(Problem::of_file(Path::new(self.file), message));
        }
        problems
    }

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
            let path = lines::display(path);
            self.problems.push(Problem { file: self.file.into(), line, path, message, severity });
        }
    }

    /// A scalar as it was written.
    pub(super) fn written(&self, path: &[Step]) -> Option<String> {
        self.lines.written(path).map(str::to_string)
    }

    fn groups(&mut self, node: &Node<'_>) -> Option<Vec<RuleGroup>> {
        let groups = node.fields(self, &["groups"])?.get("groups")?.items(self)?;
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let groups = groups.iter().enumerate().filter_map(|(index, group)| {
            let read = super::check::group(self, group)?;
            if let Some(first) = names.insert(read.name.clone(), index).filter(|_| !read.name.is_empty()) {
                let message = format!("group name {:?} is already taken by groups[{first}]", read.name);
                self.error(&group.child("name").path, message);
            }
            Some(read)
        });
        Some(groups.collect())
    }
}
