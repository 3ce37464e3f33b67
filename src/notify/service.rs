//! The loop: asks every second what is due, sends it, writes down what arrived. Drives itself; the daemon only runs it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::alertmanager::{Cluster, Errand, Outlets, errands};
use super::dispatch::{Dispatcher, Entry, Order, Record};
use super::outbox::{Direct, DirectOrder, MOST_WAITING, Outbox, OutboxError, Posted, Queue};
use super::parcel::Fault;
use super::receiver::Receiver;
use super::{Checked, World, letter::Letter};
use crate::model::words;
use crate::silence::{Silence, Silences};
use crate::telemetry::Telemetry;

/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often Alertmanagers are asked for their silences.
const ASK_SILENCES_EVERY: Duration = Duration::from_secs(15);
/// Letters on their way at one time.
const MOST_IN_FLIGHT: usize = 32;
/// How long a stopping daemon waits for letters that are on their way.
const GRACE: Duration = Duration::from_secs(5);

/// The notification log could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the notification log: {source}")]
pub struct LogError {
    /// `read`, `write`.
    pub operation: &'static str,
    /// Cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A record as it is kept: its key, and its bytes; without bytes, one that is to be removed.
pub type Stored<T> = (String, T);

/// Where records are kept; implemented by the daemon on the state store.
pub trait Log: Send + Sync {
    /// All records by key.
    fn load(&self) -> BoxFuture<'_, Result<Vec<Stored<Vec<u8>>>, LogError>>;
    /// Writes and removes records; durable when it returns.
    fn write(&self, records: Vec<Stored<Option<Vec<u8>>>>) -> BoxFuture<'_, Result<(), LogError>>;
}

/// Keys of entries and of messages in the log.
const ENTRIES: &str = "log/";
const MESSAGES: &str = "out/";

/// Everything that is told.
pub struct Service {
    world: Arc<dyn World>,
    log: Arc<dyn Log>,
    telemetry: Arc<Telemetry>,
    posted: mpsc::Receiver<Posted>,
    checked: Arc<Checked>,
    dispatcher: Dispatcher,
    queue: Queue,
    outlets: Outlets,
    silences: HashMap<(usize, String), Vec<Silence>>,
    flying: FuturesUnordered<BoxFuture<'static, Done>>,
}

/// Something that was on its way, and how it went.
enum Done {
    Errand(Errand, Result<(), Fault>, Duration),
    Order(Box<Order>, Result<(), Fault>, Duration),
    Direct(Box<DirectOrder>, Result<(), Fault>, Duration),
    Silences((usize, String), Result<Vec<Silence>, Fault>),
}

impl Service {
    /// Loads the log of earlier processes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn load(
        world: Arc<dyn World>,
        log: Arc<dyn Log>,
        telemetry: Arc<Telemetry>,
    ) -> Result<(Self, Outbox), LogError> {
        let (checked, now) = (world.checked(), world.now());
        let (mut entries, mut queue) = (Vec::new(), Queue::default());
        for (key, value) in log.load().await? {
            let read = if key.starts_with(ENTRIES) {
                serde_json::from_slice::<Entry>(&value).map(|entry| entries.push(entry))
            } else {
                serde_json::from_slice::<Direct>(&value).map(|direct| queue.add(direct, &checked))
            };
            if let Err(error) = read {
                tracing::warn!(key, %error, "cannot read a record of the notification log; it is left as it is");
            }
        }
        let (dispatcher, gone) = Dispatcher::new(checked.clone(), entries, now);
        let (outbox, posted) = Outbox::new();
        let (outlets, silences, flying) = (Outlets::new(), HashMap::new(), FuturesUnordered::new());
        let mut service =
            Service { world, log, telemetry, posted, checked, dispatcher, queue, outlets, silences, flying };
        service.write(gone).await;
        Ok((service, outbox))
    }

