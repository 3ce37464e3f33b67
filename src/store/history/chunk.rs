//! Chunks: what stands under one key of the history. A few series of one group over some minutes or hours, the times
//! that they share only once, 2 to 4 KiB.
//!
//! ```text
//! crc32c of the rest (4 bytes) · version · last number of a series · time lists · rows
//! row: number of the series · sort · which time list · length · values
//! ```
//!
//! Values are runs of equal ones, or compressed by pco where that is shorter. Bits survive: stale markers, NaNs, zeros
//! of either sign.

use std::sync::Arc;

use crate::model::histogram::{Buckets, ResetHint, Span};
use crate::model::{FloatHistogram, Point, Starts};
use crate::store::codec::{Run, put_runs, put_varint, take, take_runs, take_varint, unzigzag, zigzag};

const VERSION: u8 = 1;
const RUNS: u8 = 0;
const PCO: u8 = 1;
const HISTOGRAMS: u8 = 2;
/// Since when samples count, with the time of the first sample of which it is so.
const STARTS: u8 = 3;

/// Fewer numbers are not worth the head that pco needs.
const PCO_FROM: usize = 64;

/// Most values of one row: what a damaged length may make us believe.
const MOST_VALUES: usize = 1 << 16;

/// Rows are added to a chunk until it holds so many bytes.
pub(super) const FULL: usize = 3 << 10;

/// The values of one series, with their times, rising.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::store) struct Row {
    /// Number of the series' own labels.
    pub own: u32,
    pub points: Vec<Point>,
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
    pub starts: Starts,
}

impl Row {
    /// Samples.
    pub fn len(&self) -> usize {
        self.points.len() + self.histograms.len()
    }

    /// First and last time.
    pub fn span(&self) -> Option<(i64, i64)> {
        let first = [self.points.first().map(|point| point.t), self.histograms.first().map(|(t, _)| *t)];
        let last = self.points.last().map(|point| point.t).max(self.histograms.last().map(|(t, _)| *t));
        first.into_iter().flatten().min().zip(last)
    }
}

/// A chunk that is being filled.
#[derive(Default)]
pub(super) struct Builder {
    times: Vec<Vec<i64>>,
    /// Bytes that the time lists will take, about.
    rows: Vec<u8>,
    count: usize,
    /// First and last number of its series.
    numbers: Option<(u32, u32)>,
}

impl Builder {
    /// Adds a row; their numbers rise.
    pub fn add(&mut self, row: &Row) {
        if !row.points.is_empty() {
            let times = row.points.iter().map(|point| point.t).collect();
            let (sort, values) = encode_values(&row.points);
            self.put(row.own, sort, times, &values);
        }
        if !row.histograms.is_empty() {
            let times = row.histograms.iter().map(|(t, _)| *t).collect();
            let mut values = Vec::new();
            row.histograms.iter().for_each(|(_, histogram)| put_histogram(&mut values, histogram));
            self.put(row.own, HISTOGRAMS, times, &values);
        }
        if !row.starts.is_empty() {
            let changes = row.starts.changes();
            let mut values = Vec::new();
            changes.iter().for_each(|(t, start)| put_varint(&mut values, zigzag(start.wrapping_sub(*t))));
            self.put(row.own, STARTS, changes.iter().map(|(t, _)| *t).collect(), &values);
        }
    }

    fn put(&mut self, own: u32, sort: u8, times: Vec<i64>, values: &[u8]) {
        let before = self.numbers.map_or(0, |(_, last)| last);
        // Most rows have the times of the one before.
        let list = self.times.iter().rposition(|known| *known == times).unwrap_or_else(|| {
            self.times.push(times);
            self.times.len() - 1
        });
        put_varint(&mut self.rows, u64::from(own - before));
        self.rows.push(sort);
        put_varint(&mut self.rows, list as u64);
        put_varint(&mut self.rows, values.len() as u64);
        self.rows.extend_from_slice(values);
        self.count += 1;
        self.numbers = Some((self.numbers.map_or(own, |(first, _)| first), own));
    }

    /// Whether there is enough in it.
    pub fn is_full(&self) -> bool {
        // Many rows with times of their own: a time takes about a byte.
        self.rows.len() + self.times.iter().map(Vec::len).sum::<usize>() >= FULL
    }

