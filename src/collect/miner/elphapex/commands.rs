//! What an Elphapex can be told to do, over the pages of its web interface. Source: public clients of these pages.
//!
//! Its work mode is a setting among others of one page that takes them all, so they are sent back as they were read, with
//! the mode under the name that the page writes it by.

use serde_json::{Map, Value as Json, json};

use super::super::ask::{Auth, MAX_REPLY};
use super::super::cgi::commands as cgi;
use super::super::options::Options;
use super::super::tell::{self, Sheet};
use super::super::values::number;
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan, Seen};
use crate::collect::http::{Keep, Site};
use crate::model::Target;

const GET: &str = "/cgi-bin/get_miner_conf.cgi";
const SET: &str = "/cgi-bin/set_miner_conf.cgi";

/// Work modes that may be asked for, with their numbers.
const MODES: [(&str, u8); 2] = [("normal", 0), ("low", 3)];

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| door(target).map(|(site, auth)| cgi::reboot(site, auth)),
    },
    Command {
        name: "pause",
        help: "puts the device into its sleep mode, and waits until its state says so",
        argument: None,
        plan: |target, _| {
            // One that was not in its normal mode goes back to what it was in.
            let undo = |seen: &Seen| if seen.awake()? { mode(seen).map(|mode| format!("mode {mode}")) } else { None };
            work(target, 1, Goal::Undone { goal: Box::new(Goal::Awake(false)), undo: Box::new(undo) })
        },
    },
    Command {
        name: "resume",
        help: tell::RESUME_HELP,
        argument: None,
        plan: |target, _| work(target, 0, Goal::Awake(true)),
    },
    Command {
        name: "mode",
        help: "sets the work mode, and reads it back",
        argument: Some(Argument::Word(&["normal", "low"])),
        plan: |target, value| {
            let number = MODES.iter().find(|(name, _)| *name == value.word()).map_or(0, |(_, number)| *number);
            work(target, number, Goal::Word { of: Box::new(mode), wanted: value.word().to_string() })
        },
    },
    Command {
        name: "identify",
        help: tell::LIGHT_HELP,
        argument: Some(Argument::Word(&["on", "off"])),
        plan: |target, value| door(target).map(|(site, auth)| cgi::light(site, auth, value.word() == "on")),
    },
];

fn door(target: &Target) -> Result<(Site, Auth), CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    let site = Site::open(&target.address, 80, options.tls.clone(), Keep::Close, MAX_REPLY);
    Ok((site.map_err(|error| tell::mistake(&error))?, options.digest("root")))
}

/// The work mode that the settings tell, by its name, or `high`, which newer firmware has.
fn mode(seen: &Seen) -> Option<String> {
    let page = seen.page(&format!("GET {GET}"))?;
    let told = number(page.get("fc-work-mode")?)?;
    let name = MODES.iter().find(|(_, number)| f64::from(*number) == told).map(|(name, _)| *name);
    name.or(if told == 2.0 { Some("high") } else { None }).map(str::to_string)
}

fn work(target: &Target, number: u8, goal: Goal) -> Result<Plan, CommandError> {
    let (site, auth) = door(target)?;
    let sheet = Sheet {
        get: GET,
        set: ("POST", SET),
        change: Box::new(move |page| settings(page, number)),
        shown: format!("\"miner-mode\":{number}"),
        judge: cgi::TAKEN,
    };
    Ok(tell::rewrite(site, auth, sheet, goal))
}

fn settings(page: &[u8], mode: u8) -> Result<Json, CommandError> {
    let unreadable = || CommandError::Refused("its settings cannot be read, so nothing was sent".to_string());
    let mut form: Map<String, Json> = serde_json::from_slice(page).map_err(|_| unreadable())?;
    // Without them the page would forget whom it works for.
    if !form.get("pools").is_some_and(Json::is_array) {
        return Err(unreadable());
    }
    form.remove("fc-work-mode");
    form.insert("miner-mode".to_string(), json!(mode));
    Ok(Json::Object(form))
}
