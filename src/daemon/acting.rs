//! The acting room and the HTTP surface, put together from the parts of the daemon.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::devices::Orders;
use super::eyes::Eyes;
use super::hands::Effects;
use super::world::{ReloadRequest, View};
use super::{Parts, runner};
use crate::act::actor::{Actor, Setup};
use crate::act::binding::Binding;
use crate::act::control::Control as RunControl;
use crate::api::WriteSeen;

impl Parts {
    /// The acting room with everything that it sees and does.
    pub(super) fn actor(&self, bindings: watch::Receiver<Arc<Vec<Binding>>>) -> (Actor, RunControl) {
        let act = &self.config.act;
        Actor::new(Setup {
            bindings,
            limits: act.limits,
            kill_grace: act.ansible.kill_grace,
            approval_url: act.approval_url.clone(),
            book: self.book.clone(),
            executor: runner::executor(&self.config),
            hands: Arc::new(Effects { shared: self.shared.clone(), outbox: self.outbox.clone() }),
            world: Arc::new(Eyes(self.shared.clone())),
        })
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
            auditor: self.keeper.auditor(),
            writes,
            orders,
        }
    }
}
