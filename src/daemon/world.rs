//! What the acting room is told of the world, and what the HTTP surface shows of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::audit::Auditor;
use super::devices::Orders;
use super::discover::Finds;
use super::intake::observe_ourselves;
use super::shared::{Shared, TargetState};
use super::silences::Wishes;
use super::webhooks::Inbox;
use crate::act::book::{Book, Held};
use crate::act::control::{Control as RunControl, Filter};
use crate::act::facts::Host;
use crate::act::run::{Run, RunState};
use crate::api::{AlertRow, Backend, HeldRow, RuleRow, RunRow, Status, TargetRow, WriteSeen};
use crate::model::{Alert, AlertState, Target};
use crate::schedule::poll::unix_millis;
use crate::store::Format;
use crate::store::state::SledState;

/// Runs that the status page shows.
const RUNS_SHOWN: usize = 50;

/// A target as a host of a generated inventory. Its playbooks run here and talk to the device's own API; nobody logs
/// in to a miner.
pub fn host(target: &Target) -> Host {
    let bare = target.address.split_once("://").map_or(target.address.as_str(), |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or_default();
    let vars = [("ansible_connection", "local"), ("davylamp_address", bare), ("davylamp_kind", &*target.kind)];
    let vars = vars.into_iter().map(|(name, value)| (name.to_string(), value.to_string()));
    // Names of labels are checked by the configuration; their values may be anything.
    let labels = target.labels.iter().map(|(name, value)| (format!("davylamp_label_{name}"), value.to_string()));
    let vars = vars.chain(labels).collect::<BTreeMap<_, _>>();
    Host { name: target.id.to_string(), group: target.kind.to_string(), vars }
}

/// A request to load the configuration anew, and where the answer goes.
pub(super) type ReloadRequest = oneshot::Sender<Result<String, String>>;

/// The HTTP surface's view.
pub(super) struct View {
    pub(super) shared: Arc<Shared>,
    pub(super) book: Arc<Book>,
    /// Orders of people to the acting room.
    pub(super) runs: RunControl,
    pub(super) store: Arc<SledState>,
    pub(super) reloads: mpsc::Sender<ReloadRequest>,
    pub(super) wishes: Wishes,
    pub(super) inbox: Arc<Inbox>,
    pub(super) finds: Finds,
    pub(super) auditor: Auditor,
    pub(super) writes: WriteSeen,
    pub(super) orders: Orders,
}

impl View {
    /// Reads our own metrics into the window, those of the store and of the acting room brought up to date first.
    pub(super) fn observe_ourselves(&self) {
        super::figures::refresh(&self.shared.telemetry, &self.store.stats(), &self.book);
        super::history::refresh(&self.shared);
        observe_ourselves(&self.shared);
    }

    fn run_rows(&self, state: Option<RunState>) -> Vec<RunRow> {
        self.runs.list(&Filter { state, most: RUNS_SHOWN, ..Filter::default() }).iter().map(run_row).collect()
    }
}

impl Backend for View {
    fn page(&self, format: Format, kind: Option<&str>) -> Vec<u8> {
        self.observe_ourselves();
        self.shared.recent.page(format, kind)
    }

    fn status(&self) -> Status {
        let shared = &self.shared;
        let targets = shared.targets(|targets| targets.clone());
        let config = shared.config.get();
        let row = |target: &Arc<Target>| target_row(target, targets.get(&target.id).cloned().unwrap_or_default());
        let mut rows: Vec<TargetRow> = config.jobs.iter().map(|job| row(&job.target)).collect();
        // What is down comes first, and then what has something to say.
        rows.sort_by_key(|row| (row.up != Some(false), row.detail.is_empty(), row.id.clone()));
        let (ours, posted) = (shared.alerts.get(), shared.posted.get());
        let mut alerts: Vec<AlertRow> =
            ours.iter().chain(posted.iter()).map(|alert| alert_row(shared, alert)).collect();
        alerts.sort_by_key(|row| (row.state != "firing", row.state != "pending", -row.since));
        let rules = shared.rules.get();
        let mut notices = shared.notices();
        notices.extend(self.not_ready());
        let remarkable = rules.values().filter(|note| !note.remark.is_empty());
        Status {
            now: unix_millis() / 1000,
            started: shared.started,
            notices,
            targets: rows,
            alerts,
            drift: shared.drift_rows(),
            rules: remarkable.map(|note| RuleRow { name: note.name.clone(), remark: note.remark.clone() }).collect(),
            runs: self.run_rows(None),
            approvals: self.run_rows(Some(RunState::WaitingApproval)),
            held: self.runs.held().iter().map(held_row).collect(),
            silences: super::silences::rows(shared, unix_millis()),
            found: self.finds.pending().iter().map(|imprint| super::discover::row(imprint)).collect(),
        }
    }

    fn not_ready(&self) -> Vec<String> {
        let stats = self.store.stats();
        if stats.writable.load(std::sync::atomic::Ordering::Relaxed) {
            return Vec::new();
        }
        let error = stats.last_error().unwrap_or_else(|| "it takes no writes".to_string());
        vec![format!("the state database at {} does not work: {error}", self.store.path().display())]
    }

    fn reload(&self) -> BoxFuture<'_, Result<String, String>> {
        async {
            let (answer, answered) = oneshot::channel();
            let busy = "a reload is under way; try again".to_string();
            self.reloads.try_send(answer).map_err(|_| busy.clone())?;
            answered.await.unwrap_or(Err(busy))
        }
        .boxed()
    }
}

fn target_row(target: &Target, state: TargetState) -> TargetRow {
    let identity = &state.identity;
    let said = [&identity.make, &identity.model, &identity.firmware, &identity.id];
    TargetRow {
        id: target.id.to_string(),
        kind: target.kind.to_string(),
        address: target.address.clone(),
        identity: said.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" · "),
        up: state.polled.and(state.up),
        polled: state.polled.map(|at| at / 1000),
        took_ms: state.took_ms,
        samples: state.samples,
        detail: state.detail,
    }
}

fn alert_row(shared: &Shared, alert: &Alert) -> AlertRow {
    let annotation = |name| alert.annotations.get(name).unwrap_or_default();
    let since = match alert.state {
        AlertState::Pending => alert.active_at,
        AlertState::Firing => alert.fired_at.unwrap_or(alert.active_at),
        AlertState::Resolved => alert.resolved_at.unwrap_or(alert.active_at),
    };
    AlertRow {
        state: alert.state.as_str().to_string(),
        name: alert.labels.get("alertname").unwrap_or_default().to_string(),
        labels: alert.labels.filter(|name| name != "alertname").to_string(),
        summary: if annotation("summary").is_empty() { annotation("description") } else { annotation("summary") }
            .to_string(),
        since: since / 1000,
        value: alert.value,
        muted: shared.muted_by(&alert.labels, unix_millis()).map(|mute| mute.to_string()).unwrap_or_default(),
    }
}

fn held_row(held: &Held) -> HeldRow {
    HeldRow {
        binding: held.binding.clone(),
        labels: held.labels.to_string(),
        reason: (held.reason.as_str().to_string(), held.reason.why().to_string()),
        since: held.since / 1000,
    }
}

fn run_row(run: &Run) -> RunRow {
    RunRow {
        id: run.id.to_string(),
        binding: run.binding.clone(),
        target: run.target.clone(),
        playbook: run.playbook.clone(),
        state: run.state.as_str().to_string(),
        at: run.queued_at / 1000,
        detail: run.detail.clone(),
    }
}
