//! What can be typed behind `davylamp query`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::tell::DaemonArgs;
use davylamp::model::duration::parse_duration;

pub const EXAMPLES: &str = "\
Examples:
  davylamp query 'sum by (site) (miner_hashrate_hashes_per_second)'
  davylamp query miner_power_watts --at 2026-11-21T03:00:00Z
  davylamp query miner_temperature_celsius --range 6h -o chart
  davylamp query up --range 1h --step 1m -o json";

#[derive(Debug, Args)]
pub struct QueryCommand {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// The PromQL expression.
    pub expr: String,
    /// When, or the end of the range: 2026-11-21T03:00:00Z, or seconds since 1970; else now.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Evaluate at many times, from this long before: 30m, 6h, 1d.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub range: Option<Duration>,
    /// Time between two points of the range; else a sixtieth of it.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "range")]
    pub step: Option<Duration>,
    /// How to show the answer.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: QueryOutput,
}

/// How to show the answer to a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum QueryOutput {
    /// A row for each series; of a range the smallest, largest and last value.
    #[default]
    Table,
    /// `data` of Prometheus' API.
    Json,
    /// A line for each series, drawn.
    Chart,
}
