//! `davylamp poll` and `davylamp parse`: the samples of one poll, from the wire or from files.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::{complain, load, say, small_runtime};
use crate::args::{ParseArgs, PollArgs};
use davylamp::collect::{Collector, Kind, Reply, kind, redact};
use davylamp::model::{Labels, Observation, Reading, Target};
use davylamp::schedule::poll::poll_keeping_replies;
use davylamp::secret::Secret;
use davylamp::store::{Format, Limits, Recent};

/// Polls one target once.
pub fn poll(args: &PollArgs) -> anyhow::Result<ExitCode> {
    let (target, collector) = match &args.kind {
        Some(name) => open(name, &args.target, serde_json::Value::Null)?,
        None => {
            let config = load(&args.config.config)?;
            let job = config.jobs.iter().find(|job| *job.target.id == *args.target);
            let job = job.with_context(|| {
                let ids = davylamp::yaml::did_you_mean(&args.target, config.jobs.iter().map(|job| &*job.target.id));
                format!("no target has the id {:?}{ids} (or name a kind: --kind KIND ADDRESS)", args.target)
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
        Err(failure) => bail!("poll of {} ({}) failed: {failure}", target.id, target.address),
    }
}

/// Reads saved replies.
pub fn parse(args: &ParseArgs) -> anyhow::Result<ExitCode> {
    let options = match &args.options {
        Some(path) => {
            serde_json::to_value(davylamp::yaml::Document::read(path).map_err(|p| anyhow::anyhow!("{p}"))?.value)?
        }
        None => serde_json::Value::Null,
    };
    let (target, collector) = open(&args.kind, "127.0.0.1", options)?;
    let mut replies = Vec::new();
    for path in &args.files {
        let body = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        replies.push(redact::read_back(path, body));
    }
    print(&target, collector.parse(&replies)?)
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
    let collector = (kind.open)(&target)?;
    Ok((Arc::new(target), collector.into()))
}

pub fn find_kind(name: &str) -> anyhow::Result<&'static Kind> {
    kind(name).with_context(|| {
        let names = davylamp::collect::KINDS.iter().map(|kind| kind.name);
        format!("unknown kind {name:?}{}; see davylamp kinds", davylamp::yaml::did_you_mean(name, names))
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
