//! `davylamp rules replay`: rules over the past, on the samples of a running daemon or on the history of a stopped one.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};

use super::ask::Daemon;
use super::explain::plain;
use super::{EXIT_CONFIG, complain, load, say};
use crate::args::{ReplayArgs, TableOutput};
use davylamp::config::Config;
use davylamp::daemon::rule_settings;
use davylamp::model::duration::parse_duration;
use davylamp::model::{Matcher, Series, Source, SourceError};
use davylamp::rules::replay::{Ahead, Episode, Plan, Replay, replay as run};
use davylamp::rules::{Settings, check_files};
use davylamp::schedule::poll::unix_millis;
use davylamp::silence::from_rfc3339;
use davylamp::store::state::{Hold, hold};
use davylamp::store::{History, HistoryOptions};
use davylamp::wire::ReadQuery;

/// Samples that one question may bring of a history on the disk.
const MOST_SAMPLES: usize = 2_000_000;
/// How often progress is told.
const TELL_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// Replays and prints.
pub fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let now = unix_millis();
    let from = time("--from", &args.from, now)?;
    let to = args.to.as_deref().map_or(Ok(now), |text| time("--to", text, now))?;
    if from >= to {
        bail!("--from must be before --to");
    }
    if args.step.is_some_and(|step| step.is_zero()) {
        bail!("--step must be longer than nothing");
    }
    // With a URL and rule files of its own a replay needs no configuration.
    let config = match !args.rules.is_empty() && args.daemon.url.is_some() && !args.daemon.config.exists() {
        true => None,
        false => Some(load(&args.daemon.config)?),
    };
    let settings = config.as_deref().map_or_else(Settings::default, rule_settings);
    let groups = if args.rules.is_empty() {
        config.as_deref().map(|config| config.groups.clone()).unwrap_or_default()
    } else {
        let report = check_files(&args.rules);
        if report.has_errors() {
            complain(report.to_string().trim_end());
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
        report.groups
    };
    if groups.iter().all(|group| group.rules.is_empty()) {
        bail!("there are no rules to replay; name files with --rules");
    }
    let source = Ahead::new(source(args, config.as_deref(), to)?, to);
    let told = run(groups, settings, Plan { from, to, step: args.step }, &source, progress(from, to));
    match args.output {
        TableOutput::Json => say(&serde_json::to_string_pretty(&told)?),
        TableOutput::Table => table(&told),
    }
}

fn time(option: &str, text: &str, now: i64) -> anyhow::Result<i64> {
    let seconds = || text.parse::<u32>().ok().map(|seconds| i64::from(seconds) * 1000);
    let ago = || Some(now.saturating_sub(i64::try_from(parse_duration(text).ok()?.as_millis()).ok()?));
    from_rfc3339(text).or_else(seconds).or_else(ago).with_context(|| {
        format!("{option}: {text:?} is no time: write 2026-11-21T03:00:00Z, seconds since the epoch, or 6h for six hours ago")
    })
}

/// Tells a person at a terminal how far it is.
fn progress(from: i64, to: i64) -> impl FnMut(i64) {
    let (watched, mut told) = (std::io::stderr().is_terminal(), Instant::now());
    move |at| {
        if watched && told.elapsed() > TELL_EVERY {
            told = Instant::now();
            complain(&format!("{}%", (at - from) * 100 / (to - from)));
        }
    }
}

/// Where samples come from.
enum Origin {
    Daemon(Daemon),
    /// The history of a daemon that does not run, and that cannot be started meanwhile.
    Disk {
        history: History,
        _held: Hold,
    },
}

fn source(args: &ReplayArgs, config: Option<&Config>, to: i64) -> anyhow::Result<Origin> {
    let daemon = Daemon::find(&args.daemon)?;
    let probe = ReadQuery { start: to, end: to, matchers: vec![Matcher::equal("__name__", "davylamp_target_up")] };
    let refused = match daemon.samples(&probe) {
        Ok(_) => return Ok(Origin::Daemon(daemon)),
        Err(refused) => refused,
    };
    let Some(config) = config.filter(|_| refused.silent && args.daemon.url.is_none()) else { bail!(refused.text) };
    let folder = &config.file.storage.path;
    let held = hold(folder).with_context(|| format!("{}; nor can its history be read", refused.text))?;
    let path = folder.join("history");
    if !path.is_dir() {
        bail!("{}; and there is no history in {}", refused.text, path.display());
    }
    Ok(Origin::Disk { history: History::open(HistoryOptions::new(path))?, _held: held })
}

impl Source for Origin {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        match self {
            Origin::Disk { history, .. } => history.select(matchers, start, end, MOST_SAMPLES),
            Origin::Daemon(daemon) => {
                let query = ReadQuery { start, end, matchers: matchers.to_vec() };
                daemon.samples(&query).map_err(|refused| match refused.too_much {
                    true => SourceError::TooManySamples { limit: MOST_SAMPLES },
                    false => SourceError::Storage(refused.text),
                })
            }
        }
    }
}

fn table(told: &Replay) -> anyhow::Result<ExitCode> {
    let row = |cells: [&str; 5], labels: &str| {
        let [state, active, fired, ended, value] = cells;
        format!("{state:<9} {active:<24} {fired:<24} {ended:<24} {value:<12} {labels}\n")
    };
    let mut out = String::new();
    if !told.alerts.is_empty() {
        out += &row(["STATE", "ACTIVE", "FIRED", "ENDED", "VALUE"], "LABELS");
    }
    for Episode { labels, state, active_at, fired_at, ended_at, value, .. } in &told.alerts {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let [fired, ended] = [fired_at, ended_at].map(|time| time.as_deref().unwrap_or("-"));
        out += &row([state, active_at, fired, ended, value], &plain(&labels.join(" ")));
    }
    if told.alerts_left_out > 0 {
        out += &format!("… and {} more alerts\n", told.alerts_left_out);
    }
    for failure in &told.failures {
        let (rule, error) = (plain(&failure.rule), plain(&failure.error));
        out += &format!("failed {} times, first at {}: {rule}: {error}\n", failure.count, failure.first_at);
    }
    for (rule, selectors) in &told.never_matched {
        out += &format!("no series ever matched {}: {}\n", plain(&selectors.join(", ")), plain(rule));
    }
    say(&format!("{out}{} alerts in {} evaluations of rules", told.alerts.len(), told.evaluations))
}
