//! `x_created` of OpenMetrics: since when the series of a family count. It is no series here, as it is none to a Prometheus
//! that knows start timestamps; it goes with the samples that it speaks of.

use std::collections::HashMap;

use crate::model::{Labels, MetricType, Sample, Suffix};

/// What `_created` lines of a page have said, by family and labels.
#[derive(Default)]
pub(super) struct Created<'a> {
    said: HashMap<&'a str, HashMap<Labels, i64>>,
    count: usize,
}

impl<'a> Created<'a> {
    /// Takes a line in, of a family by its described name. Says whether it could be used: no more than `most` are kept, and
    /// a time before 1970 is none.
    pub fn say(&mut self, family: &'a str, labels: Labels, seconds: f64, most: usize) -> bool {
        let millis = (seconds * 1000.0).round();
        let usable = self.count < most && millis >= 1.0 && millis < i64::MAX as f64;
        if usable {
            self.count += 1;
            self.said.entry(family).or_default().insert(labels, millis as i64);
        }
        usable
    }

    /// The start timestamps of samples, by their places.
    pub fn starts(&self, samples: &[Sample]) -> Vec<(usize, i64)> {
        if self.said.is_empty() {
            return Vec::new();
        }
        let start = |sample: &Sample| {
            let name = &*sample.family.name;
            match (sample.family.kind, sample.suffix) {
                // A counter is described with its ending or without.
                (MetricType::Counter, _) => self.of(name, &sample.labels).or_else(|| {
                    let base = name.strip_suffix("_total")?;
                    self.of(base, &sample.labels)
                }),
                (_, Suffix::Bucket) => self.of(name, &sample.labels.filter(|label| label != "le")),
                (_, Suffix::Sum | Suffix::Count) => self.of(name, &sample.labels),
                _ => None,
            }
        };
        samples.iter().enumerate().filter_map(|(place, sample)| Some((place, start(sample)?))).collect()
    }

    fn of(&self, family: &str, labels: &Labels) -> Option<i64> {
        self.said.get(family)?.get(labels).copied()
    }
}
