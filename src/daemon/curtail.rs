//! Curtailment at work: asks every few seconds what should be, tells devices one after the other, and keeps on disk what it
//! changed, so that a restart or a kill loses nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::curtailed::{all_raised, spared};
use super::devices::{carry_out, find, note};
use super::eyes::Eyes;
use super::keep::Keeper;
use super::shared::Shared;
use crate::act::facts::World;
use crate::api::curtailments::{CurtailmentRow, Curtailments};
use crate::collect::command::{CommandError, Ready};
use crate::config::labels_of;
use crate::curtail::{Curtailment, Desire, Mode, Move, Record, Trial, next};
use crate::schedule::poll::unix_millis;
use crate::store::state::{Op, StoreError};

const PREFIX: &str = "curtail/";
/// How often it is asked what should be.
const LOOK: Duration = Duration::from_secs(2);
/// How long a device has to show that it has done it.
const WITHIN: Duration = Duration::from_secs(120);
/// How often it is looked at what curtailed devices draw.
const METERS: Duration = Duration::from_secs(10);

/// A curtailment's name and a target: what one learns of a device is nothing to another.
type Pair = (String, String);

/// Keeps devices curtailed while they should be.
pub(super) struct Curtailer {
    shared: Arc<Shared>,
    keeper: Keeper,
    records: BTreeMap<String, Record>,
    trials: BTreeMap<Pair, Trial>,
    /// What check mode has said since it was last over.
    rehearsed: BTreeSet<Pair>,
    desires: BTreeMap<String, Desire>,
    /// Targets that draw more since they were told.
    raised: BTreeSet<String>,
    metered: Option<Instant>,
    /// By target: which curtailment is at work on it.
    working: BTreeMap<String, String>,
    started: BTreeMap<String, Instant>,
    work: JoinSet<(String, Came)>,
}

/// What came of one device.
enum Came {
    /// It was told; what is on record of it.
    Curtailed(Record),
    /// It was so already, or cannot be brought back.
    LeftAlone(String),
    /// It is as it was.
    Restored,
    /// Nothing changed, or nobody knows; what is on record stays.
    Failed(Option<Record>, String),
}

