//! The recent window: the last samples of every target, in memory, bounded. What `/metrics` shows and rules read.
//!
//! One timestamp per target and poll. A series missing from a poll gets the stale marker; a failed poll marks all of
//! the target's series stale. A series of which the window holds nothing any more is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::append::Room;
use super::block::{Block, Fresh, Row};
use super::forms::Forms;
use super::page::{Format, Layout, Page};
use super::save::Cut;
use crate::model::series::stale_nan;
use crate::model::{FamilyRef, Labels, Observation, Point, Reading, Sample, Target, TargetId};

/// How much may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series of one target; a poll that brings more loses the surplus.
    pub series_per_target: usize,
    /// Series in all.
    pub series: usize,
    /// Points that one query may load.
    pub points_per_query: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { series_per_target: 50_000, series: 2_000_000, points_per_query: 50_000_000 }
    }
}

/// What happened to an observation that was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Samples that were kept.
    pub kept: usize,
    /// Samples dropped because the target has too many series.
    pub over_target_limit: usize,
    /// Samples dropped because there are too many series in all.
    pub over_total_limit: usize,
}

/// A point as it was kept: its family, all labels of its series, and the point, which may be a stale marker.
pub type Kept = (FamilyRef, Labels, Point);

/// The recent window of all targets.
pub struct Recent {
    inner: RwLock<Inner>,
    page: Page,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) limits: Limits,
    window: Duration,
    pub(super) forms: Forms,
    /// By number; a number is used again.
    pub(super) blocks: Vec<Option<Box<Block>>>,
    /// Sorted, so that of two families with one name always the same gives the page its help text.
    pub(super) numbers: BTreeMap<TargetId, u32>,
    series: usize,
    /// Since when there was nothing to be lost: the start, or the last time of a target that went.
    begun: i64,
    /// Newest time of any append.
    newest: i64,
    /// How far back pushed points are taken although the window does not reach so far; `None` without a history.
    pub(super) backlog: Option<Duration>,
    pub(super) leavers: Vec<Cut>,
    /// Rises whenever a series appears or goes: the page's layout is then prepared anew.
    pub(super) shape: u64,
}

impl Recent {
    /// An empty window that keeps points for `window`.
    pub fn new(window: Duration, limits: Limits) -> Self {
        let inner = Inner { limits, window, begun: i64::MAX, newest: i64::MIN, ..Inner::default() };
        Recent { inner: RwLock::new(inner), page: Page::default() }
    }

    /// How long points are kept from now on; derived from what the rules read.
    pub fn set_window(&self, window: Duration) {
        let mut inner = self.write();
        if window > inner.window {
            // What was not needed until now is gone already.
            inner.begun = inner.complete_since();
        }
        inner.window = window;
    }

    /// Says that samples are taken in from `now` on: what is older is not here, but may be in the history.
    pub fn begin(&self, now: i64) {
        self.write().begun = now;
    }

    /// Since when the window holds every sample there is, milliseconds since the epoch.
    pub fn complete_since(&self) -> i64 {
        self.read().complete_since()
    }

    /// How much may be held.
    pub fn limits(&self) -> Limits {
        self.read().limits
    }

    /// How long points are kept.
    pub fn window(&self) -> Duration {
        self.read().window
    }

    /// Makes a target known, or takes over its changed labels. Its series begin anew when the labels differ.
    pub fn declare(&self, target: &Target, subject: &'static str) {
        let mut inner = self.write();
        let block = Block::of_target(target, subject);
        let same = |known: &Block| {
            known.stamp == block.stamp
                && known.about == block.about
                && known.subject == subject
                && known.kind == block.kind
        };
        if !inner.block(&target.id).is_some_and(same) {
            inner.remove(&target.id);
            inner.enter(&target.id, block);
        }
    }

    /// Makes a block known whose samples are complete as they are: rule groups, self-metrics.
    /// A hidden one is there for queries and not on the page.
    pub fn declare_plain(&self, id: &TargetId, kind: &str, hidden: bool) {
        self.declare_block(id, Block::plain(kind.into(), hidden, false));
    }

    pub(super) fn declare_block(&self, id: &TargetId, block: Block) {
        let mut inner = self.write();
        if inner.block(id).is_none() {
            inner.enter(id, block);
        }
    }

