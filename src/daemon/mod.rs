//! Wiring: which part talks to which, supervision, reload, shutdown.
//!
//! Every part is a task of one set. A part that ends by itself takes the daemon down, and systemd starts it again: a
//! daemon that polls but no longer evaluates its rules would look healthy and be blind.

mod acting;
mod adopted;
mod audit;
mod awx;
mod control;
mod curtail;
mod curtailed;
mod devices;
mod discover;
mod evaluate;
mod explain;
mod eyes;
mod figures;
mod hands;
mod history;
mod intake;
mod keep;
mod kept;
mod listening;
mod notify;
mod offenders;
mod paused;
mod process;
mod prometheus;
mod receiving;
mod runner;
mod sending;
mod shared;
mod silences;
mod simulation;
mod surface;
mod tasks;
mod tell;
mod thresholds;
mod webhooks;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::act::book::Book;
use crate::act::ledger::LedgerError;
use crate::act::runner::RunnerError;
use crate::api;
use crate::config::Config;
use crate::model::TargetId;
use crate::notify::Outbox;
use crate::notify::service::{LogError, Service as Teller};
use crate::rules::Engine;
use crate::schedule::poll::unix_millis;
use crate::schedule::{OBSERVATION_QUEUE, Scheduler, concurrent_polls};
use crate::sink::{Valve, Work};
use crate::store::state::{OpenError, OpenOptions, SledState, StoreError};
use crate::store::{Limits, Recent, Samples};
use crate::telemetry::Telemetry;
use control::Control;
use discover::{Adopted, Finder, Finds};
use evaluate::Evaluator;
use keep::Keeper;
use notify::Notifier;
use process::{descriptors, terminated, watchdog};
use shared::{Shared, TargetState};
use silences::{SilenceKeeper, Wishes};
use tasks::Tasks;
use tell::{Ears, StateLog};
use webhooks::Inbox;

pub use audit::audit_page;
pub use awx::controller;
pub use control::drawings;
pub use evaluate::settings as rule_settings;
pub use keep::runs_of;
pub use runner::run_runner;
pub use simulation::remediation_tests;
pub use world::host;

/// Alerts that wait for the acting room. When it is full, the rules wait: nothing is lost.
const TRANSITION_QUEUE: usize = 1024;

/// How a daemon is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file, for reloads.
    pub config: PathBuf,
    /// Begin with an empty state if nothing of it can be saved.
    pub force_empty: bool,
    /// Ends the daemon. SIGTERM and SIGINT do so too.
    pub stop: CancellationToken,
}

