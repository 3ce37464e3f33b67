//! `davylamp remediations`: what would run, before anything does.

use std::process::ExitCode;

use super::rules::only;
use super::say;
use crate::args::{PlayArgs, RemediationsCommand, TestOutput};
use davylamp::daemon::remediation_tests;
use davylamp::simulation::{Outcome, junit};

/// Does what was typed behind `remediations`.
pub fn remediations(command: &RemediationsCommand) -> anyhow::Result<ExitCode> {
    match command {
        RemediationsCommand::Test(args) => test(args),
    }
}

fn test(args: &PlayArgs) -> anyhow::Result<ExitCode> {
    let only = only(&args.run)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for file in &args.files {
        let outcome = remediation_tests(file, only.as_ref());
        if args.output == TestOutput::Text {
            say(outcome.to_string().trim_end())?;
        }
        outcomes.push(outcome);
    }
    match args.output {
        TestOutput::Text => {}
        TestOutput::Json => drop(say(&serde_json::to_string_pretty(&outcomes)?)?),
        TestOutput::Junit => drop(say(junit(&outcomes).trim_end())?),
    }
    Ok(if outcomes.iter().all(Outcome::passed) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
