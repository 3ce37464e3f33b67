//! The control task: owns the scheduler, loads the configuration anew, listens to signals.
//!
//! A reload is all or nothing: everything is read, checked and opened first; only then is anything swapped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::acting;
use super::adopted::Chooser;
use super::keep::Keeper;
use super::limits;
use super::notify::Notifier;
use super::sending;
use super::shared::{Shared, TargetState};
use super::world::ReloadRequest;
use crate::act::reload::Plan;
use crate::collect::kind;
use crate::config::Config;
use crate::dashboards;
use crate::model::TargetId;
use crate::schedule::calendar::{Entry, REVIEW_EVERY};
use crate::schedule::poll::unix_millis;
use crate::schedule::{Difference, Scheduler};
use crate::sink::{Prepared, Valve};

/// How long polls under way may take at shutdown.
const POLL_GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// How soon after a target has said who it is that is looked at: after a start many do so at once.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Owns what a reload changes.
pub(super) struct Control {
    pub(super) path: PathBuf,
    /// The configuration that the process began with: some of it holds until its end.
    pub(super) began: Arc<Config>,
    pub(super) valve: Arc<Valve>,
    pub(super) shared: Arc<Shared>,
    pub(super) keeper: Keeper,
    pub(super) scheduler: Scheduler,
    pub(super) configs: watch::Sender<Arc<Config>>,
    pub(super) plans: watch::Sender<Arc<Plan>>,
    pub(super) reloads: mpsc::Receiver<ReloadRequest>,
    pub(super) export: Arc<Notify>,
    pub(super) notifier: Arc<Notifier>,
    /// The configuration as it was read, without what is polled by its side.
    pub(super) loaded: Arc<Config>,
    /// Devices that were found and adopted.
    pub(super) adopted: Chooser,
    /// Begins a search, by the calendar.
    pub(super) search: Arc<Notify>,
}

impl Control {
    /// Starts everything that the configuration names.
    pub(super) async fn start(&mut self) {
        let config = self.complete().await;
        self.shared.config.set(config.clone());
        let difference = self.apply(&config).await;
        self.notifier.status(&format!("polling {} targets", difference.started.len()));
        self.mark(true);
    }

