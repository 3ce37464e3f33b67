//! Runs of equal values as bytes: what a device says is nearly always a decimal number that drifts, so a chunk whose
//! values all are whole multiples of a power of ten becomes small differences; all else the difference in bits.

/// So many equal values, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) bits: u64,
    pub(super) count: u32,
}

/// By number, as it is written: values are whole multiples of one tenth to this power.
const SCALES: [i32; 13] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -3, -6, -9];
/// The order in which they are tried, the coarsest first.
const TRIED: [usize; 13] = [12, 11, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
/// Each of them is exact as an f64.
const POWERS: [f64; 16] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Says that the values are differences in bits.
const XOR: u8 = 0x7f;
/// Says that every run has one value.
const ONES: u8 = 0x80;
/// Above this an f64 no longer holds every integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Writes a number, seven bits a byte, the lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a number and moves `bytes` behind it.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Small numbers of either sign as small numbers without one.
pub(super) fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// The inverse of [`zigzag`].
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Takes the next `length` bytes.
pub(super) fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

/// How many tenths to the power of `exponent` the value with these `bits` is, if it is a whole number of them.
pub(super) fn scaled(bits: u64, exponent: i32) -> Option<i64> {
    let (value, power) = (f64::from_bits(bits), POWERS.get(exponent.unsigned_abs() as usize)?);
    let whole = (if exponent < 0 { value / power } else { value * power }).round();
    let number = whole as i64;
    // As it will be read: a negative zero is not.
    (whole.abs() < EXACT && unscaled(number, exponent) == bits).then_some(number)
}

/// The inverse of [`scaled`].
pub(super) fn unscaled(number: i64, exponent: i32) -> u64 {
    let (whole, power) = (number as f64, POWERS.get(exponent.unsigned_abs() as usize).unwrap_or(&1.0));
    (if exponent < 0 { whole * power } else { whole / power }).to_bits()
}

/// Appends runs. They come back from [`take_runs`] bit by bit as they were.
pub(super) fn put_runs(out: &mut Vec<u8>, runs: &[Run]) {
    let fits = |scale: &usize| runs.iter().all(|run| scaled(run.bits, SCALES[*scale]).is_some());
    let scale = TRIED.into_iter().find(fits);
    let ones = runs.iter().all(|run| run.count == 1);
    put_varint(out, runs.len() as u64);
    out.push(scale.map_or(XOR, |scale| scale as u8) | if ones { ONES } else { 0 });
    if !ones {
        runs.iter().for_each(|run| put_varint(out, run.count.into()));
    }
    match scale.map(|scale| SCALES[scale]) {
        Some(scale) => {
            let mut before = 0;
            for whole in runs.iter().filter_map(|run| scaled(run.bits, scale)) {
                put_varint(out, zigzag(whole - before));
                before = whole;
            }
        }
        None => {
            let mut before = 0;
            for run in runs {
                put_bits(out, run.bits ^ before);
                before = run.bits;
            }
        }
    }
}

/// The bytes between the first and the last that is not zero, and where they stand.
fn put_bits(out: &mut Vec<u8>, bits: u64) {
    let first = bits.leading_zeros() / 8;
    let last = if bits == 0 { 0 } else { bits.trailing_zeros() / 8 };
    let length = 8 - first - last;
    out.push((first << 4 | length) as u8);
    out.extend_from_slice(&bits.to_be_bytes()[first as usize..(first + length) as usize]);
}

fn take_bits(bytes: &mut &[u8]) -> Option<u64> {
    let head = take(bytes, 1)?[0];
    let (first, length) = (usize::from(head >> 4), usize::from(head & 0xf));
    let mut bits = [0; 8];
    bits.get_mut(first..first + length)?.copy_from_slice(take(bytes, length)?);
    Some(u64::from_be_bytes(bits))
}

/// Reads what [`put_runs`] wrote and moves `bytes` behind it; `None` if it is damaged.
pub(super) fn take_runs(bytes: &mut &[u8]) -> Option<Vec<Run>> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let flags = take(bytes, 1)?[0];
    // Every run takes at least one byte, so that a damaged length cannot ask for more memory than there are bytes.
    let mut runs = Vec::with_capacity(length.min(bytes.len()));
    for _ in 0..length {
        let count = if flags & ONES != 0 { 1 } else { u32::try_from(take_varint(bytes)?).ok()? };
        runs.push(Run { bits: 0, count });
        if runs.len() > bytes.len() {
            return None;
        }
    }
    match flags & !ONES {
        XOR => {
            let mut before = 0;
            for run in &mut runs {
                before ^= take_bits(bytes)?;
                run.bits = before;
            }
        }
        scale => {
            let scale = *SCALES.get(usize::from(scale))?;
            let mut before = 0_i64;
            for run in &mut runs {
                before = before.wrapping_add(unzigzag(take_varint(bytes)?));
                run.bits = unscaled(before, scale);
            }
        }
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(runs: &[Run]) -> Vec<u8> {
        let mut out = vec![7];
        put_runs(&mut out, runs);
        let mut rest = &out[1..];
        assert_eq!(take_runs(&mut rest).as_deref(), Some(runs));
        assert!(rest.is_empty());
        out
    }

    #[test]
    fn decimals_that_drift_take_a_byte_or_two() {
        let runs: Vec<_> = (0..16).map(|n| Run { bits: (61.3 + f64::from(n) / 10.0).to_bits(), count: 1 }).collect();
        // 61.3 + 0.1 is not always the decimal that a person would write.
        let runs: Vec<_> = runs
            .iter()
            .map(|run| Run { bits: ((f64::from_bits(run.bits) * 10.0).round() / 10.0).to_bits(), ..*run })
            .collect();
        assert!(there_and_back(&runs).len() <= 1 + 2 + 2 + 15);
    }

    proptest! {
        #[test]
        fn any_bits_survive(values in prop::collection::vec((any::<u64>(), 1..u32::MAX), 0..40)) {
            there_and_back(&values.iter().map(|(bits, count)| Run { bits: *bits, count: *count }).collect::<Vec<_>>());
        }

        #[test]
        fn any_numbers_survive(values in prop::collection::vec(any::<f64>(), 0..40), scale in 0_i32..9) {
            let short = |v: &f64| Run { bits: ((v % 1e6 * 10_f64.powi(scale)).round() / 10_f64.powi(scale)).to_bits(), count: 1 };
            there_and_back(&values.iter().map(short).collect::<Vec<_>>());
            there_and_back(&values.iter().map(|v| Run { bits: v.to_bits(), count: 2 }).collect::<Vec<_>>());
        }

        #[test]
        fn rubbish_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = take_runs(&mut &bytes[..]);
        }

        #[test]
        fn numbers_of_either_sign_survive(number in any::<i64>()) {
            let mut out = Vec::new();
            put_varint(&mut out, zigzag(number));
            prop_assert_eq!(take_varint(&mut &out[..]).map(unzigzag), Some(number));
        }
    }
}
