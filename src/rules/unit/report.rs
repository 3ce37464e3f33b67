//! How outcomes of tests are shown: to a person as promtool does, to a build server as JUnit's XML.

use std::fmt;

use super::run::Failure;
use super::run::Outcome;

/// As promtool prints it, with differences line by line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Unit Testing:  {}", self.file)?;
        for warning in &self.warnings {
            writeln!(f, "  WARNING: {warning}")?;
        }
        if self.passed() {
            return writeln!(f, "  SUCCESS");
        }
        writeln!(f, "  FAILED:")?;
        for error in &self.errors {
            writeln!(f, "    {error}")?;
        }
        for test in &self.tests {
            for failure in &test.failures {
                let line = failure.line.map(|line| format!(" ({}:{line})", self.file)).unwrap_or_default();
                writeln!(f, "    name: {}, {}{line}", test.name, failure.what)?;
                write!(f, "{failure}")?;
            }
        }
        Ok(())
    }
}

/// `-` is expected and not there, `+` is there and not expected.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let marked = |mark: char, list: &[String], f: &mut fmt::Formatter<'_>| {
            list.iter().flat_map(|text| text.lines()).try_for_each(|line| writeln!(f, "      {mark} {line}"))
        };
        marked('-', &self.missing, f)?;
        marked('+', &self.unexpected, f)?;
        self.notes.iter().flat_map(|note| note.lines()).try_for_each(|line| writeln!(f, "      {line}"))
    }
}

/// The outcomes as JUnit's XML: a suite per file, a case per test.
pub fn junit(outcomes: &[Outcome]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for outcome in outcomes {
        let failures = outcome.tests.iter().filter(|test| !test.failures.is_empty()).count();
        xml.push_str(&format!(
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{}\">\n",
            escaped(&outcome.file),
            outcome.tests.len(),
            usize::from(!outcome.errors.is_empty()),
        ));
        for test in &outcome.tests {
            xml.push_str(&format!("<testcase name=\"{}\">", escaped(&test.name)));
            for failure in &test.failures {
                let (what, text) = (escaped(&failure.what), escaped(&failure.to_string()));
                xml.push_str(&format!("<failure message=\"{what}\">{text}</failure>"));
            }
            xml.push_str("</testcase>\n");
        }
        if !outcome.errors.is_empty() {
            xml.push_str(&format!("<system-err>{}</system-err>\n", escaped(&outcome.errors.join("\n"))));
        }
        xml.push_str("</testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Escaped for XML; characters that XML cannot hold are replaced.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}
