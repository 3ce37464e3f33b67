//! When to poll: one task per target, each on its own grid in time.
//!
//! The scheduler knows no store; it holds a sender. A target is never polled twice at once; a poll that hangs, panics
//! or floods ends at the target's own timeout and harms nobody else.

pub mod about;
pub mod calendar;
pub mod energy;
pub mod poll;
pub mod rhythm;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::collect::Collector;
use crate::model::{FailureReason, Observation, Sample, Target, TargetId};
use crate::telemetry::Telemetry;

/// Most polls under way at once. More would not be faster on two cores, and each costs a descriptor and a buffer.
pub const CONCURRENT_POLLS: usize = 512;

/// Descriptors that polls leave to the rest: the state, the HTTP surface, a playbook.
const RESERVED_DESCRIPTORS: u64 = 40;

/// Polls under way at once where only `descriptors` files may be open: a poll may need two of them (a name to resolve).
pub fn concurrent_polls(descriptors: u64) -> usize {
    let spare = descriptors.saturating_sub(RESERVED_DESCRIPTORS) / 2;
    usize::try_from(spare).unwrap_or(CONCURRENT_POLLS).clamp(4, CONCURRENT_POLLS)
}

/// Observations that wait for the store. When it is full, polls wait: a late poll is better than a lost one.
pub const OBSERVATION_QUEUE: usize = 1024;

/// A new target is first polled within this time, before it enters its grid: nobody waits five minutes to see whether
/// a new entry in the configuration works.
const FIRST_POLL_WITHIN: Duration = Duration::from_secs(3);

/// A target with its open collector.
#[derive(Clone)]
pub struct Job {
    /// What to poll.
    pub target: Arc<Target>,
    /// How.
    pub collector: Arc<dyn Collector>,
}

/// What comes out of a poll.
#[derive(Debug)]
pub struct Polled {
    /// What the target said.
    pub observation: Observation,
    /// What the scheduler says of it: complete samples, see [`about`].
    pub about: Vec<Sample>,
}

/// Which targets appeared, changed or went with a call of [`Scheduler::apply`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// New ones and changed ones: they start anew.
    pub started: Vec<TargetId>,
    /// Gone ones (not the changed).
    pub stopped: Vec<TargetId>,
    /// Untouched: they keep phase and state.
    pub kept: usize,
}

/// Polls all targets. Dropping it stops all polls.
pub struct Scheduler {
    shared: Arc<Shared>,
    running: HashMap<TargetId, Running>,
    tasks: JoinSet<()>,
    calendar: calendar::Calendar,
}

/// What all workers have in common.
struct Shared {
    out: mpsc::Sender<Polled>,
    telemetry: Arc<Telemetry>,
    gate: Semaphore,
    epoch: Instant,
}

struct Running {
    target: Arc<Target>,
    /// A poll under way when the target is stopped is dropped with its connection.
    stop: AbortHandle,
    /// Wakes a target that is polled by the calendar.
    now: Option<Arc<Notify>>,
}

impl Scheduler {
    /// A scheduler without targets, sending to `out`, with at most `polls` under way at once.
    pub fn new(out: mpsc::Sender<Polled>, telemetry: Arc<Telemetry>, polls: usize) -> Self {
        Scheduler {
            running: HashMap::new(),
            tasks: JoinSet::new(),
            calendar: calendar::Calendar::new(telemetry.clone()),
            shared: Arc::new(Shared { out, telemetry, gate: Semaphore::new(polls), epoch: Instant::now() }),
        }
    }

    /// Takes over a new set of targets, by difference: unchanged ones are not touched.
    pub async fn apply(&mut self, jobs: Vec<Job>) -> Difference {
        let mut difference = Difference::default();
        let mut old = std::mem::take(&mut self.running);
        for job in jobs {
            match old.remove(&job.target.id) {
                Some(running) if running.target == job.target => {
                    difference.kept += 1;
                    self.running.insert(job.target.id.clone(), running);
                }
                changed => {
                    if let Some(running) = changed {
                        running.stop.abort();
                    }
                    difference.started.push(job.target.id.clone());
                    self.start(job);
                }
            }
        }
        for (id, running) in old {
            running.stop.abort();
            difference.stopped.push(id);
        }
        difference.started.sort();
        difference.stopped.sort();
        let cron = |running: &Running| {
            let (expression, zone) = running.target.cron.clone()?;
            let (id, now) = (running.target.id.to_string(), running.now.clone()?);
            Some(calendar::Entry { id: format!("poll {id}"), expression, zone, wake: now })
        };
        self.calendar.apply("poll", self.running.values().filter_map(cron).collect()).await;
        difference
    }

