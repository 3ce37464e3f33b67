//! What Hammer and VolcMiner machines can be told to do, over the pages of their web interface. VolcMiners have no page for
//! the light, and refuse. Source: public clients of these pages.

use super::super::antminer::door;
use super::super::cgi::commands as cgi;
use super::super::tell;
use crate::collect::command::{Argument, Command};

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "reboot",
        help: tell::REBOOT_HELP,
        argument: None,
        plan: |target, _| door(target).map(|(site, auth)| cgi::reboot(site, auth)),
    },
    Command {
        name: "identify",
        help: tell::LIGHT_HELP,
        argument: Some(Argument::Word(&["on", "off"])),
        plan: |target, value| door(target).map(|(site, auth)| cgi::light(site, auth, value.word() == "on")),
    },
];
