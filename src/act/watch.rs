//! Did it help? Looks at what new samples say, for every run that is being verified, and for troubles that went quiet.

use std::time::Duration;

use tokio::time::Instant;

use crate::act::actor::{Actor, Round};
use crate::act::binding::{Binding, source_of};
use crate::act::episode::{Episode, alert_key};
use crate::act::facts::Symptom;
use crate::act::run::{Run, RunState};
use crate::act::settings::AlertSource;
use crate::act::verify::Watch;
use crate::model::{Alert, Labels};

/// How often it is asked whether a trouble that went quiet is over.
const ASK_AGAIN: Duration = Duration::from_secs(60);

impl Actor {
    /// Looks at every run that is being verified.
    pub(super) async fn verify(&mut self, round: &Round) {
        let verifying = self.driver.book.in_state(RunState::Verifying);
        self.watches.retain(|id, _| verifying.iter().any(|run| run.id == *id));
        let bindings = self.bindings.borrow().clone();
        for mut run in verifying {
            let (Some(verify), Some(ended)) = (run.verify, run.exited_at) else {
                self.finish_run(&mut run, RunState::Unverifiable, "its record does not say how to verify it").await;
                continue;
            };
            let binding = bindings.iter().find(|binding| binding.name == run.binding);
            let symptom = self.symptom_of(&run, binding, ended, round).await;
            let now = self.driver.world.now();
            let from = if self.took_up.contains(&run.id) { self.took_up_at } else { ended };
            let watch = self.watches.entry(run.id.clone()).or_insert_with(|| Watch::new(verify, ended, from));
            if let Some((state, why)) = watch.look(symptom, now) {
                self.finish_run(&mut run, state, why).await;
            }
        }
    }

    pub(super) async fn finish_run(&mut self, run: &mut Run, state: RunState, why: &str) {
        run.state = state;
        run.detail = why.to_string();
        run.ended_at = Some(self.driver.world.now());
        match self.driver.book.save(run).await {
            Ok(()) => tracing::info!(run = %run.id, binding = run.binding, target = run.target,
                state = state.as_str(), detail = run.detail, "run ended"),
            // It is still being verified on record, and is looked at again.
            Err(error) => {
                tracing::error!(run = %run.id, %error, "cannot record what became of a run");
                self.refresh_after(&error).await;
            }
        }
    }

    /// What is known of the trouble after a run: of the alert it was made for, and of every other that fires for its
    /// target. The worst counts.
    async fn symptom_of(&self, run: &Run, binding: Option<&Binding>, ended: i64, round: &Round) -> Symptom {
        let labels = Labels::new(run.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut worst = self.symptom(run, &run.rule, &labels, ended, round).await;
        let firing: Vec<&Alert> =
            binding.map(|binding| round.firing_for(binding, &run.target).collect()).unwrap_or_default();
        for alert in firing.into_iter().filter(|alert| alert.labels != labels || *alert.rule != *run.rule) {
            let one = self.symptom(run, &alert.rule, &alert.labels, ended, round).await;
            worst = match (worst, one) {
                (Symptom::Present, _) | (_, Symptom::Present) => Symptom::Present,
                (Symptom::NoData, _) | (_, Symptom::NoData) => Symptom::NoData,
                _ => Symptom::Clear,
            };
        }
        worst
    }

    async fn symptom(&self, run: &Run, rule: &str, labels: &Labels, ended: i64, round: &Round) -> Symptom {
        if source_of(rule) == AlertSource::Rules {
            return self.driver.world.symptom(rule, labels, ended).await;
        }
        // Whoever sent it has the samples: it fires until they say that it does not.
        if round.firing.iter().any(|alert| *alert.rule == *rule && alert.labels == *labels) {
            return Symptom::Present;
        }
        let episode = self.driver.book.episode(&run.binding, &run.target);
        let resolved = episode.is_some_and(|episode| !episode.alerts.contains_key(&key(rule, labels)));
        if resolved { Symptom::Clear } else { Symptom::NoData }
    }

    /// Whether new samples say that a trouble is over for which nothing fires any more: its alert went for want of data,
    /// and nobody will say that it is over.
    pub(super) async fn is_over(&mut self, episode: &Episode) -> bool {
        let index = (episode.binding.clone(), episode.target.clone());
        if self.asked.get(&index).is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            return false;
        }
        self.asked.insert(index, Instant::now());
        let Some(alert) = &episode.alert else { return false };
        let only = episode.alerts.len() == 1 && episode.alerts.contains_key(&alert_key(alert));
        if !only || source_of(&alert.rule) != AlertSource::Rules {
            return false;
        }
        let seen = self.driver.book.view(|runs| {
            let ours = runs.iter().filter(|run| run.binding == episode.binding && run.target == episode.target);
            ours.filter_map(|run| run.ended_at).max()
        });
        let since = seen.unwrap_or_default().max(alert.last_seen_at);
        self.driver.world.symptom(&alert.rule, &alert.labels, since).await == Symptom::Clear
    }
}

fn key(rule: &str, labels: &Labels) -> String {
    format!("{:016x} {rule}", labels.fingerprint())
}
