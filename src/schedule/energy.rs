//! Energy: the power that a miner reports, integrated over the time between two polls.

use std::time::Duration;

use crate::collect::miner::families::{ENERGY, POWER};
use crate::model::{FamilyRef, Reading};

/// Power is believed to have changed evenly between two polls that are at most this far apart; over a longer gap
/// nobody knows what was drawn, and nothing is counted.
const LONGEST_GAP: Duration = Duration::from_secs(300);

/// The meter of one target.
#[derive(Debug, Default)]
pub struct Meter {
    /// Milliseconds since the epoch, and watts.
    last: Option<(i64, f64)>,
    joules: f64,
}

impl Meter {
    /// Enters the power of a reading taken at `at` (milliseconds since the epoch) and adds the energy to it.
    pub fn enter(&mut self, at: i64, reading: &mut Reading) {
        // Ours only: a page that is carried on may hold the power of many miners under this name.
        let ours = |family: &FamilyRef| matches!(family, FamilyRef::Static(known) if std::ptr::eq(*known, &POWER));
        let power = reading.samples.iter().find(|sample| ours(&sample.family)).map(|sample| sample.value);
        let Some(watts) = power else {
            self.last = None;
            return;
        };
        if let Some((before, was)) = self.last {
            let gap = Duration::from_millis(u64::try_from(at - before).unwrap_or(u64::MAX));
            if gap <= LONGEST_GAP {
                self.joules += (was + watts) / 2.0 * gap.as_secs_f64();
            }
        }
        self.last = Some((at, watts));
        // To the thousandth: a decimal takes a third of the memory of a sum's last bits.
        reading.put(&ENERGY, &[], (self.joules * 1e3).round() / 1e3);
    }

    /// Notes a failed poll: what was drawn until the next one is not known.
    pub fn lost(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joules(meter: &mut Meter, seconds: i64, watts: Option<f64>) -> Option<f64> {
        let mut reading = Reading::default();
        reading.put_opt(&POWER, &[("source", "measured")], watts);
        meter.enter(seconds * 1000, &mut reading);
        reading.samples.iter().find(|sample| sample.family.name == ENERGY.name).map(|sample| sample.value)
    }

    #[test]
    fn counts_what_was_seen_and_nothing_else() {
        let mut meter = Meter::default();
        assert_eq!(joules(&mut meter, 0, Some(10.0)), Some(0.0));
        assert_eq!(joules(&mut meter, 10, Some(20.0)), Some(150.0));
        meter.lost();
        assert_eq!(joules(&mut meter, 30, Some(20.0)), Some(150.0), "a failed poll between");
        assert_eq!(joules(&mut meter, 40, None), None, "no power, no energy");
        assert_eq!(joules(&mut meter, 50, Some(20.0)), Some(150.0));
        assert_eq!(joules(&mut meter, 1000, Some(20.0)), Some(150.0), "too long a gap");
        assert_eq!(joules(&mut meter, 900, Some(20.0)), Some(150.0), "a clock that was set back");
        assert_eq!(joules(&mut meter, 901, Some(20.0)), Some(170.0));
    }
}
