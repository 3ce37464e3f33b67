//! Is an expression false *with data*, or false because the data are gone?
//!
//! Automation may believe a resolve only in the first case: a miner that no longer answers has not been healed.
//! The definition, for one alert at one time:
//!
//! * A selector is *live* at `t` when it finds a series whose newest sample in the lookback (left-open, as PromQL has
//!   it) is no stale marker, and whose labels agree with the alert's on every name that both have. Labels that the
//!   rule itself sets say nothing about the series and are left out of the comparison. Offsets and ranges are left
//!   out too: what counts is whether the series is there now.
//! * The selectors that were live when the alert was last seen to hold *contributed*. Where none was (`absent(…)`, or
//!   the samples of that time are gone), all selectors count as contributing.
//! * The resolve is positive when every contributing selector is live now. An expression without selectors
//!   (`time() > 5`) needs no data and is always believed.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::Alert;
use crate::model::Labels;
use crate::model::Matcher;
use crate::model::Source;
use crate::model::labels::METRIC_NAME;
use crate::model::series::is_stale;

use super::step::millis;

/// Answers for one rule at one time. Keeps what each selector found, because after a network failure a thousand alerts
/// of one rule ask at once.
pub(super) struct Witness<'a> {
    selectors: &'a [Vec<Matcher>],
    rule_labels: &'a Labels,
    at: i64,
    lookback: Duration,
    source: &'a dyn Source,
    live: HashMap<(usize, i64), Vec<Labels>>,
}

impl<'a> Witness<'a> {
    pub(super) fn new(
        selectors: &'a [Vec<Matcher>],
        rule_labels: &'a Labels,
        at: i64,
        lookback: Duration,
        source: &'a dyn Source,
    ) -> Self {
        Witness { selectors, rule_labels, at, lookback, source, live: HashMap::new() }
    }

    /// Whether the data confirm that the alert is over.
    pub(super) fn confirms(&mut self, alert: &Alert) -> bool {
        let (identity, asked) = self.asked(alert);
        asked.into_iter().all(|index| self.is_live(index, &identity, self.at))
    }

    /// Whether another source (the newest samples only) has live series for everything that contributed to the alert.
    pub(super) fn confirms_with(&mut self, alert: &Alert, source: &'a dyn Source) -> bool {
        let (identity, asked) = self.asked(alert);
        let mut other = Witness::new(self.selectors, self.rule_labels, self.at, self.lookback, source);
        asked.into_iter().all(|index| other.is_live(index, &identity, other.at))
    }

    /// The labels that say which series are the alert's, and the selectors that contributed to it.
    fn asked(&mut self, alert: &Alert) -> (Labels, Vec<usize>) {
        let rule_labels = self.rule_labels;
        let identity = alert.labels.filter(|name| name != "alertname" && rule_labels.get(name).is_none());
        let all = 0..self.selectors.len();
        let contributed: Vec<usize> = all.clone().filter(|i| self.is_live(*i, &identity, alert.last_seen_at)).collect();
        (identity, if contributed.is_empty() { all.collect() } else { contributed })
    }

    fn is_live(&mut self, index: usize, identity: &Labels, at: i64) -> bool {
        let (matchers, source, lookback) = (&self.selectors[index], self.source, self.lookback);
        let live = self.live.entry((index, at)).or_insert_with(|| live(matchers, at, lookback, source));
        live.iter().any(|labels| {
            let agrees = |(name, value)| name == METRIC_NAME || identity.get(name).is_none_or(|wanted| wanted == value);
            labels.iter().all(agrees)
        })
    }
}

/// The label sets that the matchers find alive at `at`. A source that fails finds nothing, and so confirms nothing.
pub(super) fn live(matchers: &[Matcher], at: i64, lookback: Duration, source: &dyn Source) -> Vec<Labels> {
    let start = at.saturating_sub(millis(lookback)).saturating_add(1);
    let found = source.select(matchers, start, at).unwrap_or_default();
    let alive = found.into_iter().filter(|series| series.points.last().is_some_and(|point| !is_stale(point.v)));
    alive.map(|series| series.labels).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AlertState;
    use crate::model::Point;
    use crate::model::Series;
    use crate::model::SourceError;
    use crate::model::series::stale_nan;

    struct Fixed(Vec<Series>);

    impl Source for Fixed {
        fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
            let hit = self.0.iter().filter(|series| matchers.iter().all(|matcher| matcher.matches(&series.labels)));
            Ok(hit
                .map(|series| {
                    Series::floats(
                        series.labels.clone(),
                        series.points.iter().filter(|p| p.t >= start && p.t <= end).copied().collect(),
                    )
                })
                .collect())
        }
    }

    fn series(name: &'static str, rig: &str, points: &[(i64, f64)]) -> Series {
        let labels = Labels::new([("__name__", name), ("rig", rig)]);
        Series::floats(labels, points.iter().map(|(t, v)| Point { t: t * 1000, v: *v }).collect())
    }

    fn confirmed(names: &[&str], data: Vec<Series>) -> bool {
        let selectors: Vec<_> = names.iter().map(|name| vec![Matcher::equal("__name__", *name)]).collect();
        let rule_labels = Labels::new([("severity", "warning")]);
        let alert = Alert {
            rule: "k".into(),
            labels: Labels::new([("alertname", "A"), ("rig", "1"), ("severity", "warning")]),
            annotations: Labels::empty(),
            state: AlertState::Firing,
            value: 1.0,
            active_at: 0,
            fired_at: Some(0),
            resolved_at: None,
            keep_firing_since: None,
            resolved_with_data: false,
            last_seen_at: 100_000,
        };
        let source = Fixed(data);
        Witness::new(&selectors, &rule_labels, 110_000, Duration::from_secs(60), &source).confirms(&alert)
    }

    #[test]
    fn the_alerts_own_series_must_be_there() {
        assert!(confirmed(&["temp"], vec![series("temp", "1", &[(100, 9.0), (110, 1.0)])]));
        assert!(!confirmed(&["temp"], vec![series("temp", "1", &[(100, 9.0), (110, stale_nan())])]));
        let other = series("temp", "2", &[(100, 1.0), (110, 1.0)]);
        assert!(!confirmed(&["temp"], vec![series("temp", "1", &[(100, 9.0), (105, stale_nan())]), other]));
        assert!(!confirmed(&["temp"], Vec::new()));
    }

    #[test]
    fn a_selector_that_never_contributed_need_not_be_there() {
        let temp = series("temp", "1", &[(100, 9.0), (110, 1.0)]);
        assert!(confirmed(&["temp", "maintenance"], vec![temp.clone()]));
        let limit = series("limit", "1", &[(95, 5.0), (101, stale_nan())]);
        assert!(!confirmed(&["temp", "limit"], vec![temp, limit]));
    }

    #[test]
    fn absence_ends_when_the_series_appears() {
        assert!(confirmed(&["heartbeat"], vec![series("heartbeat", "1", &[(108, 1.0)])]));
        assert!(confirmed(&[], Vec::new()));
    }
}
