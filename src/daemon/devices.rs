//! Commands to devices, whoever gives them: one at a time per device, on record before they leave and after, with who gave
//! them and how the device stood before.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::audit::Auditor;
use super::keep::Keeper;
use super::paused::{Order, give};
use super::shared::Shared;
use super::world::View;
use crate::api::miners::{CommandRow, DeviceFault, DeviceOrder, DeviceRow, Devices, Told};
use crate::audit::Entry;
use crate::collect::command::{Call, CommandError, Outcome, Ready};
use crate::collect::kind;
use crate::model::Target;
use crate::schedule::poll::unix_millis;

/// Orders of people that may wait, and that are carried out at one time.
const ORDERS: usize = 32;

/// How long orders that are under way may go on at stop: systemd kills after 90 s, and other parts stop after this one.
const LAST: Duration = Duration::from_secs(20);
const STOPS: &str = "the daemon stops; nothing was sent";

/// The devices that something is at work on.
#[derive(Default)]
pub(super) struct Busy(Mutex<BTreeSet<String>>);

/// A device that is ours until this is dropped.
pub(super) struct Held<'a> {
    busy: &'a Busy,
    target: String,
}

impl Busy {
    /// Takes a device, unless something is at work on it.
    pub(super) fn hold(&self, target: &str) -> Option<Held<'_>> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_string());
        free.then(|| Held { busy: self, target: target.to_string() })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.busy.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.target);
    }
}

/// What is said of a device that is taken.
pub(super) fn taken(target: &str) -> CommandError {
    CommandError::Refused(format!("something else is at work on {target}; nothing was sent"))
}

/// A target of the configuration, and a command as its kind reads it.
pub(super) fn find(shared: &Shared, id: &str, command: &str) -> Result<(Target, Call), DeviceFault> {
    let config = shared.config.get();
    let job = config.jobs.iter().find(|job| *job.target.id == *id);
    let target = job.map(|job| Target::clone(&job.target)).ok_or_else(|| DeviceFault::Unknown(id.to_string()))?;
    let mut call = Call::read(&target.kind, command).map_err(fault)?;
    shared.complete(&target, &mut call);
    Ok((target, call))
}

fn fault(error: CommandError) -> DeviceFault {
    match error {
        CommandError::Refused(text) => DeviceFault::Refused(text),
        CommandError::NotConfirmed(text) => DeviceFault::NotConfirmed(text),
        CommandError::Unknown(text) => DeviceFault::Uncertain(text),
    }
}

/// Tells a device that is held and was asked, and puts on record that it is told and what came of it. What cannot be put
/// on record is not done.
pub(super) async fn carry_out(
    auditor: &Auditor,
    (ready, call): (Ready, &Call),
    (target, by, until): (&str, &str, Instant),
) -> Result<Outcome, CommandError> {
    ready.is_meant(call)?;
    let facts = json!({ "command": call.to_string(), "before": ready.before(), "undo": ready.undo(call) });
    let told = note(auditor, by, "device.told", target, facts).await;
    told.map_err(|error| CommandError::Refused(format!("it cannot be put on record, so nothing was sent: {error}")))?;
    let outcome = ready.tell(until).await;
    let (what, facts) = match &outcome {
        Ok(done) => ("device.done", json!({ "detail": done.detail, "changed": done.changed })),
        Err(error) => ("device.failed", json!({ "detail": error.to_string() })),
    };
    if let Err(error) = note(auditor, by, what, target, facts).await {
        tracing::error!(target, %error, "what came of a command is not in the audit log");
    }
    tracing::info!(target, by, command = %call, ?outcome, "device told");
    outcome
}

pub(super) async fn note(
    auditor: &Auditor,
    by: &str,
    what: &str,
    target: &str,
    facts: Value,
) -> Result<(), crate::store::state::StoreError> {
    let entry =
        Entry { at: unix_millis(), who: by.to_string(), what: what.to_string(), subject: target.to_string(), facts };
    auditor.note(entry).await
}

type Answer = oneshot::Sender<Result<Told, DeviceFault>>;

/// The way to whoever carries orders out. Cheap to clone.
#[derive(Clone)]
pub(super) struct Orders(mpsc::Sender<(DeviceOrder, Answer)>);

/// Carries out the orders of people. It goes on when the one who asked has gone away.
pub(super) struct Porter {
    shared: Arc<Shared>,
    keeper: Keeper,
    orders: mpsc::Receiver<(DeviceOrder, Answer)>,
}

impl Porter {
    pub(super) fn new(shared: Arc<Shared>, keeper: Keeper) -> (Porter, Orders) {
        let (sender, orders) = mpsc::channel(ORDERS);
        (Porter { shared, keeper, orders }, Orders(sender))
    }

