//! What can be typed behind `davylamp rules`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

const TEST_EXAMPLES: &str = "\
Examples:
  davylamp rules test tests/*.test.yml
  davylamp rules test --run 'hashrate' tests/miners.test.yml
  davylamp rules test --output junit tests/*.test.yml > rules.xml";

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Check rule files as Prometheus would read them.
    Check {
        /// Rule files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Run rule tests, written as for promtool.
    ///
    /// Exit status: 0 when everything is as expected, 1 when not.
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
}

#[derive(Debug, Args)]
pub struct TestArgs {
    /// Files of tests, in promtool's format.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Run only tests whose name matches this regular expression; may be given more than once.
    #[arg(long, value_name = "REGEX")]
    pub run: Vec<String>,
    /// How to print what came of it.
    #[arg(long, value_enum, default_value_t)]
    pub output: TestOutput,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TestOutput {
    /// As promtool does, with differences line by line.
    #[default]
    Text,
    /// JSON, one list for all files.
    Json,
    /// JUnit's XML, for build servers.
    Junit,
}
