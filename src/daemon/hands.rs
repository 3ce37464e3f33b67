//! What the acting room does to the world other than by playbooks: commands to devices and containers, messages.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::devices::taken;
use super::keep::Keeper;
use super::paused::{Order, give};
use super::shared::Shared;
use crate::act;
use crate::act::hands::{Done, Effect, Hands, HandsError};
use crate::collect::command::{Call, CommandError};
use crate::collect::docker;
use crate::model::Target;
use crate::notify::{self, Outbox};

/// The effects of a daemon.
pub(super) struct Effects {
    pub(super) shared: Arc<Shared>,
    pub(super) keeper: Keeper,
    pub(super) outbox: Outbox,
}

impl Effects {
    fn target(&self, id: &str) -> Result<Target, HandsError> {
        let config = self.shared.config.get();
        let job = config.jobs.iter().find(|job| *job.target.id == *id);
        let missing = || HandsError::Refused(format!("{id:?} is no target of this daemon"));
        job.map(|job| Target::clone(&job.target)).ok_or_else(missing)
    }

    /// The target, and the command as its kind reads it.
    fn call(&self, id: &str, command: &str) -> Result<(Target, Call), HandsError> {
        let target = self.target(id)?;
        let mut call = Call::read(&target.kind, command)?;
        self.shared.complete(&target, &mut call);
        Ok((target, call))
    }

    fn engine(&self, id: &str) -> Result<Target, HandsError> {
        let target = self.target(id)?;
        if *target.kind == *docker::KIND.name {
            return Ok(target);
        }
        Err(HandsError::Refused(format!("{id} is no engine: it is of the kind {}", target.kind)))
    }
}

impl Hands for Effects {
    fn perform(&self, effect: Effect, within: Duration) -> BoxFuture<'_, Result<Done, HandsError>> {
        async move {
            let detail = match effect {
                Effect::Device { target, command } => {
                    let (target, call) = self.call(&target, &command)?;
                    let id = target.id.clone();
                    let _held = self.shared.busy.hold(&id).ok_or_else(|| taken(&id))?;
                    let until = Instant::now() + within;
                    let order = Order { target, call, until, force: false, by: "a remediation", audited: false };
                    let (outcome, _) = give(&self.shared, &self.keeper, order).await?;
                    return Ok(Done { detail: outcome.detail, before: outcome.before });
                }
                Effect::Container { engine, container, command } => {
                    let target = self.engine(&engine)?;
                    docker::container(&target, &container, &command, within).await?
                }
                Effect::Webhook { receiver, message } | Effect::Notify { receiver, message } => {
                    let sent = self.outbox.send(&receiver, letter(message)).await;
                    sent.map_err(|error| HandsError::Refused(error.to_string()))?;
                    format!("{receiver} is told; what is undeliverable is tried again")
                }
            };
            Ok(Done { detail, before: None })
        }
        .boxed()
    }

    fn rehearse(&self, effect: Effect, _within: Duration) -> BoxFuture<'_, Result<Done, HandsError>> {
        async move {
            let mut detail = format!("check mode: {}", effect.describe());
            match &effect {
                Effect::Device { target, command } => {
                    let (target, call) = self.call(target, command)?;
                    let sends = |call: &Call| Ok::<_, HandsError>(call.plan(&target)?.sends.join(", then "));
                    detail = match self.shared.turned(&target, call.clone(), false) {
                        Ok(call) => format!("{detail}; it would send {}", sends(&call)?),
                        // Another step may be the one that pauses the device, which it does not in check mode.
                        Err(why) => format!("{detail}; it would send {}, were it not so: {why}", sends(&call)?),
                    };
                }
                Effect::Container { engine, .. } => self.engine(engine).map(drop)?,
                // Their names were checked with the configuration.
                Effect::Webhook { .. } | Effect::Notify { .. } => {}
            }
            Ok(Done { detail, before: None })
        }
        .boxed()
    }
}

/// A message in the words of the notifying room. One run is one thing, however often it is spoken of.
fn letter(message: act::hands::Message) -> notify::Message {
    notify::Message {
        title: message.subject,
        text: message.text,
        severity: message.labels.get("severity").unwrap_or_default().to_string(),
        links: message.links,
        key: message.run.map(|run| run.to_string()).unwrap_or_default(),
    }
}

impl From<CommandError> for HandsError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused(text) => HandsError::Refused(text),
            CommandError::NotConfirmed(text) => HandsError::Failed(text),
            CommandError::Unknown(text) => HandsError::Unknown(text),
        }
    }
}
