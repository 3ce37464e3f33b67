//! May this alert's playbook run now? A pure answer from facts, asked when an alert fires and again at the moment of
//! action, because between the two the world goes on.

use std::time::Duration;

use crate::act::binding::{Binding, StepPlan, split_target};
use crate::act::facts::RuleFacts;
use crate::act::guards::Recall;
use crate::act::inventory::{Inventory, Standing};
use crate::act::reason::Reason;
use crate::act::settings::Mode;
use crate::model::Alert;

/// What the judge is told. Times are milliseconds since the epoch.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The alert as it is at this moment; `None` when it does not fire.
    pub firing: Option<&'a Alert>,
    /// How long the daemon lives, and how long it does nothing in the beginning.
    pub age: (Duration, Duration),
    /// The wall clock was set a short while ago.
    pub clock_jumped: bool,
    /// The rule; `None` when it is gone.
    pub rule: Option<RuleFacts>,
    /// The inventory; `None` when it could not be read.
    pub inventory: Option<&'a Inventory>,
    /// Whether the target's last poll succeeded; `None` when it is none of ours.
    pub target_up: Option<bool>,
    /// A silence covers the alert.
    pub silenced: bool,
    /// One of the binding's windows is open, or it has none.
    pub window_open: bool,
    /// A brake holds everything.
    pub braked: bool,
    /// The trouble comes and goes.
    pub flapping: bool,
    /// What the past says.
    pub recall: &'a Recall,
    /// How many targets may be worked on.
    pub target_limit: usize,
    /// What `min_healthy` says; the outer `None`: nothing is asked.
    pub healthy: Option<Option<bool>>,
    /// Whether this step of the episode was claimed before.
    pub step_taken: bool,
    /// Runs that may go on at one time.
    pub max_concurrent: u32,
}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The binding.
    pub binding: &'a Binding,
    /// The step.
    pub step: &'a StepPlan,
    /// Its target.
    pub target: &'a str,
    /// The first step of its episode, for which the cooldown counts.
    pub first: bool,
    /// It follows on a step after which there were no data. What a person approves, and a message, needs neither a firing
    /// alert nor sight of the target then; what acts by itself waits for sight.
    pub blind: bool,
    /// A person has approved it.
    pub approved: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may run; with the guards that were consulted, in order.
    Run(Vec<&'static str>),
    /// Do nothing.
    Skip(Reason),
}

