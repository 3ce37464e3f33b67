//! `davylamp remediations test`: what a simulation needs of a configuration.

use std::path::Path;

use regex::Regex;

use super::evaluate::{needs_values, settings};
use super::world::host;
use crate::act::inventory::Inventory;
use crate::config::Config;
use crate::model::labels::METRIC_NAME;
use crate::model::{Family, Target};
use crate::schedule::about::{FAILED_POLLS, TARGET_UP};
use crate::simulation::{About, Outcome, Setting, run};
use crate::yaml::Problem;

/// Runs a file of remediation tests, or those tests whose name `only` matches.
pub fn remediation_tests(path: &Path, only: Option<&Regex>) -> Outcome {
    run(path, only, setting)
}

fn setting(path: &Path) -> Result<Setting, Vec<Problem>> {
    let config = Config::load(path).map_err(|error| error.problems)?;
    let targets = || config.jobs.iter().map(|job| &job.target);
    let about = |target: &std::sync::Arc<Target>| {
        let labels = target.labels.with("target", target.id.as_ref()).with("kind", target.kind.as_ref());
        let named = |family: &Family| labels.with(METRIC_NAME, family.name.as_ref());
        (target.id.to_string(), About { up: named(&TARGET_UP), failed: named(&FAILED_POLLS) })
    };
    let path = config.act.ansible.inventory.as_ref();
    let inventory = path.and_then(|path| Inventory::listed(path));
    let rules = config.groups.iter().flat_map(|group| &group.rules);
    Ok(Setting {
        bindings: config.act.bindings.clone(),
        limits: config.act.limits,
        approval_url: config.act.approval_url.clone(),
        any_host: config.act.awx.is_some() || path.is_some() && inventory.is_none(),
        inventory,
        hosts: targets().map(|target| host(target)).collect(),
        about: targets().map(about).collect(),
        windows: config.windows.clone(),
        groups: config.groups.clone(),
        rules: settings(&config),
        only_up: rules.filter(|rule| !needs_values(rule)).map(|rule| rule.key.to_string()).collect(),
    })
}
