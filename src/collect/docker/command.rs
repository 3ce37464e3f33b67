//! Commands to one container of an engine, read back from the engine.
//! Source: Docker Engine API, `POST /containers/{id}/restart|start|stop`.

use std::time::Duration;

use super::client::{Ask, Client};
use super::{DEFAULT_STOP, Options};
use crate::collect::command::CommandError;
use crate::collect::read_options;
use crate::model::{PollFailure, Target};

/// Largest answer: the details of one container.
const MAX_BODY: usize = 4 << 20;

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    state: State,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    started_at: String,
}

/// Gives a container a command (`restart`, `start`, `stop`) within a time, and reads back that it was done.
///
/// # Errors
/// [`CommandError`].
pub async fn container(target: &Target, name: &str, command: &str, within: Duration) -> Result<String, CommandError> {
    let refused = |text: String| CommandError::Refused(text);
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if name.is_empty() || !plain {
        return Err(refused(format!("{name:?} is no name of a container")));
    }
    if !matches!(command, "restart" | "start" | "stop") {
        return Err(refused(format!("a container has no command {command:?}")));
    }
    let mistakes = |errors: Vec<crate::collect::OptionError>| {
        refused(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let options: Options = read_options(target).map_err(mistakes)?;
    let client = Client::open(&target.address, options.tls.as_ref()).map_err(|error| refused(error.to_string()))?;
    let details = format!("/containers/{name}/json");
    let before = state(&client, &details, target.timeout).await.map_err(|failure| refused(failure.to_string()))?;
    let path = format!("/containers/{name}/{command}");
    // The engine waits this long for the container's own end before it kills it.
    let grace = DEFAULT_STOP.min(within / 2).as_secs().to_string();
    let query = if command == "start" { Vec::new() } else { vec![("t", grace.as_str())] };
    let ask = Ask { version: "", path: &path, query: &query, max_body: MAX_BODY, timeout: within };
    let reply = client.post(ask).await.map_err(|failure| CommandError::sent(&failure))?;
    // 304: it is already so.
    if !matches!(reply.status, Some(200..=299 | 304)) {
        let words = String::from_utf8_lossy(&reply.body);
        let status = reply.status.unwrap_or_default();
        return Err(refused(format!("the engine refused with status {status}: {}", words.trim())));
    }
    let after = state(&client, &details, target.timeout).await;
    let after = after.map_err(|failure| CommandError::NotConfirmed(format!("taken, and not read back: {failure}")))?;
    let done = match command {
        "stop" => !after.running,
        "start" => after.running,
        _ => after.running && after.started_at != before.started_at,
    };
    if !done {
        return Err(CommandError::NotConfirmed(format!(
            "the engine took {command}, and the container does not show it"
        )));
    }
    Ok(if after.running { format!("it runs since {}", after.started_at) } else { "it is stopped".to_string() })
}

async fn state(client: &Client, path: &str, timeout: Duration) -> Result<State, PollFailure> {
    let ask = Ask { version: "", path, query: &[], max_body: MAX_BODY, timeout };
    let reply = client.need(ask).await?;
    let read: Result<Details, _> = serde_json::from_slice(&reply.body);
    read.map(|details| details.state)
        .map_err(|error| PollFailure::new(crate::model::FailureReason::Malformed, error.to_string()))
}
