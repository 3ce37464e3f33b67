//! A store in memory that treats native histograms as Prometheus' own does where queries can tell.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use davylamp::model::histogram::{Buckets, CUSTOM_BUCKETS, ResetHint, Span};
use davylamp::model::labels::METRIC_NAME;
use davylamp::model::{FloatHistogram, Labels, Matcher, Point, Series, Source, SourceError, Starts};
use davylamp::query::notation::Item;

use super::language::SeriesLine;

/// Series in memory, and since when their samples count.
#[derive(Debug, Default)]
pub struct Memory(pub BTreeMap<Labels, BTreeMap<i64, Item>>, pub BTreeMap<Labels, BTreeMap<i64, i64>>);

impl Source for Memory {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let hit = |labels: &&Labels| matchers.iter().all(|matcher| matcher.matches(labels));
        Ok(self.0.keys().filter(hit).map(|labels| self.series(labels, start, end)).collect())
    }
}

impl Memory {
    fn series(&self, labels: &Labels, from: i64, end: i64) -> Series {
        let mut series = Series::floats(labels.clone(), Vec::new());
        let mut before: Option<Arc<FloatHistogram>> = None;
        for (t, item) in &self.0[labels] {
            match item {
                Item::Float(v) => {
                    before = None;
                    if (from..=end).contains(t) {
                        series.points.push(Point { t: *t, v: *v });
                    }
                }
                Item::Histogram(histogram) => {
                    let stored = Arc::new(hinted(before.as_deref(), histogram));
                    if (from..=end).contains(t) {
                        series.histograms.push((*t, stored));
                    }
                    before = Some(Arc::clone(histogram));
                }
                Item::Gap => {}
            }
        }
        let known = self.1.get(labels);
        let start = |t: &i64| known.and_then(|known| known.get(t)).copied().unwrap_or_default();
        let mut starts = Starts::default();
        self.0[labels].keys().for_each(|t| starts.push(*t, start(t)));
        series.starts = starts.cut(from, end);
        series
    }

    pub fn load(&mut self, step: i64, custom: bool, lines: Vec<SeriesLine>) {
        let made = if custom { custom_histograms(&lines) } else { Vec::new() };
        for line in lines.into_iter().chain(made) {
            let times =
                line.starts.iter().enumerate().filter_map(|(index, start)| Some((index as i64 * step, (*start)?)));
            let starts: BTreeMap<i64, i64> = times.map(|(t, start)| (t, t + start)).collect();
            if !starts.is_empty() {
                self.1.entry(line.labels.clone()).or_default().extend(starts);
            }
            let samples = self.0.entry(line.labels).or_default();
            for (index, item) in line.items.into_iter().enumerate().filter(|(_, item)| *item != Item::Gap) {
                samples.insert(index as i64 * step, item);
            }
        }
    }
}

/// Prometheus' chunks know of a sample that it follows the one before without a reset; of the first in a chunk they
/// know nothing. A new chunk begins where the layout changes, or at a reset.
fn hinted(before: Option<&FloatHistogram>, histogram: &FloatHistogram) -> FloatHistogram {
    let follows = |before: &FloatHistogram| {
        histogram.reset_hint != ResetHint::Reset
            && before.reset_hint != ResetHint::Gauge
            && before.schema == histogram.schema
            && before.zero_threshold == histogram.zero_threshold
            && before.custom_values == histogram.custom_values
            && !fell(before, histogram)
    };
    let reset_hint = match histogram.reset_hint {
        ResetHint::Gauge => ResetHint::Gauge,
        _ if before.is_some_and(follows) => ResetHint::NoReset,
        _ => ResetHint::Unknown,
    };
    FloatHistogram { reset_hint, ..histogram.clone() }
}

fn fell(before: &FloatHistogram, after: &FloatHistogram) -> bool {
    let (old, new) = (super::runner::buckets(before), super::runner::buckets(after));
    after.count < before.count
        || after.zero_count < before.zero_count
        || old.iter().any(|(place, count)| new.get(place).copied().unwrap_or(0.0) < *count)
}

/// Native histograms with custom buckets, made of the classic ones among the lines.
fn custom_histograms(lines: &[SeriesLine]) -> Vec<SeriesLine> {
    /// Per time: cumulative counts by bound, count, sum.
    #[derive(Default)]
    struct Classic {
        buckets: Vec<(f64, f64)>,
        count: Option<f64>,
        sum: f64,
    }
    let mut found: HashMap<Labels, BTreeMap<usize, Classic>> = HashMap::new();
    for line in lines {
        let name = line.labels.name().unwrap_or_default();
        let Some((base, part)) = name.rsplit_once('_') else { continue };
        let bound = line.labels.get("le").and_then(|bound| bound.parse::<f64>().ok());
        if !matches!((part, bound), ("bucket", Some(_)) | ("sum" | "count", None)) {
            continue;
        }
        let labels = line.labels.filter(|label| label != "le").with(METRIC_NAME, base);
        for (index, item) in line.items.iter().enumerate() {
            let Item::Float(v) = item else { continue };
            let classic = found.entry(labels.clone()).or_default().entry(index).or_default();
            match (part, bound) {
                ("bucket", Some(bound)) => classic.buckets.push((bound, *v)),
                ("sum", _) => classic.sum = *v,
                _ => classic.count = Some(*v),
            }
        }
    }
    let line = |(labels, times): (Labels, BTreeMap<usize, Classic>)| {
        let mut items = vec![Item::Gap; times.keys().max().map_or(0, |last| last + 1)];
        for (index, mut classic) in times {
            classic.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let highest = classic.buckets.last().copied();
            let Some(count) = classic.count.or(highest.map(|(_, count)| count)) else { continue };
            if highest.is_none_or(|(bound, _)| bound.is_finite()) {
                classic.buckets.push((f64::INFINITY, count));
            }
            let mut below = 0.0;
            let counts: Vec<f64> =
                classic.buckets.iter().map(|(_, count)| count - std::mem::replace(&mut below, *count)).collect();
            if counts.iter().any(|count| *count < 0.0) {
                continue;
            }
            let custom_values = classic.buckets.iter().map(|(bound, _)| *bound).filter(|b| b.is_finite()).collect();
            let spans = vec![Span { offset: 0, length: u32::try_from(counts.len()).unwrap() }];
            items[index] = Item::Histogram(Arc::new(FloatHistogram {
                schema: CUSTOM_BUCKETS,
                count,
                sum: classic.sum,
                positive: Buckets { spans, counts },
                custom_values,
                ..FloatHistogram::default()
            }));
        }
        SeriesLine { labels, items, starts: Vec::new(), hinted: false }
    };
    found.into_iter().map(line).collect()
}
