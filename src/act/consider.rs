//! From what fires to what is wanted: episodes open and continue, and their next step is judged.

use std::collections::{BTreeSet, HashMap};

use crate::act::actor::{Actor, Round};
use crate::act::approval::Approval;
use crate::act::binding::{Binding, source_of, split_target};
use crate::act::book::Held;
use crate::act::drive::Driver;
use crate::act::episode::{Episode, alert_key};
use crate::act::facts::{Host, RuleFacts};
use crate::act::guards::{Recall, brakes, flapping, recall, within};
use crate::act::inventory::{Inventory, Standing, is_plain};
use crate::act::judge::{Facts, Verdict, Wish, judge};
use crate::act::reason::Reason;
use crate::act::run::{Run, RunId, RunState, Wanted};
use crate::act::settings::{AlertSource, Mode};
use crate::act::steps::Position;
use crate::model::Alert;

impl Round {
    /// The alerts that fire for a target of a binding.
    pub(super) fn firing_for<'a>(&'a self, binding: &Binding, target: &str) -> impl Iterator<Item = &'a Alert> {
        let found = self.by_target.get(&(binding.name.clone(), target.to_string()));
        found.into_iter().flatten().filter_map(|place| self.firing.get(*place))
    }
}

impl Actor {
    /// Gathers what is the same for everything that is judged in one look around.
    pub(super) async fn round(&mut self) -> Round {
        self.take_plan();
        let world = self.driver.world.clone();
        let (firing, hosts, bindings) = (world.firing(), world.hosts(), self.bindings.borrow().clone());
        let mut healthy = HashMap::new();
        let mut braked = BTreeSet::new();
        let mut by_target: HashMap<(String, String), Vec<usize>> = HashMap::new();
        for binding in bindings.iter().filter(|binding| binding.mode != Mode::Off) {
            let mut targets = BTreeSet::new();
            let ours = |(_, alert): &(usize, &Alert)| binding.matches(&alert.rule, &alert.labels);
            for (place, alert) in firing.iter().enumerate().filter(ours) {
                // What is no host of ours is not acted on, and proves nothing about the fleet.
                if let Ok(target) = self.target_of(binding, alert) {
                    by_target.entry((binding.name.clone(), target.clone())).or_default().push(place);
                    targets.insert(target);
                }
            }
            let Some(first) = targets.first() else { continue };
            if brakes(binding, targets.len(), fleet(&hosts, self.inventory.as_ref(), first)) {
                braked.insert(binding.name.clone());
            }
            if let Some(expression) = &binding.guards.min_healthy
                && !healthy.contains_key(expression)
            {
                healthy.insert(expression.clone(), world.holds(expression).await);
            }
        }
        self.brake_changed(&bindings, &braked, &firing);
        Round { firing, by_target, hosts, healthy, braked: !braked.is_empty() }
    }

    /// Opens or continues the episodes of a firing alert and queues what may run. `edge`: it has only just fired.
    pub(super) async fn consider(&mut self, alert: &Alert, edge: bool, round: &Round) {
        let bindings = self.bindings.borrow().clone();
        for binding in bindings.iter().filter(|binding| binding.matches(&alert.rule, &alert.labels)) {
            let target = match self.target_of(binding, alert) {
                Ok(target) => target,
                Err(reason) => {
                    self.hold(&binding.name, alert, reason);
                    continue;
                }
            };
            let now = self.driver.world.now();
            let last = self.driver.book.episode(&binding.name, &target);
            let first = binding.steps.first().map(|step| &step.action);
            let cooling = first.is_some_and(|action| {
                self.driver.book.view(|runs| recall(runs, binding, action, &target, now)).cooling
            });
            let episode = Episode::of(last.as_ref(), &binding.name, &target, alert, now, cooling);
            if !self.save_episode(&episode).await {
                self.hold(&binding.name, alert, Reason::LedgerUnavailable);
                continue;
            }
            let anew = alert.keep_firing_since.is_none();
            let fired = alert.fired_at.unwrap_or(alert.active_at);
            let cooldown = binding.guards.cooldown;
            let back = |ended: i64| anew && (fired > ended || !within(now, ended, cooldown));
            match self.driver.book.position(&episode, binding, back) {
                Position::Next { step, attempt, blind } => {
                    self.want(binding, &episode, alert, (step, attempt, blind), round).await;
                }
                Position::Busy(_) => {}
                Position::Done if !edge => {}
                Position::Done if cooling => self.hold(&binding.name, alert, Reason::Cooldown),
                Position::Done | Position::Halted(..) => self.hold(&binding.name, alert, Reason::EpisodeDone),
                Position::Exhausted => self.hold(&binding.name, alert, Reason::Exhausted),
            }
        }
    }

