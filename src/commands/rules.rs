//! `davylamp rules`: what rule files say, and what they do.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{EXIT_CONFIG, explain, replay, say};
use crate::args::{RulesCommand, TestArgs, TestOutput};
use davylamp::rules::check_files;
use davylamp::rules::unit::{self, Outcome};

/// Does what was typed behind `rules`.
pub fn rules(command: &RulesCommand) -> anyhow::Result<ExitCode> {
    match command {
        RulesCommand::Check { files } => check(files),
        RulesCommand::Test(args) => test(args),
        RulesCommand::Explain(args) => explain::explain(args),
        RulesCommand::Replay(args) => replay::replay(args),
    }
}

fn check(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let report = check_files(files);
    say(report.to_string().trim_end())?;
    Ok(if report.has_errors() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS })
}

/// The tests that `--run` asks for.
pub(super) fn only(patterns: &[String]) -> anyhow::Result<Option<regex::Regex>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let pattern = patterns.join("|");
    Ok(Some(regex::Regex::new(&pattern).with_context(|| format!("--run {pattern:?}"))?))
}

fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let only = only(&args.run)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for file in &args.files {
        let outcome = unit::run(file, only.as_ref());
        if args.output == TestOutput::Text {
            say(&outcome.to_string())?;
        }
        outcomes.push(outcome);
    }
    match args.output {
        TestOutput::Text => {}
        TestOutput::Json => drop(say(&serde_json::to_string_pretty(&outcomes)?)?),
        TestOutput::Junit => drop(say(unit::junit(&outcomes).trim_end())?),
    }
    Ok(if outcomes.iter().all(Outcome::passed) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
