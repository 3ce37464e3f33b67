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
mod tests {
    use super::*;
    use crate::act::check::{Budget, TargetTemplate};
    use crate::act::facts::Host;
    use crate::model::{AlertState, Labels};

    const MINUTE: i64 = 60_000;
    const NOW: i64 = 1_000 * MINUTE;

    fn alert(labels: &[(&'static str, &str)]) -> Alert {
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

    fn binding() -> Binding {
        Binding {
            name: "b".into(),
            matchers: Vec::new(),
            target: TargetTemplate::parse("{{ $labels.miner }}").unwrap(),
            mode: Mode::Auto,
            playbook: "p.yml".into(),
            timeout: Duration::from_secs(60),
            cooldown: Duration::from_secs(1800),
            budget: Budget { runs: 3, within: Duration::from_secs(86_400) },
            max_concurrent: 2,
        }
    }

    /// Judges with good facts that one change spoils.
    fn with(change: impl Fn(&mut Facts<'_>, &mut Binding), labels: &[(&'static str, &str)]) -> Verdict {
        let (alert, mut binding) = (alert(labels), binding());
        let host = |name: &str| Host { name: name.into(), group: "axeos".into(), vars: Default::default() };
        let inventory = Inventory::of_hosts(&[host("m1"), host("axeos"), host("m*")]);
        let mut facts = Facts {
            firing: Some(&alert),
            started: (0, Duration::from_secs(30)),
            rule: Some(RuleFacts { warming_up: false, needs_values: true }),
            inventory: Some(&inventory),
            target_up: Some(true),
            history: &[],
            step_taken: false,
            target_busy: false,
            binding_running: 0,
            running: (0, 2),
        };
        change(&mut facts, &mut binding);
        judge(&alert, &binding, &facts, NOW)
    }

    fn reason(change: impl Fn(&mut Facts<'_>, &mut Binding)) -> &'static str {
        match with(change, &[("miner", "m1")]) {
            Verdict::Run { .. } => "run",
            Verdict::Skip(reason) => reason.as_str(),
        }
    }

    #[test]
    fn each_guard_stops_it_alone() {
        assert_eq!(reason(|_, _| {}), "run");
        assert_eq!(reason(|_, b| b.mode = Mode::Off), "mode_off");
        assert_eq!(reason(|f, _| f.firing = None), "not_firing");
        assert_eq!(reason(|f, _| f.started.0 = NOW - 29_000), "startup_grace");
        assert_eq!(reason(|f, _| f.rule = Some(RuleFacts { warming_up: true, needs_values: true })), "warming_up");
        assert_eq!(reason(|f, _| f.rule = None), "warming_up");
        assert_eq!(reason(|f, _| f.inventory = None), "inventory_unavailable");
        assert_eq!(reason(|f, _| f.target_up = Some(false)), "blind");
        assert_eq!(reason(|f, _| f.step_taken = true), "episode_done");
        assert_eq!(reason(|f, _| f.target_busy = true), "run_in_progress");
        assert_eq!(reason(|f, _| f.binding_running = 2), "concurrency");
        assert_eq!(reason(|f, _| f.running.0 = 2), "concurrency");
    }

    #[test]
    fn a_rule_about_silence_may_act_on_silence() {
        let about_up = RuleFacts { warming_up: false, needs_values: false };
        assert_eq!(reason(move |f, _| (f.target_up, f.rule) = (Some(false), Some(about_up))), "run");
        assert_eq!(reason(|f, _| f.target_up = None), "run", "a target that davylamp does not poll");
    }

    #[test]
    fn history_holds_it_back() {
        const ENDED_29_MINUTES_AGO: [(i64, Option<i64>); 1] = [(NOW - 40 * MINUTE, Some(NOW - 29 * MINUTE))];
        const ENDED_31_MINUTES_AGO: [(i64, Option<i64>); 1] = [(NOW - 40 * MINUTE, Some(NOW - 31 * MINUTE))];
        const ENDS_IN_THE_FUTURE: [(i64, Option<i64>); 1] = [(NOW, Some(NOW + 99 * MINUTE))];
        const NEVER_ENDED: [(i64, Option<i64>); 1] = [(NOW - 999 * MINUTE, None)];
        const THREE: [(i64, Option<i64>); 3] = [(NOW - 999 * MINUTE, Some(NOW - 900 * MINUTE)); 3];
        assert_eq!(reason(|f, _| f.history = &ENDED_29_MINUTES_AGO), "cooldown");
        assert_eq!(reason(|f, _| f.history = &ENDED_31_MINUTES_AGO), "run");
        assert_eq!(reason(|f, _| f.history = &ENDS_IN_THE_FUTURE), "cooldown");
        assert_eq!(reason(|f, _| f.history = &NEVER_ENDED), "cooldown");
        assert_eq!(reason(|f, _| f.history = &THREE), "max_runs");
        assert_eq!(reason(|f, b| (f.history, b.budget.within) = (&THREE, Duration::from_secs(3600))), "run");
    }

    #[test]
    fn the_target_is_exactly_one_host() {
        let skip = |labels: &[(&'static str, &str)]| with(|_, _| {}, labels);
        assert_eq!(skip(&[]), Verdict::Skip(Reason::NoTarget));
        assert_eq!(skip(&[("miner", "all")]), Verdict::Skip(Reason::TargetNotInInventory));
        assert_eq!(skip(&[("miner", "m1,m2")]), Verdict::Skip(Reason::TargetNotInInventory));
        assert_eq!(skip(&[("miner", "axeos")]), Verdict::Skip(Reason::TargetAmbiguous), "a group has this name too");
        assert_eq!(skip(&[("miner", "m*")]), Verdict::Skip(Reason::TargetAmbiguous));
    }

    #[test]
    fn an_alert_that_is_only_kept_firing_is_not_acted_on() {
        let mut kept = alert(&[("miner", "m1")]);
        kept.keep_firing_since = Some(1);
        let held = with(|_, _| {}, &[("miner", "m1")]);
        assert!(matches!(held, Verdict::Run { .. }));
        assert_eq!(judge_kept(&kept), Verdict::Skip(Reason::NotFiring));
    }

    fn judge_kept(kept: &Alert) -> Verdict {
        let facts = Facts {
            firing: Some(kept),
            started: (0, Duration::ZERO),
            rule: None,
            inventory: None,
            target_up: None,
            history: &[],
            step_taken: false,
            target_busy: false,
            binding_running: 0,
            running: (0, 2),
        };
        judge(kept, &binding(), &facts, NOW)
    }
}