    /// The target of an alert, or why there is none: before anything is written, because a label's text may be anything,
    /// and there are as many of them as one likes.
    fn target_of(&self, binding: &Binding, alert: &Alert) -> Result<String, Reason> {
        if binding.mode == Mode::Off {
            return Err(Reason::ModeOff);
        }
        let target = binding.target.expand(&alert.labels).ok_or(Reason::NoTarget)?;
        let (host, part) = split_target(&target);
        if part.is_some() != binding.target.names_a_part() {
            return Err(Reason::TargetNotInInventory);
        }
        if !part.is_none_or(is_plain) {
            return Err(Reason::TargetAmbiguous);
        }
        match self.inventory.as_ref().map(|inventory| inventory.standing(host)) {
            Some(Standing::Missing) => Err(Reason::TargetNotInInventory),
            Some(Standing::Host) => Ok(target),
            None if is_plain(host) => Ok(target),
            Some(Standing::Ambiguous) | None => Err(Reason::TargetAmbiguous),
        }
    }

    /// Continues the episodes for which nothing fires any more for want of data, and says which ones a person must see.
    pub(super) async fn continue_episodes(&mut self, round: &Round) {
        let bindings = self.bindings.borrow().clone();
        for mut episode in self.driver.book.episodes().into_iter().filter(|episode| episode.closed_at.is_none()) {
            let Some(binding) = bindings.iter().find(|binding| binding.name == episode.binding) else { continue };
            let target = episode.target.clone();
            let position = self.driver.book.position(&episode, binding, |_| false);
            let quiet = round.firing_for(binding, &target).next().is_none();
            if quiet && !matches!(position, Position::Busy(_)) && self.is_over(&episode).await {
                tracing::info!(binding = episode.binding, target, "new samples say that it is over");
                episode.close(self.driver.world.now());
                self.save_episode(&episode).await;
                continue;
            }
            match position {
                Position::Next { step, attempt, blind: true } if quiet => {
                    if let Some(alert) = episode.alert.clone() {
                        self.want(binding, &episode, &alert, (step, attempt, true), round).await;
                        self.tell_blind(binding, &mut episode, step).await;
                    }
                }
                Position::Exhausted if !episode.told => {
                    self.driver.book.exhausted();
                    episode.told = true;
                    self.save_episode(&episode).await;
                    self.tell_exhausted(binding, &episode);
                }
                Position::Halted(run, RunState::Interrupted | RunState::Expired) if !episode.told => {
                    episode.told = true;
                    self.save_episode(&episode).await;
                    self.tell_halted(binding, &episode, &run);
                }
                _ => {}
            }
        }
    }

