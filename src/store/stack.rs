//! The runs of a series that ended, told backwards: each by its difference from the one that followed.
//!
//! A stack is read from its end. Its tokens are numbers of seven bits a byte whose lowest two bits are the kind:
//!
//! | kind | above it | then |
//! |---|---|---|
//! | 0, 1 | the difference to the run that followed, as whole numbers on the stack's scale | 1: the run's length, else it is 1 |
//! | 2 | 2 × bytes, + 1 if the length follows | the bits xor those of the run that followed, lowest byte first |
//! | 3 | 0, 1: the stale marker; 2, 3: no value (odd: the length follows); else 4 + the scale of all tokens below | |

use super::codec::{Run, scaled, unscaled, unzigzag, zigzag};
use super::column::ABSENT_BITS;
use crate::model::series::stale_nan;

/// The scale of a stack whose numbers are no short decimals; nor is it looked for again.
const NO_SCALE: u8 = 0x3f;
/// Scales are powers of ten from this one on: what is counted in quintillions, as hashes are.
const COARSEST: i32 = -15;
/// The finest: nanoseconds.
const FINEST: i32 = 9;

/// A change of scale, a token with eight bytes, a length.
pub(super) const MOST_BYTES: usize = 32;

/// A short list of bytes, in the order in which they will be read.
struct Top<'a> {
    bytes: &'a mut [u8; MOST_BYTES],
    length: usize,
}

impl Top<'_> {
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }
}

/// The tokens of a run that ended when `after` came, in the order of reading, and the scale of the stack from now on.
pub(super) fn push_run(bytes: &mut [u8; MOST_BYTES], scale: u8, run: Run, after: u64) -> (u8, &[u8]) {
    let mut top = Top { bytes, length: 0 };
    let counted = u64::from(run.count != 1);
    let mut now = scale;
    if let Some(special) = special(run.bits) {
        top.number((special + counted) << 2 | 3);
    } else {
        let mut whole = difference(scale, run.bits, after);
        if whole.is_none() && scale != NO_SCALE {
            now = common_scale(exponent(scale), run.bits, after).unwrap_or(NO_SCALE);
            whole = difference(now, run.bits, after);
        }
        match whole {
            Some(whole) => top.number(zigzag(whole) << 2 | counted),
            None => {
                let bits = run.bits ^ after;
                let length = 8 - u64::from(bits.leading_zeros() / 8);
                top.number((length << 1 | counted) << 2 | 2);
                bits.to_le_bytes().iter().take(length as usize).for_each(|byte| top.byte(*byte));
            }
        }
    }
    if counted > 0 {
        top.number(run.count.into());
    }
    if now != scale {
        top.number((4 + u64::from(scale)) << 2 | 3);
    }
    let length = top.length;
    (now, &bytes[..length])
}

/// What needs no number to be told.
fn special(bits: u64) -> Option<u64> {
    match bits {
        ABSENT_BITS => Some(2),
        _ if bits == stale_nan().to_bits() => Some(0),
        _ => None,
    }
}

fn exponent(scale: u8) -> i32 {
    i32::from(scale) + COARSEST
}

/// What a run is more than the one that followed, in whole steps of a scale; a number that follows no number is told
/// as it is.
fn difference(scale: u8, bits: u64, after: u64) -> Option<i64> {
    if scale == NO_SCALE {
        return None;
    }
    Some(scaled(bits, exponent(scale))?.wrapping_sub(base(scale, after)?))
}

fn base(scale: u8, after: u64) -> Option<i64> {
    if special(after).is_some() { Some(0) } else { scaled(after, exponent(scale)) }
}

/// The scale of a new stack.
pub(super) fn scale_of(bits: u64, after: u64) -> u8 {
    common_scale(COARSEST, bits, after).unwrap_or(NO_SCALE)
}

/// The coarsest scale, not coarser than `from`, on which both are whole.
fn common_scale(from: i32, bits: u64, after: u64) -> Option<u8> {
    let whole = |bits: u64, exponent: i32| special(bits).is_some() || scaled(bits, exponent).is_some();
    let broken = [bits, after].into_iter().any(|bits| f64::from_bits(bits).fract() != 0.0);
    let mut exponents = if broken { from.max(1) } else { from }..=FINEST;
    let exponent = exponents.find(|exponent| whole(bits, *exponent) && whole(after, *exponent))?;
    u8::try_from(exponent - COARSEST).ok()
}

/// Runs that ended in a chunk, newest first.
pub(super) struct Stack<'a> {
    /// Those of the run that followed.
    pub(super) bits: u64,
    pub(super) scale: u8,
    pub(super) bytes: &'a [u8],
}

impl Stack<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.bytes.split_last()?;
        self.bytes = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn number_if(&mut self, counted: bool) -> Option<u32> {
        if counted { u32::try_from(self.number()?).ok() } else { Some(1) }
    }
}

impl Iterator for Stack<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        loop {
            let token = self.number()?;
            let (kind, above) = (token & 3, token >> 2);
            let counted = match kind {
                0 | 1 => {
                    let whole = base(self.scale, self.bits)?.wrapping_add(unzigzag(above));
                    self.bits = unscaled(whole, exponent(self.scale));
                    kind == 1
                }
                2 => {
                    let mut bits = [0; 8];
                    for place in bits.iter_mut().take((above >> 1) as usize) {
                        *place = self.byte()?;
                    }
                    self.bits ^= u64::from_le_bytes(bits);
                    above & 1 == 1
                }
                _ if above >= 4 => {
                    self.scale = (above - 4) as u8; // written from a u8
                    continue;
                }
                _ => {
                    self.bits = if above < 2 { stale_nan().to_bits() } else { ABSENT_BITS };
                    above & 1 == 1
                }
            };
            return Some(Run { bits: self.bits, count: self.number_if(counted)? });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rubbish_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), scale in any::<u8>()) {
            let _ = Stack { bits: 0, scale, bytes: &bytes }.take(1000).count();
        }
    }
}