impl Curtailer {
    /// With what earlier processes changed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn load(shared: Arc<Shared>, keeper: Keeper) -> Result<Curtailer, StoreError> {
        let records: BTreeMap<String, Record> = keeper.read(PREFIX).await?.into_iter().collect();
        let (trials, rehearsed, desires, raised, metered) = Default::default();
        let (working, started, work) = Default::default();
        Ok(Curtailer { shared, keeper, records, trials, rehearsed, desires, raised, metered, working, started, work })
    }

    /// Works until `stop`. What is under way then is looked at again by the next process.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => self.round().await,
                Some(ended) = self.work.join_next(), if !self.work.is_empty() => match ended {
                    Ok((target, came)) => self.came(target, came),
                    Err(error) => tracing::error!(%error, "a curtailment's work panicked"),
                },
            }
            self.show();
        }
    }

    async fn round(&mut self) {
        let config = self.shared.config.get();
        let now = unix_millis();
        self.forget(&config);
        self.look_at_meters().await;
        for curtailment in &config.curtailments {
            let said = self.said(curtailment, now).await;
            let name = curtailment.entry.name.clone();
            let wanted = self.desires.entry(name).or_default().hear(said, now, curtailment.hold);
            for job in config.jobs.iter().filter(|job| curtailment.selects(&labels_of(&job.target))) {
                self.consider(&job.target.id, curtailment, wanted, now).await;
            }
        }
        self.strays(&config, now);
    }

    /// What is remembered of curtailments and targets that are gone.
    fn forget(&mut self, config: &crate::config::Config) {
        let named: BTreeSet<&str> = config.curtailments.iter().map(|known| &*known.entry.name).collect();
        let known: BTreeSet<&str> = config.jobs.iter().map(|job| &*job.target.id).collect();
        let records = &self.records;
        // What is on record is brought back with patience, even by a curtailment that is gone.
        let keeps = |(name, target): &Pair| {
            known.contains(&**target) && (named.contains(&**name) || records.contains_key(target))
        };
        self.trials.retain(|pair, _| keeps(pair));
        self.rehearsed.retain(|pair| keeps(pair));
        self.raised.retain(|target| records.contains_key(target));
        self.desires.retain(|name, _| named.contains(&**name));
    }

    /// Whether one that was told draws more since: it is brought back, and left until the curtailment is over.
    async fn look_at_meters(&mut self) {
        if self.metered.is_some_and(|at| at.elapsed() < METERS) {
            return;
        }
        self.metered = Some(Instant::now());
        for (target, why) in all_raised(&self.shared, &self.records).await {
            let Some(record) = self.records.get(&target).filter(|_| !self.raised.contains(&target)) else { continue };
            let facts = json!({ "action": record.action, "why": why });
            let (auditor, by) = (self.keeper.auditor(), who(&record.curtailment));
            if let Err(error) = note(&auditor, &by, "curtailment.raised", &target, facts).await {
                tracing::error!(target, %error, "that a curtailment raised a load is not in the audit log");
            }
            tracing::warn!(target, curtailment = record.curtailment, action = record.action, why, "it is undone");
            self.raised.insert(target);
        }
    }

    /// Whether it should be so now; `None` without data.
    async fn said(&self, curtailment: &Curtailment, now: i64) -> Option<bool> {
        let entry = &curtailment.entry;
        if entry.mode == Mode::Off {
            return Some(false);
        }
        let windows = &self.shared.config.get().windows;
        let open = entry.windows.is_empty() || entry.windows.iter().any(|name| windows.is_open(name, now));
        match &entry.condition {
            None => Some(open),
            Some(expression) => Eyes(self.shared.clone()).holds(expression).await.map(|holds| holds && open),
        }
    }

    /// One selected target.
    async fn consider(&mut self, target: &str, curtailment: &Curtailment, wanted: Option<bool>, now: i64) {
        let entry = &curtailment.entry;
        let pair = (entry.name.clone(), target.to_string());
        if wanted == Some(false) {
            self.rehearsed.remove(&pair);
        }
        let said = self.rehearsed.contains(&pair);
        let trial = self.trials.entry(pair).or_default();
        if wanted == Some(false) {
            trial.left_alone = false;
        }
        let trial = *trial;
        let record = self.records.get(target);
        if self.working.contains_key(target) || record.is_some_and(|record| record.curtailment != entry.name) {
            return;
        }
        let wanted = if self.raised.contains(target) { Some(false) } else { wanted };
        let todo = next(wanted, true, record, &trial, now);
        if todo == Move::Curtail && entry.mode == Mode::Check {
            if !said {
                self.rehearse(target, entry).await;
            }
        } else if todo != Move::Stay && self.may_start(&entry.name, entry.max_concurrent, entry.stagger) {
            self.start(target, &entry.name, &entry.action, todo);
        }
    }

    /// In check mode: says once what it would do.
    async fn rehearse(&mut self, target: &str, entry: &crate::curtail::Entry) {
        self.rehearsed.insert((entry.name.clone(), target.to_string()));
        let facts = json!({ "would": entry.action });
        let (auditor, who) = (self.keeper.auditor(), who(&entry.name));
        if let Err(error) = note(&auditor, &who, "curtailment.check", target, facts).await {
            tracing::error!(target, %error, "a curtailment in check mode is not in the audit log");
        }
        tracing::info!(target, curtailment = entry.name, action = entry.action, "check mode: it would be curtailed");
    }

    /// What is on record of a curtailment or a target that is no longer meant is brought back.
    fn strays(&mut self, config: &crate::config::Config, now: i64) {
        let meant = |target: &str, record: &Record| {
            let named = config.curtailments.iter().find(|known| known.entry.name == record.curtailment);
            let job = config.jobs.iter().find(|job| *job.target.id == *target);
            named
                .zip(job)
                .is_some_and(|(known, job)| known.entry.mode == Mode::Auto && known.selects(&labels_of(&job.target)))
        };
        let known = |target: &str| config.jobs.iter().any(|job| *job.target.id == *target);
        let strays = self.records.iter().filter(|(target, record)| known(target) && !meant(target, record));
        let strays: Vec<(String, Record)> = strays.map(|(target, record)| (target.clone(), record.clone())).collect();
        for (target, record) in strays {
            let pair = (record.curtailment.clone(), target.clone());
            let trial = self.trials.get(&pair).copied().unwrap_or_default();
            let todo = next(None, false, Some(&record), &trial, now);
            let free = !self.working.contains_key(&target);
            if free && todo == Move::Restore && self.may_start(&record.curtailment, 1, LOOK) {
                self.start(&target, &record.curtailment, &record.action, todo);
            }
        }
    }

    /// The blast radius: so many at one time, and not all at one moment.
    fn may_start(&mut self, name: &str, most: u32, stagger: Duration) -> bool {
        let under_way = self.working.values().filter(|by| *by == name).count();
        let soon = self.started.get(name).is_some_and(|at| at.elapsed() < stagger);
        under_way < most as usize && !soon
    }

    fn start(&mut self, target: &str, name: &str, action: &str, todo: Move) {
        self.working.insert(target.to_string(), name.to_string());
        self.started.insert(name.to_string(), Instant::now());
        let (shared, keeper, record) = (self.shared.clone(), self.keeper.clone(), self.records.get(target).cloned());
        let (target, name, action) = (target.to_string(), name.to_string(), action.to_string());
        self.work.spawn(async move {
            let came = match (todo, record) {
                (Move::Restore, Some(record)) => restore(&shared, &keeper, &target, record).await,
                (_, record) => curtail(&shared, &keeper, (&target, &name, &action), record).await,
            };
            (target, came)
        });
    }

    fn came(&mut self, target: String, came: Came) {
        let name = self.working.remove(&target).unwrap_or_default();
        let trial = self.trials.entry((name.clone(), target.clone())).or_default();
        trial.failed_at = None;
        let result = match came {
            Came::Curtailed(record) => {
                self.records.insert(target, record);
                "curtailed"
            }
            Came::Restored => {
                trial.left_alone = self.raised.remove(&target);
                self.records.remove(&target);
                "restored"
            }
            Came::LeftAlone(why) => {
                trial.left_alone = true;
                tracing::info!(target, curtailment = name, why, "left alone");
                "left_alone"
            }
            Came::Failed(record, why) => {
                trial.failed_at = Some(unix_millis());
                tracing::warn!(target, curtailment = name, why, "not as it should be; tried again later");
                match record {
                    Some(record) => self.records.insert(target, record),
                    None => self.records.remove(&target),
                };
                "failed"
            }
        };
        let labels = vec![("curtailment", name), ("result", result.to_string())];
        self.shared.telemetry.curtailments.actions.get_or_create(&labels).inc();
    }

    /// For the page, the API and the metrics.
    fn show(&self) {
        let config = self.shared.config.get();
        let mut rows = Vec::new();
        for curtailment in &config.curtailments {
            let name = &curtailment.entry.name;
            let targets: Vec<String> = self
                .records
                .iter()
                .filter(|(_, record)| record.curtailment == *name)
                .map(|(id, _)| id.clone())
                .collect();
            let wanted = self.desires.get(name).and_then(Desire::settled);
            let labels = vec![("curtailment", name.clone())];
            self.shared.telemetry.curtailments.targets.get_or_create(&labels).set(targets.len() as f64);
            let (name, action, mode) = (name.clone(), curtailment.entry.action.clone(), curtailment.entry.mode);
            rows.push(CurtailmentRow { name, action, mode, wanted, targets });
        }
        let lines: Vec<String> = rows.iter().filter(|row| !row.targets.is_empty()).map(ToString::to_string).collect();
        self.shared.notice("curtailment", (!lines.is_empty()).then(|| lines.join("; ")));
        self.shared.curtailed.set(Arc::new(rows));
    }
}

