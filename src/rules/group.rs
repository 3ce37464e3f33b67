//! When a group runs: slots spread by a hash, and what was missed.

use std::time::Duration;

use super::engine::Settings;
use super::rule::RuleGroup;
use super::state::RuleState;
use super::step::millis;

/// A group, its times and its rules.
#[derive(Debug)]
pub struct GroupState {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) interval: Duration,
    pub(super) offset: Duration,
    pub(super) limit: usize,
    pub(super) rules: Vec<RuleState>,
    pub(super) took: Duration,
    /// Slot of the last evaluation, or the one before the engine's start.
    last: i64,
    evaluated: bool,
    missed: u64,
}

impl GroupState {
    pub(super) fn new(group: RuleGroup, settings: &Settings, now: i64) -> Self {
        let mut state = GroupState {
            file: group.file,
            name: group.name,
            interval: group.interval.unwrap_or(settings.interval).max(Duration::from_millis(1)),
            offset: group.query_offset.unwrap_or(settings.query_offset),
            limit: group.limit,
            rules: group.rules.into_iter().map(RuleState::new).collect(),
            took: Duration::ZERO,
            last: 0,
            evaluated: false,
            missed: 0,
        };
        state.last = state.slot(now);
        state
    }

    /// Keeps the times of the same group before a reload, unless its interval changed.
    pub(super) fn inherit(&mut self, before: &GroupState) {
        if before.interval == self.interval {
            (self.last, self.evaluated, self.missed, self.took) =
                (before.last, before.evaluated, before.missed, before.took);
        }
    }

    /// The newest slot that is not after `now`. Slots lie an interval apart, shifted by a hash of file and name, so
    /// that not all groups run in the same second, and a group runs at the same seconds after a restart.
    fn slot(&self, now: i64) -> i64 {
        let interval = millis(self.interval);
        let shift = i64::try_from(mix(&self.file, &self.name) >> 1).unwrap_or(0) % interval;
        now.saturating_sub(now.saturating_sub(shift).rem_euclid(interval))
    }

    /// The slot to evaluate at `now`, if it is due. A clock that was set back makes the group due again: waiting for
    /// the old time to come round could mean silence for hours.
    pub(super) fn due(&self, now: i64) -> Option<i64> {
        let slot = self.slot(now);
        let set_back = slot < self.last.saturating_sub(millis(self.interval));
        (slot > self.last || set_back).then_some(slot)
    }

    pub(super) fn next(&self) -> i64 {
        self.last.saturating_add(millis(self.interval))
    }

    /// Notes an evaluation at `at`; says how many were missed before it.
    pub(super) fn begin(&mut self, at: i64) -> u64 {
        let intervals = at.saturating_sub(self.last) / millis(self.interval);
        let missed = u64::try_from(intervals - 1).unwrap_or(0);
        (self.last, self.evaluated) = (at, true);
        self.missed += missed;
        missed
    }

    /// The file, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Unique within its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often it runs.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Most alerts or series of one of its rules; 0 for no limit of its own.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// When it last ran, milliseconds since the epoch.
    pub fn last_evaluation(&self) -> Option<i64> {
        self.evaluated.then_some(self.last)
    }

    /// How long the last evaluation of all its rules took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Evaluations that were due and did not happen.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Its rules, in the order of evaluation.
    pub fn rules(&self) -> &[RuleState] {
        &self.rules
    }
}

/// FNV-1a over both names, then the finaliser of SplitMix64: without it, similar names land in the same few slots.
fn mix(file: &str, name: &str) -> u64 {
    let bytes = file.bytes().chain([0xff]).chain(name.bytes());
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    let a = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, now: i64) -> GroupState {
        let group = RuleGroup {
            file: "a.yml".into(),
            name: name.into(),
            interval: Some(Duration::from_secs(15)),
            query_offset: None,
            limit: 0,
            rules: Vec::new(),
        };
        GroupState::new(group, &Settings::default(), now)
    }

    #[test]
    fn runs_once_per_slot_and_counts_what_it_missed() {
        let mut group = group("g", 1_000_000);
        let next = group.next();
        assert!(next > 1_000_000 && next <= 1_015_000);
        assert_eq!(group.due(next - 1), None);
        assert_eq!(group.due(next + 3), Some(next));
        assert_eq!(group.begin(next), 0);
        assert_eq!(group.due(next + 14_999), None);
        assert_eq!(group.due(next + 46_000), Some(next + 45_000));
        assert_eq!(group.begin(next + 45_000), 2);
        assert_eq!(group.missed(), 2);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_the_group() {
        let mut group = group("g", 10_000_000);
        group.begin(group.next());
        assert!(group.due(5_000_000).is_some());
        assert_eq!(group.begin(5_000_000), 0);
    }

    #[test]
    fn groups_are_spread_over_the_interval() {
        let mut slots: Vec<i64> = (0..300).map(|i| group(&format!("group-{i}"), 0).next() / 1000).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), 15);
    }
}
