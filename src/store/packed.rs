//! The values of all series of a block that share its times, packed.
//!
//! A row knows its newest run: the value of the last polls, and of how many. What was before stands here, in chunks of
//! [`POLLS`] polls. A chunk holds the times of its polls and, for each series that changed in it, a stack of the runs
//! that ended there; a series that did not change takes nothing. All is told backwards, each run by its difference from
//! the one that followed, because the newest is the one that is at hand: a new run costs a push, a reader pops until
//! it has enough, and what leaves the window are whole chunks at the front that nothing refers to.

use super::codec::{Run, put_varint, take, take_varint};
use super::column::ABSENT_BITS;
use super::stack::{self, Stack};
use crate::model::Point;

/// Polls of a chunk. More would take less for what each chunk says once, and hold more that has left the window.
const POLLS: u32 = 32;

/// Bytes that a chunk grows by: it grows with nearly every poll.
const STEP: usize = 128;

/// A series that says something else than in the poll before.
pub(super) struct Change {
    pub(super) form: u32,
    /// The run that ended.
    pub(super) before: Run,
    /// What it says now.
    pub(super) after: u64,
}

/// Times, and what rows said before their newest runs.
#[derive(Default)]
pub(super) struct Packed {
    chunks: Vec<Chunk>,
    /// Polls of the first chunk that have left the window.
    gone: u32,
    /// Polls in the window.
    polls: u32,
}

struct Chunk {
    /// Time of its first poll.
    first: i64,
    polls: u32,
    /// Milliseconds after the first, four bytes for each poll; then for each series that changed, in the order of forms:
    /// difference to the form before, length, scale, stack.
    bytes: Vec<u8>,
}

impl Packed {
    /// Polls in the window.
    pub(super) fn polls(&self) -> u32 {
        self.polls
    }

    /// The time of the oldest poll.
    pub(super) fn first(&self) -> Option<i64> {
        Some(self.chunks.first()?.time(self.gone))
    }

    /// The time of the newest poll.
    pub(super) fn last(&self) -> Option<i64> {
        self.chunks.last().map(Chunk::last)
    }

    /// The times of all polls.
    pub(super) fn times(&self) -> impl Iterator<Item = i64> {
        let all = self.chunks.iter().flat_map(|chunk| (0..chunk.polls).map(|poll| chunk.time(poll)));
        all.skip(self.gone as usize)
    }

    /// Enters a poll that is later than all others, with what changed; says of each series once.
    pub(super) fn push(&mut self, at: i64, changes: &mut [Change]) {
        changes.sort_unstable_by_key(|change| change.form);
        let fits = |chunk: &Chunk| chunk.polls < POLLS && u32::try_from(at - chunk.first).is_ok();
        if !self.chunks.last().is_some_and(fits) {
            if let Some(full) = self.chunks.last_mut() {
                full.bytes.shrink_to_fit();
            }
            self.chunks.reserve_exact(1);
            self.chunks.push(Chunk { first: at, polls: 0, bytes: Vec::new() });
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(at, changes);
            self.polls += 1;
        }
    }

