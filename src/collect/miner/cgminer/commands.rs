//! What a cgminer and its relatives can be told to do, where `--api-allow` grants us privileged access (`W:`).
//! Source: `API-README` of cgminer.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::super::place::Place;
use super::super::restart::restart;
use super::MAX_REPLY;
use crate::collect::command::{Command, CommandError};
use crate::collect::tcp;
use crate::model::{FailureReason, Target};

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[Command {
    name: "restart",
    help: "restarts the mining program (needs privileged access to its API) and waits until its uptime says so",
    perform: restart_program,
}];

/// Most bytes of a refusal that are told.
const MOST_TOLD: usize = 200;

fn restart_program(target: Target, within: Duration) -> BoxFuture<'static, Result<String, CommandError>> {
    Box::pin(async move { restart(&target, within, send(&target)).await })
}

async fn send(target: &Target) -> Result<(), CommandError> {
    let place = Place::read(&target.address, "tcp", 4028).map_err(|error| CommandError::Refused(error.to_string()))?;
    let sent = tcp::exchange(&place.to_string(), br#"{"command":"restart"}"#, MAX_REPLY, target.timeout).await;
    let body = match sent {
        Ok(body) => body,
        // A program that restarts may well do so before it has answered.
        Err(failure) if failure.reason == FailureReason::Denied => {
            return Err(CommandError::Refused(failure.to_string()));
        }
        Err(failure) => return Err(CommandError::Unknown(failure.to_string())),
    };
    let text = String::from_utf8_lossy(&body);
    if body.is_empty() || text.contains("RESTART") {
        return Ok(());
    }
    let told: String = text.chars().filter(|c| !c.is_control()).take(MOST_TOLD).collect();
    Err(CommandError::Refused(format!("the program refused: {told}")))
}
