//! The source that rules of one cycle see: the samples, and over them what earlier rules of the cycle produced.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::Labels;
use crate::model::MatchOp;
use crate::model::Matcher;
use crate::model::Point;
use crate::model::Series;
use crate::model::Source;
use crate::model::SourceError;
use crate::model::labels::METRIC_NAME;
use crate::query::VectorSample;

/// Samples and the results of this cycle.
pub(super) struct Overlay<'a> {
    base: &'a dyn Source,
    /// By metric name, in the order in which they came. Most are never asked for, so that they are not sorted here.
    fresh: HashMap<String, Vec<VectorSample>>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(base: &'a dyn Source) -> Self {
        Overlay { base, fresh: HashMap::new() }
    }

    /// Adds results; they shadow older results for the same labels.
    pub(super) fn extend(&mut self, samples: &[VectorSample]) {
        for sample in samples {
            let name = sample.labels.name().unwrap_or_default();
            match self.fresh.get_mut(name) {
                Some(known) => known.push(sample.clone()),
                None => drop(self.fresh.insert(name.to_string(), vec![sample.clone()])),
            }
        }
    }

    fn matching(&self, matchers: &[Matcher], start: i64, end: i64) -> Vec<&VectorSample> {
        let name = matchers.iter().find(|matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal);
        let families: Vec<&Vec<VectorSample>> = match name {
            Some(matcher) => self.fresh.get(&matcher.value).into_iter().collect(),
            None => self.fresh.values().collect(),
        };
        let all = families.into_iter().flatten();
        let all = all.filter(|sample| matchers.iter().all(|m| m.matches(&sample.labels)));
        // Of two results for the same labels the later one holds.
        let last: BTreeMap<&Labels, &VectorSample> = all.map(|sample| (&sample.labels, sample)).collect();
        last.into_values().filter(|sample| (start..=end).contains(&sample.t)).collect()
    }
}

impl Source for Overlay<'_> {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let mut series = self.base.select(matchers, start, end)?;
        let fresh = self.matching(matchers, start, end);
        if fresh.is_empty() {
            return Ok(series);
        }
        // Looking each one up in a list would take minutes where a rule records thousands of series.
        let mut places: HashMap<Labels, usize> =
            series.iter().enumerate().map(|(place, series)| (series.labels.clone(), place)).collect();
        for sample in fresh {
            let place = *places.entry(sample.labels.clone()).or_insert_with(|| {
                series.push(Series::floats(sample.labels.clone(), Vec::new()));
                series.len() - 1
            });
            let known = &mut series[place];
            known.points.retain(|point| point.t != sample.t);
            known.histograms.retain(|(t, _)| *t != sample.t);
            match &sample.h {
                Some(histogram) => {
                    let position = known.histograms.partition_point(|(t, _)| *t < sample.t);
                    known.histograms.insert(position, (sample.t, Arc::clone(histogram)));
                }
                None => {
                    let position = known.points.partition_point(|p| p.t < sample.t);
                    known.points.insert(position, Point { t: sample.t, v: sample.v });
                }
            }
        }
        Ok(series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Source for One {
        fn select(&self, _: &[Matcher], _: i64, _: i64) -> Result<Vec<Series>, SourceError> {
            Ok(vec![Series::floats(Labels::new([("__name__", "a")]), vec![Point { t: 5, v: 1.0 }])])
        }
    }

    #[test]
    fn results_of_this_cycle_shadow_the_samples() {
        let mut overlay = Overlay::new(&One);
        let sample = |name: &'static str, t, v| VectorSample::float(Labels::new([("__name__", name)]), t, v);
        overlay.extend(&[sample("a", 7, 2.0), sample("b", 7, 3.0)]);
        let seen = overlay.select(&[Matcher::equal("__name__", "a")], 0, 9).unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].points, [Point { t: 5, v: 1.0 }, Point { t: 7, v: 2.0 }]);
        overlay.extend(&[sample("a", 5, 4.0)]);
        let seen = overlay.select(&[Matcher::equal("__name__", "a")], 0, 9).unwrap();
        assert_eq!(seen[0].points, [Point { t: 5, v: 4.0 }]);
        assert_eq!(overlay.select(&[Matcher::equal("__name__", "b")], 0, 6).unwrap().len(), 1);
    }
}
