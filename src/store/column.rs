//! A column: the values of one series, one per poll of its target, run-length encoded.
//!
//! All series of a target share the timestamps of its polls, so a column holds values only. Most of what a device says
//! (settings, counts, states) does not change for hours: a run costs nothing more however long it is. What changes is
//! packed, a few runs at a time; a decimal number that drifts takes two or three bytes.

use std::ops::Range;

use super::codec::{Run, put_runs, put_varint, take, take_runs, take_varint};
use crate::model::series::{is_stale, stale_nan};

/// The bits of "this poll brought no value": a NaN that no parser produces and that is never handed out.
pub(super) const ABSENT_BITS: u64 = 0x7ff0_0000_0000_0003;

/// Runs that are packed together: more would take less, once packed, and more until then.
const PACKED_TOGETHER: usize = 16;

/// The values of one series over the polls of the window, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// The newest run, apart from the others, so that a series which never changed needs no more memory, and a page
    /// reads no further. Its count is zero only in an empty column.
    bits: u64,
    count: u32,
    older: Option<Box<Older>>,
}

/// All runs but the newest.
#[derive(Clone, Debug, Default)]
struct Older {
    /// Each chunk: how many values, how many bytes, the bytes.
    packed: Vec<u8>,
    /// Values of the first chunk that have been dropped.
    skip: u32,
    open: Vec<Run>,
}

/// A chunk of packed runs.
struct Chunk<'a> {
    values: u32,
    runs: &'a [u8],
}

impl Older {
    fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        let mut rest = &self.packed[..];
        std::iter::from_fn(move || take_chunk(&mut rest))
    }

    fn push(&mut self, run: Run) {
        if self.open.len() == PACKED_TOGETHER {
            let values = self.open.iter().fold(0_u32, |sum, run| sum.saturating_add(run.count));
            let mut runs = Vec::with_capacity(PACKED_TOGETHER * 3);
            put_runs(&mut runs, &self.open);
            put_varint(&mut self.packed, values.into());
            put_varint(&mut self.packed, runs.len() as u64);
            self.packed.extend_from_slice(&runs);
            self.open.clear();
        }
        self.open.push(run);
    }

    /// Drops the oldest `count` values, and says how many there were.
    fn drop_front(&mut self, count: usize) -> usize {
        let mut left = count;
        let mut rest = &self.packed[..];
        let mut gone = 0;
        while let Some(chunk) = take_chunk(&mut rest) {
            let size = (chunk.values - self.skip) as usize;
            if size > left {
                self.skip += left as u32; // left < size, which came from a u32
                left = 0;
                break;
            }
            left -= size;
            self.skip = 0;
            gone = self.packed.len() - rest.len();
        }
        self.packed.drain(..gone);
        let mut emptied = 0;
        for run in &mut self.open {
            let size = run.count as usize;
            if left == 0 || size > left {
                run.count -= left as u32; // left < size, which came from a u32
                left = 0;
                break;
            }
            left -= size;
            emptied += 1;
        }
        self.open.drain(..emptied);
        count - left
    }

    fn is_empty(&self) -> bool {
        self.packed.is_empty() && self.open.is_empty()
    }
}

fn take_chunk<'a>(rest: &mut &'a [u8]) -> Option<Chunk<'a>> {
    let values = take_varint(rest)? as u32; // written from a u32
    let length = take_varint(rest)? as usize; // written from a usize
    Some(Chunk { values, runs: take(rest, length)? })
}

impl Column {
    /// An empty column for a series that appears now, after `before` polls that did not bring it.
    pub fn starting_after(before: usize) -> Self {
        Column { bits: ABSENT_BITS, count: u32::try_from(before).unwrap_or(u32::MAX), older: None }
    }

    /// Appends a value.
    pub fn push(&mut self, value: f64) {
        self.push_bits(value.to_bits());
    }

    /// Appends "not in this poll": the stale marker once, then nothing.
    pub fn push_missing(&mut self) {
        match self.last() {
            Some(_) => self.push_bits(stale_nan().to_bits()),
            None => self.push_bits(ABSENT_BITS),
        }
    }

    fn push_bits(&mut self, bits: u64) {
        if self.bits == bits && self.count < u32::MAX {
            self.count += 1;
            return;
        }
        let before =
            Run { bits: std::mem::replace(&mut self.bits, bits), count: std::mem::replace(&mut self.count, 1) };
        if before.count > 0 {
            self.older.get_or_insert_default().push(before);
        }
    }

    /// Drops the oldest `count` values.
    pub fn drop_front(&mut self, count: usize) {
        let mut left = count;
        if let Some(older) = &mut self.older {
            left -= older.drop_front(left);
            if older.is_empty() {
                self.older = None;
            }
        }
        self.count = self.count.saturating_sub(u32::try_from(left).unwrap_or(u32::MAX));
    }

    /// Drops the newest `count` values.
    pub fn drop_back(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let mut runs = self.runs();
        let mut left = count;
        while let Some(run) = runs.last_mut().filter(|_| left > 0) {
            let size = run.count as usize;
            if size > left {
                run.count -= left as u32; // left < size, which came from a u32
                break;
            }
            left -= size;
            runs.pop();
        }
        *self = Column::default();
        let newest = runs.pop().unwrap_or_default();
        if !runs.is_empty() {
            let older = self.older.get_or_insert_default();
            runs.into_iter().for_each(|run| older.push(run));
        }
        (self.bits, self.count) = (newest.bits, newest.count);
    }

