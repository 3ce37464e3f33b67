//! What a reload changes of the acting room, all at once. Runs that are going on stay with the executor that took them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::act::actor::Actor;
use crate::act::binding::Binding;
use crate::act::check::Limits;
use crate::act::executor::{Executor, ExecutorError, Place, Printed, RunRequest, RunStatus, Started};
use crate::act::inventory::Inventory;
use crate::act::run::RunId;

/// Everything of a configuration by which is decided and acted.
pub struct Plan {
    /// The bindings.
    pub bindings: Arc<Vec<Binding>>,
    /// Limits over all bindings.
    pub limits: Limits,
    /// Time between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// What one-time links begin with.
    pub approval_url: Option<String>,
    /// Runs playbooks from now on; the same one as before when nothing of it changed.
    pub executor: Arc<dyn Executor>,
}

impl Actor {
    /// Takes everything from plans, of which there may come new ones. `switch` is the executor of this actor.
    #[must_use]
    pub fn planned(mut self, switch: Arc<Switch>, mut plans: watch::Receiver<Arc<Plan>>) -> Self {
        plans.mark_changed();
        self.plans = Some((switch, plans));
        self.take_plan();
        self
    }

    /// Takes a new plan over, if there is one. Only between two looks around: nothing is decided by half of each.
    pub(super) fn take_plan(&mut self) {
        let Some((switch, plans)) = &mut self.plans else { return };
        if !plans.has_changed().unwrap_or(false) {
            return;
        }
        let plan = plans.borrow_and_update().clone();
        self.limits = plan.limits;
        self.kill_grace = plan.kill_grace;
        self.approval_url.clone_from(&plan.approval_url);
        self.bindings = watch::channel(plan.bindings.clone()).1;
        if switch.set(plan.executor.clone()) {
            // The hosts of another inventory say nothing about this one; until it is read nothing is begun.
            self.inventory = None;
            self.inventories = JoinSet::new();
            self.ask_inventory();
        }
    }
}

/// An executor that can be exchanged while runs go on.
pub struct Switch {
    now: Mutex<Arc<dyn Executor>>,
    /// Who took the runs that are going on.
    took: Mutex<HashMap<RunId, Arc<dyn Executor>>>,
}

impl Switch {
    /// Begins with this one.
    pub fn new(executor: Arc<dyn Executor>) -> Self {
        Switch { now: Mutex::new(executor), took: Mutex::default() }
    }

    /// From now on this one takes new runs. True when it is another one.
    fn set(&self, executor: Arc<dyn Executor>) -> bool {
        let mut now = held(&self.now);
        let other = !Arc::ptr_eq(&now, &executor);
        *now = executor;
        other
    }

    fn now(&self) -> Arc<dyn Executor> {
        held(&self.now).clone()
    }

    /// Who knows of a run. One that an earlier process began belongs to whoever is here when it is first asked for.
    fn of(&self, run: &RunId) -> Arc<dyn Executor> {
        held(&self.took).entry(run.clone()).or_insert_with(|| self.now()).clone()
    }

    /// The same for one that may be over for long: nothing is kept of it.
    fn known(&self, run: &RunId) -> Arc<dyn Executor> {
        let took = held(&self.took).get(run).cloned();
        took.unwrap_or_else(|| self.now())
    }
}

/// Held for a look or an insert, never across an await; after a panic elsewhere what it guards is still whole.
fn held<T: ?Sized>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Executor for Switch {
    fn ready(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        let executor = self.now();
        async move { executor.ready().await }.boxed()
    }

    fn start(&self, request: RunRequest) -> BoxFuture<'_, Result<Started, ExecutorError>> {
        let executor = self.of(&request.run);
        async move {
            let run = request.run.clone();
            let started = executor.start(request).await;
            if matches!(started, Err(ExecutorError::Refused(_))) {
                held(&self.took).remove(&run);
            }
            started
        }
        .boxed()
    }

    fn status(&self, run: RunId) -> BoxFuture<'_, Result<RunStatus, ExecutorError>> {
        let executor = self.of(&run);
        async move {
            let status = executor.status(run.clone()).await;
            if matches!(status, Ok(RunStatus::Ended(_))) {
                held(&self.took).remove(&run);
            }
            status
        }
        .boxed()
    }

    fn cancel(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        let executor = self.known(&run);
        async move { executor.cancel(run).await }.boxed()
    }

    fn abandon(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        let executor = self.of(&run);
        async move {
            let done = executor.abandon(run.clone()).await;
            if done.is_ok() {
                held(&self.took).remove(&run);
            }
            done
        }
        .boxed()
    }

    fn printed(&self, run: RunId, from: u64) -> BoxFuture<'_, Result<Printed, ExecutorError>> {
        let executor = self.known(&run);
        async move { executor.printed(run, from).await }.boxed()
    }

    fn place(&self, run: &RunId) -> Option<Place> {
        self.known(run).place(run)
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Option<Inventory>, ExecutorError>> {
        let executor = self.now();
        async move { executor.inventory().await }.boxed()
    }

    fn outlives_us(&self) -> bool {
        self.now().outlives_us() && held(&self.took).values().all(|executor| executor.outlives_us())
    }
}
