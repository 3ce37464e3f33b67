//! Quantiles: of values, and of classic histograms' buckets.

/// The q-quantile of values, interpolated between neighbours; NaN sorts first. Outside 0..=1 it is infinite.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// One bucket: how many observations were at most `bound`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub bound: f64,
    pub count: f64,
}

/// Buckets made fit for computing, or `None` where they are not a histogram.
pub(super) struct Buckets {
    buckets: Vec<Bucket>,
    /// Counts fell from one bucket to the next by more than rounding explains; they were raised.
    pub forced: bool,
}

/// Relative differences below this between neighbouring buckets are the noise of adding floats.
const NOISE: f64 = 1e-12;

impl Buckets {
    /// Sorts, merges equal bounds and makes the counts rise. `None` without an infinite last bucket.
    pub(super) fn new(mut raw: Vec<Bucket>) -> Option<Self> {
        raw.sort_by(|a, b| a.bound.total_cmp(&b.bound));
        if raw.last()?.bound != f64::INFINITY {
            return None;
        }
        let mut buckets: Vec<Bucket> = Vec::with_capacity(raw.len());
        for bucket in raw {
            match buckets.last_mut() {
                Some(last) if last.bound == bucket.bound => last.count += bucket.count,
                _ => buckets.push(bucket),
            }
        }
        let mut forced = false;
        let mut previous = buckets.first()?.count;
        for bucket in buckets.iter_mut().skip(1) {
            let same = almost_equal(previous, bucket.count);
            if same || bucket.count < previous {
                forced |= !same;
                bucket.count = previous;
            }
            previous = bucket.count;
        }
        Some(Buckets { buckets, forced })
    }

    /// The q-quantile, interpolated inside its bucket.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        let buckets = &self.buckets;
        if q.is_nan() || buckets.len() < 2 {
            return f64::NAN;
        }
        if !(0.0..=1.0).contains(&q) {
            return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        let last = buckets.len() - 1;
        let observations = buckets[last].count;
        if observations == 0.0 {
            return f64::NAN;
        }
        let rank = q * observations;
        let hit = buckets[..last].iter().position(|bucket| bucket.count >= rank).unwrap_or(last);
        if hit == last {
            return buckets[last - 1].bound;
        }
        let end = buckets[hit].bound;
        if hit == 0 && end <= 0.0 {
            return end;
        }
        let (start, below) = if hit > 0 { (buckets[hit - 1].bound, buckets[hit - 1].count) } else { (0.0, 0.0) };
        start + (end - start) * ((rank - below) / (buckets[hit].count - below))
    }

    /// The share of observations in `lower..=upper`, interpolated inside the buckets that these bounds cut.
    pub(super) fn fraction(&self, lower: f64, upper: f64) -> f64 {
        let count = self.buckets.last().map_or(0.0, |bucket| bucket.count);
        if count == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN;
        }
        if lower >= upper {
            return 0.0;
        }
        (self.rank(upper).min(count) - self.rank(lower).min(count)) / count
    }

    /// How many observations lie below `value`.
    fn rank(&self, value: f64) -> f64 {
        let mut below = 0.0;
        let mut start = f64::NEG_INFINITY;
        for (index, bucket) in self.buckets.iter().enumerate() {
            // As for quantiles, a first bucket with a positive bound is taken to begin at zero.
            if index == 0 && bucket.bound > 0.0 {
                start = 0.0;
            }
            if start >= value {
                return below;
            }
            if bucket.bound > value {
                if start == f64::NEG_INFINITY {
                    return bucket.count;
                }
                return below + (bucket.count - below) * (value - start) / (bucket.bound - start);
            }
            below = bucket.count;
            start = bucket.bound;
        }
        below
    }
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < NOISE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < NOISE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(raw: &[(f64, f64)]) -> Buckets {
        Buckets::new(raw.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect()).unwrap()
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(0.5, vec![3.0, 1.0, 2.0, 4.0]), 2.5);
        assert_eq!(quantile(2.0, vec![1.0]), f64::INFINITY);
        assert!(quantile(0.0, vec![1.0, f64::NAN]).is_nan());
        let histogram = buckets(&[(f64::INFINITY, 10.0), (1.0, 5.0), (2.0, 10.0)]);
        assert_eq!(histogram.quantile(0.25), 0.5);
        assert_eq!(histogram.quantile(0.75), 1.5);
        assert_eq!(histogram.fraction(0.5, 1.5), 0.5);
    }

    #[test]
    fn falling_counts_are_raised_and_reported() {
        assert!(buckets(&[(1.0, 5.0), (2.0, 3.0), (f64::INFINITY, 6.0)]).forced);
        assert!(!buckets(&[(1.0, 5.0), (2.0, 5.0 - 1e-13), (f64::INFINITY, 6.0)]).forced);
        assert!(Buckets::new(vec![Bucket { bound: 1.0, count: 1.0 }]).is_none());
    }
}