    /// Judges the next step of an episode and queues it, or asks for its approval.
    async fn want(
        &mut self,
        binding: &Binding,
        episode: &Episode,
        alert: &Alert,
        (number, attempt, blind): (u32, u32, bool),
        round: &Round,
    ) {
        let Some(step) = binding.step(number) else { return };
        let (target, first) = (episode.target.as_str(), number == 0 && attempt == 0);
        let wish = Wish { binding, step, target, first, blind, approved: false };
        if let Verdict::Skip(reason) = self.judge(&wish, alert, None, round)
            && !reason.only_waits()
        {
            return self.hold(&binding.name, alert, reason);
        }
        let wanted = Wanted {
            binding: &binding.name,
            target,
            episode: episode.opened_at,
            step: number,
            attempt,
            blind,
            mode: binding.mode_of(step),
            action: &step.action,
            alert,
        };
        let now = self.driver.world.now();
        let run = Run::wanted(&wanted, now);
        if run.mode != Mode::Approve {
            return self.enqueue(alert, run).await;
        }
        let expiry = i64::try_from(self.limits.approval_expiry.as_millis()).unwrap_or(i64::MAX);
        let approval = Some(Approval::wanted(now.saturating_add(expiry)));
        let waiting = Run { state: RunState::WaitingApproval, approval, ..run };
        if !self.record(&waiting).await {
            return self.hold(&binding.name, alert, Reason::LedgerUnavailable);
        }
        if self.driver.book.run(&waiting.id.rehearsal()).is_none() {
            self.enqueue(alert, waiting.rehearsal(now)).await;
        }
    }

    /// Judges a wish with what is known at this moment. `id`: the run that waits for it.
    pub(super) fn judge(&self, wish: &Wish<'_>, alert: &Alert, id: Option<&RunId>, round: &Round) -> Verdict {
        let Wish { binding, step, target, .. } = wish;
        let Driver { book, world, .. } = &self.driver;
        let now = world.now();
        let recall: Recall = book.view(|runs| recall(runs, binding, &step.action, target, now));
        let changes = book.episode(&binding.name, target).map(|episode| episode.changes).unwrap_or_default();
        let host = split_target(target).0;
        let windows = &binding.windows;
        let facts = Facts {
            firing: round
                .firing_for(binding, target)
                .find(|firing| firing.rule == alert.rule && firing.labels == alert.labels),
            age: (self.started.elapsed(), self.limits.startup_grace),
            clock_jumped: self.clock_jumped(),
            rule: rule(world.as_ref(), &alert.rule),
            inventory: self.inventory.as_ref(),
            target_up: world.target_up(host),
            silenced: world.silenced(&alert.labels).is_some(),
            window_open: windows.is_empty() || windows.iter().any(|name| world.window_open(name)),
            braked: round.braked,
            flapping: flapping(binding, &changes, now),
            recall: &recall,
            target_limit: binding.guards.targets.of(fleet(&round.hosts, self.inventory.as_ref(), target)),
            healthy: binding.guards.min_healthy.as_ref().map(|text| round.healthy.get(text).copied().flatten()),
            step_taken: id.and_then(|id| book.run(id)).is_some_and(|run| run.state != RunState::Queued),
            max_concurrent: self.limits.max_concurrent,
        };
        judge(wish, &facts)
    }

    pub(super) fn hold(&mut self, binding: &str, alert: &Alert, reason: Reason) {
        let labels = &alert.labels;
        let since = self.driver.world.now();
        let held = Held { binding: binding.to_string(), labels: labels.clone(), reason, since };
        if self.driver.book.hold(alert_key(alert), held) {
            tracing::info!(binding, alert = %labels, reason = reason.as_str(), "alert held back");
        }
    }
}

/// What is known of the rule of an alert. Those that come by webhook were judged elsewhere, on other samples.
fn rule(world: &dyn crate::act::facts::World, key: &str) -> Option<RuleFacts> {
    match source_of(key) {
        AlertSource::Rules => world.rule(key),
        AlertSource::Alertmanager | AlertSource::Grafana => Some(RuleFacts { warming_up: false, needs_values: false }),
    }
}

/// How many there are of what a target is: targets of its kind, or hosts of the inventory where it is none of ours.
fn fleet(hosts: &[Host], inventory: Option<&Inventory>, target: &str) -> usize {
    let host = split_target(target).0;
    let Some(ours) = hosts.iter().find(|known| known.name == host) else {
        return inventory.map_or(0, |inventory| inventory.hosts.len());
    };
    hosts.iter().filter(|known| known.group == ours.group).count()
}
