//! The world of a test, as the acting room sees it.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::file::Healthy;
use super::plan::{FactKind, Level};
use super::scene::{Scene, Stage};
use crate::act::facts::{Host, RuleFacts, Symptom, World};
use crate::model::{Alert, Labels};
use crate::query;
use crate::rules::{Fresh, Rule, fresh};

/// The world of a test.
pub(super) struct Eyes(pub(super) Arc<Stage>);

impl World for Eyes {
    fn now(&self) -> i64 {
        self.0.lock().now()
    }

    fn firing(&self) -> Vec<Alert> {
        let scene = self.0.lock();
        scene.ruled.iter().chain(&scene.said).cloned().collect()
    }

    fn rule(&self, key: &str) -> Option<RuleFacts> {
        let scene = self.0.lock();
        let said = scene.plan.alerts.iter().find(|alert| alert.rule == key);
        let rule = rule(&scene, key);
        let name = rule.map(|rule| rule.name.as_str()).or(said.and_then(|alert| alert.labels.get("alertname")))?;
        let warm =
            |fact: &FactKind| matches!(fact, FactKind::WarmingUp(names) if names.iter().any(|cold| cold == name));
        let evaluated = rule.is_some_and(|_| scene.plan.evaluates() && said.is_none());
        let warming_up =
            scene.facts(scene.at()).any(warm) || evaluated && scene.warming.get(key).copied().unwrap_or(true);
        let needs_values =
            said.map_or_else(|| !scene.setting.only_up.iter().any(|known| known == key), |said| said.needs_values);
        Some(RuleFacts { warming_up, needs_values })
    }

    fn target_up(&self, target: &str) -> Option<bool> {
        let scene = self.0.lock();
        let down = scene.down(target, scene.at());
        (down || scene.setting.about.contains_key(target)).then_some(!down)
    }

    fn hosts(&self) -> Vec<Host> {
        self.0.lock().setting.hosts.clone()
    }

    fn holds<'a>(&'a self, expression: &'a str) -> BoxFuture<'a, Option<bool>> {
        let scene = self.0.lock();
        let holds = match scene.healthy() {
            Some(Healthy::Known(holds)) => Some(holds),
            Some(Healthy::Unknown) => None,
            None => query::parse(expression)
                .ok()
                .and_then(|expr| query::holds(&expr, &scene.samples, scene.now(), &scene.setting.rules.limits)),
        };
        std::future::ready(holds).boxed()
    }

    fn silenced(&self, labels: &Labels) -> Option<String> {
        let scene = self.0.lock();
        let covers = |fact: &FactKind| matches!(fact, FactKind::Silence(of) if of.iter().all(|m| m.matches(labels)));
        let silence = scene.facts(scene.at()).any(covers).then(|| "a silence of the test".to_string());
        silence.or_else(|| scene.setting.windows.muted_by(labels, scene.now()).map(|mute| mute.to_string()))
    }

    fn window_open(&self, name: &str) -> bool {
        let scene = self.0.lock();
        scene.setting.windows.is_open(name, scene.now())
    }

    fn symptom<'a>(&'a self, rule: &'a str, labels: &'a Labels, since: i64) -> BoxFuture<'a, Symptom> {
        std::future::ready(symptom(&self.0.lock(), rule, labels, since)).boxed()
    }
}

fn rule<'a>(scene: &'a Scene, key: &str) -> Option<&'a Rule> {
    scene.setting.groups.iter().flat_map(|group| &group.rules).find(|rule| *rule.key == *key)
}

/// What samples after a moment of the wall clock say of an alert. Those of an alert that the test says are taken once per
/// interval, like those of a series.
fn symptom(scene: &Scene, key: &str, labels: &Labels, since: i64) -> Symptom {
    let said = |alert: &super::plan::AlertPlan| alert.rule == key && alert.labels == *labels;
    let at = scene.at();
    if let Some((index, alert)) = scene.plan.alerts.iter().enumerate().find(|(_, alert)| said(alert)) {
        let taken = at - at % scene.plan.interval;
        let down = alert.needs_values && alert.targets.iter().any(|(_, target)| scene.down(target, taken));
        return match scene.level(index, taken) {
            _ if scene.wall(taken) <= since || down => Symptom::NoData,
            Level::Firing => Symptom::Present,
            Level::Clear => Symptom::Clear,
            Level::Silent => Symptom::NoData,
        };
    }
    let Some(rule) = rule(scene, key) else { return Symptom::NoData };
    let known = scene.ruled.iter().find(|alert| *alert.rule == *key && alert.labels == *labels).cloned();
    let alert = known.unwrap_or_else(|| Alert::forgotten(rule.key.clone(), labels.clone(), since));
    match fresh(rule, &alert, since, scene.now(), &scene.setting.rules.limits, &scene.samples) {
        Fresh::Holds => Symptom::Present,
        Fresh::Over => Symptom::Clear,
        Fresh::NoData => Symptom::NoData,
    }
}
