//! Points that come one by one, each series with times of its own: what rules record, and what others push to us.
//!
//! Every point has one of the fates of [`Appended`]. Blocks that others push into take points of the past, as far back
//! as the window reaches, so that a sender may catch up; but each series only forward.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::block::{Block, Fresh};
use super::column::Column;
use super::forms::{Form, Forms, Stamp};
use super::recent::{Limits, Recent};
use crate::model::{FamilyRef, FloatHistogram, Labels, Point, Suffix, TargetId};

/// How far ahead of our clock a pushed point may be, as in Prometheus: its sender's clock need not be ours.
const MOST_AHEAD: Duration = Duration::from_secs(600);

/// What became of points that were appended. Every point is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Kept.
    pub kept: usize,
    /// Same time and same value as the last of its series: left out, and no mistake; senders repeat what they are not
    /// sure of.
    pub duplicate: usize,
    /// Same time as the last of its series, another value. The first one stays.
    pub conflict: usize,
    /// Older than the last of its series.
    pub out_of_order: usize,
    /// Older than what is kept at all.
    pub too_old: usize,
    /// More than ten minutes ahead of our clock. Only of pushed points.
    pub in_future: usize,
    /// Of a series for which there is no room.
    pub over_limit: usize,
    /// The limit that left no room, as the configuration names it: `series_per_target` or `series`.
    pub limit: Option<&'static str>,
}

impl Appended {
    /// Points that were not kept although their sender meant something by them.
    pub fn rejected(&self) -> usize {
        self.conflict + self.out_of_order + self.too_old + self.in_future + self.over_limit
    }
}

/// A sample that somebody pushed.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its family.
    pub family: FamilyRef,
    /// All labels of its series.
    pub labels: Labels,
    /// Milliseconds since the epoch.
    pub t: i64,
    /// What it says.
    pub value: Arrived,
    /// Since when it counts, milliseconds since the epoch; 0 where that is not known.
    pub start: i64,
}

/// What an [`Arrival`] says.
#[derive(Clone, Debug)]
pub enum Arrived {
    /// A number, or the stale marker.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// A native histogram on its way in: its family, all labels of its series, its time in milliseconds.
pub type KeptHistogram = (FamilyRef, Labels, i64, Arc<FloatHistogram>);

/// What a row has for itself that does not share the times of its block.
pub(super) struct Own {
    /// Of the values of the column.
    pub(super) times: VecDeque<i64>,
    pub(super) column: Column,
    pub(super) histograms: VecDeque<(i64, Arc<FloatHistogram>)>,
    /// Up to when they were handed on to be kept longer than the window.
    pub(super) saved: i64,
}

impl Default for Own {
    fn default() -> Self {
        let (times, column, histograms) = Default::default();
        Own { times, column, histograms, saved: i64::MIN }
    }
}

impl Own {
    /// The first and the last time of numbers, and of histograms.
    pub(super) fn ends(&self) -> [(Option<i64>, Option<i64>); 2] {
        let numbers = (self.times.front().copied(), self.times.back().copied());
        [numbers, (self.histograms.front().map(|(t, _)| *t), self.histograms.back().map(|(t, _)| *t))]
    }

    /// The time of the oldest sample.
    pub(super) fn first(&self) -> Option<i64> {
        self.ends().into_iter().filter_map(|(first, _)| first).min()
    }

    fn last(&self) -> Option<i64> {
        self.ends().into_iter().filter_map(|(_, last)| last).max()
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.column.is_dead() && self.histograms.is_empty()
    }

    /// The numbers of a range of time, stale markers included.
    pub(super) fn points(&self, start: i64, end: i64) -> Vec<Point> {
        let range = self.times.partition_point(|t| *t < start)..self.times.partition_point(|t| *t <= end);
        let mut points = Vec::with_capacity(range.len());
        self.column.each(range, |index, v| points.extend(self.times.get(index).map(|t| Point { t: *t, v })));
        points
    }

    /// Drops what is older than `oldest`, and saved if it must be.
    pub(super) fn prune(&mut self, oldest: i64, only_saved: bool) {
        let oldest = if only_saved { oldest.min(self.saved.saturating_add(1)) } else { oldest };
        self.histograms.drain(..self.histograms.partition_point(|(t, _)| *t < oldest));
        let old = self.times.partition_point(|t| *t < oldest);
        self.times.drain(..old);
        self.column.drop_front(old);
    }

    /// Drops what is not older than `limit`. Says whether there was a number among it.
    pub(super) fn rewind(&mut self, limit: i64) -> bool {
        self.histograms.truncate(self.histograms.partition_point(|(t, _)| *t < limit));
        let keep = self.times.partition_point(|t| *t < limit);
        let future = self.times.len() - keep;
        self.times.truncate(keep);
        self.column.drop_back(future);
        self.saved = self.saved.min(limit.saturating_sub(1));
        future > 0
    }
}

/// A value on its way into a row.
enum Value<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

/// A point on its way into a block.
struct Entry<'a> {
    family: &'a FamilyRef,
    labels: &'a Labels,
    t: i64,
    value: Value<'a>,
    start: i64,
}

