//! The acting room and the HTTP surface, put together from the parts of the daemon.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::devices::Orders;
use super::eyes::Eyes;
use super::hands::Effects;
use super::world::{ReloadRequest, View};
use super::{Parts, runner};
use crate::act::actor::{Actor, Setup};
use crate::act::control::Control as RunControl;
use crate::act::reload::{Plan, Switch};
use crate::api::WriteSeen;
use crate::config::Config;

/// What the acting room is to do by a configuration. Its executor is the one of the plan before, where nothing of it
/// changed.
pub(super) fn plan(config: &Config, before: Option<(&Config, &Plan)>) -> Plan {
    let act = &config.act;
    let same = |old: &Config| {
        format!("{:?} {:?}", old.act.ansible, old.act.runner) == format!("{:?} {:?}", act.ansible, act.runner)
            && old.act.awx == act.awx
    };
    let kept = before.filter(|(old, _)| same(old)).map(|(_, plan)| plan.executor.clone());
    Plan {
        bindings: Arc::new(act.bindings.clone()),
        limits: act.limits,
        kill_grace: act.ansible.kill_grace,
        approval_url: act.approval_url.clone(),
        executor: kept.unwrap_or_else(|| runner::executor(config)),
    }
}

impl Parts {
    /// The acting room with everything that it sees and does.
    pub(super) fn actor(&self, plans: watch::Receiver<Arc<Plan>>) -> (Actor, RunControl) {
        let plan = plans.borrow().clone();
        let switch = Arc::new(Switch::new(plan.executor.clone()));
        let (actor, control) = Actor::new(Setup {
            bindings: watch::channel(plan.bindings.clone()).1,
            limits: plan.limits,
            kill_grace: plan.kill_grace,
            approval_url: plan.approval_url.clone(),
            book: self.book.clone(),
            executor: switch.clone(),
            hands: Arc::new(Effects {
                shared: self.shared.clone(),
                keeper: self.keeper.clone(),
                outbox: self.outbox.clone(),
            }),
            world: Arc::new(Eyes(self.shared.clone())),
        });
        (actor.planned(switch, plans), control)
    }

    /// What the HTTP surface stands on.
    pub(super) fn view(
        &self,
        runs: RunControl,
        reloads: mpsc::Sender<ReloadRequest>,
        writes: WriteSeen,
        orders: Orders,
    ) -> View {
        View {
            shared: self.shared.clone(),
            book: self.book.clone(),
            runs,
            store: self.store.clone(),
            reloads,
            wishes: self.wishes.clone(),
            inbox: self.inbox.clone(),
            finds: self.finds.clone(),
            auditor: self.keeper.auditor(),
            writes,
            orders,
        }
    }
}
