//! `davylamp poll` and `davylamp parse`: the samples of one poll, from the wire or from files.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::{complain, load, say, small_runtime};
use crate::args::{ParseArgs, PollArgs};
use davylamp::collect::{Collector, Kind, OptionError, Reply, kind, redact};
use davylamp::model::words;
use davylamp::model::{Labels, Observation, Reading, Target};
use davylamp::schedule::poll::poll_keeping_replies;
use davylamp::secret::Secret;
use davylamp::store::{Format, Limits, Recent};
use davylamp::yaml::Document;

/// Polls one target once.
pub fn poll(args: &PollArgs) -> anyhow::Result<ExitCode> {
    let (target, collector) = match &args.kind {
        Some(name) => open(name, &args.target, options(args.options.as_deref())?)?,
        None => {
            let config = load(&args.config.config)?;
            let job = config.jobs.iter().find(|job| *job.target.id == *args.target);
            let job = job.with_context(|| {
                let ids = words::hint(&args.target, config.jobs.iter().map(|job| &*job.target.id));
                format!("no target has the id {:?}; {ids} (or poll an address: --kind KIND ADDRESS)", args.target)
            })?;
            (job.target.clone(), job.collector.clone())
        }
    };
    let (replies, outcome) = small_runtime()?.block_on(poll_keeping_replies(&target, &collector));
    if let Some(folder) = &args.save {
        save(folder, &replies, &redact::secrets_in(&target.options))?;
    }
    match outcome {
        Ok(reading) => print(&target, reading),
        Err(failure) if *target.id == target.address => bail!("poll of {} failed: {failure}", target.id),
        Err(failure) => bail!("poll of {} ({}) failed: {failure}", target.id, target.address),
    }
}

/// Reads saved replies.
pub fn parse(args: &ParseArgs) -> anyhow::Result<ExitCode> {
    let (target, collector) = open(&args.kind, "127.0.0.1", options(args.options.as_deref())?)?;
    let mut replies = Vec::new();
    for path in &args.files {
        let body = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        replies.push(redact::read_back(path, body));
    }
    print(&target, collector.parse(&replies)?)
}

/// A target's options from a file of their own.
fn options(path: Option<&Path>) -> anyhow::Result<serde_json::Value> {
    let Some(path) = path else { return Ok(serde_json::Value::Null) };
    let document = Document::read(path).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    serde_json::to_value(document.value).with_context(|| path.display().to_string())
}

/// A target that stands in no configuration.
fn open(name: &str, address: &str, options: serde_json::Value) -> anyhow::Result<(Arc<Target>, Arc<dyn Collector>)> {
    let kind = find_kind(name)?;
    let timeout = Duration::from_secs(10);
    let target = Target {
        id: address.into(),
        kind: kind.name.into(),
        address: address.to_string(),
        interval: timeout.max(kind.min_interval),
        timeout,
        cron: None,
        labels: Labels::empty(),
        options,
    };
    let said = |errors: Vec<OptionError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let collector = (kind.open)(&target).map_err(|errors| anyhow::anyhow!(said(errors)))?;
    Ok((Arc::new(target), collector.into()))
}

pub fn find_kind(name: &str) -> anyhow::Result<&'static Kind> {
    kind(name).with_context(|| {
        let names = davylamp::collect::KINDS.iter().map(|kind| kind.name);
        format!("unknown kind {name:?}; {} (davylamp kinds)", words::hint(name, names))
    })
}

fn save(folder: &Path, replies: &[Reply], secrets: &[Secret]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (index, reply) in replies.iter().enumerate() {
        let path = folder.join(redact::file_name(index + 1, reply));
        std::fs::write(&path, redact::masked(&reply.body, secrets)).with_context(|| path.display().to_string())?;
        complain(&format!("saved {}", path.display()));
    }
    Ok(())
}

/// Prints the samples as the page would, and what was odd to standard error.
fn print(target: &Target, reading: Reading) -> anyhow::Result<ExitCode> {
    for note in &reading.notes {
        complain(&format!("note: {note}"));
    }
    for (family, count) in &reading.rejected {
        complain(&format!("note: {count} impossible value(s) of {family} left out"));
    }
    let recent = Recent::new(Duration::from_secs(60), Limits::default());
    recent.declare(target, find_kind(&target.kind)?.subject);
    recent.observe(&Observation { target: target.id.clone(), at: 0, took: Duration::ZERO, outcome: Ok(reading) }, &[]);
    say(String::from_utf8_lossy(&recent.page(Format::Text, None)).trim_end())
}
