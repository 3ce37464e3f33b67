//! Devices that were found and adopted, as targets beside those of the configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::shared::Shared;
use crate::collect::kind;
use crate::config::Config;
use crate::discover::known::Known;
use crate::discover::settings::is_at;
use crate::discover::{Imprint, Mac};
use crate::model::{Labels, Target};
use crate::schedule::Job;

/// A configuration with the devices that are polled by its side. What it names itself wins: by id, by address, or by what
/// the device says of itself.
pub(super) fn with(config: &Arc<Config>, adopted: &[Imprint], shared: &Shared) -> Arc<Config> {
    let ids: BTreeSet<&str> = config.jobs.iter().map(|job| &*job.target.id).collect();
    let said: Vec<Mac> = shared.targets(|targets| {
        let own = targets.iter().filter(|(id, _)| ids.contains(&***id));
        own.filter_map(|(_, state)| Mac::read(&state.identity.id)).collect()
    });
    let named = |imprint: &Imprint| {
        ids.contains(&*imprint.id)
            || Mac::read(&imprint.mac).is_some_and(|mac| said.contains(&mac))
            || config
                .jobs
                .iter()
                .any(|job| is_at((&job.target.kind, &job.target.address), (&imprint.kind, &imprint.address)))
    };
    let jobs: Vec<Job> =
        adopted.iter().filter(|imprint| !named(imprint)).filter_map(|imprint| job(config, imprint)).collect();
    if jobs.is_empty() {
        return config.clone();
    }
    let mut full = Config::clone(config);
    full.jobs.extend(jobs);
    Arc::new(full)
}

fn job(config: &Config, imprint: &Imprint) -> Option<Job> {
    let kind = kind(&imprint.kind)?;
    let (defaults, discovery) = (&config.file.defaults, &config.file.discovery);
    let interval = defaults.interval.max(kind.min_interval);
    let labels = defaults.labels.iter().chain(&discovery.labels);
    let target = Target {
        id: imprint.id.as_str().into(),
        kind: kind.name.into(),
        address: imprint.address.clone(),
        interval,
        timeout: defaults.timeout.min(interval),
        cron: None,
        labels: Labels::new(labels.map(|(name, value)| (name.clone(), value.as_str()))),
        options: serde_json::Value::Null,
    };
    match (kind.open)(&target) {
        Ok(collector) => {
            let collector = Known::wrap(collector.into(), &imprint.says);
            Some(Job { target: Arc::new(target), collector })
        }
        Err(errors) => {
            let errors = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            tracing::warn!(target = imprint.id, errors, "an adopted device cannot be polled");
            None
        }
    }
}
