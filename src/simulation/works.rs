//! Who carries runs out in a test: an executor and hands that do what the test says, in the time that it says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::event::{Event, What};
use super::file::{Ending, Trouble};
use super::plan::RunPlan;
use super::scene::{Going, Scene, Stage};
use crate::act::binding::{Action, split_target};
use crate::act::events::{Events, HostStats, TaskResult};
use crate::act::executor::{Executor, ExecutorError, Report, RunRequest, RunStatus, Started};
use crate::act::hands::{Done, Effect, Hands, HandsError};
use crate::act::inventory::Inventory;
use crate::act::job::{Ending as JobEnding, ExitRecord};
use crate::act::run::{Run, RunId, RunState};

/// How long a run takes of which the test says nothing.
const TAKES: i64 = 10_000;

/// Carries runs out as the test says.
pub(super) struct Works(pub(super) Arc<Stage>);

impl Works {
    fn away(&self) -> Result<(), ExecutorError> {
        let away = self.0.lock().troubled(Trouble::ExecutorAway);
        if away { Err(ExecutorError::Away("the test says that it is away".into())) } else { Ok(()) }
    }

    fn begin(&self, request: &RunRequest) {
        let mut scene = self.0.lock();
        let began = scene.at();
        let plan = scene.runs.get(&request.run).and_then(|run| scene.plan_of(run));
        let (takes, ending) = plan.as_ref().map_or((TAKES, Ending::Ok), |plan| (plan.takes, plan.outcome));
        let limit = i64::try_from(request.timeout_ms).unwrap_or(i64::MAX);
        let timed_out = ending == Ending::TimedOut || takes >= limit;
        let ends = began.saturating_add(if timed_out { limit } else { takes });
        scene.going.insert(request.run.clone(), Going { plan, began, ends, timed_out, cancelled: false });
    }

    fn look(&self, id: &RunId) -> RunStatus {
        let mut scene = self.0.lock();
        let at = scene.at();
        let (Some(going), Some(run)) = (scene.going.get(id).cloned(), scene.runs.get(id).cloned()) else {
            return RunStatus::Unknown;
        };
        if at < going.ends && !going.cancelled {
            return RunStatus::Running;
        }
        let ending = going.plan.as_ref().map_or(Ending::Ok, |plan| plan.outcome);
        if ending == Ending::Lost && !going.cancelled {
            return RunStatus::Lost;
        }
        if let Some(plan) = going.plan.as_ref().filter(|_| ending == Ending::Ok && !going.timed_out && !going.cancelled)
        {
            scene.ended_well(&run, plan);
            self.0.woken.notify_one();
        }
        RunStatus::Ended(Box::new(report(&scene, &run, &going, ending)))
    }
}

/// What a supervisor and the callback plugin would have written.
fn report(scene: &Scene, run: &Run, going: &Going, ending: Ending) -> Report {
    let how = match (going.cancelled, going.timed_out) {
        (true, _) => JobEnding::Cancelled,
        (_, true) => JobEnding::TimedOut,
        _ => JobEnding::Exited,
    };
    let mut exit = ExitRecord::new(how, scene.wall(going.began), scene.wall(going.ends));
    let mut events = Events::default();
    if how != JobEnding::Exited {
        return Report { exit, events };
    }
    let host = split_target(&run.target).0.to_string();
    let (code, status) = match ending {
        Ending::Failed => (2, "failed"),
        Ending::Unreachable => (4, "unreachable"),
        _ => (0, "ok"),
    };
    exit.code = Some(code);
    let stats = HostStats {
        ok: u32::from(status == "ok"),
        failures: u32::from(status == "failed"),
        unreachable: u32::from(status == "unreachable"),
        ..HostStats::default()
    };
    events.stats = Some(BTreeMap::from([(host.clone(), stats)]));
    events.tasks.push(TaskResult {
        host,
        task: "as the test says".into(),
        module: String::new(),
        status: status.into(),
        changed: status == "ok",
        ignored: false,
        message: going.plan.as_ref().map(|plan| plan.message.clone()).unwrap_or_default(),
    });
    Report { exit, events }
}

impl Executor for Works {
    fn ready(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        std::future::ready(self.away()).boxed()
    }