/// What kept the daemon from running.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The state cannot be opened.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The state cannot be read.
    #[error("cannot read the state: {0}")]
    Read(#[from] StoreError),
    /// The notification log cannot be read.
    #[error(transparent)]
    Notifications(#[from] LogError),
    /// The runs cannot be read.
    #[error("cannot read the records of runs: {0}")]
    Runs(#[from] LedgerError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (server.listen): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Cause.
        source: std::io::Error,
    },
    /// The runner's socket cannot be listened on.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// A queue of remote write cannot be opened.
    #[error(transparent)]
    Queue(#[from] crate::sink::QueueError),
    /// No runner is configured.
    #[error("the configuration names no socket for a runner: set ansible.runner: /run/davylamp-runner/socket")]
    NoRunner,
    /// A part of the daemon ended by itself.
    #[error("the part {0:?} of the daemon ended by itself; see the log above")]
    Died(&'static str),
}

/// Runs until it is stopped. `ready` is told the address that is listened on.
///
/// # Errors
/// [`DaemonError`].
pub async fn run(
    options: Options,
    config: Arc<Config>,
    ready: impl FnOnce(SocketAddr) + Send,
) -> Result<(), DaemonError> {
    let notifier = Arc::new(Notifier::from_environment());
    let telemetry = Telemetry::new();
    // The port first: a second daemon on the same machine should fail before it touches anything.
    let address = config.file.server.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| DaemonError::Listen { address, source })?;
    let address = listener.local_addr().unwrap_or(address);
    let (store, report) = open_state(&config, options.force_empty).await?;
    let store = Arc::new(store);
    let keeper = Keeper::new(store.clone());
    let recent = Arc::new(Recent::new(Duration::from_secs(600), limits(&config)));
    let (sink, valve, sending) = sending::open(&config, &telemetry)?;
    let (past, no_past) = history::open(&config).await;
    let samples = Samples::new(recent.clone(), past);
    recent.begin(unix_millis());
    let shared = Shared::new(config.clone(), samples, telemetry.clone(), unix_millis() / 1000);
    let shared = Arc::new(Shared { sink, ..shared });
    shared.notice("state", report);
    shared.notice("no history", no_past);
    // What rules record is for queries: its names hold colons, which belong on no page.
    let blocks =
        [(intake::SELF, "davylamp", false), (evaluate::ALERTS, "alerts", false), (evaluate::RECORDED, "rules", true)];
    for (id, kind, hidden) in blocks {
        recent.declare_plain(&TargetId::from(id), kind, hidden);
    }
    restore_targets(&shared, &keeper).await?;
    shared.paused.load(&keeper).await?;
    let mut engine = Engine::new(config.groups.clone(), evaluate::settings(&config), unix_millis());
    let orphans = engine.restore(keeper.alerts().await?);
    recent.set_window(history::window(&engine, &config));
    if let Err(error) = keeper.alerts_now(&[], &orphans).await {
        tracing::warn!(%error, "cannot remove the alerts of rules that no longer exist");
    }
    // What fires must be known before anybody is told of it, or it would be taken for gone.
    shared.alerts.set(Arc::new(engine.alerts()));
    let (ears, log) = (Arc::new(Ears::new(shared.clone())), Arc::new(StateLog(store.clone())));
    let (teller, outbox) = Teller::load(ears, log, telemetry.clone()).await?;
    let (silences, wishes) = SilenceKeeper::load(shared.clone(), store.clone()).await?;
    let (finder, finds, adopted) = Finder::load(shared.clone(), keeper.clone()).await?;
    let book = Arc::new(Book::load(Arc::new(keeper.clone())).await?);
    let inbox = Inbox::load(shared.clone(), keeper.clone(), book.clone()).await?;
    let parts =
        Parts { options, config, shared, keeper, store, book, notifier, telemetry, wishes, inbox, finds, outbox };
    let curtailer = curtail::Curtailer::load(parts.shared.clone(), parts.keeper.clone()).await?;
    parts
        .assemble(engine, (silences, teller, curtailer), (finder, adopted), (valve, sending), listener, || {
            ready(address)
        })
        .await
}

async fn open_state(config: &Config, force_empty: bool) -> Result<(SledState, Option<String>), DaemonError> {
    let storage = &config.file.storage;
    let mut options = OpenOptions::new(&storage.path);
    options.cache_bytes = storage.cache_bytes;
    options.ballast_bytes = storage.ballast_bytes;
    options.force_empty = force_empty;
    let opened = tokio::task::spawn_blocking(move || SledState::open(options)).await;
    let (store, report) = opened.map_err(|_| DaemonError::Died("state"))??;
    if report.is_alarming() {
        tracing::error!("{report}");
        return Ok((store, Some(report.to_string())));
    }
    tracing::info!(path = %report.path.display(), keys = report.keys, revision = report.revision, "state opened");
    Ok((store, None))
}

fn limits(config: &Config) -> Limits {
    let limits = &config.file.limits;
    Limits {
        series_per_target: limits.series_per_target,
        series: limits.series,
        points_per_query: limits.samples_per_query,
    }
}

/// What earlier processes knew of targets, until the first poll says it anew.
async fn restore_targets(shared: &Shared, keeper: &Keeper) -> Result<(), DaemonError> {
    for (id, record) in keeper.targets().await? {
        let state =
            TargetState { up: record.up, since: record.since, identity: record.identity, ..TargetState::default() };
        shared.targets(|targets| targets.insert(id.into(), state));
    }
    Ok(())
}

/// Everything that is open before the first task starts.
struct Parts {
    options: Options,
    config: Arc<Config>,
    shared: Arc<Shared>,
    keeper: Keeper,
    store: Arc<SledState>,
    book: Arc<Book>,
    notifier: Arc<Notifier>,
    telemetry: Arc<Telemetry>,
    wishes: Wishes,
    outbox: Outbox,
    inbox: Arc<Inbox>,
    finds: Finds,
}

/// Tokens in the order in which the parts stop: shutdown follows the data.
struct Stops {
    polls: CancellationToken,
    rules: CancellationToken,
    runs: CancellationToken,
    rest: CancellationToken,
}

impl Parts {
    async fn assemble(
        self,
        engine: Engine,
        (silences, teller, curtailer): (SilenceKeeper, Teller, curtail::Curtailer),
        (finder, adopted): (Finder, Adopted),
        (valve, sending): (Valve, Work),
        listener: TcpListener,
        ready: impl FnOnce(),
    ) -> Result<(), DaemonError> {
        let (polled_in, polled) = mpsc::channel(OBSERVATION_QUEUE);
        let (transitions_in, transitions) = mpsc::channel(TRANSITION_QUEUE);
        let (configs_in, configs) = watch::channel(self.config.clone());
        let (plans_in, plans) = watch::channel(Arc::new(acting::plan(&self.config, None)));
        let (reloads_in, reloads) = mpsc::channel(1);
        let export = Arc::new(Notify::new());
        let descriptors = descriptors();
        let [polls, rules, runs, rest] = [(); 4].map(|()| CancellationToken::new());
        let stops = Stops { polls, rules, runs, rest };
        let mut control = Control {
            path: self.options.config.clone(),
            began: self.config.clone(),
            valve: Arc::new(valve),
            shared: self.shared.clone(),
            keeper: self.keeper.clone(),
            scheduler: Scheduler::new(polled_in, self.telemetry.clone(), concurrent_polls(descriptors)),
            configs: configs_in,
            plans: plans_in,
            reloads,
            export: export.clone(),
            notifier: self.notifier.clone(),
            loaded: self.config.clone(),
            adopted: adopted::Chooser::new(adopted),
            search: finder.wake.clone(),
        };
        control.start().await;
        let heard = transitions_in.clone();
        let (seen, written) = audit::writes();
        let evaluator = Evaluator::new(self.shared.clone(), self.keeper.clone(), transitions_in, engine);
        let (actor, runs) = self.actor(plans);
        let (porter, orders) = devices::Porter::new(self.shared.clone(), self.keeper.clone());
        let view = Arc::new(self.view(runs, reloads_in, seen, orders));
        let api = surface::surface(&view);
        let mut tasks = Tasks::default();
        tasks.spawn("intake", intake::intake(self.shared.clone(), self.keeper.clone(), polled));
        tasks.spawn("schedule", control.run(stops.polls.clone()));
        tasks.spawn("device logs", listening::run(self.shared.clone(), stops.polls.clone()));
        tasks.spawn("discovery", finder.run(configs.clone(), stops.polls.clone()));
        tasks.spawn("rules", evaluator.run(configs, stops.rules.clone()));
        tasks.spawn("webhooks", self.inbox.clone().run(heard, stops.rules.clone()));
        tasks.spawn("curtailments", curtailer.run(stops.runs.clone()));
        tasks.spawn("devices", porter.run(stops.runs.clone()));
        tasks.spawn("runs", actor.run(transitions, stops.runs.clone()));
        tasks.spawn("remote_write", sending.run(stops.rest.clone()));
        tasks.spawn("api", api::serve(listener, api, descriptors, stops.rest.clone()));
        tasks.spawn("self", intake::watch_ourselves(view, stops.rest.clone()));
        tasks.spawn("keep", self.keeper.clone().run(stops.rest.clone()));
        tasks.spawn("notify", teller.run(stops.rest.clone()));
        tasks.spawn("silences", silences.run(stops.rest.clone()));
        tasks.spawn("audit", self.keeper.auditor().run(written, stops.rest.clone()));
        tasks.spawn("export", export_state(self.store.clone(), export, stops.rest.clone()));
        tasks.spawn("history", history::run(self.shared.clone(), stops.rest.clone()));
        tasks.spawn("watchdog", watchdog(self.notifier.clone(), stops.rest.clone()));
        self.notifier.ready();
        ready();
        let outcome = self.wait(&mut tasks).await;
        self.shut_down(tasks, stops).await;
        outcome
    }

    /// Until somebody says stop, or a part dies.
    async fn wait(&self, tasks: &mut Tasks) -> Result<(), DaemonError> {
        tokio::select! {
            () = self.options.stop.cancelled() => Ok(()),
            () = terminated() => {
                tracing::info!("asked to stop");
                Ok(())
            }
            name = tasks.ended() => {
                tracing::error!(part = name, "a part of the daemon ended by itself");
                Err(DaemonError::Died(name))
            }
        }
    }

    /// Intake first, then what lives on it, then the store.
    async fn shut_down(self, mut tasks: Tasks, stops: Stops) {
        self.notifier.stopping();
        stops.polls.cancel();
        tasks.join(&["schedule", "intake", "discovery", "device logs"]).await;
        stops.rules.cancel();
        tasks.join(&["rules", "webhooks"]).await;
        stops.runs.cancel();
        tasks.join(&["runs", "devices", "curtailments"]).await;
        stops.rest.cancel();
        tasks.join_rest().await;
        let store = self.store.clone();
        let closed = tokio::task::spawn_blocking(move || {
            if let Err(error) = store.export_now() {
                tracing::warn!(%error, "cannot export the state at the end");
            }
            store.close();
        });
        let _ = closed.await;
        tracing::info!("stopped");
    }
}

async fn export_state(store: Arc<SledState>, wake: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified() => {}
        }
        let store = store.clone();
        match tokio::task::spawn_blocking(move || store.export_now()).await {
            Ok(Ok((path, _))) => tracing::info!(path = %path.display(), "state exported"),
            Ok(Err(error)) => tracing::error!(%error, "cannot export the state"),
            Err(error) => tracing::error!(%error, "cannot export the state"),
        }
    }
}
