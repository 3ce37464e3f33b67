//! When a target is due: spread phases, and back-off for dead targets. Pure.

use std::time::Duration;

/// Failures in a row after which a target counts as dead and is asked less often. Two are a hiccup.
const FAILURES_BEFORE_BACK_OFF: u32 = 3;
/// A dead target is asked at least this often, so that `davylamp_target_up` stays within PromQL's look-back of 5 min.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(120);
/// …and at least every eighth of its polls.
const LONGEST_FACTOR: u32 = 8;

/// Where in its interval a target is polled: well mixed, so that `miner-001` … `miner-480` do not come together.
/// (Plain FNV put 480 such names into 4 of 16 seconds.)
pub fn phase(id: &str, interval: Duration) -> Duration {
    interval.mul_f64(unit(mix(hash(id))))
}

/// Time from `since_epoch` (any fixed origin) to the next point of the target's grid, never zero.
pub fn until_next(since_epoch: Duration, interval: Duration, phase: Duration) -> Duration {
    let (now, step, phase) = (since_epoch.as_nanos(), interval.as_nanos().max(1), phase.as_nanos());
    let into = (now + step - phase % step) % step;
    Duration::from_nanos(u64::try_from(step - into).unwrap_or(u64::MAX))
}

/// Extra wait after `failures` failures in a row, on top of the interval: doubling, capped, with jitter.
pub fn back_off(id: &str, interval: Duration, failures: u32) -> Duration {
    if failures < FAILURES_BEFORE_BACK_OFF {
        return Duration::ZERO;
    }
    let doubled = 1_u32 << (failures - FAILURES_BEFORE_BACK_OFF + 1).min(LONGEST_FACTOR.ilog2());
    let whole = interval.saturating_mul(doubled.min(LONGEST_FACTOR)).min(LONGEST_BACK_OFF.max(interval));
    // Jitter downwards by up to a fifth: a rack that lost power must not come back in step.
    let jittered = whole.mul_f64(1.0 - 0.2 * unit(mix(hash(id) ^ u64::from(failures))));
    jittered.saturating_sub(interval)
}

/// FNV-1a, only to turn a name into a number; [`mix`] spreads it.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit changes half of the output bits.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number in `0.0..1.0`.
fn unit(x: u64) -> f64 {
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(16);

    #[test]
    fn similar_names_are_spread_over_the_interval() {
        let mut seconds = [0; 16];
        for n in 0..480 {
            seconds[phase(&format!("miner-{n:03}"), INTERVAL).as_secs() as usize] += 1;
        }
        // 30 on average; a fair spread stays well within a factor of two.
        assert!(seconds.iter().all(|count| (12..=55).contains(count)), "{seconds:?}");
    }

    #[test]
    fn the_grid_is_kept() {
        let phase = Duration::from_secs(3);
        let next = |now: u64| until_next(Duration::from_secs(now), INTERVAL, phase).as_secs();
        assert_eq!([next(0), next(2), next(3), next(4), next(19), next(20)], [3, 1, 16, 15, 16, 15]);
    }

    #[test]
    fn dead_targets_are_asked_less_often_but_never_forgotten() {
        let waits: Vec<u64> = (0..12).map(|n| (back_off("m", INTERVAL, n) + INTERVAL).as_secs()).collect();
        assert_eq!(waits[..3], [16, 16, 16]);
        assert!(waits.iter().all(|wait| *wait <= 120), "{waits:?}");
        assert!(waits[11] >= 96, "{waits:?}");
        let slow = Duration::from_secs(600);
        assert_eq!(back_off("m", slow, 50), Duration::ZERO, "a slow target is not slowed further");
    }
}
