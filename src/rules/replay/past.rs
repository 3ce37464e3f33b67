//! The samples that rules of a replay see: those of the past, and in place of what was recorded then what is recorded now.

use std::collections::HashMap;

use crate::model::Labels;
use crate::model::Matcher;
use crate::model::Series;
use crate::model::Source;
use crate::model::SourceError;
use crate::query::VectorSample;
use crate::rules::rule::RuleGroup;
use crate::rules::samples::Samples;

use super::Produced;

/// Samples of the past under those of the replay.
pub(super) struct Past<'a> {
    base: &'a dyn Source,
    /// From here on the replay's own results count.
    from: i64,
    produced: Produced,
    recorded: Samples,
}

impl<'a> Past<'a> {
    pub(super) fn new(base: &'a dyn Source, from: i64, groups: &[RuleGroup]) -> Self {
        Past { base, from, produced: Produced::new(groups), recorded: Samples::default() }
    }

    /// Adds results, and forgets those before `oldest`.
    pub(super) fn record(&mut self, samples: &[VectorSample], oldest: i64) {
        self.recorded.extend(samples);
        self.recorded.forget_before(oldest);
    }
}

impl Source for Past<'_> {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let mut all = self.base.select(matchers, start, end)?;
        for series in all.iter_mut().filter(|series| self.produced.holds(&series.labels)) {
            series.points.retain(|point| point.t < self.from);
            series.histograms.retain(|(t, _)| *t < self.from);
        }
        let fresh = self.recorded.select(matchers, start, end)?;
        if !fresh.is_empty() {
            let places: HashMap<Labels, usize> =
                all.iter().enumerate().map(|(place, series)| (series.labels.clone(), place)).collect();
            for series in fresh {
                // What was recorded then ends where this begins.
                match places.get(&series.labels).and_then(|place| all.get_mut(*place)) {
                    Some(known) => {
                        known.points.extend(series.points);
                        known.histograms.extend(series.histograms);
                    }
                    None => all.push(series),
                }
            }
        }
        all.retain(|series| !series.points.is_empty() || !series.histograms.is_empty());
        Ok(all)
    }

    fn interrupted(&self) -> bool {
        self.base.interrupted()
    }
}
