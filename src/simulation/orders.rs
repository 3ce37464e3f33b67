//! What people order in a test, given to the acting room as the command line would.

use super::file::OrderEntry;
use crate::act::control::{Control, ControlError, Filter};
use crate::act::episode::Episode;
use crate::act::run::{Run, RunState};

/// Which verb an order has, and for which target.
pub(super) fn verb(order: &OrderEntry) -> (&'static str, &str) {
    let verbs = [
        ("approve", &order.approve),
        ("reject", &order.reject),
        ("cancel", &order.cancel),
        ("retry", &order.retry),
        ("close", &order.close),
    ];
    let said = verbs.into_iter().find_map(|(verb, target)| Some((verb, target.as_deref()?)));
    said.unwrap_or(("order", ""))
}

/// Why an order of a test led to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// There is nothing that it could mean.
    #[error("there is nothing on {target} to {verb}")]
    Nothing { verb: &'static str, target: String },
    /// The acting room would not.
    #[error(transparent)]
    Control(#[from] ControlError),
}

pub(super) async fn obey(
    control: &Control,
    order: &OrderEntry,
    verb: &'static str,
    target: &str,
) -> Result<(), OrderError> {
    let nothing = || OrderError::Nothing { verb, target: target.to_string() };
    let filter = Filter { binding: order.binding.clone(), target: Some(target.to_string()), ..Filter::default() };
    if verb == "close" {
        let ours = |episode: &Episode| {
            episode.target == target && order.binding.as_ref().is_none_or(|binding| *binding == episode.binding)
        };
        let open = control.episodes().into_iter().find(|episode| ours(episode) && episode.closed_at.is_none());
        let binding = open.ok_or_else(nothing)?.binding;
        return Ok(control.close_episode(&binding, target, &order.by).await?);
    }
    let fits = |run: &Run| match verb {
        "approve" | "reject" => run.state == RunState::WaitingApproval,
        "cancel" => !run.state.is_final() && run.rehearses.is_none(),
        _ => run.state.is_final() && run.rehearses.is_none(),
    };
    let run = control.list(&filter).into_iter().find(fits).ok_or_else(nothing)?.id;
    match verb {
        "approve" => control.approve(&run, &order.by).await?,
        "reject" => control.reject(&run, &order.by).await?,
        "cancel" => control.cancel(&run, &order.by).await?,
        _ => control.retry(&run, &order.by).await?,
    };
    Ok(())
}