    /// Works until `stop`; then what is on its way may arrive.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ask = tokio::time::interval(ASK_SILENCES_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = look.tick() => self.look().await,
                _ = ask.tick() => self.ask_silences(),
                Some(done) = self.flying.next() => self.settle(done).await,
                Some((receiver, message, answer)) = self.posted.recv() => {
                    let outcome = self.accept(receiver, message).await;
                    let _ = answer.send(outcome);
                    self.look().await;
                }
            }
        }
        let last = async {
            while let Some(done) = self.flying.next().await {
                self.settle(done).await;
            }
        };
        let _ = tokio::time::timeout(GRACE, last).await;
    }

    async fn look(&mut self) {
        let (now, checked) = (self.world.now(), self.world.checked());
        if !Arc::ptr_eq(&checked, &self.checked) {
            self.reload(checked, now).await;
        }
        self.look_at_alertmanagers(now);
        let room = MOST_IN_FLIGHT.saturating_sub(self.flying.len());
        let (orders, records) = self.dispatcher.orders(&*self.world, room);
        self.write(records).await;
        for mut order in orders {
            let letter = order.letter.take();
            let (receiver, integration) = (order.receiver.clone(), order.integration);
            let work = async move {
                let begun = Instant::now();
                let outcome = match &letter {
                    None => Ok(()),
                    Some(letter) => send(&receiver, integration, letter).await,
                };
                Done::Order(Box::new(order), outcome, begun.elapsed())
            };
            self.flying.push(work.boxed());
        }
        let room = MOST_IN_FLIGHT.saturating_sub(self.flying.len());
        for order in self.queue.orders(&self.checked, &mut self.dispatcher, now, room) {
            let work = async move {
                let begun = Instant::now();
                let outcome = send(&order.receiver, order.integration, &order.letter).await;
                Done::Direct(Box::new(order), outcome, begun.elapsed())
            };
            self.flying.push(work.boxed());
        }
        self.clear_queue(now).await;
    }

    async fn reload(&mut self, checked: Arc<Checked>, now: i64) {
        self.checked = checked.clone();
        let (empty, _) = Dispatcher::new(checked.clone(), Vec::new(), now);
        let log = std::mem::replace(&mut self.dispatcher, empty).into_log();
        let (dispatcher, gone) = Dispatcher::new(checked, log, now);
        self.dispatcher = dispatcher;
        self.telemetry.notifications_queue.clear();
        self.outlets.clear();
        self.silences.clear();
        self.world.heard(Silences::default());
        self.write(gone).await;
    }

    async fn settle(&mut self, done: Done) {
        let now = self.world.now();
        match done {
            Done::Errand(errand, outcome, took) => {
                let labels = of_alertmanager(&errand.key.1);
                let count = errand.due.alerts.len();
                self.count(&labels, &outcome, took, count);
                let Some(outlet) = self.outlets.get_mut(&errand.key) else { return };
                if let Err(fault) = &outcome
                    && !outlet.failing()
                {
                    tracing::warn!(alertmanager = errand.key.1, %fault, "an Alertmanager is not reached; alerts wait");
                }
                outlet.done(&errand.due.alerts, &outcome, now);
                let left = if outcome.is_ok() { errand.due.waiting.saturating_sub(count) } else { errand.due.waiting };
                self.telemetry.notifications_queue.get_or_create(&labels).set(left as f64);
                if left > 0 && outcome.is_ok() {
                    // The next batch at once: a storm is no time to wait a second per 64 alerts.
                    self.look_at_alertmanagers(now);
                }
            }
            Done::Order(order, outcome, took) => {
                self.report(&order.receiver, order.integration, &outcome, took);
                if let Some(record) = self.dispatcher.done(&order, &outcome, now) {
                    self.write(vec![record]).await;
                }
            }
            Done::Direct(order, outcome, took) => {
                self.report(&order.receiver, order.integration, &outcome, took);
                if self.queue.done(&order, &outcome, now) {
                    let labels = of_receiver(&order.receiver, order.integration);
                    self.telemetry.notifications_dropped.get_or_create(&labels).inc();
                }
                self.clear_queue(now).await;
            }
            Done::Silences(key, Ok(silences)) => {
                self.silences.insert(key, silences);
                self.world.heard(Silences::new(self.silences.values().flatten().cloned()));
            }
            Done::Silences(key, Err(fault)) => {
                tracing::debug!(alertmanager = key.1, %fault, "cannot read silences; those known stay in force");
            }
        }
    }

    fn look_at_alertmanagers(&mut self, now: i64) {
        let notices = self.world.notices();
        for errand in errands(&self.checked.alertmanagers, &mut self.outlets, &notices, now) {
            let labels = of_alertmanager(&errand.key.1);
            self.telemetry.notifications_queue.get_or_create(&labels).set(errand.due.waiting as f64);
            self.telemetry.notifications_dropped.get_or_create(&labels).inc_by(errand.due.dropped as u64);
            let work = async move {
                let begun = Instant::now();
                let outcome = errand.cluster.post(&errand.key.1, &errand.due.alerts, now).await;
                Done::Errand(errand, outcome, begun.elapsed())
            };
            self.flying.push(work.boxed());
        }
    }

    fn ask_silences(&mut self) {
        let now = self.world.now();
        for (index, cluster) in self.checked.alertmanagers.iter().enumerate().filter(|(_, c)| c.respect_silences) {
            for address in cluster.addresses() {
                let cluster: Arc<Cluster> = cluster.clone();
                let work = async move {
                    let outcome = cluster.silences(&address, now).await;
                    Done::Silences((index, address), outcome)
                };
                self.flying.push(work.boxed());
            }
        }
    }

    async fn accept(&mut self, receiver: String, message: super::Message) -> Result<(), OutboxError> {
        if !self.checked.receivers.contains_key(&receiver) {
            let hint = words::hint(&receiver, self.checked.receivers.keys());
            return Err(OutboxError::UnknownReceiver { name: receiver, hint });
        }
        if self.queue.len() >= MOST_WAITING {
            return Err(OutboxError::Full);
        }
        let direct = Direct { id: uuid::Uuid::new_v4().to_string(), receiver, message, at: self.world.now() };
        // A plain struct of text and numbers always becomes JSON.
        let value = serde_json::to_vec(&direct).unwrap_or_default();
        self.log.write(vec![(format!("{MESSAGES}{}", direct.id), Some(value))]).await?;
        self.queue.add(direct, &self.checked);
        Ok(())
    }

    async fn clear_queue(&mut self, now: i64) {
        let over = self.queue.over(now);
        if over.is_empty() {
            return;
        }
        for (id, unheard) in over.iter().filter(|(_, unheard)| *unheard > 0) {
            tracing::error!(id, unheard, "a message is given up after an hour");
            let labels = vec![("integration", "all".to_string()), ("receiver", "unknown".to_string())];
            self.telemetry.notifications_dropped.get_or_create(&labels).inc_by(*unheard as u64);
        }
        let records = over.into_iter().map(|(id, _)| (format!("{MESSAGES}{id}"), None)).collect();
        self.put(records).await;
    }

    async fn write(&mut self, records: Vec<Record>) {
        let bytes = |entry: Entry| serde_json::to_vec(&entry).unwrap_or_default();
        let records = records.into_iter().map(|(key, entry)| (format!("{ENTRIES}{key}"), entry.map(bytes)));
        self.put(records.collect()).await;
    }

    async fn put(&mut self, records: Vec<Stored<Option<Vec<u8>>>>) {
        if records.is_empty() {
            return;
        }
        if let Err(error) = self.log.write(records).await {
            tracing::error!(%error, "what was told may be told again after a restart");
        }
    }

    fn report(&self, receiver: &Receiver, integration: usize, outcome: &Result<(), Fault>, took: Duration) {
        self.count(&of_receiver(receiver, integration), outcome, took, 1);
        if let Err(fault) = outcome {
            let again = matches!(fault, Fault::Retry { .. });
            let integration = super::dispatch::name(receiver, integration);
            tracing::warn!(receiver = receiver.name, integration, again, %fault, "a notification did not arrive");
        }
    }

    fn count(&self, labels: &[(&'static str, String)], outcome: &Result<(), Fault>, took: Duration, count: usize) {
        let labels = labels.to_vec();
        self.telemetry.notifications_latency.get_or_create(&labels).observe(took.as_secs_f64());
        let counter =
            if outcome.is_ok() { &self.telemetry.notifications_sent } else { &self.telemetry.notifications_errors };
        counter.get_or_create(&labels).inc_by(count as u64);
    }
}

fn of_alertmanager(address: &str) -> Vec<(&'static str, String)> {
    vec![("integration", "alertmanager".to_string()), ("receiver", address.to_string())]
}

fn of_receiver(receiver: &Receiver, integration: usize) -> Vec<(&'static str, String)> {
    let kind = receiver.integrations.get(integration).map_or("", |found| found.kind);
    vec![("integration", kind.to_string()), ("receiver", receiver.name.clone())]
}

/// Sends one letter to one integration, once.
///
/// # Errors
/// [`Fault`].
pub async fn send(receiver: &Receiver, integration: usize, letter: &Letter) -> Result<(), Fault> {
    match receiver.integrations.get(integration) {
        Some(found) => found.service.render(letter)?.send().await,
        None => Err(Fault::refused("the receiver has changed")),
    }
}

/// Tells every integration of a receiver a message at once, with no log: for `davylamp notify test`.
pub async fn tell_now(
    checked: &Checked,
    receiver: &Receiver,
    message: &super::Message,
    now: i64,
) -> BTreeMap<String, Result<(), Fault>> {
    let letter = Letter::of_message(message, &receiver.name, &checked.external_url, &format!("test-{now}"), now);
    let mut outcomes = BTreeMap::new();
    for index in 0..receiver.integrations.len() {
        outcomes.insert(super::dispatch::name(receiver, index), send(receiver, index, &letter).await);
    }
    outcomes
}
