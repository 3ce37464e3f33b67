//! What can be typed. Help, completions and the man page all come from here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use discover::{DevicesCommand, DiscoverArgs};
use runs::RunsCommand;
use tell::{DaemonArgs, NotifyCommand, SilenceCommand, WindowsCommand};

mod audit;
pub mod discover;
pub mod miner;
mod query;
mod remediations;
mod rules;
pub mod runs;
pub mod tell;

pub use audit::{AuditCommand, AuditRange};
pub use query::{QueryCommand, QueryOutput};
pub use remediations::{PlayArgs, RemediationsCommand};
pub use rules::{ExplainArgs, ReplayArgs, RulesCommand, TableOutput, TestArgs, TestOutput};

/// The safety lamp for mining hardware, containers and cloud services.
///
/// davylamp polls targets on schedules, exposes what they say to Prometheus on /metrics, writes Grafana dashboards,
/// evaluates Prometheus rule files on its own samples, and lets firing alerts run Ansible playbooks: never twice,
/// never blind, never on the whole fleet at once.
#[derive(Debug, Parser)]
#[command(name = "davylamp", version, max_term_width = 100, arg_required_else_help = true, after_help = EXIT_STATUS)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What a script may rely on.
const EXIT_STATUS: &str = "\
Exit status:
  0   done, and nothing to object to
  1   it failed, or something was found (poll, parse, rules test, remediations test, dashboards check, state verify)
  2   the command line is wrong
  78  the configuration or a rule file has mistakes; all of them are printed

Begin with `davylamp demo`, or with `davylamp check --config davylamp.yml`.";

const POLL_EXAMPLES: &str = "\
Examples:
  davylamp poll garage-1                          a target of the configuration
  davylamp poll --kind axeos 192.168.1.50         an address that stands in no configuration
  davylamp poll --save replies garage-1           keep what it answered, for a bug report";

