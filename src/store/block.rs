//! A block: all series of one target (or of one group of rules), with the timestamps that they share.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::append::Own;
use super::column::Column;
use super::recent::Kept;
use crate::model::labels::METRIC_NAME;
use crate::model::{FamilyRef, Labels, Point, Sample, Series, Suffix};

/// All series of one target (or of one group of rules), with the timestamps that they share.
#[derive(Default)]
pub(super) struct Block {
    pub(super) kind: String,
    pub(super) hidden: bool,
    /// Whether somebody pushes samples into it, by a clock that is not ours.
    pub(super) pushed: bool,
    /// The subject's label and the static ones, added to every sample.
    pub(super) stamp: Labels,
    pub(super) subject: &'static str,
    pub(super) times: VecDeque<i64>,
    pub(super) rows: Vec<Row>,
    /// Row of each sample of the last poll, in its order: a device answers in the same order each time.
    pub(super) order: Vec<u32>,
    /// Rows whose points come one by one.
    pub(super) by_labels: HashMap<Labels, u32>,
    /// Of the labels of all rows.
    pub(super) label_bytes: usize,
}

/// Rows by the name of their series and what the parser said. Made only for a poll whose order is not that of the last:
/// kept, it would be a third of all memory.
pub(super) type Index = HashMap<(bool, String, Labels), u32>;

/// A series counts as one for every so many bytes of its labels: a target that invents a kilobyte of labels for every
/// sample of every poll would otherwise hold gigabytes before it holds too many series.
const LABEL_BYTES_PER_SERIES: usize = 512;

pub(super) struct Row {
    pub(super) family: FamilyRef,
    pub(super) suffix: Suffix,
    /// As the parser said them.
    pub(super) key: Labels,
    /// Whether the target says it, not the scheduler: what a target says of itself must not pass for what we saw.
    pub(super) said: bool,
    /// Complete, with the metric name.
    pub(super) labels: Labels,
    pub(super) column: Column,
    /// The row's own timestamps, where it does not share those of its block. In a box, because nearly no row has any.
    pub(super) own: Option<Box<Own>>,
}

impl Row {
    /// A point of this row, as others are told of it.
    pub(super) fn kept(&self, t: i64, v: f64) -> Kept {
        (self.family.clone(), self.labels.clone(), Point { t, v })
    }

    /// Drops what is older than `oldest`, of `old` shared times or of its own.
    pub(super) fn prune(&mut self, oldest: i64, old: usize) {
        let old = match self.own.as_deref_mut() {
            None => old,
            Some(Own { times, histograms }) => {
                histograms.drain(..histograms.partition_point(|(t, _)| *t < oldest));
                let old = times.partition_point(|t| *t < oldest);
                times.drain(..old);
                old
            }
        };
        self.column.drop_front(old);
    }

    /// Drops what is not older than `limit`, of `future` shared times or of its own.
    pub(super) fn rewind(&mut self, limit: i64, future: usize) {
        let future = match self.own.as_deref_mut() {
            None => future,
            Some(Own { times, histograms }) => {
                histograms.truncate(histograms.partition_point(|(t, _)| *t < limit));
                let keep = times.partition_point(|t| *t < limit);
                let future = times.len() - keep;
                times.truncate(keep);
                future
            }
        };
        self.column.drop_back(future);
    }

    /// Whether the window holds nothing of it any more.
    fn is_dead(&self) -> bool {
        self.column.is_dead() && self.own.as_ref().is_none_or(|own| own.histograms.is_empty())
    }

    pub(super) fn label_bytes(&self) -> usize {
        self.labels.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl Block {
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Drops the points of a future that a clock which was set back has taken away. Kept, they would hide everything
    /// newer from rules until the clock has caught up, and time would run in two orders.
    pub(super) fn rewind(&mut self, limit: i64) {
        let keep = self.times.partition_point(|t| *t < limit);
        let future = self.times.len() - keep;
        self.times.truncate(keep);
        if future > 0 || !self.by_labels.is_empty() {
            self.rows.iter_mut().for_each(|row| row.rewind(limit, future));
        }
    }

    pub(super) fn is_full(&self, series: usize) -> bool {
        self.rows.len().max(self.label_bytes / LABEL_BYTES_PER_SERIES) >= series
    }

    /// The name under which a label of the target is kept: `exported_` before every name that the owner's own labels
    /// take, and before what already looks like that. Two labels never become one, or a target could make two series
    /// equal, and any rule that reads both would fail for the whole fleet.
    fn exported<'a>(&self, name: &'a str) -> Cow<'a, str> {
        const PREFIX: &str = "exported_";
        let bare = name.trim_start_matches(PREFIX);
        let taken = |name: &str| self.stamp.get(name).is_some() || name == self.subject;
        let mut prefix = String::new();
        while taken(&format!("{prefix}{bare}")) {
            prefix.push_str(PREFIX);
        }
        if prefix.is_empty() { Cow::Borrowed(name) } else { Cow::Owned(prefix + name) }
    }

