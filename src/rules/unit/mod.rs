//! Rule tests: promtool's files, unchanged, on our own engine.
//!
//! ```text
//! file ─► TestFile::read ─► run ─► Outcome { tests: [TestOutcome { failures }] } ─► text, JUnit or JSON
//! ```
//!
//! A test is a list of series and a fake clock. Rules are evaluated every `evaluation_interval` from the first value up
//! to the last time that is asked for; each evaluation sees the input up to its own time and what was recorded before.

mod file;
mod report;
mod run;

pub use file::AlertCase;
pub use file::QueryCase;
pub use file::Test;
pub use file::TestFile;
pub use report::junit;
pub use run::Failure;
pub use run::Outcome;
pub use run::TestOutcome;
pub use run::run;
