//! What is done to the world by other means than a playbook, and the trait through which the daemon does it.
//!
//! An effect is claimed like a playbook: it is tried at most once. One that was under way when the daemon died is
//! `interrupted`, because nobody can tell how far it got.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::act::run::RunId;
use crate::model::Labels;

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A command of a target's own API.
    Device {
        /// The target's id.
        target: String,
        /// One of the commands of its kind, with its argument: `power-limit 2800`.
        command: String,
    },
    /// A command to a container.
    Container {
        /// Id of the engine's target.
        engine: String,
        /// Name or id of the container.
        container: String,
        /// `restart`, `start` or `stop`.
        command: String,
    },
    /// A call of a receiver's webhook.
    Webhook {
        /// Name of the receiver.
        receiver: String,
        /// What it is told.
        message: Message,
    },
    /// A notification.
    Notify {
        /// Name of the receiver.
        receiver: String,
        /// What it is told.
        message: Message,
    },
}

/// What a receiver is told. All of its text may quote an alert: it is for showing, never for running.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// One line.
    pub subject: String,
    /// Some lines.
    pub text: String,
    /// The run it is about.
    pub run: Option<RunId>,
    /// Labels of the alert.
    pub labels: Labels,
    /// Annotations of the alert.
    pub annotations: Labels,
    /// Places to go to: a title and an address.
    pub links: Vec<(String, String)>,
}

/// What came of an effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// For a person: what was done, and what was read back.
    pub detail: String,
    /// How it stood before, where the other side says so.
    pub before: Option<String>,
}

/// Why an effect did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandsError {
    /// Nothing was done.
    #[error("{0}")]
    Refused(String),
    /// The other side answered, and it is not what was wanted.
    #[error("{0}")]
    Failed(String),
    /// No answer: nobody knows whether it was done.
    #[error("{0}; nobody knows whether it was done")]
    Unknown(String),
}

/// Does what is no playbook. The daemon implements it.
pub trait Hands: Send + Sync {
    /// Does it, once, within a time.
    fn perform(&self, effect: Effect, within: Duration) -> BoxFuture<'_, Result<Done, HandsError>>;

    /// Says what would be done, and whether it could be, and changes nothing.
    fn rehearse(&self, effect: Effect, within: Duration) -> BoxFuture<'_, Result<Done, HandsError>>;
}

impl Effect {
    /// What is done to whom, in words.
    pub fn describe(&self) -> String {
        match self {
            Effect::Device { target, command } => format!("{command} of {target} through its own API"),
            Effect::Container { engine, container, command } => {
                format!("{command} of the container {container} on {engine}")
            }
            Effect::Webhook { receiver, .. } => format!("a call of the webhook {receiver}"),
            Effect::Notify { receiver, .. } => format!("a message to {receiver}"),
        }
    }
}