/// Judges a wish.
pub fn judge(wish: &Wish<'_>, facts: &Facts<'_>) -> Verdict {
    let Wish { binding, step, .. } = wish;
    let mode = binding.mode_of(step);
    let (acts, guards) = (step.action.acts(), &binding.guards);
    let host = split_target(wish.target).0;
    let standing = facts.inventory.map(|inventory| inventory.standing(host));
    let firing = facts.firing.is_some_and(|alert| alert.keep_firing_since.is_none());
    let trusted = wish.blind && (!acts || mode == Mode::Approve);
    let unseen = facts.target_up == Some(false) && facts.rule.is_none_or(|rule| rule.needs_values);
    let recall = facts.recall;
    // What can never be right comes before what is not right just now, and what only has to be waited for comes last.
    let checks = [
        (mode == Mode::Off, Reason::ModeOff),
        (!firing && !trusted, Reason::NotFiring),
        (facts.age.0 < facts.age.1, Reason::StartupGrace),
        (facts.clock_jumped, Reason::ClockJump),
        (facts.rule.is_none_or(|rule| rule.warming_up), Reason::WarmingUp),
        (standing == Some(Standing::Missing), Reason::TargetNotInInventory),
        (standing == Some(Standing::Ambiguous), Reason::TargetAmbiguous),
        (acts && !trusted && !wish.approved && unseen, Reason::Blind),
        (facts.silenced, Reason::Silenced),
        (!facts.window_open, Reason::WindowClosed),
        (acts && facts.braked, Reason::Brake),
        (acts && facts.flapping, Reason::Flapping),
        (acts && wish.first && recall.cooling, Reason::Cooldown),
        (facts.step_taken, Reason::EpisodeDone),
        (acts && recall.used_up, Reason::MaxRuns),
        (acts && !recall.among_them && recall.targets >= facts.target_limit, Reason::MaxTargets),
        (acts && recall.broken, Reason::Breaker),
        (acts && facts.healthy == Some(Some(false)), Reason::MinHealthy),
        (acts && facts.healthy == Some(None), Reason::MinHealthyUnknown),
        (facts.inventory.is_none(), Reason::InventoryUnavailable),
        (acts && recall.busy, Reason::RunInProgress),
        (recall.of_binding >= guards.max_concurrent as usize, Reason::Concurrency),
        (recall.running >= facts.max_concurrent as usize, Reason::Concurrency),
    ];
    let mut passed = Vec::new();
    for (hit, reason) in checks {
        if hit {
            return Verdict::Skip(reason);
        }
        passed.push(reason.as_str());
    }
    passed.dedup();
    Verdict::Run(passed)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::act::binding::{Action, TargetTemplate};
    use crate::act::check::tests::guards;
    use crate::act::facts::Host;
    use crate::act::settings::AlertSource;
    use crate::model::{AlertState, Labels};

    pub(in crate::act) fn alert(labels: &[(&'static str, &str)]) -> Alert {
        Alert {
            rule: "f;g;Hot".into(),
            labels: Labels::new(labels.iter().map(|(name, value)| (*name, *value))),
            annotations: Labels::empty(),
            state: AlertState::Firing,
            value: 1.0,
            active_at: 0,
            fired_at: Some(0),
            resolved_at: None,
            keep_firing_since: None,
            resolved_with_data: false,
            last_seen_at: 0,
        }
    }

    pub(in crate::act) fn binding() -> Binding {
        let action = Action::Playbook("p.yml".into());
        Binding {
            name: "b".into(),
            matchers: Vec::new(),
            sources: vec![AlertSource::Rules],
            target: TargetTemplate::parse("{{ $labels.miner }}").unwrap(),
            mode: Mode::Auto,
            steps: vec![StepPlan { action, mode: None, timeout: Duration::from_secs(60), verify: None }],
            guards: guards(),
            windows: Vec::new(),
            notify: Vec::new(),
        }
    }

    /// What is spoiled of good facts.
    struct Case<'a> {
        facts: Facts<'a>,
        recall: Recall,
        binding: Binding,
        target: &'static str,
        first: bool,
        blind: bool,
        approved: bool,
    }

    fn reason(change: impl Fn(&mut Case<'_>)) -> &'static str {
        let alert = alert(&[("miner", "m1")]);
        let host = |name: &str| Host { name: name.into(), group: "axeos".into(), vars: Default::default() };
        let inventory = Inventory::of_hosts(&[host("m1"), host("axeos"), host("m*")]);
        let recall = Recall::default();
        let facts = Facts {
            firing: Some(&alert),
            age: (Duration::from_secs(30), Duration::from_secs(30)),
            clock_jumped: false,
            rule: Some(RuleFacts { warming_up: false, needs_values: true }),
            inventory: Some(&inventory),
            target_up: Some(true),
            silenced: false,
            window_open: true,
            braked: false,
            flapping: false,
            recall: &recall,
            target_limit: 1,
            healthy: None,
            step_taken: false,
            max_concurrent: 2,
        };
        let recall = Recall::default();
        let (target, first, blind, approved) = ("m1", true, false, false);
        let mut case = Case { facts, recall, binding: binding(), target, first, blind, approved };
        change(&mut case);
        let facts = Facts { recall: &case.recall, ..case.facts };
        let Case { binding, target, first, blind, approved, .. } = &case;
        let step = &binding.steps[0];
        let (first, blind, approved) = (*first, *blind, *approved);
        match judge(&Wish { binding, step, target, first, blind, approved }, &facts) {
            Verdict::Run(_) => "run",
            Verdict::Skip(reason) => reason.as_str(),
        }
    }

    #[test]
    fn each_guard_stops_it_alone() {
        assert_eq!(reason(|_| {}), "run");
        assert_eq!(reason(|c| c.binding.mode = Mode::Off), "mode_off");
        assert_eq!(reason(|c| c.binding.steps[0].mode = Some(Mode::Off)), "mode_off");
        assert_eq!(reason(|c| c.facts.firing = None), "not_firing");
        assert_eq!(reason(|c| c.facts.age.0 = Duration::from_secs(29)), "startup_grace");
        assert_eq!(reason(|c| c.facts.clock_jumped = true), "clock_jump");
        let warming_up = RuleFacts { warming_up: true, needs_values: true };
        assert_eq!(reason(|c| c.facts.rule = Some(warming_up)), "warming_up");
        assert_eq!(reason(|c| c.facts.rule = None), "warming_up");
        assert_eq!(reason(|c| c.facts.inventory = None), "inventory_unavailable");
        assert_eq!(reason(|c| c.facts.target_up = Some(false)), "blind");
        assert_eq!(reason(|c| c.facts.silenced = true), "silenced");
        assert_eq!(reason(|c| c.facts.window_open = false), "window_closed");
        assert_eq!(reason(|c| c.facts.braked = true), "brake");
        assert_eq!(reason(|c| c.facts.flapping = true), "flapping");
        assert_eq!(reason(|c| c.recall.cooling = true), "cooldown");
        assert_eq!(reason(|c| c.facts.step_taken = true), "episode_done");
        assert_eq!(reason(|c| c.recall.used_up = true), "max_runs");
        assert_eq!(reason(|c| c.recall.targets = 1), "max_targets");
        assert_eq!(reason(|c| c.recall.broken = true), "breaker");
        assert_eq!(reason(|c| c.facts.healthy = Some(Some(false))), "min_healthy");
        assert_eq!(reason(|c| c.facts.healthy = Some(None)), "min_healthy_unknown");
        assert_eq!(reason(|c| c.recall.busy = true), "run_in_progress");
        assert_eq!(reason(|c| c.recall.of_binding = 2), "concurrency");
        assert_eq!(reason(|c| c.recall.running = 2), "concurrency");
    }

    #[test]
    fn what_does_not_hold_a_run_back() {
        assert_eq!(reason(|c| (c.recall.targets, c.recall.among_them) = (1, true)), "run", "no new target");
        assert_eq!(reason(|c| (c.first, c.recall.cooling) = (false, true)), "run", "the next step of the same trouble");
        assert_eq!(reason(|c| c.facts.healthy = Some(Some(true))), "run");
        let about_up = RuleFacts { warming_up: false, needs_values: false };
        assert_eq!(reason(|c| (c.facts.target_up, c.facts.rule) = (Some(false), Some(about_up))), "run");
        assert_eq!(reason(|c| c.facts.target_up = None), "run", "a target that davylamp does not poll");
        let message = reason(|c| {
            c.binding.steps[0].action = Action::Notify("ops".into());
            (c.recall.used_up, c.facts.braked) = (true, true);
        });
        assert_eq!(message, "run");
    }

    #[test]
    fn without_sight_only_a_person_or_a_message_goes_on() {
        let quiet = |c: &mut Case<'_>| {
            (c.blind, c.facts.firing, c.facts.target_up, c.first) = (true, None, Some(false), false);
        };
        assert_eq!(reason(quiet), "not_firing");
        let approved_one = reason(|c| {
            quiet(c);
            c.binding.mode = Mode::Approve;
        });
        let message = reason(|c| {
            quiet(c);
            c.binding.steps[0].action = Action::Notify("ops".into());
        });
        assert_eq!((approved_one, message), ("run", "run"));
        assert_eq!(reason(|c| (c.facts.target_up, c.approved) = (Some(false), true)), "run");
    }

    #[test]
    fn the_target_is_exactly_one_host() {
        assert_eq!(reason(|c| c.target = "all"), "target_not_in_inventory");
        assert_eq!(reason(|c| c.target = "m1,m2"), "target_not_in_inventory");
        assert_eq!(reason(|c| c.target = "axeos"), "target_ambiguous", "a group has this name too");
        assert_eq!(reason(|c| c.target = "m*"), "target_ambiguous");
        assert_eq!(reason(|c| c.target = "m1/web"), "run", "a container of the host");
    }

    #[test]
    fn an_alert_that_is_only_kept_firing_is_not_acted_on() {
        let kept: &'static Alert = Box::leak(Box::new(Alert { keep_firing_since: Some(1), ..alert(&[]) }));
        assert_eq!(reason(|c| c.facts.firing = Some(kept)), "not_firing");
    }
}
