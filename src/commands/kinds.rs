//! `davylamp kinds`: what can be polled.

use std::process::ExitCode;

use super::poll::find_kind;
use super::say;
use davylamp::collect::{KINDS, Support};
use davylamp::model::duration::format_duration;

/// Shows the table, or one kind with everything.
pub fn show(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let Some(name) = name else {
        let width = KINDS.iter().map(|kind| kind.name.len()).max().unwrap_or(0);
        let rows = KINDS.iter().map(|kind| {
            let support = support(kind.support);
            format!("{:width$}  {support:10}  {}  (default {})", kind.name, kind.summary, kind.default_address)
        });
        return say(&format!(
            "{}\n\ndavylamp kinds NAME shows options and metric families.",
            rows.collect::<Vec<_>>().join("\n")
        ));
    };
    let kind = find_kind(name)?;
    let mut text = format!(
        "{}: {}\n\nsupport           {}\ndefault address   {}\nshortest interval {}\nid label          {}\n",
        kind.name,
        kind.summary,
        support(kind.support),
        kind.default_address,
        format_duration(kind.min_interval),
        kind.subject
    );
    text.push_str("\nOptions:\n");
    for option in kind.options {
        text.push_str(&format!("  {}: {}\n", option.name, option.help));
    }
    if kind.options.is_empty() {
        text.push_str("  none\n");
    }
    text.push_str("\nCommands (davylamp miner, and device steps of remediations):\n");
    for command in kind.commands {
        let again = if command.is_idempotent() { "" } else { " (each time anew)" };
        text.push_str(&format!("  {}: {}{again}\n", command.usage(), command.help));
    }
    if kind.commands.is_empty() {
        text.push_str("  none\n");
    }
    text.push_str("\nMetric families:\n");
    for family in kind.families {
        let labels = family.labels.join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        text.push_str(&format!("  {}{labels}\n      {}\n", family.name, family.help));
    }
    if kind.families.is_empty() {
        text.push_str("  as declared in the options, or as the target names them\n");
    }
    say(text.trim_end())
}

/// The table of kinds as it stands in the README.
pub fn markdown() -> String {
    let rows = KINDS.iter().map(|kind| {
        let (name, summary, address) = (kind.name, kind.summary, kind.default_address);
        format!("| `{name}` | {summary} | {address} | {} |", support(kind.support))
    });
    let head = "| Kind | What it polls | Default address | Support |\n|---|---|---|---|\n";
    head.to_string() + &rows.collect::<Vec<_>>().join("\n")
}

fn support(support: Support) -> &'static str {
    match support {
        Support::Recorded => "recorded",
        Support::Documented => "documented",
    }
}