    /// The first number of a series in it, and its bytes; `None` if nothing was added.
    pub fn finish(&mut self) -> Option<(u32, Vec<u8>)> {
        let builder = std::mem::take(self);
        let (first, last) = builder.numbers?;
        let mut out = vec![0; 4];
        out.push(VERSION);
        put_varint(&mut out, last.into());
        put_varint(&mut out, builder.times.len() as u64);
        builder.times.iter().for_each(|times| put_times(&mut out, times));
        put_varint(&mut out, builder.count as u64);
        out.extend_from_slice(&builder.rows);
        seal(&mut out);
        Some((first, out))
    }
}

/// Puts the checksum into the first four bytes.
pub(super) fn seal(out: &mut [u8]) {
    let sum = crc32c::crc32c(&out[4..]);
    out[..4].copy_from_slice(&sum.to_le_bytes());
}

/// What stands behind a checksum that is right.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = bytes.split_at_checked(4)?;
    (sum == crc32c::crc32c(rest).to_le_bytes()).then_some(rest)
}

/// The last number of a series in a chunk, and its rows of which `wanted` says yes, cut to a range of time. `None` if it
/// is damaged.
pub(super) fn read(bytes: &[u8], wanted: impl Fn(u32) -> bool, start: i64, end: i64) -> Option<(u32, Vec<Row>)> {
    let mut rest = unseal(bytes)?;
    if take(&mut rest, 1)?[0] != VERSION {
        return None;
    }
    let last = u32::try_from(take_varint(&mut rest)?).ok()?;
    let lists = take_varint(&mut rest)?;
    let mut times = Vec::new();
    for _ in 0..lists {
        times.push(take_times(&mut rest)?);
    }
    let (count, mut own, mut rows) = (take_varint(&mut rest)?, 0_u32, Vec::<Row>::new());
    for _ in 0..count {
        own = own.checked_add(u32::try_from(take_varint(&mut rest)?).ok()?)?;
        let sort = take(&mut rest, 1)?[0];
        let times = times.get(usize::try_from(take_varint(&mut rest)?).ok()?)?;
        let length = usize::try_from(take_varint(&mut rest)?).ok()?;
        let values = take(&mut rest, length)?;
        if !wanted(own) {
            continue;
        }
        if rows.last().is_none_or(|row| row.own != own) {
            rows.push(Row { own, ..Row::default() });
        }
        let row = rows.last_mut()?;
        let within = times.partition_point(|t| *t < start)..times.partition_point(|t| *t <= end);
        match sort {
            HISTOGRAMS => {
                let mut rest = values;
                for (index, t) in times.iter().enumerate() {
                    let histogram = take_histogram(&mut rest)?;
                    if within.contains(&index) {
                        row.histograms.push((*t, Arc::new(histogram)));
                    }
                }
            }
            STARTS => {
                let (mut rest, mut starts) = (values, Starts::default());
                for t in times {
                    starts.push(*t, t.wrapping_add(unzigzag(take_varint(&mut rest)?)));
                }
                row.starts = starts.cut(start, end);
            }
            _ => {
                let values = decode_values(sort, values, times.len())?;
                let points = times.iter().zip(values).map(|(t, v)| Point { t: *t, v });
                row.points.extend(points.skip(within.start).take(within.len()));
            }
        }
    }
    Some((last, rows))
}

fn encode_values(points: &[Point]) -> (u8, Vec<u8>) {
    let mut runs: Vec<Run> = Vec::new();
    for bits in points.iter().map(|point| point.v.to_bits()) {
        match runs.last_mut() {
            Some(run) if run.bits == bits => run.count += 1,
            _ => runs.push(Run { bits, count: 1 }),
        }
    }
    let mut out = Vec::new();
    put_runs(&mut out, &runs);
    if runs.len() >= PCO_FROM {
        let values: Vec<f64> = points.iter().map(|point| point.v).collect();
        if let Some(packed) = pack(&values).filter(|packed| packed.len() < out.len()) {
            return (PCO, packed);
        }
    }
    (RUNS, out)
}

fn decode_values(sort: u8, bytes: &[u8], count: usize) -> Option<Vec<f64>> {
    let values: Vec<f64> = match sort {
        RUNS => {
            let runs = take_runs(&mut &*bytes)?;
            let total = runs.iter().try_fold(0_usize, |sum, run| sum.checked_add(run.count as usize));
            total.filter(|total| *total == count)?;
            runs.iter().flat_map(|run| std::iter::repeat_n(f64::from_bits(run.bits), run.count as usize)).collect()
        }
        PCO => unpack(bytes, count)?,
        _ => return None,
    };
    (values.len() == count).then_some(values)
}

fn pack<T: pco::data_types::Number>(values: &[T]) -> Option<Vec<u8>> {
    // It fails only for settings that make no sense; the numbers are then kept as runs.
    pco::standalone::simple_compress(values, &pco::ChunkConfig::default()).ok()
}

