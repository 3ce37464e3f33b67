//! What stands behind `/api/v1`: samples, rules, targets and settings, in Prometheus' shapes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::shared::TargetState;
use super::world::View;
use crate::api::prometheus::{Alerting, Facts, Group, Metadata, Prometheus, Rule, Target};
use crate::collect::kind;
use crate::model::duration::format_duration;
use crate::model::{self, AlertState, Labels, Source};
use crate::query::Limits;
use crate::rules::{Engine, GroupState, RuleState};
use crate::schedule::poll::unix_millis;

impl Prometheus for View {
    fn now(&self) -> i64 {
        unix_millis()
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.shared.samples.clone())
    }

    fn limits(&self) -> Limits {
        super::evaluate::settings(&self.shared.config.get()).limits
    }

    fn metadata(&self) -> Vec<Metadata> {
        // What was pushed belongs to no target.
        let pushed = (Labels::empty(), self.shared.intake.families());
        let families = self.shared.recent.families().into_iter().chain([pushed]);
        let entries = families.flat_map(|(target, families)| {
            families.into_iter().map(move |family| Metadata {
                target: target.clone(),
                family: family.name.to_string(),
                kind: family.kind,
                help: family.help.to_string(),
                unit: family.unit.to_string(),
            })
        });
        entries.collect()
    }

    fn groups(&self) -> Arc<Vec<Group>> {
        self.shared.groups.get()
    }

    fn targets(&self) -> Vec<Target> {
        let states = self.shared.targets(|targets| targets.clone());
        let config = self.shared.config.get();
        config.jobs.iter().map(|job| target(&job.target, states.get(&job.target.id))).collect()
    }

    fn alertmanagers(&self) -> Vec<String> {
        let config = self.shared.config.get();
        config.notify.alertmanagers.iter().flat_map(|cluster| cluster.urls()).map(String::from).collect()
    }

    fn facts(&self) -> Facts {
        let (config, telemetry) = (self.shared.config.get(), &self.shared.telemetry);
        let history = &config.file.history;
        let window = self.shared.recent.window();
        let kept = self.shared.samples.history().map_or(window, |_| window.max(history.retention));
        let flag = |name: &str, value: String| (name.to_string(), value);
        let limits = self.limits();
        let flags = [
            flag("query.lookback-delta", format_duration(limits.lookback)),
            flag("query.max-samples", limits.max_samples.to_string()),
            flag("rules.evaluation-interval", format_duration(config.file.rules.evaluation_interval)),
            flag("storage.path", config.file.storage.path.display().to_string()),
            flag("web.enable-lifecycle", config.file.server.token.is_some().to_string()),
            flag("web.listen-address", config.file.server.listen.to_string()),
        ];
        Facts {
            started: self.shared.started * 1000,
            config: config.shown.clone(),
            configured: (telemetry.reload_timestamp.get_or_create(&Vec::new()).get() * 1000.0) as i64,
            reload_succeeded: telemetry.reload_successful.get_or_create(&Vec::new()).get() == 1.0,
            retention: format_duration(kept),
            oldest: unix_millis() - millis(window),
            flags: BTreeMap::from(flags),
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn target(target: &model::Target, state: Option<&TargetState>) -> Target {
    let state = state.cloned().unwrap_or_default();
    let up = state.polled.and(state.up);
    let subject = kind(&target.kind).map_or("target", |kind| kind.subject);
    Target {
        pool: target.kind.to_string(),
        address: target.address.clone(),
        labels: target.labels.with(subject, target.id.as_ref()),
        up,
        // What had to be repaired is a remark, no error.
        error: if up == Some(false) { state.detail } else { String::new() },
        polled: state.polled,
        took: state.took_ms / 1000.0,
        interval: format_duration(target.interval),
        timeout: format_duration(target.timeout),
    }
}

/// All groups of an engine, to be shown.
pub(super) fn groups(engine: &Engine) -> Vec<Group> {
    engine.groups().iter().map(group).collect()
}

fn group(state: &GroupState) -> Group {
    Group {
        name: state.name().to_string(),
        file: state.file().to_string(),
        interval: state.interval().as_secs_f64(),
        limit: state.limit(),
        took: state.took().as_secs_f64(),
        evaluated: state.last_evaluation(),
        rules: state.rules().iter().map(rule).collect(),
    }
}

fn rule(state: &RuleState) -> Rule {
    let rule = state.rule();
    let alerting = rule.alert().map(|alert| Alerting {
        hold: alert.hold.as_secs_f64(),
        keep_firing_for: alert.keep_firing_for.as_secs_f64(),
        annotations: alert.annotations.iter().map(|(name, text)| (name.clone(), text.text().to_string())).collect(),
        alerts: state.alerts().filter(|alert| alert.state != AlertState::Resolved).cloned().collect(),
    });
    Rule {
        name: rule.name.clone(),
        query: rule.expr_text.clone(),
        labels: rule.labels.clone(),
        error: state.last_error().map(ToString::to_string).unwrap_or_default(),
        took: state.last().map_or(0.0, |last| last.took.as_secs_f64()),
        evaluated: state.last().map(|last| last.at),
        alerting,
    }
}
