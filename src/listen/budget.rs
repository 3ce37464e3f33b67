//! How many lines a device may say: so many a second, and a few seconds' worth at once after silence, because a device
//! that starts says much. What is beyond that is not read.

use std::time::Duration;

use tokio::time::Instant;

/// Seconds that may be saved up.
const SAVED: f64 = 10.0;

/// What a device may still say.
#[derive(Debug)]
pub struct Budget {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Budget {
    /// So many lines a second.
    pub fn new(per_second: u32, now: Instant) -> Budget {
        let per_second = f64::from(per_second);
        Budget { per_second, left: per_second * SAVED, at: now }
    }

    /// Whether a message may be read at all; it takes a line's worth, however little it says.
    pub fn message(&mut self, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.at);
        self.left = (self.left + passed.as_secs_f64() * self.per_second).min(self.per_second * SAVED);
        self.at = now;
        let may = self.left >= 1.0;
        self.left -= f64::from(u8::from(may));
        may
    }

    /// How many of the lines of that message are kept.
    pub fn lines(&mut self, count: usize) -> usize {
        // One is paid for already.
        let kept = count.min(self.left as usize + 1);
        self.left -= kept.saturating_sub(1) as f64;
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_saved_up_and_no_more_than_that_is_read() {
        let begun = Instant::now();
        let mut budget = Budget::new(2, begun);
        assert!(budget.message(begun));
        assert_eq!(budget.lines(50), 20, "ten seconds' worth");
        assert!(!budget.message(begun), "not even read");
        let later = begun + Duration::from_secs(1);
        assert!(budget.message(later));
        assert_eq!((budget.lines(5), budget.message(later)), (2, false));
        let much_later = begun + Duration::from_secs(3600);
        assert!(budget.message(much_later));
        assert_eq!(budget.lines(500), 20);
        assert!(budget.message(much_later + Duration::from_secs(1)));
        assert_eq!(budget.lines(0), 0, "a state in which nothing changed");
    }
}