    /// Drops the polls before `oldest`.
    pub(super) fn drop_before(&mut self, oldest: i64) {
        let whole = self.chunks.iter().take_while(|chunk| chunk.last() < oldest).count();
        let before = self.gone;
        if whole > 0 {
            self.polls -= self.chunks[..whole].iter().map(|chunk| chunk.polls).sum::<u32>() - before;
            self.chunks.drain(..whole);
            self.gone = 0;
        }
        if let Some(chunk) = self.chunks.first() {
            let gone = (self.gone..chunk.polls).take_while(|poll| chunk.time(*poll) < oldest).count() as u32;
            self.gone += gone;
            self.polls -= gone;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Packed::default();
    }

    /// What a series with this newest run said within a range of time, stale markers included.
    pub(super) fn points(&self, form: u32, newest: Run, start: i64, end: i64) -> Vec<Point> {
        let touched = |chunk: &&Chunk| chunk.first <= end && chunk.last() >= start;
        let most: u32 = self.chunks.iter().filter(touched).map(|chunk| chunk.polls).sum();
        let mut points = Vec::with_capacity(most as usize);
        let mut walk = Walk { bits: newest.bits, same: newest.count };
        for (index, chunk) in self.chunks.iter().enumerate().rev() {
            if chunk.last() < start {
                break;
            }
            let gone = if index == 0 { self.gone } else { 0 };
            walk.through(chunk, form, |bits, polls| {
                for poll in polls.filter(|poll| *poll >= gone && bits != ABSENT_BITS).rev() {
                    let t = chunk.time(poll);
                    if (start..=end).contains(&t) {
                        points.push(Point { t, v: f64::from_bits(bits) });
                    }
                }
            });
        }
        points.reverse();
        points
    }

    /// The bits of a series in all polls, oldest first, those of no value too.
    pub(super) fn bits(&self, form: u32, newest: Run) -> Vec<u64> {
        let mut all = Vec::new();
        let mut walk = Walk { bits: newest.bits, same: newest.count };
        for chunk in self.chunks.iter().rev() {
            walk.through(chunk, form, |bits, polls| all.extend(polls.map(|_| bits)));
        }
        all.truncate(self.polls as usize);
        all.reverse();
        all
    }
}

/// Where a reader stands who goes back in time.
struct Walk {
    /// The value that followed.
    bits: u64,
    /// For so many polls more it is known to be the same.
    same: u32,
}

impl Walk {
    /// Hands out the runs of a chunk, newest first, each with its polls.
    fn through(&mut self, chunk: &Chunk, form: u32, mut take: impl FnMut(u64, std::ops::Range<u32>)) {
        let mut end = chunk.polls;
        // A run that began with the chunk's first poll leaves word there of what was before.
        if self.same > chunk.polls {
            self.same -= chunk.polls;
            return take(self.bits, 0..end);
        }
        self.same = 0;
        let Some(stack) = chunk.stack(form) else { return take(self.bits, 0..end) };
        // What the newest run of this chunk takes is what the others leave.
        let mut ended: Vec<Run> = Vec::with_capacity(POLLS as usize);
        ended.extend(Stack { bits: self.bits, ..stack });
        let begin = ended.iter().map(|run| run.count).sum::<u32>().min(end);
        take(self.bits, begin..end);
        end = begin;
        for run in ended {
            let begin = end.saturating_sub(run.count);
            take(run.bits, begin..end);
            (self.bits, end) = (run.bits, begin);
        }
    }
}

impl Chunk {
    fn time(&self, poll: u32) -> i64 {
        let place = poll as usize * 4;
        let offset = self.bytes.get(place..place + 4).and_then(|bytes| bytes.try_into().ok());
        self.first + i64::from(u32::from_le_bytes(offset.unwrap_or_default()))
    }

    fn last(&self) -> i64 {
        self.time(self.polls.saturating_sub(1))
    }

    fn entries(&self) -> Entries<'_> {
        Entries { rest: self.bytes.get(self.polls as usize * 4..).unwrap_or_default(), form: 0 }
    }