    /// Forgets a target and all of its series.
    pub fn forget(&self, id: &TargetId) {
        self.write().remove(id);
    }

    /// Takes in what one poll brought. An observation of a target that is not known (any more) is dropped.
    ///
    /// `about` is what the scheduler says of the poll itself; unlike the target's own samples these are complete
    /// and survive a failure.
    pub fn observe(&self, observation: &Observation, about: &[Sample]) -> Taken {
        self.observe_into(observation, about, None)
    }

    /// [`Recent::observe`], and tells what was kept, as it was kept: with all labels, and with stale markers.
    pub fn observe_into(&self, observation: &Observation, about: &[Sample], kept: Option<&mut Vec<Kept>>) -> Taken {
        let empty = Reading::default();
        let reading = observation.outcome.as_ref().unwrap_or(&empty);
        let at = observation.at;
        let change = |block: &mut Block, forms: &mut Forms, room: &Room| {
            let taken = append(block, at, (reading, about), room, forms, kept);
            (taken, block.prune(at, room, forms))
        };
        self.change_block(&observation.target, at, change).unwrap_or_default()
    }

    /// The stale markers that end the series of a target that is about to be forgotten.
    pub fn farewell(&self, id: &TargetId, at: i64) -> Vec<Kept> {
        let inner = self.read();
        let Some(block) = inner.block(id) else { return Vec::new() };
        let alive = block.rows.iter().filter(|row| row.last().is_some());
        alive.filter_map(|row| block.kept(row, &inner.forms, at, stale_nan())).collect()
    }

    /// Changes a block that is known, at a time. `change` says whether rows went.
    pub(super) fn change_block<T>(
        &self,
        id: &TargetId,
        now: i64,
        change: impl FnOnce(&mut Block, &mut Forms, &Room) -> (T, bool),
    ) -> Option<T> {
        let mut inner = self.write();
        inner.newest = inner.newest.max(now);
        let Inner { blocks, numbers, forms, limits, window, series, shape, backlog, .. } = &mut *inner;
        let block = blocks.get_mut(*numbers.get(id)? as usize)?.as_deref_mut()?;
        let before = block.rows.len();
        let room = Room { others: *series - before, limits: *limits, window: *window, backlog: *backlog };
        let (done, died) = change(block, forms, &room);
        let after = block.rows.len();
        if died || after != before {
            *shape += 1;
        }
        *series = room.others + after;
        Some(done)
    }

