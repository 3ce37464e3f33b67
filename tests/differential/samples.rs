//! Fifty minutes of samples: gauges, counters with resets, classic histograms, gaps, ends, odd values.

use std::time::Duration;

use davylamp::model::series::stale_nan;
use davylamp::model::{Family, FamilyRef, Labels, Point, Series, TargetId};
use davylamp::store::{Limits, Recent};

/// Three seconds past a full minute: no sample lies on the step of a subquery.
pub const START: i64 = 1_700_000_003_000 - 1_700_000_003_000 % 60_000 + 3_000;
pub const STEP: i64 = 15_000;
const COUNT: i64 = 200;
pub const END: i64 = START + (COUNT - 1) * STEP;

/// Numbers without a pattern, the same in every run.
fn noise(seed: i64, index: i64) -> f64 {
    let mut state = (seed * 1_000_003 + index) as u64;
    for _ in 0..3 {
        state = (state ^ (state >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (state >> 11) as f64 / (1_u64 << 53) as f64
}

fn track(name: &str, labels: &[(&str, &str)], value: impl Fn(i64) -> Option<f64>) -> Series {
    let all = labels.iter().copied().chain([("__name__", name)]);
    let points = (0..COUNT).filter_map(|index| Some(Point { t: START + index * STEP, v: value(index)? }));
    Series::floats(Labels::new(all), points.collect())
}

pub fn series() -> Vec<Series> {
    let mut all = Vec::new();
    for (seed, (job, instance)) in [("api", "0"), ("api", "1"), ("web", "0"), ("web", "1")].into_iter().enumerate() {
        let seed = seed as i64;
        let labels = [("job", job), ("instance", instance)];
        all.push(track("temperature", &labels, |i| Some(20.0 + 30.0 * noise(seed, i))));
        all.push(track("up", &labels, |i| Some(f64::from(u8::from(noise(seed + 9, i) > 0.1)))));
        // A counter that starts high, grows unevenly and falls back now and then.
        let mut total = 5_000.0;
        let values: Vec<f64> = (0..COUNT)
            .map(|i| {
                total = if noise(seed + 20, i) > 0.98 { 0.0 } else { total + (50.0 * noise(seed + 30, i)).floor() };
                total
            })
            .collect();
        all.push(track("requests_total", &labels, |i| Some(values[i as usize])));
        // Gaps of two and of thirty scrapes.
        all.push(track("patchy", &labels, |i| {
            let gap = i % 7 < 2 || (80..110).contains(&i) && seed % 2 == 0;
            (!gap).then(|| (100.0 * noise(seed + 40, i)).round())
        }));
        for (bound, share) in [("0.1", 0.3), ("0.5", 0.6), ("1", 0.9), ("+Inf", 1.0)] {
            let labels = [("job", job), ("instance", instance), ("le", bound)];
            all.push(track("latency_seconds_bucket", &labels, |i| Some((1_000.0 + 10.0 * i as f64) * share)));
        }
    }
    all.push(track("ended", &[("job", "api")], |i| match i {
        0..100 => Some(i as f64),
        100 => Some(stale_nan()),
        _ => None,
    }));
    all.push(track("odd", &[("kind", "nan")], |_| Some(f64::NAN)));
    all.push(track("odd", &[("kind", "infinite")], |i| Some(if i % 2 == 0 { f64::INFINITY } else { 1.0 })));
    all.push(track("odd", &[("kind", "huge")], |i| Some(1e300 * noise(77, i))));
    all.push(track("odd", &[("kind", "negative")], |i| Some(-5.0 - noise(78, i))));
    all.push(track("constant", &[], |_| Some(7.5)));
    all.push(track("build_info", &[("job", "api"), ("version", "1.2")], |_| Some(1.0)));
    all.push(track("build_info", &[("job", "web"), ("version", "1.3")], |_| Some(1.0)));
    all
}

/// The samples in davylamp's own store.
pub fn recent(series: &[Series]) -> Recent {
    static ANY: Family = Family::gauge("any", "Of any sort", &[]);
    let recent = Recent::new(Duration::from_secs(7200), Limits::default());
    let id = TargetId::from("pushed");
    recent.declare_pushed(&id, "test");
    let mut expected = 0;
    for one in series {
        let points: Vec<_> =
            one.points.iter().map(|point| (FamilyRef::from(&ANY), one.labels.clone(), *point)).collect();
        expected += points.len();
        let done = recent.append_points(&id, &points, END);
        assert_eq!(done.rejected(), 0, "{done:?}");
    }
    assert!(expected > 7_000, "only {expected} samples");
    recent
}