impl Recent {
    /// Makes a block known into which somebody pushes samples that are complete as they are. It is there for queries
    /// and rules, and not on the page. It takes as many series as a target.
    pub fn declare_pushed(&self, id: &TargetId, kind: &str) {
        self.declare_block(id, Block::plain(kind.into(), true, true));
    }

    /// Appends points, in the order in which they stand. A stale marker ends a series. `now` is our clock; in a block
    /// that is not pushed into, points after it are taken back: the clock was set.
    ///
    /// Nothing is kept for a block that is not known.
    pub fn append_points(&self, id: &TargetId, points: &[(FamilyRef, Labels, Point)], now: i64) -> Appended {
        let entries = points.iter().map(|(family, labels, point)| {
            let value = Value::Float(point.v);
            Entry { family, labels, t: point.t, value, start: 0 }
        });
        self.append_entries(id, entries, now)
    }

    /// Appends native histograms, as [`Recent::append_points`] does numbers. A series may hold both, at different
    /// times.
    pub fn append_histograms(&self, id: &TargetId, histograms: &[KeptHistogram], now: i64) -> Appended {
        let entries = histograms.iter().map(|(family, labels, t, histogram)| {
            let value = Value::Histogram(histogram);
            Entry { family, labels, t: *t, value, start: 0 }
        });
        self.append_entries(id, entries, now)
    }

    /// Appends what was pushed, as [`Recent::append_points`] does points.
    pub fn append_arrivals(&self, id: &TargetId, arrivals: &[Arrival], now: i64) -> Appended {
        let entries = arrivals.iter().map(|Arrival { family, labels, t, value, start }| {
            let value = match value {
                Arrived::Float(v) => Value::Float(*v),
                Arrived::Histogram(histogram) => Value::Histogram(histogram),
            };
            Entry { family, labels, t: *t, value, start: *start }
        });
        self.append_entries(id, entries, now)
    }

    fn append_entries<'a>(&self, id: &TargetId, entries: impl Iterator<Item = Entry<'a>>, now: i64) -> Appended {
        let change = |block: &mut Block, forms: &mut Forms, room: &Room| {
            let done = block.append_entries(entries, now, room, forms);
            (done, block.prune(now, room, forms))
        };
        self.change_block(id, now, change).unwrap_or_default()
    }
}

/// What is left for one block.
pub(super) struct Room {
    /// Series of all other blocks.
    pub(super) others: usize,
    pub(super) limits: Limits,
    pub(super) window: Duration,
    /// How far back pushed points are taken, where that is further than the window.
    pub(super) backlog: Option<Duration>,
}

impl Room {
    /// Whether a block may get one more series, or the limit that is in the way.
    fn for_one_more(&self, block: &Block) -> Result<(), &'static str> {
        // What rules record is bounded by their own limits.
        if block.pushed && block.is_full(self.limits.series_per_target) {
            return Err("series_per_target");
        }
        if self.others + block.rows.len() >= self.limits.series { Err("series") } else { Ok(()) }
    }
}

impl Block {
    fn append_entries<'a>(
        &mut self,
        entries: impl Iterator<Item = Entry<'a>>,
        now: i64,
        room: &Room,
        forms: &mut Forms,
    ) -> Appended {
        let reach = room.backlog.filter(|_| self.pushed).unwrap_or_default().max(room.window);
        let oldest = now.saturating_sub(i64::try_from(reach.as_millis()).unwrap_or(i64::MAX));
        let newest = now.saturating_add(MOST_AHEAD.as_millis() as i64); // ten minutes
        let mut done = Appended::default();
        let mut fresh = Fresh::new();
        if !self.pushed {
            self.rewind(now.saturating_add(1));
        }
        for entry in entries {
            if entry.t < oldest {
                done.too_old += 1;
            } else if self.pushed && entry.t > newest {
                done.in_future += 1;
            } else {
                let form = entry.form();
                let known = forms.alike(&form).find_map(|number| self.row_of(number, &fresh));
                match known.map_or_else(|| room.for_one_more(self), |_| Ok(())) {
                    Ok(()) => {
                        let row = known.unwrap_or_else(|| self.add(form, Some(Box::default()), forms, &mut fresh));
                        let own = self.own.get_mut(row).and_then(Option::as_deref_mut);
                        if let Some(own) = own.and_then(|own| own.append(&entry, &mut done).then_some(own)) {
                            self.rows[row].follow(own);
                            self.started(self.rows[row].form, entry.t, entry.start);
                        }
                    }
                    Err(limit) => {
                        done.over_limit += 1;
                        done.limit = Some(limit);
                    }
                }
            }
        }
        self.settle(None, fresh);
        done
    }
}

impl Entry<'_> {
    fn form(&self) -> Form {
        let (family, suffix) = (self.family.clone(), Suffix::None);
        Form { stamp: Stamp::None, family, suffix, key: self.labels.clone(), own: self.labels.clone() }
    }
}

