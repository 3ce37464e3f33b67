//! What can be typed behind `davylamp rules`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::tell::DaemonArgs;
use davylamp::model::duration::parse_duration;

const TEST_EXAMPLES: &str = "\
Examples:
  davylamp rules test tests/*.test.yml
  davylamp rules test --run 'hashrate' tests/miners.test.yml
  davylamp rules test --output junit tests/*.test.yml > rules.xml";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  davylamp rules explain MinerHashrateLow
  davylamp rules explain --group fleet --output json";

const REPLAY_EXAMPLES: &str = "\
Examples:
  davylamp rules replay --from 24h                              the last day, with the configured rules
  davylamp rules replay --from 7d --rules new.yml --output json
  davylamp rules replay --from 2026-11-20T00:00:00Z --to 2026-11-21T00:00:00Z --step 1m

Samples come from the running daemon; where none answers, from the history on the disk (run it as the daemon's user).
Rules see what this replay records in place of what was recorded back then.";

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
    /// Ask a running daemon why rules fire, wait or do nothing: their last evaluations with the reason of each.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Evaluate rules over the past: which alerts would have been pending, firing and resolved, and when.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// First evaluation: 2026-11-21T03:00:00Z, seconds since the epoch, or 6h for six hours ago.
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// Last evaluation, written alike; else now.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Rule files; else those of the configuration.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub rules: Vec<PathBuf>,
    /// Evaluate all groups this often; else each at the times at which a daemon would.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub step: Option<Duration>,
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: TableOutput,
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Name of the alert or of the recorded series.
    #[arg(required_unless_present = "group")]
    pub name: Option<String>,
    /// Only rules of this group.
    #[arg(long)]
    pub group: Option<String>,
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: TableOutput,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableOutput {
    /// Lines in columns.
    #[default]
    Table,
    /// JSON.
    Json,
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
