//! `davylamp miner`: tells a device something through a running daemon.

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use super::ask::Daemon;
use super::runs::clean;
use super::say;
use super::silence::table;
use crate::args::miner::MinerArgs;
use davylamp::api::miners::{CommandRow, DeviceRow, Told};

pub fn miner(args: &MinerArgs) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::find(&args.daemon)?;
    if args.command == "list" {
        return list(&daemon);
    }
    let target = args.target.as_deref().context("name a target: davylamp miner list shows them")?;
    let path = format!("/api/v1/targets/{}/commands", segment(target)?);
    if args.command == "commands" {
        return commands(&daemon, &path);
    }
    let body = json!({
        "argument": args.argument.as_deref().unwrap_or_default(),
        "dry_run": args.dry_run,
        "by": args.by,
        "timeout_seconds": args.timeout,
        "code": args.code,
        "force": args.force,
    });
    let said = daemon.ask("POST", &format!("{path}/{}", segment(&args.command)?), Some(&body))?;
    let told: Told = serde_json::from_value(said).context("the daemon says something else")?;
    if args.dry_run {
        return say(&clean(&format!("would send to {target}: {}", told.sends.join(", then "))));
    }
    let before = told.before.map(|before| format!(" (before: {before})")).unwrap_or_default();
    say(&clean(&format!("{target}: {}{before}", told.detail)))
}

/// A word that is one part of a path, and no other path.
fn segment(word: &str) -> anyhow::Result<String> {
    if matches!(word, "" | "." | "..") {
        bail!("{word:?} is neither a target nor a command");
    }
    let encoded: String = url::form_urlencoded::byte_serialize(word.as_bytes()).collect();
    // A form's blank is a plus sign; in a path it is not.
    Ok(encoded.replace('+', "%20"))
}

fn list(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    #[derive(serde::Deserialize)]
    struct Listed {
        devices: Vec<DeviceRow>,
    }
    let Listed { devices } = daemon.read("/api/v1/devices")?;
    let up = |up: Option<bool>| match up {
        Some(true) => "up",
        Some(false) => "down",
        None => "not polled yet",
    };
    let row = |device: &DeviceRow| {
        vec![device.id.clone(), device.kind.clone(), up(device.up).into(), device.commands.join(", ")]
    };
    table(&["ID", "Kind", "State", "Commands"], devices.iter().map(row))
}

fn commands(daemon: &Daemon, path: &str) -> anyhow::Result<ExitCode> {
    #[derive(serde::Deserialize)]
    struct Listed {
        commands: Vec<CommandRow>,
    }
    let Listed { commands } = daemon.read(path)?;
    if commands.is_empty() {
        return say("its kind takes no commands");
    }
    let again = |row: &CommandRow| if row.idempotent { "changes nothing more" } else { "does it anew" };
    let row = |command: &CommandRow| vec![command.usage.clone(), command.help.clone(), again(command).to_string()];
    table(&["Command", "What It Does", "A Second One"], commands.iter().map(row))
}
