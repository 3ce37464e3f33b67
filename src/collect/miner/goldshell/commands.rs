//! What a Goldshell can be told to do, over its web interface. Source: public clients of it, and their notes on the firmware.
//!
//! The machine works by one of several power plans, which differ by model; one of 0 MHz stops it. Settings are written
//! whole, so they are sent back as they were read, with another plan chosen.

use serde_json::Value as Json;

use super::super::ask::Auth;
use super::super::options::Options;
use super::super::tell::{self, BY_STATUS, Sheet, Web};
use super::{Plans, SETTING};
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan, Seen};
use crate::collect::http::Site;
use crate::model::Target;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| {
            let (site, auth) = door(target)?;
            Ok(tell::web_to(site, auth, vec![Web::bare("PUT", "/mcb/restart")], BY_STATUS, Goal::Restarted))
        },
    },
    Command {
        name: "pause",
        help: "chooses the power plan that stops mining, and waits until its state says so",
        argument: None,
        plan: |target, _| {
            let undo = |seen: &Seen| level(seen).map(|level| format!("mode {level}"));
            let goal = Goal::Undone { goal: Box::new(Goal::Awake(false)), undo: Box::new(undo) };
            choose(target, "the plan of 0 MHz".to_string(), |plans| plans.of_rest(true), goal)
        },
    },
    Command {
        name: "resume",
        help: "chooses the first power plan that works, and waits until its state says so",
        argument: None,
        plan: |target, _| {
            choose(target, "the first plan that works".to_string(), |plans| plans.of_rest(false), Goal::Awake(true))
        },
    },
    Command {
        name: "mode",
        help: "chooses the power plan of a level, as the device's own page lists them, and reads it back",
        argument: Some(Argument::Number { name: "LEVEL", bounds: (0, 9), or: &[] }),
        plan: |target, value| {
            let wanted = value.number().unwrap_or_default();
            let goal = Goal::Word { of: Box::new(level), wanted: wanted.to_string() };
            choose(target, format!("plan {wanted}"), move |plans| plans.has(wanted).then_some(wanted), goal)
        },
    },
];

fn door(target: &Target) -> Result<(Site, Auth), CommandError> {
    let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
    options.password.as_ref().ok_or_else(|| tell::needs("password"))?;
    Ok((tell::beside(target, &options, 80)?, options.login(super::LOGIN, "admin")))
}

/// The level of the plan that is chosen; `None` where the plan was set by hand.
fn level(seen: &Seen) -> Option<String> {
    let page = seen.page(&format!("GET {SETTING}"))?;
    Plans::read(&page)?.chosen().map(|level| level.to_string())
}

fn choose(
    target: &Target,
    shown: String,
    pick: impl FnOnce(&Plans<'_>) -> Option<u32> + Send + 'static,
    goal: Goal,
) -> Result<Plan, CommandError> {
    let (site, auth) = door(target)?;
    let change = move |page: &[u8]| {
        let refused = |why: String| CommandError::Refused(format!("{why}, so nothing was sent"));
        let mut page: Json =
            serde_json::from_slice(page).map_err(|_| refused("its settings cannot be read".to_string()))?;
        let plans = Plans::read(&page).ok_or_else(|| refused("its settings list no power plans".to_string()))?;
        let level = pick(&plans).ok_or_else(|| refused(format!("it has no such power plan; it has {plans}")))?;
        page["select"] = level.into();
        page["manual"] = false.into();
        Ok(page)
    };
    let sheet = Sheet { get: SETTING, set: ("PUT", SETTING), change: Box::new(change), shown, judge: BY_STATUS };
    Ok(tell::rewrite(site, auth, sheet, goal))
}
