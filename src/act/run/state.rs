//! Where a run stands, and what follows from that.

/// Where a run stands. Before `queued` there is no run: the alert either matched or was suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Wanted, and not allowed yet; it may still be dropped.
    WaitingApproval,
    /// Wanted, not begun; it may still be dropped.
    Queued,
    /// On record as begun; from here on it is never started a second time.
    Claimed,
    /// Its supervisor lives.
    Spawned,
    /// It ended; the verdict is not on record yet.
    Exited,
    /// It ended well; new samples are awaited that say whether it helped.
    Verifying,
    /// It did what it should. Whether that helped nobody was to find out.
    Succeeded,
    /// It did what it should, and new samples say that it helped.
    Healed,
    /// It did what it should, and new samples say that it did not help.
    NotHealed,
    /// It did what it should, and there are no samples that say whether it helped.
    Unverifiable,
    /// It did not.
    Failed,
    /// The target could not be reached.
    Unreachable,
    /// It took too long and was ended.
    TimedOut,
    /// Somebody ended it.
    Cancelled,
    /// A crash or a stop came between: nobody knows how far it got.
    Interrupted,
    /// It waited too long and was never started.
    Expired,
    /// Somebody did not allow it.
    Rejected,
}

impl RunState {
    /// All states that end a run.
    pub const FINAL: [RunState; 11] = [
        Self::Succeeded,
        Self::Healed,
        Self::NotHealed,
        Self::Unverifiable,
        Self::Failed,
        Self::Unreachable,
        Self::TimedOut,
        Self::Cancelled,
        Self::Interrupted,
        Self::Expired,
        Self::Rejected,
    ];

    /// The word in records, labels and on the status page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitingApproval => "waiting_approval",
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Spawned => "spawned",
            Self::Exited => "exited",
            Self::Verifying => "verifying",
            Self::Succeeded => "succeeded",
            Self::Healed => "healed",
            Self::NotHealed => "not_healed",
            Self::Unverifiable => "unverifiable",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        Self::FINAL.contains(&self)
    }

    /// Whether a playbook may be at work.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Claimed | Self::Spawned | Self::Exited)
    }

    /// Whether nobody else may work on the target: something is at work there, or it is being seen whether it helped.
    pub const fn occupies(self) -> bool {
        matches!(self, Self::Claimed | Self::Spawned | Self::Exited | Self::Verifying)
    }

    /// Whether the next step follows: this one is known to be over, and not known to have helped.
    pub const fn escalates(self) -> bool {
        matches!(self, Self::NotHealed | Self::Unverifiable | Self::Failed | Self::Unreachable | Self::TimedOut)
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
