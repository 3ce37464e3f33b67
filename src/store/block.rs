//! A block: all series of one target (or of one group of rules), with the timestamps that they share.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};

use super::append::{Own, Room};
use super::column::Column;
use super::forms::{Form, Forms, Stamp, named, series_name};
use super::recent::Kept;
use crate::model::{Labels, Point, Sample, Series, Starts, Target};

/// All series of one target (or of one group of rules), with the timestamps that they share.
#[derive(Default)]
pub(super) struct Block {
    /// Its number among the blocks.
    pub(super) number: u32,
    pub(super) kind: String,
    pub(super) hidden: bool,
    /// Whether somebody pushes samples into it, by a clock that is not ours.
    pub(super) pushed: bool,
    /// The subject's label and the static ones, added to every sample of the target.
    pub(super) stamp: Labels,
    /// Labels that the scheduler's samples about the target have in common.
    pub(super) about: Labels,
    /// No labels.
    nothing: Labels,
    pub(super) subject: &'static str,
    pub(super) times: VecDeque<i64>,
    /// Sorted by form.
    pub(super) rows: Vec<Row>,
    /// Start timestamps of the few rows that have some, by form.
    starts: BTreeMap<u32, Starts>,
    /// Row of each sample of the last poll, in its order: a device answers in the same order each time.
    order: Vec<u32>,
    /// Of the labels of all rows.
    label_bytes: usize,
    /// Up to when its points were handed on to be kept longer than the window; [`i64::MIN`] if none were.
    pub(super) saved: i64,
    /// How often points were taken back.
    pub(super) rewinds: u32,
}

/// A series counts as one for every so many bytes of its labels: a target that invents a kilobyte of labels for every
/// sample of every poll would otherwise hold gigabytes before it holds too many series.
const LABEL_BYTES_PER_SERIES: usize = 512;

/// A series.
pub(super) struct Row {
    /// Number of its form.
    pub(super) form: u32,
    pub(super) column: Column,
    /// The row's own timestamps, where it does not share those of its block. In a box, because nearly no row has any.
    pub(super) own: Option<Box<Own>>,
}

/// Rows that were added since they were last sorted, by form.
pub(super) type Fresh = HashMap<u32, u32>;

impl Row {
    /// Drops what is older than `oldest`, of `old` shared times or of its own.
    fn prune(&mut self, oldest: i64, old: usize, only_saved: bool) {
        let old = self.own.as_deref_mut().map_or(old, |own| own.prune(oldest, only_saved));
        self.column.drop_front(old);
    }

    /// Drops what is not older than `limit`, of `future` shared times or of its own.
    /// Says whether there was any.
    fn rewind(&mut self, limit: i64, future: usize) -> bool {
        let future = self.own.as_deref_mut().map_or(future, |own| own.rewind(limit));
        self.column.drop_back(future);
        future > 0
    }

    /// Whether the window holds nothing of it any more.
    fn is_dead(&self) -> bool {
        self.column.is_dead() && self.own.as_ref().is_none_or(|own| own.histograms.is_empty())
    }
}

fn label_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

impl Block {
    /// A block without labels of its own.
    pub(super) fn plain(kind: &str, hidden: bool, pushed: bool) -> Self {
        Block { kind: kind.to_string(), hidden, pushed, saved: i64::MIN, ..Block::default() }
    }

    /// The block of a target.
    pub(super) fn of_target(target: &Target, subject: &'static str) -> Self {
        let id = target.id.as_ref();
        let about = target.labels.with("target", id).with("kind", target.kind.as_ref());
        Block { stamp: target.labels.with(subject, id), about, subject, ..Block::plain(&target.kind, false, false) }
    }

    /// The labels that a stamp brings.
    pub(super) fn stamped(&self, stamp: Stamp) -> &Labels {
        match stamp {
            Stamp::None => &self.nothing,
            Stamp::Target => &self.stamp,
            Stamp::About => &self.about,
        }
    }

    /// The complete labels of a series.
    pub(super) fn labels(&self, form: &Form) -> Labels {
        match form.stamp {
            Stamp::None => form.own.clone(),
            stamp => self.stamped(stamp).merge(&form.own),
        }
    }

    /// A point of a row, as others are told of it.
    pub(super) fn kept(&self, row: &Row, forms: &Forms, t: i64, v: f64) -> Option<Kept> {
        let form = forms.get(row.form)?;
        Some((form.family.clone(), self.labels(form), Point { t, v }))
    }

