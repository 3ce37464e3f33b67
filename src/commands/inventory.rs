//! `davylamp inventory`: the configured targets in the words of Ansible's dynamic inventories.

use std::process::ExitCode;

use anyhow::bail;

use super::{load, say};
use crate::args::InventoryArgs;
use davylamp::act::facts::Host;
use davylamp::act::inventory;
use davylamp::daemon::host;
use davylamp::model::words;

/// Prints all hosts, or the variables of one.
pub fn show(args: &InventoryArgs) -> anyhow::Result<ExitCode> {
    let config = load(&args.config.config)?;
    let hosts: Vec<Host> = config.jobs.iter().map(|job| host(&job.target)).collect();
    let answer = match &args.host {
        None => inventory::list(&hosts),
        Some(name) => match hosts.iter().find(|host| host.name == *name) {
            Some(host) => inventory::variables(host),
            None => bail!("there is no target {name:?}; {}", words::hint(name, hosts.iter().map(|host| &host.name))),
        },
    };
    say(&serde_json::to_string_pretty(&answer)?)
}