fn unpack<T: pco::data_types::Number + Default>(bytes: &[u8], count: usize) -> Option<Vec<T>> {
    // Into a slice of the right length: what a damaged head says about the length is not believed.
    let mut values = vec![T::default(); count];
    let progress = pco::standalone::simple_decompress_into(bytes, &mut values).ok()?;
    (progress.n_processed == count).then_some(values)
}

/// Times as differences of differences: polls come at a steady pace, a few milliseconds early or late.
fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    put_varint(out, times.len() as u64);
    let packed = (times.len() >= PCO_FROM).then(|| pack(times)).flatten();
    let (mut plain, mut before, mut step) = (Vec::new(), 0_i64, 0_i64);
    for t in times {
        let now = t.wrapping_sub(before);
        put_varint(&mut plain, zigzag(now.wrapping_sub(step)));
        (before, step) = (*t, now);
    }
    let packed = packed.filter(|packed| packed.len() < plain.len());
    out.push(if packed.is_some() { PCO } else { RUNS });
    let bytes = packed.unwrap_or(plain);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
}

fn take_times(rest: &mut &[u8]) -> Option<Vec<i64>> {
    let count = usize::try_from(take_varint(rest)?).ok().filter(|count| *count <= MOST_VALUES)?;
    let sort = take(rest, 1)?[0];
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let mut bytes = take(rest, length)?;
    if sort == PCO {
        return unpack(bytes, count);
    }
    let (mut times, mut before, mut step) = (Vec::with_capacity(count.min(bytes.len())), 0_i64, 0_i64);
    for _ in 0..count {
        step = step.wrapping_add(unzigzag(take_varint(&mut bytes)?));
        before = before.wrapping_add(step);
        times.push(before);
    }
    Some(times)
}

fn put_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    let hint = match histogram.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NoReset => 2,
        ResetHint::Gauge => 3,
    };
    out.extend_from_slice(&[hint, histogram.schema as u8]);
    let numbers = [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum];
    put_floats(out, &numbers);
    for Buckets { spans, counts } in [&histogram.positive, &histogram.negative] {
        put_varint(out, spans.len() as u64);
        for span in spans {
            put_varint(out, zigzag(span.offset.into()));
            put_varint(out, span.length.into());
        }
        put_floats(out, counts);
    }
    put_floats(out, &histogram.custom_values);
}

fn put_floats(out: &mut Vec<u8>, values: &[f64]) {
    put_runs(out, &values.iter().map(|v| Run { bits: v.to_bits(), count: 1 }).collect::<Vec<_>>());
}

fn take_floats(rest: &mut &[u8]) -> Option<Vec<f64>> {
    Some(take_runs(rest)?.into_iter().map(|run| f64::from_bits(run.bits)).collect())
}