    /// Adds jobs of the daemon itself to the calendar.
    pub async fn apply_daemon_jobs(&mut self, entries: Vec<calendar::Entry>) {
        self.calendar.apply("daemon", entries).await;
    }

    /// One look over everything that should run by itself: tasks that ended by a panic outside of a poll are counted,
    /// calendar jobs are renewed where needed. To be called every [`calendar::REVIEW_EVERY`].
    pub async fn review(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                self.shared.telemetry.count_panic("schedule");
            }
        }
        self.calendar.review(chrono::Utc::now()).await;
    }

    /// Stops polling and waits for polls under way, at most `grace`.
    pub async fn stop(mut self, grace: Duration) {
        for running in self.running.values() {
            running.stop.abort();
        }
        self.calendar.stop().await;
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(grace, drained).await;
    }

    fn start(&mut self, job: Job) {
        let (id, target) = (job.target.id.clone(), job.target.clone());
        let now = target.cron.is_some().then(Arc::default);
        let worker = Worker {
            about: about::About::new(&target),
            meter: energy::Meter::default(),
            job,
            now: now.clone(),
            shared: self.shared.clone(),
            failures: 0,
            last_result: None,
        };
        let stop = self.tasks.spawn(worker.run());
        self.running.insert(id, Running { target, stop, now });
    }
}

/// What polls one target. There may be ten thousand, nearly all of them asleep, so what a poll needs is not in here.
struct Worker {
    job: Job,
    about: about::About,
    meter: energy::Meter,
    now: Option<Arc<Notify>>,
    shared: Arc<Shared>,
    failures: u32,
    last_result: Option<Option<FailureReason>>,
}

impl Worker {
    async fn run(mut self) {
        let target = &self.job.target;
        let mut wait = rhythm::phase(&target.id, target.interval.min(FIRST_POLL_WITHIN));
        loop {
            match &self.now {
                Some(now) => now.notified().await,
                None => tokio::time::sleep(wait).await,
            }
            match Box::pin(self.once()).await {
                Some(next) => wait = next,
                None => return,
            }
        }
    }

    /// Polls once; says how long to wait for the next time, or `None` when nobody wants to know any more.
    async fn once(&mut self) -> Option<Duration> {
        let permit = self.shared.gate.acquire().await.ok()?;
        let observation = poll::poll(&self.job.target, &self.job.collector).await;
        drop(permit);
        let asked_to_wait = observation.outcome.as_ref().err().and_then(|failure| failure.retry_after);
        if !self.report(observation).await {
            return None;
        }
        let target = &self.job.target;
        let extra = rhythm::back_off(&target.id, target.interval, self.failures);
        let extra = extra.max(asked_to_wait.unwrap_or_default().min(LONGEST_RETRY_AFTER));
        let phase = rhythm::phase(&target.id, target.interval);
        Some(extra + rhythm::until_next(self.shared.epoch.elapsed() + extra, target.interval, phase))
    }

    async fn report(&mut self, mut observation: Observation) -> bool {
        let about = self.about.enter(&observation);
        let kind = || ("kind", self.job.target.kind.to_string());
        self.shared.telemetry.poll_duration.get_or_create(&vec![kind()]).observe(observation.took.as_secs_f64());
        match &mut observation.outcome {
            Ok(reading) => {
                self.failures = 0;
                self.meter.enter(observation.at, reading);
                for (family, count) in &reading.rejected {
                    let labels = vec![kind(), ("family", family.clone())];
                    self.shared.telemetry.values_rejected.get_or_create(&labels).inc_by(*count);
                }
            }
            Err(failure) => {
                self.failures = self.failures.saturating_add(1);
                self.meter.lost();
                if failure.reason == FailureReason::Bug {
                    self.shared.telemetry.count_panic("poll");
                }
            }
        }
        self.log_change(&observation);
        self.shared.out.send(Polled { observation, about }).await.is_ok()
    }

