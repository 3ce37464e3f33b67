//! The sections about devices themselves: `presets`, `expected_pools`, `expected_workers` and `device_logs`.

use super::check::Check;
use super::file::File;
use crate::collect::command::able;
use crate::listen::Plan;
use crate::preset::{self, Presets};
use crate::schedule::Job;

/// Checks presets and what is expected; mistakes and remarks are reported.
pub(super) fn check(check: &mut Check, file: &File, jobs: &[Job]) -> Presets {
    let targets: Vec<_> = jobs.iter().map(|job| &*job.target).collect();
    let (presets, mistakes) =
        preset::check(&file.presets, &file.expected_pools, &file.expected_workers, &targets, &able);
    for mistake in mistakes {
        match mistake.remark {
            true => check.warn(&mistake.path, &mistake.message),
            false => check.report(mistake.path, mistake.message),
        }
    }
    presets
}

/// Checks the section `device_logs`.
pub(super) fn device_logs(check: &mut Check, file: &File) -> Plan {
    let (plan, mistakes) = file.device_logs.check(&file.storage.path);
    for (path, message) in mistakes {
        check.report(format!("device_logs.{path}"), message);
    }
    plan
}
