//! `davylamp drift`: where devices differ from their presets, both values side by side.

use std::process::ExitCode;

use super::ask::Daemon;
use super::say;
use super::silence::table;
use crate::args::DriftArgs;
use davylamp::api::drift::DeviceDrift;

/// Exit status 1 where something differs, so that a script can ask.
pub fn drift(args: &DriftArgs) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::find(&args.daemon)?;
    let devices: Vec<DeviceDrift> = daemon.read("/api/v1/drift")?;
    let wanted = |device: &&DeviceDrift| args.target.as_ref().is_none_or(|target| device.target == *target);
    let devices: Vec<&DeviceDrift> = devices.iter().filter(wanted).collect();
    if args.json {
        return say(&serde_json::to_string_pretty(&devices)?);
    }
    let mut rows = Vec::new();
    let mut differs = false;
    for device in devices {
        for row in device.judgement.rows().filter(|row| args.all || row.wrong) {
            differs |= row.wrong;
            let preset = device.judgement.preset.clone().unwrap_or_default();
            let mark = if row.wrong { "differs" } else { "" };
            rows.push(vec![device.target.clone(), preset, row.setting, row.wanted, row.found, mark.to_string()]);
        }
    }
    match rows.is_empty() {
        true => say("nothing differs")?,
        false => table(&["DEVICE", "PRESET", "SETTING", "SHOULD BE", "IS", ""], rows.into_iter())?,
    };
    Ok(ExitCode::from(u8::from(differs)))
}