    /// The runs of a series that ended in this chunk.
    fn stack(&self, form: u32) -> Option<Stack<'_>> {
        let entry = self.entries().find(|entry| entry.form >= form).filter(|entry| entry.form == form)?;
        Some(Stack { bits: 0, scale: entry.scale, bytes: entry.stack })
    }

    fn push(&mut self, at: i64, changes: &[Change]) {
        let times = self.polls as usize * 4;
        let mut bytes = Vec::with_capacity(self.bytes.len() + 4 + changes.len() * 16);
        bytes.extend_from_slice(self.bytes.get(..times).unwrap_or_default());
        // It fits, or another chunk would have been begun.
        bytes.extend_from_slice(&(at.saturating_sub(self.first) as u32).to_le_bytes());
        let mut changes = changes.iter().peekable();
        let mut out = Writer { bytes, form: 0 };
        for entry in self.entries() {
            while let Some(change) = changes.next_if(|change| change.form < entry.form) {
                out.put(&Entry::of(change), Some(self.token(change)));
            }
            let change = changes.next_if(|change| change.form == entry.form);
            out.put(&entry, change.map(|change| self.token(change)));
        }
        for change in changes {
            out.put(&Entry::of(change), Some(self.token(change)));
        }
        self.bytes.clear();
        if self.bytes.capacity() < out.bytes.len() {
            self.bytes.reserve_exact(out.bytes.len().next_multiple_of(STEP));
        }
        self.bytes.extend_from_slice(&out.bytes);
        self.polls += 1;
    }

    /// The run that ended, as far as it is of this chunk.
    fn token(&self, change: &Change) -> (Run, u64) {
        (Run { bits: change.before.bits, count: change.before.count.min(self.polls) }, change.after)
    }
}

/// What a chunk says of one series.
struct Entry<'a> {
    form: u32,
    scale: u8,
    stack: &'a [u8],
}

impl Entry<'_> {
    /// The entry of a series that has none yet.
    fn of(change: &Change) -> Self {
        let scale = stack::scale_of(change.before.bits, change.after);
        Entry { form: change.form, scale, stack: &[] }
    }
}

struct Entries<'a> {
    rest: &'a [u8],
    form: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let gap = take_varint(&mut self.rest)? as u32; // written from a u32
        self.form = self.form.wrapping_add(gap);
        let length = take_varint(&mut self.rest)? as usize; // written from a usize
        let (scale, stack) = take(&mut self.rest, length)?.split_first()?;
        Some(Entry { form: self.form, scale: *scale, stack })
    }
}

/// Writes entries in the order of forms.
struct Writer {
    bytes: Vec<u8>,
    form: u32,
}

