//! `davylamp check`, `dashboards write|check`: what is wrong, all of it at once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{complain, load, say};
use crate::args::{DashboardArgs, DashboardsCommand};
use davylamp::config::Config;
use davylamp::daemon::drawings;
use davylamp::{dashboards, query};

/// Checks a configuration with everything that it names.
pub fn configuration(path: &Path) -> anyhow::Result<ExitCode> {
    let config = load(path)?;
    for warning in &config.warnings {
        complain(&warning.to_string());
    }
    let local = config.act.runner.is_none() && config.act.awx.is_none();
    if local && config.act.ansible.program("ansible-playbook").is_none() {
        complain("note: ansible-playbook is not installed, so no remediation can run (ansible.command)");
    }
    let rules: usize = config.groups.iter().map(|group| group.rules.len()).sum();
    let folder = config.resolve(&config.file.dashboards.path);
    let stale = if config.file.dashboards.enabled && folder.exists() { findings(&config, &folder) } else { Vec::new() };
    for finding in &stale {
        complain(&format!("note: {finding} (davylamp dashboards write)"));
    }
    say(&format!(
        "{}: {}, {} in {}, {}",
        path.display(),
        count(config.jobs.len(), "target"),
        count(rules, "rule"),
        count(config.groups.len(), "group"),
        count(config.act.bindings.len(), "remediation")
    ))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Writes or checks dashboards.
pub fn dashboards(command: &DashboardsCommand) -> anyhow::Result<ExitCode> {
    match command {
        DashboardsCommand::Write(args) => {
            let (config, folder) = place(args)?;
            let done = dashboards::write(&folder, &drawings(&config))?;
            say(&format!(
                "{}: {} written, {} unchanged, {} deleted",
                folder.display(),
                done.written.len(),
                done.unchanged.len(),
                done.deleted.len()
            ))
        }
        DashboardsCommand::Check(args) => {
            let (config, folder) = place(args)?;
            let found = findings(&config, &folder);
            for finding in &found {
                complain(finding);
            }
            if found.is_empty() {
                return say(&format!("{}: nothing to say", folder.display()));
            }
            Ok(ExitCode::from(1))
        }
    }
}

fn place(args: &DashboardArgs) -> anyhow::Result<(std::sync::Arc<Config>, PathBuf)> {
    let config = load(&args.config.config)?;
    let folder = args.folder.clone().unwrap_or_else(|| config.resolve(&config.file.dashboards.path));
    Ok((config, folder))
}

fn findings(config: &Config, folder: &Path) -> Vec<String> {
    let parse = |text: &str| query::parse(text).map(drop);
    let found = dashboards::check(folder, &drawings(config), parse);
    found.iter().map(|finding| format!("{}: {}", folder.join(&finding.path).display(), finding.problem)).collect()
}
