//! `davylamp runs`: what a daemon runs, has run and waits to run. Of one that is stopped, what it has left in its state.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::ask::Daemon;
use super::silence::table;
use super::{complain, load, say, small_runtime};
use crate::args::runs::{ListArgs, OrderArgs, RunArg, RunsCommand};
use crate::args::tell::{DaemonArgs, Output};
use davylamp::act::book::Book;
use davylamp::act::control::Filter;
use davylamp::act::executor::Printed;
use davylamp::act::run::{RunId, RunState};
use davylamp::api::runs::{Row, explained, shown};
use davylamp::daemon::runs_of;
use davylamp::silence::rfc3339;
use davylamp::store::state::{OpenOptions, SledState};

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
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect()
}

/// Where records of runs come from.
enum Records {
    Daemon(Daemon),
    /// The state of a daemon that does not run, and that cannot be started meanwhile.
    Disk(Book),
}

impl Records {
    /// Of the daemon, or of its state where nobody answers. A daemon that is named by its URL may be anywhere.
    fn find(args: &DaemonArgs) -> anyhow::Result<Records> {
        let daemon = Daemon::find(args)?;
        if args.url.is_some() || !daemon.is_silent() {
            return Ok(Records::Daemon(daemon));
        }
        let config = load(&args.config)?;
        let storage = &config.file.storage;
        let nobody = || format!("no daemon answers at {}, and its records cannot be read", daemon.base());
        if !storage.path.is_dir() {
            bail!("{}: there is no state at {}", nobody(), storage.path.display());
        }
        let options = OpenOptions {
            cache_bytes: storage.cache_bytes,
            ballast_bytes: storage.ballast_bytes,
            ..OpenOptions::new(&storage.path)
        };
        let (store, _) = SledState::open(options).with_context(nobody)?;
        let book = small_runtime()?.block_on(runs_of(Arc::new(store))).with_context(nobody)?;
        complain(&format!(
            "no daemon answers at {}; these are the records in {}",
            daemon.base(),
            storage.path.display()
        ));
        Ok(Records::Disk(book))
    }
}

/// As the daemon takes it, a state is one of the words of its records.
fn state(word: &str) -> anyhow::Result<RunState> {
    serde_json::from_value(word.into()).with_context(|| format!("--state {word}"))
}

fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let runs = match Records::find(&args.daemon)? {
        Records::Daemon(daemon) => ask_list(&daemon, args)?,
        Records::Disk(book) => {
            let state = args.state.as_deref().map(state).transpose()?;
            let (binding, target) = (args.binding.clone(), args.target.clone());
            let filter = Filter { binding, target, state, most: args.limit.max(1) };
            book.list(&filter).iter().map(Row::from).collect()
        }
    };
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

fn ask_list(daemon: &Daemon, args: &ListArgs) -> anyhow::Result<Vec<Row>> {
    #[derive(serde::Deserialize)]
    struct Listed {
        runs: Vec<Row>,
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("state", &args.state), ("binding", &args.binding), ("target", &args.target)] {
        query.extend_pairs(value.as_ref().map(|value| (name, value)));
    }
    query.append_pair("limit", &args.limit.to_string());
    let Listed { runs } = daemon.read(&format!("/api/v1/runs?{}", query.finish()))?;
    Ok(runs)
}

fn show(run: &RunArg, output: Output) -> anyhow::Result<ExitCode> {
    let (records, path) = (Records::find(&run.daemon)?, path(&run.id, "")?);
    let said: Value = match &records {
        Records::Daemon(daemon) => daemon.read(&path)?,
        Records::Disk(book) => shown(book, &RunId::try_from(run.id.clone())?)?,
    };
    if output == Output::Json {
        return say(&serde_json::to_string_pretty(&said)?);
    }
    explanation(&records, &run.id)?;
    for file in said["run"]["exit"]["artifacts"].as_array().into_iter().flatten() {
        say(&clean(&format!("  artifact  {} ({} bytes)", file["path"].as_str().unwrap_or_default(), file["bytes"])))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(daemon: &DaemonArgs, what: &str) -> anyhow::Result<ExitCode> {
    explanation(&Records::find(daemon)?, what)
}

fn explanation(records: &Records, what: &str) -> anyhow::Result<ExitCode> {
    let text = match records {
        Records::Disk(book) => explained(book, what)?,
        Records::Daemon(daemon) => {
            let what: String = url::form_urlencoded::byte_serialize(what.as_bytes()).collect();
            // A form's blank is a plus sign; in a path it is not.
            let said = daemon.ask("GET", &format!("/api/v1/runs/{}/explain", what.replace('+', "%20")), None)?;
            said["explanation"].as_str().context("the daemon explains nothing")?.to_string()
        }
    };
    say(&clean(&text))
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