    /// The current value: of the last poll, if that brought one.
    pub fn last(&self) -> Option<f64> {
        self.newest().map(f64::from_bits).filter(|value| !is_stale(*value))
    }

    /// The bits of the newest value, a stale marker included.
    pub fn newest(&self) -> Option<u64> {
        (self.count > 0 && self.bits != ABSENT_BITS).then_some(self.bits)
    }

    /// Whether the window holds no value at all: the series can be forgotten.
    pub fn is_dead(&self) -> bool {
        // Two runs side by side are never the same, so that with an older one there is a value.
        self.newest().is_none() && self.older.is_none()
    }

    fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        self.each_run(0..usize::MAX, |_, run| runs.push(run));
        runs
    }

    /// Hands out the runs that touch a range of polls, each with its first index.
    fn each_run(&self, range: Range<usize>, mut take: impl FnMut(usize, Run)) {
        let mut next = 0;
        let mut hand = |run: Run, next: &mut usize| {
            let first = *next;
            *next += run.count as usize;
            if first < range.end && *next > range.start && run.count > 0 {
                take(first, run);
            }
        };
        if let Some(older) = &self.older {
            let mut skip = older.skip;
            for chunk in older.chunks() {
                let size = (chunk.values - skip) as usize;
                if next + size <= range.start || next >= range.end {
                    next += size;
                    skip = 0;
                    continue;
                }
                for mut run in take_runs(&mut &chunk.runs[..]).unwrap_or_default() {
                    let gone = skip.min(run.count);
                    (skip, run.count) = (skip - gone, run.count - gone);
                    hand(run, &mut next);
                }
            }
            older.open.iter().for_each(|run| hand(*run, &mut next));
        }
        hand(Run { bits: self.bits, count: self.count }, &mut next);
    }

    /// Hands out the values of a range of polls by index, stale markers included, polls without a value left out.
    pub fn each(&self, range: Range<usize>, mut take: impl FnMut(usize, f64)) {
        self.each_run(range.clone(), |first, run| {
            if run.bits != ABSENT_BITS {
                let indices = first.max(range.start)..(first + run.count as usize).min(range.end);
                indices.for_each(|index| take(index, f64::from_bits(run.bits)));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(column: &Column) -> Vec<(usize, String)> {
        let mut values = Vec::new();
        column.each(0..usize::MAX, |i, v| values.push((i, if is_stale(v) { "stale".into() } else { v.to_string() })));
        values
    }

    #[test]
    fn a_gap_is_one_stale_marker() {
        let mut column = Column::starting_after(2);
        column.push(1.0);
        column.push(1.0);
        column.push_missing();
        column.push_missing();
        column.push(f64::NAN);
        let want = [(2, "1"), (3, "1"), (4, "stale"), (6, "NaN")].map(|(i, v)| (i, v.to_string()));
        assert_eq!(shown(&column), want);
        assert!(column.last().is_some_and(f64::is_nan));
    }

    #[test]
    fn old_values_leave_at_the_front() {
        let mut column = Column::default();
        for value in [1.0, 1.0, 2.0, 3.0] {
            column.push(value);
        }
        column.drop_front(1);
        assert_eq!(shown(&column), [(0, "1".to_string()), (1, "2".into()), (2, "3".into())]);
        column.drop_front(2);
        assert_eq!(shown(&column), [(0, "3".to_string())]);
        column.push_missing();
        column.drop_front(2);
        assert!(column.is_dead() && column.last().is_none() && shown(&column).is_empty());
        column.push(0.0);
        column.push(1.0);
        column.push(1.0);
        column.drop_back(1);
        assert_eq!(shown(&column), [(0, "0".to_string()), (1, "1".into())]);
        column.drop_back(1);
        assert_eq!((shown(&column), column.is_dead()), (vec![(0, "0".to_string())], false));
        column.drop_back(5);
        assert!(column.is_dead() && shown(&column).is_empty());
    }

    /// What a column is to be: a list of values.
    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Missing,
        DropFront(usize),
        DropBack(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            20 => (0_u8..4).prop_map(Step::Push),
            2 => Just(Step::Missing),
            5 => (0_usize..5).prop_map(Step::DropFront),
            1 => (0_usize..30).prop_map(Step::DropBack),
        ]
    }

    proptest! {
        #[test]
        fn a_column_is_a_list(steps in prop::collection::vec(step(), 0..400), range in (0_usize..100, 0_usize..200)) {
            let (mut column, mut list) = (Column::default(), Vec::<Option<u64>>::new());
            for step in steps {
                match step {
                    Step::Push(value) => {
                        column.push(f64::from(value) / 10.0);
                        list.push(Some((f64::from(value) / 10.0).to_bits()));
                    }
                    Step::Missing => {
                        column.push_missing();
                        let was = list.last().copied().flatten().filter(|bits| *bits != stale_nan().to_bits());
                        list.push(was.map(|_| stale_nan().to_bits()));
                    }
                    Step::DropFront(count) => {
                        column.drop_front(count);
                        list.drain(..count.min(list.len()));
                    }
                    Step::DropBack(count) => {
                        column.drop_back(count);
                        list.truncate(list.len().saturating_sub(count));
                    }
                }
            }
            let mut got = Vec::new();
            column.each(range.0..range.1, |index, value| got.push((index, value.to_bits())));
            let want = list.iter().enumerate().filter_map(|(index, bits)| Some((index, (*bits)?)));
            prop_assert_eq!(got, want.filter(|(index, _)| (range.0..range.1).contains(index)).collect::<Vec<_>>());
            prop_assert_eq!(column.is_dead(), list.iter().all(Option::is_none));
        }
    }
}