    pub(super) fn find(&self, position: usize, sample: &Sample, said: bool, index: &mut Option<Index>) -> Option<u32> {
        let same = |row: &Row| {
            let series = row.family.name == sample.family.name && row.suffix == sample.suffix;
            series && row.said == said && row.key == sample.labels
        };
        let expected = self.order.get(position).copied();
        if let Some(expected) = expected.filter(|row| self.rows.get(*row as usize).is_some_and(same)) {
            return Some(expected);
        }
        let name = |row: &Row| series_name(&row.family, row.suffix);
        let entry = |(row, at): (&Row, u32)| ((row.said, name(row), row.key.clone()), at);
        let index = index.get_or_insert_with(|| self.rows.iter().zip(0..).map(entry).collect());
        index.get(&(said, series_name(&sample.family, sample.suffix), sample.labels.clone())).copied()
    }

    /// Adds a row for a sample that [`Block::find`] has not found; `index` was made there.
    pub(super) fn add(&mut self, sample: &Sample, said: bool, index: &mut Option<Index>) -> u32 {
        let name = series_name(&sample.family, sample.suffix);
        // What the target says must not pass for what the owner configured.
        let exported = |name| if said { self.exported(name) } else { Cow::Borrowed(name) };
        let own = sample.labels.iter().map(|(name, value)| (exported(name), value));
        let stamped = self.stamp.iter().filter(|_| said).map(|(name, value)| (Cow::Borrowed(name), value));
        let labels = Labels::new(stamped.chain(own).chain([(Cow::Borrowed(METRIC_NAME), &*name)]));
        let column = Column::starting_after(self.times.len());
        let (family, suffix, key) = (sample.family.clone(), sample.suffix, sample.labels.clone());
        let row = self.rows.len() as u32;
        let new = Row { family, suffix, key: key.clone(), said, labels, column, own: None };
        self.label_bytes += new.label_bytes();
        self.rows.push(new);
        index.get_or_insert_default().insert((said, name, key), row);
        row
    }

    /// Drops what is older than the window, and rows that hold nothing any more. Says whether rows went.
    pub(super) fn prune(&mut self, now: i64, window: Duration) -> bool {
        let oldest = now - i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        let old = self.times.partition_point(|t| *t < oldest);
        self.times.drain(..old);
        let mut died = false;
        for row in &mut self.rows {
            row.prune(oldest, old);
            died |= row.is_dead();
        }
        if died {
            self.rows.retain(|row| !row.is_dead());
            self.label_bytes = self.rows.iter().map(Row::label_bytes).sum();
            self.order.clear();
            let own = self.rows.iter().zip(0..).filter(|(row, _)| row.own.is_some());
            self.by_labels = own.map(|(row, at)| (row.key.clone(), at)).collect();
        }
        died
    }

    pub(super) fn points(&self, row: &Row, start: i64, end: i64) -> Vec<Point> {
        let times = row.own.as_ref().map_or(&self.times, |own| &own.times);
        let point = |(index, v)| times.get(index).map(|t| Point { t: *t, v });
        row.column.values().filter_map(point).filter(|point| (start..=end).contains(&point.t)).collect()
    }

    /// The series of a row, with what it holds of a range of time; `None` if that is nothing.
    pub(super) fn series(&self, row: &Row, start: i64, end: i64) -> Option<Series> {
        let points = self.points(row, start, end);
        let own = row.own.iter().flat_map(|own| &own.histograms);
        let histograms: Vec<_> = own.filter(|(t, _)| (start..=end).contains(t)).cloned().collect();
        let some = !points.is_empty() || !histograms.is_empty();
        some.then(|| Series { labels: row.labels.clone(), points, histograms })
    }
}

fn series_name(family: &FamilyRef, suffix: Suffix) -> String {
    [&*family.name, suffix.as_str()].concat()
}