    /// Drops the points of a future that a clock which was set back has taken away. Kept, they would hide everything
    /// newer from rules until the clock has caught up, and time would run in two orders.
    pub(super) fn rewind(&mut self, limit: i64) {
        let keep = self.times.partition_point(|t| *t < limit);
        let future = self.times.len() - keep;
        self.times.truncate(keep);
        let mut back = future > 0 || self.saved >= limit;
        if future > 0 || self.rows.iter().any(|row| row.own.is_some()) {
            self.rows.iter_mut().for_each(|row| back |= row.rewind(limit, future));
        }
        self.starts.values_mut().for_each(|starts| starts.forget_from(limit));
        self.rewinds = self.rewinds.wrapping_add(u32::from(back));
        self.saved = self.saved.min(limit.saturating_sub(1));
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

    /// The form of a sample, as the target `said` it or the scheduler did.
    fn form(&self, sample: &Sample, said: bool) -> Form {
        let name = series_name(&sample.family, sample.suffix);
        let (family, suffix) = (sample.family.clone(), sample.suffix);
        if said {
            // What the target says must not pass for what the owner configured.
            let own = named(sample.labels.iter().map(|(name, value)| (self.exported(name), value)), &name);
            return Form { stamp: Stamp::Target, family, suffix, key: sample.labels.clone(), own };
        }
        let common = self.about.iter().all(|(name, value)| sample.labels.get(name) == Some(value));
        let stamp = if common { Stamp::About } else { Stamp::None };
        let rest = sample.labels.iter().filter(|(name, _)| !common || self.about.get(name).is_none());
        let own = named(rest, &name);
        Form { stamp, family, suffix, key: own.filter(|name| name != crate::model::labels::METRIC_NAME), own }
    }

    /// Whether a sample is of a form, without building its own.
    fn is_of(&self, sample: &Sample, said: bool, form: &Form) -> bool {
        if form.family.name != sample.family.name || form.suffix != sample.suffix {
            return false;
        }
        match form.stamp {
            Stamp::Target => said && form.key == sample.labels,
            Stamp::None | Stamp::About if said => false,
            stamp => sample.labels.is_union(self.stamped(stamp), &form.key),
        }
    }

    /// The row of a form.
    pub(super) fn row_of(&self, form: u32, fresh: &Fresh) -> Option<usize> {
        let sorted = &self.rows[..self.rows.len() - fresh.len()];
        let found = sorted.binary_search_by_key(&form, |row| row.form).ok();
        found.or_else(|| fresh.get(&form).map(|row| *row as usize))
    }

    /// The row of a sample that stands at `position` of its poll; else its form.
    pub(super) fn find(
        &self,
        position: usize,
        sample: &Sample,
        said: bool,
        forms: &Forms,
        fresh: &Fresh,
    ) -> Result<usize, Form> {
        let expected = self.order.get(position).map(|row| *row as usize);
        let same = |row: &usize| {
            let form = self.rows.get(*row).and_then(|row| forms.get(row.form));
            form.is_some_and(|form| self.is_of(sample, said, form))
        };
        if let Some(row) = expected.filter(same) {
            return Ok(row);
        }
        let form = self.form(sample, said);
        let known = forms.alike(&form).find_map(|number| self.row_of(number, fresh));
        known.ok_or(form)
    }

    /// Adds a row of a form that the block does not have yet. [`Block::settle`] it before anything else is done.
    pub(super) fn add(&mut self, form: Form, own: Option<Box<Own>>, forms: &mut Forms, fresh: &mut Fresh) -> usize {
        self.label_bytes += label_bytes(self.stamped(form.stamp)) + label_bytes(&form.own);
        let before = if own.is_some() { 0 } else { self.times.len() };
        let number = forms.enter(form);
        forms.attach(number, self.number);
        let row = self.rows.len();
        fresh.insert(number, row as u32);
        self.rows.push(Row { form: number, column: Column::starting_after(before), own });
        row
    }

    /// Sorts added rows in; `order` is that of the last poll.
    pub(super) fn settle(&mut self, order: Option<Vec<u32>>, fresh: Fresh) {
        if let Some(order) = order {
            self.order = order;
        }
        if fresh.is_empty() {
            return;
        }
        if !self.rows.is_sorted_by_key(|row| row.form) {
            let mut sorted: Vec<u32> = (0..self.rows.len() as u32).collect();
            sorted.sort_by_key(|row| self.rows[*row as usize].form);
            let mut now = vec![0; sorted.len()];
            sorted.iter().zip(0..).for_each(|(row, at)| now[*row as usize] = at);
            self.order.iter_mut().for_each(|row| *row = now[*row as usize]);
            self.rows.sort_by_key(|row| row.form);
        }
        // Most blocks never get another row.
        self.rows.shrink_to_fit();
        self.order.shrink_to_fit();
    }

    /// Drops what is older than the window, and rows that hold nothing any more. Says whether rows went.
    pub(super) fn prune(&mut self, now: i64, room: &Room, forms: &mut Forms) -> bool {
        let oldest = now.saturating_sub(i64::try_from(room.window.as_millis()).unwrap_or(i64::MAX));
        let only_saved = self.pushed && room.backlog.is_some();
        let old = self.times.partition_point(|t| *t < oldest);
        self.times.drain(..old);
        let mut died = false;
        for row in &mut self.rows {
            row.prune(oldest, old, only_saved);
            died |= row.is_dead();
        }
        self.prune_starts();
        if died {
            let number = self.number;
            self.rows.retain(|row| {
                let dead = row.is_dead();
                if dead {
                    forms.detach(row.form, number);
                }
                !dead
            });
            let bytes = |form: &Form| label_bytes(self.stamped(form.stamp)) + label_bytes(&form.own);
            self.label_bytes = self.rows.iter().filter_map(|row| forms.get(row.form)).map(bytes).sum();
            self.order.clear();
        }
        died
    }

    /// Says since when the newest sample of a row counts; 0 where that is not known.
    pub(super) fn started(&mut self, form: u32, t: i64, start: i64) {
        match self.starts.get_mut(&form) {
            Some(known) => known.push(t, start),
            None if start != 0 => self.starts.entry(form).or_default().push(t, start),
            None => {}
        }
    }

    fn prune_starts(&mut self) {
        let (rows, times) = (&self.rows, &self.times);
        self.starts.retain(|form, starts| {
            let row = rows.binary_search_by_key(form, |row| row.form).ok().map(|row| &rows[row]);
            let Some(row) = row.filter(|row| !row.is_dead()) else { return false };
            let first = row.own.as_ref().map_or(times.front().copied(), |own| own.first());
            starts.forget_before(first.unwrap_or(i64::MIN));
            !starts.is_empty()
        });
    }

    /// Start timestamps of what a row holds of a range of time.
    pub(super) fn starts(&self, row: &Row, start: i64, end: i64) -> Starts {
        self.starts.get(&row.form).map(|starts| starts.cut(start, end)).unwrap_or_default()
    }

    /// What a row holds of a range of time, stale markers included.
    pub(super) fn points(&self, row: &Row, start: i64, end: i64) -> Vec<Point> {
        let times = row.own.as_ref().map_or(&self.times, |own| &own.times);
        let range = times.partition_point(|t| *t < start)..times.partition_point(|t| *t <= end);
        let mut points = Vec::with_capacity(range.len());
        row.column.each(range, |index, v| points.extend(times.get(index).map(|t| Point { t: *t, v })));
        points
    }

    /// Whether a row may hold something of a range of time.
    pub(super) fn touches(&self, row: &Row, start: i64, end: i64) -> bool {
        let within = |first: Option<i64>, last: Option<i64>| {
            first.is_some_and(|first| first <= end) && last.is_some_and(|last| last >= start)
        };
        let times = row.own.as_ref().map_or(&self.times, |own| &own.times);
        let histograms = row.own.as_ref().map(|own| &own.histograms);
        let ends = histograms.map(|all| (all.front().map(|(t, _)| *t), all.back().map(|(t, _)| *t)));
        within(times.front().copied(), times.back().copied()) || ends.is_some_and(|(first, last)| within(first, last))
    }

    /// The series of a row, with what it holds of a range of time; `None` if that is nothing.
    pub(super) fn series(&self, row: &Row, form: &Form, start: i64, end: i64) -> Option<Series> {
        let points = self.points(row, start, end);
        let own = row.own.iter().flat_map(|own| &own.histograms);
        let histograms: Vec<_> = own.filter(|(t, _)| (start..=end).contains(t)).cloned().collect();
        let some = !points.is_empty() || !histograms.is_empty();
        some.then(|| Series { labels: self.labels(form), points, histograms, starts: self.starts(row, start, end) })
    }
}
