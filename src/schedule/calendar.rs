//! Cron expressions: seconds, time zones, for polls and for jobs of the daemon itself.
//!
//! tokio-cron-scheduler wakes; the woken task does the work. So a slow job can neither overlap itself nor kill its
//! schedule by a panic. Two things that the crate does not do are done here: a job is made anew when its zone's offset
//! changes (the crate freezes it at creation), and a job that did not run when it should have is reported and renewed.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::model::words;
use crate::telemetry::Telemetry;

/// Messages of each job that the crate's channels hold, so that all may fall due in one tick and none is lost: its own
/// default of 200 in all loses 40 % of 10,000. Room for 20,000 whatever there is would be 23 MB.
const MESSAGES_PER_JOB: usize = 4;
/// Jobs for which there is room from the start.
const FEWEST_JOBS: usize = 64;

/// A job is overdue when it has not run this long after its time. The crate ticks every half second.
const OVERDUE_AFTER_SECONDS: i64 = 30;

/// How often the calendar is looked over.
pub const REVIEW_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// One line of the calendar.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Unique; shown in logs and in `davylamp_job_overdue`.
    pub id: String,
    /// Cron expression: second, minute, hour, day of month, month, day of week.
    pub expression: String,
    /// Its time zone.
    pub zone: Tz,
    /// Who is woken.
    pub wake: Arc<Notify>,
}

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{expression:?} is not a cron expression ({reason}): write second minute hour day-of-month month day-of-week, for example \"0 */5 * * * *\""
)]
pub struct CronError {
    /// As written.
    pub expression: String,
    /// In the parser's words.
    pub reason: String,
}

/// Checks an expression: six fields, seconds first.
///
/// # Errors
/// [`CronError`] with the parser's reason.
pub fn check(expression: &str) -> Result<(), CronError> {
    // Any leap year's beginning: 30 February is an expression, and never comes.
    let from = chrono::DateTime::UNIX_EPOCH;
    let next = parse(expression)?.find_next_occurrence(&from, false).map(drop);
    next.map_err(|_| CronError { expression: expression.into(), reason: "such a day never comes".to_string() })
}

fn parse(expression: &str) -> Result<croner::Cron, CronError> {
    static PARSER: LazyLock<croner::parser::CronParser> = LazyLock::new(|| {
        // As tokio-cron-scheduler reads it: "13th" with "FRI" means both.
        croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Required).dom_and_dow(true).build()
    });
    PARSER.parse(expression).map_err(|error| CronError {
        expression: expression.into(),
        reason: error.to_string().trim_end_matches('.').to_string(),
    })
}

/// An expression in a time zone, to be asked for times.
#[derive(Clone, Debug)]
pub struct Cron {
    cron: croner::Cron,
    zone: Tz,
}

impl Cron {
    /// Reads an expression: six fields, seconds first.
    ///
    /// # Errors
    /// [`CronError`] with the parser's reason, also for a day that never comes.
    pub fn new(expression: &str, zone: Tz) -> Result<Self, CronError> {
        check(expression)?;
        Ok(Cron { cron: parse(expression)?, zone })
    }

    /// The first time after `millis`, both in milliseconds since the epoch.
    pub fn after(&self, millis: i64) -> Option<i64> {
        /// Within an hour that the wall clock shows twice, the crate may name the first for the second.
        const TRIES: usize = 3;
        // The crate carries parts of a second along.
        let mut from = self.zone.timestamp_opt(millis.div_euclid(1000), 0).single()?;
        for _ in 0..TRIES {
            let next = self.cron.find_next_occurrence(&from, false).ok()?.timestamp_millis();
            if next > millis {
                return Some(next);
            }
            from += chrono::TimeDelta::hours(1);
        }
        None
    }
}

/// Reads the name of a time zone (`Europe/Berlin`, `UTC`).
///
/// # Errors
/// The nearest known name, if there is one.
pub fn zone(name: &str) -> Result<Tz, Option<&'static str>> {
    let names = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let city = |zone: &&str| zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name));
    Tz::from_str(name).map_err(|_| names().find(city).or_else(|| words::nearest(name, names())))
}

/// All calendar jobs. Nothing runs, and no thread wakes, while it is empty.
pub(super) struct Calendar {
    telemetry: Arc<Telemetry>,
    scheduler: Option<JobScheduler>,
    /// Jobs that the scheduler's channels are made for.
    room: usize,
    jobs: HashMap<(String, String), Scheduled>,
}

struct Scheduled {
    entry: Entry,
    handle: uuid::Uuid,
    offset_seconds: i32,
    /// Last time it ran, milliseconds since the epoch; its creation counts as the first.
    last_run: Arc<AtomicI64>,
}

impl Calendar {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> Self {
        Calendar { telemetry, scheduler: None, room: 0, jobs: HashMap::new() }
    }

