//! Restarting a miner, whatever its family: the command leaves once, and the device's own uptime says whether it worked.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::families;
use crate::collect::command::{CommandError, back_after_restart};
use crate::collect::kind;
use crate::model::Target;

/// Asks for the uptime, sends the command, and asks again until the uptime is that of a new start.
pub(super) async fn restart<F>(target: &Target, within: Duration, send: F) -> Result<String, CommandError>
where
    F: Future<Output = Result<(), CommandError>>,
{
    let deadline = Instant::now() + within;
    // A device that does not answer now is not sent anything: nobody could tell what came of it.
    let unreachable = || CommandError::Refused("it does not answer; nothing was sent".to_string());
    let before = timeout_at(deadline, uptime(target)).await.ok().flatten().ok_or_else(unreachable)?;
    match timeout_at(deadline, send).await {
        Ok(Ok(()) | Err(CommandError::Unknown(_))) => {}
        Ok(Err(refused)) => return Err(refused),
        Err(_) => return Err(CommandError::Unknown("no answer in time".to_string())),
    }
    let left = deadline.saturating_duration_since(Instant::now());
    back_after_restart(before, left, async || uptime(target).await.flatten()).await
}

/// Polls once. Outer `None`: no answer; inner: an answer that does not say the uptime.
async fn uptime(target: &Target) -> Option<Option<f64>> {
    let collector = (kind(&target.kind)?.open)(target).ok()?;
    let replies = collector.fetch().await.ok()?;
    let reading = collector.parse(&replies).ok()?;
    let sample = reading.samples.into_iter().find(|sample| sample.family.name == families::UPTIME.name);
    Some(sample.map(|sample| sample.value))
}
