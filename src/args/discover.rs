//! What can be typed about finding miners.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::ConfigArg;
use super::tell::DaemonArgs;
use davylamp::model::duration::parse_duration;

pub const EXAMPLES: &str = "\
Examples:
  davylamp discover 192.168.1.0/24
  davylamp discover 192.168.1.10-90 10.0.0.5 -o json
  davylamp discover 192.168.0.0/16 --rate 500 --write";

#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// Networks (192.168.1.0/24), ranges (192.168.1.10-90) and addresses; else discovery.networks of the configuration.
    pub networks: Vec<String>,
    #[command(flatten)]
    pub config: ConfigArg,
    /// What of them not to ask.
    #[arg(long, value_name = "NETWORK")]
    pub exclude: Vec<String>,
    /// Ask public addresses too, because they are yours.
    #[arg(long)]
    pub public: bool,
    /// Add what is found to this file of targets; without a name, discovered.yml beside the configuration.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[allow(clippy::option_option, reason = "absent, there, and there with a value")]
    pub write: Option<Option<PathBuf>>,
    /// How to show what is found.
    #[arg(long, short, value_enum, default_value_t = Shown::Table)]
    pub output: Shown,
    /// Longest time for one answer [default: 3s].
    #[arg(long, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Addresses asked at once [default: 128].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub concurrency: Option<u16>,
    /// Addresses begun in a second [default: 200].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: Option<u32>,
    /// Ports of web interfaces [default: 80,8080].
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub http_ports: Option<Vec<u16>>,
    /// Ports of cgminer's API [default: 4028].
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub rpc_ports: Option<Vec<u16>>,
    /// Ports of the newer API of WhatsMiners [default: 4433].
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub framed_ports: Option<Vec<u16>>,
}

/// How to show what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    /// Columns.
    Table,
    /// A JSON array.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum DevicesCommand {
    /// Show what has been found, and what was decided about it.
    List {
        #[command(flatten)]
        daemon: DaemonArgs,
        /// How to show it.
        #[arg(long, short, value_enum, default_value_t = Shown::Table)]
        output: Shown,
    },
    /// Poll devices from now on.
    Adopt {
        #[command(flatten)]
        daemon: DaemonArgs,
        /// Ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Poll devices no longer, however often they are found.
    Remove {
        #[command(flatten)]
        daemon: DaemonArgs,
        /// Ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Search now.
    Search {
        #[command(flatten)]
        daemon: DaemonArgs,
    },
}