    /// Takes over the entries of `owner`, by difference. All are scheduled anew when there are more than there is room for.
    pub(super) async fn apply(&mut self, owner: &str, entries: Vec<Entry>) {
        let mut wanted: HashMap<_, _> =
            entries.into_iter().map(|entry| ((owner.to_string(), entry.id.clone()), entry)).collect();
        let mut gone = Vec::new();
        for (key, job) in &self.jobs {
            let same = |entry: &Entry| {
                let wake = Arc::ptr_eq(&entry.wake, &job.entry.wake);
                entry.expression == job.entry.expression && entry.zone == job.entry.zone && wake
            };
            if key.0 != owner {
                continue;
            }
            if wanted.get(key).is_some_and(same) {
                wanted.remove(key);
            } else {
                gone.push(key.clone());
            }
        }
        for key in gone {
            self.remove(&key).await;
        }
        let jobs = self.jobs.len() + wanted.len();
        if jobs > self.room {
            self.stop().await;
            self.room = jobs.next_power_of_two().max(FEWEST_JOBS);
            wanted.extend(self.jobs.drain().map(|(key, job)| (key, job.entry)));
        }
        for (key, entry) in wanted {
            self.add(key, entry).await;
        }
    }

    /// Renews jobs whose zone changed its offset, those that are overdue, and all that wait for a time which a clock that
    /// was set back has put off. What should have run meanwhile runs now, once.
    pub(super) async fn review(&mut self, now: DateTime<Utc>) {
        let mut renew = Vec::new();
        for (key, job) in &self.jobs {
            let late = seconds_late(job, now);
            let overdue = late.is_some_and(|late| late > OVERDUE_AFTER_SECONDS);
            let labels = vec![("job", job.entry.id.clone())];
            self.telemetry.job_overdue.get_or_create(&labels).set(f64::from(u8::from(overdue)));
            if overdue {
                tracing::error!(
                    job = job.entry.id,
                    "calendar job did not run when it should have; it runs now and is scheduled anew"
                );
            }
            let moved = offset(&job.entry.zone, now) != job.offset_seconds;
            // Right behind the change the crate still waits for the hour that the old offset named.
            if overdue || (moved && late.is_some_and(|late| late >= 0)) {
                job.entry.wake.notify_one();
            }
            if overdue || moved || set_back(job, now) {
                renew.push((key.clone(), job.entry.clone()));
            }
        }
        for (key, entry) in renew {
            self.remove(&key).await;
            self.add(key, entry).await;
        }
    }

    pub(super) async fn stop(&mut self) {
        if let Some(mut scheduler) = self.scheduler.take() {
            let _ = scheduler.shutdown().await;
        }
    }

    async fn remove(&mut self, key: &(String, String)) {
        if let (Some(job), Some(scheduler)) = (self.jobs.remove(key), &self.scheduler) {
            let _ = scheduler.remove(&job.handle).await;
            self.telemetry.job_overdue.remove(&vec![("job", job.entry.id)]);
        }
    }

    async fn add(&mut self, key: (String, String), entry: Entry) {
        if let Err(error) = self.try_add(key, &entry).await {
            // The expression was checked with the configuration, so this is ours.
            tracing::error!(job = entry.id, %error, "cannot schedule a calendar job");
            self.telemetry.job_overdue.get_or_create(&vec![("job", entry.id)]).set(1.0);
        }
    }

    async fn try_add(
        &mut self,
        key: (String, String),
        entry: &Entry,
    ) -> Result<(), tokio_cron_scheduler::JobSchedulerError> {
        let now = Utc::now();
        let last_run = Arc::new(AtomicI64::new(now.timestamp_millis()));
        let (wake, stamp) = (entry.wake.clone(), last_run.clone());
        let job = Job::new_async_tz(entry.expression.as_str(), entry.zone, move |_, _| {
            stamp.store(Utc::now().timestamp_millis(), Ordering::Relaxed);
            // A wake-up while the last run is still under way is kept once, not piled up.
            wake.notify_one();
            Box::pin(async {})
        })?;
        if self.scheduler.is_none() {
            let scheduler = JobScheduler::new_with_channel_size(self.room * MESSAGES_PER_JOB).await?;
            scheduler.start().await?;
            self.scheduler = Some(scheduler);
        }
        if let Some(scheduler) = &self.scheduler {
            let handle = scheduler.add(job).await?;
            let offset_seconds = offset(&entry.zone, now);
            self.jobs.insert(key, Scheduled { entry: entry.clone(), handle, offset_seconds, last_run });
        }
        Ok(())
    }
}

fn offset(zone: &Tz, now: DateTime<Utc>) -> i32 {
    zone.offset_from_utc_datetime(&now.naive_utc()).fix().local_minus_utc()
}

/// Seconds since the job should have run for the next time; negative before that.
fn seconds_late(job: &Scheduled, now: DateTime<Utc>) -> Option<i64> {
    let last = job.entry.zone.timestamp_millis_opt(job.last_run.load(Ordering::Relaxed)).single()?;
    let due = parse(&job.entry.expression).ok()?.find_next_occurrence(&last, false).ok()?;
    Some(now.timestamp() - due.timestamp())
}