    /// Works until `stop`; what is under way then has [`LAST`], what waits is not begun.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut work = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some((order, answer)) = self.orders.recv(), if work.len() < ORDERS => {
                    let (shared, keeper) = (self.shared.clone(), self.keeper.clone());
                    work.spawn(async move {
                        // Who asked may have gone away; what was done was done.
                        let _ = answer.send(obey(&shared, &keeper, &order).await);
                    });
                }
                Some(_) = work.join_next(), if !work.is_empty() => {}
            }
        }
        finish(self.orders, work).await;
    }
}

/// The end of the orders. One that takes too long is given up: that the device was told is on record already.
async fn finish(mut orders: mpsc::Receiver<(DeviceOrder, Answer)>, mut work: JoinSet<()>) {
    orders.close();
    while let Some((_, answer)) = orders.recv().await {
        let _ = answer.send(Err(DeviceFault::Busy(STOPS.to_string())));
    }
    let ended = async { while work.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST, ended).await.is_err() {
        tracing::warn!(orders = work.len(), "given up at stop; the audit log says which devices were told");
    }
    work.shutdown().await;
}

async fn obey(shared: &Shared, keeper: &Keeper, order: &DeviceOrder) -> Result<Told, DeviceFault> {
    let (target, mut call) = find(shared, &order.target, &order.command)?;
    call.code = order.code.clone();
    let Some(_held) = shared.busy.hold(&order.target) else {
        return Err(DeviceFault::Busy(taken(&order.target).to_string()));
    };
    let until = Instant::now() + order.within.max(Duration::from_secs(1));
    let order = Order { target, call, until, force: order.force, by: &order.by, audited: true };
    let (done, sends) = give(shared, keeper, order).await.map_err(fault)?;
    Ok(Told { sends, detail: done.detail, before: done.before, changed: done.changed })
}

impl Devices for View {
    fn devices(&self) -> Vec<DeviceRow> {
        let config = self.shared.config.get();
        let up = |id: &str| self.shared.targets(|targets| targets.get(id).and_then(|state| state.up));
        let rows = config.jobs.iter().filter_map(|job| {
            let commands = kind(&job.target.kind)?.commands;
            let id = job.target.id.to_string();
            let usage = commands.iter().map(crate::collect::command::Command::usage).collect();
            (!commands.is_empty()).then(|| DeviceRow {
                up: up(&id),
                id,
                kind: job.target.kind.to_string(),
                commands: usage,
            })
        });
        rows.collect()
    }

    fn commands(&self, target: &str) -> Result<Vec<CommandRow>, DeviceFault> {
        let config = self.shared.config.get();
        let job = config.jobs.iter().find(|job| *job.target.id == *target);
        let job = job.ok_or_else(|| DeviceFault::Unknown(target.to_string()))?;
        let commands = kind(&job.target.kind).map_or(&[][..], |kind| kind.commands);
        let row = |command: &crate::collect::command::Command| CommandRow {
            name: command.name.to_string(),
            usage: command.usage(),
            help: command.help.to_string(),
            idempotent: command.is_idempotent(),
        };
        Ok(commands.iter().map(row).collect())
    }

    fn rehearse(&self, order: &DeviceOrder) -> Result<Vec<String>, DeviceFault> {
        let (target, mut call) = find(&self.shared, &order.target, &order.command)?;
        call.code = order.code.clone();
        let call = self.shared.turned(&target, call, order.force).map_err(fault)?;
        Ok(call.plan(&target).map_err(fault)?.sends)
    }

    fn tell(&self, order: DeviceOrder) -> BoxFuture<'_, Result<Told, DeviceFault>> {
        async move {
            let (answer, answered) = oneshot::channel();
            let busy = |error| {
                let full = matches!(error, TrySendError::Full(_));
                DeviceFault::Busy(if full { "too many commands wait; give this one again" } else { STOPS }.to_string())
            };
            self.orders.0.try_send((order, answer)).map_err(busy)?;
            let ended = |_| DeviceFault::Uncertain("the daemon stops".to_string());
            answered.await.map_err(ended)?
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_orders_is_bounded() {
        let (sender, orders) = mpsc::channel(ORDERS);
        let (answer, answered) = oneshot::channel();
        let within = Duration::from_secs(120);
        let order = DeviceOrder {
            target: "one".into(),
            command: "pause".into(),
            by: "api".into(),
            within,
            code: None,
            force: false,
        };
        sender.try_send((order, answer)).unwrap();
        let (kept, under_way) = oneshot::channel::<()>();
        let mut work = JoinSet::new();
        work.spawn(async move {
            tokio::time::sleep(within).await;
            drop(kept);
        });
        let began = Instant::now();
        finish(orders, work).await;
        assert_eq!(began.elapsed().as_secs(), LAST.as_secs());
        assert_eq!(answered.await.unwrap().unwrap_err(), DeviceFault::Busy(STOPS.to_string()));
        assert!(under_way.await.is_err() && sender.is_closed());
    }
}
