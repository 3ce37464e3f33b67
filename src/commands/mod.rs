//! What each command does, on top of the library.

mod ask;
mod audit;
mod check;
mod demo;
mod devices;
mod discover;
mod drift;
mod explain;
mod inventory;
mod kinds;
mod log;
mod miner;
mod notify;
mod poll;
mod query;
mod remediations;
mod replay;
mod rules;
mod runs;
mod silence;
mod state;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::CommandFactory;
use tokio_util::sync::CancellationToken;

use crate::args::{Cli, Command, RunArgs};
use davylamp::config::{Config, ConfigError};
use davylamp::daemon;

/// `EX_CONFIG` of sysexits.h: the configuration is wrong, starting again will not help.
const EXIT_CONFIG: u8 = 78;

/// Runs the command and turns its end into an exit status.
pub fn dispatch(cli: Cli) -> ExitCode {
    match execute(cli.command) {
        Ok(code) => code,
        Err(error) => {
            complain(&causes(&error));
            let Some(config) = error.downcast_ref::<ConfigError>() else { return ExitCode::from(1) };
            if config.problems.iter().any(|problem| !problem.file.exists()) {
                complain("name the configuration with --config or DAVYLAMP_CONFIG; `davylamp demo` needs none");
            }
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// An error with its causes, each said once: many a text holds its cause already.
fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run(&args),
        Command::Check(args) if args.schema => say(&serde_json::to_string_pretty(&davylamp::config::json_schema())?),
        Command::Check(args) => check::configuration(&args.config.config),
        Command::Poll(args) => poll::poll(&args),
        Command::Parse(args) => poll::parse(&args),
        Command::Devices(command) => devices::devices(&command),
        Command::Discover(args) => discover::discover(&args),
        Command::Kinds { markdown: true, .. } => say(&kinds::markdown()),
        Command::Kinds { name, .. } => kinds::show(name.as_deref()),
        Command::Demo(args) => demo::demo(&args),
        Command::Log(args) => log::log(&args),
        Command::Drift(args) => drift::drift(&args),
        Command::Query(command) => query::query(&command),
        Command::Rules(command) => rules::rules(&command),
        Command::Remediations(command) => remediations::remediations(&command),
        Command::Dashboards(command) => check::dashboards(&command),
        Command::Runs(command) => runs::runs(&command),
        Command::Miner(args) => miner::miner(&args),
        Command::Silence(command) => silence::silence(&command),
        Command::Windows(command) => silence::windows(&command),
        Command::Notify(command) => notify::notify(&command),
        Command::State(command) => state::state(&command),
        Command::Runner(args) => runner(&args.config),
        Command::Audit(command) => audit::audit(&command),
        Command::Inventory(args) => inventory::show(&args),
        Command::Version => say(&format!("davylamp {}", env!("CARGO_PKG_VERSION"))),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "davylamp", &mut script);
            say(String::from_utf8_lossy(&script).trim_end())
        }
        Command::Man { folder } => {
            clap_mangen::generate_to(Cli::command(), &folder).with_context(|| folder.display().to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Supervise { run } => Ok(davylamp::act::supervise::main(&run)),
    }
}

fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let path = args.config.config.clone();
    let config = load(&path)?;
    start_logging(&config);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let options = daemon::Options { config: path, force_empty: args.force_empty, stop: CancellationToken::new() };
    runtime()?.block_on(daemon::run(options, config, |address| tracing::info!(%address, "listening")))?;
    Ok(ExitCode::SUCCESS)
}

fn runner(path: &Path) -> anyhow::Result<ExitCode> {
    let config = load(path)?;
    start_logging(&config);
    runtime()?.block_on(daemon::run_runner(path, &config))?;
    Ok(ExitCode::SUCCESS)
}

/// `RUST_LOG` wins over the configuration: it is what one sets when something has to be found out.
fn start_logging(config: &Config) {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| config.file.log.level.clone());
    davylamp::telemetry::start_logging(&level, config.file.log.format);
}

/// Prints a line to standard output. A reader that went away (`| head`) is no error.
fn say(text: &str) -> anyhow::Result<ExitCode> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output"))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints to standard error.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The checked configuration, or an error that ends the process with status 78.
fn load(path: &Path) -> anyhow::Result<Arc<Config>> {
    Ok(Config::load(path)?)
}

/// The runtime of the daemon.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// A runtime for commands that do one thing over the network.
fn small_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
