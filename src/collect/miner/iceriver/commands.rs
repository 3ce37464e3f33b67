//! What an IceRiver can be told to do: to show itself. Source: public clients of its web page; none of them restarts or
//! stops one.

use super::super::options::Options;
use super::super::tell::{self, BY_STATUS, Web};
use crate::collect::command::{Argument, Command, Goal, Seen};

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[Command {
    name: "identify",
    help: "makes the light that shows the device blink, or not, and reads it back",
    argument: Some(Argument::Word(&["on", "off"])),
    plan: |target, value| {
        let options = Options::read(target, super::OPTIONS).map_err(tell::mistakes)?;
        let locate = u8::from(value.word() == "on");
        let message = Web::bare("POST", format!("/user/userpanel?post=5&locate={locate}"));
        let goal = Goal::Word { of: Box::new(light), wanted: value.word().to_string() };
        tell::web((target, 80), options.login(super::LOGIN, super::USER), &options, vec![message], BY_STATUS, goal)
    },
}];

/// Whether its light blinks.
fn light(seen: &Seen) -> Option<String> {
    let page = seen.page("POST /user/userpanel")?;
    let blinks = super::super::values::flag(page.pointer("/data/locate")?)?;
    Some(if blinks { "on" } else { "off" }.to_string())
}
