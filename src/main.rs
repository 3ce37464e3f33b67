//! The davylamp binary: the command line, nothing else.

<<<<<<< HEAD
mod args;
mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::dispatch(args::Cli::parse())
=======
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("supervise"), Some(folder)) => davylamp::act::supervise::main(Path::new(&folder)),
        _ => ExitCode::FAILURE,
    }
>>>>>>> act
}
