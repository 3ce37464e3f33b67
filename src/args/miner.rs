//! What can be typed after `davylamp miner`.

use clap::Args;

use super::tell::DaemonArgs;

pub const EXAMPLES: &str = "\
Examples:
  davylamp miner list                             what takes commands, and which
  davylamp miner commands garage-1                what can be told to one
  davylamp miner restart garage-1 --dry-run       what would be sent
  davylamp miner power-limit s19-3 2800
  davylamp miner fan nerdqaxe-1 80 --code 123456  for a device that wants a one-time code
  davylamp miner pause garage-1 && davylamp miner resume garage-1

Exit status 0 when the device shows that it was done, 1 when it was refused, not confirmed, or nobody knows.";

#[derive(Debug, Args)]
pub struct MinerArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// `list`, `commands`, or a command of the device.
    pub command: String,
    /// Id of the target.
    #[arg(required_if_eq("command", "commands"))]
    pub target: Option<String>,
    /// What the command is told: watts, a mode, a pool's number.
    pub argument: Option<String>,
    /// One-time code that an authenticator app shows, for a NerdQAxe without `otp` in its options.
    #[arg(long)]
    pub code: Option<String>,
    /// Resume a device whoever paused it; without it, only what davylamp paused.
    #[arg(long)]
    pub force: bool,
    /// Say what would be sent, and send nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds in which the device must show that it has done it; at most 120.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub timeout: u64,
    /// Who says so; else the user of this shell.
    #[arg(long, env = "USER", default_value = "")]
    pub by: String,
}
