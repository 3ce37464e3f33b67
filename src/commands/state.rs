//! `davylamp state`: look after the state database while the daemon is stopped.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{complain, load, say};
use crate::args::{StateCommand, StatePath};
use davylamp::store::state;

/// Runs one of the commands.
pub fn state(command: &StateCommand) -> anyhow::Result<ExitCode> {
    match command {
        StateCommand::Verify(path) => {
            let report = state::verify(&folder(path)?)?;
            say(report.to_string().trim_end())?;
            Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        StateCommand::Export { path, output } => {
            let summary = state::export(&folder(path)?, output)?;
            say(&format!("{}: {} records at revision {}", output.display(), summary.lines, summary.revision))
        }
        StateCommand::Import { path, input } => {
            let folder = folder(path)?;
            let (summary, aside) = state::import(input, &folder)?;
            if let Some(aside) = aside {
                complain(&format!("the old database is kept in {}", aside.display()));
            }
            say(&format!("{}: {} records at revision {}", folder.display(), summary.lines, summary.revision))
        }
        StateCommand::Compact(path) => {
            let folder = folder(path)?;
            let report = state::compact(&folder)?;
            say(&format!("{}: {} bytes before, {} after", folder.display(), report.before, report.after))
        }
    }
}

/// The folder that is named, or that of the configuration.
pub(super) fn folder(path: &StatePath) -> anyhow::Result<PathBuf> {
    match &path.path {
        Some(folder) => Ok(folder.clone()),
        None => Ok(load(&path.config.config)?.file.storage.path.clone()),
    }
}
