//! What a person must know, sent to the receivers of a binding: an approval is wanted, a run was interrupted, no step is
//! left, a large part of the fleet fails at once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::act::actor::Actor;
use crate::act::binding::Binding;
use crate::act::episode::Episode;
use crate::act::hands::{Effect, Message};
use crate::act::run::{Run, RunId};
use crate::act::settings::Mode;
use crate::model::{Alert, Labels};

/// How long handing over a message may take; delivering it is the outbox's.
const HAND_OVER: Duration = Duration::from_secs(30);

impl Actor {
    /// Sends a message to every receiver of a binding.
    pub(super) fn tell(&mut self, binding: &Binding, message: &Message) {
        for receiver in &binding.notify {
            let effect = Effect::Notify { receiver: receiver.clone(), message: message.clone() };
            let (hands, receiver, subject) = (self.driver.hands.clone(), receiver.clone(), message.subject.clone());
            self.tasks.spawn(async move {
                let sent = tokio::time::timeout(HAND_OVER, hands.perform(effect, HAND_OVER)).await;
                match sent {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::error!(receiver, subject, %error, "nobody could be told"),
                    Err(_) => tracing::error!(receiver, subject, "nobody could be told in time"),
                }
            });
        }
    }

    pub(super) fn tell_exhausted(&mut self, binding: &Binding, episode: &Episode) {
        tracing::warn!(binding = binding.name, target = episode.target, "no step is left");
        let subject = format!("{}: no step is left for {}", binding.name, episode.target);
        self.tell(binding, &about(episode, subject, "Every step was taken, and none is known to have helped.", None));
    }

    pub(super) fn tell_halted(&mut self, binding: &Binding, episode: &Episode, run: &RunId) {
        let Some(run) = self.driver.book.run(run) else { return };
        let subject = format!("{}: a run on {} is {}", binding.name, episode.target, run.state.as_str());
        tracing::warn!(run = %run.id, subject, "a person has to look");
        let text = format!(
            "{} on {}: {}. Nothing more is done until somebody says so: davylamp runs explain {}",
            run.playbook, run.target, run.detail, run.id
        );
        self.tell(binding, &about(episode, subject, &text, Some(run.id)));
    }

    /// An unverified step is followed by one that acts by itself: without sight it is held, and somebody is told.
    pub(super) async fn tell_blind(&mut self, binding: &Binding, episode: &mut Episode, step: u32) {
        let held = binding.step(step).is_some_and(|step| step.action.acts() && binding.mode_of(step) == Mode::Auto);
        if !held || episode.told {
            return;
        }
        episode.told = true;
        self.save_episode(episode).await;
        let subject = format!("{}: nobody knows how {} is", binding.name, episode.target);
        let text = "The last step cannot be verified, and the next one would act without sight. It waits for data.";
        self.tell(binding, &about(episode, subject, text, None));
    }

    pub(super) fn tell_approval(&mut self, binding: &Binding, run: &Run, check: Option<&Run>, token: Option<&str>) {
        let mut text = format!("{} on {} waits for your approval until {}.", run.playbook, run.target, when(run));
        if let Some(check) = check {
            text.push_str(&format!("\nIts check run ({}): {} {}", check.id, check.state.as_str(), check.detail));
            let changed = check.tasks.iter().filter(|task| task.changed || task.status != "ok");
            for task in changed.take(20) {
                text.push_str(&format!("\n- {}: {} {}", task.task, task.status, task.message));
            }
        }
        text.push_str(&format!("\ndavylamp runs approve {0}, or davylamp runs reject {0}", run.id));
        let base = self.approval_url.as_deref().map(|url| url.trim_end_matches('/').to_string());
        let links = base.zip(token).map(|(base, token)| {
            (String::from("Look and decide"), format!("{base}/runs/{}/approval?token={token}", run.id))
        });
        let labels = Labels::new(run.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let message = Message {
            subject: format!("{}: approve {} on {}?", binding.name, run.playbook, run.target),
            text,
            run: Some(run.id.clone()),
            labels,
            annotations: Labels::empty(),
            links: links.into_iter().collect(),
        };
        self.tell(binding, &message);
    }

    /// Says when a brake begins to hold everything.
    pub(super) fn brake_changed(&mut self, bindings: &[Binding], braked: &BTreeSet<String>, firing: &[Alert]) {
        let new: Vec<String> = braked.difference(&self.braked).cloned().collect();
        for name in self.braked.difference(braked) {
            tracing::info!(binding = name, "the brake lets go");
        }
        self.braked.clone_from(braked);
        for binding in bindings.iter().filter(|binding| new.contains(&binding.name)) {
            let ours = firing.iter().filter(|alert| binding.matches(&alert.rule, &alert.labels));
            let targets: BTreeSet<String> = ours.filter_map(|alert| binding.target.expand(&alert.labels)).collect();
            tracing::warn!(binding = binding.name, targets = targets.len(), "brake: everything is held");
            let some: Vec<String> = targets.iter().take(20).cloned().collect();
            let message = Message {
                subject: format!("Everything is held: {} targets fire at once for {}", targets.len(), binding.name),
                text: format!(
                    "So many at once is the network, or davylamp itself. Nothing is run until fewer fire: {}",
                    some.join(", ")
                ),
                ..Message::default()
            };
            self.tell(binding, &message);
        }
    }
}

fn when(run: &Run) -> String {
    let until = run.approval.as_ref().map_or(0, |approval| approval.expires_at);
    chrono::DateTime::from_timestamp_millis(until).map_or_else(|| until.to_string(), |at| at.to_rfc3339())
}

fn about(episode: &Episode, subject: String, text: &str, run: Option<RunId>) -> Message {
    let alert = episode.alert.as_deref();
    Message {
        subject,
        text: text.to_string(),
        run,
        labels: alert.map_or_else(Labels::empty, |alert| alert.labels.clone()),
        annotations: alert.map_or_else(Labels::empty, |alert| alert.annotations.clone()),
        links: Vec::new(),
    }
}
