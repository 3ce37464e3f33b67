//! What an AxeOS device can be told to do. Source: the firmware's `openapi.yaml`.

use futures_util::future::BoxFuture;
use url::Url;

use super::super::place::Place;
use super::super::restart::restart;
use crate::collect::command::{Command, CommandError};
use crate::collect::http;
use crate::model::Target;

use std::time::Duration;

/// The commands of this kind.
pub const COMMANDS: &[Command] = &[Command {
    name: "restart",
    help: "restarts the device (POST /api/system/restart) and waits until its uptime says so",
    perform: restart_device,
}];

fn restart_device(target: Target, within: Duration) -> BoxFuture<'static, Result<String, CommandError>> {
    Box::pin(async move { restart(&target, within, post(&target)).await })
}

async fn post(target: &Target) -> Result<(), CommandError> {
    let refused = |text: String| CommandError::Refused(text);
    let place = Place::read(&target.address, "http", 80).map_err(|error| refused(error.to_string()))?;
    let url = Url::parse(&format!("http://{place}/api/system/restart")).map_err(|error| refused(error.to_string()))?;
    let answer = http::send(http::Request::post(&url, Vec::new(), target.timeout))
        .await
        .map_err(|failure| CommandError::sent(&failure))?;
    // A status of failure is an answer: the device did not take it.
    answer.success().map(drop).map_err(|failure| refused(failure.to_string()))
}
