//! What can be typed after `davylamp runs`.

use clap::{Args, Subcommand};

use super::tell::{DaemonArgs, Output};

const EXAMPLES: &str = "\
Examples:
  davylamp runs list --state waiting_approval
  davylamp runs explain garage-1                  why nothing is run for it, and what was run last
  davylamp runs approve 0123456789abcdef && davylamp runs follow 0123456789abcdef";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum RunsCommand {
    /// Show runs, newest first.
    List(ListArgs),
    /// Show a run: what it did task by task, its check run, what it left.
    Show {
        #[command(flatten)]
        run: RunArg,
        /// How to show it.
        #[arg(long, short, value_enum, default_value_t = Output::Simple)]
        output: Output,
    },
    /// Say why a run ran or did not; or, for a binding, a target or an alert's name, why nothing is run.
    Explain {
        #[command(flatten)]
        daemon: DaemonArgs,
        /// Id of a run, or name of a binding, a target or an alert.
        what: String,
    },
    /// Let a run go that waits for it; its check run must have ended.
    Approve(OrderArgs),
    /// Do not let a run go that waits for it.
    Reject(OrderArgs),
    /// End a run that goes on, with all of its processes, or give up one that waits.
    Cancel(OrderArgs),
    /// Want the step of a run again that has ended, while its episode is open.
    Retry(OrderArgs),
    /// Print what a run prints until it ends, verification included. Exit status 0 when it succeeded or healed.
    Follow(RunArg),
    /// Close an episode by hand: the next alert opens a new one.
    Close {
        #[command(flatten)]
        daemon: DaemonArgs,
        /// The binding.
        binding: String,
        /// The target.
        target: String,
        /// Who says so; else the user of this shell.
        #[arg(long, env = "USER", default_value = "")]
        by: String,
    },
}

/// Which run.
#[derive(Debug, Args)]
pub struct RunArg {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Id of the run.
    pub id: String,
}

#[derive(Debug, Args)]
pub struct OrderArgs {
    #[command(flatten)]
    pub run: RunArg,
    /// Who says so; else the user of this shell.
    #[arg(long, env = "USER", default_value = "")]
    pub by: String,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Only in this state: waiting_approval, queued, spawned, healed, failed, …
    #[arg(long)]
    pub state: Option<String>,
    /// Only of this binding.
    #[arg(long)]
    pub binding: Option<String>,
    /// Only on this target.
    #[arg(long)]
    pub target: Option<String>,
    /// At most so many.
    #[arg(long, short = 'n', default_value_t = 50)]
    pub limit: usize,
    /// How to show them.
    #[arg(long, short, value_enum, default_value_t = Output::Simple)]
    pub output: Output,
}