impl Own {
    /// Says whether it was kept.
    fn append(&mut self, entry: &Entry<'_>, done: &mut Appended) -> bool {
        let before = done.kept;
        match self.last() {
            Some(last) if entry.t < last => done.out_of_order += 1,
            Some(last) if entry.t == last => {
                let same = match &entry.value {
                    // Bits, because a NaN is a value like any other here.
                    Value::Float(v) => self.times.back() == Some(&last) && self.column.newest() == Some(v.to_bits()),
                    Value::Histogram(h) => self.histograms.back().is_some_and(|(t, kept)| *t == last && kept == *h),
                };
                *(if same { &mut done.duplicate } else { &mut done.conflict }) += 1;
            }
            _ => {
                match &entry.value {
                    Value::Float(v) => {
                        self.times.push_back(entry.t);
                        self.column.push(*v);
                    }
                    Value::Histogram(h) => self.histograms.push_back((entry.t, Arc::clone(h))),
                }
                done.kept += 1;
            }
        }
        done.kept > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::stale_nan;
    use crate::model::{Family, Matcher, Series, Source};
    use crate::store::page::Format;

    static ANY: Family = Family::gauge("any", "Anything", &[]);
    const NOW: i64 = 1_000_000_000;

    fn recent(series_per_target: usize) -> (Recent, TargetId) {
        let recent = Recent::new(Duration::from_secs(60), Limits { series_per_target, ..Limits::default() });
        let id = TargetId::from("/push/agent");
        recent.declare_pushed(&id, "remote_write");
        (recent, id)
    }

    fn point(name: &str, t: i64, v: f64) -> (FamilyRef, Labels, Point) {
        (FamilyRef::from(&ANY), Labels::new([("__name__", name)]), Point { t, v })
    }

    fn histogram(name: &str, t: i64, count: f64) -> (FamilyRef, Labels, i64, Arc<FloatHistogram>) {
        let histogram = FloatHistogram { count, ..FloatHistogram::default() };
        (FamilyRef::from(&ANY), Labels::new([("__name__", name)]), t, Arc::new(histogram))
    }

    fn select(recent: &Recent, name: &str) -> Vec<Series> {
        recent.select(&[Matcher::equal("__name__", name)], 0, i64::MAX).unwrap()
    }

    #[test]
    fn every_point_has_a_fate() {
        let (recent, id) = recent(2);
        let points = [
            point("a", NOW - 10_000, 1.0),
            point("a", NOW - 5_000, f64::NAN),
            point("a", NOW - 5_000, f64::NAN),
            point("a", NOW - 5_000, 2.0),
            point("a", NOW - 7_000, 1.0),
            point("b", NOW - 61_000, 1.0),
            point("b", NOW + 5_000, 1.0),
            point("b", NOW + 601_000, 1.0),
            point("c", NOW, 1.0),
            point("a", NOW, stale_nan()),
        ];
        let want = Appended {
            kept: 4,
            duplicate: 1,
            conflict: 1,
            out_of_order: 1,
            too_old: 1,
            in_future: 1,
            over_limit: 1,
            limit: Some("series_per_target"),
        };
        assert_eq!(recent.append_points(&id, &points, NOW), want);
        assert_eq!(want.rejected(), 5);
        assert_eq!(select(&recent, "a")[0].points.len(), 3);
        // What a sender's clock is ahead of ours is not taken back by the next points.
        recent.append_points(&id, &[point("a", NOW + 1, 1.0)], NOW + 1);
        assert_eq!(select(&recent, "b")[0].points, [Point { t: NOW + 5_000, v: 1.0 }]);
        assert!(recent.page(Format::Text, None).is_empty(), "what was pushed is not on the page");
        assert_eq!(recent.append_points(&"nobody".into(), &points, NOW), Appended::default());
    }

    #[test]
    fn a_series_may_change_between_numbers_and_histograms() {
        let (recent, id) = recent(10);
        let put = |entries: &[_]| recent.append_histograms(&id, entries, NOW);
        let done = put(&[histogram("h", NOW - 3, 1.0), histogram("h", NOW - 3, 1.0), histogram("h", NOW - 3, 2.0)]);
        assert_eq!((done.kept, done.duplicate, done.conflict), (1, 1, 1));
        let done = recent.append_points(&id, &[point("h", NOW - 3, 1.0), point("h", NOW - 2, 1.0)], NOW);
        assert_eq!((done.kept, done.conflict), (1, 1), "of two samples at one time only one is there");
        assert_eq!(put(&[histogram("h", NOW - 2, 1.0), histogram("h", NOW - 1, 1.0)]).conflict, 1);
        let series = &select(&recent, "h")[0];
        let times = (series.histograms.iter().map(|(t, _)| *t).collect::<Vec<_>>(), series.points[0].t);
        assert_eq!(times, (vec![NOW - 3, NOW - 1], NOW - 2));
        recent.append_points(&id, &[], NOW + 100_000);
        assert!(select(&recent, "h").is_empty() && recent.series_by_kind() == [("remote_write".to_string(), 0)]);
    }
}