const PARSE_EXAMPLES: &str = "\
Examples:
  davylamp parse axeos replies/*.raw
  davylamp parse http_json --options options.yml answer.json";

const STATE_EXAMPLES: &str = "\
Examples:
  davylamp state verify --path /var/lib/davylamp
  davylamp state export --output state.jsonl.zst
  davylamp state import --input state.jsonl.zst";

const INVENTORY_EXAMPLES: &str = "\
Ansible wants a program that takes --list and --host alone:
  printf '#!/bin/sh\\nexec davylamp inventory \"$@\"\\n' > fleet.sh && chmod 755 fleet.sh
  ansible-inventory -i fleet.sh --graph
  ansible-playbook -i fleet.sh --limit garage-1 playbooks/restart-miner.yml";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  davylamp completions bash > /etc/bash_completion.d/davylamp
  davylamp completions zsh > ~/.zfunc/_davylamp
  davylamp completions fish > ~/.config/fish/completions/davylamp.fish";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon.
    ///
    /// Exit status: 0 after SIGTERM or SIGINT, 78 when the configuration has mistakes (all of them are printed),
    /// 1 when something else kept it from running. SIGHUP loads the configuration anew, all or nothing.
    Run(RunArgs),
    /// Check configuration, rules, playbooks and dashboards; print every mistake at once.
    ///
    /// Exit status: 0 when a daemon would run with it, 78 when not.
    Check(CheckArgs),
    /// Poll one configured target once and print its samples as /metrics would.
    #[command(after_help = POLL_EXAMPLES)]
    Poll(PollArgs),
    /// Print the samples of saved replies, with no network: what a bug report needs.
    #[command(after_help = PARSE_EXAMPLES)]
    Parse(ParseArgs),
    /// Find miners on a network, and write them down as targets.
    #[command(after_help = discover::EXAMPLES)]
    Discover(DiscoverArgs),
    /// Devices that a running daemon has found: look, adopt, remove.
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// What can be polled, with options.
    Kinds {
        /// Show one kind with all of its options and metric families.
        name: Option<String>,
        /// The table of kinds for the README.
        #[arg(long, hide = true, conflicts_with = "name")]
        markdown: bool,
    },
    /// Watch a simulated fleet being polled, drawn, alerted on and repaired. Needs nothing, changes nothing.
    Demo(DemoArgs),
    /// Where devices differ from their presets, both values side by side.
    ///
    /// Exit status: 0 when nothing differs, 1 when something does.
    Drift(DriftArgs),
    /// What a device said last (device_logs), and with --follow what it says next.
    Log(LogArgs),
    /// Ask a running daemon in PromQL.
    #[command(after_help = query::EXAMPLES)]
    Query(QueryCommand),
    /// Prometheus rule files.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Remediations: what alerts would run.
    #[command(subcommand)]
    Remediations(RemediationsCommand),
    /// Grafana dashboards.
    #[command(subcommand)]
    Dashboards(DashboardsCommand),
    /// The state database. The daemon must not be running; a running one exports by itself (storage.export).
    #[command(subcommand, after_help = STATE_EXAMPLES)]
    State(StateCommand),
    /// Execute playbooks for a daemon that runs in a closed sandbox (see davylamp-runner.service).
    Runner(ConfigArg),
    /// Runs of a running daemon: look, approve, cancel, follow.
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Tell a device something: restart, pause, power-limit, …; confirmed by reading back.
    #[command(after_help = miner::EXAMPLES)]
    Miner(miner::MinerArgs),
    /// Silences of a running daemon, in amtool's manner.
    #[command(subcommand)]
    Silence(SilenceCommand),
    /// Maintenance windows.
    #[command(subcommand)]
    Windows(WindowsCommand),
    /// Receivers of notifications.
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// The configured targets as a dynamic inventory for Ansible.
    #[command(after_help = INVENTORY_EXAMPLES)]
    Inventory(InventoryArgs),
    /// The audit log: what was done, by whom, why, and what came of it.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the version.
    Version,
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder.
    Man {
        /// The folder; it must exist.
        folder: PathBuf,
    },
    /// Own one run of a playbook: started by the daemon or the runner, never by hand.
    #[command(hide = true)]
    Supervise {
        /// The run's folder.
        run: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct ConfigArg {
    /// Configuration file.
    #[arg(long, short, default_value = DEFAULT_CONFIG, env = "DAVYLAMP_CONFIG")]
    pub config: PathBuf,
}

/// Where a packaged davylamp has its configuration.
pub const DEFAULT_CONFIG: &str = "/etc/davylamp/davylamp.yml";

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArg,
    /// Begin with an empty state if nothing of the old one can be opened, salvaged or restored. The damaged database is
    /// kept aside.
    #[arg(long)]
    pub force_empty: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArg,
    /// Print the JSON Schema of the configuration instead, so that editors complete it.
    #[arg(long)]
    pub schema: bool,
}

#[derive(Debug, Args)]
pub struct PollArgs {
    /// Id of a target in the configuration; or, with --kind, an address.
    pub target: String,
    #[command(flatten)]
    pub config: ConfigArg,
    /// Poll an address that stands in no configuration, as this kind.
    #[arg(long)]
    pub kind: Option<String>,
    /// The target's options as a YAML file, for --kind.
    #[arg(long, value_name = "FILE", requires = "kind")]
    pub options: Option<PathBuf>,
    /// Keep the raw replies in this folder, secrets masked, one file per request.
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ParseArgs {
    /// The kind that answered.
    pub kind: String,
    /// Saved replies of one poll, as `davylamp poll --save` names them.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The target's options as a YAML file, for kinds whose samples depend on them.
    #[arg(long, value_name = "FILE")]
    pub options: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DriftArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Only this device.
    pub target: Option<String>,
    /// What is as it should be, too.
    #[arg(long)]
    pub all: bool,
    /// Print everything as JSON.
    #[arg(long, conflicts_with = "all")]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct LogArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Id of the target.
    pub target: String,
    /// At most so many lines of what was said.
    #[arg(long, short = 'n', default_value_t = 50)]
    pub lines: usize,
    /// Go on with what it says next, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Address to serve /metrics and the status page on.
    #[arg(long, default_value = "127.0.0.1:9940")]
    pub listen: std::net::SocketAddr,
    /// End after this many seconds; else at Ctrl-C.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Keep everything (state, configuration, dashboards, runs) in this folder instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Do not look for a local Docker engine.
    #[arg(long)]
    pub no_docker: bool,
}

#[derive(Debug, Subcommand)]
pub enum DashboardsCommand {
    /// Write dashboards and provisioning files.
    Write(DashboardArgs),
    /// Check a folder: stale or edited files, duplicate uids and titles, unknown units, queries that do not parse.
    Check(DashboardArgs),
}

#[derive(Debug, Args)]
pub struct DashboardArgs {
    #[command(flatten)]
    pub config: ConfigArg,
    /// The folder; else dashboards.path of the configuration.
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Read everything and report what is damaged.
    Verify(StatePath),
    /// Write all records as JSON lines, zstd-compressed, into a new file.
    Export {
        #[command(flatten)]
        path: StatePath,
        /// File to write.
        #[arg(long, short)]
        output: PathBuf,
    },
    /// Build the database anew from an export; the old one is kept aside.
    Import {
        #[command(flatten)]
        path: StatePath,
        /// File to read.
        #[arg(long, short)]
        input: PathBuf,
    },
    /// Copy live records into a new database, which gives disk space back.
    Compact(StatePath),
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct InventoryArgs {
    #[command(flatten)]
    pub config: ConfigArg,
    /// Print all hosts with their groups and variables.
    #[arg(long, required_unless_present = "host", conflicts_with = "host")]
    pub list: bool,
    /// Print the variables of one host.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
}

#[derive(Debug, Args)]
pub struct StatePath {
    #[command(flatten)]
    pub config: ConfigArg,
    /// Folder of the state database; else storage.path of the configuration.
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
}