/// Whether the last run lies in what is now the future. The crate would wait for the run after that one, which may be
/// a day away.
fn set_back(job: &Scheduled, now: DateTime<Utc>) -> bool {
    job.last_run.load(Ordering::Relaxed) / 1000 - now.timestamp() > OVERDUE_AFTER_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;

    #[test]
    fn expressions_need_seconds_and_zones_need_a_name() {
        assert!(check("0 */5 * * * *").is_ok());
        let error = check("*/5 * * * *").unwrap_err().to_string();
        assert!(error.contains("\"*/5 * * * *\" is not a cron expression"), "{error}");
        assert_eq!(zone("Europe/Berlin"), Ok(chrono_tz::Europe::Berlin));
        assert_eq!(zone("Europe/Berlni"), Err(Some("Europe/Berlin")));
    }

    #[tokio::test]
    async fn a_job_wakes_and_a_removed_one_does_not() {
        let telemetry = Telemetry::new();
        let mut calendar = Calendar::new(telemetry);
        let wake = Arc::new(Notify::new());
        let entry = |expression: &str| Entry {
            id: "tick".into(),
            expression: expression.into(),
            zone: Tz::UTC,
            wake: wake.clone(),
        };
        calendar.apply("poll", vec![entry("* * * * * *")]).await;
        for _ in 0..2 {
            tokio::time::timeout(Duration::from_secs(4), wake.notified()).await.unwrap();
        }
        calendar.apply("daemon", Vec::new()).await;
        assert_eq!(calendar.jobs.len(), 1, "another owner's jobs are not touched");
        calendar.apply("poll", Vec::new()).await;
        assert!(calendar.jobs.is_empty());
        calendar.stop().await;
    }

    #[tokio::test]
    async fn all_jobs_that_fall_due_together_run_and_so_they_do_when_more_are_added() {
        let mut calendar = Calendar::new(Telemetry::new());
        let entry = |index: usize| Entry {
            id: index.to_string(),
            expression: "* * * * * *".into(),
            zone: Tz::UTC,
            wake: Arc::new(Notify::new()),
        };
        let entries: Vec<_> = (0..FEWEST_JOBS * 5).map(entry).collect();
        calendar.apply("daemon", entries[..FEWEST_JOBS].to_vec()).await;
        calendar.apply("poll", entries[FEWEST_JOBS..].to_vec()).await;
        for entry in &entries {
            let woken = tokio::time::timeout(Duration::from_secs(4), entry.wake.notified()).await;
            assert!(woken.is_ok(), "job {}", entry.id);
        }
        assert_eq!(calendar.jobs.len(), entries.len());
        calendar.stop().await;
    }

    #[tokio::test]
    async fn offset_changes_and_missed_runs_renew_a_job() {
        let mut calendar = Calendar::new(Telemetry::new());
        let entry = entry("0 0 3 * * *");
        let wake = entry.wake.clone();
        calendar.apply("daemon", vec![entry]).await;
        let handle = |calendar: &Calendar| calendar.jobs.values().next().unwrap().handle;
        let first = handle(&calendar);
        calendar.review(Utc::now()).await;
        assert_eq!(handle(&calendar), first, "nothing to renew");
        calendar.jobs.values_mut().next().unwrap().offset_seconds += 3600;
        calendar.review(Utc::now()).await;
        let second = handle(&calendar);
        assert_ne!(second, first, "made anew with the new offset");
        calendar.review(Utc::now() + chrono::TimeDelta::days(2)).await;
        let third = handle(&calendar);
        assert_ne!(third, second, "overdue by a day");
        assert!(wake.notified().now_or_never().is_some(), "what was missed runs late");
        calendar.review(Utc::now() - chrono::TimeDelta::hours(1)).await;
        assert_ne!(handle(&calendar), third, "the clock was set back");
        assert!(wake.notified().now_or_never().is_none(), "nothing was missed by that");
        calendar.stop().await;
    }

    #[test]
    fn a_run_at_the_very_hour_of_a_change_of_the_offset_is_seen_to_be_due() {
        let zone = chrono_tz::Europe::Berlin;
        let (entry, utc) = (entry("0 0 3 * * *"), |text: &str| text.parse::<DateTime<Utc>>().unwrap());
        let last_run = Arc::new(AtomicI64::new(utc("2026-03-28T12:00:00Z").timestamp_millis()));
        let job = Scheduled { entry, handle: uuid::Uuid::nil(), offset_seconds: 3600, last_run };
        let now = utc("2026-03-29T01:00:20Z");
        assert_eq!((offset(&zone, now), seconds_late(&job, now)), (7200, Some(20)));
    }

    fn entry(expression: &str) -> Entry {
        let (zone, wake) = (chrono_tz::Europe::Berlin, Arc::new(Notify::new()));
        Entry { id: "nightly".into(), expression: expression.into(), zone, wake }
    }
}
