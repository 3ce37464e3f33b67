//! What became of the samples of one request, for the answer and the metrics.

use crate::model::TargetId;
use crate::telemetry::RemoteWriteIn;

/// Counts of one request.
#[derive(Default)]
pub(super) struct Tally {
    /// Samples that are there now: kept, or there already with the same value.
    pub(super) samples: u64,
    /// The same of histograms.
    pub(super) histograms: u64,
    /// Exemplars, which are not kept.
    pub(super) exemplars: u64,
    /// What was refused: reason, samples, and the first case of it in words.
    refused: Vec<(&'static str, usize, String)>,
    /// Whether senders have room for their series.
    pub(super) room: Vec<(TargetId, &'static str, usize)>,
}

impl Tally {
    /// Counts refused samples; `example` is asked for once per reason.
    pub(super) fn refuse(&mut self, reason: &'static str, count: usize, example: impl FnOnce() -> String) {
        match self.refused.iter_mut().find(|(known, ..)| *known == reason) {
            Some((_, sum, _)) => *sum += count,
            None => self.refused.push((reason, count, example())),
        }
    }

    /// For the sender's log; `None` when nothing was refused.
    pub(super) fn refusal(&self) -> Option<String> {
        if self.refused.is_empty() {
            return None;
        }
        let refused: usize = self.refused.iter().map(|(_, count, _)| count).sum();
        let reasons: Vec<String> =
            self.refused.iter().map(|(reason, count, example)| format!("{count} {reason} ({example})")).collect();
        let written = self.samples + self.histograms;
        Some(format!("{refused} samples refused, {written} written: {}", reasons.join("; ")))
    }

    /// Counts into the self-metrics.
    pub(super) fn count(&self, metrics: &RemoteWriteIn) {
        for (kind, count) in [("float", self.samples), ("histogram", self.histograms)] {
            metrics.samples.get_or_create(&vec![("type", kind.to_string())]).inc_by(count);
        }
        for (reason, count, _) in &self.refused {
            metrics.rejected.get_or_create(&vec![("reason", (*reason).to_string())]).inc_by(*count as u64);
        }
        metrics.exemplars.get_or_create(&Vec::new()).inc_by(self.exemplars);
    }
}
