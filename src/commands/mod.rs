//! What each command does, on top of the library.

mod kinds;
mod poll;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Cli, Command};
use davylamp::config::{Config, ConfigError};

/// `EX_CONFIG` of sysexits.h: the configuration is wrong, starting again will not help.
const EXIT_CONFIG: u8 = 78;

/// Runs the command and turns its end into an exit status.
pub fn dispatch(cli: Cli) -> ExitCode {
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            let code = if error.is::<ConfigError>() { EXIT_CONFIG } else { 1 };
            complain(&format!("{error:#}"));
            ExitCode::from(code)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Kinds { name } => kinds::show(name.as_deref()),
        Command::Poll(args) => poll::poll(&args),
        Command::Parse(args) => poll::parse(&args),
        Command::Version => say(&format!("davylamp {}", env!("CARGO_PKG_VERSION"))),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "davylamp", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { folder } => {
            clap_mangen::generate_to(Cli::command(), &folder).with_context(|| folder.display().to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        _ => anyhow::bail!("not wired"),
    }
}

/// Prints a line to standard output. A reader that went away (`| head`) is no error.
fn say(text: &str) -> anyhow::Result<ExitCode> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
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

/// A runtime for commands that do one thing over the network.
fn small_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
