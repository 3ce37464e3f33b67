//! Messages that are about no alert group: steps of automation, approvals to be given. They are durable before they are
//! accepted, sent to every integration of their receiver, tried again where it helps, and given up after an hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::dispatch::back_off;
use super::letter::{Letter, Message};
use super::parcel::Fault;
use super::receiver::Receiver;
use super::{Checked, dispatch::Dispatcher};

/// Messages that may wait; automation is bounded far below that.
pub const MOST_WAITING: usize = 256;
/// A message that did not arrive after this time says nothing worth knowing.
const EXPIRES_MS: i64 = 3_600_000;
/// Longest message, in bytes.
const MOST_BYTES: usize = 64 * 1024;

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// Nobody has this name.
    #[error("no receiver has the name {name:?}; {hint}")]
    UnknownReceiver {
        /// As asked for.
        name: String,
        /// What to write instead.
        hint: String,
    },
    /// Too many wait, or the daemon stops.
    #[error("too many messages wait to be sent")]
    Full,
    /// It is too long.
    #[error("the message is longer than {MOST_BYTES} bytes")]
    TooLong,
    /// It could not be made durable.
    #[error("the message could not be written: {0}")]
    Store(#[from] super::service::LogError),
}

/// A request to send, and where the answer goes.
pub(super) type Posted = (String, Message, oneshot::Sender<Result<(), OutboxError>>);

/// Where messages go. Cheap to clone.
#[derive(Clone)]
pub struct Outbox(mpsc::Sender<Posted>);

impl Outbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Posted>) {
        // Each waits for one durable write.
        let (sender, receiver) = mpsc::channel(16);
        (Outbox(sender), receiver)
    }

    /// Accepts a message for a receiver; when this returns, it is durable and will be sent.
    ///
    /// # Errors
    /// [`OutboxError`] when it was not accepted.
    pub async fn send(&self, receiver: &str, message: Message) -> Result<(), OutboxError> {
        if message.text.len() + message.title.len() > MOST_BYTES {
            return Err(OutboxError::TooLong);
        }
        let (answer, answered) = oneshot::channel();
        self.0.send((receiver.to_string(), message, answer)).await.map_err(|_| OutboxError::Full)?;
        answered.await.unwrap_or(Err(OutboxError::Full))
    }
}

/// A message on its way: a record in the state.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Direct {
    /// A UUID.
    pub id: String,
    /// Name of the receiver.
    pub receiver: String,
    /// What to say.
    pub message: Message,
    /// When it was accepted, milliseconds since the epoch.
    pub at: i64,
}

struct Waiting {
    direct: Direct,
    /// By integration: failures so far, and when to try (next). Those that were told are gone from it.
    left: BTreeMap<usize, (u32, i64)>,
    busy: usize,
}

/// Messages that wait.
#[derive(Default)]
pub struct Queue(BTreeMap<String, Waiting>);

/// A letter to be sent.
pub struct DirectOrder {
    /// Id of the message.
    pub id: String,
    /// To whom.
    pub receiver: Arc<Receiver>,
    /// Which integration.
    pub integration: usize,
    /// What to say.
    pub letter: Letter,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a message that is durable.
    pub fn add(&mut self, direct: Direct, checked: &Checked) {
        let count = checked.receivers.get(&direct.receiver).map_or(0, |receiver| receiver.integrations.len());
        let left = (0..count).map(|index| (index, (0, direct.at))).collect();
        self.0.insert(direct.id.clone(), Waiting { direct, left, busy: 0 });
    }

    /// Letters that are due.
    pub fn orders(&mut self, checked: &Checked, rates: &mut Dispatcher, now: i64, most: usize) -> Vec<DirectOrder> {
        let mut orders = Vec::new();
        for (id, waiting) in &mut self.0 {
            let Some(receiver) = checked.receivers.get(&waiting.direct.receiver) else { continue };
            for (index, (_, due)) in &mut waiting.left {
                if *due > now || *index >= receiver.integrations.len() || orders.len() >= most {
                    continue;
                }
                if let Err(later) = rates.take(receiver, *index, now) {
                    *due = later;
                    continue;
                }
                // Until it is known how this one went.
                *due = i64::MAX;
                waiting.busy += 1;
                let (message, url) = (&waiting.direct.message, &checked.external_url);
                let letter = Letter::of_message(message, &receiver.name, url, id, waiting.direct.at);
                orders.push(DirectOrder { id: id.clone(), receiver: receiver.clone(), integration: *index, letter });
            }
        }
        orders
    }

    /// How a letter went. True when the message was given up for this integration.
    pub fn done(&mut self, order: &DirectOrder, outcome: &Result<(), Fault>, now: i64) -> bool {
        let Some(waiting) = self.0.get_mut(&order.id) else { return false };
        waiting.busy -= 1;
        match outcome {
            Err(fault @ Fault::Retry { .. }) => {
                if let Some((failures, due)) = waiting.left.get_mut(&order.integration) {
                    *due = now + back_off(*failures, fault);
                    *failures += 1;
                }
                false
            }
            outcome => {
                waiting.left.remove(&order.integration);
                outcome.is_err()
            }
        }
    }

    /// Ids of messages that are over, to be removed: told to all, or too old. With how many integrations never heard.
    pub fn over(&mut self, now: i64) -> Vec<(String, usize)> {
        let over =
            |waiting: &Waiting| waiting.busy == 0 && (waiting.left.is_empty() || now - waiting.direct.at > EXPIRES_MS);
        let ids: Vec<_> = self.0.iter().filter(|(_, w)| over(w)).map(|(id, w)| (id.clone(), w.left.len())).collect();
        for (id, _) in &ids {
            self.0.remove(id);
        }
        ids
    }
}
