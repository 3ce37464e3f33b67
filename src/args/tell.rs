//! What can be typed about silences, windows and receivers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigArg, DEFAULT_CONFIG};
use davylamp::model::duration::parse_duration;

/// Where the daemon is, where no option says so.
pub const DAEMON_URL: &str = "DAVYLAMP_URL";

/// Which daemon.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Configuration file.
    #[arg(long, default_value = DEFAULT_CONFIG, env = "DAVYLAMP_CONFIG")]
    pub config: PathBuf,
    /// Its URL; else server.listen of the configuration.
    #[arg(long, value_name = "URL", visible_alias = "alertmanager.url", env = DAEMON_URL)]
    pub url: Option<String>,
    /// File that holds its token; else server.token of the configuration.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  davylamp silence add alertname=MinerHot miner=~\"garage-.*\" -d 2h -c \"new fans\"
  davylamp silence query miner=garage-1
  davylamp silence expire $(davylamp silence query -q)";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum SilenceCommand {
    /// Mute the alerts that all matchers match. A first word without an operator is an alert's name.
    Add(AddArgs),
    /// Show silences that are not over.
    Query(QueryArgs),
    /// End silences now.
    Expire {
        #[command(flatten)]
        daemon: DaemonArgs,
        /// Ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Change end or comment of silences.
    Update {
        #[command(flatten)]
        daemon: DaemonArgs,
        #[command(flatten)]
        span: Span,
        /// New comment.
        #[arg(long, short)]
        comment: Option<String>,
        /// Ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// When.
#[derive(Debug, Args)]
pub struct Span {
    /// For how long, from the start on: 30m, 2h, 1d. Default of a new silence: 1h.
    #[arg(long, short, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Start, as 2026-11-21T03:00:00Z; else now.
    #[arg(long)]
    pub start: Option<String>,
    /// End, in place of --duration.
    #[arg(long, conflicts_with = "duration")]
    pub end: Option<String>,
}

#[derive(Debug, Args)]
pub struct AddArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    #[command(flatten)]
    pub span: Span,
    /// Why.
    #[arg(long, short)]
    pub comment: Option<String>,
    /// Who; else the user of this shell.
    #[arg(long, short, env = "USER", default_value = "")]
    pub author: String,
    /// Matchers: name=value, name!=value, name=~pattern, name!~pattern.
    #[arg(required = true)]
    pub matchers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct QueryArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Show those that are over, instead.
    #[arg(long)]
    pub expired: bool,
    /// Only of this author.
    #[arg(long)]
    pub created_by: Option<String>,
    /// Only the ids.
    #[arg(long, short)]
    pub quiet: bool,
    /// How to show them.
    #[arg(long, short, value_enum, default_value_t = Output::Simple)]
    pub output: Output,
    /// Matchers, as the silences say them.
    pub matchers: Vec<String>,
}

/// How to show something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The columns that one mostly wants.
    Simple,
    /// All columns.
    Extended,
    /// As the API says it.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum WindowsCommand {
    /// Show the maintenance windows of a configuration, and which are open now.
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// How to show them.
        #[arg(long, short, value_enum, default_value_t = Output::Simple)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a test message to every integration of a receiver. No daemon is needed.
    Test {
        #[command(flatten)]
        config: ConfigArg,
        /// Name of the receiver.
        receiver: String,
    },
}
