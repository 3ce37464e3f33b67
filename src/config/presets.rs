//! The sections `presets`, `expected_pools` and `expected_workers`, checked against the targets.

use super::check::Check;
use super::file::File;
use crate::preset::{self, Presets};
use crate::schedule::Job;

/// Checks them; mistakes and remarks are reported.
pub(super) fn check(check: &mut Check, file: &File, jobs: &[Job]) -> Presets {
    let targets: Vec<_> = jobs.iter().map(|job| &*job.target).collect();
    let (presets, mistakes) = preset::check(&file.presets, &file.expected_pools, &file.expected_workers, &targets);
    for mistake in mistakes {
        match mistake.remark {
            true => check.warn(&mistake.path, &mistake.message),
            false => check.report(mistake.path, mistake.message),
        }
    }
    presets
}