impl Writer {
    /// An entry, with one more run and what followed it.
    fn put(&mut self, entry: &Entry<'_>, run: Option<(Run, u64)>) {
        put_varint(&mut self.bytes, entry.form.wrapping_sub(self.form).into());
        self.form = entry.form;
        let mut top = [0; stack::MOST_BYTES];
        let (scale, top) = match run {
            Some((run, after)) => stack::push_run(&mut top, entry.scale, run, after),
            None => (entry.scale, &[][..]),
        };
        put_varint(&mut self.bytes, (1 + entry.stack.len() + top.len()) as u64);
        self.bytes.push(scale);
        self.bytes.extend_from_slice(entry.stack);
        self.bytes.extend(top.iter().rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::stale_nan;
    use proptest::prelude::*;

    /// What a series said in each poll, by hand.
    #[derive(Default)]
    struct Model {
        packed: Packed,
        times: Vec<i64>,
        said: Vec<Vec<u64>>,
        newest: Vec<Run>,
    }

    impl Model {
        fn new(series: usize) -> Self {
            let newest = vec![Run { bits: ABSENT_BITS, count: 0 }; series];
            Model { said: vec![Vec::new(); series], newest, ..Model::default() }
        }

        fn push(&mut self, at: i64, values: &[u64]) {
            let mut changes = Vec::new();
            for ((form, run), after) in (0..).zip(&mut self.newest).zip(values) {
                if run.bits == *after {
                    run.count += 1;
                    continue;
                }
                let before = std::mem::replace(run, Run { bits: *after, count: 1 });
                // Forms that are far apart, too, and changes in any order.
                changes.extend((before.count > 0).then_some(Change { form: form * 1000 + 7, before, after: *after }));
            }
            changes.reverse();
            self.packed.push(at, &mut changes);
            self.times.push(at);
            self.said.iter_mut().zip(values).for_each(|(said, bits)| said.push(*bits));
        }

        fn check(&self, oldest: i64, start: i64, end: i64) {
            for (form, (said, newest)) in (0..).zip(self.said.iter().zip(&self.newest)) {
                let all = self.times.iter().copied().zip(said.iter().copied()).filter(|(t, _)| *t >= oldest);
                let bits: Vec<u64> = all.clone().map(|(_, bits)| bits).collect();
                assert_eq!(self.packed.bits(form * 1000 + 7, *newest), bits);
                let want = all.filter(|(t, bits)| (start..=end).contains(t) && *bits != ABSENT_BITS);
                let got = self.packed.points(form * 1000 + 7, *newest, start, end);
                let got: Vec<_> = got.into_iter().map(|point| (point.t, point.v.to_bits())).collect();
                assert_eq!(got, want.collect::<Vec<_>>(), "series {form}");
            }
            let times: Vec<i64> = self.times.iter().copied().filter(|t| *t >= oldest).collect();
            assert_eq!(self.packed.times().collect::<Vec<_>>(), times);
            assert_eq!(self.packed.polls() as usize, times.len());
            assert_eq!((self.packed.first(), self.packed.last()), (times.first().copied(), times.last().copied()));
        }
    }

    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![
            8 => Just(1050.0_f64.to_bits()),
            8 => (0_u32..40).prop_map(|n| ((f64::from(n) + 613.0) / 10.0).to_bits()),
            4 => (1_u32..9999).prop_map(|n| (f64::from(n) * 1e6 + 1e12).to_bits()),
            2 => any::<f64>().prop_map(f64::to_bits),
            2 => Just(stale_nan().to_bits()),
            2 => Just(ABSENT_BITS),
            1 => Just((-0.0_f64).to_bits()),
            1 => any::<u64>(),
        ]
    }

    proptest! {
        #[test]
        fn what_was_said_is_read(
            polls in prop::collection::vec((1_i64..9000, prop::collection::vec(value(), 4), any::<[bool; 4]>()), 1..150),
            window in 1_i64..900_000,
            range in (0_i64..900_000, 0_i64..900_000),
        ) {
            let (mut model, mut at, mut oldest) = (Model::new(4), 1_700_000_000_000_i64, i64::MIN);
            let mut now = vec![ABSENT_BITS; 4];
            for (step, values, changed) in polls {
                at += step;
                (0..4).filter(|series| changed[*series]).for_each(|series| now[series] = values[series]);
                model.push(at, &now);
                oldest = at - window;
                model.packed.drop_before(oldest);
            }
            model.check(oldest, at - range.0 - range.1, at - range.0);
            model.check(oldest, i64::MIN, i64::MAX);
        }
    }

    #[test]
    fn a_month_between_two_polls() {
        let mut model = Model::new(1);
        for (day, value) in (0_i64..40).zip([1.0_f64, 2.0].iter().cycle()) {
            model.push(day * 40 * 86_400_000, &[value.to_bits()]);
        }
        model.check(i64::MIN, 0, i64::MAX);
    }

    /// What a drifting number costs is what decides how much memory a fleet takes.
    #[test]
    fn what_drifts_takes_two_bytes_and_what_does_not_takes_none() {
        let bytes = |value: fn(i64) -> f64| {
            let mut model = Model::new(1);
            (0..64).for_each(|poll| model.push(poll * 15_000, &[value(poll).to_bits()]));
            model.packed.chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>() - 64 * 4
        };
        assert_eq!(bytes(|_| 31.4), 0);
        assert!(bytes(|poll| (574_026 + poll * 15) as f64) <= 64 + 20, "seconds");
        assert!(bytes(|poll| 52.0 + (poll * 37 % 100) as f64 / 100.0) <= 2 * 64 + 20, "hundredths");
        assert!(bytes(|poll| (1_051_591 + poll * 37 % 100 * 20) as f64 * 1e6) <= 2 * 64 + 20, "millions");
        assert!(bytes(|poll| 1.0 / (poll + 3) as f64) <= 9 * 64 + 20, "no decimals");
    }
}