fn take_histogram(rest: &mut &[u8]) -> Option<FloatHistogram> {
    let head = take(rest, 2)?;
    let reset_hint = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NoReset, ResetHint::Gauge];
    let (reset_hint, schema) = (*reset_hint.get(usize::from(head[0]))?, head[1] as i8);
    let numbers = take_floats(rest)?;
    let [zero_threshold, zero_count, count, sum] = numbers[..] else { return None };
    let mut buckets = || {
        let length = usize::try_from(take_varint(rest)?).ok().filter(|length| *length <= rest.len())?;
        let mut spans = Vec::with_capacity(length);
        for _ in 0..length {
            let offset = i32::try_from(unzigzag(take_varint(rest)?)).ok()?;
            spans.push(Span { offset, length: u32::try_from(take_varint(rest)?).ok()? });
        }
        Some(Buckets { spans, counts: take_floats(rest)? })
    };
    let (positive, negative) = (buckets()?, buckets()?);
    let custom_values = take_floats(rest)?;
    Some(FloatHistogram {
        reset_hint,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive,
        negative,
        custom_values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(rows: &[Row]) -> Vec<(u32, Vec<(i64, u64)>)> {
        rows.iter().map(|row| (row.own, row.points.iter().map(|p| (p.t, p.v.to_bits())).collect())).collect()
    }

    fn there_and_back(rows: &[Row]) -> Vec<u8> {
        let mut builder = Builder::default();
        rows.iter().for_each(|row| builder.add(row));
        let (first, bytes) = builder.finish().unwrap();
        let (last, back) = read(&bytes, |_| true, i64::MIN, i64::MAX).unwrap();
        assert_eq!((first, last), (rows[0].own, rows[rows.len() - 1].own));
        assert_eq!(bits(&back), bits(rows));
        assert_eq!(
            back.iter().map(|row| &row.histograms).collect::<Vec<_>>(),
            rows.iter().map(|row| &row.histograms).collect::<Vec<_>>()
        );
        bytes
    }

    fn row(own: u32, count: i64, value: impl Fn(i64) -> f64) -> Row {
        // Polls are a few milliseconds late.
        let point = |n: i64| Point { t: 1_700_000_000_000 + n * 15_000 + n * 7919 % 11, v: value(n) };
        Row { own, points: (0..count).map(point).collect(), ..Row::default() }
    }

    #[test]
    fn what_devices_say_takes_about_a_byte() {
        let noise = |n: i64| (n * 7919 % 104_729) as f64;
        let rows = [
            row(1, 1440, |_| 3600.0),
            row(2, 1440, |n| (600.0 + noise(n) % 37.0).round() / 10.0),
            row(3, 1440, |n| (n / 3) as f64),
            row(7, 1440, |n| 1.2e12 + (noise(n) % 1000.0) * 1e7),
            row(8, 1440, |n| f64::from(u8::from(n > 700))),
        ];
        let bytes = there_and_back(&rows);
        let each = bytes.len() as f64 / (5.0 * 1440.0);
        assert!(each < 1.0, "{each} bytes a sample");
    }

    #[test]
    fn histograms_come_back() {
        let histogram = |count: f64| FloatHistogram {
            schema: -53,
            count,
            sum: f64::from_bits(0x7ff0_0000_0000_0002),
            reset_hint: ResetHint::Gauge,
            zero_threshold: 1e-128,
            positive: Buckets { spans: vec![Span { offset: -3, length: 2 }], counts: vec![1.0, count] },
            custom_values: vec![0.1, 0.5],
            ..FloatHistogram::default()
        };
        let histograms: Vec<_> = (0..5).map(|n| (n, Arc::new(histogram(n as f64)))).collect();
        let points = vec![Point { t: 7, v: 1.0 }];
        let mut builder = Builder::default();
        let mut starts = Starts::default();
        [(0, 0), (1, 5), (2, 5), (3, 5), (4, -9), (7, 0)].iter().for_each(|(t, start)| starts.push(*t, *start));
        let row = Row { own: 3, points, histograms: histograms.clone(), starts };
        builder.add(&row);
        let (_, bytes) = builder.finish().unwrap();
        let (_, rows) = read(&bytes, |_| true, 2, 9).unwrap();
        assert_eq!((rows.len(), rows[0].points.len(), rows[0].histograms.len()), (1, 1, 3));
        assert_eq!(rows[0].starts, row.starts.cut(2, 9));
        // The stale marker in the sum is a NaN: compared by what is written.
        assert_eq!(format!("{:?}", rows[0].histograms), format!("{:?}", &histograms[2..]));
    }

    #[test]
    fn every_flipped_bit_is_found_and_what_is_not_asked_for_is_left_out() {
        let rows = [row(5, 20, |n| n as f64), row(9, 20, |_| 1.0)];
        let bytes = there_and_back(&rows);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bytes, |_| true, i64::MIN, i64::MAX).is_none(), "bit {bit}");
        }
        let cut = (rows[0].points[3].t, rows[0].points[5].t);
        let (last, some) = read(&bytes, |own| own == 9, cut.0, cut.1).unwrap();
        assert_eq!((last, some.len(), some[0].own, some[0].points.len()), (9, 1, 9, 3));
    }

    fn any_row() -> impl Strategy<Value = Vec<(i64, u64)>> {
        let odd = prop_oneof![any::<u64>(), Just(0x7ff0_0000_0000_0002), Just(0x8000_0000_0000_0000), 0_u64..3];
        prop::collection::btree_map(any::<i64>(), odd, 1..200).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn any_bits_at_any_rising_times_survive(lists in prop::collection::vec(any_row(), 1..5)) {
            let rows: Vec<Row> = lists.iter().zip(0..).map(|(list, own)| {
                let points = list.iter().map(|(t, bits)| Point { t: *t, v: f64::from_bits(*bits) }).collect();
                Row { own: own * 3, points, ..Row::default() }
            }).collect();
            there_and_back(&rows);
        }

        #[test]
        fn rubbish_behind_a_right_checksum_is_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 5..200)) {
            bytes[4] = VERSION;
            seal(&mut bytes);
            let _ = read(&bytes, |_| true, i64::MIN, i64::MAX);
        }
    }
}
