//! What came of a file of tests, and how it is shown: as a timeline, line by line where it differs, as JUnit's XML.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::event::Event;
use crate::rules::unit;
use crate::rules::unit::Failure;
use crate::yaml::Problem;

/// What came of a file of tests.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The test file, as it was named.
    pub file: String,
    /// Mistakes in the test file or in its configuration; no test was run then.
    pub errors: Vec<String>,
    /// Tests that were run.
    pub tests: Vec<TestOutcome>,
}

/// What came of one test.
#[derive(Clone, Debug, Serialize)]
pub struct TestOutcome {
    /// Its name.
    pub name: String,
    /// Expectations that were looked at; none at all: the test only tells what would happen.
    pub checks: Option<usize>,
    /// What happened, in order.
    pub timeline: Vec<Event>,
    /// What did not come as expected.
    pub failures: Vec<Failure>,
}

impl TestOutcome {
    /// A test that could not be played.
    pub(super) fn failed(name: String, line: Option<usize>, why: &str) -> TestOutcome {
        let (missing, unexpected, notes) = (Vec::new(), Vec::new(), vec![why.to_string()]);
        let failure = Failure { what: "it cannot be played".into(), line, missing, unexpected, notes };
        TestOutcome { name, checks: None, timeline: Vec::new(), failures: vec![failure] }
    }
}

impl Outcome {
    pub(super) fn of(path: &Path) -> Outcome {
        Outcome { file: path.display().to_string(), ..Outcome::default() }
    }

    pub(super) fn refused(mut self, problems: &[Problem]) -> Outcome {
        self.errors = problems.iter().map(Problem::to_string).collect();
        self
    }

    /// Whether everything is as expected.
    pub fn passed(&self) -> bool {
        self.errors.is_empty() && self.tests.iter().all(|test| test.failures.is_empty())
    }

    /// The same in the shape of rule tests, which know how to show differences.
    fn as_unit(&self) -> unit::Outcome {
        let test = |test: &TestOutcome| unit::TestOutcome {
            name: test.name.clone(),
            checks: test.checks.unwrap_or_default(),
            failures: test.failures.clone(),
        };
        let tests = self.tests.iter().map(test).collect();
        unit::Outcome { file: self.file.clone(), errors: self.errors.clone(), warnings: Vec::new(), tests }
    }
}

/// As rule tests are shown; of tests that expect nothing the timeline.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for test in self.tests.iter().filter(|test| test.checks.is_none() && test.failures.is_empty()) {
            writeln!(f, "{}", test.name)?;
            for event in &test.timeline {
                // A message has many lines; its first says enough here.
                let detail = event.detail.lines().next().map_or_else(String::new, |line| format!(" ({line})"));
                writeln!(f, "  {:<8} {}{detail}", event.time(), event.text())?;
            }
            writeln!(f)?;
        }
        self.as_unit().fmt(f)
    }
}

/// The outcomes as JUnit's XML: a suite per file, a case per test.
pub fn junit(outcomes: &[Outcome]) -> String {
    unit::junit(&outcomes.iter().map(Outcome::as_unit).collect::<Vec<_>>())
}