fn who(name: &str) -> String {
    format!("curtailment {name}")
}

async fn put(keeper: &Keeper, target: &str, record: &Record) -> Result<(), StoreError> {
    let value = serde_json::to_vec(record).unwrap_or_default();
    keeper.write(&[Op::Put { key: format!("{PREFIX}{target}"), value }]).await
}

async fn remove(keeper: &Keeper, target: &str) -> Result<(), StoreError> {
    keeper.write(&[Op::Delete { key: format!("{PREFIX}{target}") }]).await
}

/// Tells a device. `known` is on record when an earlier try may or may not have reached it; what undoes it is kept.
async fn curtail(
    shared: &Shared,
    keeper: &Keeper,
    (target, name, action): (&str, &str, &str),
    known: Option<Record>,
) -> Came {
    let (until, fresh) = (Instant::now() + WITHIN, known.is_none());
    let Some(_held) = shared.busy.hold(target) else {
        return Came::Failed(known, "something else is at work on it".to_string());
    };
    let asked = async {
        let (found, call) = find(shared, target, action).map_err(|fault| CommandError::Refused(fault.to_string()))?;
        let plan = call.plan(&found)?;
        Ok::<_, CommandError>((Ready::ask(found, plan, until).await?, call))
    };
    let (ready, call) = match asked.await {
        Ok(asked) => asked,
        Err(error) => return Came::Failed(known, error.to_string()),
    };
    let mut record = match known {
        Some(known) => known,
        None if ready.is_done() => return Came::LeftAlone("it already is so".to_string()),
        None => {
            let Some(undo) = ready.undo(&call) else {
                let before = ready.before().unwrap_or_else(|| "it does not say how it stands".to_string());
                return Came::LeftAlone(format!("no command could bring it back to how it stands: {before}"));
            };
            let before = ready.before();
            if let Some(why) = spared(&call, before.as_deref(), &ready) {
                return Came::LeftAlone(why);
            }
            let (curtailment, action, watts) = (name.to_string(), action.to_string(), ready.watts());
            Record { curtailment, action, undo, before, watts, at: unix_millis(), confirmed: false }
        }
    };
    if let Err(error) = put(keeper, target, &record).await {
        // What stands on record from an earlier try still stands there.
        let known = (!fresh).then_some(record);
        return Came::Failed(known, format!("it cannot be put on record, so nothing was sent: {error}"));
    }
    let told = carry_out(&keeper.auditor(), (ready, &call), (target, &who(name), until)).await;
    match told {
        Ok(_) => {
            record.confirmed = true;
            match put(keeper, target, &record).await {
                Ok(()) => Came::Curtailed(record),
                // It is done; that it is will be found out again.
                Err(error) => Came::Failed(Some(Record { confirmed: false, ..record }), error.to_string()),
            }
        }
        // Nothing was done, now or ever, so there is nothing to bring back.
        Err(CommandError::Refused(why)) if fresh => match remove(keeper, target).await {
            Ok(()) => Came::Failed(None, why),
            Err(error) => Came::Failed(Some(record), format!("{why}; {error}")),
        },
        Err(error) => Came::Failed(Some(record), error.to_string()),
    }
}

/// Brings back what is on record.
async fn restore(shared: &Shared, keeper: &Keeper, target: &str, record: Record) -> Came {
    let until = Instant::now() + WITHIN;
    let Some(_held) = shared.busy.hold(target) else {
        return Came::Failed(Some(record), "something else is at work on it".to_string());
    };
    let done = async {
        let (found, call) =
            find(shared, target, &record.undo).map_err(|fault| CommandError::Refused(fault.to_string()))?;
        let ready = Ready::ask(found.clone(), call.plan(&found)?, until).await?;
        carry_out(&keeper.auditor(), (ready, &call), (target, &who(&record.curtailment), until)).await
    };
    if let Err(error) = done.await {
        return Came::Failed(Some(record), error.to_string());
    }
    match remove(keeper, target).await {
        Ok(()) => Came::Restored,
        Err(error) => Came::Failed(Some(record), error.to_string()),
    }
}

impl Curtailments for super::world::View {
    fn curtailments(&self) -> Arc<Vec<CurtailmentRow>> {
        self.shared.curtailed.get()
    }
}
