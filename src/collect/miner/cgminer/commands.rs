//! What a cgminer and its relatives can be told to do, where `--api-allow` grants us privileged access (`W:`).
//! Source: `API-README` of cgminer.

use super::super::documents::Sections;
use super::super::tell::{self, BY_SECTIONS, request};
use super::super::values::Fields;
use crate::collect::command::{Argument, Command, CommandError, Goal, Plan, Seen, Value};
use crate::model::Target;

/// A pool as the label `pool` names it.
pub(in super::super) const POOL: Option<Argument> = Some(Argument::Number { name: "NUMBER", bounds: (0, 99), or: &[] });

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "restart",
        help: tell::RESTART_HELP,
        argument: None,
        plan: |target, _| tell::rpc((target, 4028), vec![request("restart", "")], BY_SECTIONS, Goal::Restarted),
    },
    Command {
        name: "pool",
        help: "makes a pool the first choice, and waits until it works for it",
        argument: POOL,
        plan: pool,
    },
    Command {
        name: "pool-on",
        help: "lets a pool be used again",
        argument: POOL,
        plan: |target, value| switch(target, value, true),
    },
    Command {
        name: "pool-off",
        help: "keeps a pool from being used; the last one that is on is refused",
        argument: POOL,
        plan: |target, value| switch(target, value, false),
    },
];

/// Switches the pool.
pub(in super::super) fn pool(target: &Target, value: &Value) -> Result<Plan, CommandError> {
    let number = value.number().unwrap_or_default();
    let switch = request("switchpool", &number.to_string());
    tell::rpc((target, 4028), vec![switch], BY_SECTIONS, tell::active_pool(number))
}

fn switch(target: &Target, value: &Value, on: bool) -> Result<Plan, CommandError> {
    let number = value.number().unwrap_or_default();
    let (command, undo) = if on { ("enablepool", "pool-off") } else { ("disablepool", "pool-on") };
    let of = move |seen: &Seen| {
        let sections = Sections::read(&seen.replies);
        let pools = sections.pools.iter().filter_map(Fields::of);
        let pool = pools.into_iter().find(|pool| pool.number("POOL") == Some(f64::from(number)))?;
        Some(!pool.text("Status")?.eq_ignore_ascii_case("disabled"))
    };
    let goal = Goal::Is { of: Box::new(of), wanted: on, undo: format!("{undo} {number}") };
    tell::rpc((target, 4028), vec![request(command, &number.to_string())], BY_SECTIONS, goal)
}
