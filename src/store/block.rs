//! A block: all series of one target (or of one group of rules), with the timestamps that they share.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::append::{Own, Room};
use super::codec::Run;
use super::column::ABSENT_BITS;
use super::forms::{Form, Forms, Stamp, named, series_name};
use super::packed::{Change, Packed};
use super::recent::Kept;
use crate::model::series::{is_stale, stale_nan};
use crate::model::{Labels, Point, Sample, Series, Starts, Target};

/// All series of one target (or of one group of rules), with the timestamps that they share.
#[derive(Default)]
pub(super) struct Block {
    /// Its number among the blocks.
    pub(super) number: u32,
    pub(super) kind: Arc<str>,
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
    /// The times that rows share, and what those said before their newest runs.
    pub(super) packed: Packed,
    /// Sorted by form.
    pub(super) rows: Vec<Row>,
    /// What rows have for themselves that do not share the times; empty if none has.
    pub(super) own: Vec<Option<Box<Own>>>,
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

/// A series, with its newest run: a page reads no further.
pub(super) struct Row {
    /// Number of its form.
    pub(super) form: u32,
    /// For how many polls it has said the same, those that left the window included.
    count: u32,
    bits: u64,
}

/// Rows that were added since they were last sorted, by form.
pub(super) type Fresh = HashMap<u32, u32>;

impl Row {
    /// The current value: of the last poll, if that brought one.
    pub(super) fn last(&self) -> Option<f64> {
        let value = f64::from_bits(self.bits);
        (self.bits != ABSENT_BITS && !is_stale(value)).then_some(value)
    }

    /// Enters what a poll brought, a stale marker once where it brought nothing.
    pub(super) fn says(&mut self, value: Option<f64>) -> Option<Change> {
        let missing = || if self.last().is_some() { stale_nan().to_bits() } else { ABSENT_BITS };
        self.turns(value.map_or_else(missing, f64::to_bits))
    }

    fn turns(&mut self, bits: u64) -> Option<Change> {
        if self.bits == bits {
            self.count = self.count.saturating_add(1);
            return None;
        }
        let before = std::mem::replace(self, Row { form: self.form, count: 1, bits }).newest();
        (before.count > 0).then_some(Change { form: self.form, before, after: bits })
    }

    /// Takes over the newest value of a row that has times of its own.
    pub(super) fn follow(&mut self, own: &Own) {
        self.bits = own.column.newest().unwrap_or(ABSENT_BITS);
    }

    fn newest(&self) -> Run {
        Run { bits: self.bits, count: self.count }
    }
}

fn label_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

impl Block {
    /// A block without labels of its own.
    pub(super) fn plain(kind: Arc<str>, hidden: bool, pushed: bool) -> Self {
        Block { kind, hidden, pushed, saved: i64::MIN, ..Block::default() }
    }

