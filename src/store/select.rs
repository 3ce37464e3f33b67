//! Queries over the recent window: which series satisfy matchers, by the index over their forms and by their blocks.

use std::collections::{BTreeMap, BTreeSet};

use super::block::Block;
use super::forms::{Form, Stamp};
use super::recent::{Inner, Recent};
use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, Matcher, Series, Source, SourceError};

/// How many of the most frequent are named in [`Stats`].
const MOST_NAMED: usize = 10;

/// What is held, in numbers: what Prometheus says under `/api/v1/status/tsdb` of its head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Series.
    pub series: usize,
    /// Distinct pairs of label name and value.
    pub label_pairs: usize,
    /// Oldest time of a sample, milliseconds since the epoch.
    pub min_time: Option<i64>,
    /// Newest time of a sample.
    pub max_time: Option<i64>,
    /// Metric names with the most series, most first.
    pub series_by_metric: Vec<(String, usize)>,
    /// Label names with the most values, most first.
    pub values_by_label: Vec<(String, usize)>,
    /// Label names by the bytes of their values over all series, most first.
    pub bytes_by_label: Vec<(String, usize)>,
    /// Pairs of label name and value (`name=value`) with the most series, most first.
    pub series_by_pair: Vec<(String, usize)>,
}

impl Inner {
    /// Hands out all series that satisfy every matcher, until `take` fails.
    fn matching<E>(
        &self,
        matchers: &[Matcher],
        mut take: impl FnMut(&Block, usize, &Form) -> Result<(), E>,
    ) -> Result<(), E> {
        let satisfied =
            |matcher: &&Matcher, labels: &Labels| labels.get(&matcher.name).map(|v| matcher.matches_value(v));
        // The matchers that a form alone does not decide, or `None` if it fails one.
        let open = |form: &Form| {
            let mut open = Vec::new();
            for matcher in matchers {
                match satisfied(&matcher, &form.own) {
                    Some(false) => return None,
                    Some(true) => {}
                    None => open.push(matcher),
                }
            }
            Some(open)
        };
        let fits = |open: &[&Matcher], block: &Block, stamp: Stamp| {
            let labels = block.stamped(stamp);
            open.iter().all(|matcher| satisfied(matcher, labels).unwrap_or_else(|| matcher.matches_value("")))
        };
        // No label of a target may be called so; all others have to be looked for.
        let stamped = |name: &str| {
            let by = |block: &Block| block.stamp.get(name).is_some() || block.about.get(name).is_some();
            name != METRIC_NAME && self.all().any(by)
        };
        match self.forms.candidates(matchers, stamped) {
            Some(forms) => {
                for number in forms {
                    let Some(form) = self.forms.get(number) else { continue };
                    let Some(open) = open(form) else { continue };
                    for block in self.forms.blocks(number).iter().filter_map(|number| self.by_number(*number)) {
                        if let Ok(row) = block.rows.binary_search_by_key(&number, |row| row.form)
                            && fits(&open, block, form.stamp)
                        {
                            take(block, row, form)?;
                        }
                    }
                }
            }
            None => {
                for block in self.all() {
                    for (row, known) in block.rows.iter().enumerate() {
                        let Some(form) = self.forms.get(known.form) else { continue };
                        if open(form).is_some_and(|open| fits(&open, block, form.stamp)) {
                            take(block, row, form)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Source for Recent {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let inner = self.read();
        let limit = inner.limits.points_per_query;
        let (mut found, mut loaded) = (Vec::new(), 0);
        inner.matching(matchers, |block, row, form| {
            if let Some(series) = block.series(row, form, start, end) {
                loaded += series.points.len() + series.histograms.len();
                found.push(series);
            }
            if loaded > limit { Err(SourceError::TooManySamples { limit }) } else { Ok(()) }
        })?;
        drop(inner);
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }

    fn series(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Labels>, SourceError> {
        let inner = self.read();
        let mut found = Vec::new();
        inner.matching(matchers, |block, row, form| {
            if block.touches(row, start, end) {
                found.push(block.labels(form));
            }
            Ok::<(), SourceError>(())
        })?;
        drop(inner);
        found.sort();
        Ok(found)
    }
}

impl Recent {
    /// The names of all labels, sorted.
    pub fn label_names(&self) -> Vec<String> {
        let inner = self.read();
        let mut names: BTreeSet<&str> = inner.forms.label_names().collect();
        for block in inner.all().filter(|block| !block.rows.is_empty()) {
            names.extend(block.stamp.iter().chain(block.about.iter()).map(|(name, _)| name));
        }
        names.into_iter().map(String::from).collect()
    }

    /// The values of a label, sorted.
    pub fn label_values(&self, name: &str) -> Vec<String> {
        let inner = self.read();
        let mut values: BTreeSet<&str> = inner.forms.label_values(name).collect();
        for block in inner.all().filter(|block| !block.rows.is_empty()) {
            values.extend(block.stamp.get(name).into_iter().chain(block.about.get(name)));
        }
        values.into_iter().map(String::from).collect()
    }

    /// What is held, in numbers. Reads all labels: for a person, not for every scrape.
    pub fn stats(&self) -> Stats {
        let inner = self.read();
        let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (form, series) in inner.forms.counted() {
            form.own.iter().for_each(|pair| *pairs.entry(pair).or_default() += series);
        }
        let (mut min_time, mut max_time) = (None::<i64>, None::<i64>);
        for block in inner.all() {
            for row in &block.rows {
                let Some(form) = inner.forms.get(row.form) else { continue };
                block.stamped(form.stamp).iter().for_each(|pair| *pairs.entry(pair).or_default() += 1);
            }
            let own = block.own.iter().flatten().map(|own| own.ends()[0]);
            let all = own.chain([(block.packed.first(), block.packed.last())]);
            for (first, last) in all.filter_map(|(first, last)| first.zip(last)) {
                min_time = Some(min_time.map_or(first, |t| t.min(first)));
                max_time = max_time.max(Some(last));
            }
        }
        let (mut values, mut bytes) = (BTreeMap::new(), BTreeMap::new());
        for ((name, value), series) in &pairs {
            *values.entry(*name).or_insert(0) += 1;
            *bytes.entry(*name).or_insert(0) += value.len() * series;
        }
        let metrics = pairs.iter().filter(|((name, _), _)| *name == METRIC_NAME);
        Stats {
            series: inner.all().map(|block| block.rows.len()).sum(),
            label_pairs: pairs.len(),
            min_time,
            max_time,
            series_by_metric: most(metrics.map(|((_, value), series)| (value.to_string(), *series))),
            values_by_label: most(values.into_iter().map(|(name, count)| (name.to_string(), count))),
            bytes_by_label: most(bytes.into_iter().map(|(name, count)| (name.to_string(), count))),
            series_by_pair: most(pairs.iter().map(|((name, value), series)| (format!("{name}={value}"), *series))),
        }
    }
}

fn most(counts: impl Iterator<Item = (String, usize)>) -> Vec<(String, usize)> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(MOST_NAMED);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, MatchOp, Observation, Point, Reading, Sample, Suffix, Target};
    use crate::store::Limits;
    use std::time::Duration;

    static HEAT: Family = Family::gauge("heat", "Heat", &["sensor"]);
    static FANS: Family = Family::gauge("fans", "Fans", &[]);
    static UP: Family = Family::gauge("up", "Up", &["target"]);

    fn fleet() -> Recent {
        let recent = Recent::new(Duration::from_secs(60), Limits::default());
        for id in ["m1", "m2", "m3"] {
            let target = Target {
                id: id.into(),
                kind: "axeos".into(),
                address: String::new(),
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(5),
                cron: None,
                labels: Labels::new([("site", if id == "m3" { "farm" } else { "home" })]),
                options: serde_json::Value::Null,
            };
            recent.declare(&target, "miner");
            let mut reading = Reading::default();
            // Not all say the same, nor in the same order.
            if id != "m2" {
                reading.put(&FANS, &[], 2.0);
            }
            for sensor in ["chip", "board", "site"] {
                reading.put(&HEAT, &[("sensor", sensor), ("site", "inside")], 50.0);
            }
            let about = target.labels.with("target", id).with("kind", "axeos");
            let about = [Sample { family: (&UP).into(), suffix: Suffix::None, labels: about, value: 1.0 }];
            for at in [1000, 6000] {
                let outcome = Ok(reading.clone());
                let took = Duration::ZERO;
                recent.observe(&Observation { target: id.into(), at, took, outcome }, &about);
            }
        }
        recent.declare_pushed(&"/push".into(), "remote_write");
        let labels = Labels::new([("__name__", "heat"), ("miner", "m1"), ("job", "agent")]);
        recent.append_points(&"/push".into(), &[((&HEAT).into(), labels, Point { t: 2000, v: 1.0 })], 6000);
        recent
    }

    #[test]
    fn the_index_finds_what_a_look_at_every_series_does() {
        let recent = fleet();
        let all = recent.series(&[], i64::MIN, i64::MAX).unwrap();
        assert_eq!(all.len(), 3 * 4 + 2 + 1);
        let names = ["__name__", "miner", "site", "exported_site", "sensor", "target", "kind", "job", "none"];
        let values = ["", "heat", "up", "m1", "home", "inside", "chip", "axeos", "agent", "h.+", ".*", "m1|m3"];
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let one = |name: &&str, op, value: &&str| Matcher::new(*name, op, *value).unwrap();
        let all_ops = |name, value| ops.map(|op| one(name, op, value));
        let matchers: Vec<Matcher> =
            names.iter().flat_map(|name| values.iter().flat_map(move |value| all_ops(name, value))).collect();
        let mut found = 0;
        for first in &matchers {
            for second in matchers.iter().step_by(7) {
                let pair = [first.clone(), second.clone()];
                let mut want = all.clone();
                want.retain(|labels| pair.iter().all(|matcher| matcher.matches(labels)));
                let got = recent.select(&pair, 0, i64::MAX).unwrap();
                assert_eq!(got.iter().map(|series| series.labels.clone()).collect::<Vec<_>>(), want, "{pair:?}");
                assert_eq!(recent.series(&pair, 0, i64::MAX).unwrap(), want);
                found += want.len();
            }
        }
        assert!(found > 10_000, "{found}");
        assert_eq!(recent.series(&[], 7000, i64::MAX).unwrap(), []);
    }

    #[test]
    fn labels_and_figures() {
        let recent = fleet();
        let names = ["__name__", "exported_site", "job", "kind", "miner", "sensor", "site", "target"];
        assert_eq!(recent.label_names(), names);
        assert_eq!(recent.label_values("site"), ["farm", "home"]);
        assert_eq!(recent.label_values("sensor"), ["board", "chip", "site"]);
        let stats = recent.stats();
        assert_eq!((stats.series, stats.min_time, stats.max_time), (15, Some(1000), Some(6000)));
        assert_eq!(stats.series_by_metric, [("heat".into(), 10), ("up".into(), 3), ("fans".to_string(), 2)]);
        assert_eq!(stats.values_by_label[..2], [("__name__".into(), 3), ("miner".to_string(), 3)]);
        // name × 3, exported_site, job, kind, miner × 3, sensor × 3, site × 2, target × 3
        assert_eq!(stats.label_pairs, 17);
        recent.forget(&"/push".into());
        assert_eq!(recent.label_values("job"), Vec::<String>::new());
    }
}