    fn start(&self, request: RunRequest) -> BoxFuture<'_, Result<Started, ExecutorError>> {
        self.begin(&request);
        let started = Started { playbook_sha256: None, vars_sha256: String::new(), supervisor: None };
        std::future::ready(Ok(started)).boxed()
    }

    fn status(&self, run: RunId) -> BoxFuture<'_, Result<RunStatus, ExecutorError>> {
        std::future::ready(self.away().map(|()| self.look(&run))).boxed()
    }

    fn cancel(&self, run: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        if let Some(going) = self.0.lock().going.get_mut(&run) {
            going.cancelled = true;
        }
        std::future::ready(self.away()).boxed()
    }

    fn abandon(&self, _: RunId) -> BoxFuture<'_, Result<(), ExecutorError>> {
        std::future::ready(self.away()).boxed()
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Option<Inventory>, ExecutorError>> {
        let answer = self.away().and_then(|()| {
            let scene = self.0.lock();
            if scene.troubled(Trouble::InventoryBroken) {
                return Err(ExecutorError::Refused("the test says that the inventory cannot be read".into()));
            }
            Ok(scene.plan.inventory.clone().or_else(|| scene.setting.inventory.clone()))
        });
        std::future::ready(answer).boxed()
    }

    fn outlives_us(&self) -> bool {
        true
    }
}

impl Hands for Works {
    fn perform(&self, effect: Effect, within: Duration) -> BoxFuture<'_, Result<Done, HandsError>> {
        self.told(&effect);
        self.done(effect, within).boxed()
    }

    fn rehearse(&self, effect: Effect, within: Duration) -> BoxFuture<'_, Result<Done, HandsError>> {
        self.done(effect, within).boxed()
    }
}

impl Works {
    fn told(&self, effect: &Effect) {
        if let Effect::Notify { receiver, message } | Effect::Webhook { receiver, message } = effect {
            let mut scene = self.0.lock();
            let (subject, state) = (receiver.clone(), message.subject.clone());
            let told = Event { subject, state, detail: message.text.clone(), ..Event::new(scene.at(), What::Told) };
            scene.note(told);
        }
    }

    async fn done(&self, effect: Effect, within: Duration) -> Result<Done, HandsError> {
        let (run, plan) = {
            let scene = self.0.lock();
            let run = scene.runs.values().find(|run| does(run, &effect)).cloned();
            let plan = run.as_ref().and_then(|run| scene.plan_of(run));
            (run, plan)
        };
        let message = matches!(effect, Effect::Notify { .. } | Effect::Webhook { .. });
        let (takes, ending) = match &plan {
            Some(plan) => (plan.takes, plan.outcome),
            None => (if message { 0 } else { TAKES }, Ending::Ok),
        };
        let takes = Duration::from_millis(takes.max(0).unsigned_abs());
        // Longer than the step may take: the acting room itself gives up.
        let takes = if ending == Ending::TimedOut { within + Duration::from_secs(1) } else { takes };
        tokio::time::sleep(takes).await;
        let said = plan.as_ref().map(|plan| plan.message.clone()).unwrap_or_default();
        match ending {
            Ending::Ok => {
                self.heal(run.as_ref(), plan.as_ref());
                Ok(Done { detail: said, ..Done::default() })
            }
            Ending::Failed => Err(HandsError::Failed(said)),
            Ending::Unreachable | Ending::Lost | Ending::TimedOut => Err(HandsError::Unknown(said)),
        }
    }

    fn heal(&self, run: Option<&Run>, plan: Option<&RunPlan>) {
        if let (Some(run), Some(plan)) = (run, plan) {
            self.0.lock().ended_well(run, plan);
            self.0.woken.notify_one();
        }
    }
}

/// Whether an effect is what a run does at this moment. One run at a time works on a target, so there is one at most.
fn does(run: &Run, effect: &Effect) -> bool {
    let same = match (run.action(), effect) {
        (Action::Device(does), Effect::Device { target, command }) => {
            does == *command && split_target(&run.target).0 == target
        }
        (Action::Container(does), Effect::Container { engine, container, command }) => {
            does == *command && run.target == format!("{engine}/{container}")
        }
        (Action::Webhook(_), Effect::Webhook { message, .. }) | (Action::Notify(_), Effect::Notify { message, .. }) => {
            message.run.as_ref() == Some(&run.id)
        }
        _ => false,
    };
    same && run.state == RunState::Spawned
}