    /// The block of a target.
    pub(super) fn of_target(target: &Target, subject: &'static str) -> Self {
        let id = target.id.as_ref();
        let about = target.labels.with("target", id).with("kind", target.kind.as_ref());
        Block {
            stamp: target.labels.with(subject, id),
            about,
            subject,
            ..Block::plain(target.kind.clone(), false, false)
        }
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

    /// What a row has for itself, if it does not share the times.
    pub(super) fn own(&self, row: usize) -> Option<&Own> {
        self.own.get(row)?.as_deref()
    }

    /// Rows that do not share the times, with what they have for themselves.
    fn owners(&mut self) -> impl Iterator<Item = (&mut Row, &mut Own)> {
        let all = self.rows.iter_mut().zip(&mut self.own);
        all.filter_map(|(row, own)| Some((row, own.as_deref_mut()?)))
    }

    /// Drops the points of a future that a clock which was set back has taken away. Kept, they would hide everything
    /// newer from rules until the clock has caught up, and time would run in two orders.
    pub(super) fn rewind(&mut self, limit: i64) {
        let future = self.packed.last().is_some_and(|last| last >= limit);
        let mut back = future || self.saved >= limit;
        if future {
            self.repack(limit);
        }
        for (row, own) in self.owners() {
            back |= own.rewind(limit);
            row.follow(own);
        }
        self.starts.values_mut().for_each(|starts| starts.forget_from(limit));
        self.rewinds = self.rewinds.wrapping_add(u32::from(back));
        self.saved = self.saved.min(limit.saturating_sub(1));
    }

    /// Takes in anew what the polls before `limit` said. No matter of every day, so it need not be quick.
    fn repack(&mut self, limit: i64) {
        let times: Vec<i64> = self.packed.times().take_while(|t| *t < limit).collect();
        let said: Vec<_> = self.rows.iter().map(|row| self.packed.bits(row.form, row.newest())).collect();
        self.packed.clear();
        self.rows.iter_mut().for_each(|row| *row = Row { count: 0, bits: ABSENT_BITS, ..*row });
        for (poll, t) in times.into_iter().enumerate() {
            let rows = self.rows.iter_mut().zip(&said);
            let mut changes: Vec<Change> = rows.filter_map(|(row, bits)| row.turns(*bits.get(poll)?)).collect();
            self.packed.push(t, &mut changes);
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
        let number = forms.enter(form);
        forms.attach(number, self.number);
        let row = self.rows.len();
        fresh.insert(number, row as u32);
        if own.is_some() {
            self.own.resize_with(row, || None);
        }
        if own.is_some() || !self.own.is_empty() {
            self.own.push(own);
        }
        self.rows.push(Row { form: number, count: self.packed.polls(), bits: ABSENT_BITS });
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
            if !self.own.is_empty() {
                self.own = sorted.iter().map(|row| self.own[*row as usize].take()).collect();
            }
        }
        // Most blocks never get another row.
        self.rows.shrink_to_fit();
        self.order.shrink_to_fit();
    }

    /// Drops what is older than the window, and rows that hold nothing any more. Says whether rows went.
    pub(super) fn prune(&mut self, now: i64, room: &Room, forms: &mut Forms) -> bool {
        let oldest = now.saturating_sub(i64::try_from(room.window.as_millis()).unwrap_or(i64::MAX));
        let only_saved = self.pushed && room.backlog.is_some();
        self.packed.drop_before(oldest);
        for (row, own) in self.owners() {
            own.prune(oldest, only_saved);
            row.follow(own);
        }
        self.prune_starts();
        let dead: Vec<bool> = (0..self.rows.len()).map(|row| self.is_dead(row)).collect();
        let died = dead.contains(&true);
        if died {
            let number = self.number;
            self.rows.iter().zip(&dead).filter(|(_, dead)| **dead).for_each(|(row, _)| forms.detach(row.form, number));
            let mut gone = dead.iter();
            self.rows.retain(|_| gone.next() == Some(&false));
            let mut gone = dead.iter();
            self.own.retain(|_| gone.next() == Some(&false));
            let bytes = |form: &Form| label_bytes(self.stamped(form.stamp)) + label_bytes(&form.own);
            self.label_bytes = self.rows.iter().filter_map(|row| forms.get(row.form)).map(bytes).sum();
            self.order.clear();
        }
        died
    }

    /// Whether the window holds nothing of a row any more.
    fn is_dead(&self, row: usize) -> bool {
        match self.own(row) {
            Some(own) => own.is_empty(),
            None => self.rows[row].bits == ABSENT_BITS && self.rows[row].count >= self.packed.polls(),
        }
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
        let mut starts = std::mem::take(&mut self.starts);
        starts.retain(|form, starts| {
            let row = self.rows.binary_search_by_key(form, |row| row.form).ok().filter(|row| !self.is_dead(*row));
            let Some(row) = row else { return false };
            let first = self.own(row).map_or_else(|| self.packed.first(), Own::first);
            starts.forget_before(first.unwrap_or(i64::MIN));
            !starts.is_empty()
        });
        self.starts = starts;
    }

    /// Start timestamps of what a row holds of a range of time.
    pub(super) fn starts(&self, row: usize, start: i64, end: i64) -> Starts {
        self.starts.get(&self.rows[row].form).map(|starts| starts.cut(start, end)).unwrap_or_default()
    }

    /// What a row holds of a range of time, stale markers included.
    pub(super) fn points(&self, row: usize, start: i64, end: i64) -> Vec<Point> {
        match self.own(row) {
            Some(own) => own.points(start, end),
            None => self.packed.points(self.rows[row].form, self.rows[row].newest(), start, end),
        }
    }

    /// Whether a row may hold something of a range of time.
    pub(super) fn touches(&self, row: usize, start: i64, end: i64) -> bool {
        let within = |(first, last): (Option<i64>, Option<i64>)| {
            first.is_some_and(|first| first <= end) && last.is_some_and(|last| last >= start)
        };
        match self.own(row) {
            Some(own) => own.ends().into_iter().any(within),
            None => within((self.packed.first(), self.packed.last())),
        }
    }

    /// The series of a row, with what it holds of a range of time; `None` if that is nothing.
    pub(super) fn series(&self, row: usize, form: &Form, start: i64, end: i64) -> Option<Series> {
        let points = self.points(row, start, end);
        let own = self.own(row).into_iter().flat_map(|own| &own.histograms);
        let histograms: Vec<_> = own.filter(|(t, _)| (start..=end).contains(t)).cloned().collect();
        let some = !points.is_empty() || !histograms.is_empty();
        some.then(|| Series { labels: self.labels(form), points, histograms, starts: self.starts(row, start, end) })
    }
}
