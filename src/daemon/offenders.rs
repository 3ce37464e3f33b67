//! Who hits the limits of the recent window: named in the log, in a metric and on the status page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::shared::Shared;
use crate::model::TargetId;

/// The limits of the recent window, as the configuration names them.
pub(super) const LIMITS: [&str; 2] = ["series_per_target", "series"];

/// Targets (and other blocks of series) of which samples are being dropped, by limit.
#[derive(Default)]
pub(super) struct Offenders(Mutex<BTreeMap<&'static str, BTreeSet<TargetId>>>);

impl Shared {
    /// Says that `dropped` samples of `id` were dropped by `limit` just now, or, with 0, that none were.
    pub(super) fn over_limit(&self, limit: &'static str, id: &TargetId, dropped: usize) {
        let mut offenders = self.offenders.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offenders = offenders.entry(limit).or_default();
        let changed = match dropped {
            0 => offenders.remove(id),
            _ => {
                self.telemetry.count_limit(limit);
                let labels = vec![("limit", limit.to_string()), ("target", id.to_string())];
                self.telemetry.samples_over_limit.get_or_create(&labels).inc_by(dropped as u64);
                offenders.insert(id.clone())
            }
        };
        if changed {
            if dropped > 0 {
                tracing::warn!(limit, target = %id, dropped, "a limit is reached; samples are being dropped");
            }
            self.notice(limit, about_limit(limit, offenders));
        }
    }

    /// Forgets targets that are gone.
    pub(super) fn forget_offender(&self, id: &TargetId) {
        for limit in LIMITS {
            self.over_limit(limit, id, 0);
            self.telemetry.samples_over_limit.remove(&vec![("limit", limit.to_string()), ("target", id.to_string())]);
        }
    }
}

fn about_limit(limit: &str, targets: &BTreeSet<TargetId>) -> Option<String> {
    let first = targets.first()?;
    let others = match targets.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("limits.{limit} is reached: samples of target {first}{others} are being dropped"))
}