    /// Logs when the result changes, not each time: a dead farm must not fill the journal.
    fn log_change(&mut self, observation: &Observation) {
        let result = observation.outcome.as_ref().err().map(|failure| failure.reason);
        if self.last_result == Some(result) {
            return;
        }
        let (target, kind) = (&*self.job.target.id, &*self.job.target.kind);
        match &observation.outcome {
            Ok(reading) => tracing::info!(target, kind, samples = reading.samples.len(), "target is up"),
            Err(failure) => {
                tracing::warn!(target, kind, reason = failure.reason.as_str(), detail = failure.detail, "poll failed");
            }
        }
        self.last_result = Some(result);
    }
}

/// `Retry-After` is obeyed up to here; a hostile answer must not silence a target for a year.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::{ParseError, Reply};
    use crate::model::{Labels, PollFailure, Reading};
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers, hangs or panics, and counts how many of its polls are under way at once.
    struct Odd {
        mode: &'static str,
        under_way: AtomicUsize,
    }

    impl Collector for Odd {
        fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
            async {
                assert_eq!(self.under_way.fetch_add(1, Ordering::SeqCst), 0, "polled twice at once");
                let mode = self.mode;
                if mode == "panics" {
                    self.under_way.store(0, Ordering::SeqCst);
                    panic!("boom");
                }
                if mode == "hangs" {
                    self.under_way.store(0, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                self.under_way.store(0, Ordering::SeqCst);
                Ok(Vec::new())
            }
            .boxed()
        }

        fn parse(&self, _: &[Reply]) -> Result<Reading, ParseError> {
            Ok(Reading::default())
        }
    }

    fn job(id: &str, mode: &'static str, interval: u64) -> Job {
        let interval = Duration::from_secs(interval);
        let target = Target {
            id: id.into(),
            kind: "odd".into(),
            address: String::new(),
            interval,
            timeout: interval / 2,
            cron: None,
            labels: Labels::empty(),
            options: serde_json::Value::Null,
        };
        Job { target: Arc::new(target), collector: Arc::new(Odd { mode, under_way: AtomicUsize::new(0) }) }
    }

    async fn polls(out: &mut mpsc::Receiver<Polled>, seconds: u64) -> HashMap<(String, &'static str), usize> {
        let mut counts = HashMap::new();
        let end = Instant::now() + Duration::from_secs(seconds);
        while let Ok(Some(polled)) = tokio::time::timeout_at(end, out.recv()).await {
            let result = polled.observation.outcome.as_ref().map_or_else(|failure| failure.reason.as_str(), |_| "ok");
            *counts.entry((polled.observation.target.to_string(), result)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn polls_leave_descriptors_to_the_rest() {
        assert_eq!([32, 64, 1024, 65_536].map(concurrent_polls), [4, 12, 492, 512]);
    }

    #[tokio::test(start_paused = true)]
    async fn neighbours_that_hang_or_panic_harm_nobody() {
        let (out, mut polled) = mpsc::channel(OBSERVATION_QUEUE);
        let telemetry = Telemetry::new();
        let mut scheduler = Scheduler::new(out, telemetry.clone(), CONCURRENT_POLLS);
        scheduler.apply(vec![job("good", "ok", 5), job("slow", "hangs", 5), job("bad", "panics", 5)]).await;
        let counts = polls(&mut polled, 100).await;
        assert!((19..=21).contains(&counts[&("good".into(), "ok")]), "{counts:?}");
        assert!((3..=10).contains(&counts[&("slow".into(), "timeout")]), "backs off: {counts:?}");
        assert!((3..=10).contains(&counts[&("bad".into(), "bug")]), "backs off: {counts:?}");
        assert!(telemetry.encode().contains("davylamp_panics_total{task=\"poll\"}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_touches_only_what_changed() {
        let (out, mut polled) = mpsc::channel(OBSERVATION_QUEUE);
        let mut scheduler = Scheduler::new(out, Telemetry::new(), CONCURRENT_POLLS);
        let first = scheduler.apply(vec![job("a", "ok", 5), job("b", "ok", 5)]).await;
        assert_eq!(first.started.len(), 2);
        let second = scheduler.apply(vec![job("b", "ok", 5), job("c", "ok", 5)]).await;
        assert_eq!((second.started, second.stopped, second.kept), (vec!["c".into()], vec!["a".into()], 1));
        let counts = polls(&mut polled, 50).await;
        assert!(counts.keys().all(|(id, _)| id != "a"), "{counts:?}");
        let third = scheduler.apply(vec![job("b", "ok", 10), job("c", "ok", 5)]).await;
        assert_eq!((third.started, third.stopped, third.kept), (vec!["b".into()], vec![], 1));
        scheduler.stop(Duration::from_secs(1)).await;
    }
}
