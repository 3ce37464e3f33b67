//! A column: the values of one series, one per poll of its target, run-length encoded.
//!
//! All series of a target share the timestamps of its polls, so a column holds values only. Most of what a device says
//! (settings, counts, states) does not change for hours: a run costs 16 bytes however long it is.

use std::collections::VecDeque;

use crate::model::series::{is_stale, stale_nan};

/// The bits of "this poll brought no value": a NaN that no parser produces and that is never handed out.
const ABSENT_BITS: u64 = 0x7ff0_0000_0000_0003;

#[derive(Clone, Copy, Debug, Default)]
struct Run {
    bits: u64,
    count: u32,
}

/// The values of one series over the polls of the window, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Column {
    older: VecDeque<Run>,
    /// Apart from the others, so that a series which never changed needs no more memory, and a page reads no further.
    /// Its count is zero only in an empty column.
    latest: Run,
}

impl Column {
    /// An empty column for a series that appears now, after `before` polls that did not bring it.
    pub fn starting_after(before: usize) -> Self {
        let latest = Run { bits: ABSENT_BITS, count: u32::try_from(before).unwrap_or(u32::MAX) };
        Column { latest, ..Column::default() }
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
        let run = &mut self.latest;
        if run.bits == bits && run.count < u32::MAX {
            run.count += 1;
            return;
        }
        let before = std::mem::replace(run, Run { bits, count: 1 });
        if before.count > 0 {
            self.older.push_back(before);
        }
    }

    /// Drops the oldest `count` values.
    pub fn drop_front(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let run = self.older.front_mut().unwrap_or(&mut self.latest);
            let size = run.count as usize;
            if size > left {
                run.count -= left as u32; // left < size, which came from a u32
                return;
            }
            if self.older.pop_front().is_none() {
                self.latest = Run::default();
                return;
            }
            left -= size;
        }
    }

    /// Drops the newest `count` values.
    pub fn drop_back(&mut self, count: usize) {
        let mut left = count;
        while left > 0 && self.latest.count > 0 {
            let size = self.latest.count as usize;
            if size > left {
                self.latest.count -= left as u32; // left < size, which came from a u32
                return;
            }
            self.latest = self.older.pop_back().unwrap_or_default();
            left -= size;
        }
    }

    /// The current value: of the last poll, if that brought one.
    pub fn last(&self) -> Option<f64> {
        let value = f64::from_bits(self.latest.bits);
        (self.latest.count > 0 && self.latest.bits != ABSENT_BITS && !is_stale(value)).then_some(value)
    }

    /// The bits of the newest value, a stale marker included.
    pub fn newest(&self) -> Option<u64> {
        (self.latest.count > 0 && self.latest.bits != ABSENT_BITS).then_some(self.latest.bits)
    }

    /// Whether the window holds no value at all: the series can be forgotten.
    pub fn is_dead(&self) -> bool {
        let empty = |run: &Run| run.bits == ABSENT_BITS || run.count == 0;
        empty(&self.latest) && self.older.iter().all(empty)
    }

    /// Values by index of the poll, stale markers included, polls without a value left out.
    pub fn values(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let mut next = 0;
        self.older.iter().chain([&self.latest]).flat_map(move |run| {
            let first = next;
            next += run.count as usize;
            let range = if run.bits == ABSENT_BITS { 0..0 } else { first..next };
            range.map(|index| (index, f64::from_bits(run.bits)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(column: &Column) -> Vec<(usize, String)> {
        column.values().map(|(i, v)| (i, if is_stale(v) { "stale".into() } else { v.to_string() })).collect()
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
}