    /// Series that are held, by kind of target.
    pub fn series_by_kind(&self) -> Vec<(String, usize)> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let inner = self.read();
        for block in inner.all() {
            *counts.entry(&block.kind).or_default() += block.rows.len();
        }
        let mut counts: Vec<_> = counts.into_iter().map(|(kind, count)| (kind.to_string(), count)).collect();
        counts.sort();
        counts
    }

    /// The page of current values, as `/metrics` shows it. `kind` narrows it to targets of one kind.
    pub fn page(&self, format: Format, kind: Option<&str>) -> Vec<u8> {
        let inner = self.read();
        match kind {
            None => self.page.render(&inner, format),
            Some(_) => Layout::prepare(&inner, kind).render(&inner, format),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Inner> {
        // A writer that panicked leaves at worst one target's last poll half taken in; that is no reason to stop.
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn block(&self, id: &TargetId) -> Option<&Block> {
        self.by_number(*self.numbers.get(id)?)
    }

    pub(super) fn by_number(&self, number: u32) -> Option<&Block> {
        self.blocks.get(number as usize)?.as_deref()
    }

    fn enter(&mut self, id: &TargetId, mut block: Block) {
        let free = self.numbers.len() < self.blocks.len();
        let place = free.then(|| self.blocks.iter().position(Option::is_none)).flatten().unwrap_or_else(|| {
            self.blocks.push(None);
            self.blocks.len() - 1
        });
        block.number = place as u32;
        self.blocks[place] = Some(Box::new(block));
        self.numbers.insert(id.clone(), place as u32);
    }

    fn remove(&mut self, id: &TargetId) {
        let Some(number) = self.numbers.remove(id) else { return };
        if let Some(block) = self.blocks[number as usize].take() {
            // A query that reaches back to it finds it in the history only.
            let last = block.packed.last().or((!block.rows.is_empty()).then_some(self.newest));
            self.begun = self.begun.max(last.map_or(i64::MIN, |last| last.saturating_add(1)));
            self.see_off(id, &block);
            block.rows.iter().for_each(|row| self.forms.detach(row.form, number));
            self.series -= block.rows.len();
            self.shape += 1;
        }
    }

    fn complete_since(&self) -> i64 {
        let window = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        self.begun.max(self.newest.saturating_sub(window))
    }

    /// All blocks, in the order of their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().flatten().map(|block| &**block)
    }

    /// The blocks of the page, in the order of their ids; those of a kind only if one is named.
    pub(super) fn shown(&self, kind: Option<&str>) -> impl Iterator<Item = &Block> {
        let blocks = self.numbers.values().filter_map(|number| self.by_number(*number));
        blocks.filter(move |block| !block.hidden && kind.is_none_or(|kind| &*block.kind == kind))
    }

    pub(super) fn rows(&self, number: u32) -> &[Row] {
        self.by_number(number).map_or(&[], |block| &block.rows)
    }
}

/// Appends the samples of one poll.
fn append(
    block: &mut Block,
    at: i64,
    (reading, about): (&Reading, &[Sample]),
    room: &Room,
    forms: &mut Forms,
    mut kept: Option<&mut Vec<Kept>>,
) -> Taken {
    let mut taken = Taken::default();
    block.rewind(at);
    let mut seen = vec![false; block.rows.len()];
    let (mut fresh, mut changes) = (Fresh::new(), Vec::new());
    let mut order = Vec::with_capacity(reading.samples.len() + about.len());
    let mut starts = reading.starts.iter().peekable();
    let stamped = reading.samples.iter().map(|sample| (sample, true)).chain(about.iter().map(|sample| (sample, false)));
    for (position, (sample, said)) in stamped.enumerate() {
        let start = starts.next_if(|(place, _)| *place == position).map_or(0, |(_, start)| *start);
        let row = match block.find(position, sample, said, forms, &fresh) {
            Ok(row) => row,
            // What we say of a target is a handful of series, and the last to go dark.
            Err(_) if said && block.is_full(room.limits.series_per_target) => {
                taken.over_target_limit += 1;
                continue;
            }
            Err(_) if said && room.others + block.rows.len() >= room.limits.series => {
                taken.over_total_limit += 1;
                continue;
            }
            Err(form) => block.add(form, None, forms, &mut fresh),
        };
        seen.resize(block.rows.len(), false);
        // Of two samples for one series in one poll the first counts.
        if !std::mem::replace(&mut seen[row], true) {
            changes.extend(block.rows[row].says(Some(sample.value)));
            block.started(block.rows[row].form, at, start);
            taken.kept += 1;
            if let Some(kept) = &mut kept {
                kept.extend(block.kept(&block.rows[row], forms, at, sample.value));
            }
        }
        order.push(row as u32);
    }
    for index in (0..block.rows.len()).filter(|index| !seen[*index]) {
        let row = &block.rows[index];
        if let Some(kept) = kept.as_mut().filter(|_| row.last().is_some()) {
            kept.extend(block.kept(row, forms, at, stale_nan()));
        }
        changes.extend(block.rows[index].says(None));
    }
    block.packed.push(at, &mut changes);
    block.settle(Some(order), fresh);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::is_stale;
    use crate::model::{FailureReason, Family, Matcher, PollFailure, Series, Source, Suffix};

    static HEAT: Family = Family::gauge("miner_temperature_celsius", "Heat", &["sensor"]);
    static UP: Family = Family::gauge("davylamp_target_up", "Up", &["target"]);

    fn target(id: &str) -> Target {
        Target {
            id: id.into(),
            kind: "axeos".into(),
            address: String::new(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            cron: None,
            labels: Labels::new([("site", "home")]),
            options: serde_json::Value::Null,
        }
    }

    fn observation(at: i64, outcome: Result<&[(&str, f64)], FailureReason>) -> Observation {
        let outcome = match outcome {
            Ok(values) => {
                let mut reading = Reading::default();
                for (sensor, value) in values {
                    reading.put(&HEAT, &[("sensor", sensor), ("site", "lies")], *value);
                }
                Ok(reading)
            }
            Err(reason) => Err(PollFailure::new(reason, "")),
        };
        Observation { target: "m1".into(), at, took: Duration::ZERO, outcome }
    }

    fn up(value: f64) -> Vec<Sample> {
        let labels = Labels::new([("target", "m1")]);
        vec![Sample { family: (&UP).into(), suffix: Suffix::None, labels, value }]
    }

    fn recent() -> Recent {
        let recent = Recent::new(Duration::from_secs(60), Limits { series_per_target: 3, ..Limits::default() });
        recent.declare(&target("m1"), "miner");
        recent
    }

    fn select(recent: &Recent, name: &str) -> Vec<Series> {
        recent.select(&[Matcher::equal("__name__", name)], 0, i64::MAX).unwrap()
    }

    #[test]
    fn a_failed_poll_ends_the_targets_series_but_not_the_schedulers() {
        let recent = recent();
        recent.observe(&observation(1000, Ok(&[("chip", 50.0)])), &up(1.0));
        recent.observe(&observation(6000, Err(FailureReason::Timeout)), &up(0.0));
        recent.observe(&observation(11000, Err(FailureReason::Timeout)), &up(0.0));
        let heat = select(&recent, "miner_temperature_celsius");
        assert_eq!(heat[0].points.len(), 2, "one value, one stale marker");
        assert!(is_stale(heat[0].points[1].v) && heat[0].points[1].t == 6000);
        assert_eq!(select(&recent, "davylamp_target_up")[0].points.len(), 3);
        let page = String::from_utf8(recent.page(Format::Text, None)).unwrap();
        assert!(page.contains("davylamp_target_up{target=\"m1\"} 0\n"), "{page}");
        assert!(!page.contains("celsius"), "neither sample nor header of a family without samples: {page}");
    }

    #[test]
    fn start_timestamps_come_and_go_with_their_samples() {
        let recent = recent();
        let poll = |at: i64, starts: &[(usize, i64)]| {
            let mut seen = observation(at, Ok(&[("chip", 50.0), ("board", 40.0)]));
            if let Ok(reading) = &mut seen.outcome {
                reading.starts = starts.to_vec();
            }
            recent.observe(&seen, &[]);
        };
        let known = || {
            let series = select(&recent, "miner_temperature_celsius");
            let of = |series: &Series| series.points.iter().map(|p| series.starts.at(p.t)).collect::<Vec<_>>();
            (of(&series[0]), of(&series[1])) // board, chip
        };
        poll(1000, &[(1, 500)]);
        poll(6000, &[(0, 5500), (1, 500)]);
        poll(11_000, &[(1, 500)]);
        assert_eq!(known(), (vec![500; 3], vec![0, 5500, 0]));
        poll(10_000, &[]);
        assert_eq!(known(), (vec![500, 500, 0], vec![0, 5500, 0]), "the clock was set back");
        poll(65_000, &[]);
        assert_eq!(known(), (vec![500, 0, 0], vec![5500, 0, 0]));
        poll(66_500, &[]);
        let inner = recent.read();
        let block = inner.block(&"m1".into()).unwrap();
        let none = |row| block.starts(row, 0, i64::MAX).is_empty();
        assert!((0..block.rows.len()).all(none), "none is left");
    }

    #[test]
    fn what_was_kept_is_told_with_all_labels_and_the_end_of_each_series_once() {
        let recent = recent();
        let mut told = Vec::new();
        recent.observe_into(&observation(1000, Ok(&[("chip", 50.0)])), &[], Some(&mut told));
        for at in [6000, 11000] {
            recent.observe_into(&observation(at, Err(FailureReason::Timeout)), &[], Some(&mut told));
        }
        let series = &select(&recent, "miner_temperature_celsius")[0];
        let bits = |point: &Point| (point.t, point.v.to_bits());
        assert!(told.iter().all(|(_, labels, _)| *labels == series.labels));
        assert_eq!(
            told.iter().map(|kept| bits(&kept.2)).collect::<Vec<_>>(),
            series.points.iter().map(bits).collect::<Vec<_>>()
        );
        assert!(recent.farewell(&"m1".into(), 16000).is_empty(), "it has ended already");
        recent.observe(&observation(16000, Ok(&[("chip", 50.0)])), &[]);
        assert!(is_stale(recent.farewell(&"m1".into(), 16001)[0].2.v));
    }

    #[test]
    fn what_the_device_says_does_not_pass_for_what_the_owner_said() {
        let recent = recent();
        recent.observe(&observation(1000, Ok(&[("chip", 50.0)])), &[]);
        let labels = &select(&recent, "miner_temperature_celsius")[0].labels;
        let want = "miner_temperature_celsius{exported_site=\"lies\", miner=\"m1\", sensor=\"chip\", site=\"home\"}";
        assert_eq!(labels.to_string(), want);
    }

    #[test]
    fn limits_drop_the_surplus_and_say_so() {
        let recent = recent();
        let values = [("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0), ("a", 9.0)];
        let taken = recent.observe(&observation(1000, Ok(&values)), &[]);
        assert_eq!(taken, Taken { kept: 3, over_target_limit: 1, over_total_limit: 0 });
        let first = &select(&recent, "miner_temperature_celsius")[0];
        assert_eq!(first.points, [Point { t: 1000, v: 1.0 }], "of two samples for one series the first counts");
    }

    #[test]
    fn old_points_and_then_old_series_go() {
        let recent = recent();
        recent.observe(&observation(1000, Ok(&[("a", 1.0), ("b", 1.0)])), &[]);
        recent.observe(&observation(30_000, Ok(&[("b", 2.0)])), &[]);
        recent.observe(&observation(95_000, Ok(&[("b", 3.0)])), &[]);
        let left = select(&recent, "miner_temperature_celsius");
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].points, [Point { t: 95_000, v: 3.0 }]);
        assert_eq!(recent.series_by_kind(), [("axeos".to_string(), 1)]);
        recent.observe(&observation(100_000, Ok(&[("a", 4.0), ("b", 3.0)])), &[]);
        assert_eq!(select(&recent, "miner_temperature_celsius").len(), 2);
        recent.forget(&"m1".into());
        assert!(recent.page(Format::Text, None).is_empty());
    }

    #[test]
    fn recorded_points_have_times_of_their_own() {
        let recent = recent();
        let id: TargetId = "rules".into();
        recent.declare_plain(&id, "rules", false);
        let labels = |alert: &'static str| Labels::new([("__name__", "ALERTS"), ("alertname", alert)]);
        let point = |alert, t, v| (FamilyRef::from(&HEAT), labels(alert), Point { t, v });
        recent.append_points(&id, &[point("a", 1000, 1.0), point("b", 1500, 1.0)], 1500);
        recent.append_points(
            &id,
            &[point("a", 1000, 2.0), point("a", 2000, f64::from_bits(0x7ff0_0000_0000_0002))],
            2000,
        );
        let alerts = select(&recent, "ALERTS");
        assert_eq!(alerts[0].points.len(), 2, "the same time twice counts once");
        assert!(is_stale(alerts[0].points[1].v));
        assert_eq!(alerts[1].points, [Point { t: 1500, v: 1.0 }]);
        let page = String::from_utf8(recent.page(Format::Text, None)).unwrap();
        assert!(page.contains("ALERTS{alertname=\"b\"} 1") && !page.contains("alertname=\"a\""), "{page}");
        recent.append_points(&id, &[], 100_000);
        assert_eq!(select(&recent, "ALERTS").len(), 0);
    }

    #[test]
    fn a_clock_set_back_keeps_time_in_order() {
        let recent = recent();
        recent.observe(&observation(10_000, Ok(&[("a", 1.0)])), &[]);
        recent.observe(&observation(5_000, Ok(&[("a", 2.0)])), &[]);
        let points = &select(&recent, "miner_temperature_celsius")[0].points;
        assert_eq!(points, &[Point { t: 5_000, v: 2.0 }], "the points of the lost future are gone");
        recent.observe(&observation(40_000, Ok(&[("a", 3.0)])), &[]);
        recent.observe(&observation(41_000, Ok(&[("a", 4.0)])), &[]);
        recent.observe(&observation(40_500, Ok(&[("a", 5.0)])), &[]);
        let points = &select(&recent, "miner_temperature_celsius")[0].points;
        assert_eq!(points.iter().map(|p| (p.t, p.v)).collect::<Vec<_>>(), [(5_000, 2.0), (40_000, 3.0), (40_500, 5.0)]);
    }

    #[test]
    fn recorded_points_follow_a_clock_that_was_set_back() {
        let recent = recent();
        let id: TargetId = "/rules".into();
        recent.declare_plain(&id, "rules", false);
        let labels = Labels::new([("__name__", "a:b")]);
        for (t, v) in [(10_000_000, 1.0), (10_005_000, 2.0), (6_405_000, 3.0), (6_410_000, 4.0)] {
            recent.append_points(&id, &[(FamilyRef::from(&HEAT), labels.clone(), Point { t, v })], t);
        }
        let points = &select(&recent, "a:b")[0].points;
        assert_eq!(points, &[Point { t: 6_405_000, v: 3.0 }, Point { t: 6_410_000, v: 4.0 }]);
    }

    type Said<'a> = (&'a FamilyRef, &'a [(&'a str, &'a str)], f64);

    /// What an `axeos` parser never says, but a page that is carried on may.
    fn page_of(at: i64, series: &[Said<'_>]) -> Observation {
        let mut reading = Reading::default();
        for (family, labels, value) in series {
            reading.put_labels((*family).clone(), Suffix::None, Labels::new(labels.iter().copied()), *value);
        }
        Observation { target: "m1".into(), at, took: Duration::ZERO, outcome: Ok(reading) }
    }

    #[test]
    fn a_target_cannot_speak_for_the_scheduler() {
        let recent = recent();
        let forged = page_of(1000, &[(&FamilyRef::from(&UP), &[("target", "m1")], 1.0)]);
        recent.observe(&forged, &up(0.0));
        let series = select(&recent, "davylamp_target_up");
        let said: Vec<_> = series.iter().map(|series| (series.labels.to_string(), series.points[0].v)).collect();
        let forged = "davylamp_target_up{miner=\"m1\", site=\"home\", target=\"m1\"}";
        assert_eq!(said, [(forged.to_string(), 1.0), ("davylamp_target_up{target=\"m1\"}".to_string(), 0.0)]);
    }

    #[test]
    fn labels_that_evade_the_prefix_do_not_make_two_series_equal() {
        let recent = recent();
        let heat = FamilyRef::from(&HEAT);
        let series: [Said<'_>; 2] = [(&heat, &[("site", "a")], 1.0), (&heat, &[("exported_site", "a")], 2.0)];
        recent.observe(&page_of(1000, &series), &[]);
        let labels: Vec<_> = select(&recent, &HEAT.name)
            .iter()
            .map(|series| series.labels.filter(|n| n != "__name__").to_string())
            .collect();
        let want = [
            "{exported_exported_site=\"a\", miner=\"m1\", site=\"home\"}",
            "{exported_site=\"a\", miner=\"m1\", site=\"home\"}",
        ];
        assert_eq!(labels, want);
    }

    #[test]
    fn long_labels_count_as_several_series_and_the_scheduler_is_always_heard() {
        let recent = recent();
        let (heat, long) = (FamilyRef::from(&HEAT), "x".repeat(800));
        let series: [Said<'_>; 3] =
            [(&heat, &[("a", &long)], 1.0), (&heat, &[("b", &long)], 2.0), (&heat, &[("c", &long)], 3.0)];
        let taken = recent.observe(&page_of(1000, &series), &up(1.0));
        assert_eq!(taken, Taken { kept: 3, over_target_limit: 1, over_total_limit: 0 }, "two, and the scheduler's");
        assert_eq!(select(&recent, "davylamp_target_up").len(), 1);
        recent.observe(&observation(2000, Ok(&[])), &[]);
        recent.observe(&observation(95_000, Ok(&[])), &[]);
        let taken = recent.observe(&observation(96_000, Ok(&[("a", 1.0), ("b", 1.0), ("c", 1.0)])), &[]);
        assert_eq!(taken.over_target_limit, 0, "room again when the long ones have gone");
    }
}
