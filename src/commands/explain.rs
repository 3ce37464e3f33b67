//! `davylamp rules explain`: why the rules of a running daemon say what they say.

use std::process::ExitCode;

use anyhow::{Context, bail};
use url::form_urlencoded::Serializer;

use super::ask::Daemon;
use super::say;
use crate::args::{ExplainArgs, TableOutput};
use davylamp::model::words;
use davylamp::rules::Explanation;
use davylamp::rules::explain::TraceNote;

/// Asks the daemon and prints what it says.
pub fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::find(&args.daemon)?;
    let found = ask(&daemon, args.name.as_deref(), args.group.as_deref())?;
    if found.is_empty() {
        let all = ask(&daemon, None, None)?;
        let (what, name, known): (_, _, Vec<&str>) = match (&args.name, &args.group) {
            (Some(name), None) => ("rule", name, all.iter().map(|rule| rule.name.as_str()).collect()),
            (Some(name), Some(group)) if all.iter().any(|rule| rule.group == *group) => {
                let members = all.iter().filter(|rule| rule.group == *group);
                ("rule of that group", name, members.map(|rule| rule.name.as_str()).collect())
            }
            (_, Some(group)) => ("group", group, all.iter().map(|rule| rule.group.as_str()).collect()),
            (None, None) => bail!("name a rule or a --group"),
        };
        bail!("the daemon has no {what} {name:?}; {}", words::hint(name, known));
    }
    match args.output {
        TableOutput::Json => say(&serde_json::to_string_pretty(&found)?),
        TableOutput::Table => say(found.iter().map(text).collect::<Vec<_>>().join("\n").trim_end()),
    }
}

fn ask(daemon: &Daemon, rule: Option<&str>, group: Option<&str>) -> anyhow::Result<Vec<Explanation>> {
    let mut query = Serializer::new(String::new());
    for (key, value) in [("rule", rule), ("group", group)] {
        query.extend_pairs(value.map(|value| (key, value)));
    }
    let said = daemon.ask("GET", &format!("/api/v1/rules/trace?{}", query.finish()), None)?;
    serde_json::from_value(said["data"]["rules"].clone()).context("the daemon explains its rules in another way")
}

/// Texts of queries and labels may hold anything: what would move a terminal's cursor is shown, not sent.
pub fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).collect()
}

fn text(rule: &Explanation) -> String {
    let line = rule.line.map(|line| format!(":{line}")).unwrap_or_default();
    let mut out = format!("{} is {}: {}\n", rule.name, rule.state, plain(&rule.reason));
    out += &format!("  rule      {}{line}, group {}, {}\n", rule.file, rule.group, rule.kind);
    out += &format!("  query     {}\n", plain(&rule.query));
    out += &format!("  evaluated {} times, {} failed\n", rule.evaluations, rule.failures);
    for selector in &rule.never_matched {
        out += &format!("  never     a series matched {}\n", plain(selector));
    }
    for alert in &rule.alerts {
        let since = alert.resolved_at.as_ref().or(alert.fired_at.as_ref()).unwrap_or(&alert.active_at);
        out += &format!("  {:9} since {since}, value {}, {}\n", alert.state, alert.value, plain(&alert.labels));
    }
    if rule.alerts_left_out > 0 {
        out += &format!("  … and {} more alerts\n", rule.alerts_left_out);
    }
    out + &rule.trace.iter().map(evaluation).collect::<String>()
}

fn evaluation(trace: &TraceNote) -> String {
    let mut out = format!("  {}  {:>9.3} ms  {}", trace.at, trace.duration * 1000.0, plain(&trace.result));
    if trace.pending + trace.firing > 0 {
        out += &format!("; {} pending, {} firing", trace.pending, trace.firing);
    }
    if trace.changes > 0 {
        out += &format!("; {} changed", trace.changes);
    }
    if trace.warming_up {
        out += "; warming up";
    }
    for note in &trace.annotations {
        out += &format!("; {}", plain(note));
    }
    out + "\n"
}
