//! Replays over samples in memory, and what they ask their source for.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use super::*;
use crate::model::Matcher;
use crate::model::Series;
use crate::model::SourceError;
use crate::rules::check_text;
use crate::rules::samples::Samples;

const RULES: &str = "
groups:
- name: g
  interval: 1m
  rules:
  - {record: 'rig:hot', expr: 'heat > bool 80'}
  - {alert: Hot, expr: 'rig:hot == 1', for: 2m, labels: {site: attic}}
  - {alert: Wrong, expr: 'heat + on() group_left() heat'}
  - {alert: Never, expr: 'misspelt > 0'}
";
const MINUTE: i64 = 60_000;

/// Hot from minute 10 to 20, and at minute 30 alone. Recorded back then: always hot.
fn samples() -> Samples {
    let mut samples = Samples::default();
    for minute in 0..60 {
        for rig in ["a", "b"] {
            let hot = rig == "a" && ((10..20).contains(&minute) || minute == 30);
            let labels = Labels::new([("__name__", "heat"), ("rig", rig)]);
            samples.push(&labels, minute * MINUTE, if hot { 90.0 } else { 60.0 });
            samples.push(&labels.with("__name__", "rig:hot"), minute * MINUTE, 1.0);
        }
    }
    samples
}

/// Counts questions, and refuses more than so many samples at once.
struct Counting {
    samples: Samples,
    limit: usize,
    questions: AtomicUsize,
}

impl Source for Counting {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let found = self.samples.select(matchers, start, end)?;
        let count: usize = found.iter().map(|series| series.points.len()).sum();
        if count > self.limit { Err(SourceError::TooManySamples { limit: self.limit }) } else { Ok(found) }
    }
}

fn run(source: &dyn Source, step: Option<Duration>) -> Replay {
    let report = check_text("r.yml", RULES);
    assert!(!report.has_errors(), "{report}");
    let plan = Plan { from: 2 * MINUTE, to: 59 * MINUTE, step };
    let mut last = 0;
    let replay = replay(report.groups, Settings::default(), plan, source, |at| last = at);
    assert!(last > 58 * MINUTE && last <= plan.to, "{last}");
    replay
}

#[test]
fn alerts_are_told_from_their_beginning_to_their_end() {
    let replay = run(&samples(), Some(Duration::from_secs(60)));
    let told: Vec<_> = replay.alerts.iter().map(|alert| (alert.state.as_str(), alert.active_at.as_str())).collect();
    assert_eq!(told, [("resolved", "1970-01-01T00:10:00.000Z"), ("inactive", "1970-01-01T00:30:00.000Z")]);
    let first = &replay.alerts[0];
    assert_eq!(first.fired_at.as_deref(), Some("1970-01-01T00:12:00.000Z"));
    assert_eq!(first.ended_at.as_deref(), Some("1970-01-01T00:20:00.000Z"));
    assert_eq!((first.labels["rig"].as_str(), first.labels["site"].as_str()), ("a", "attic"));
    assert_eq!(replay.evaluations, 58 * 4);
    assert_eq!((replay.failures.len(), replay.failures[0].count), (1, 58));
    assert!(replay.failures[0].error.contains("many-to-many"), "{:?}", replay.failures);
    assert_eq!(replay.never_matched.values().flatten().collect::<Vec<_>>(), ["misspelt"]);
}

#[test]
fn without_a_step_groups_run_at_their_own_slots() {
    let replay = run(&samples(), None);
    assert_eq!(replay.alerts.len(), 2);
    assert!((56 * 4..=58 * 4).contains(&replay.evaluations), "{}", replay.evaluations);
}

#[test]
fn a_source_is_asked_a_few_times_and_in_pieces_that_it_can_give() {
    let step = Some(Duration::from_secs(60));
    let wanted = serde_json::to_value(run(&samples(), step)).unwrap();
    for (limit, most) in [(usize::MAX, 12), (40, 80)] {
        let counting = Counting { samples: samples(), limit, questions: AtomicUsize::new(0) };
        let ahead = Ahead::new(counting, 59 * MINUTE);
        assert_eq!(serde_json::to_value(run(&ahead, step)).unwrap(), wanted);
        let questions = ahead.inner.questions.load(Ordering::Relaxed);
        assert!(questions <= most, "{questions} questions with a limit of {limit}");
    }
}
