//! Start timestamps: since when a counter or a histogram counts, where its source says so.
//!
//! A counter counts for days since one moment, a delta counts anew in every sample; most series do not say. So what is
//! kept are the changes: nothing for a series that never says, one entry for a counter, one a sample for deltas.

/// The start timestamps of a series' samples, in milliseconds since the epoch; 0 is "not known", as in Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starts(Vec<(i64, i64)>);

impl Starts {
    /// Whether no sample has one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// That of the sample at `t`, or 0.
    pub fn at(&self, t: i64) -> i64 {
        let next = self.0.partition_point(|(from, _)| *from <= t);
        next.checked_sub(1).and_then(|index| self.0.get(index)).map_or(0, |(_, start)| *start)
    }

    /// Says that of a sample. Samples come in the order of their times; an older one is left out.
    pub fn push(&mut self, t: i64, start: i64) {
        let last = self.0.last();
        if last.is_none_or(|(from, _)| *from < t) && last.map_or(0, |(_, known)| *known) != start {
            self.0.push((t, start));
        }
    }

    /// Those of the samples in `start..=end`.
    pub fn cut(&self, start: i64, end: i64) -> Starts {
        let mut part = Starts::default();
        if self.is_empty() || start > end {
            return part;
        }
        part.push(start, self.at(start));
        let inside = self.0.iter().filter(|(from, _)| *from > start && *from <= end);
        inside.for_each(|(from, known)| part.push(*from, *known));
        part
    }

    /// Forgets samples before `t`.
    pub fn forget_before(&mut self, t: i64) {
        let gone = self.0.partition_point(|(from, _)| *from <= t).saturating_sub(1);
        self.0.drain(..gone);
        // "Not known" is what stands before the first entry anyway.
        if self.0.first().is_some_and(|(_, start)| *start == 0) {
            self.0.remove(0);
        }
    }

    /// Forgets samples from `t` on.
    pub fn forget_from(&mut self, t: i64) {
        self.0.truncate(self.0.partition_point(|(from, _)| *from < t));
    }

    /// Adds those of samples that follow, the first of which stands at `t`; they replace what was known from there on.
    pub fn follow(&mut self, t: i64, next: &Starts) {
        if self.is_empty() && next.is_empty() {
            return;
        }
        self.forget_from(t);
        self.push(t, next.at(t));
        next.0.iter().filter(|(from, _)| *from > t).for_each(|(from, start)| self.push(*from, *start));
    }

    /// The changes: from a sample's time on, which start timestamp holds.
    pub fn changes(&self) -> &[(i64, i64)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Of samples at 0, 1, 2, …, whatever is done to them.
        #[test]
        fn changes_say_what_a_list_would(list in prop::collection::vec(0..3_i64, 1..20), cut in (0..20_i64, 0..20_i64)) {
            let of = |list: &[i64], from: i64| {
                let mut starts = Starts::default();
                (from..).zip(list).for_each(|(t, start)| starts.push(t, *start));
                starts
            };
            let starts = of(&list, 0);
            let all = |starts: &Starts| (0..list.len() as i64).map(|t| starts.at(t)).collect::<Vec<_>>();
            prop_assert_eq!(all(&starts), list.clone());
            let (a, b) = cut;
            let part = starts.cut(a, b);
            for (t, start) in (0..).zip(&list).filter(|(t, _)| (a..=b).contains(t)) {
                prop_assert_eq!(part.at(t), *start);
            }
            prop_assert!(part.changes().iter().all(|(t, _)| (a..=b).contains(t)));
            let split = usize::try_from(a).unwrap().min(list.len());
            let (mut early, late) = (starts.clone(), of(&list[split..], split as i64));
            early.forget_from(split as i64);
            early.follow(split as i64, &late);
            prop_assert_eq!(all(&early), list.clone());
            let mut late = starts.clone();
            late.forget_before(split as i64);
            prop_assert_eq!(&all(&late)[split..], &list[split..]);
            prop_assert!(late.changes().len() <= list.len() - split + usize::from(split == list.len()));
        }
    }
}
