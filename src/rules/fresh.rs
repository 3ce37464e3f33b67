//! What samples that are newer than a moment say about an alert: for whoever did something about it and wants to know
//! whether it helped.
//!
//! The rule's expression is evaluated as always, with its whole ranges; but it is only believed, one way or the other,
//! when every selector that contributed to the alert has a sample of its series from after that moment. An evaluation on
//! nothing but the new samples would be wrong both ways: `rate` of one sample, or an `offset`, finds nothing, and nothing
//! looks like "false".

use crate::model::{Alert, Labels, Matcher, Series, Source, SourceError};
use crate::query::{self, Limits, Value};

use super::evidence::Witness;
use super::rule::Rule;

/// What new samples say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The expression holds.
    Holds,
    /// It does not.
    Over,
    /// There are no new samples, or they cannot be read.
    NoData,
}

/// The samples after a moment.
struct After<'a> {
    source: &'a dyn Source,
    since: i64,
}

impl Source for After<'_> {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        self.source.select(matchers, start.max(self.since.saturating_add(1)), end)
    }
}

/// Asks at `now` what samples after `since` say about an alert of a rule.
pub fn fresh(rule: &Rule, alert: &Alert, since: i64, now: i64, limits: &Limits, source: &dyn Source) -> Fresh {
    let selectors = query::selectors(&rule.expr);
    let after = After { source, since };
    let mut witness = Witness::new(&selectors, &rule.labels, now, limits.lookback, source);
    if !witness.confirms_with(alert, &after) {
        return Fresh::NoData;
    }
    let Ok(answer) = query::instant(&rule.expr, source, now, limits) else { return Fresh::NoData };
    let ours = |labels: &Labels| {
        labels.iter().all(|(name, value)| {
            let set = name == "__name__" || rule.labels.get(name).is_some();
            set || alert.labels.get(name).is_none_or(|wanted| wanted == value)
        })
    };
    let holds = match answer.value {
        Value::Vector(elements) => elements.iter().any(|element| ours(&element.labels)),
        Value::Scalar(_) => true,
        Value::String(..) | Value::Matrix(_) => return Fresh::NoData,
    };
    if holds { Fresh::Holds } else { Fresh::Over }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AlertState, Point};
    use crate::rules::check_text;

    struct Fixed(Vec<Series>);

    impl Source for Fixed {
        fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
            let hit = self.0.iter().filter(|series| matchers.iter().all(|matcher| matcher.matches(&series.labels)));
            let cut = |series: &Series| {
                let points = series.points.iter().filter(|p| p.t >= start && p.t <= end).copied().collect();
                Series::floats(series.labels.clone(), points)
            };
            Ok(hit.map(cut).filter(|series| !series.points.is_empty()).collect())
        }
    }

    fn ask(expr: &str, points: &[(i64, f64)]) -> Fresh {
        let text =
            format!("groups: [{{name: g, rules: [{{alert: Hot, expr: '{expr}', labels: {{severity: page}}}}]}}]");
        let report = check_text("f.yml", &text);
        let rule = report.groups[0].rules[0].clone();
        let labels = Labels::new([("__name__", "temp"), ("rig", "1")]);
        let points = points.iter().map(|(t, v)| Point { t: t * 1000, v: *v }).collect();
        let other = Labels::new([("__name__", "temp"), ("rig", "2")]);
        let hot = (0..30).map(|n| Point { t: n * 10_000, v: 99.0 }).collect();
        let source = Fixed(vec![Series::floats(labels, points), Series::floats(other, hot)]);
        let alert = Alert {
            rule: rule.key.clone(),
            labels: Labels::new([("alertname", "Hot"), ("rig", "1"), ("severity", "page")]),
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
        fresh(&rule, &alert, 100_000, 150_000, &Limits::default(), &source)
    }

    #[test]
    fn only_samples_after_the_run_count() {
        assert_eq!(
            ask("temp > 80", &[(90, 90.0), (100, 90.0)]),
            Fresh::NoData,
            "the old sample is still in the lookback"
        );
        assert_eq!(ask("temp > 80", &[(90, 90.0), (110, 90.0)]), Fresh::Holds);
        assert_eq!(ask("temp > 80", &[(90, 90.0), (110, 70.0)]), Fresh::Over, "another rig is still hot");
        assert_eq!(ask("temp > 80", &[]), Fresh::NoData);
    }

    #[test]
    fn too_few_new_samples_for_a_range_are_not_taken_for_false() {
        let hot = [(80, 90.0), (90, 90.0), (100, 90.0), (110, 90.0)];
        assert_eq!(ask("avg_over_time(temp[2m]) > 80", &hot), Fresh::Holds);
        assert_eq!(ask("deriv(temp[2m]) == 0", &hot), Fresh::Holds);
        assert_eq!(ask("temp offset 1m > 80", &hot), Fresh::Holds);
    }
}
