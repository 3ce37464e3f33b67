//! What the acting room is told of the world: alerts, rules, targets, silences, windows, and what samples say.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::evaluate;
use super::shared::Shared;
use super::world::host;
use crate::act::facts::{Host, RuleFacts, Symptom, World};
use crate::config::Config;
use crate::model::{Alert, AlertState, Labels, Source};
use crate::query::{self, Expr, Value};
use crate::rules::{Fresh, Rule, fresh};
use crate::schedule::poll::unix_millis;

/// The world as the acting room sees it.
pub(super) struct Eyes(pub(super) Arc<Shared>);

impl World for Eyes {
    fn now(&self) -> i64 {
        unix_millis()
    }

    fn firing(&self) -> Vec<Alert> {
        let (alerts, posted) = (self.0.alerts.get(), self.0.posted.get());
        let ours = alerts.iter().filter(|alert| alert.state == AlertState::Firing);
        ours.chain(posted.iter()).cloned().collect()
    }

    fn rule(&self, rule: &str) -> Option<RuleFacts> {
        let rules = self.0.rules.get();
        let note = rules.get(rule)?;
        Some(RuleFacts { warming_up: note.warming_up, needs_values: note.needs_values })
    }

    fn target_up(&self, target: &str) -> Option<bool> {
        self.0.targets(|targets| targets.get(target).map(|state| state.up == Some(true)))
    }

    fn hosts(&self) -> Vec<Host> {
        self.0.config.get().jobs.iter().map(|job| host(&job.target)).collect()
    }

    fn holds<'a>(&'a self, expression: &'a str) -> BoxFuture<'a, Option<bool>> {
        let (shared, expr) = (self.0.clone(), query::parse(expression));
        async move {
            let expr = expr.inspect_err(|error| tracing::error!(%error, expression, "cannot read min_healthy")).ok()?;
            let limits = limits(&shared.config.get());
            // A query is computation; on a thread of the runtime it would make polls late.
            let work = move || holds(&expr, &*shared.recent, unix_millis(), &limits);
            tokio::task::spawn_blocking(work).await.ok().flatten()
        }
        .boxed()
    }

    fn silenced(&self, labels: &Labels) -> Option<String> {
        self.0.muted_by(labels, unix_millis()).map(|mute| mute.to_string())
    }

    fn window_open(&self, name: &str) -> bool {
        self.0.config.get().windows.is_open(name, unix_millis())
    }

    fn symptom<'a>(&'a self, rule: &'a str, labels: &'a Labels, since: i64) -> BoxFuture<'a, Symptom> {
        let shared = self.0.clone();
        async move {
            let config = shared.config.get();
            let Some(rule) = find(&config, rule).cloned() else { return Symptom::NoData };
            let alerts = shared.alerts.get();
            let known = alerts.iter().find(|alert| alert.rule == rule.key && alert.labels == *labels);
            let alert = known.cloned().unwrap_or_else(|| forgotten(&rule, labels, since));
            let limits = limits(&config);
            let work = move || fresh(&rule, &alert, since, unix_millis(), &limits, &*shared.recent);
            match tokio::task::spawn_blocking(work).await {
                Ok(Fresh::Holds) => Symptom::Present,
                Ok(Fresh::Over) => Symptom::Clear,
                Ok(Fresh::NoData) | Err(_) => Symptom::NoData,
            }
        }
        .boxed()
    }
}

fn limits(config: &Config) -> query::Limits {
    evaluate::settings(config).limits
}

fn find<'a>(config: &'a Config, key: &str) -> Option<&'a Rule> {
    config.groups.iter().flat_map(|group| &group.rules).find(|rule| *rule.key == *key)
}

/// An alert that the rules no longer remember: all of its rule's series count then.
fn forgotten(rule: &Rule, labels: &Labels, at: i64) -> Alert {
    Alert {
        rule: rule.key.clone(),
        labels: labels.clone(),
        annotations: Labels::empty(),
        state: AlertState::Resolved,
        value: 0.0,
        active_at: at,
        fired_at: Some(at),
        resolved_at: Some(at),
        keep_firing_since: None,
        resolved_with_data: false,
        last_seen_at: at,
    }
}

/// Whether an expression holds. A comparison drops what it is false for, and dropping looks like having no data; so it is
/// asked for its truth instead.
fn holds(expr: &Expr, source: &dyn Source, at: i64, limits: &query::Limits) -> Option<bool> {
    match query::instant(&expr.as_truth(), source, at, limits).ok()?.value {
        Value::Scalar(point) => Some(point.v != 0.0 && !point.v.is_nan()),
        Value::Vector(elements) if elements.is_empty() => None,
        // NaN is what a division of nothing by nothing gives.
        Value::Vector(elements) if elements.iter().any(|element| element.v.is_nan()) => None,
        Value::Vector(elements) => Some(elements.iter().all(|element| element.v != 0.0)),
        Value::String(..) | Value::Matrix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Matcher, Point, Series, SourceError};

    struct Fixed(Vec<Series>);

    impl Source for Fixed {
        fn select(&self, matchers: &[Matcher], _: i64, _: i64) -> Result<Vec<Series>, SourceError> {
            let hit = self.0.iter().filter(|series| matchers.iter().all(|matcher| matcher.matches(&series.labels)));
            Ok(hit.cloned().collect())
        }
    }

    #[test]
    fn false_and_unknown_are_not_the_same() {
        let up = |miner: &str, v| {
            Series::floats(Labels::new([("__name__", "up"), ("miner", miner)]), vec![Point { t: 1000, v }])
        };
        let source = Fixed(vec![up("a", 1.0), up("b", 1.0), up("c", 0.0)]);
        let ask = |text: &str| holds(&query::parse(text).unwrap(), &source, 2000, &query::Limits::default());
        assert_eq!(ask("count(up == 1) / count(up) > 0.6"), Some(true));
        assert_eq!(ask("(count(up == 1) / count(up) > 0.8)"), Some(false));
        assert_eq!(ask("count(down == 1) / count(down) > 0.8"), None);
        assert_eq!(ask("sum(up * 0) / sum(up * 0) > 0.8"), Some(false), "nothing is true of NaN");
        assert_eq!(ask("up"), Some(false), "one of them is 0");
        assert_eq!(ask("scalar(sum(up))"), Some(true));
        assert_eq!(ask("vector(1)"), Some(true));
    }
}