    /// Works until `stop`; then no poll begins any more, and those under way get their grace.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut review = tokio::time::interval(REVIEW_EVERY);
        let mut look_again = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = heard(&mut hangup) => {
                    let _ = self.reload().await;
                }
                Some(answer) = self.reloads.recv() => {
                    let outcome = self.reload().await;
                    // Who asked may have gone away.
                    let _ = answer.send(outcome);
                }
                Ok(()) = self.adopted.found.changed() => self.adopt().await,
                () = self.shared.identified.notified(), if look_again.is_none() => {
                    look_again = Some(Instant::now() + LOOK_AGAIN);
                }
                () = tokio::time::sleep_until(look_again.unwrap_or_else(Instant::now)), if look_again.is_some() => {
                    look_again = None;
                    self.look_again().await;
                }
                _ = review.tick() => self.scheduler.review().await,
            }
        }
        self.scheduler.stop(POLL_GRACE).await;
    }

    /// The configuration with the adopted devices.
    async fn complete(&mut self) -> Arc<Config> {
        self.adopted.complete(&self.loaded, &self.shared).await
    }

    /// A configured target may have said that it is an adopted device, which must not be polled twice.
    async fn look_again(&mut self) {
        if self.adopted.differs(&self.loaded, &self.shared).await {
            self.adopt().await;
        }
    }

    /// Polls devices that were adopted or have moved, and no longer those that were removed.
    async fn adopt(&mut self) {
        let config = self.complete().await;
        self.shared.config.set(config.clone());
        let Difference { started, stopped, .. } = self.apply(&config).await;
        tracing::info!(started = started.len(), stopped = stopped.len(), "devices that were found");
    }

    async fn reload(&mut self) -> Result<String, String> {
        self.notifier.reloading();
        let outcome = match loaded(&self.path).await {
            Ok(config) => match sending::prepare(&self.valve, &self.loaded, &config).await {
                Ok(receivers) => {
                    let summary = self.swap(config, receivers).await;
                    self.notifier.status(&summary);
                    Ok(summary)
                }
                Err(error) => Err(error),
            },
            Err(mistakes) => Err(mistakes),
        };
        match &outcome {
            Ok(summary) => tracing::info!(summary, "configuration loaded anew"),
            Err(mistakes) => {
                tracing::error!("the configuration was not loaded; the old one stays in force:\n{mistakes}")
            }
        }
        self.mark(outcome.is_ok());
        let notice = outcome.as_ref().err();
        self.shared.notice(
            "reload",
            notice.map(|text| format!("The last reload failed; the old configuration stays in force.\n{text}")),
        );
        self.notifier.ready();
        outcome
    }

    async fn swap(&mut self, config: Arc<Config>, receivers: Option<Prepared>) -> String {
        let before = std::mem::replace(&mut self.loaded, config.clone());
        let fixed = fixed(&self.began, &config);
        if let Some(receivers) = receivers {
            self.valve.switch(receivers);
        }
        self.shared.intake.configure(config.file.ingest.remote_write.clone());
        // Of kinds that the reload takes away.
        self.shared.telemetry.series.clear();
        let full = self.complete().await;
        self.shared.config.set(full.clone());
        let difference = self.apply(&full).await;
        let _ = self.configs.send(config.clone());
        let plan = acting::plan(&config, Some((&before, &self.plans.borrow())));
        let _ = self.plans.send(Arc::new(plan));
        let mut summary = format!(
            "{} target(s) started, {} stopped, {} kept; {} rule group(s), {} remediation(s)",
            difference.started.len(),
            difference.stopped.len(),
            difference.kept,
            config.groups.len(),
            config.act.bindings.len()
        );
        let waiting = (!fixed.is_empty()).then(|| format!("changes of {} need a restart", fixed.join(", ")));
        if let Some(waiting) = &waiting {
            tracing::warn!("{waiting}: they are not in force yet");
            summary.push_str(&format!("; {waiting}"));
        }
        self.shared.notice("restart", waiting.map(|text| format!("Not all of the configuration is in force: {text}.")));
        summary
    }

    /// Brings targets, calendar and dashboards in line with a configuration.
    async fn apply(&mut self, config: &Config) -> Difference {
        let ids: BTreeSet<TargetId> = config.jobs.iter().map(|job| job.target.id.clone()).collect();
        for job in &config.jobs {
            let subject = kind(&job.target.kind).map_or("target", |kind| kind.subject);
            self.shared.recent.declare(&job.target, subject);
        }
        let gone = self.shared.targets(|targets| {
            let gone: Vec<TargetId> = targets.keys().filter(|id| !ids.contains(*id)).cloned().collect();
            targets.retain(|id, _| ids.contains(id));
            for id in &ids {
                targets.entry(id.clone()).or_insert_with(TargetState::default);
            }
            gone
        });
        let difference = self.scheduler.apply(config.jobs.clone()).await;
        // Only now: a poll of a removed target that was under way must not bring it back.
        for id in gone {
            self.shared.sink.offer(self.shared.recent.farewell(&id, unix_millis())).await;
            self.shared.recent.forget(&id);
            self.keeper.forget_target(&id);
            self.shared.forget_offender(&id);
        }
        let expression = config.file.storage.export.clone();
        let entry =
            Entry { id: "state export".into(), expression, zone: chrono_tz::Tz::UTC, wake: self.export.clone() };
        let search = config.file.discovery.cron.clone().filter(|_| !config.discovery.plan.is_empty());
        let search = search.map(|expression| Entry {
            id: "discovery".into(),
            expression,
            zone: chrono_tz::Tz::UTC,
            wake: self.search.clone(),
        });
        self.scheduler.apply_daemon_jobs(std::iter::once(entry).chain(search).collect()).await;
        self.draw(config).await;
        difference
    }

    async fn draw(&self, config: &Config) {
        if !config.file.dashboards.enabled {
            return;
        }
        let (files, folder) = (drawings(config), config.resolve(&config.file.dashboards.path));
        let written = tokio::task::spawn_blocking(move || dashboards::write(&folder, &files)).await;
        let outcome =
            written.map_err(|error| error.to_string()).and_then(|done| done.map_err(|error| error.to_string()));
        match &outcome {
            Ok(done) => {
                self.shared.telemetry.dashboards_written.get_or_create(&Vec::new()).inc_by(done.written.len() as u64);
                tracing::info!(written = done.written.len(), unchanged = done.unchanged.len(), "dashboards");
            }
            Err(error) => tracing::error!(error, "cannot write dashboards"),
        }
        self.shared.notice("dashboards", outcome.err().map(|error| format!("Dashboards cannot be written: {error}")));
    }

    fn mark(&self, success: bool) {
        let telemetry = &self.shared.telemetry;
        telemetry.reload_successful.get_or_create(&Vec::new()).set(f64::from(u8::from(success)));
        if success {
            let now = unix_millis() as f64 / 1000.0;
            telemetry.reload_timestamp.get_or_create(&Vec::new()).set(now);
        }
    }
}

/// What of a configuration is not that of the beginning, and cannot be taken over while the process runs.
fn fixed(began: &Config, config: &Config) -> Vec<&'static str> {
    let (old, new) = (&began.file, &config.file);
    let changed = [
        ("server", old.server != new.server),
        ("log", format!("{:?}", old.log) != format!("{:?}", new.log)),
        // `storage.export` is taken over.
        ("storage.path", old.storage.path != new.storage.path),
        ("storage.cache_bytes", old.storage.cache_bytes != new.storage.cache_bytes),
        ("limits", limits(began) != limits(config)),
        ("history", old.history != new.history),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// The dashboards of a configuration.
pub fn drawings(config: &Config) -> Vec<dashboards::File> {
    let mut facts = dashboards::Facts::default();
    for name in config.jobs.iter().map(|job| &job.target.kind).collect::<BTreeSet<_>>() {
        let intervals = config.jobs.iter().filter(|job| job.target.kind == *name).map(|job| job.target.interval);
        if let (Some(kind), Some(longest)) = (kind(name), intervals.max()) {
            facts.add_kind(kind, longest);
        }
    }
    facts.thresholds = super::thresholds::of_rules(&config.groups);
    dashboards::all(&config.file.dashboards, &facts)
}

/// A configuration read and checked, or its mistakes in words.
pub(super) async fn loaded(path: &Path) -> Result<Arc<Config>, String> {
    let path = path.to_path_buf();
    let read = tokio::task::spawn_blocking(move || Config::load(&path)).await.map_err(|error| error.to_string())?;
    read.map_err(|mistakes| mistakes.to_string())
}

/// Waits for a signal; for ever where it cannot be had.
pub(super) async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            if signal.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}
