//! What the acting room is told of the world: alerts, rules, targets, silences, windows, and what samples say.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::evaluate;
use super::shared::Shared;
use super::world::host;
use crate::act::facts::{Host, RuleFacts, Symptom, World};
use crate::config::Config;
use crate::model::{Alert, AlertState, Labels};
use crate::query;
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
            let work = move || query::holds(&expr, &*shared.recent, unix_millis(), &limits);
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
            let alert = known.cloned().unwrap_or_else(|| Alert::forgotten(rule.key.clone(), labels.clone(), since));
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
