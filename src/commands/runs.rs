//! `davylamp runs`: what a running daemon runs, has run and waits to run.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::ask::Daemon;
use super::silence::table;
use super::{complain, say, small_runtime};
use crate::args::runs::{ListArgs, OrderArgs, RunArg, RunsCommand};
use crate::args::tell::{DaemonArgs, Output};
use davylamp::act::executor::Printed;
use davylamp::act::run::{RunId, RunState};
use davylamp::api::runs::Row;
use davylamp::silence::rfc3339;

/// How often it is asked for more output.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

pub fn runs(command: &RunsCommand) -> anyhow::Result<ExitCode> {
    match command {
        RunsCommand::List(args) => list(args),
        RunsCommand::Show { run, output } => show(run, *output),
        RunsCommand::Explain { daemon, what } => explain(daemon, what),
        RunsCommand::Approve(args) => order(args, "approve"),
        RunsCommand::Reject(args) => order(args, "reject"),
        RunsCommand::Cancel(args) => order(args, "cancel"),
        RunsCommand::Retry(args) => order(args, "retry"),
        RunsCommand::Follow(run) => follow(run),
        RunsCommand::Close { daemon, binding, target, by } => {
            let body = json!({"binding": binding, "target": target, "by": by});
            Daemon::find(daemon)?.ask("POST", "/api/v1/episodes/close", Some(&body))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Ids come from people; what is none must not become another path.
fn path(id: &str, rest: &str) -> anyhow::Result<String> {
    Ok(format!("/api/v1/runs/{}{rest}", RunId::try_from(id.to_string())?))
}

/// Text from alerts and plays: no control characters but line ends reach the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect()
}

fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    #[derive(serde::Deserialize)]
    struct Listed {
        runs: Vec<Row>,
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("state", &args.state), ("binding", &args.binding), ("target", &args.target)] {
        query.extend_pairs(value.as_ref().map(|value| (name, value)));
    }
    query.append_pair("limit", &args.limit.to_string());
    let Listed { runs } = Daemon::find(&args.daemon)?.read(&format!("/api/v1/runs?{}", query.finish()))?;
    let simple = |run: &Row| {
        let check = if run.rehearses.is_some() { " (check run)" } else { "" };
        let what = format!("{}{check}", run.playbook);
        vec![run.id.clone(), run.state.to_string(), run.target.clone(), what, rfc3339(run.queued_at)]
    };
    let extended = |run: &Row| {
        let ended = run.ended_at.map(rfc3339).unwrap_or_default();
        [simple(run), vec![ended, run.binding.clone(), run.mode.clone(), run.detail.clone()]].concat()
    };
    let heads = ["ID", "State", "Target", "Action", "Wanted At", "Ended At", "Binding", "Mode", "Detail"];
    match args.output {
        Output::Json => say(&serde_json::to_string_pretty(&runs)?),
        Output::Simple => table(&heads[..5], runs.iter().map(simple)),
        Output::Extended => table(&heads, runs.iter().map(extended)),
    }
}

fn show(run: &RunArg, output: Output) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::find(&run.daemon)?;
    let said: Value = daemon.read(&path(&run.id, "")?)?;
    if output == Output::Json {
        return say(&serde_json::to_string_pretty(&said)?);
    }
    explain(&run.daemon, &run.id)?;
    for file in said["run"]["exit"]["artifacts"].as_array().into_iter().flatten() {
        say(&clean(&format!("  artifact  {} ({} bytes)", file["path"].as_str().unwrap_or_default(), file["bytes"])))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(daemon: &DaemonArgs, what: &str) -> anyhow::Result<ExitCode> {
    let what: String = url::form_urlencoded::byte_serialize(what.as_bytes()).collect();
    // A form's blank is a plus sign; in a path it is not.
    let said = Daemon::find(daemon)?.ask("GET", &format!("/api/v1/runs/{}/explain", what.replace('+', "%20")), None)?;
    say(&clean(said["explanation"].as_str().context("the daemon explains nothing")?))
}

fn order(args: &OrderArgs, verb: &str) -> anyhow::Result<ExitCode> {
    let body = json!({"by": args.by});
    let said = Daemon::find(&args.run.daemon)?.ask("POST", &path(&args.run.id, &format!("/{verb}"))?, Some(&body))?;
    let run: Row = serde_json::from_value(said["run"].clone()).context("the daemon says something else")?;
    say(&clean(&format!("{}  {}  {} on {}", run.id, run.state, run.playbook, run.target)))
}

fn follow(run: &RunArg) -> anyhow::Result<ExitCode> {
    #[derive(serde::Deserialize)]
    struct Heard {
        state: RunState,
        output: Printed,
    }
    let daemon = Daemon::find(&run.daemon)?;
    let (mut offset, mut last) = (0, None);
    loop {
        let heard: Heard = daemon.read(&path(&run.id, &format!("/output?offset={offset}"))?)?;
        if heard.output.cut {
            complain("… it printed more than is kept; some is missing here");
        }
        if write!(std::io::stdout(), "{}", clean(&heard.output.text)).is_err() {
            // The reader went away.
            return Ok(ExitCode::SUCCESS);
        }
        offset = heard.output.next;
        if last != Some(heard.state) {
            complain(&format!("run {}: {}", run.id, heard.state));
            last = Some(heard.state);
        }
        if heard.output.more {
            continue;
        }
        if heard.state.is_final() {
            let well = matches!(heard.state, RunState::Succeeded | RunState::Healed);
            return Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) });
        }
        small_runtime()?.block_on(async { tokio::time::sleep(FOLLOW_EVERY).await });
    }
}
