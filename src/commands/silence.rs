//! `davylamp silence` and `davylamp windows`, in amtool's manner.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::ask::Daemon;
use super::{load, say};
use crate::args::tell::{AddArgs, Output, QueryArgs, SilenceCommand, Span, WindowsCommand};
use davylamp::model::Matcher;
use davylamp::model::duration::format_duration;
use davylamp::schedule::poll::unix_millis;
use davylamp::silence::{Draft, MatcherShape, SilenceShape, State, from_rfc3339, rfc3339};

pub fn silence(command: &SilenceCommand) -> anyhow::Result<ExitCode> {
    match command {
        SilenceCommand::Add(args) => add(args),
        SilenceCommand::Query(args) => query(args),
        SilenceCommand::Expire { daemon, ids } => {
            let daemon = Daemon::find(daemon)?;
            for id in ids {
                daemon.ask("DELETE", &path(id)?, None).with_context(|| format!("cannot expire {id}"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        SilenceCommand::Update { daemon, span, comment, ids } => {
            let daemon = Daemon::find(daemon)?;
            for id in ids {
                update(&daemon, id, span, comment.as_deref()).with_context(|| format!("cannot update {id}"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Ids come from people; what is none must not become another path.
fn path(id: &str) -> anyhow::Result<String> {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        bail!("{id:?} is not the id of a silence");
    }
    Ok(format!("/api/v2/silence/{id}"))
}

fn time(text: Option<&str>) -> anyhow::Result<Option<i64>> {
    let read =
        |text: &str| from_rfc3339(text).with_context(|| format!("{text:?} is not a time: write 2026-11-21T03:00:00Z"));
    text.map(read).transpose()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn matchers(words: &[String]) -> anyhow::Result<Vec<Matcher>> {
    let read = |(index, word): (usize, &String)| match Matcher::parse(word) {
        Err(_) if index == 0 && !word.contains(['=', '~', '!']) => Ok(Matcher::equal("alertname", word.as_str())),
        read => Ok(read?),
    };
    words.iter().enumerate().map(read).collect()
}

fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let Some(comment) = args.comment.as_deref().filter(|comment| !comment.is_empty()) else {
        bail!("a silence without a reason is a riddle to everybody else: say it with --comment");
    };
    let starts_at = time(args.span.start.as_deref())?.unwrap_or_else(unix_millis);
    let duration = args.span.duration.unwrap_or(Duration::from_secs(3600));
    let draft = Draft {
        id: None,
        matchers: matchers(&args.matchers)?.iter().map(MatcherShape::from).collect(),
        starts_at,
        ends_at: time(args.span.end.as_deref())?.unwrap_or(starts_at.saturating_add(millis(duration))),
        created_by: args.author.clone(),
        comment: comment.to_string(),
    };
    let said = Daemon::find(&args.daemon)?.ask("POST", "/api/v2/silences", Some(&serde_json::to_value(draft)?))?;
    say(said["silenceID"].as_str().context("the daemon names no silence")?)
}

fn update(daemon: &Daemon, id: &str, span: &Span, comment: Option<&str>) -> anyhow::Result<()> {
    let old: SilenceShape = daemon.read(&path(id)?)?;
    let starts_at = time(span.start.as_deref())?.unwrap_or(old.starts_at);
    // As in amtool: a duration counts from the start.
    let ends_at = span.duration.map(|duration| starts_at.saturating_add(millis(duration)));
    let draft = Draft {
        id: Some(old.id),
        matchers: old.matchers,
        starts_at,
        ends_at: time(span.end.as_deref())?.or(ends_at).unwrap_or(old.ends_at),
        created_by: old.created_by,
        comment: comment.map_or(old.comment, String::from),
    };
    let said = daemon.ask("POST", "/api/v2/silences", Some(&serde_json::to_value(draft)?))?;
    say(said["silenceID"].as_str().unwrap_or_default()).map(drop)
}

fn query(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let mut filter = url::form_urlencoded::Serializer::new(String::new());
    for matcher in matchers(&args.matchers)? {
        filter.append_pair("filter", &matcher.to_string());
    }
    let path = format!("/api/v2/silences?{}", filter.finish());
    let mut silences: Vec<SilenceShape> = Daemon::find(&args.daemon)?.read(&path)?;
    silences.retain(|silence| {
        let expired = silence.status.as_ref().is_some_and(|status| status.state == State::Expired);
        expired == args.expired && args.created_by.as_ref().is_none_or(|author| *author == silence.created_by)
    });
    if args.quiet {
        return say(&silences.iter().map(|silence| silence.id.as_str()).collect::<Vec<_>>().join("\n"));
    }
    let words = |silence: &SilenceShape| {
        let word = |shape: &MatcherShape| {
            let op = [["!=", "="], ["!~", "=~"]][usize::from(shape.is_regex)][usize::from(shape.is_equal)];
            format!("{}{op}{:?}", shape.name, shape.value)
        };
        silence.matchers.iter().map(word).collect::<Vec<_>>().join(" ")
    };
    match args.output {
        Output::Json => say(&serde_json::to_string_pretty(&silences)?),
        Output::Simple => {
            let row = |s: &SilenceShape| {
                vec![s.id.clone(), words(s), rfc3339(s.ends_at), s.created_by.clone(), s.comment.clone()]
            };
            table(&["ID", "Matchers", "Ends At", "Created By", "Comment"], silences.iter().map(row))
        }
        Output::Extended => {
            let row = |s: &SilenceShape| {
                let times = [s.starts_at, s.ends_at, s.updated_at].map(rfc3339);
                [vec![s.id.clone(), words(s)], times.to_vec(), vec![s.created_by.clone(), s.comment.clone()]].concat()
            };
            let heads = ["ID", "Matchers", "Starts At", "Ends At", "Updated At", "Created By", "Comment"];
            table(&heads, silences.iter().map(row))
        }
    }
}

pub fn windows(command: &WindowsCommand) -> anyhow::Result<ExitCode> {
    let WindowsCommand::List { config, output } = command;
    let (config, now) = (load(&config.config)?, unix_millis());
    let windows = config.windows.iter().map(|window| {
        let state = match (window.open_until(now), window.next_opening(now)) {
            (Some(until), _) => format!("open until {}", rfc3339(until)),
            (None, Some(next)) => format!("opens {}", rfc3339(next)),
            (None, None) => "never opens again".to_string(),
        };
        let mute: Vec<String> = window.mute.iter().map(ToString::to_string).collect();
        let duration = format_duration(window.duration);
        [
            window.name.clone(),
            state,
            duration,
            mute.join(" "),
            window.cron.clone(),
            window.time_zone.clone(),
            window.comment.clone(),
        ]
    });
    let heads = ["Name", "State", "Duration", "Mutes", "Cron", "Time Zone", "Comment"];
    match output {
        Output::Json => {
            let keys = ["name", "state", "duration", "mute", "cron", "time_zone", "comment"];
            let rows = windows.map(|row| keys.into_iter().zip(row).collect::<std::collections::BTreeMap<_, _>>());
            say(&serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?)
        }
        Output::Simple => table(&heads[..4], windows.map(|row| row[..4].to_vec())),
        Output::Extended => table(&heads, windows.map(|row| row.to_vec())),
    }
}

/// Columns as wide as what stands in them; control characters of foreign text are taken out.
pub(super) fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<ExitCode> {
    let clean = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let mut all = vec![heads.iter().map(|head| (*head).to_string()).collect::<Vec<_>>()];
    all.extend(rows.map(|row| row.into_iter().map(clean).collect()));
    let widths: Vec<usize> =
        (0..heads.len()).map(|column| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_string()
    };
    say(&all.iter().map(line).collect::<Vec<_>>().join("\n"))
}
