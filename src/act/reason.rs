//! Why nothing is run: a closed list, which is the `reason` label of `davylamp_run_suppressions_total`.

/// Why nothing is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The binding or the step is switched off.
    ModeOff,
    /// The alert does not fire any more, or only because `keep_firing_for` holds it.
    NotFiring,
    /// The alert lacks a label that the target's name is made of.
    NoTarget,
    /// The daemon has only just started.
    StartupGrace,
    /// The wall clock was set, or the machine slept.
    ClockJump,
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
    /// A silence covers the alert.
    Silenced,
    /// None of the binding's windows is open.
    WindowClosed,
    /// Too large a part of the fleet fires at once.
    Brake,
    /// The alert comes and goes.
    Flapping,
    /// The target was worked on a short while ago.
    Cooldown,
    /// This episode's step was taken already.
    EpisodeDone,
    /// The episode went through all of its steps, and the alert fires on.
    Exhausted,
    /// The target had its share of runs.
    MaxRuns,
    /// As many targets were worked on as may be.
    MaxTargets,
    /// The step failed too often in a row.
    Breaker,
    /// The expression of `min_healthy` does not hold.
    MinHealthy,
    /// Nothing is known of what `min_healthy` asks for.
    MinHealthyUnknown,
    /// Another run works on the target.
    RunInProgress,
    /// As many runs are going on as may.
    Concurrency,
    /// As many runs wait as may.
    QueueFull,
    /// It waited too long.
    Expired,
    /// The claim could not be written.
    LedgerUnavailable,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 27] = [
        Self::ModeOff,
        Self::NotFiring,
        Self::NoTarget,
        Self::StartupGrace,
        Self::ClockJump,
        Self::WarmingUp,
        Self::InventoryUnavailable,
        Self::TargetNotInInventory,
        Self::TargetAmbiguous,
        Self::Blind,
        Self::Silenced,
        Self::WindowClosed,
        Self::Brake,
        Self::Flapping,
        Self::Cooldown,
        Self::EpisodeDone,
        Self::Exhausted,
        Self::MaxRuns,
        Self::MaxTargets,
        Self::Breaker,
        Self::MinHealthy,
        Self::MinHealthyUnknown,
        Self::RunInProgress,
        Self::Concurrency,
        Self::QueueFull,
        Self::Expired,
        Self::LedgerUnavailable,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ModeOff => "mode_off",
            Self::NotFiring => "not_firing",
            Self::NoTarget => "no_target",
            Self::StartupGrace => "startup_grace",
            Self::ClockJump => "clock_jump",
            Self::WarmingUp => "warming_up",
            Self::InventoryUnavailable => "inventory_unavailable",
            Self::TargetNotInInventory => "target_not_in_inventory",
            Self::TargetAmbiguous => "target_ambiguous",
            Self::Blind => "blind",
            Self::Silenced => "silenced",
            Self::WindowClosed => "window_closed",
            Self::Brake => "brake",
            Self::Flapping => "flapping",
            Self::Cooldown => "cooldown",
            Self::EpisodeDone => "episode_done",
            Self::Exhausted => "exhausted",
            Self::MaxRuns => "max_runs",
            Self::MaxTargets => "max_targets",
            Self::Breaker => "breaker",
            Self::MinHealthy => "min_healthy",
            Self::MinHealthyUnknown => "min_healthy_unknown",
            Self::RunInProgress => "run_in_progress",
            Self::Concurrency => "concurrency",
            Self::QueueFull => "queue_full",
            Self::Expired => "expired",
            Self::LedgerUnavailable => "ledger_unavailable",
        }
    }

    /// Whether a run waits for this in the queue, rather than being held back.
    pub const fn only_waits(self) -> bool {
        matches!(self, Self::InventoryUnavailable | Self::RunInProgress | Self::Concurrency)
    }
}
