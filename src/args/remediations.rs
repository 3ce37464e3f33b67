//! What can be typed behind `davylamp remediations`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::rules::TestOutput;

const EXAMPLES: &str = "\
Examples:
  davylamp remediations test config/remediations-test.yml
  davylamp remediations test --run 'storm' --output json tests/*.yml
  davylamp remediations test --output junit tests/*.yml > remediations.xml";

#[derive(Debug, Subcommand)]
pub enum RemediationsCommand {
    /// Play alerts over time, and say what would run, when, and what would be held back and why.
    ///
    /// Guards, steps, verification and approvals are those of the daemon, under a clock that jumps to the next event;
    /// nothing is run. A test that expects nothing prints its timeline.
    ///
    /// Exit status: 0 when everything is as expected, 1 when not.
    #[command(after_help = EXAMPLES)]
    Test(PlayArgs),
}

#[derive(Debug, Args)]
pub struct PlayArgs {
    /// Files of tests.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Run only tests whose name matches this regular expression; may be given more than once.
    #[arg(long, value_name = "REGEX")]
    pub run: Vec<String>,
    /// How to print what came of it.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: TestOutput,
}
