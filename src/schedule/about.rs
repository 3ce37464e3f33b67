//! What the scheduler says of a target: up, duration, results. Nobody else writes these families.

use crate::model::{Family, Labels, Observation, Sample, Suffix, Target};

/// 1 when the last poll succeeded.
pub static TARGET_UP: Family = Family::gauge(
    "davylamp_target_up",
    "1 when the last poll of the target succeeded, 0 when it failed",
    &["target", "kind"],
);
/// What the target is.
pub static TARGET_INFO: Family =
    Family::info("davylamp_target_info", "1, with kind and address of the target", &["target", "kind", "address"]);
/// How long the last poll took.
pub static LAST_POLL_DURATION: Family = Family::gauge(
    "davylamp_target_last_poll_duration_seconds",
    "How long the last poll of the target took, in seconds",
    &["target", "kind"],
);
/// When the last poll succeeded.
pub static LAST_SUCCESS: Family = Family::gauge(
    "davylamp_target_last_success_timestamp_seconds",
    "When a poll of the target last succeeded, seconds since the epoch",
    &["target", "kind"],
);
/// Failures since the last success.
pub static FAILED_POLLS: Family = Family::gauge(
    "davylamp_target_failed_polls",
    "How many polls of the target failed in a row up to now; 0 after one that succeeded",
    &["target", "kind"],
);
/// Polls by result.
pub static POLLS: Family =
    Family::counter("davylamp_polls_total", "Polls of the target by result", &["target", "kind", "result"]);

/// The families of this file.
pub static FAMILIES: [&Family; 6] =
    [&TARGET_UP, &TARGET_INFO, &LAST_POLL_DURATION, &LAST_SUCCESS, &FAILED_POLLS, &POLLS];

/// The running account of one target.
#[derive(Debug)]
pub struct About {
    labels: Labels,
    info: Labels,
    last_success: Option<i64>,
    failed: u32,
    /// Sorted by result. There are one or two.
    polls: Vec<(&'static str, Labels, f64)>,
}

impl About {
    /// A new account; every target's successes begin at 0, so that `rate()` sees the first one.
    pub fn new(target: &Target) -> Self {
        let labels = target.labels.with("target", target.id.as_ref()).with("kind", target.kind.as_ref());
        let info = labels.with("address", target.address.as_str());
        let polls = vec![("ok", labels.with("result", "ok"), 0.0)];
        About { labels, info, last_success: None, failed: 0, polls }
    }

    /// Enters an observation and hands out all samples about the target.
    pub fn enter(&mut self, observation: &Observation) -> Vec<Sample> {
        let result = match &observation.outcome {
            Ok(_) => {
                self.last_success = Some(observation.at);
                self.failed = 0;
                "ok"
            }
            Err(failure) => {
                self.failed = self.failed.saturating_add(1);
                failure.reason.as_str()
            }
        };
        let place = self.polls.binary_search_by_key(&result, |(result, ..)| result).unwrap_or_else(|place| {
            self.polls.insert(place, (result, self.labels.with("result", result), 0.0));
            place
        });
        self.polls[place].2 += 1.0;
        let sample = |family: &'static Family, labels: &Labels, value| Sample {
            family: family.into(),
            suffix: Suffix::None,
            labels: labels.clone(),
            value,
        };
        let mut samples = vec![
            sample(&TARGET_UP, &self.labels, f64::from(u8::from(observation.outcome.is_ok()))),
            sample(&TARGET_INFO, &self.info, 1.0),
            // Nobody reads less than microseconds, and they take less memory.
            sample(&LAST_POLL_DURATION, &self.labels, observation.took.as_micros() as f64 / 1e6),
            sample(&FAILED_POLLS, &self.labels, f64::from(self.failed)),
        ];
        samples.extend(self.last_success.map(|at| sample(&LAST_SUCCESS, &self.labels, at as f64 / 1000.0)));
        samples.extend(self.polls.iter().map(|(_, labels, count)| sample(&POLLS, labels, *count)));
        samples
    }
}
