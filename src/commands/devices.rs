//! `davylamp devices`: what a running daemon has found, and what becomes of it.

use std::process::ExitCode;

use anyhow::Context;
use serde::Deserialize;

use super::ask::Daemon;
use super::say;
use super::silence::table;
use crate::args::discover::{DevicesCommand, Shown};
use davylamp::api::discovered::Device;
use davylamp::silence::rfc3339;

pub fn devices(command: &DevicesCommand) -> anyhow::Result<ExitCode> {
    match command {
        DevicesCommand::List { daemon, output } => {
            let said = Daemon::find(daemon)?.ask("GET", "/api/v1/discovered", None)?;
            let devices = Vec::<Device>::deserialize(&said["devices"]).context("the daemon says something else")?;
            match output {
                Shown::Json => say(&serde_json::to_string_pretty(&said)?),
                Shown::Table if devices.is_empty() => say("no device has been found"),
                Shown::Table => table(&HEADS, devices.iter().map(row)),
            }
        }
        DevicesCommand::Adopt { daemon, ids } => decide(&Daemon::find(daemon)?, ids, "adopt"),
        DevicesCommand::Remove { daemon, ids } => decide(&Daemon::find(daemon)?, ids, "remove"),
        DevicesCommand::Search { daemon } => {
            Daemon::find(daemon)?.ask("POST", "/api/v1/discovered/search", None)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

const HEADS: [&str; 8] = ["Id", "State", "Kind", "Address", "Identity", "Device", "Last Seen", "Remark"];

fn row(device: &Device) -> Vec<String> {
    let found = &device.imprint;
    let remark = match &found.trouble {
        Some(trouble) => trouble.clone(),
        None if found.address.is_empty() => "another device has its address".to_string(),
        None if found.state.as_str() == "adopted" && !device.polled => "stands in the configuration".to_string(),
        None => String::new(),
    };
    vec![
        found.id.clone(),
        found.state.as_str().to_string(),
        found.kind.clone(),
        found.address.clone(),
        found.identity.clone(),
        [&*found.make, &*found.model, &*found.firmware].join(" ").trim().to_string(),
        rfc3339(found.last_seen),
        remark,
    ]
}

fn decide(daemon: &Daemon, ids: &[String], verb: &str) -> anyhow::Result<ExitCode> {
    for id in ids {
        // Ids come from people; what is none must not become another path.
        let segment: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let path = format!("/api/v1/discovered/{}/{verb}", segment.replace('+', "%20"));
        daemon.ask("POST", &path, None).with_context(|| format!("cannot {verb} {id}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
