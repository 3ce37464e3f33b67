//! May this alert's playbook run now? A pure answer from facts, asked when an alert fires and again at the moment of
//! action, because between the two the world goes on.

use std::time::Duration;

use crate::act::check::Binding;
use crate::act::facts::RuleFacts;
use crate::act::inventory::{Inventory, Standing};
use crate::act::settings::Mode;
use crate::model::Alert;

/// Why nothing is run. It is the `reason` label of `davylamp_runs_suppressed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The binding is switched off.
    ModeOff,
    /// The alert does not fire any more, or only because `keep_firing_for` holds it.
    NotFiring,
    /// The alert lacks a label that the target's name is made of.
    NoTarget,
    /// The daemon has only just started.
    StartupGrace,
    /// The rule's range is not covered by samples yet.
    WarmingUp,
    /// The inventory could not be read, so nobody knows what the target is.
    InventoryUnavailable,
    /// The inventory has no such host.
    TargetNotInInventory,
    /// The target could mean more than one host.
    TargetAmbiguous,
    /// The target's own poll failed, and the rule needs what it measures.
    Blind,
    /// The target was worked on a short while ago.
    Cooldown,
    /// This episode's step was taken already.
    EpisodeDone,
    /// The target had its share of runs.
    MaxRuns,
    /// Another run works on the target.
    RunInProgress,
    /// As many runs are going on as may.
    Concurrency,
    /// As many runs wait as may.
    QueueFull,
    /// The claim could not be written.
    LedgerUnavailable,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 16] = [
        Self::ModeOff,
        Self::NotFiring,
        Self::NoTarget,
        Self::StartupGrace,
        Self::WarmingUp,
        Self::InventoryUnavailable,
        Self::TargetNotInInventory,
        Self::TargetAmbiguous,
        Self::Blind,
        Self::Cooldown,
        Self::EpisodeDone,
        Self::MaxRuns,
        Self::RunInProgress,
        Self::Concurrency,
        Self::QueueFull,
        Self::LedgerUnavailable,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ModeOff => "mode_off",
            Self::NotFiring => "not_firing",
            Self::NoTarget => "no_target",
            Self::StartupGrace => "startup_grace",
            Self::WarmingUp => "warming_up",
            Self::InventoryUnavailable => "inventory_unavailable",
            Self::TargetNotInInventory => "target_not_in_inventory",
            Self::TargetAmbiguous => "target_ambiguous",
            Self::Blind => "blind",
            Self::Cooldown => "cooldown",
            Self::EpisodeDone => "episode_done",
            Self::MaxRuns => "max_runs",
            Self::RunInProgress => "run_in_progress",
            Self::Concurrency => "concurrency",
            Self::QueueFull => "queue_full",
            Self::LedgerUnavailable => "ledger_unavailable",
        }
    }

    /// Whether a run waits for this in the queue, rather than being held back.
    pub const fn only_waits(self) -> bool {
        matches!(self, Self::InventoryUnavailable | Self::RunInProgress | Self::Concurrency)
    }
}

/// What the judge is told. Times are milliseconds since the epoch.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The alert as it is at this moment; `None` when it does not fire.
    pub firing: Option<&'a Alert>,
    /// When the daemon started, and how long it does nothing then.
    pub started: (i64, Duration),
    /// The rule; `None` when it is gone.
    pub rule: Option<RuleFacts>,
    /// The inventory; `None` when it could not be read.
    pub inventory: Option<&'a Inventory>,
    /// Whether the target's last poll succeeded; `None` when it is none of ours.
    pub target_up: Option<bool>,
    /// When runs of this binding on this target were claimed, and when they ended.
    pub history: &'a [(i64, Option<i64>)],
    /// Whether this episode's step was taken.
    pub step_taken: bool,
    /// Whether a run works on the target, of whatever binding.
    pub target_busy: bool,
    /// Runs of this binding that are going on.
    pub binding_running: usize,
    /// Runs that are going on, and how many may.
    pub running: (usize, u32),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run it on this target; with the guards that were consulted.
    Run {
        /// Inventory host.
        target: String,
        /// Names of the guards, in order.
        guards: Vec<&'static str>,
    },
    /// Do nothing.
    Skip(Reason),
}

/// Judges an alert for a binding that matches it.
pub fn judge(alert: &Alert, binding: &Binding, facts: &Facts<'_>, now: i64) -> Verdict {
    let target = binding.target.expand(&alert.labels);
    let standing = facts.inventory.zip(target.as_deref()).map(|(inventory, target)| inventory.standing(target));
    let mut guards = Vec::new();
    // What can never be right comes before what is not right just now, and what only has to be waited for comes last.
    let checks = [
        (binding.mode == Mode::Off, Reason::ModeOff),
        (facts.firing.is_none_or(|alert| alert.keep_firing_since.is_some()), Reason::NotFiring),
        (target.is_none(), Reason::NoTarget),
        (within(now, facts.started.0, facts.started.1), Reason::StartupGrace),
        (facts.rule.is_none_or(|rule| rule.warming_up), Reason::WarmingUp),
        (standing == Some(Standing::Missing), Reason::TargetNotInInventory),
        (standing == Some(Standing::Ambiguous), Reason::TargetAmbiguous),
        (facts.target_up == Some(false) && facts.rule.is_none_or(|rule| rule.needs_values), Reason::Blind),
        (cooling(binding, facts.history, now), Reason::Cooldown),
        (facts.step_taken, Reason::EpisodeDone),
        (used_up(binding, facts.history, now), Reason::MaxRuns),
        (facts.inventory.is_none(), Reason::InventoryUnavailable),
        (facts.target_busy, Reason::RunInProgress),
        (facts.binding_running >= binding.max_concurrent as usize, Reason::Concurrency),
        (facts.running.0 >= facts.running.1 as usize, Reason::Concurrency),
    ];
    for (hit, reason) in checks {
        if hit {
            return Verdict::Skip(reason);
        }
        guards.push(reason.as_str());
    }
    guards.dedup();
    target.map_or(Verdict::Skip(Reason::NoTarget), |target| Verdict::Run { target, guards })
}

/// Whether the cooldown after the last run is not over. A run that has not ended counts from now on.
pub fn cooling(binding: &Binding, history: &[(i64, Option<i64>)], now: i64) -> bool {
    history.iter().any(|(_, ended)| ended.is_none_or(|ended| within(now, ended, binding.cooldown)))
}

fn used_up(binding: &Binding, history: &[(i64, Option<i64>)], now: i64) -> bool {
    let recent = history.iter().filter(|(claimed, _)| within(now, *claimed, binding.budget.within)).count();
    recent >= binding.budget.runs as usize
}

/// Whether `now` is less than `time` after `since`. A `since` in the future (the clock went back) counts as within.
fn within(now: i64, since: i64, time: Duration) -> bool {
    now.saturating_sub(since) < i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
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
